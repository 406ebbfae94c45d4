"""Opening the files that people have as cubes of mm/h."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from skdiffuse.cubes.accumulation import START, as_mean, prepare_amounts, rates_of, reference_name
from skdiffuse.cubes.arranging import arrange
from skdiffuse.cubes.conventions import find_axes, find_variable
from skdiffuse.cubes.groups import in_tree
from skdiffuse.cubes.interval_bounds import bounds_of, with_bounds
from skdiffuse.cubes.joining import join_cubes
from skdiffuse.cubes.metadata import descriptive, given_name
from skdiffuse.cubes.missing import mask_not_data
from skdiffuse.cubes.own_files import own_dimensions
from skdiffuse.cubes.quantities import rate_name
from skdiffuse.cubes.rates import to_rate
from skdiffuse.cubes.series import join_netcdf
from skdiffuse.cubes.sources import Paths, has_dask, kind_of, open_dataset, resolve
from skdiffuse.cubes.spatial_axes import steady_axis
from skdiffuse.cubes.time_axis import bounds_offset, find_breaks, is_time_like
from skdiffuse.cubes.units import is_amount, is_reflectivity, mm_per_hour
from skdiffuse.cubes.wrf import from_wrf

Source: TypeAlias = Paths | xr.DataTree | xr.Dataset | xr.DataArray

_NETCDF = ("netcdf", "hdf5")


def open_cube(
    source: Source,
    *,
    variable: str | None = None,
    units: str | None = None,
    interval: str | float | None = None,
    running_total: bool | str | None = None,
    z_r: tuple[float, float] | None = None,
    member: int | None = None,
    engine: str | None = None,
) -> xr.DataArray:
    """Open precipitation as a cube of mm/h over time, y and x.

    The variable and its axes are found by CF metadata and by the names in common use. Units are
    converted from what the data state, and nothing is guessed: where they do not state enough,
    the error says which parameter to give.

    Parameters
    ----------
    source : path, pattern, address, list of them, Dataset, DataArray or DataTree
        NetCDF 3 or 4, Zarr, GRIB (needs cfgrib), IMERG and ODIM HDF5, and the radar composites
        of KNMI (HDF5), FMI (PGM) and MeteoSwiss (GIF). Many files are joined along time.
        Compressed files (gzip, bzip2, xz) are uncompressed to a temporary folder; Zarr may be in a
        zip archive, or stand for other files by a list of references of kerchunk. Addresses
        (``https://``, ``s3://``, ``gs://``, ...) need the extra ``remote``: Zarr is read where it
        is, files are copied.
    variable : str, optional
        Which variable, where several may be the precipitation; with its path, "/science/rain",
        inside groups.
    units : str, optional
        Units of the data, where the file has none or wrong ones.
    interval : str or float, optional
        For amounts ("mm", "m", "kg m-2"): how long each of them fell, "1h", "5min", hours, or
        "month" for a calendar month, where the file does not tell by time bounds or step ranges.
        It overrules the file. ERA5 hourly accumulations: ``interval="1h"``.
    running_total : bool or str, optional
        Whether amounts count from the start of a run, so that they must be differenced; "1D" or
        "6h" where they count anew after each midnight (in the times of the file) or part of a day
        (ERA5-Land: ``running_total="1D"``). Default: what the file says; an error asks where it
        says nothing. The table of services: ``docs/reading.md``.
    z_r : (float, float), optional
        ``(a, b)`` of Z = a R^b, for reflectivity in dBZ.
    member : int, optional
        Which ensemble member, by its number in the file. Default: all; more than one make a
        leading dimension.
    engine : str, optional
        Of xarray, to force one.

    Returns
    -------
    DataArray
        Of float32, ``units`` "mm h-1", with the file's own dimension names in the order (time, y,
        x) or (member, time, y, x), its coordinates (cftime where the calendar asks for it) and
        grid mapping. Lazy where dask is installed; missing values are NaN.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PermissionError, ConnectionError
        If what lies at an address may not be read, or nobody answers.
    ValueError
        If a file is damaged, or holds no precipitation, or its axes, times or units cannot be
        told for sure.
    ImportError
        If the format needs a library that is not installed.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> flux = xr.Dataset(
    ...     {"pr": (("time", "lat", "lon"), np.full((2, 3, 4), 1 / 3600), {"units": "kg m-2 s-1"})},
    ...     {"time": np.array(["2000-01-01", "2000-01-02"], dtype="datetime64[ns]")},
    ... )
    >>> rain = open_cube(flux)
    >>> rain.attrs["units"], float(rain.max())
    ('mm h-1', 1.0)
    """
    datasets = _as_datasets(source, engine, variable, running_total)
    if variable is not None and all("group" in dataset.encoding for dataset in datasets):
        variable = PurePosixPath(variable).name
    cubes = [
        _open_one(
            dataset,
            variable=variable,
            units=units,
            interval=interval,
            running_total=running_total,
            z_r=z_r,
            member=member,
        )
        for dataset in datasets
    ]
    names = [str(dataset.encoding.get("source", "the data")) for dataset in datasets]
    cube = rates_of(cubes[0] if len(cubes) == 1 else join_cubes(cubes, names))
    time_dim = cube.dims[-3]
    find_breaks(cube[time_dim].values, name=f"variable {cube.name!r}", dim=time_dim)
    return cube


def _open_one(
    dataset: xr.Dataset,
    *,
    variable: str | None,
    units: str | None,
    interval: str | float | None,
    running_total: bool | str | None,
    z_r: tuple[float, float] | None,
    member: int | None,
) -> xr.DataArray:
    name = find_variable(dataset, variable)
    array = dataset[name]
    if array.dtype.kind not in "fiu":
        raise ValueError(f"variable {name!r} holds {array.dtype}, not real numbers.")
    array, axes = arrange(mask_not_data(array), dataset, member)
    time_dim = axes["time"]
    if own_dimensions(dataset, name) is None or not _is_counted(array, time_dim):
        _check_times(array, time_dim, name)
    for kind in ("y", "x"):
        array = steady_axis(array, axes[kind], kind)
    stated = units if units is not None else array.attrs.get("units")
    if stated is None:
        raise ValueError(
            f"variable {name!r} has no units; say what they are with units='...' (e.g. 'mm h-1', "
            "'kg m-2 s-1')."
        )
    amount = is_amount(str(stated))
    if not amount:
        array = array.drop_vars(START, errors="ignore")
    # Totals are differenced before they lose digits.
    known = array if amount and array.dtype.kind == "f" else array.astype(np.float32)
    rate = to_rate(known, str(stated), z_r=z_r)
    rate = _labelled(rate if amount else rate.astype(np.float32), dataset, array, str(stated))
    if not amount:
        if "sum" in str(rate.attrs.get("cell_methods", "")):
            # Of an amount whose interval its units tell: "mm/5min".
            rate.attrs["cell_methods"] = as_mean(rate.attrs["cell_methods"])
        return rate
    return prepare_amounts(
        rate,
        array,
        dataset,
        _time_bounds(array, dataset, time_dim),
        interval=interval,
        running_total=running_total,
    )


def _as_datasets(
    source: Source, engine: str | None, variable: str | None, running_total: bool | str | None
) -> list[xr.Dataset]:
    if isinstance(source, xr.DataArray):
        return [source.to_dataset(name=given_name(source) or "precipitation")]
    if isinstance(source, xr.Dataset):
        return [from_wrf(source)]
    if isinstance(source, xr.DataTree):
        return [from_wrf(in_tree(source, variable))]
    if not isinstance(source, (str, os.PathLike, list, tuple)):
        raise TypeError(
            "source must be a path, a pattern, a list of paths or an xarray object; got "
            f"{type(source).__name__}."
        )
    paths = resolve(source)
    options: dict[str, Any] = {"chunked": has_dask(), "engine": engine, "variable": variable}
    first = from_wrf(open_dataset(paths[0], **options))
    # Totals of several runs need the reference time of each file.
    runs = START in first.coords or (running_total is True and reference_name(first) is not None)
    quick = has_dask() and engine is None and not runs and "group" not in first.encoding
    files = [path for path in paths if isinstance(path, Path)]
    if len(files) == len(paths) > 1 and quick and kind_of(files[0]) in _NETCDF:
        name = find_variable(first, variable)
        time_dim = find_axes(first[name]).get("time")
        if time_dim is not None and time_dim in first.coords:
            return [join_netcdf(files, first, name, time_dim)]
    return [first, *(from_wrf(open_dataset(path, **options)) for path in paths[1:])]


def _is_counted(array: xr.DataArray, time_dim: str) -> bool:
    """Whether times are plain numbers, or there are none."""
    return time_dim not in array.coords or array[time_dim].dtype.kind in "fiu"


def _check_times(array: xr.DataArray, time_dim: str, name: str) -> None:
    if time_dim not in array.coords:
        raise ValueError(
            f"variable {name!r} has a dimension {time_dim!r} but no times: give it a coordinate "
            f"with .assign_coords({time_dim}=...)."
        )
    times = array[time_dim].values
    if not is_time_like(times):
        raise ValueError(
            f"the times {time_dim!r} of {name!r} are {times.dtype} values that could not be "
            f"decoded (units: {array[time_dim].attrs.get('units')!r}); CF asks for units such as "
            "'hours since 1970-01-01' and a calendar."
        )


def _time_bounds(
    array: xr.DataArray, dataset: xr.Dataset, time_dim: Hashable
) -> xr.DataArray | None:
    time = array[time_dim]
    return dataset.get(time.attrs.get("bounds", time.encoding.get("bounds")))


def _labelled(
    rate: xr.DataArray, dataset: xr.Dataset, original: xr.DataArray, units: str
) -> xr.DataArray:
    # Variables of coordinates are shared with what came in.
    rate = rate.copy(deep=False)
    time_dim = rate.dims[-3]
    bounds = _time_bounds(original, dataset, time_dim)
    offset = bounds_of(original) if bounds is None else bounds_offset(rate[time_dim], bounds)
    attrs = descriptive(original.attrs)
    if "history" in dataset.attrs:
        attrs.setdefault("history", dataset.attrs["history"])
    if is_reflectivity(units) or is_amount(units) or mm_per_hour(units) != 1.0:
        note = f"units converted from {units!r} to mm h-1"
        attrs["history"] = "\n".join([note, *filter(None, [attrs.get("history")])])
    attrs.update(units="mm h-1", standard_name=rate_name(attrs.get("standard_name")))
    rate.attrs = attrs
    rate.encoding = {}
    for coord in rate.coords.values():
        coord.load()
        coord.attrs = {k: v for k, v in descriptive(coord.attrs).items() if k != "bounds"}
        coord.encoding = {k: v for k, v in coord.encoding.items() if k != "bounds"}
    return with_bounds(rate, offset).rename(original.name)
