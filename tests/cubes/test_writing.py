import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skdiffuse.cubes import dress, open_cube, validate_cube, write_cube
from skdiffuse.datasets import make_precipitation


@st.composite
def cubes(draw):
    """Cubes of any calendar, step, dimension names, gaps, missing data and members."""
    shape = tuple(draw(st.integers(1, 5)) for _ in range(3))
    calendar = draw(st.sampled_from(["standard", "noleap", "360_day"]))
    step = draw(st.sampled_from(["5min", "1h", "3h", "1D"]))
    times = xr.date_range("1999-12-29", periods=12, freq=step, calendar=calendar)
    keep = sorted(draw(st.sets(st.integers(0, 11), min_size=shape[0], max_size=shape[0])))
    dims = draw(
        st.sampled_from([("time", "y", "x"), ("time", "rlat", "rlon"), ("t", "lat", "lon")])
    )
    values = draw(st.lists(st.floats(0, 300, width=32) | st.just(np.nan), min_size=1, max_size=8))
    values = np.resize(np.array(values, dtype="f4"), shape)
    sign = draw(st.sampled_from([-1, 1]))
    coords = {
        dims[0]: times[keep],
        dims[1]: sign * np.arange(shape[1], dtype="f4"),
        dims[2]: np.linspace(-3, 4, shape[2]),
    }
    attrs = {"units": "mm h-1", "standard_name": "lwe_precipitation_rate"}
    if draw(st.booleans()):
        attrs["history"] = "line one\nline two"
    cube = xr.DataArray(values, coords, dims, name="pr", attrs=attrs)
    if draw(st.booleans()):
        cube[dims[0]].attrs["bounds_offset_hours"] = draw(
            st.sampled_from([[-1.0, 0.0], [-0.5, 0.5], [0.0, 24.0]])
        )
    if draw(st.booleans()):
        cube = cube.assign_coords(
            crs=((), 0, {"grid_mapping_name": "rotated_latitude_longitude", "north": 37.5})
        )
    if draw(st.booleans()):
        cube = xr.concat([cube, cube], dim="realization").assign_coords(realization=[1, 4])
    return cube


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cubes(), st.sampled_from([".nc", ".nc", ".zarr"]))
def test_open_of_write_is_the_identity(tmp_path_factory, cube, suffix):
    path = tmp_path_factory.mktemp("cubes") / f"cube{suffix}"
    write_cube(cube, path)
    back = open_cube(path).compute()
    xr.testing.assert_identical(back, cube)
    assert back.dtype == np.float32


@pytest.fixture
def rain():
    return make_precipitation(4, (8, 9), calendar="360_day", random_state=0)


@pytest.mark.parametrize("time", ["continued", "elapsed"])
def test_forecasts_and_samples_survive(rain, tmp_path, time):
    template = validate_cube(rain).template
    many = dress(np.ones((3, 2, 8, 9), "f4"), template, time=time, history="drawn")
    write_cube(many, tmp_path / "many.nc")
    back = open_cube(tmp_path / "many.nc").compute()
    xr.testing.assert_identical(back, many)


def test_file_is_cf(rain, tmp_path):
    rain.attrs["history"] = "made"
    rain.time.attrs["bounds_offset_hours"] = [-1.0, 0.0]
    rain = rain.assign_coords(crs=((), 0, {"grid_mapping_name": "lambert_conformal_conic"}))
    write_cube(rain, tmp_path / "a.nc", provenance={"random_state": 3, "model": "abc"})
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        assert file.Conventions.startswith("CF-")
        assert (file.skdiffuse_random_state, file.skdiffuse_model, file.history) == (
            3,
            "abc",
            "made",
        )
        var = file["precipitation_rate"]
        assert (var.dtype, var.units) == (np.float32, "mm h-1")
        assert var.grid_mapping == "crs"
        assert var.filters()["zlib"]
        assert file["crs"].grid_mapping_name == "lambert_conformal_conic"
        time = file["time"]
        assert time.calendar == "360_day"
        bounds = file[time.bounds][:]
        np.testing.assert_allclose(bounds[:, 1], time[:])
        assert time.units.startswith("hours")
        np.testing.assert_allclose(bounds[:, 0], time[:] - 1)


def test_lazy_cubes_are_written(rain, tmp_path):
    write_cube(rain.chunk(time=1), tmp_path / "a.nc")
    xr.testing.assert_identical(open_cube(tmp_path / "a.nc").compute(), rain)


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_replacing_what_is_being_read(rain, tmp_path, name):
    path = tmp_path / name
    write_cube(rain, path)
    write_cube(open_cube(path) * 2, path)
    np.testing.assert_array_equal(open_cube(path), rain * 2)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_interrupted_write_leaves_the_old_file(rain, tmp_path):
    path = write_cube(rain, tmp_path / "a.nc")

    def fail(block):
        raise RuntimeError("the disk is gone")

    broken = rain.chunk(time=1)
    broken.data = broken.data.map_blocks(fail, meta=np.empty((0, 0, 0), "f4"))
    with pytest.raises(RuntimeError, match="disk"):
        write_cube(broken, path)
    xr.testing.assert_identical(open_cube(path).compute(), rain)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_bad_arguments(rain, tmp_path):
    with pytest.raises(TypeError, match="ndarray"):
        write_cube(rain.values, tmp_path / "a.nc")
    with pytest.raises(ValueError, match="no folder"):
        write_cube(rain, tmp_path / "nowhere" / "a.nc")
    with pytest.raises(ValueError, match="mm/day"):
        write_cube(rain.assign_attrs(units="mm/day"), tmp_path / "a.nc")
