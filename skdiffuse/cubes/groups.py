"""Precipitation inside the groups of a file, with the coordinates of the groups around it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
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
    path: Any, root: xr.Dataset, variable: str | None, options: dict[str, Any]
) -> xr.Dataset:
    """The dataset of the one group that holds the precipitation, or ``root`` if that does.

    Parameters
    ----------
    path : Path, str or Zarr store
    root : Dataset
        The outermost group, opened with ``options``; its encoding names the source.
    variable : str, optional
        Name of the variable, or its path ("/science/rain").
    options : dict
        For ``xarray.open_dataset``.

    Raises
    ------
    SeveralGroups
        If there are several, or there are groups and none of them holds it.
    """

    def opened(group: str | None) -> xr.Dataset:
        with warnings.catch_warnings():
            # Of grid mappings and coordinates in the groups around, which are added below.
            warnings.filterwarnings("ignore", "Variable\\(s\\) referenced in", UserWarning)
            return xr.open_dataset(path, group=group, **options)

    return _holding(root, variable, partial(_groups, path, options["engine"]), opened)


def in_tree(tree: xr.DataTree, variable: str | None) -> xr.Dataset:
    """The dataset of the one node that holds the precipitation; see `in_group`."""
    top = tree.root
    names = [node.path.strip("/") for node in tree.subtree if node is not top]

    def opened(group: str | None) -> xr.Dataset:
        node = top if group is None else top[group]
        assert isinstance(node, xr.DataTree)
        return node.to_dataset()

    # Of a part of a tree the nodes around give coordinates, and no rain.
    root = top.to_dataset() if tree is top else xr.Dataset()
    return _holding(root, variable, lambda: names, opened)


def _holding(
    root: xr.Dataset,
    variable: str | None,
    list_groups: Callable[[], list[str]],
    opened: Callable[[str | None], xr.Dataset],
) -> xr.Dataset:
    name = None if variable is None else PurePosixPath(variable).name
    inside = variable is not None and "/" in variable.strip("/")
    if not inside:
        try:
            find_variable(root, name)
            return root
        except ValueError:
            pass
    groups = list_groups()
    if inside:
        wanted = str(PurePosixPath(str(variable)).parent).strip("/")
        groups = [group for group in groups if group == wanted]
    found, fields = {}, []
    for group in groups:
        dataset = opened(group)
        fields += [f"/{group}/{n}" for n, var in dataset.data_vars.items() if var.ndim >= 2]
        try:
            found[f"/{group}/{find_variable(dataset, name)}"] = (group, dataset)
        except ValueError:
            continue
    source = root.encoding.get("source", "the data")
    if len(found) == 1:
        ((group, dataset),) = found.values()
        dataset = _with_coordinates(group, dataset, opened)
        dataset.encoding.update(group=group, source=source)
        return dataset
    if not fields:
        return root
    if found:
        raise SeveralGroups(
            f"{source!r}: several variables may be the precipitation: say variable= one of "
            f"{list(found)}."
        )
    raise SeveralGroups(
        f"{source!r}: no precipitation is found by standard_name or name in its groups, which "
        f"hold {fields}: say which with variable='...'."
    )


def _groups(path: Any, engine: str) -> list[str]:
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
    group: str, dataset: xr.Dataset, opened: Callable[[str | None], xr.Dataset]
) -> xr.Dataset:
    """Add the axes of the groups around, which CF lets a group use as its own."""
    for parent in PurePosixPath(group).parents:
        outer = opened(None if str(parent) == "." else str(parent))
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
    return dataset
