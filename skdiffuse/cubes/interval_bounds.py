"""Interval bounds that a cube carries hidden in its times, and whether they still hold.

A DataArray has no room for CF's time bounds, which have a dimension of their own, so that they
are an attribute of its times: from when to when a value counts, in hours. xarray keeps that
attribute through means over hours, whose intervals are longer. What it does drop there is the
encoding of the values: a mark in it says that they are still the ones whose bounds were stated.
"""

from __future__ import annotations

from collections.abc import Hashable

import xarray as xr

from skdiffuse.cubes.time_axis import BOUNDS_OFFSET

_MARK = "skdiffuse_interval_bounds"


class _Stated(list[float]):
    """An offset that holds only as long as the values bear the mark."""


def _time_dim(cube: xr.DataArray) -> Hashable | None:
    """The dimension of times; None for a single field, or where there are no times."""
    return cube.dims[-3] if cube.ndim > 2 and cube.dims[-3] in cube.coords else None


def with_bounds(cube: xr.DataArray, offset: list[float] | None) -> xr.DataArray:
    """The cube, and from when to when its values count, in hours from their times; None: unknown.

    Examples
    --------
    >>> import numpy as np
    >>> times = np.array(["2000-01-01T01", "2000-01-01T02"], dtype="datetime64[ns]")
    >>> hourly = xr.DataArray(np.ones((2, 1, 1)), {"time": times}, ("time", "y", "x"))
    >>> hourly = with_bounds(hourly, [-1.0, 0.0])
    >>> bounds_of(hourly.isel(time=[1])), bounds_of(hourly.rolling(time=2).mean())
    ([-1.0, 0.0], None)
    """
    time_dim = _time_dim(cube)
    if time_dim is None:
        return cube
    # Variables of coordinates are shared between arrays.
    cube = cube.copy(deep=False)
    attrs = {k: v for k, v in cube[time_dim].attrs.items() if k != BOUNDS_OFFSET}
    encoding = {k: v for k, v in cube.encoding.items() if k != _MARK}
    if offset is not None:
        attrs[BOUNDS_OFFSET] = _Stated(float(hours) for hours in offset)
        encoding[_MARK] = True
    cube[time_dim].attrs = attrs
    cube.encoding = encoding
    return cube


def bounds_of(cube: xr.DataArray) -> list[float] | None:
    """The offset that a cube states, if its values are still those that it was stated for.

    An attribute that the user wrote is taken at its word.
    """
    time_dim = _time_dim(cube)
    if time_dim is None:
        return None
    offset = cube[time_dim].attrs.get(BOUNDS_OFFSET)
    if offset is None or (isinstance(offset, _Stated) and not cube.encoding.get(_MARK)):
        return None
    return [float(hours) for hours in offset]


def keep_bounds(result: xr.DataArray, source: xr.DataArray) -> xr.DataArray:
    """A result whose values count for the same intervals, with the bounds of its source."""
    return with_bounds(result, bounds_of(source))
