"""Files that follow each other in time: on one grid they are one cube, otherwise an error says so.

Every case with dask, where thousands of NetCDF files are read only for their times, and without.
"""

import re

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, reading

pytestmark = pytest.mark.filterwarnings(
    "ignore:Times can't be serialized", "ignore:Unable to decode time axis"
)

HOURS = pd.date_range("2020-01-01", periods=4, freq="h")
RAIN = np.arange(4 * 3 * 4, dtype="f4").reshape(4, 3, 4)
LAEA = {"grid_mapping_name": "lambert_azimuthal_equal_area", "latitude_of_projection_origin": 55.0}


@pytest.fixture(params=[True, False], ids=["dask", "no dask"])
def folder(request, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "has_dask", lambda: request.param)
    return tmp_path


def radar(part, **mapping):
    """Half of the series, on a grid in metres that has latitudes and a projection."""
    y, x = 1000.0 * np.arange(3), 2000.0 * np.arange(4)
    lat, lon = np.meshgrid(50 + y / 1e5, 5 + x / 1e5, indexing="ij")
    data = xr.Dataset(
        {"pr": (("time", "y", "x"), RAIN, {"units": "mm h-1", "grid_mapping": "crs"})},
        {
            "time": HOURS, "y": ("y", y, {"units": "m"}), "x": ("x", x, {"units": "m"}),
            "lat": (("y", "x"), lat, {"units": "degrees_north"}),
            "lon": (("y", "x"), lon, {"units": "degrees_east"}),
            "crs": ((), 0, LAEA | mapping),
        },
    )  # fmt: skip
    return data.isel(time=slice(0, 2) if part == 0 else slice(2, 4))


def two(folder, change=lambda data: data):
    """Written so that names run against times."""
    radar(0).to_netcdf(folder / "b.nc")
    change(radar(1)).to_netcdf(folder / "a.nc")
    return folder / "*.nc"


def test_one_grid(folder):
    np.testing.assert_array_equal(open_cube(two(folder)), RAIN)


def as_float32(data):
    return data.assign_coords({n: data[n].astype("f4") for n in ("y", "x", "lat", "lon")})


def without_names(data):
    data.crs.attrs["long_name"] = "the same grid, told in more words"
    return data


@pytest.mark.parametrize("change", [as_float32, without_names])
def test_rounding_and_words_do_not_matter(folder, change):
    joined = open_cube(two(folder, change))
    np.testing.assert_array_equal(joined, RAIN)
    assert joined.y.values.tolist() == [0, 1000, 2000]


def moved(data):
    return data.assign_coords(x=data.x + 100)


OTHER_GRIDS = {
    "another place": (lambda d: d.assign_coords(x=d.x + 500_000), "x runs from 500000"),
    "a tenth of a cell": (moved, "x runs from 100 to 6100 instead of 0 to 6000"),
    "y reversed": (lambda d: d.isel(y=slice(None, None, -1)), "y runs .*other way round"),
    "x reversed": (lambda d: d.isel(x=slice(None, None, -1)), "x runs .*other way round"),
    "another projection": (
        lambda d: radar(1, latitude_of_projection_origin=52.0),
        "latitude_of_projection_origin of the grid mapping is 52.0 instead of 55.0",
    ),
    "other latitudes on the same x and y": (
        lambda d: d.assign_coords(lat=d.lat + 1), "lat runs from 51",
    ),
    "one corner of the latitudes": (
        lambda d: d.assign_coords(lat=d.lat.where(d.lat < d.lat.max(), 60)), "lat runs",
    ),
    "another size": (lambda d: d.isel(x=slice(1, None)), "sizes"),
    "no coordinate": (lambda d: d.drop_vars("y"), "no coordinate 'y'"),
    "another member": (lambda d: d.assign_coords(realization=2), "realization is"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_GRIDS)
def test_another_grid_is_refused(folder, name):
    change, message = OTHER_GRIDS[name]
    pattern = two(folder, change)
    if name == "another member":
        radar(0).assign_coords(realization=1).to_netcdf(folder / "b.nc")
    with pytest.raises(ValueError) as refused:
        # In order of time, so that the second is compared with the first.
        open_cube([folder / "b.nc", folder / "a.nc"])
    text = str(refused.value)
    assert "do not lie on one grid" in text or "differs" in text
    assert re.search(message, text), text
    assert "a.nc" in text
    with pytest.raises(ValueError, match=r"grid|differs"):
        open_cube(pattern)


def test_only_latitudes_tell(folder):
    """Rows that run the other way are seen where nothing but 2-D latitudes lies beside them."""

    def bare(data, step=1):
        data = data.drop_vars(["y", "x", "crs"]).isel(y=slice(None, None, step))
        data.pr.attrs.pop("grid_mapping")
        return data

    bare(radar(0)).to_netcdf(folder / "a.nc")
    bare(radar(1)).to_netcdf(folder / "b.nc")
    np.testing.assert_array_equal(open_cube(folder / "*.nc"), RAIN)
    bare(radar(1), -1).to_netcdf(folder / "b.nc")
    with pytest.raises(ValueError, match=r"one grid.*lat runs"):
        open_cube(folder / "*.nc")


@pytest.mark.parametrize("dim", ["y", "x"])
def test_the_remedy_for_reversed_rows(folder, dim):
    two(folder, lambda d: d.isel({dim: slice(None, None, -1)}))
    parts = [folder / "b.nc", folder / "a.nc"]
    with pytest.raises(ValueError, match=rf"\.isel\({dim}=slice\(None, None, -1\)\)"):
        open_cube(parts)
    first, second = (open_cube(part) for part in parts)
    joined = xr.concat([first, second.isel({dim: slice(None, None, -1)})], "time")
    np.testing.assert_array_equal(joined, RAIN)


def test_other_statistics_are_refused(folder):
    def of(part, method):
        return radar(part).assign(pr=radar(part).pr.assign_attrs(cell_methods=method))

    of(0, "time: mean").to_netcdf(folder / "a.nc")
    of(1, "time: maximum").to_netcdf(folder / "b.nc")
    with pytest.raises(ValueError, match="cell_methods"):
        open_cube(folder / "*.nc")


def test_each_forecast_keeps_its_start(folder):
    """The start of the first forecast used to stand for all."""
    starts = pd.to_datetime(["2019-12-31T21", "2020-01-01T00"])
    for part, name in ((0, "b.nc"), (1, "a.nc")):
        data = radar(part).assign_coords(forecast_reference_time=starts[part])
        data.pr.attrs["coordinates"] = "forecast_reference_time lat lon"
        data.drop_encoding().to_netcdf(folder / name)
    cube = open_cube(folder / "*.nc")
    np.testing.assert_array_equal(cube, RAIN)
    assert cube.forecast_reference_time.dims == ("time",)
    np.testing.assert_array_equal(
        cube.forecast_reference_time, np.repeat(starts.values.astype("M8[ns]"), 2)
    )


def test_intervals_that_differ_are_not_those_of_the_first(folder):
    for part, minutes in ((0, 60), (1, 30)):
        data = radar(part)
        starts = data.time.values - np.timedelta64(minutes, "m")
        data["time_bnds"] = (("time", "bnds"), np.stack([starts, data.time.values], 1))
        data.time.attrs["bounds"] = "time_bnds"
        data["pr"] = (data.pr.dims, data.pr.values * minutes / 60, {"units": "mm"})
        data.time.encoding["units"] = "hours since 2000-01-01"
        data.to_netcdf(folder / f"{part}.nc")
        with netCDF4.Dataset(folder / f"{part}.nc", "a") as file:
            # As xarray writes them where it was told no units.
            file["time_bnds"][:] *= 60
            file["time_bnds"].units = "minutes since 2000-01-01"
    cube = open_cube(folder / "*.nc")
    np.testing.assert_allclose(cube, RAIN)
    assert "bounds_offset_hours" not in cube.time.attrs


def hours(path, part, calendar, since="2000-01-01", first=0):
    radar(part).drop_vars("time").to_netcdf(path)
    with netCDF4.Dataset(path, "a") as file:
        time = file.createVariable("time", "f8", ("time",))
        time[:] = np.arange(2) + first + 2 * part
        time.units = f"hours since {since}"
        if calendar:
            time.calendar = calendar


@pytest.mark.parametrize("first", ["standard", None, "gregorian", "Gregorian"])
@pytest.mark.parametrize("second", ["gregorian", "standard", "proleptic_gregorian"])
def test_names_of_one_calendar(folder, first, second):
    hours(folder / "a.nc", 0, first)
    hours(folder / "b.nc", 1, second)
    cube = open_cube(folder / "*.nc")
    np.testing.assert_array_equal(cube, RAIN)
    expected = np.datetime64("2000-01-01", "ns") + np.arange(4) * np.timedelta64(1, "h")
    np.testing.assert_array_equal(cube.time, expected)


def test_noleap_is_365_day(folder):
    hours(folder / "a.nc", 0, "noleap")
    hours(folder / "b.nc", 1, "365_day")
    np.testing.assert_array_equal(open_cube(folder / "*.nc"), RAIN)


@pytest.mark.parametrize("since", ["2000-01-01", "2000-01-01 02:00:00"])
def test_other_calendars_are_refused(folder, since):
    hours(folder / "a.nc", 0, "noleap")
    hours(folder / "b.nc", 1, "standard", since)
    with pytest.raises(ValueError, match="different calendars"):
        open_cube(folder / "*.nc")


def test_calendars_that_differ_before_the_reform_are_refused(tmp_path):
    """Two days lie between them when both count from the year 1."""
    hours(tmp_path / "a.nc", 0, "standard", "0001-01-01")
    hours(tmp_path / "b.nc", 1, "proleptic_gregorian", "0001-01-01")
    with pytest.raises(ValueError, match="different calendars"):
        open_cube(tmp_path / "*.nc")
