"""Output of WRF, made up with its own names and attributes."""

import netCDF4
import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube

N, NY, NX = 5, 2, 3


def amounts(seed):
    """Rain of each hour in mm, none at the start, in sixteenths."""
    rng = np.random.default_rng(seed)
    fallen = np.round(rng.gamma(0.5, 4, (N, NY, NX)) * 16) / 16
    fallen[0] = 0
    return fallen


CONVECTIVE, GRID_SCALE = amounts(0), amounts(1)
HOURLY = CONVECTIVE + GRID_SCALE


def wrfout(path, frames=range(N), bucket=None, with_times=True, xtime_units=True, **attrs):
    """The variables of wrfout_d01 that rain needs."""
    totals = {"RAINC": np.cumsum(CONVECTIVE, 0), "RAINNC": np.cumsum(GRID_SCALE, 0)}
    with netCDF4.Dataset(path, "w") as file:
        stated = {"SIMULATION_START_DATE": "2020-06-01_00:00:00", "CU_PHYSICS": np.int32(1)}
        file.setncatts({**stated, "BUCKET_MM": np.float32(bucket or -1), **attrs})
        for name, size in (("Time", None), ("DateStrLen", 19), ("south_north", NY)):
            file.createDimension(name, size)
        file.createDimension("west_east", NX)
        grid = ("Time", "south_north", "west_east")
        if with_times:
            times = file.createVariable("Times", "S1", ("Time", "DateStrLen"))
            texts = [f"2020-06-01_{hour:02d}:00:00" for hour in frames]
            times[:] = np.array([list(text) for text in texts], dtype="S1")
        xtime = file.createVariable("XTIME", "f4", ("Time",))
        xtime.units = "minutes since 2020-06-01 00:00:00" if xtime_units else ""
        xtime[:] = [60.0 * hour for hour in frames]
        for name, first in (("XLAT", 50.0), ("XLONG", 1.0)):
            place = file.createVariable(name, "f4", grid)
            place.setncatts({"units": "degree_north" if name == "XLAT" else "degree_east"})
            place[:] = first + np.arange(NY * NX).reshape(1, NY, NX)
        for name, total in totals.items():
            part = total[list(frames)]
            if bucket:
                counts = file.createVariable(f"I_{name}", "i4", grid)
                counts[:] = part // bucket
                part = part % bucket
            variable = file.createVariable(name, "f4", grid)
            variable.setncatts({"units": "mm", "coordinates": "XLONG XLAT XTIME"})
            variable[:] = part
    return path


def assert_hourly(cube, expected=HOURLY):
    assert np.isnan(cube[0]).all()
    np.testing.assert_allclose(cube[1:], expected[1:], rtol=1e-6)
    assert str(cube.Time.values[1])[:13] == "2020-06-01T01"
    assert cube.attrs["cell_methods"] == "time: mean"
    assert cube.attrs["units"] == "mm h-1"
    assert cube.XLAT.dims == ("south_north", "west_east")
    assert not any("accumulation" in str(key) for key in [*cube.attrs, *cube.coords])


@pytest.mark.parametrize(
    ("with_times", "xtime_units"), [(True, True), (True, False), (False, True)]
)
def test_convective_and_grid_scale_rain_are_added(tmp_path, with_times, xtime_units):
    path = wrfout(tmp_path / "wrfout", with_times=with_times, xtime_units=xtime_units)
    assert_hourly(open_cube(path))


def test_rain_in_buckets(tmp_path):
    assert_hourly(open_cube(wrfout(tmp_path / "wrfout", bucket=4)))


def test_totals_go_on_from_file_to_file(tmp_path):
    for hour in range(N):
        wrfout(tmp_path / f"wrfout_{hour}", frames=[hour])
    assert_hourly(open_cube(tmp_path / "wrfout_*"))


def test_one_of_the_parts(tmp_path):
    assert_hourly(open_cube(wrfout(tmp_path / "wrfout"), variable="RAINNC"), GRID_SCALE)


def test_a_part_that_is_missing_is_asked_for(tmp_path):
    data = xr.open_dataset(wrfout(tmp_path / "wrfout")).drop_vars("RAINC")
    with pytest.raises(ValueError, match=r"no precipitation is found.*variable="):
        open_cube(data)
    assert_hourly(open_cube(data, variable="RAINNC"), GRID_SCALE)
    # Without a cumulus scheme there is no other part.
    assert_hourly(open_cube(data.assign_attrs(CU_PHYSICS=0)), GRID_SCALE)


def test_what_is_needed_is_named(tmp_path):
    data = xr.open_dataset(wrfout(tmp_path / "wrfout"))
    del data.attrs["SIMULATION_START_DATE"]
    with pytest.raises(ValueError, match=r"assign_attrs\(SIMULATION_START_DATE="):
        open_cube(data)
    assert_hourly(open_cube(data.assign_attrs(SIMULATION_START_DATE="2020-06-01_00:00:00")))
    path = wrfout(tmp_path / "no_times", with_times=False, xtime_units=False)
    with pytest.raises(ValueError, match=r"\.assign_coords\(Time="):
        open_cube(path)
