"""Every way out that an error of reading or of validation names is followed, and leads to the cube.

What the tests of units, amounts, groups, joining and foreign formats follow is not repeated here.
"""

import datetime
import re

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from skdiffuse.cubes import crop, open_cube, validate_cube, write_cube

RAIN = np.arange(4 * 3 * 5, dtype="f4").reshape(4, 3, 5)
HOURS = pd.date_range("2020-01-01", periods=4, freq="h")
UNITS = {"units": "mm h-1"}


@pytest.fixture(params=["in memory", "lazy"])
def dataset(request):
    """Makes a dataset of RAIN with some coordinates changed."""

    def make(values=RAIN, dims=("time", "lat", "lon"), **coords):
        known = {
            "time": HOURS, "lat": ("lat", [50.0, 51, 52], {"units": "degrees_north"}),
            "lon": ("lon", [0.0, 0.25, 0.5, 0.75, 1.0], {"units": "degrees_east"}),
        } | coords  # fmt: skip
        known = {name: at for name, at in known.items() if at is not None}
        values = da.from_array(values) if request.param == "lazy" else values
        return xr.Dataset({"pr": (dims, values, UNITS)}, known)

    return make


def refused(source, message, **options):
    with pytest.raises(ValueError, match=message):
        open_cube(source, **options)


def check(source, expected=RAIN, **options):
    np.testing.assert_array_equal(open_cube(source, **options), expected)


# Longitudes across the edge of a map


GREENWICH = [359.5, 359.75, 0.0, 0.25, 0.5]


def test_a_region_across_greenwich_opens(dataset):
    cube = open_cube(dataset(lon=("lon", GREENWICH, {"units": "degrees_east"})))
    np.testing.assert_array_equal(cube, RAIN)
    assert cube.lon.values.tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
    np.testing.assert_array_equal(crop(cube, lon=(-0.3, 0.3)), RAIN[..., 1:4])


@pytest.mark.parametrize("units", [{}, {"units": "degrees_east"}])
def test_torn_by_sorting_it_is_put_together(dataset, units):
    """What the advice to sort used to make of it."""
    torn = dataset(lon=("lon", GREENWICH, units)).sortby("lon")
    assert torn.lon.values.tolist() == [0, 0.25, 0.5, 359.5, 359.75]
    cube = open_cube(torn)
    np.testing.assert_array_equal(cube, RAIN)
    assert cube.lon.values.tolist() == [-0.5, -0.25, 0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("stored", "counted_on"),
    [
        ([179.5, 179.75, -180.0, -179.75, -179.5], [179.5, 179.75, 180, 180.25, 180.5]),
        ([0.5, 0.25, 0.0, 359.75, 359.5], [0.5, 0.25, 0, -0.25, -0.5]),
        ([0.0, 72, 144, -144, -72], [-180, -108, -36, 36, 108]),
        ([340, 350, 0, 10, 20], [-20, -10, 0, 10, 20]),
        ([0.0, 0.1, 0.2, 0.3, 0.4], [0.0, 0.1, 0.2, 0.3, 0.4]),
        ([358.0, 359, 360, 361, 362], [358.0, 359, 360, 361, 362]),
    ],
)
def test_longitudes_are_counted_on(dataset, stored, counted_on):
    cube = open_cube(dataset(lon=("lon", stored, {"units": "degrees_east"})))
    if stored == [0.0, 72, 144, -144, -72]:
        counted_on = [0, 72, 144, 216, 288]
        assert (np.diff(cube.lon) == 72).all()
        assert ((cube.lon - stored) % 360 == 0).all()
    else:
        assert cube.lon.values.tolist() == counted_on
    np.testing.assert_array_equal(cube, RAIN)


def test_metres_are_no_longitudes(dataset):
    refused(dataset(lon=("lon", [0.0, 300, 200, 400, 500], {"units": "m"})), r"sortby\('lon'\)")


# Axes of space


def test_unsorted_rows(dataset):
    broken = dataset(lat=[50.0, 52, 51])
    refused(broken, r"changes direction: sort the data with \.sortby\('lat'\)")
    check(broken.sortby("lat"), RAIN[:, [0, 2, 1]])


def test_repeated_rows(dataset):
    broken = dataset(lat=[50.0, 51, 51])
    refused(broken, r"repeats values.*\.drop_duplicates\('lat'\)")
    check(broken.drop_duplicates("lat"), RAIN[:, :2])


def test_rows_of_no_place(dataset):
    broken = dataset(lat=[50.0, np.nan, 52])
    refused(broken, r"missing somewhere.*\.assign_coords\(lat=")
    check(broken.assign_coords(lat=[50.0, 51, 52]))


def test_columns_left_out(dataset):
    broken = dataset(lon=("lon", [0.0, 0.25, 0.5, 40, 40.25], {"units": "degrees_east"}))
    refused(
        broken,
        r"leaves cells out between 0\.5 and 40.*\.isel\(lon=slice\(None, 3\)\) or "
        r"\.isel\(lon=slice\(3, None\)\)",
    )
    check(broken.isel(lon=slice(None, 3)), RAIN[..., :3])
    check(broken.isel(lon=slice(3, None)), RAIN[..., 3:])


@pytest.mark.parametrize("lat", [[50.0, 51, 52.9], [89.1, 88.0, 86.9], [10.0, 10.3, 10.5]])
def test_grids_that_are_nearly_regular_open(dataset, lat):
    check(dataset(lat=lat))


def test_two_axes_of_one_kind(dataset):
    broken = dataset(
        dims=("time", "y", "b"), lat=None, lon=None,
        time=("time", HOURS, {"axis": "T"}), b=("b", np.arange(5.0), {"axis": "T"}),
    )  # fmt: skip
    refused(broken, r"marked as the time axis.*\['b'\]\.attrs\.clear\(\)")
    broken["b"].attrs.clear()
    broken["b"].attrs["axis"] = "X"
    check(broken)


def test_names_of_no_meaning(dataset):
    broken = dataset(dims=("a", "b", "c"), time=None, lat=None, lon=None)
    refused(broken, r"rename its dimensions to time, y and x with \.rename\(.*attribute 'axis'")
    broken = broken.assign_coords(a=HOURS, b=[1.0, 2, 3], c=np.arange(5.0))
    check(broken.rename({"a": "time", "b": "y", "c": "x"}))
    for name, axis in (("a", "T"), ("b", "Y"), ("c", "X")):
        broken[name].attrs["axis"] = axis
    check(broken)


def test_stations_are_no_field(dataset):
    refused(dataset().stack(station=("lat", "lon")).pr.drop_vars(["station", "lat", "lon"]),
            "fields need dimensions time, y and x")  # fmt: skip


def test_one_dimension_too_many(dataset):
    broken = xr.concat([dataset(), dataset() + 1], "height")
    broken.pr.attrs.update(UNITS)
    refused(broken, r"'height' of size 2.*\.isel\(height=0\)")
    check(broken.isel(height=0))


# Final and preliminary ERA5


@pytest.mark.parametrize("versions", [[1, 5], [5, 1], ["0001", "0005"]])
def test_final_and_preliminary_months_are_one_series(dataset, versions):
    """ERA5 up to some month, ERA5T from then on; 'select one' used to lose the other."""
    final = RAIN.copy()
    final[2:] = np.nan
    preliminary = np.where(np.arange(4)[:, None, None] >= 2, RAIN, np.nan).astype("f4")
    parts = {1: final, 5: preliminary}
    values = np.stack([parts[int(version)] for version in versions], axis=1)
    data = dataset(values, ("time", "expver", "lat", "lon"), expver=versions)
    cube = open_cube(data)
    np.testing.assert_array_equal(cube, RAIN)
    assert cube.dims == ("time", "lat", "lon")
    assert "expver" not in cube.coords


def test_where_both_have_a_value_it_is_the_final_one(dataset):
    values = np.stack([RAIN, RAIN + 100], axis=1)
    check(dataset(values, ("time", "expver", "lat", "lon"), expver=[1, 5]))


# Forecasts


def forecasts(dataset, every, n_steps, valid=True, lead="step"):
    """Two runs; the value of each cell is the hour that the forecast is for, plus half its run."""
    runs = pd.to_datetime(["2020-01-01T00", "2020-01-01T00"]) + pd.to_timedelta([0, every], "h")
    steps = pd.to_timedelta(np.arange(1, n_steps + 1), "h")
    hours = every * np.arange(2)[:, None] + np.arange(1, n_steps + 1)
    values = np.broadcast_to(hours[..., None, None], (2, n_steps, 3, 5)).astype("f4")
    data = dataset(values, ("time", lead, "lat", "lon"), time=runs, **{lead: steps})
    if valid:
        data = data.assign_coords(valid_time=data.time + data[lead])
    return data


@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize("lead", ["step", "prediction_timedelta"])
def test_runs_in_a_row_are_one_series(dataset, valid, lead):
    """time x step, as ERA5's GRIB files have it: all of the months."""
    cube = open_cube(forecasts(dataset, 12, 12, valid, lead))
    assert cube.dims == ("time", "lat", "lon")
    np.testing.assert_array_equal(cube[:, 0, 0], np.arange(1, 25))
    expected = np.datetime64("2020-01-01T01") + np.arange(24) * np.timedelta64(1, "h")
    np.testing.assert_array_equal(cube.time, expected)
    assert cube.forecast_reference_time.dims == ("time",)
    assert validate_cube(cube.compute()).time_step == 3600


def test_runs_that_overlap_ask_which(dataset):
    data = forecasts(dataset, 6, 12)
    refused(
        data,
        r"2 forecasts that overlap.*\.isel\(time=0\).*\.isel\(step=slice\(0, 6\)\)",
    )
    for names in (["time", "step"], ["time"], ["step"]):
        # Whatever order the dimensions have.
        turned = data.transpose(*reversed(names), ...)
        np.testing.assert_array_equal(open_cube(turned.isel(time=0))[:, 0, 0], np.arange(1, 13))
        first = open_cube(turned.isel(step=slice(0, 6)))
        np.testing.assert_array_equal(first[:, 0, 0], np.arange(1, 13))
        np.testing.assert_array_equal(open_cube(turned.isel(step=[2]))[:, 0, 0], [3, 9])


# Times


@pytest.mark.parametrize("name", ["time", "valid_time", "t", "date"])
@pytest.mark.parametrize("as_coordinate", [True, False])
def test_a_scalar_time_beside_a_start_time(dataset, tmp_path, name, as_coordinate):
    """Fields of one moment, whose time is a variable beside its beginning."""
    data = dataset().isel(time=2).drop_vars("time")
    add = data.assign_coords if as_coordinate else data.assign
    data = add({name: HOURS[2], "start_time": HOURS[1]})
    cube = open_cube(data)
    np.testing.assert_array_equal(cube, RAIN[[2]])
    assert cube[cube.dims[0]].values[0] == HOURS[2].to_datetime64()
    data.compute().to_netcdf(tmp_path / "a.nc")
    cube = open_cube(tmp_path / "a.nc")
    np.testing.assert_array_equal(cube, RAIN[[2]])
    assert cube[cube.dims[0]].values[0] == HOURS[2].to_datetime64()


def test_a_field_of_no_time(dataset):
    field = dataset().isel(time=2, drop=True)
    refused(field, r"no time axis.*\.expand_dims\(time=\[\.\.\.\]\).*numpy\.datetime64\('2020")
    check(field.expand_dims(time=[np.datetime64("2020-01-31T12:00")]), RAIN[[2]])


def test_no_times(dataset):
    broken = dataset(time=None)
    refused(broken, r"no times.*\.assign_coords\(time=\.\.\.\)")
    check(broken.assign_coords(time=HOURS))


def test_times_that_were_not_decoded(dataset):
    broken = dataset(time=("time", [0.0, 1, 2, 3], {"units": "hours"}))
    refused(broken, "could not be decoded.*'hours since 1970-01-01'")
    broken.time.attrs["units"] = "hours since 1970-01-01"
    check(xr.decode_cf(broken))


def test_unsorted_and_repeated_times(dataset):
    broken = dataset(time=HOURS[[0, 2, 1, 3]])
    refused(broken, r"out of order at position 2.*\.sortby\('time'\)")
    check(broken.sortby("time"), RAIN[[0, 2, 1, 3]])
    for order in ([0, 1, 1, 2], [1, 2, 0, 1]):
        broken = dataset(time=HOURS[order])
        refused(broken, r"repeated.*\.sortby\('time'\)\.drop_duplicates\('time'\)")
        expected = RAIN[[0, 1, 3]] if order[0] == 0 else RAIN[[2, 0, 1]]
        check(broken.sortby("time").drop_duplicates("time"), expected)


def test_files_that_overlap(dataset, tmp_path):
    """Leaving one out, or joining what each has alone."""
    for name, part in (("a", slice(0, 3)), ("b", slice(2, 4))):
        dataset().isel(time=part).to_netcdf(tmp_path / f"{name}.nc")
    refused(tmp_path / "*.nc", "repeated.*where files overlap, leave one out")
    check(tmp_path / "a.nc", RAIN[:3])


def longer(times):
    return xr.DataArray(
        np.arange(len(times), dtype="f4")[:, None, None] * np.ones((1, 2, 2), "f4"),
        {"time": times}, ("time", "y", "x"), attrs=UNITS,
    )  # fmt: skip


def test_mixed_steps():
    cube = longer(HOURS[0] + pd.to_timedelta([0, 4, 8, 12, 13, 14, 17, 22], "h"))
    with pytest.raises(ValueError, match=r"mixed.*\.isel\(time=slice\(0, 4\)\)"):
        validate_cube(cube, n_frames=2)
    assert validate_cube(cube.isel(time=slice(0, 4)), n_frames=4).time_step == 4 * 3600


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
@pytest.mark.parametrize("jitter", [0, 1])
def test_gaps(calendar, jitter):
    """Filled as told, every frame stays at its time: asfreq would lose those that jitter."""
    times = xr.date_range(
        "2000-02-27", periods=9, freq="5min", calendar=calendar, use_cftime=calendar != "standard"
    )
    seconds = jitter * pd.to_timedelta([0, 1, -1, 0, 1, 1, 0, -1, 0], "s")
    seconds = seconds if calendar == "standard" else seconds.to_pytimedelta()
    keep = [0, 1, 2, 5, 6, 7, 8]
    cube = longer((times + seconds)[keep])
    with pytest.raises(ValueError) as error:
        validate_cube(cube, n_frames=5)
    advice = re.search(r"X\.(resample\(.*\)\.nearest\(.*\))\.$", str(error.value))
    assert advice[1] == ("resample(time='300s').nearest(tolerance=datetime.timedelta(seconds=150))")
    filled = cube.resample(time="300s").nearest(tolerance=datetime.timedelta(seconds=150))
    expected = np.full(9, np.nan)
    expected[keep] = np.arange(7)
    np.testing.assert_array_equal(filled[:, 0, 0], expected)
    assert validate_cube(filled, n_frames=9).n_times == 9
    with pytest.raises(ValueError, match=r"Make n_frames smaller\.$"):
        validate_cube(cube.assign_coords(time=[0.0, 1, 2, 5, 6, 7, 8]), n_frames=5)


@pytest.mark.parametrize("step", [60, 120, 300, 900, 3600])
def test_clocks_that_jitter_by_a_second(step, tmp_path):
    """A regular series without breaks, whose step is the one that is meant."""
    seconds = step * np.arange(12) + np.array([0, 1, -1, 1, 1, 0, -1, 0, 1, -1, 0, 1])
    cube = longer(np.datetime64("2020-01-01", "ns") + seconds * np.timedelta64(1, "s"))
    checked = validate_cube(open_cube(write_cube(cube, tmp_path / "a.nc")), n_frames=12)
    assert not checked.breaks.any()
    assert checked.time_step == step
    np.testing.assert_array_equal(checked.values[0], cube)
    # A frame that lacks is still a break.
    holes = validate_cube(cube.isel(time=[0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]), n_frames=2)
    assert np.flatnonzero(holes.breaks).tolist() == [2]


def test_steps_of_a_second_are_not_jitter():
    times = np.datetime64("2020-01-01", "ns") + np.array([0, 1, 2, 4, 5]) * np.timedelta64(1, "s")
    checked = validate_cube(longer(times), n_frames=2)
    assert checked.time_step == 1
    assert np.flatnonzero(checked.breaks).tolist() == [2]


# Variables and arrays


def test_which_variable(dataset):
    two = dataset().assign(tp=dataset().pr + 1)
    two.tp.attrs.update(UNITS)
    refused(two, r"variable= one of \['pr', 'tp'\]")
    check(two, RAIN + 1, variable="tp")
    refused(dataset().rename(pr="foo"), r"variable='\.\.\.'")
    check(dataset().rename(pr="foo"), variable="foo")


def test_units_that_lack(dataset):
    bare = dataset()
    bare.pr.attrs.clear()
    refused(bare, r"units='\.\.\.'")
    check(bare, units="mm h-1")


@pytest.mark.parametrize("kind", ["numpy", "xarray"])
def test_a_single_field(kind):
    field = RAIN[0] if kind == "numpy" else xr.DataArray(RAIN[0], dims=("y", "x"))
    with pytest.raises(ValueError) as error:
        validate_cube(field)
    advice = "X[None]" if kind == "numpy" else "X.expand_dims('time')"
    assert advice in str(error.value)
    cube = field[None] if kind == "numpy" else field.expand_dims("time")
    np.testing.assert_array_equal(validate_cube(cube).values[0], RAIN[[0]])


@pytest.mark.parametrize("kind", ["numpy", "xarray"])
def test_negative_numbers(kind):
    broken = np.where(RAIN == 7, -3, RAIN)
    expected = np.where(RAIN == 7, np.nan, RAIN)
    with pytest.raises(ValueError, match=r"np\.where\(X < 0, np\.nan, X\).*X\.where\(X >= 0\)"):
        validate_cube(broken)
    X = broken if kind == "numpy" else xr.DataArray(broken, dims=("time", "y", "x"))
    followed = np.where(X < 0, np.nan, X) if kind == "numpy" else X.where(X >= 0)
    np.testing.assert_array_equal(validate_cube(followed).values[0], expected)
    clipped = X.clip(min=0)
    np.testing.assert_array_equal(validate_cube(clipped).values[0], np.where(RAIN == 7, 0, RAIN))


def test_time_in_the_wrong_place(dataset):
    cube = open_cube(dataset()).transpose("lat", "lon", "time").compute()
    with pytest.raises(ValueError) as error:
        validate_cube(cube)
    order = re.search(r"X\.transpose(\(.*?\))", str(error.value))[1]
    assert order == "('time', 'lat', 'lon')"
    turned = cube.transpose("time", "lat", "lon")
    np.testing.assert_array_equal(validate_cube(turned).values[0], RAIN)


def test_a_dataset_and_other_units(dataset):
    with pytest.raises(TypeError, match=r"open_cube\(dataset\)"):
        validate_cube(dataset())
    flux = dataset().pr.compute() / 3600
    flux.attrs["units"] = "kg m-2 s-1"
    with pytest.raises(ValueError, match=r"open_cube\(X\)"):
        validate_cube(flux)
    np.testing.assert_allclose(validate_cube(open_cube(flux)).values[0], RAIN, rtol=1e-6)


def test_a_folder_of_files(dataset, tmp_path):
    dataset().to_netcdf(tmp_path / "a.nc")
    refused(tmp_path, re.escape(repr(str(tmp_path / "*.nc"))))
    check(tmp_path / "*.nc")


def test_latitudes_for_a_region():
    cube = longer(HOURS)
    with pytest.raises(ValueError, match=r"2-D coordinates, or select by \.isel\(\)"):
        crop(cube, lat=(50, 51))
    lat, lon = np.meshgrid([50.0, 52.0], [0.0, 2.0], indexing="ij")
    cube = cube.assign_coords(
        lat=(("y", "x"), lat, {"units": "degrees_north"}),
        lon=(("y", "x"), lon, {"units": "degrees_east"}),
    )
    np.testing.assert_array_equal(crop(cube, lat=(49, 51)), cube.isel(y=[0]))
