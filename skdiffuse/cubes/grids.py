"""Whether files that follow each other in time lie on one grid.

Their shapes tell little: two radars have images of one size, and rows may run from the north or
from the south. Coordinates, the grid mapping and the member are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from skdiffuse.cubes.conventions import AXIS_NAMES

# Attributes of a grid mapping that name it, and those that say the same as the others in text.
_NAMES = {
    "long_name",
    "standard_name",
    "comment",
    "name",
    "history",
    "units",
    "_CoordinateTransformType",
}
_TEXTS = {"crs_wkt", "spatial_ref", "wkt"}


@dataclass
class Grid:
    """Where the cells of a cube are.

    Attributes
    ----------
    coords : dict of str to (dims, values)
        Coordinates that do not depend on time, numbers only.
    mapping : dict
        Attributes of the grid mapping; empty where there is none.
    """

    coords: dict[str, tuple[tuple[str, ...], np.ndarray]] = field(default_factory=dict)
    mapping: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_cube(cls, cube: xr.DataArray | xr.Dataset, time_dim: str) -> Grid:
        """The grid of a cube, or of its coordinates."""
        grid = cls()
        for name, coord in cube.coords.items():
            if time_dim in coord.dims or name == time_dim:
                continue
            if coord.ndim == 0 and "grid_mapping_name" in coord.attrs:
                grid.mapping = dict(coord.attrs)
            elif _counts(str(name), coord.dims) and coord.dtype.kind in "fiu":
                grid.coords[str(name)] = (tuple(map(str, coord.dims)), coord.values)
        return grid

    @classmethod
    def of_file(cls, file: netCDF4.Dataset, names: Iterable[str], time_dim: str) -> Grid:
        """The grid of an open file, of coordinates of these names.

        Of those with two dimensions only the first, middle and last rows and columns are read, so
        that thousands of files are compared at once.
        """
        grid = cls()
        for name in names:
            var = file.variables.get(name)
            if var is None or time_dim in var.dimensions:
                continue
            if "grid_mapping_name" in var.ncattrs():
                grid.mapping = {key: var.getncattr(key) for key in var.ncattrs()}
            elif _counts(name, var.dimensions) and getattr(var.dtype, "kind", "O") in "fiu":
                where: Any = ...
                if var.ndim > 1:
                    where = tuple(sorted({0, (n - 1) // 2, n // 2, n - 1}) for n in var.shape)
                values = np.ma.filled(np.ma.asarray(var[where], dtype=np.float64), np.nan)
                grid.coords[name] = (var.dimensions, values)
        return grid

    def differences(self, other: Grid) -> list[str]:
        """What distinguishes another grid from this one, in words; empty where they are one."""
        found = []
        for name in sorted(set(self.coords) | set(other.coords)):
            if name not in self.coords or name not in other.coords:
                dims = (self.coords.get(name) or other.coords[name])[0]
                if dims == (name,):
                    found.append(f"one has no coordinate {name!r}")
                continue
            (dims, ours), (their_dims, theirs) = self.coords[name], other.coords[name]
            if dims != their_dims or ours.shape != theirs.shape:
                found.append(f"{name} has sizes {_shape(their_dims, theirs)} instead of "
                             f"{_shape(dims, ours)}")  # fmt: skip
            elif not _one(ours, theirs):
                found.append(_in_words(name, ours, theirs))
        return found + _mappings(self.mapping, other.mapping)

    def turns(self, other: Grid) -> tuple[str, ...]:
        """Dimensions along which another grid runs the other way, if that is all."""
        every = sorted({dim for dims, _ in other.coords.values() for dim in dims})
        for dims in (*combinations(every, 1), *combinations(every, 2)):
            turned = {
                name: (
                    along,
                    np.flip(values, tuple(at for at, dim in enumerate(along) if dim in dims)),
                )
                for name, (along, values) in other.coords.items()
            }
            if not self.differences(Grid(turned, other.mapping)):
                return dims
        return ()


def refuse_different_grids(grids: Mapping[str, Grid]) -> None:
    """Raise where not all of the grids, by the names of their files, are the first one.

    Raises
    ------
    ValueError
        Naming the file, what differs, and what to do.
    """
    (first, ours), *others = grids.items()
    for name, theirs in others:
        found = ours.differences(theirs)
        turned = ours.turns(theirs) if found else ()
        remedy = "Open those of each grid by themselves"
        if turned:
            turn = ", ".join(f"{dim}=slice(None, None, -1)" for dim in turned)
            remedy = f"Open them one by one, turn this one with .isel({turn})"
        if found:
            raise ValueError(
                f"the files do not lie on one grid: {name} differs from {first} "
                f"({'; '.join(found)}). {remedy}; cubes of one grid are joined with "
                "xarray.concat([...], 'time')."
            )


def _counts(name: str, dims: tuple[Any, ...]) -> bool:
    """Whether a coordinate without a place in space, such as a height, may differ."""
    return bool(dims) or name.lower() in AXIS_NAMES["member"]


def _shape(dims: tuple[str, ...], values: np.ndarray) -> dict[str, int]:
    return dict(zip(dims, values.shape, strict=True))


def _one(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal up to the rounding of one of them to 32 bits, far below the size of a cell."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    largest = max(np.nanmax(np.abs(a), initial=0), np.nanmax(np.abs(b), initial=0))
    cells = [np.abs(np.diff(a, axis=axis)) for axis in range(a.ndim) if a.shape[axis] > 1]
    cell = max((float(np.nanmedian(part)) for part in cells), default=largest)
    tolerance = min(3e-7 * largest, 0.05 * cell) if cell else 3e-7 * largest
    return bool(np.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True))


def _in_words(name: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    if ours.ndim == 0:
        return f"{name} is {theirs:g} instead of {ours:g}"
    a, b = ours.ravel(), theirs.ravel()
    words = f"{name} runs from {b[0]:g} to {b[-1]:g} instead of {a[0]:g} to {a[-1]:g}"
    if ours.ndim == 1 and _one(ours, theirs[::-1]):
        words += ", the other way round"
    return words


def _mappings(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    if not ours or not theirs:
        return []
    common = (set(ours) & set(theirs)) - _NAMES
    if common - _TEXTS - {"grid_mapping_name"}:
        common -= _TEXTS
    return [
        f"{key} of the grid mapping is {theirs[key]} instead of {ours[key]}"
        for key in sorted(common)
        if not _same(ours[key], theirs[key])
    ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return " ".join(str(a).split()) == " ".join(str(b).split())
    a, b = np.ravel(a), np.ravel(b)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-6, atol=1e-9))
