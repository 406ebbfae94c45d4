"""One cube of several that follow each other in time, each of which was opened by itself."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from skdiffuse.cubes.grids import Grid, refuse_different_grids
from skdiffuse.cubes.interval_bounds import bounds_of, with_bounds
from skdiffuse.cubes.time_axis import calendar_of

# One calendar since 1582, and the names of one.
_ONE_CALENDAR = {"proleptic_gregorian": "standard", "gregorian": "standard"}


def join_cubes(cubes: list[xr.DataArray], names: list[str]) -> xr.DataArray:
    """Join cubes along time, in order of their times.

    Parameters
    ----------
    cubes : list of DataArray
        In mm/h, of dimensions (..., time, y, x).
    names : list of str
        What errors call them.

    Returns
    -------
    DataArray
        Scalar coordinates that differ lie along time; interval bounds that differ are left out.

    Raises
    ------
    ValueError
        If dimensions, variables, statistics, calendars, members or grids differ.
    """
    names = [f"{name!r}" for name in names]
    if len(set(names)) < len(names):
        names = [f"{name} (number {at + 1})" for at, name in enumerate(names)]
    time_dim = str(cubes[0].dims[-3])
    for cube, name in zip(cubes[1:], names[1:], strict=True):
        _refuse_other_kind(cubes[0], cube, f"{name} differs from {names[0]}")
    without = [name for cube, name in zip(cubes, names, strict=True) if time_dim not in cube.coords]
    if without:
        raise ValueError(
            f"{without[0]} has no times to join by: open the files one by one, and join them in "
            f"order with xarray.concat([...], {time_dim!r})."
        )
    cubes = _of_one_calendar(cubes, time_dim)
    grids = [Grid.of_cube(cube, time_dim) for cube in cubes]
    refuse_different_grids(dict(zip(names, grids, strict=True)))
    offsets = [bounds_of(cube) for cube in cubes]
    cubes = [_scalars_along_time(cube, cubes, time_dim) for cube in cubes]
    cubes = sorted(cubes, key=lambda cube: cube[time_dim].values[0])
    # Coordinates are one up to rounding: those of the first stand for all.
    joined = xr.concat(
        cubes, dim=time_dim, join="override", coords="minimal", compat="override",
        combine_attrs="override",
    )  # fmt: skip
    one = all(offset == offsets[0] for offset in offsets)
    return with_bounds(joined, offsets[0] if one else None)


def _refuse_other_kind(first: xr.DataArray, cube: xr.DataArray, problem: str) -> None:
    if cube.dims != first.dims:
        raise ValueError(f"{problem} in dimensions: {cube.dims} instead of {first.dims}.")
    if cube.name != first.name:
        raise ValueError(
            f"{problem}: it holds {cube.name!r} instead of {first.name!r}. If they are one "
            "quantity, open them one by one, rename them with .rename(...) and join them with "
            "xarray.concat([...], 'time')."
        )
    methods = [
        re.sub(r"\(.*?\)|\s", "", str(each.attrs.get("cell_methods", ""))) for each in (first, cube)
    ]
    if all(methods) and methods[0] != methods[1]:
        raise ValueError(
            f"{problem}: its cell_methods are {cube.attrs['cell_methods']!r} instead of "
            f"{first.attrs['cell_methods']!r}."
        )


def _of_one_calendar(cubes: list[xr.DataArray], time_dim: str) -> list[xr.DataArray]:
    calendars = [str(calendar_of(cube[time_dim].values)) for cube in cubes]
    found = {_ONE_CALENDAR.get(calendar, calendar) for calendar in calendars}
    if len(found) > 1:
        raise ValueError(f"the files have different calendars: {sorted(found)}.")
    if len(set(calendars)) == 1:
        return cubes
    # Dates that numpy holds, and dates that it does not.
    return [cube.convert_calendar("standard", dim=time_dim, use_cftime=True) for cube in cubes]


def _scalars_along_time(
    cube: xr.DataArray, cubes: list[xr.DataArray], time_dim: str
) -> xr.DataArray:
    """Scalar coordinates of which not all cubes have the same value, repeated along time."""
    for name, coord in cube.coords.items():
        others = [other.coords[name] for other in cubes if name in other.coords]
        if coord.ndim or "grid_mapping_name" in coord.attrs:
            continue
        if len(others) == len(cubes) and not all(coord.equals(other) for other in others):
            along = np.full(cube.sizes[time_dim], coord.values[()])
            cube = cube.assign_coords({name: (time_dim, along, coord.attrs)})
    return cube
