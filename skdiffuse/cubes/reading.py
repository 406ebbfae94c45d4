"""Opening the files that people have as cubes of mm/h."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import xarray as xr

from skdiffuse.cubes.conventions import check_axis_order, find_axes, find_variable
from skdiffuse.cubes.rates import difference_totals, interval_hours, to_rate
from skdiffuse.cubes.sources import has_dask, open_dataset, resolve
from skdiffuse.cubes.time_axis import find_breaks, is_time_like
from skdiffuse.cubes.units import is_amount, is_reflectivity, mm_per_hour

_RATE_NAME = "lwe_precipitation_rate"

# What the netCDF library writes where nothing was written, whether or not _FillValue says so.
_NETCDF_FILL = 9.9e36


def open_cube(
    source: str | os.PathLike | Sequence | xr.Dataset | xr.DataArray,
    *,
    variable: str | None = None,
    units: str | None = None,
    interval: str | float | None = None,
    running_total: bool | None = None,
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
    source : path, pattern, list of them, Dataset or DataArray
        NetCDF 3 or 4, Zarr, GRIB (needs cfgrib). Many files are joined along time.
    variable : str, optional
        Which variable, where several may be the precipitation.
    units : str, optional
        Units of the data, where the file has none or wrong ones.
    interval : str or float, optional
        For amounts ("mm", "m", "kg m-2"): how long they fell, "1h" or hours, where neither time
        bounds nor cell_methods tell. ERA5 hourly accumulations: ``interval="1h"``.
    running_total : bool, optional
        Whether amounts count from the start of a run, so that they must be differenced. Default:
        only where the file says so (GRIB).
    z_r : (float, float), optional
        ``(a, b)`` of Z = a R^b, for reflectivity in dBZ.
    member : int, optional
        Which ensemble member, by its number in the file. Default: all; more than one make a
        leading dimension.
    engine : str, optional
        xarray engine, to force one.

    Returns
    -------
    DataArray
        float32, ``units`` "mm h-1", with the file's own dimension names in the order (time, y,
        x) or (member, time, y, x), its coordinates (cftime where the calendar asks for it) and
        grid mapping. Lazy where dask is installed; missing values are NaN.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
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
    dataset = _as_dataset(source, engine)
    name = find_variable(dataset, variable)
    array = dataset[name]
    if array.dtype.kind not in "fiu":
        raise ValueError(f"variable {name!r} holds {array.dtype}, not real numbers.")
    array, axes = _arrange(array, member)
    time_dim = axes["time"]
    array = _sorted_times(array, time_dim, name)
    for kind in ("y", "x"):
        check_axis_order(array, axes[kind], kind)
    stated = units if units is not None else array.attrs.get("units")
    if stated is None:
        raise ValueError(
            f"variable {name!r} has no units; say what they are with units='...' (e.g. 'mm h-1', "
            "'kg m-2 s-1')."
        )
    array = array.where(array < _NETCDF_FILL) if array.dtype.kind == "f" else array
    rate = _convert(array, dataset, str(stated), time_dim, interval, running_total, z_r)
    return _labelled(rate, dataset, array, str(stated))


def _as_dataset(source, engine: str | None) -> xr.Dataset:
    if isinstance(source, xr.DataArray):
        return source.to_dataset(name=source.name or "precipitation")
    if isinstance(source, xr.Dataset):
        return source
    if not isinstance(source, (str, os.PathLike, list, tuple)):
        raise TypeError(
            "source must be a path, a pattern, a list of paths or an xarray object; got "
            f"{type(source).__name__}."
        )
    paths = resolve(source)
    datasets = [open_dataset(path, chunked=has_dask(), engine=engine) for path in paths]
    if len(datasets) == 1:
        return datasets[0]
    return xr.concat(
        datasets, dim="time", data_vars="minimal", coords="minimal", compat="override",
        join="exact", combine_attrs="override",
    )  # fmt: skip


def _arrange(array: xr.DataArray, member: int | None) -> tuple[xr.DataArray, dict[str, str]]:
    """Give the array its dimensions in order: (member,) time, y, x."""
    array = _with_time_dimension(array)
    axes = find_axes(array)
    missing = [kind for kind in ("time", "y", "x") if kind not in axes]
    if missing:
        raise ValueError(
            f"variable {array.name!r} with dimensions {array.dims} has no {' or '.join(missing)} "
            "axis that is recognised; rename its dimensions to time, y and x, or mark them "
            "with the CF attribute 'axis' (T, Y, X)."
        )
    others = [d for d in array.dims if d not in axes.values()]
    for dim in others:
        if array.sizes[dim] != 1:
            raise ValueError(
                f"variable {array.name!r} has a dimension {dim!r} of size {array.sizes[dim]} "
                "beside time, y, x and member: select one with .isel() first."
            )
    array = array.squeeze(others)
    if "member" in axes:
        array = _select_member(array, axes, member)
    elif member is not None:
        raise ValueError(f"member={member}, but the data have no dimension of members.")
    order = [axes[kind] for kind in ("member", "time", "y", "x") if kind in axes]
    if 0 in array.shape:
        raise ValueError(f"variable {array.name!r} is empty: {dict(array.sizes)}.")
    return array.transpose(*order), axes


def _with_time_dimension(array: xr.DataArray) -> xr.DataArray:
    """Make a time dimension of the valid times of a forecast, or of a scalar time."""
    valid = array.coords.get("valid_time")
    if valid is not None and valid.ndim == 1 and "valid_time" not in array.dims:
        array = array.swap_dims({valid.dims[0]: "valid_time"})
        if "time" in array.coords and "time" not in array.dims:
            array = array.rename(time="forecast_reference_time")
        return array.rename(valid_time="time")
    if "time" not in find_axes(array):
        for name in ("valid_time", "time"):
            if name in array.coords and array[name].ndim == 0:
                return array.expand_dims(name)
    return array


def _select_member(array: xr.DataArray, axes: dict[str, str], member: int | None) -> xr.DataArray:
    dim = axes["member"]
    if member is not None:
        numbers = array[dim].values if dim in array.coords else np.arange(array.sizes[dim])
        if member not in numbers:
            raise ValueError(f"member={member} is not among the members {numbers.tolist()}.")
        array = array.isel({dim: int(np.flatnonzero(numbers == member)[0])})
    elif array.sizes[dim] == 1:
        array = array.squeeze(dim)
    else:
        return array
    del axes["member"]
    return array


def _sorted_times(array: xr.DataArray, time_dim: str, name: str) -> xr.DataArray:
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
    find_breaks(times, name=f"variable {name!r}")
    return array


def _convert(
    array: xr.DataArray,
    dataset: xr.Dataset,
    units: str,
    time_dim: str,
    interval: str | float | None,
    running_total: bool | None,
    z_r: tuple[float, float] | None,
) -> xr.DataArray:
    if not is_reflectivity(units):
        mm_per_hour(units, 1.0)
    hours = None
    if is_amount(units):
        bounds_name = array[time_dim].attrs.get("bounds", array[time_dim].encoding.get("bounds"))
        hours = interval_hours(array, dataset.get(bounds_name), interval)
        if running_total is None:
            running_total = array.attrs.get("GRIB_stepType") == "accum"
        if running_total:
            array = difference_totals(array, time_dim)
            if hours is None:
                hours = find_breaks(array[time_dim].values)[1]
                hours = None if hours is None else hours / 3600
    if array.dtype != np.float32:
        array = array.astype(np.float32)
    return to_rate(array, units, time_dim, hours=hours, z_r=z_r).astype(np.float32)


def _labelled(
    rate: xr.DataArray, dataset: xr.Dataset, original: xr.DataArray, units: str
) -> xr.DataArray:
    attrs = {k: v for k, v in original.attrs.items() if not k.startswith("GRIB_")}
    for key in ("_FillValue", "missing_value", "valid_range", "valid_min", "valid_max"):
        attrs.pop(key, None)
    if "history" in dataset.attrs:
        attrs.setdefault("history", dataset.attrs["history"])
    if units != "mm h-1":
        note = f"units converted from {units!r} to mm h-1"
        attrs["history"] = "\n".join([note, *filter(None, [attrs.get("history")])])
    attrs.update(units="mm h-1", standard_name=_RATE_NAME)
    return rate.assign_attrs(attrs).rename(original.name)
