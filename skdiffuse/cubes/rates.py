"""From what files hold (fluxes, amounts, totals, reflectivities) to rates in mm/h."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import xarray as xr

from skdiffuse.cubes.time_axis import step_lengths
from skdiffuse.cubes.units import is_amount, is_reflectivity, mm_per_hour


def interval_hours(
    array: xr.DataArray, bounds: xr.DataArray | None, interval: str | float | None
) -> float | np.ndarray | None:
    """Hours over which an amount fell: stated by the caller, the time bounds or cell_methods.

    Parameters
    ----------
    array : DataArray
    bounds : DataArray of shape (time, 2) or (2,), optional
    interval : str or float, optional
        "1h", "5min" or a number of hours.

    Returns
    -------
    float, ndarray of shape (time,) or None
        None where nothing states it; the spacing of the times is not evidence enough (a file
        thinned to every third hour may still hold amounts of one hour).
    """
    if interval is not None:
        try:
            if isinstance(interval, str):
                hours = pd.to_timedelta(interval).total_seconds() / 3600
            else:
                hours = float(interval)
        except (TypeError, ValueError):
            raise ValueError(
                f"interval must be a duration such as '1h' or '5min', or hours; got {interval!r}."
            ) from None
        if not (np.isfinite(hours) and hours > 0):
            raise ValueError(f"interval must be longer than 0; got {interval!r}.")
        return hours
    if bounds is not None and bounds.sizes[bounds.dims[-1]] == 2:
        pairs = bounds.values.reshape(-1, 2)
        hours = np.array([step_lengths(pair)[0] for pair in pairs]) / 3600
        if np.any(hours <= 0):
            raise ValueError("the time bounds hold an interval that is not longer than 0.")
        return float(hours[0]) if np.ptp(hours) < 1e-6 * hours[0] else hours
    methods = str(array.attrs.get("cell_methods", ""))
    match = re.search(r"time:\s*sum\s*\(\s*interval:\s*([\d.]+)\s*(\w+)", methods)
    if match:
        return pd.to_timedelta(f"{match[1]} {match[2]}").total_seconds() / 3600
    return None


def to_rate(
    array: xr.DataArray,
    units: str,
    time_dim: str,
    *,
    hours: float | np.ndarray | None,
    z_r: tuple[float, float] | None,
) -> xr.DataArray:
    """Convert to mm/h.

    Parameters
    ----------
    array : DataArray
    units : str
    time_dim : str
    hours : float or ndarray of shape (time,), optional
        Interval of amounts.
    z_r : (a, b), optional
        The relation Z = a R^b by which reflectivity becomes rain.

    Raises
    ------
    ValueError
        If the units are unknown, an amount has no interval or a reflectivity no relation.
    """
    if is_reflectivity(units):
        if z_r is None:
            raise ValueError(
                "the data are radar reflectivity (dBZ), and no file says how it becomes rain: "
                "state Z = a R**b, e.g. z_r=(200, 1.6) (Marshall and Palmer 1948)."
            )
        a, b = z_r
        return (10 ** (array / 10) / a) ** (1 / b)
    if is_amount(units) and isinstance(hours, np.ndarray):
        return array * mm_per_hour(units, 1.0) / xr.DataArray(hours, dims=time_dim)
    factor = mm_per_hour(units, None if hours is None else float(np.mean(hours)))
    return array if factor == 1.0 else array * factor


def difference_totals(
    array: xr.DataArray, time_dim: str
) -> tuple[xr.DataArray, float | np.ndarray | None]:
    """Amounts, and hours over which they fell, from running totals since the start of a run.

    Where the total falls back, a new run has begun and the total is the amount since then
    (ERA5-Land starts anew each day). The first time keeps its total where the start of the run
    is known (coordinate ``forecast_reference_time``), and is missing otherwise.

    Returns
    -------
    amounts : DataArray
    hours : float, ndarray of shape (time,) or None
        None for a single time of unknown start.

    Examples
    --------
    >>> total = xr.DataArray([1.0, 3.0, 3.5, 0.5], {"time": [0, 3600, 7200, 10800]}, dims="time")
    >>> amounts, hours = difference_totals(total, "time")
    >>> amounts.values, hours
    (array([nan, 2. , 0.5, 0.5]), 1.0)
    """
    before = array.shift({time_dim: 1})
    start = array.coords.get("forecast_reference_time")
    times = array[time_dim].values
    hours: np.ndarray | None
    if start is not None and start.ndim == 0:
        first = xr.DataArray(np.arange(times.size) == 0, dims=time_dim)
        before = before.where(~first, 0.0)
        hours = step_lengths(np.append(start.values[()], times)) / 3600
    else:
        hours = step_lengths(times) / 3600
        hours = np.append(hours[:1], hours) if hours.size else None
    step = array - before
    # Packing makes the total of a cell waver; that of the whole field falls at a new start only.
    space = [dim for dim in array.dims[-2:] if dim != time_dim]
    restarted = array.mean(space) < 0.5 * before.mean(space)
    amounts = xr.where(restarted, array, step.clip(min=0), keep_attrs=True)
    amounts = amounts.where(step.notnull()).assign_attrs(array.attrs)
    if hours is not None and np.ptp(hours) < 1e-6 * hours[0]:
        return amounts, float(hours[0])
    return amounts, hours
