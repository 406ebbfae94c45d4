"""Precipitation to learn from: synthetic rain of known law, and files."""

from skdiffuse.cubes import open_cube
from skdiffuse.datasets.precipitation_law import PrecipitationLaw
from skdiffuse.datasets.synthetic import make_precipitation

__all__ = ["PrecipitationLaw", "make_precipitation", "open_cube"]
