"""Forecasts that any model must beat, with the model's own `fit` and `forecast`."""

from skdiffuse.baselines._advection import Advection
from skdiffuse.baselines._simple import Climatology, LinearInterpolation, Persistence
from skdiffuse.baselines._steps import Steps

__all__ = ["Advection", "Climatology", "LinearInterpolation", "Persistence", "Steps"]
