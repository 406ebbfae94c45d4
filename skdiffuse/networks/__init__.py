"""Networks that denoise sequences of fields."""

from skdiffuse.networks.building import build_network
from skdiffuse.networks.compilation import compile_network
from skdiffuse.networks.edges import resolve_edges
from skdiffuse.networks.mixture import MixtureSkip
from skdiffuse.networks.mixture_fitting import WeatherClasses, fit_mixture
from skdiffuse.networks.mixture_prior import MixturePrior
from skdiffuse.networks.spectral import mean_power, periodic_axes
from skdiffuse.networks.told import Told
from skdiffuse.networks.variance_head import VarianceHead
from skdiffuse.networks.video_unet import PRESETS, VideoUNet
from skdiffuse.networks.wiener import WienerSkip

__all__ = [
    "PRESETS",
    "MixturePrior",
    "MixtureSkip",
    "Told",
    "VarianceHead",
    "VideoUNet",
    "WeatherClasses",
    "WienerSkip",
    "build_network",
    "compile_network",
    "fit_mixture",
    "mean_power",
    "periodic_axes",
    "resolve_edges",
]
