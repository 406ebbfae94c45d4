"""Arrays that belong to one another, brought to one order of dimensions and of labels."""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from skdiffuse.cubes.layout import has_names, kind_of, ordered

__all__ = [
    "align_cases",
    "align_grid",
    "align_labels",
    "align_like",
    "label_places",
    "same_labels",
]


def align_like(mask: object, X: np.ndarray | xr.DataArray, name: str = "mask") -> np.ndarray:
    """Return a mask, or any other array that goes with a cube, in the cube's order.

    Parameters
    ----------
    mask : ndarray or DataArray
        A DataArray that goes with a DataArray is laid out by the names of its dimensions, of which
        some may lack, and by the labels along them, in whatever order. Other arrays have the shape
        of `X` or broadcast to it.
    X : ndarray or DataArray
        The cube. Only its shape, names and labels are read.
    name : str, default="mask"
        What errors call `mask`.

    Returns
    -------
    ndarray of the shape of `X` and the dtype of `mask`
        Read-only where it repeats values.

    Raises
    ------
    ValueError
        If a dimension or a label is not one of `X`, one of `X` lacks along a dimension that `mask`
        has, or the shape does not fit.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> rain = xr.DataArray(np.zeros((2, 3)), dims=("y", "x"), coords={"y": [20, 10]})
    >>> north = xr.DataArray([False, True], dims="y", coords={"y": [10, 20]})
    >>> align_like(north, rain)
    array([[ True,  True,  True],
           [False, False, False]])
    """
    if isinstance(mask, xr.DataArray) and isinstance(X, xr.DataArray):
        return _align_by_name(mask, X, name)
    values, shape = np.asarray(mask), np.shape(X)
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        raise ValueError(
            f"{name} of shape {values.shape} does not fit X of shape {shape}; it must have X's "
            f"shape or broadcast to it, e.g. {name}[:, None, None] for whole frames."
        ) from None


def _align_by_name(mask: xr.DataArray, X: xr.DataArray, name: str) -> np.ndarray:
    foreign = [dim for dim in mask.dims if dim not in X.dims]
    if foreign:
        raise ValueError(
            f"{name} has the dimensions {mask.dims}, of which {foreign} are none of X, "
            f"{X.dims}: select one entry with {name}.isel({foreign[0]}=0), or rename "
            f"it with {name}.rename."
        )
    for dim in mask.dims:
        if dim in mask.indexes and dim in X.indexes:
            mask = mask.isel({dim: _positions(mask, X, dim, name)})
        elif mask.sizes[dim] != X.sizes[dim]:
            raise ValueError(
                f"{name} has {mask.sizes[dim]} entries along {dim!r} and X has {X.sizes[dim]}: "
                f"give as many, or leave the dimension out of {name} with {name}.isel({dim}=0)."
            )
    _check_places(mask, X, name)
    present = [dim for dim in X.dims if dim in mask.dims]
    values = mask.transpose(*present).values
    lacking = tuple(axis for axis, dim in enumerate(X.dims) if dim not in mask.dims)
    return np.broadcast_to(np.expand_dims(values, lacking), X.shape)


def _positions(mask: xr.DataArray, X: xr.DataArray, dim: Hashable, name: str) -> np.ndarray:
    """Where in `mask` the labels of `X` are."""
    theirs, ours = mask.indexes[dim], X.indexes[dim]
    found = label_places(theirs, ours)
    if found is not None:
        return found
    raise ValueError(
        f"{name} has other labels along {dim!r} than X: {_in_words(theirs)} against "
        f"{_in_words(ours)}; give those of X, in any order, with {name}.reindex_like(X) or, where "
        f"only the labels differ, {name}.assign_coords({dim}=X[{dim!r}])."
    )


def _check_places(mask: xr.DataArray, X: xr.DataArray, name: str) -> None:
    """Refuse other longitudes and latitudes along dimensions that have no labels."""
    for key, coord in mask.coords.items():
        known = X.coords.get(key)
        if coord.ndim == 0 or key in mask.indexes or known is None:
            continue
        if set(known.dims) != set(coord.dims) or not known.variable.equals(
            coord.variable.transpose(*known.dims)
        ):
            raise ValueError(
                f"{name} has other values of the coordinate {key!r} than X; bring {name} to the "
                f"cells of X, or drop the coordinate with {name}.drop_vars({key!r}) where it is "
                "wrong."
            )


def _in_words(index: pd.Index) -> str:
    return f"{len(index)} from {index[0]} to {index[-1]}" if len(index) else "none"


def same_labels(theirs: Any, ours: Any) -> bool:
    """Whether labels are the same in the same order; numbers within a hundredth of their steps.

    Examples
    --------
    >>> import numpy as np
    >>> metres = 4_400_000 + 10.0 * np.arange(3)
    >>> same_labels(metres.astype(np.float32), metres), same_labels(metres + 10, metres)
    (True, False)
    """
    a, b = np.asarray(theirs), np.asarray(ours)
    if a.shape != b.shape:
        return False
    if not (a.dtype.kind in "fiu" and b.dtype.kind in "fiu") or a.size == 0:
        return bool(np.all(a == b))
    return bool(np.all(np.abs(a.astype(np.float64) - b) <= _tolerance(a, b)))


def _tolerance(a: np.ndarray, b: np.ndarray) -> float:
    """How far equal numbers may lie apart: files round them, and to single precision."""
    largest = float(max(np.nanmax(np.abs(a)), np.nanmax(np.abs(b))))
    steps = np.abs(np.diff(np.sort(b.astype(np.float64), axis=None)))
    steps = steps[steps > 0]
    if not steps.size:
        return 1e-5 * largest
    rounding = max(np.finfo(v.dtype).eps if v.dtype.kind == "f" else 0.0 for v in (a, b))
    return min(0.01 * float(steps.min()) + largest * float(rounding), 0.4 * float(steps.min()))


def label_places(theirs: pd.Index, ours: pd.Index) -> np.ndarray | None:
    """Return where each of our labels is among theirs; None where theirs are not the same set.

    Examples
    --------
    >>> label_places(pd.Index([1.0, 2.0, 3.0]), pd.Index([3.0, 1.0, 2.0]))
    array([2, 0, 1])
    """
    if len(theirs) != len(ours):
        return None
    if theirs.equals(ours) or same_labels(theirs, ours):
        return np.arange(len(ours))
    if not (theirs.is_unique and ours.is_unique):
        return None
    a, b = np.asarray(theirs), np.asarray(ours)
    if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
        there, here = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
        if not same_labels(a[there], b[here]):
            return None
        found = np.empty(len(b), dtype=np.intp)
        found[here] = there
        return found
    found = theirs.get_indexer(ours)
    return found if (found >= 0).all() else None


def align_labels(X: xr.DataArray, like: xr.DataArray, dims: Any) -> xr.DataArray:
    """Bring labels along some dimensions to the order of another array, where they are the same.

    Where they are not, `X` stays as it is.

    Examples
    --------
    >>> X = xr.DataArray([1.0, 2.0], dims="y", coords={"y": [10, 20]})
    >>> align_labels(X, X.isel(y=[1, 0]), ["y"]).values.tolist()
    [2.0, 1.0]
    """
    order: dict[Hashable, Any] = {}
    for dim in dims:
        if dim not in X.indexes or dim not in like.indexes:
            continue
        found = label_places(X.indexes[dim], like.indexes[dim])
        if found is None or np.array_equal(found, np.arange(len(found))):
            continue
        backwards = np.array_equal(found, np.arange(len(found))[::-1])
        # A slice of an array in memory is a view, and of a lazy one no shuffle of its chunks.
        order[dim] = slice(None, None, -1) if backwards else found
    return X.isel(order) if order else X


def align_grid(
    obs: Any, sim: Any, axes: tuple[str, ...] = ("y", "x"), names: tuple[str, str] = ("obs", "sim")
) -> tuple[Any, Any]:
    """Bring two samples that belong to no common cases to one order of dimensions and cells.

    Parameters
    ----------
    obs, sim : array-like of shape (..., y, x)
        Of DataArrays the dimensions are ordered by `ordered`, and the cells of `sim` by the labels
        of `obs`, where they are the same. Others are taken to be in order.
    axes : tuple of str, default=("y", "x")
        What the last dimensions are.
    names : (str, str), default=("obs", "sim")
        What errors call them.

    Returns
    -------
    obs : array-like
    sim : array-like
        Whether the labels are the same is not checked here.

    Raises
    ------
    ValueError
        If names contradict the order and do not tell the right one, or if one has its rows where
        the other has its columns: their grids are then taken to differ by mistake.

    Examples
    --------
    >>> north_up = xr.DataArray([[1.0], [2.0]], dims=("y", "x"), coords={"y": [20, 10]})
    >>> south_up = xr.DataArray([[2.0], [1.0]], dims=("y", "x"), coords={"y": [10, 20]})
    >>> align_grid(north_up, south_up)[1].values.tolist()
    [[1.0], [2.0]]
    """
    given = obs, sim
    obs, sim = ordered(obs, axes, names[0]), ordered(sim, axes, names[1])
    if has_names(obs) and has_names(sim):
        a, b = names
        here, there = ([dim for dim in X.dims if dim in obs.dims[-2:]] for X in given)
        if there == here[::-1] and len(there) == 2:
            raise ValueError(
                f"{a} and {b} name their grid differently: {here[0]!r} in {a} is {there[0]!r} in "
                f"{b}. Use {b}.transpose{sim.dims}, or rename what is misnamed."
            )
        sim = align_labels(sim, obs, [d for d in obs.dims[-2:] if d in sim.dims[-2:]])
    return obs, sim


def align_cases(
    obs: Any,
    sim: Any,
    axis: int | str | None = None,
    axes: tuple[str, ...] = (),
    names: tuple[str, str] = ("obs", "ens"),
) -> tuple[Any, Any, int | str | None]:
    """Bring forecasts to the dimensions, and the order of labels, of what came true.

    Parameters
    ----------
    obs : array-like of shape S
        What came true.
    sim : array-like of shape S, with further dimensions in front
        Of DataArrays the names tell which dimension is which. Where one of both has no names,
        places do.
    axis : int, str or None, default=None
        Dimension of the members in `sim`, None where there is none. 0 is whatever dimension
        `obs` lacks.
    axes : tuple of str, default=()
        What the last dimensions of `obs` are; nothing if their order does not matter.
    names : (str, str), default=("obs", "ens")
        What errors call them.

    Returns
    -------
    obs, sim : array-like
        `sim` with its members first, then what else `obs` lacks, then the dimensions of `obs`.
        Whether the labels are the same is not checked here.
    axis : int, str or None
        Where the members of `sim` are now.

    Raises
    ------
    ValueError
        If `sim` lacks a dimension of `obs`, or `axis` is one of those of `obs`.

    Examples
    --------
    >>> import numpy as np
    >>> obs = xr.DataArray(np.zeros((2, 3)), dims=("time", "x"))
    >>> ens = xr.DataArray(np.zeros((3, 2, 5)), dims=("x", "time", "realization"))
    >>> align_cases(obs, ens, 0)[1].dims
    ('realization', 'time', 'x')
    """
    if not (has_names(obs) and has_names(sim)):
        return _align_one_named(obs, sim, axis, axes, names)
    if axes:
        obs = ordered(obs, axes, names[0])
    lacking = [dim for dim in obs.dims if dim not in sim.dims]
    further = [dim for dim in sim.dims if dim not in obs.dims]
    if lacking:
        raise _other_names(obs, sim, lacking, further, names)
    front = further
    if axis is not None:
        if isinstance(axis, str):
            if axis not in sim.dims:
                return obs, sim, axis
            member: Hashable = axis
        else:
            if not (isinstance(axis, Integral) and -sim.ndim <= axis < sim.ndim):
                return obs, sim, axis
            member = sim.dims[axis]
            if member in obs.dims and axis == 0 and len(further) == 1:
                member = further[0]
        if member in obs.dims:
            raise ValueError(
                f"axis={axis!r} of {names[1]} is {member!r}, which is a dimension of {names[0]} as "
                f"well: give the dimension of the members, one of {further}, by its name."
            )
        front = [member, *(dim for dim in further if dim != member)]
    sim = align_labels(sim.transpose(*front, *obs.dims), obs, obs.dims)
    return obs, sim, None if axis is None else 0


def _align_one_named(
    obs: Any, sim: Any, axis: int | str | None, axes: tuple[str, ...], names: tuple[str, str]
) -> tuple[Any, Any, int | str | None]:
    """Bring the members of a named ensemble to the front; refuse what places would get wrong."""
    if has_names(sim) and axis == 0 and kind_of(sim, sim.dims[0]) != "member":
        members = [dim for dim in sim.dims if kind_of(sim, dim) == "member"]
        if len(members) == 1:
            sim = sim.transpose(members[0], ...)
    for X, name, other in ((obs, *names), (sim, *names[::-1])):
        if axes and has_names(X) and (right := ordered(X, axes, name)) is not X:
            raise ValueError(
                f"{name} has the dimensions {X.dims}, and {other} has no names to go by: bring "
                f"both to the order of {right.dims}, {name} with {name}.transpose{right.dims}."
            )
    return obs, sim, axis


def _other_names(
    obs: xr.DataArray,
    sim: xr.DataArray,
    lacking: list[Hashable],
    further: list[Hashable],
    names: tuple[str, str],
) -> ValueError:
    a, b = names
    text = f"{b} has the dimensions {sim.dims}, and lacks {lacking} of {a}, {obs.dims}"
    renamed = {}
    for dim in lacking:
        kind = kind_of(obs, dim)
        alike = [d for d in further if d not in renamed and kind and kind_of(sim, d) == kind]
        rest = [d for d in further if d not in renamed and kind_of(sim, d) != "member"]
        if alike or rest:
            renamed[(alike or rest)[0]] = dim
    if len(renamed) == len(lacking):
        return ValueError(f"{text}: give both the same names, e.g. {b}.rename({renamed}).")
    return ValueError(f"{text}: add what lacks with {b}.expand_dims, or select it in {a}.")
