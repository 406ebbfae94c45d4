"""From what files hold (fluxes, amounts, totals, reflectivities) to rates in mm/h."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from skdiffuse.cubes.time_axis import step_lengths
from skdiffuse.cubes.units import is_reflectivity, mm_per_hour

# A fall of a running total that packing can cause: in mm, and as a share of the largest total
# (the coarsest packing in use has steps of 1/16 mm, or 8 bits for the whole range).
_NOISE_MM, _NOISE_SHARE = 0.1, 0.02
# A total falls everywhere or, by faults of models, in single cells.
_FALLEN_SHARE = 0.1
# Smaller than the trace below which rain counts as dry.
_NEGATIVE_NOISE = -0.01


def to_rate(
    array: xr.DataArray, units: str, *, z_r: tuple[float, float] | None = None
) -> xr.DataArray:
    """Convert a rate or a reflectivity to mm/h, and an amount to mm.

    Parameters
    ----------
    array : DataArray
    units : str
    z_r : (a, b), optional
        The relation Z = a R^b by which reflectivity becomes rain.

    Raises
    ------
    ValueError
        If the units are unknown, or a reflectivity has no relation.
    """
    if is_reflectivity(units):
        if z_r is None:
            raise ValueError(
                "the data are radar reflectivity (dBZ), and no file says how it becomes rain: "
                "state Z = a R**b, e.g. z_r=(200, 1.6) (Marshall and Palmer 1948)."
            )
        a, b = z_r
        return (10 ** (array / 10) / a) ** (1 / b)
    factor = mm_per_hour(units, 1.0)
    rate = array if factor == 1.0 else array * factor
    if array.dtype.kind != "f":
        return rate
    # Packing and advection leave values such as -1e-20. Codes (-1, -3, -999) are whole numbers.
    noise = (rate < 0) & (rate > _NEGATIVE_NOISE) & (array != array.round())
    return rate.where(~noise, 0)


def difference_totals(
    array: xr.DataArray, time_dim: str, fresh: np.ndarray | None = None
) -> tuple[xr.DataArray, float | np.ndarray]:
    """Amounts, and hours over which they fell, from running totals.

    Parameters
    ----------
    array : DataArray
        Totals in mm.
    time_dim : str
    fresh : ndarray of bool of shape (time,), optional
        Where the total is that of one step alone, counted from its beginning. Default: a total
        counts anew where it falls in a tenth of the wet cells by more than packing can
        make it waver, and the first amount is missing, as nobody knows when its total began.

    Returns
    -------
    amounts : DataArray
    hours : float or ndarray of shape (time,)
        The length of the steps in time; NaN for a single time.

    Raises
    ------
    ValueError
        If the totals fall where they cannot: within a run, or twice in succession. Raised when
        the values are computed, where they are lazy.

    Examples
    --------
    >>> total = xr.DataArray([1.0, 3.0, 3.5, 0.5], {"time": [0, 3600, 7200, 10800]}, dims="time")
    >>> amounts, hours = difference_totals(total, "time")
    >>> amounts.values, hours
    (array([nan, 2. , 0.5, 0.5]), 1.0)
    """
    before = array.shift({time_dim: 1})
    if fresh is None:
        fallen = _fallen(array, before, [dim for dim in array.dims if dim != time_dim])
        previous = fallen.shift({time_dim: 1}, fill_value=False)
        amounts = xr.apply_ufunc(
            _since_last, array, before, fallen, previous,
            dask="parallelized", output_dtypes=[array.dtype],
        )  # fmt: skip
    else:
        amounts = xr.apply_ufunc(
            _within_run, array, before, xr.DataArray(fresh, dims=time_dim),
            dask="parallelized", output_dtypes=[array.dtype],
        )  # fmt: skip
    amounts = amounts.transpose(*array.dims).assign_attrs(array.attrs)
    hours = step_lengths(array[time_dim].values) / 3600
    if not hours.size:
        return amounts, np.nan
    hours = np.append(hours[:1], hours)
    return amounts, float(hours[0]) if np.ptp(hours) < 1e-6 * hours[0] else hours


def _fallen(array: xr.DataArray, before: xr.DataArray, space: list[Hashable]) -> xr.DataArray:
    """At which times totals fall in many of the cells in which they could."""
    noise = np.maximum(_NOISE_SHARE * before.max(space), _NOISE_MM)
    wet = (before > noise).sum(space)
    falls = (before - array > noise).sum(space)
    return (falls > 0) & (falls >= _FALLEN_SHARE * wet)


def _since_last(
    total: np.ndarray, before: np.ndarray, fallen: np.ndarray, previous: np.ndarray
) -> np.ndarray:
    if np.any(fallen & previous):
        raise ValueError(
            "the totals fall at two times in succession, so they do not count from the start of "
            "a run: leave out running_total and say how long each amount fell, interval='1h'."
        )
    # A total that cannot be compared is no amount either.
    amounts = np.where(fallen, total, np.clip(total - before, 0, None))
    return np.where(np.isnan(before), np.nan, amounts).astype(total.dtype)


def _within_run(total: np.ndarray, before: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    noise = max(_NOISE_SHARE * np.nanmax(before, initial=0), _NOISE_MM)
    falls = ~fresh & (before - total > noise)
    wet = ~fresh & (before > noise)
    if falls.any() and falls.sum() >= _FALLEN_SHARE * wet.sum():
        raise ValueError(
            "the amounts are said to be totals since one start, but they fall: if each counts "
            "by itself, say how long it fell with interval='1h'; if they count anew after each "
            "midnight, say running_total='1D', and running_total=True if at another time."
        )
    return np.where(fresh, total, np.clip(total - before, 0, None)).astype(total.dtype)
