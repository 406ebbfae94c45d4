"""Networks that denoise sequences of fields."""

from skdiffuse.networks.compilation import compile_network
from skdiffuse.networks.edges import resolve_edges
from skdiffuse.networks.told import Told
from skdiffuse.networks.video_unet import PRESETS, VideoUNet
from skdiffuse.networks.wiener import WienerSkip, build_network, mean_power, periodic_axes

__all__ = [
    "PRESETS",
    "Told",
    "VideoUNet",
    "WienerSkip",
    "build_network",
    "compile_network",
    "mean_power",
    "periodic_axes",
    "resolve_edges",
]
