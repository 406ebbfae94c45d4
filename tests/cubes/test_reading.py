"""Files as the large services write them, made up here with their true metadata."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, validate_cube, write_cube
from skdiffuse.cubes.rates import difference_totals
from skdiffuse.datasets import make_precipitation

HOURS = pd.date_range("2020-01-01", periods=4, freq="h")
RAIN = np.arange(4 * 2 * 3, dtype="f4").reshape(4, 2, 3)
LAT = ("latitude", [51.0, 50.75], {"units": "degrees_north", "standard_name": "latitude"})
LON = ("longitude", [0.0, 0.25, 0.5], {"units": "degrees_east", "standard_name": "longitude"})


def era5(**attrs):
    """ERA5 hourly single levels from the Climate Data Store, as of 2024."""
    return xr.Dataset(
        {
            "tp": (
                ("valid_time", "latitude", "longitude"),
                RAIN / 1000,
                {"units": "m", "long_name": "Total precipitation", "standard_name": "unknown"}
                | attrs,
            )
        },
        {
            "valid_time": ("valid_time", HOURS, {"standard_name": "time"}),
            "latitude": LAT,
            "longitude": LON,
            "number": ((), 0, {"units": "1", "standard_name": "realization"}),
            "expver": ("valid_time", ["0001"] * 4),
        },
    )


def test_era5_accumulations():
    with pytest.raises(ValueError, match="interval='1h'"):
        open_cube(era5())
    cube = open_cube(era5(), interval="1h")
    np.testing.assert_allclose(cube, RAIN, rtol=1e-6)
    assert cube.dims == ("valid_time", "latitude", "longitude")
    # ERA5-Land counts from midnight on.
    total = era5()
    total["tp"].values[:] = np.cumsum(RAIN, 0) / 1000
    np.testing.assert_allclose(
        open_cube(total, running_total=True)[1:], RAIN[1:], rtol=1e-4, atol=1e-5
    )


def test_era5_mean_rate():
    data = era5(units="kg m**-2 s**-1", standard_name="precipitation_flux")
    data["tp"].values[:] = RAIN / 3600
    np.testing.assert_allclose(open_cube(data.rename(tp="avg_tprate")), RAIN, rtol=1e-6)


def test_totals_that_begin_anew_each_day():
    amounts = np.random.default_rng(0).gamma(0.3, 2.0, (72, 4, 5))
    totals = np.concatenate([np.cumsum(day, 0) for day in np.split(amounts, 3)])
    array = xr.DataArray(
        totals, {"time": pd.date_range("2020-01-01T01", periods=72, freq="h")}, ("time", "y", "x")
    )
    found, hours = difference_totals(array, "time")
    assert hours == 1.0
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:], amounts[1:], atol=1e-9)


def test_amounts_over_intervals_of_different_length():
    array = era5().isel(valid_time=[0, 1, 3]).rename(valid_time="time")
    starts = array.time.values - np.array([1, 1, 2]) * np.timedelta64(1, "h")
    array["time_bnds"] = (("time", "bnds"), np.stack([starts, array.time.values], 1))
    array.time.attrs["bounds"] = "time_bnds"
    cube = open_cube(array)
    np.testing.assert_allclose(cube, RAIN[[0, 1, 3]] / [[[1]], [[1]], [[2]]], rtol=1e-6)


def test_wrf_like_curvilinear_grid():
    lat, lon = np.meshgrid([50.0, 51.0], [1.0, 2.0, 3.0], indexing="ij")
    data = xr.Dataset(
        {"rain": (("time", "south_north", "west_east"), RAIN, {"units": "mm h-1"})},
        {
            "time": HOURS,
            "XLAT": (("south_north", "west_east"), lat, {"units": "degrees_north"}),
            "XLONG": (("south_north", "west_east"), lon, {"units": "degrees_east"}),
        },
    )
    cube = open_cube(data)
    assert cube.dims == ("time", "south_north", "west_east")
    assert "XLAT" in cube.coords


def test_cmip_daily_with_bounds_and_members():
    days = xr.date_range("2050-01-01T12", periods=4, calendar="noleap", use_cftime=True)
    half = np.timedelta64(12, "h").astype(object)
    data = xr.Dataset(
        {
            "pr": (
                ("realization", "time", "lat", "lon"),
                np.stack([RAIN, RAIN + 1]) / 3600,
                {"standard_name": "precipitation_flux", "units": "kg m-2 s-1"},
            ),
            "time_bnds": (("time", "bnds"), np.stack([days - half, days + half], 1)),
        },
        {"time": ("time", days, {"bounds": "time_bnds"}), "realization": [1, 2]},
    )
    cube = open_cube(data)
    assert cube.dims == ("realization", "time", "lat", "lon")
    np.testing.assert_allclose(cube, np.stack([RAIN, RAIN + 1]), rtol=1e-6)
    assert cube.time.attrs["bounds_offset_hours"] == [-12.0, 12.0]
    assert validate_cube(cube).n_sequences == 2
    np.testing.assert_allclose(open_cube(data, member=2), RAIN + 1, rtol=1e-6)


def test_what_comes_in_is_left_as_it_was(tmp_path):
    data = era5()
    data["time_bnds"] = (("valid_time", "bnds"), np.stack([HOURS - pd.Timedelta("1h"), HOURS], 1))
    data.valid_time.attrs["bounds"] = "time_bnds"
    before = data.copy(deep=True)
    cube = open_cube(data)
    xr.testing.assert_identical(data, before)
    before = cube.copy(deep=True)
    write_cube(cube, tmp_path / "a.nc")
    xr.testing.assert_identical(cube, before)
    assert "_FillValue" not in cube.latitude.encoding
    source = make_precipitation(3, (4, 4), random_state=0)
    opened = open_cube(source)
    opened[:] = 7
    assert not (source == 7).any()


@pytest.mark.parametrize(
    "name",
    [
        "precipitation_surface",
        "surface_precipitation_average",
        "APCP_surface",
        "prcp",
        "TOT_PREC",
        "Total_precipitation_surface_6_Hour_Accumulation",
        "total_precipitation_6hr",
        "PRECTOTCORR",
    ],
)
def test_names_of_services(name):
    cube = open_cube(era5(units="mm/hr").rename(tp=name))
    assert cube.name == name


def test_lazy_data_stays_lazy():
    def explode(block):
        raise AssertionError("was read")

    lazy = da.zeros((4, 2, 3), chunks=1).map_blocks(explode, meta=np.empty((0, 0, 0)))
    data = era5(units="kg m-2 s-1")
    data["tp"] = (data.tp.dims, lazy, data.tp.attrs)
    assert open_cube(data).chunks is not None
    data["tp"].attrs["units"] = "m"
    assert open_cube(data, interval="1h").chunks is not None
    assert open_cube(data, running_total=True).chunks is not None


def test_ten_thousand_days_in_a_store_open_at_once(tmp_path):
    hours = pd.date_range("1990-01-01", periods=240_000, freq="h")
    values = da.zeros((240_000, 4, 4), chunks=(24_000, 4, 4), dtype="f4")
    cube = xr.DataArray(values, {"time": hours}, ("time", "y", "x"), attrs={"units": "mm h-1"})
    write_cube(cube, tmp_path / "long.zarr")
    opened = open_cube(tmp_path / "long.zarr")
    assert opened.chunks is not None
    assert validate_cube(opened, n_frames=10).window_starts(10).shape == (239_991, 2)
