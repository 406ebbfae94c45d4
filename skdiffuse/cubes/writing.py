"""Writing a cube so that any reader of CF NetCDF understands it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from skdiffuse._version import __version__
from skdiffuse.cubes.interval_bounds import bounds_of
from skdiffuse.cubes.metadata import descriptive, given_name
from skdiffuse.cubes.own_files import layout_attributes
from skdiffuse.cubes.spatial_axes import steady_axis
from skdiffuse.cubes.time_axis import (
    BOUNDS_OFFSET,
    bounds_from_offset,
    calendar_of,
    find_breaks,
    is_time_like,
    time_units,
)
from skdiffuse.cubes.units import mm_per_hour

_NAME = "precipitation_rate"
# What a disk says that takes no more; whatever else goes wrong may be the fault of what is read.
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}


def write_cube(
    cube: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    provenance: Mapping[str, str | int | float] | None = None,
) -> Path:
    """Write a cube to CF NetCDF, or to Zarr where ``path`` ends in ``.zarr``.

    pysteps reads the NetCDF file too if the cube is named as it expects:
    ``write_cube(nowcast.rename("precip_intensity"), path)``.

    The file appears under its name only when it is complete: it is written beside it first and
    then renamed, so that neither a reader nor an interrupted run ever meets half a file.

    Parameters
    ----------
    cube : DataArray
        In mm/h; lazy ones are written chunk by chunk. Stored as compressed float32. Time bounds
        are written for the values that a file stated them for, and for results of this library;
        not after arithmetic or means over times, which may count for other intervals.
    path : str or path
        An existing file is replaced.
    provenance : mapping, optional
        What made the cube (model hash, random_state, ...), written as attributes of the file
        named ``skdiffuse_<key>``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    TypeError
        If ``cube`` is not a DataArray of real numbers.
    ValueError
        If its units are not mm/h, its folder does not exist, or :func:`open_cube` could not open
        it again: dimensions lack, it is empty, or its times or axes are out of order.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from skdiffuse.cubes import open_cube
    >>> from skdiffuse.datasets import make_precipitation
    >>> rain = make_precipitation(n_frames=3, shape=(8, 8), random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_cube(rain, pathlib.Path(folder) / "rain.nc")
    ...     bool((open_cube(path) == rain).all())
    True
    """
    if not isinstance(cube, xr.DataArray):
        raise TypeError(
            f"cube must be a DataArray, which knows its dimensions; got {type(cube).__name__}. "
            "Wrap it: xarray.DataArray(X, dims=('time', 'y', 'x'))."
        )
    units = cube.attrs.get("units", "mm h-1")
    try:
        factor = mm_per_hour(str(units))
    except ValueError:
        factor = None
    if factor != 1.0:
        raise ValueError(f"cube has units {units!r}, not mm/h: convert it with open_cube(cube).")
    _check_structure(cube)
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"path: there is no folder {str(path.parent)!r}.")
    to_zarr = path.suffix == ".zarr"
    dataset = _as_dataset(cube, compress=not to_zarr)
    made_by = {"version": __version__, **(provenance or {})}
    dataset.attrs.update({f"skdiffuse_{key}": value for key, value in made_by.items()})
    dataset.attrs.update(layout_attributes(cube.dims, str(given_name(cube) or _NAME)))
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        partial = scratch / path.name
        with _said_of(path):
            if to_zarr:
                dataset.to_zarr(partial, mode="w", zarr_format=2, consolidated=True)
            else:
                dataset.to_netcdf(partial, engine="netcdf4", format="NETCDF4")
        _put_in_place(partial, path, scratch / "replaced.zarr")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return path


@contextlib.contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Say which file a disk has no room for: the netCDF library says "HDF error" of all faults."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None)
        if number not in _NO_ROOM and not str(error).startswith("NetCDF: "):
            raise
        free = shutil.disk_usage(path.parent).free
        text = (
            f"path={str(path)!r} could not be written to its end ({error}): "
            f"{free / 1e6:,.0f} MB are free in its folder. Make room, or choose another place."
        )
        raise OSError(number or errno.EIO, text) from error


def _put_in_place(partial: Path, path: Path, aside: Path) -> None:
    """Give what is written its name; a folder of that name is put aside first, or put back."""
    try:
        if path.is_dir():
            os.replace(path, aside)
        os.replace(partial, path)
    except BaseException:
        if aside.exists() and not path.exists():
            os.replace(aside, path)
        raise


def _check_structure(cube: xr.DataArray) -> None:
    """Refuse what :func:`open_cube` could not open again."""
    if cube.ndim < 3:
        raise ValueError(
            f"cube must have dimensions time, y and x, in this order and last; got {cube.dims}: "
            "add what lacks, e.g. with .expand_dims('time')."
        )
    if cube.dtype.kind not in "fiub":
        raise TypeError(f"cube must hold real numbers (mm/h); got dtype {cube.dtype}.")
    if 0 in cube.shape:
        raise ValueError(f"cube is empty: {dict(cube.sizes)}.")
    name = given_name(cube)
    if name in (*cube.dims, *cube.coords) or "/" in str(name):
        raise ValueError(
            f"cube is named {name!r}, which is also one of its dimensions or coordinates, or holds "
            "a slash: give it another name with .rename('precipitation_rate')."
        )
    time_dim, *space = (str(dim) for dim in cube.dims[-3:])
    if time_dim in cube.coords:
        times = cube[time_dim].values
        if not is_time_like(times) and times.dtype.kind not in "fiu":
            raise ValueError(
                f"the times {time_dim!r} of cube are {times.dtype} values: make dates of them with "
                f".assign_coords({time_dim}=pandas.to_datetime(...)), or leave them out with "
                f".drop_vars({time_dim!r})."
            )
        find_breaks(times, name="cube", dim=time_dim)
    for dim, kind in zip(space, "yx", strict=True):
        steady_axis(cube, dim, kind)


def _as_dataset(cube: xr.DataArray, *, compress: bool) -> xr.Dataset:
    name = given_name(cube) or _NAME
    offset = bounds_of(cube)
    cube = cube.astype(np.float32, copy=False)
    cube.attrs = {**descriptive(cube.attrs), "units": "mm h-1"}
    cube.attrs.setdefault("standard_name", "lwe_precipitation_rate")
    # History and provenance belong to the file in CF; the rest describes the variable.
    history = cube.attrs.pop("history", None)
    dataset = cube.to_dataset(name=name)
    dataset.attrs["Conventions"] = "CF-1.11"
    if history:
        dataset.attrs["history"] = history
    dataset[name].encoding = {"dtype": "float32", "_FillValue": np.float32(np.nan)}
    mapping = grid_mapping_name(dataset)
    if mapping:
        dataset[name].attrs["grid_mapping"] = mapping
        dataset = dataset.reset_coords(mapping)
    if compress:
        dataset[name].encoding.update(zlib=True, complevel=4, shuffle=True)
    dataset = _with_time_bounds(dataset, cube.dims[-3], offset)
    _set_time_units(dataset, cube.dims[-3])
    for coord in dataset.coords.values():
        coord.encoding = {k: v for k, v in coord.encoding.items() if k in ("units", "calendar")}
        if coord.dtype.kind == "f":
            coord.encoding["_FillValue"] = None
    return dataset


def _with_time_bounds(
    dataset: xr.Dataset, time_dim: Hashable, offset: list[float] | None
) -> xr.Dataset:
    """Put the bounds that the cube states into a variable, as CF has it."""
    if time_dim not in dataset.coords:
        return dataset
    attrs = {k: v for k, v in dataset[time_dim].attrs.items() if k != BOUNDS_OFFSET}
    if offset is None:
        dataset[time_dim].attrs = attrs
        return dataset
    pairs = bounds_from_offset(dataset[time_dim].values, offset)
    name = f"{time_dim}_bnds"
    dataset = dataset.assign({name: ((time_dim, "bnds"), pairs)})
    dataset[time_dim].attrs = {**attrs, "bounds": name}
    return dataset


def _set_time_units(dataset: xr.Dataset, time_dim: Hashable) -> None:
    """Units in which times and bounds are whole numbers, those of the source file if they are."""
    if time_dim not in dataset.coords:
        return
    time = dataset[time_dim]
    if calendar_of(time.values) is None:
        return
    bounds = [dataset[time.attrs["bounds"]].values] if "bounds" in time.attrs else []
    needed = time_units(time.values, *bounds)
    resolutions = ["days", "hours", "minutes", "seconds", "microseconds"]
    given = str(time.encoding.get("units", "")).split(" ")[0]
    fine_enough = given in resolutions and (
        resolutions.index(given) >= resolutions.index(needed.split(" ")[0])
    )
    if not fine_enough:
        time.encoding["units"] = needed


def grid_mapping_name(dataset: xr.Dataset) -> str | None:
    """The coordinate that holds the CF grid mapping, recognised by its attribute."""
    for name, coord in dataset.coords.items():
        if coord.ndim == 0 and "grid_mapping_name" in coord.attrs:
            return str(name)
    return None
