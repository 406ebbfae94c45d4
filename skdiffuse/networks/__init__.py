"""Networks that denoise sequences of fields."""

from skdiffuse.networks.building import build_network
from skdiffuse.networks.compilation import compile_network
from skdiffuse.networks.edges import resolve_edges
from skdiffuse.networks.spectral import mean_power, periodic_axes
from skdiffuse.networks.video_unet import PRESETS, VideoUNet
from skdiffuse.networks.wiener import WienerSkip

__all__ = [
    "PRESETS",
    "VideoUNet",
    "WienerSkip",
    "build_network",
    "compile_network",
    "mean_power",
    "periodic_axes",
    "resolve_edges",
]
