"""Ensembles as they come, from any model: members, frames, rows and columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.cubes.layout import ordered
from skdiffuse.cubes.time_axis import find_breaks, is_time_like
from skdiffuse.cubes.validation import check_rate_units
from skdiffuse.runtime.durations import in_hours

__all__ = ["MEMBER", "as_ensemble", "step_of"]

MEMBER = "realization"


def as_ensemble(forecast: Any, name: str = "forecast") -> xr.DataArray:
    """An ensemble with dimensions (realization, time, y, x), whatever the last three are called.

    Parameters
    ----------
    forecast : DataArray or ndarray of shape (members, time, y, x), or (time, y, x) for one member
        Rain in mm/h.
    name : str
        What errors call it.

    Raises
    ------
    TypeError
        If it is a Dataset or holds no numbers.
    ValueError
        If it has other dimensions, or units that are not mm/h.
    """
    if isinstance(forecast, xr.Dataset):
        raise TypeError(
            f"{name} is a Dataset with variables {list(forecast.data_vars)}; pass one of them, or "
            "open_cube(dataset), which finds the precipitation and converts its units."
        )
    if not isinstance(forecast, xr.DataArray):
        values = forecast if hasattr(forecast, "dask") else np.asarray(forecast)
        if values.ndim not in (3, 4):
            raise ValueError(
                f"{name} must be of shape (members, time, y, x), or (time, y, x) for one member; "
                f"got shape {values.shape}."
            )
        forecast = xr.DataArray(values, dims=(MEMBER, "time", "y", "x")[4 - values.ndim :])
    if forecast.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold rain in mm/h; got dtype {forecast.dtype}.")
    check_rate_units(forecast, name)
    if forecast.ndim not in (3, 4):
        raise ValueError(
            f"{name} has the dimensions {forecast.dims}, and an ensemble has one for its members "
            f"besides time, y and x: choose from the others, e.g. {name}.isel("
            f"{forecast.dims[0]}=0), or stack them."
        )
    forecast = ordered(forecast, ("time", "y", "x"), name)
    # One member, or one case, of several says which it is.
    scalars = [n for n in (MEMBER, "weight") if n in forecast.coords and not forecast[n].ndim]
    forecast = forecast.drop_vars(scalars)
    if forecast.ndim == 3:
        return forecast.expand_dims(MEMBER)
    first = forecast.dims[0]
    return forecast if first == MEMBER else forecast.rename({first: MEMBER})


def step_of(series: xr.DataArray, step: Any, name: str = "forecast") -> float:
    """Hours from one frame to the next.

    Parameters
    ----------
    series : DataArray
        Whose last dimension is time.
    step : str, number of hours, timedelta or None
        None: that of its times.

    Raises
    ------
    ValueError
        If nothing tells the step, times say another, or there are gaps.
    """
    given = None if step is None else in_hours(step, "step")
    time = series.dims[-1]
    if time not in series.coords or not is_time_like(series[time].values):
        if given is None:
            raise ValueError(
                f"{name} has no times that tell how long a frame is: say it, e.g. step='5min'."
            )
        return given
    breaks, seconds = find_breaks(series[time].values, name=name, dim=time)
    if breaks.any():
        raise ValueError(
            f"{name} has {int(breaks.sum())} gap(s) in time, over which nothing can be summed: "
            "give one stretch without a gap."
        )
    if seconds is None:
        lead = series.coords.get("lead_time")
        if given is None and lead is not None and lead.size == 1:
            return float(np.ravel(lead.values)[0] / np.timedelta64(1, "s")) / 3600
        if given is None:
            raise ValueError(f"{name} has one frame, of unknown length: say it with step='5min'.")
        return given
    if given is not None and not np.isclose(given, seconds / 3600, rtol=0.02):
        raise ValueError(
            f"step={step!r}, and the times of {name} are {seconds:g} s apart: leave step out."
        )
    return seconds / 3600
