"""Answers instead of maps: the rain of one place out of an ensemble of any model."""

from skdiffuse.answers.basins import basin_forecast
from skdiffuse.answers.frequency import depth_duration_frequency
from skdiffuse.answers.place import PlaceForecast
from skdiffuse.answers.points import point_forecast

__all__ = ["PlaceForecast", "basin_forecast", "depth_duration_frequency", "point_forecast"]
