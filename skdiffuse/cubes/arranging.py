"""From what files have as dimensions to (member,) time, y and x."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from skdiffuse.cubes.conventions import AXIS_NAMES, find_axes
from skdiffuse.cubes.own_files import own_dimensions
from skdiffuse.cubes.time_axis import is_time_like


def arrange(
    array: xr.DataArray, dataset: xr.Dataset, member: int | None
) -> tuple[xr.DataArray, dict[str, str]]:
    """Give the array its dimensions in order: (member,) time, y, x.

    Parameters
    ----------
    array : DataArray
    dataset : Dataset
        What it is part of: the time of a single field may be a variable beside it.
    member : int, optional
        Which member, by its number.

    Returns
    -------
    array : DataArray
    axes : dict
        Names of the dimensions that are "time", "y", "x" and, where there are several, "member".

    Raises
    ------
    ValueError
        If an axis is not found, another one is left, or there is no such member.
    """
    array = _with_time_dimension(_latest_versions(array), dataset)
    axes = find_axes(array)
    missing = [kind for kind in ("time", "y", "x") if kind not in axes]
    others = [d for d in array.dims if d not in axes.values()]
    own = own_dimensions(dataset, str(array.name))
    if own is not None and (missing or any(array.sizes[dim] != 1 for dim in others)):
        return array.transpose(*own), dict(zip(("time", "y", "x"), own[-3:], strict=True))
    if missing:
        raise ValueError(_no_axis(array, missing, others))
    for dim in others:
        if array.sizes[dim] != 1:
            raise ValueError(
                f"variable {array.name!r} has a dimension {dim!r} of size {array.sizes[dim]} "
                f"beside time, y, x and member: select one with .isel({dim}=0) first."
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


def _no_axis(array: xr.DataArray, missing: list[str], others: list[Hashable]) -> str:
    problem = (
        f"variable {array.name!r} with dimensions {array.dims} has no {' or '.join(missing)} axis "
        "that is recognised"
    )
    if missing == ["time"] and not others:
        return (
            f"{problem}: say when it was with .expand_dims(time=[...]), e.g. "
            "[numpy.datetime64('2020-01-31T12:00')]."
        )
    if len(others) < len(missing):
        return f"{problem}: fields need dimensions time, y and x."
    return (
        f"{problem}; rename its dimensions to time, y and x with .rename({{{others[0]!r}: "
        f"{missing[0]!r}}}), or mark their coordinates with the CF attribute 'axis' (T, Y, X)."
    )


def _latest_versions(array: xr.DataArray) -> xr.DataArray:
    """ERA5 and, for its last months, ERA5T: one series where they lie side by side.

    Where both hold a value it is the final one, of the lower ``expver``.
    """
    if "expver" not in array.dims:
        return array
    numbers = np.arange(array.sizes["expver"])
    if "expver" in array.coords:
        numbers = np.array([int(version) for version in array["expver"].values])
    versions = [array.isel(expver=int(at), drop=True) for at in np.argsort(numbers)]
    whole = versions[0]
    for later in versions[1:]:
        whole = whole.fillna(later)
    whole.attrs = dict(array.attrs)
    return whole


def _with_time_dimension(array: xr.DataArray, dataset: xr.Dataset) -> xr.DataArray:
    """Make a time dimension of the valid times of forecasts, or of a scalar time."""
    array = _with_valid_times(array)
    valid = array.coords.get("valid_time")
    if valid is not None and valid.ndim == 2 and set(_leads(array)) & set(valid.dims):
        return _runs_in_a_row(array)
    if valid is not None and valid.ndim == 1 and "valid_time" not in array.dims:
        array = array.swap_dims({valid.dims[0]: "valid_time"})
        if "time" in array.coords and "time" not in array.dims:
            array = array.rename(time="forecast_reference_time")
        return array.rename(valid_time="time")
    if "time" not in find_axes(array):
        for name in ("valid_time", "time", *sorted(AXIS_NAMES["time"])):
            scalar = dataset.variables.get(name)
            if scalar is not None and scalar.ndim == 0 and is_time_like(np.atleast_1d(scalar)):
                return _along_one_time(array.assign_coords({name: scalar}), name)
    return array


def _along_one_time(array: xr.DataArray, name: str) -> xr.DataArray:
    """Give a field of one time a time dimension, and what belongs to that time along it."""
    array = array.expand_dims(name)
    if name == "valid_time":
        if "time" in array.coords:
            array = array.rename(time="forecast_reference_time")
        array, name = array.rename(valid_time="time"), "time"
    for coord in ("forecast_reference_time", "forecast_period", "step", "lead_time"):
        # Files of the same run have other lead times when they are joined.
        if coord in array.coords and array[coord].ndim == 0:
            array = array.assign_coords({coord: array[coord].expand_dims(name)})
    return array


def _leads(array: xr.DataArray) -> list[Hashable]:
    """Dimensions of durations: how far ahead of its run a forecast is."""
    return [
        dim
        for dim in array.dims
        if dim in array.coords
        and array[dim].dtype.kind == "m"
        and str(dim).lower() not in AXIS_NAMES["time"]
    ]


def _with_valid_times(array: xr.DataArray) -> xr.DataArray:
    """Valid times, which are the sums of a run's time and of its leads, where they lack."""
    leads = _leads(array)
    if "valid_time" in array.coords or len(leads) != 1:
        return array
    for name in ("time", "forecast_reference_time"):
        if name in array.coords and array[name].dtype.kind == "M":
            return array.assign_coords(valid_time=array[name] + array[leads[0]])
    return array


def _runs_in_a_row(array: xr.DataArray) -> xr.DataArray:
    """Forecasts that follow each other, time x lead, as one series of valid times.

    Raises
    ------
    ValueError
        If runs overlap, so that a time has several forecasts.
    """
    (step,) = _leads(array)
    (run,) = (dim for dim in array["valid_time"].dims if dim != step)
    if array.sizes[step] == 1 or array.sizes[run] == 1:
        single = step if array.sizes[step] == 1 else run
        return _with_time_dimension(array.squeeze(single), xr.Dataset())
    valid = array["valid_time"].transpose(run, step).values
    if np.unique(valid).size < valid.size:
        fitting = valid[0] <= valid[0, 0] + (valid[1, 0] - valid[0, 0])
        steps = int(np.count_nonzero(fitting)) - 1
        raise ValueError(
            f"variable {array.name!r} holds {array.sizes[run]} forecasts that overlap, so that a "
            f"time has several: select one of them with .isel({run}=0), or of each the steps until "
            f"the next with .isel({step}=slice(0, {max(steps, 1)}))."
        )
    row = array.stack({"__row": (run, step)}, create_index=False)
    order = np.argsort(valid.ravel(), kind="stable")
    row = row.isel(__row=order).assign_coords(valid_time=("__row", valid.ravel()[order]))
    if run in row.coords and run != "forecast_reference_time":
        row = row.rename({run: "forecast_reference_time"})
    row["valid_time"].attrs = dict(array["valid_time"].attrs)
    return row.rename(valid_time="time").swap_dims(__row="time")


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
