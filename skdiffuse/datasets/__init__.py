"""Precipitation to learn from: synthetic rain of known law, and files."""

from skdiffuse.cubes import open_cube
from skdiffuse.datasets.precipitation_law import PrecipitationLaw
from skdiffuse.datasets.synthetic import make_precipitation
from skdiffuse.datasets.ukcp18 import made_up_ukcp18, prepare_ukcp18

__all__ = [
    "PrecipitationLaw",
    "made_up_ukcp18",
    "make_precipitation",
    "open_cube",
    "prepare_ukcp18",
]
