"""Arrays that belong to a cube, brought to its dimensions and its order of labels."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
import xarray as xr

__all__ = ["align_like"]


def align_like(mask: object, X: np.ndarray | xr.DataArray, name: str = "mask") -> np.ndarray:
    """Values of a mask, or of any other array that goes with a cube, in the cube's order.

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
    if theirs.equals(ours):
        return np.arange(len(ours))
    if theirs.is_unique and ours.is_unique:
        found = theirs.get_indexer(ours)
        if len(theirs) == len(ours) and (found >= 0).all():
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
