"""Bounds of intervals are written for the values that they were stated for, and for no others."""

import copy
import pickle

import dask.array as da
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from skdiffuse.cubes import coarsen, crop, dress, open_cube, validate_cube, write_cube
from skdiffuse.cubes.interval_bounds import bounds_of, with_bounds

HOURS = pd.date_range("2020-01-01T01", periods=6, freq="h")


@pytest.fixture(params=["in memory", "lazy"])
def hourly(request, tmp_path):
    """Hourly means, opened from a file that states their bounds."""
    data = xr.Dataset(
        {"pr": (("time", "lat", "lon"), np.arange(96.0).reshape(6, 4, 4), {"units": "mm h-1"})},
        {
            "time": ("time", HOURS, {"bounds": "time_bnds"}),
            "lat": ("lat", [50.0, 51, 52, 53], {"units": "degrees_north"}),
            "lon": ("lon", [0.0, 1, 2, 3], {"units": "degrees_east"}),
            "time_bnds": (("time", "bnds"), np.stack([HOURS - pd.Timedelta("1h"), HOURS], 1)),
        },
    )
    data.time.encoding["units"] = "hours since 2020-01-01"
    data.to_netcdf(tmp_path / "hourly.nc")
    cube = open_cube(tmp_path / "hourly.nc")
    assert cube.time.attrs["bounds_offset_hours"] == [-1, 0]
    return cube.compute() if request.param == "in memory" else cube


def written_bounds(cube, folder):
    """Hours from the bounds of the file to its times, or None."""
    write_cube(cube, folder / "out.nc")
    with netCDF4.Dataset(folder / "out.nc") as file:
        time = file["time"]
        assert "bounds_offset_hours" not in time.ncattrs()
        if not hasattr(time, "bounds"):
            assert "time_bnds" not in file.variables
            return None
        hours = 1.0 if time.units.startswith("hours") else 60.0
        return ((file[time.bounds][:] - time[:][:, None]) / hours).tolist()


OTHER_INTERVALS = {
    "coarsen": lambda c: c.coarsen(time=3).mean(),
    "resample": lambda c: c.resample(time="3h").mean(),
    "resample, later label": lambda c: c.resample(time="3h", closed="right", label="right").mean(),
    "rolling": lambda c: c.rolling(time=3).mean(),
    "interpolated": lambda c: c.interp(time=c.time.values[:-1] + np.timedelta64(30, "m")),
    "sum of two hours": lambda c: (c + c.shift(time=1)) / 2,
    "cumulative": lambda c: c.cumsum("time"),
    "upsampled": lambda c: c.resample(time="30min").interpolate("linear"),
    "a mean, its attributes kept": lambda c: c.rolling(time=2).mean().assign_attrs(c.attrs),
}


@pytest.mark.parametrize("name", OTHER_INTERVALS)
def test_other_intervals_are_not_written_with_the_old_bounds(hourly, tmp_path, name):
    changed = OTHER_INTERVALS[name](hourly)
    assert written_bounds(changed, tmp_path) is None
    # Nor by a detour: a model's template, another opening, or a file that xarray wrote.
    assert "bounds_offset_hours" not in validate_cube(changed).template.coords.time.attrs
    assert "bounds_offset_hours" not in open_cube(changed).time.attrs
    changed.to_netcdf(tmp_path / "by_xarray.nc")
    assert "bounds_offset_hours" not in open_cube(tmp_path / "by_xarray.nc").time.attrs


SAME_INTERVALS = {
    "as it is": lambda c: c,
    "a part": lambda c: c.isel(time=slice(1, 4), lat=[0, 2]),
    "every third": lambda c: c.isel(time=slice(None, None, 3)),
    "selected by date": lambda c: c.sel(time="2020-01-01"),
    "joined": lambda c: xr.concat([c.isel(time=slice(0, 2)), c.isel(time=slice(2, 6))], "time"),
    "renamed": lambda c: c.rename("rain").transpose("time", "lat", "lon"),
    "turned": lambda c: c.sortby("lat", ascending=False),
    "copied": lambda c: pickle.loads(pickle.dumps(copy.deepcopy(c))),
    "opened again": open_cube,
    "coarser cells": lambda c: coarsen(c, 2),
    "cropped": lambda c: crop(c, polygon=[(49, -1), (49, 9), (60, -1)]),
    "chunked": lambda c: c.chunk(time=2),
    "dressed": lambda c: dress(c.values, validate_cube(c).template),
    "members": lambda c: dress(np.stack([c.values] * 2), validate_cube(c).template),
    "continued": lambda c: dress(c.values[:2], validate_cube(c).template, time="continued"),
}


@pytest.mark.parametrize("name", SAME_INTERVALS)
def test_the_same_intervals_keep_their_bounds(hourly, tmp_path, name):
    kept = SAME_INTERVALS[name](hourly)
    assert written_bounds(kept, tmp_path) == [[-1, 0]] * kept.sizes["time"]
    again = open_cube(tmp_path / "out.nc")
    assert again.time.attrs["bounds_offset_hours"] == [-1, 0]


def test_generated_rain_is_no_better_than_other(hourly, tmp_path):
    generated = dress(hourly.values, validate_cube(hourly).template)
    assert written_bounds(generated.coarsen(time=3).mean(), tmp_path) is None
    refined = dress(
        np.ones((11, 4, 4), "f4"), validate_cube(hourly).template, time="refined", factor=2
    )
    assert written_bounds(refined, tmp_path) is None


def test_a_single_field_has_none(hourly):
    field = hourly.isel(time=0, drop=True)
    assert coarsen(field, 2).shape == (2, 2)
    assert crop(field, polygon=[(49, -1), (49, 9), (60, -1)]).ndim == 2
    assert bounds_of(field) is None


def test_what_a_user_states_is_believed():
    rain = xr.DataArray(np.ones((2, 1, 1)), {"time": HOURS[:2]}, ("time", "y", "x"))
    assert bounds_of(rain) is None
    rain.time.attrs["bounds_offset_hours"] = [0, 1]
    assert bounds_of(rain * 2) == [0, 1]
    assert bounds_of(with_bounds(rain, None)) is None
    assert bounds_of(rain) == [0, 1]
    assert bounds_of(with_bounds(rain.drop_vars("time"), [0, 1])) is None


STORAGE = {
    "_QuantizeGranularBitRoundNumberOfSignificantDigits": 3,
    "_QuantizeBitRoundNumberOfSignificantBits": 5,
    "_ChunkSizes": [1, 2], "_Storage": "chunked", "least_significant_digit": 2, "quantization": "q",
    "quantization_nsd": 3, "actual_range": [0.0, 3.0], "valid_max": 300.0, "DIMENSION_LIST": "x",
    "CLASS": "DIMENSION_SCALE", "ancillary_variables": "quality", "GRIB_paramId": 228,
}  # fmt: skip


@pytest.mark.parametrize("lazy", [False, True])
def test_how_a_file_is_stored_does_not_travel(tmp_path, lazy):
    """The rain of a model trained on a quantised file is not quantised."""
    rain = xr.DataArray(
        da.ones((3, 4, 4)) if lazy else np.ones((3, 4, 4)),
        {"time": ("time", HOURS[:3], {"_CoordinateAxisType": "Time"})},
        ("time", "y", "x"), "rain", {"units": "mm h-1", "long_name": "rain", **STORAGE},
    )  # fmt: skip
    generated = dress(np.ones((3, 4, 4), "f4"), validate_cube(rain).template)
    assert generated.attrs == {"units": "mm h-1", "long_name": "rain"}
    assert set(open_cube(rain).attrs) == {"units", "long_name", "standard_name"}
    assert "_CoordinateAxisType" not in open_cube(rain).time.attrs
    write_cube(rain, tmp_path / "a.nc")
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        assert not set(STORAGE) & set(file["rain"].ncattrs())


def test_a_quantised_file(tmp_path):
    data = xr.Dataset(
        {"pr": (("time", "y", "x"), np.full((3, 2, 2), 1.23456, "f4"), {"units": "mm h-1"})},
        {"time": HOURS[:3]},
    )
    data.to_netcdf(
        tmp_path / "a.nc",
        encoding={
            "pr": {"zlib": True, "significant_digits": 3, "quantize_mode": "GranularBitRound"}
        },
    )
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        assert "_QuantizeGranularBitRoundNumberOfSignificantDigits" in file["pr"].ncattrs()
    generated = dress(
        np.ones((3, 2, 2), "f4"), validate_cube(open_cube(tmp_path / "a.nc")).template
    )
    assert set(generated.attrs) == {"units", "standard_name"}
