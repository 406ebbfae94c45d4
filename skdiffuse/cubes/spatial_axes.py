"""Axes of space that run steadily, and longitudes that run on across the edge of a map."""

from __future__ import annotations

import numpy as np
import xarray as xr

_LONGITUDES = {"lon", "longitude", "rlon", "grid_longitude", "nlon"}

# A step this much longer than those beside it leaves cells out.
_TEAR = 2.1


def steady_axis(array: xr.DataArray, dim: str, kind: str) -> xr.DataArray:
    """The array with its cells along ``dim`` in the order in which they lie side by side.

    Longitudes that jump (359.75, 0, 0.25 or 179.5, -180) are counted on, so that they are a
    steady axis. Sorted, such a region is torn in two, with the whole globe between its halves:
    they are put together again.

    Parameters
    ----------
    array : DataArray
    dim : str
    kind : str
        "y" or "x", for errors.

    Returns
    -------
    DataArray
        ``array`` itself where nothing is to be done.

    Raises
    ------
    ValueError
        If the coordinate is missing somewhere, repeats values, changes direction, or leaves cells
        out.

    Examples
    --------
    >>> rain = xr.DataArray([1, 2, 3], {"lon": [359.5, 0.0, 0.5]}, dims="lon")
    >>> steady_axis(rain, "lon", "x").lon.values
    array([-0.5,  0. ,  0.5])
    """
    if dim not in array.coords or array[dim].dtype.kind not in "fiu" or array.sizes[dim] < 2:
        return array
    if kind == "x" and _is_longitude(array[dim]):
        array = _contiguous(array, dim)
    _check_steady(array[dim].values.astype(np.float64), dim, kind)
    return array


def _is_longitude(coord: xr.DataArray) -> bool:
    units = str(coord.attrs.get("units", ""))
    return units.startswith("degree") or (not units and str(coord.name).lower() in _LONGITUDES)


def _contiguous(array: xr.DataArray, dim: str) -> xr.DataArray:
    degrees = array[dim].values.astype(np.float64)
    steps = np.diff(degrees)
    jumps = np.flatnonzero(np.abs(steps) > 180)
    if jumps.size != 1 or degrees.size < 3:
        return array
    for order in (np.arange(degrees.size), np.roll(np.arange(degrees.size), -(jumps[0] + 1))):
        turned = degrees[order]
        across = (np.diff(turned) + 180) % 360 - 180
        same_way = np.all(across > 0) or np.all(across < 0)
        if same_way and not _tears(np.abs(across)).any() and np.abs(across).sum() < 360:
            break
    else:
        return array
    # Whole turns, so that the decimals of the file stay; the middle lies within (-180, 180].
    turns = np.round((turned[0] + np.append(0, np.cumsum(across)) - turned) / 360)
    middle = (turned + 360 * turns)[[0, -1]].mean()
    turns -= np.ceil((middle - 180) / 360)
    coord = array[dim]
    dtype = coord.dtype if coord.dtype.kind == "f" else np.float64
    counted_on = xr.Variable(dim, (turned + 360 * turns).astype(dtype), coord.attrs)
    if np.any(order[1:] < order[:-1]):
        array = array.isel({dim: order})
    return array.assign_coords({dim: counted_on})


def _tears(lengths: np.ndarray) -> np.ndarray:
    """Which steps are much longer than both of their neighbours."""
    if lengths.size < 2:
        return np.zeros(lengths.shape, dtype=bool)
    beside = np.maximum(np.append(0, lengths[:-1]), np.append(lengths[1:], 0))
    return lengths > _TEAR * beside


def _check_steady(values: np.ndarray, dim: str, kind: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(
            f"the {kind} coordinate {dim!r} is missing somewhere ({np.isnan(values).sum()} of "
            f"{values.size}): give all of its values with .assign_coords({dim}=...)."
        )
    if np.unique(values).size < values.size:
        raise ValueError(
            f"the {kind} coordinate {dim!r} repeats values: keep each of them once with "
            f".drop_duplicates({dim!r})."
        )
    steps = np.diff(values)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise ValueError(
            f"the {kind} coordinate {dim!r} changes direction: sort the data with .sortby({dim!r})."
        )
    torn = np.flatnonzero(_tears(np.abs(steps)))
    if torn.size:
        at = int(torn[0])
        raise ValueError(
            f"the {kind} coordinate {dim!r} leaves cells out between {values[at]:g} and "
            f"{values[at + 1]:g}: select one of its parts, with .isel({dim}=slice(None, {at + 1})) "
            f"or .isel({dim}=slice({at + 1}, None))."
        )
