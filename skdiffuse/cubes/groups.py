"""Precipitation inside the groups of a file, with the coordinates of the groups around it."""

from __future__ import annotations

import warnings
from pathlib import Path, PurePosixPath
from typing import Any

import netCDF4
import xarray as xr

from skdiffuse.cubes.conventions import AXIS_NAMES, find_variable

_AXES = {name for names in AXIS_NAMES.values() for name in names}
_PLACES = {"time", "latitude", "longitude", "projection_y_coordinate", "projection_x_coordinate",
           "grid_latitude", "grid_longitude"}  # fmt: skip


class SeveralGroups(ValueError):
    """More than one group, or none, holds what may be the precipitation."""


def in_group(
    path: Path, root: xr.Dataset, variable: str | None, options: dict[str, Any]
) -> xr.Dataset:
    """The dataset of the one group that holds the precipitation, or ``root`` if that does.

    Parameters
    ----------
    path : Path
    root : Dataset
        The file's outermost group, opened with ``options``.
    variable : str, optional
        Name of the variable, or its path ("/science/rain").
    options : dict
        For ``xarray.open_dataset``.

    Raises
    ------
    SeveralGroups
        If there are several, or there are groups and none of them holds it.
    """
    name = None if variable is None else PurePosixPath(variable).name
    inside = variable is not None and "/" in variable.strip("/")
    if not inside:
        try:
            find_variable(root, name)
            return root
        except ValueError:
            pass
    groups = _groups(path, options["engine"])
    if inside:
        wanted = str(PurePosixPath(str(variable)).parent).strip("/")
        groups = [group for group in groups if group == wanted]
    found, fields = {}, []
    for group in groups:
        with warnings.catch_warnings():
            # Of grid mappings and coordinates in the groups around, which are added below.
            warnings.filterwarnings("ignore", "Variable\\(s\\) referenced in", UserWarning)
            dataset = xr.open_dataset(path, group=group, **options)
        fields += [f"/{group}/{n}" for n, var in dataset.data_vars.items() if var.ndim >= 2]
        try:
            found[f"/{group}/{find_variable(dataset, name)}"] = (group, dataset)
        except ValueError:
            continue
    if len(found) == 1:
        ((group, dataset),) = found.values()
        return _with_coordinates(path, group, dataset, options)
    if not fields:
        return root
    if found:
        raise SeveralGroups(
            f"{str(path)!r}: several variables may be the precipitation: say variable= one of "
            f"{list(found)}."
        )
    raise SeveralGroups(
        f"{str(path)!r}: no precipitation is found by standard_name or name in its groups, which "
        f"hold {fields}: say which with variable='...'."
    )


def _groups(path: Path, engine: str) -> list[str]:
    """Paths of all groups below the outermost, without the first slash."""
    if engine == "zarr":
        import zarr

        members = zarr.open_group(path, mode="r").members(max_depth=None)
        return sorted(name for name, member in members if isinstance(member, zarr.Group))
    if engine != "netcdf4":
        return []

    def below(group: netCDF4.Dataset) -> list[str]:
        return [inner for child in group.groups.values() for inner in (child.path, *below(child))]

    with netCDF4.Dataset(path) as file:
        return [group.strip("/") for group in below(file)]


def _with_coordinates(
    path: Path, group: str, dataset: xr.Dataset, options: dict[str, Any]
) -> xr.Dataset:
    """Add the axes of the groups around, which CF lets a group use as its own."""
    around = [str(parent) for parent in PurePosixPath(group).parents]
    for parent in around:
        where = None if parent == "." else parent
        outer = xr.open_dataset(path, group=where, **options)
        for name, var in outer.variables.items():
            wanted = (
                name in outer.coords
                or str(name).lower() in _AXES
                or var.attrs.get("standard_name") in _PLACES
                or "grid_mapping_name" in var.attrs
            )
            fits = all(dataset.sizes.get(dim) == size for dim, size in var.sizes.items())
            if wanted and fits and name not in dataset.variables:
                dataset = dataset.assign_coords({name: var})
    dataset.encoding.update(group=group, source=str(path))
    return dataset
