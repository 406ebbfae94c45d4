import dask.array as da
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


def plain(shape=(3, 4, 5), dims=("time", "y", "x"), lazy=False, name=None, **coords):
    values = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    values = da.from_array(values, chunks=(1, *shape[1:])) if lazy else values
    return xr.DataArray(values, coords, dims, name)


WRITTEN = {
    "no times": plain(),
    "no times, lazy": plain(lazy=True),
    "numbers for times": plain(time=[0.0, 1.0, 2.0]),
    "whole numbers for times": plain(time=[5, 6, 7]),
    "numbers with a gap": plain(time=[0.0, 1.0, 9.0]),
    "names of no meaning": plain(dims=("a", "b", "c")),
    "names of no meaning and numbers": plain(dims=("a", "b", "c"), b=[4.0, 3, 2, 1], a=[0, 1, 2]),
    "names that xarray gives": plain(dims=("dim_0", "dim_1", "dim_2")),
    "sequences": plain((2, 3, 4, 5), ("n", "time", "y", "x")),
    "realizations of sequences": plain(
        (2, 2, 3, 4, 5), ("realization", "n", "time", "y", "x"), realization=[0, 1]
    ),
    "a name that says nothing": plain(name="foo", time=[0, 1, 2]),
    "a scalar beside": plain(time=[0, 1, 2], height=2.0),
}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("case", WRITTEN)
def test_what_is_written_is_opened(tmp_path, case, suffix):
    cube = WRITTEN[case]
    path = write_cube(cube, tmp_path / f"a{suffix}")
    back = open_cube(path).compute()
    assert back.dims == cube.dims
    np.testing.assert_array_equal(back, cube)
    assert set(back.coords) == set(cube.coords)
    for name, coord in cube.coords.items():
        np.testing.assert_array_equal(back[name], coord)
    assert back.name == ("foo" if cube.name == "foo" else "precipitation_rate")
    # The Dataset that xarray opens is the same thing.
    with xr.open_dataset(path, engine="zarr" if suffix == ".zarr" else None) as data:
        np.testing.assert_array_equal(open_cube(data), cube)


def test_a_standard_name_of_another_kind(rain, tmp_path):
    odd = rain.assign_attrs(standard_name="rain_of_my_model").rename("foo")
    np.testing.assert_array_equal(open_cube(write_cube(odd, tmp_path / "a.nc")), rain)


def test_files_of_others_without_times_are_still_refused(tmp_path):
    cube = plain()
    cube.attrs["units"] = "mm h-1"
    cube.to_dataset(name="rain").to_netcdf(tmp_path / "a.nc")
    with pytest.raises(ValueError, match=r"no times.*assign_coords"):
        open_cube(tmp_path / "a.nc")


def test_files_without_times_are_not_joined_in_any_order(tmp_path):
    write_cube(plain(), tmp_path / "a.nc")
    write_cube(plain(), tmp_path / "b.nc")
    with pytest.raises(ValueError, match=r"no times to join by.*xarray\.concat"):
        open_cube(tmp_path / "*.nc")
    parts = [open_cube(tmp_path / f"{name}.nc") for name in "ab"]
    assert xr.concat(parts, "time").shape == (6, 4, 5)


@pytest.mark.parametrize("operation", [lambda c: c, lambda c: c * 2, lambda c: c[:2]])
def test_unnamed_lazy_cubes_stay_unnamed(tmp_path, operation):
    """xarray takes dask's key, such as array-0fb1..., for a name."""
    cube = operation(plain(lazy=True))
    assert cube.name is not None
    path = write_cube(cube, tmp_path / "a.nc")
    assert open_cube(path).name == "precipitation_rate"
    with netCDF4.Dataset(path) as file:
        assert "precipitation_rate" in file.variables
    assert validate_cube(cube).template.name is None
    named = cube.rename("rain-of-2020")
    assert open_cube(write_cube(named, tmp_path / "a.nc")).name == "rain-of-2020"
    timed = cube.assign_coords(time=np.arange(cube.sizes["time"]).astype("M8[h]"))
    assert open_cube(timed.assign_attrs(units="mm/h")).name == "precipitation"


REFUSED = {
    "a field": (plain((4, 5), ("y", "x")), ValueError, r"\('y', 'x'\).*expand_dims\('time'\)"),
    "complex numbers": (plain().astype(complex), TypeError, "complex128"),
    "text": (plain().astype(str), TypeError, "real numbers"),
    "nothing": (plain((0, 4, 5)), ValueError, "empty"),
    "times out of order": (plain(time=[0, 2, 1]), ValueError, r"out of order.*sortby\('time'\)"),
    "repeated times": (plain(time=[0, 1, 1]), ValueError, r"repeated.*drop_duplicates\('time'\)"),
    "text for times": (plain(time=["a", "b", "c"]), ValueError, r"drop_vars\('time'\)"),
    "rows out of order": (plain(y=[0, 2, 1, 3]), ValueError, r"sortby\('y'\)"),
    "the name of a dimension": (plain(name="time"), ValueError, r"\.rename\("),
    "the name of a coordinate": (plain(name="height", height=2.0), ValueError, r"\.rename\("),
    "a slash in the name": (plain(name="mm/h"), ValueError, r"\.rename\("),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_not_be_opened_is_not_written(tmp_path, case):
    cube, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        write_cube(cube, tmp_path / "a.nc")
    assert not any(tmp_path.iterdir())
