"""What every score needs of its inputs: plain floating-point arrays, read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np

from skdiffuse.cubes.alignment import same_labels
from skdiffuse.cubes.layout import kind_of
from skdiffuse.runtime.array_types import ArrayOrDataArray
from skdiffuse.runtime.water_units import same_water_units

TRACE = 0.01
"""Rain below this rate (mm/h) counts as dry."""

BLOCK_CELLS = 2**22
"""Cells of a lazy array that are in memory at once."""


def to_numpy(X: Any, name: str = "X") -> np.ndarray:
    """Return `X` (array, DataArray, dask array, torch tensor) as a floating-point NumPy array.

    Masked cells become NaN, integers float64 and float16 float32; float32 and float64 stay.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.arrays import to_numpy
    >>> to_numpy(np.ma.masked_equal([1, 2], 2))
    array([ 1., nan])
    """
    if hasattr(X, "detach"):
        X = X.detach().cpu()
        X = X.float().numpy() if str(X.dtype) == "torch.bfloat16" else X.numpy()
    if isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(X.astype(np.result_type(X.dtype, np.float32)), np.nan)
    X = np.asarray(X)
    if X.dtype.kind in "biu":
        return X.astype(np.float64)
    if X.dtype.kind != "f":
        raise TypeError(
            f"{name} must hold real numbers (rain rates in mm/h); got dtype {X.dtype}. "
            "Convert it with astype(float) first."
        )
    return X.astype(np.float32) if X.dtype.itemsize < 4 else X


def is_lazy(X: Any) -> bool:
    """Return whether `X` is a dask array, or a DataArray that holds one."""
    return hasattr(getattr(X, "data", X), "dask")


def lazy_or_numpy(X: Any, name: str = "X") -> Any:
    """Return a dask array as it is (out of its DataArray), everything else by `to_numpy`."""
    if not is_lazy(X):
        return to_numpy(X, name)
    return X.data if hasattr(X, "dims") else X


def _parts(X: Any, axis: int, cells_of_one: int) -> Iterator[slice]:
    """Slices along an axis of a lazy array of about `BLOCK_CELLS` cells, or one of all.

    They end where chunks end as far as possible: a chunk cut in two is computed twice.
    """
    n = X.shape[axis]
    if not is_lazy(X):
        yield slice(0, n)
        return
    most = max(1, BLOCK_CELLS // max(1, cells_of_one))
    ends = np.cumsum(X.chunks[axis])
    start = 0
    while start < n:
        fitting = ends[(ends > start) & (ends <= start + most)]
        stop = int(fitting[-1]) if fitting.size else min(start + most, n)
        yield slice(start, stop)
        start = stop


def blocks(X: Any, name: str = "X", item_ndim: int = 0) -> Iterator[np.ndarray]:
    """Yield `X` as NumPy blocks of whole items (its last `item_ndim` dimensions).

    An array in memory comes as one block; a lazy one (dask) in slices along its first
    dimension, of about `BLOCK_CELLS` cells, so that no more is ever loaded.
    """
    X = lazy_or_numpy(X, name)
    if X.ndim <= item_ndim:
        yield to_numpy(X, name)
        return
    for part in _parts(X, 0, int(np.prod(X.shape[1:]))):
        yield to_numpy(X[part], name)


def whole_series(X: Any, name: str = "X") -> Iterator[np.ndarray]:
    """Yield all of (..., time, y, x) in blocks (n, time, y, x) that keep whole series of cells.

    One long lazy series comes in bands of rows.
    """
    X = lazy_or_numpy(X, name)
    if X.ndim > 3:
        for block in blocks(X, name, item_ndim=3):
            yield block.reshape(-1, *block.shape[-3:])
        return
    T, _, nx = X.shape
    for part in _parts(X, 1, T * nx):
        yield to_numpy(X[:, part], name)[None]


def frames_with_next(X: Any, ahead: int, name: str = "X") -> Iterator[tuple[np.ndarray, int]]:
    """Yield sequences (n, frames, y, x) with how many of their frames begin a pair.

    One long lazy series comes in stretches that share `ahead` frames with the next, so that
    every pair of frames up to `ahead` apart is in one stretch, begun by one of its first.
    """
    X = lazy_or_numpy(X, name)
    if X.ndim > 3:
        for block in whole_series(X, name):
            yield block, block.shape[1]
        return
    for part in _parts(X, 0, int(np.prod(X.shape[1:]))):
        stretch = to_numpy(X[part.start : part.stop + ahead], name)
        yield stretch[None], part.stop - part.start


def paired_blocks(
    y: Any, x: Any, item_ndim: int = 0
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield where they stand, and matching NumPy blocks of y (S) and of x (m, ..., S).

    Blocks are slices along the first dimension of y, and hold whole items.
    """
    if y.ndim <= item_ndim or not (is_lazy(y) or is_lazy(x)):
        yield slice(None), to_numpy(y, "obs"), to_numpy(x, "ens")
        return
    axis = x.ndim - y.ndim
    guide, guide_axis = (x, axis) if is_lazy(x) else (y, 0)
    for part in _parts(guide, guide_axis, int(np.prod(x.shape)) // max(1, x.shape[axis])):
        yield part, to_numpy(y[part], "obs"), to_numpy(x[(slice(None),) * axis + (part,)], "ens")


def valid_values(X: Any, name: str = "X") -> np.ndarray:
    """Return the non-missing values of `X`, flattened; an error where there are none.

    Examples
    --------
    >>> from skdiffuse.metrics.arrays import valid_values
    >>> valid_values([[1.0, float("nan")], [0.5, 0.0]])
    array([1. , 0.5, 0. ])
    """
    parts = [block[~np.isnan(block)] for block in blocks(X, name)]
    values = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])
    if values.size == 0:
        raise ValueError(f"{name} has no valid value: it is empty or all NaN.")
    return values


def check_ndim(X: Any, minimum: int, name: str) -> None:
    """Raise where `X` has fewer than `minimum` dimensions."""
    if np.ndim(X) < minimum:
        dims = ("y, x", "time, y, x")[minimum - 2]
        raise ValueError(
            f"{name} must have at least {minimum} dimensions (..., {dims}); "
            f"got shape {np.shape(X)}."
        )


def place_of(axis: Any, parameter: str, X: Any, name: str) -> int:
    """Return the place of a dimension that a parameter gives by number, or say what is wrong."""
    if isinstance(axis, Integral) and -X.ndim <= axis < X.ndim:
        return int(axis)
    raise ValueError(
        f"{parameter}={axis!r} is no dimension of {name}, which has {X.ndim}, of shape "
        f"{tuple(X.shape)}: give a whole number from 0 to {X.ndim - 1}, or the name of a dimension "
        "of a DataArray."
    )


def check_whole(value: Any, name: str, lowest: int = 1) -> int:
    """Return a whole number of at least `lowest`, or say what is wrong with it."""
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= lowest:
        return int(value)
    raise ValueError(f"{name}={value!r} must be a whole number of at least {lowest}.")


def check_same_grid(obs: Any, sim: Any, names: tuple[str, str] = ("obs", "sim")) -> None:
    """Raise unless two cubes share their grid, and their calendar and units where they say.

    Grids are compared in their last two dimensions: size, dimension names and coordinates.

    Parameters
    ----------
    obs, sim : array-like of shape (..., y, x)
        Cubes.
    names : (str, str), default=("obs", "sim")
        What the message calls them.
    """
    a, b = names
    check_ndim(obs, 2, a)
    check_ndim(sim, 2, b)
    if np.shape(obs)[-2:] != np.shape(sim)[-2:]:
        raise ValueError(
            f"{a} and {b} lie on different grids: (y, x) is {np.shape(obs)[-2:]} in {a} and "
            f"{np.shape(sim)[-2:]} in {b}. Regrid or crop one of them."
        )
    check_same_units(obs, sim, names)
    if not (hasattr(obs, "dims") and hasattr(sim, "dims")):
        return
    for p, q in zip(obs.dims[-2:], sim.dims[-2:], strict=True):
        if p != q:
            raise ValueError(
                f"{a} and {b} name their grid differently: {p!r} in {a} is {q!r} in {b}. "
                "Rename or transpose one of them."
            )
    _check_same_places(obs, sim, obs.dims[-2:], names)
    _check_same_calendar(obs, sim, names)


def _check_same_places(obs: Any, sim: Any, dims: Any, names: tuple[str, str]) -> None:
    """Raise where two DataArrays give their cells different numbers as coordinates."""
    a, b = names
    for key, known in obs.coords.items():
        of_cells = key in dims or kind_of(obs, key) in ("y", "x")
        if not of_cells or not known.ndim or key not in sim.coords or not {*known.dims} <= {*dims}:
            continue
        u = np.asarray(known)
        v = np.asarray(sim[key].transpose(*known.dims, missing_dims="ignore"))
        numbers = u.dtype.kind in "fiu" and v.dtype.kind in "fiu" and u.size > 0
        if numbers and u.shape == v.shape and not same_labels(u, v):
            first, last, there, end = u.flat[0], u.flat[-1], v.flat[0], v.flat[-1]
            raise ValueError(
                f"{a} and {b} lie on different grids: coordinate {key!r} runs "
                f"{first:g}..{last:g} in {a} and {there:g}..{end:g} in {b}. Regrid or crop one of "
                f"them, or drop the coordinate with {b}.drop_vars({key!r}) where it is wrong."
            )


def _check_same_calendar(obs: Any, sim: Any, names: tuple[str, str]) -> None:
    p, q = calendar(obs), calendar(sim)
    if p and q and p != q:
        raise ValueError(
            f"{names[0]} and {names[1]} have different calendars: {p} and {q}. Convert one of "
            "them with xarray's convert_calendar."
        )


def check_same_cases(obs: Any, sim: Any, names: tuple[str, str] = ("obs", "sim")) -> None:
    """Raise unless a forecast is for the places and times of the observations, if they say.

    Of two DataArrays the dimensions that both have are compared: numbers, times, calendars.
    """
    check_same_units(obs, sim, names)
    if not (hasattr(obs, "dims") and hasattr(sim, "dims")):
        return
    _check_same_calendar(obs, sim, names)
    check_same_labels(obs, sim, [d for d in obs.dims if d in sim.dims], names)


def check_same_labels(obs: Any, sim: Any, dims: Any, names: tuple[str, str]) -> None:
    """Raise where two DataArrays have other numbers or times along some dimensions of both."""
    a, b = names
    _check_same_places(obs, sim, dims, names)
    for dim in dims:
        if dim not in obs.coords or dim not in sim.coords:
            continue
        u, v = np.asarray(obs[dim]), np.asarray(sim[dim])
        times = [w.dtype.kind in "mM" or hasattr(w.flat[0], "calendar") for w in (u, v) if w.size]
        if len(times) == 2 and all(times) and u.shape == v.shape and np.any(u != v):
            raise ValueError(
                f"{a} and {b} are of different times: {dim!r} runs {str(u[0])[:16]} to "
                f"{str(u[-1])[:16]} in {a} and {str(v[0])[:16]} to {str(v[-1])[:16]} in {b}. "
                "Select the same times from both."
            )


def check_same_units(obs: Any, sim: Any, names: tuple[str, str] = ("obs", "sim")) -> None:
    """Raise where both cubes state their units and the statements differ."""
    units = [str(getattr(X, "attrs", {}).get("units", "")) for X in (obs, sim)]
    if all(units) and not same_water_units(*units):
        raise ValueError(
            f"{names[0]} and {names[1]} differ in units: {units[0]!r} and {units[1]!r}. "
            "Convert both to mm h-1."
        )


def like(
    obs: Any, values: np.ndarray, name: str, units: str, item_ndim: int = 0
) -> ArrayOrDataArray:
    """Return scores of the cells (or items) of `obs` as a DataArray where that is one."""
    if not hasattr(obs, "dims"):
        return values
    first = obs.isel({d: 0 for d in obs.dims[obs.ndim - item_ndim :]}, drop=True)
    coords = {c: v for c, v in first.coords.items() if set(v.dims) <= set(first.dims)}
    attrs = {"long_name": name.replace("_", " "), "units": units}
    return type(obs)(values, coords, first.dims, name=name, attrs=attrs)


def calendar(X: Any) -> str | None:
    """Return the calendar of a DataArray's time coordinate; None where there is none.

    Examples
    --------
    >>> import numpy as np, xarray
    >>> from skdiffuse.metrics.arrays import calendar
    >>> hours = xarray.date_range("2000-01-01", periods=2, calendar="360_day", use_cftime=True)
    >>> calendar(xarray.DataArray(np.zeros(2), {"time": hours}, "time")), calendar(np.zeros(2))
    ('360_day', None)
    """
    for name in getattr(X, "coords", {}):
        values = np.asarray(X[name]).ravel()
        if values.dtype.kind == "M":
            return "standard"
        if values.size and hasattr(values[0], "calendar"):
            found = str(values[0].calendar)
            return "standard" if found in ("gregorian", "proleptic_gregorian") else found
    return None
