"""Pictures of rain and of how well it is simulated, as scikit-learn Displays."""

from skdiffuse.plotting.colours import RAIN_LEVELS, rain_colormap, rain_norm
from skdiffuse.plotting.denoising_display import DenoisingDisplay
from skdiffuse.plotting.distribution import IntensityHistogramDisplay, QuantileQuantileDisplay
from skdiffuse.plotting.evaluation_page import evaluation_report
from skdiffuse.plotting.evaluation_result import Evaluation
from skdiffuse.plotting.explorer import add_explorer, explore
from skdiffuse.plotting.forecast_skill import FSSDisplay, LeadTimeDisplay
from skdiffuse.plotting.frames import FramesDisplay, animate
from skdiffuse.plotting.html_report import HtmlReport
from skdiffuse.plotting.maps import BiasMapDisplay
from skdiffuse.plotting.place_display import PlaceForecastDisplay
from skdiffuse.plotting.power_spectrum import PowerSpectrumDisplay
from skdiffuse.plotting.reliability import RankHistogramDisplay, ReliabilityDisplay
from skdiffuse.plotting.return_levels import ReturnLevelDisplay
from skdiffuse.plotting.roc import RocDisplay
from skdiffuse.plotting.spread_skill import SpreadSkillDisplay
from skdiffuse.plotting.transform_display import TransformDisplay

__all__ = [
    "RAIN_LEVELS",
    "BiasMapDisplay",
    "DenoisingDisplay",
    "Evaluation",
    "FSSDisplay",
    "FramesDisplay",
    "HtmlReport",
    "IntensityHistogramDisplay",
    "LeadTimeDisplay",
    "PlaceForecastDisplay",
    "PowerSpectrumDisplay",
    "QuantileQuantileDisplay",
    "RankHistogramDisplay",
    "ReliabilityDisplay",
    "ReturnLevelDisplay",
    "RocDisplay",
    "SpreadSkillDisplay",
    "TransformDisplay",
    "add_explorer",
    "animate",
    "evaluation_report",
    "explore",
    "rain_colormap",
    "rain_norm",
]
