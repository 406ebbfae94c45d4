"""Which model of the package knows a cube's kind of rain."""

from __future__ import annotations

import xarray as xr

from skdiffuse.cubes import validate_cube
from skdiffuse.cubes.spacing import spacing_in_metres
from skdiffuse.estimator.named_models import list_models
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.same_kind import RainKind

__all__ = ["MADE_UP", "model_of_made_up_rain", "model_that_knows"]

MADE_UP = "skdiffuse/synthetic"
# Those of real rain; of two that know one kind, the one whose free rain has the right climate.
_NAMES = ("hourly_4km_small", "five_minutes_2km", "era5")


def model_of_made_up_rain() -> tuple[PrecipDiffusion, str]:
    """The model of `make_precipitation`, and its name."""
    return PrecipDiffusion.load(MADE_UP), MADE_UP


def model_that_knows(cube: xr.DataArray) -> tuple[PrecipDiffusion, str] | None:
    """The model trained on rain of a cube's step, grid and quantity, and its name.

    Parameters
    ----------
    cube : DataArray of shape (time, y, x)
        Rain in mm/h. Where it does not tell its step and its spacing, no model is said to know it.

    Returns
    -------
    tuple of PrecipDiffusion and str, or None
    """
    checked = validate_cube(cube)
    told = checked.template
    if told is None or told.time_step is None or spacing_in_metres(told) is None:
        return None
    cards = list_models()
    for name in _NAMES:
        # What the card rules out need not be read.
        card = cards.get(name)
        if card is None or card.time_step != told.time_step:
            continue
        if any(n < m for n, m in zip(checked.field_shape, card.window[1:], strict=True)):
            continue
        model = PrecipDiffusion.load(f"skdiffuse/{name}")
        kind = RainKind.of(model.model_)
        if kind.placed is not None and checked.field_shape != tuple(kind.placed):
            continue
        try:
            kind.check(checked)
        except ValueError:
            continue
        return model, f"skdiffuse/{name}"
    return None
