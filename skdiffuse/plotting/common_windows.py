"""Observed fields cut to the size of generated ones that lie nowhere in particular."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.cubes import GridMetadata
from skdiffuse.cubes.spacing import axis_of
from skdiffuse.cubes.time_axis import find_breaks

__all__ = ["in_windows_of"]


def in_windows_of(obs: Any, simulations: Iterable[Any], n_frames: int | None = None) -> Any:
    """Observed rain as sequences of the simulations' field size, where those have no place.

    A model that was trained on crops generates fields of the size of a crop, with distances from
    the first cell for coordinates: they stand for any part of the observed field, and so all of
    its parts, side by side, are what they are compared with.

    Parameters
    ----------
    obs : DataArray of shape (time, y, x) or (n, time, y, x), or anything else
    simulations : iterable of DataArray or anything else
    n_frames : int or None
        Frames of a sequence; None: of the shortest simulated one.

    Returns
    -------
    DataArray of shape (n, n_frames, y, x), or `obs`
        `obs` itself where a simulation is as large, says where it lies, or is of another size than
        the others.

    Raises
    ------
    ValueError
        If cells are of another size, or `obs` has no stretch without a gap that is long enough.
    """
    simulations = list(simulations)
    if not isinstance(obs, xr.DataArray) or not simulations:
        return obs
    if not all(isinstance(sim, xr.DataArray) and _is_placeless(sim) for sim in simulations):
        return obs
    shapes = {sim.shape[-2:] for sim in simulations}
    rows, columns = simulations[0].shape[-2:]
    fits = rows <= obs.shape[-2] and columns <= obs.shape[-1]
    if len(shapes) > 1 or not fits or obs.shape[-2:] in shapes:
        return obs
    for sim in simulations:
        _check_spacing(obs, sim)
    length = n_frames or min(sim.shape[-3] for sim in simulations)
    return _tiled(obs, length, simulations[0])


def _is_placeless(sim: xr.DataArray) -> bool:
    coords = [sim.coords[dim] for dim in sim.dims[-2:] if dim in sim.coords]
    return all(str(c.attrs.get("long_name", "")).startswith("distance in") for c in coords)


def _check_spacing(obs: xr.DataArray, sim: xr.DataArray) -> None:
    """Refuse cells of another size, or fields the other way round."""
    seen, made = GridMetadata.of(obs), GridMetadata.of(sim)
    for dim, other in zip(obs.dims[-2:], sim.dims[-2:], strict=True):
        a, b = axis_of(seen, str(dim)), axis_of(made, str(other))
        if a and b and a.unit == b.unit and not math.isclose(a.step, b.step, rel_tol=0.02):
            raise ValueError(
                f"obs and sims lie on different grids: cells lie {a} apart along {dim!r} in obs "
                f"and {b} in sims. Regrid one of them, or turn obs with "
                f"isel({dim}=slice(None, None, -1))."
            )


def _tiled(obs: xr.DataArray, length: int, like: xr.DataArray) -> xr.DataArray:
    time, y, x = obs.dims[-3:]
    parts = [_blocks(each, length, like) for each in _stretches(obs) if each.sizes[time] >= length]
    if not parts:
        raise ValueError(
            f"obs has no {length} frames in a row to compare with sequences of as many: give a "
            "longer series, or a smaller n_frames."
        )
    tiled = xr.concat(parts, "sequence") if len(parts) > 1 else parts[0]
    pairs = zip((y, x), like.dims[-2:], strict=True)
    places = {d: like.coords[other] for d, other in pairs if other in like.coords}
    return tiled.assign_coords({d: (d, c.values, c.attrs) for d, c in places.items()})


def _stretches(obs: xr.DataArray) -> list[xr.DataArray]:
    """Parts without a gap in time; sequences have none."""
    time = obs.dims[-3]
    if obs.ndim == 4 or time not in obs.coords or obs.coords[time].dtype.kind not in "mMiufO":
        return [obs]
    breaks, _ = find_breaks(obs.coords[time].values, name="obs")
    ends = [0, *(np.flatnonzero(breaks) + 1), obs.sizes[time]]
    return [obs.isel({time: slice(a, b)}) for a, b in pairwise(ends)]


def _blocks(series: xr.DataArray, length: int, like: xr.DataArray) -> xr.DataArray:
    """Blocks side by side in time and space, as sequences."""
    dims = series.dims[-3:]
    sizes = dict(zip(dims, (length, *like.shape[-2:]), strict=True))
    bare = series.drop_vars(list(series.coords))
    blocks = bare.coarsen(sizes, boundary="trim").construct(
        {dim: (f"_{dim}_block", dim) for dim in dims}
    )
    numbers = [dim for dim in blocks.dims if dim not in dims]
    rows = blocks.transpose(*numbers, *dims)
    data = rows.data.reshape(-1, *rows.shape[len(numbers) :])
    return xr.DataArray(data, dims=("sequence", *dims), name=series.name, attrs=series.attrs)
