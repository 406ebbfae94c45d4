"""Which dimension of a DataArray is which, and the order that functions expect."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import xarray as xr

from skdiffuse.cubes.conventions import AXIS_NAMES
from skdiffuse.cubes.time_axis import is_time_like

__all__ = ["has_names", "kind_of", "ordered"]

_STANDARD_NAMES = {
    "time": "time", "forecast_period": "time", "realization": "member",
    "latitude": "y", "grid_latitude": "y", "projection_y_coordinate": "y",
    "longitude": "x", "grid_longitude": "x", "projection_x_coordinate": "x",
}  # fmt: skip
_LETTERS = {"T": "time", "Y": "y", "X": "x"}
_LEAD_TIMES = {"step", "lead", "leadtime", "lead_time", "forecast_period", "prediction_timedelta"}
_LEADING = {
    "n", "sample", "samples", "sequence", "sequences", "case", "cases", "event", "events",
    "window", "windows", "batch",
}  # fmt: skip


def has_names(X: object) -> bool:
    """Whether something is a DataArray whose dimensions somebody named.

    Examples
    --------
    >>> has_names(xr.DataArray([0.0])), has_names(xr.DataArray([0.0], dims="time"))
    (False, True)
    """
    return isinstance(X, xr.DataArray) and not any(
        re.fullmatch(r"dim_\d+", str(dim)) for dim in X.dims
    )


def kind_of(X: xr.DataArray, dim: Hashable) -> str | None:
    """Return "time", "y", "x", "member" or "case" where names or labels tell; else None.

    Examples
    --------
    >>> rain = xr.DataArray([[0.0]], dims=("number", "latitude"))
    >>> [kind_of(rain, dim) for dim in rain.dims]
    ['member', 'y']
    """
    name = str(dim).lower()
    coord = X.coords.get(dim)
    attrs = {} if coord is None else coord.attrs
    stated = _STANDARD_NAMES.get(str(attrs.get("standard_name"))) or _LETTERS.get(
        str(attrs.get("axis"))
    )
    if stated:
        return stated
    for kind, names in AXIS_NAMES.items():
        if name in names:
            return kind
    if name in _LEAD_TIMES:
        return "time"
    if name in _LEADING:
        return "case"
    return "time" if coord is not None and is_time_like(coord.values) else None


def ordered(X: Any, axes: tuple[str, ...] = ("time", "y", "x"), name: str = "X") -> Any:
    """Return an array with its dimensions in the order that functions expect.

    Parameters
    ----------
    X : array-like
        A DataArray is transposed where names, attributes or dates say which dimension is which;
        dimensions of which nothing is known stay where they stand. Others come back as they are.
    axes : tuple of {"time", "y", "x"}, default=("time", "y", "x")
        What the last dimensions are.
    name : str, default="X"
        What errors call `X`.

    Returns
    -------
    array-like
        `X` itself where nothing is to be done.

    Raises
    ------
    ValueError
        Where the names contradict the order and do not tell the right one.

    Examples
    --------
    >>> import numpy as np
    >>> rain = xr.DataArray(np.zeros((2, 3, 4)), dims=("lon", "lat", "time"))
    >>> ordered(rain).dims
    ('time', 'lat', 'lon')
    """
    if not has_names(X) or X.ndim < len(axes):
        return X
    kinds = {dim: kind_of(X, dim) for dim in X.dims}
    tail = X.dims[-len(axes) :]
    placed: dict[str, Hashable] = {}
    for kind, here in zip(axes, tail, strict=True):
        candidates = [dim for dim in X.dims if kinds[dim] == kind]
        if here in candidates:
            placed[kind] = here
        elif len(candidates) == 1:
            placed[kind] = candidates[0]
        elif candidates:
            raise _unclear(X, name, axes, f"{candidates} may all be {kind}")
    _fill(X, name, axes, placed, kinds)
    if "time" in axes:
        _check_frames(X, name, axes, placed, kinds)
    last = [placed[kind] for kind in axes]
    order = [dim for dim in X.dims if dim not in last] + last
    return X if tuple(order) == X.dims else X.transpose(*order)


def _fill(
    X: xr.DataArray,
    name: str,
    axes: tuple[str, ...],
    placed: dict[str, Hashable],
    kinds: dict[Hashable, str | None],
) -> None:
    """Find dimensions for what no name tells, among those of which nothing is known."""
    tail = dict(zip(axes, X.dims[-len(axes) :], strict=True))
    free = [d for d in X.dims if kinds[d] in (None, "case") and d not in placed.values()]
    if all(tail[kind] == dim for kind, dim in placed.items()):
        for kind in axes:
            if kind not in placed and tail[kind] in free:
                placed[kind] = tail[kind]
                free.remove(tail[kind])
    open_ = [kind for kind in axes if kind not in placed]
    if open_ and len(open_) != len(free):
        raise _unclear(X, name, axes, f"none that stands there is {' or '.join(open_)}")
    placed.update(zip(open_, free, strict=True) if open_ else ())


def _check_frames(
    X: xr.DataArray,
    name: str,
    axes: tuple[str, ...],
    placed: dict[str, Hashable],
    kinds: dict[Hashable, str | None],
) -> None:
    """Refuse dates before an unknown dimension that stands where frames are looked for.

    They may be those of sequences, whose frames the unknown dimension counts, or of the frames.
    """
    here = X.dims[-len(axes)]
    if here in placed.values() or kinds[here] is not None:
        return
    raise _unclear(
        X, name, axes, f"{here!r} stands where frames should, and {placed['time']!r} is time"
    )


def _unclear(X: xr.DataArray, name: str, axes: tuple[str, ...], why: str) -> ValueError:
    names = {"time": "lead", "y": "y", "x": "x"}
    last = ", ".join(axes)
    renamed = {str(d): names[k] for d, k in zip(X.dims[-len(axes) :], axes, strict=True)}
    return ValueError(
        f"{name} has the dimensions {X.dims}, of which the last should be ({last}): {why}. Bring "
        f"it to that order with {name}.transpose(...), or where it has it already give its "
        f"dimensions names that say so, {name}.drop_vars(list({name}.coords)).rename({renamed})."
    )
