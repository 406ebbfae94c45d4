"""Rain inside groups, with axes in the group itself or in those around it."""

import netCDF4
import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, reading

RAIN = np.arange(24, dtype="f4").reshape(2, 3, 4)


@pytest.fixture(params=[True, False], ids=["dask", "no dask"])
def folder(request, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "has_dask", lambda: request.param)
    return tmp_path


def grouped(path, axes="/", fields=("/science/radar/rain",), first=0):
    """A file whose axes are in one group and whose fields are in others."""
    with netCDF4.Dataset(path, "w") as file:
        home = file if axes == "/" else file.createGroup(axes)
        for name, size, attrs in (
            ("time", 2, {"units": "hours since 2000-01-01"}),
            ("y", 3, {"units": "m"}), ("x", 4, {"units": "m"}),
        ):  # fmt: skip
            home.createDimension(name, size)
            axis = home.createVariable(name, "f8", (name,))
            axis[:] = np.arange(size) + (first if name == "time" else 0)
            axis.setncatts(attrs)
        lat = home.createVariable("lat", "f8", ("y", "x"))
        lat[:], lat.standard_name, lat.units = 50.0, "latitude", "degrees_north"
        crs = home.createVariable("crs", "i4", ())
        crs.grid_mapping_name = "transverse_mercator"
        for at, field in enumerate(fields):
            rain = file.createVariable(field, "f4", ("time", "y", "x"))
            rain[:] = RAIN + 100 * at
            rain.setncatts({"units": "mm h-1", "coordinates": "lat", "grid_mapping": "crs"})
    return path


@pytest.mark.parametrize("axes", ["/", "/science", "/science/radar"])
def test_rain_in_a_group(folder, axes):
    cube = open_cube(grouped(folder / "a.nc", axes))
    np.testing.assert_array_equal(cube, RAIN)
    assert cube.dims == ("time", "y", "x")
    assert cube.time.values[1] == np.datetime64("2000-01-01T01")
    assert (cube.lat == 50).all()
    assert cube.crs.attrs["grid_mapping_name"] == "transverse_mercator"


def test_fields_of_other_groups_do_not_matter(folder):
    fields = ("/quality/index", "/science/rain", "/temperature")
    np.testing.assert_array_equal(open_cube(grouped(folder / "a.nc", fields=fields)), RAIN + 100)


def test_several_groups_ask_for_a_path(folder):
    path = grouped(folder / "a.nc", fields=("/early/rain", "/late/rain"))
    with pytest.raises(ValueError, match=r"variable= one of \['/early/rain', '/late/rain'\]"):
        open_cube(path)
    np.testing.assert_array_equal(open_cube(path, variable="/late/rain"), RAIN + 100)
    np.testing.assert_array_equal(open_cube(path, variable="early/rain"), RAIN)


def test_unknown_names_ask_for_a_path(folder):
    path = grouped(folder / "a.nc", fields=("/a/field", "/b/other"))
    with pytest.raises(ValueError, match=r"\['/a/field', '/b/other'\].*variable='...'"):
        open_cube(path)
    np.testing.assert_array_equal(open_cube(path, variable="/b/other"), RAIN + 100)
    np.testing.assert_array_equal(open_cube(path, variable="other"), RAIN + 100)


def test_files_with_groups_are_joined(folder):
    grouped(folder / "b.nc")
    grouped(folder / "a.nc", first=2)
    cube = open_cube(folder / "*.nc")
    np.testing.assert_array_equal(cube, np.concatenate([RAIN, RAIN]))
    assert cube.time.values[-1] == np.datetime64("2000-01-01T03")


def test_zarr_groups(folder):
    times = np.array(["2000-01-01T00", "2000-01-01T01"], "M8[ns]")
    data = xr.Dataset({"rain": (("time", "y", "x"), RAIN, {"units": "mm h-1"})}, {"time": times})
    xr.Dataset(attrs={"title": "empty"}).to_zarr(folder / "a.zarr", zarr_format=2)
    data.to_zarr(folder / "a.zarr", group="science/radar", mode="a", zarr_format=2)
    np.testing.assert_array_equal(open_cube(folder / "a.zarr"), RAIN)


@pytest.mark.parametrize("node", ["/", "/science"])
def test_a_data_tree(folder, node):
    """Opened by xarray, whole or a part of it, with the coordinates of the nodes around."""
    tree = xr.open_datatree(grouped(folder / "a.nc"), decode_coords="all")
    cube = open_cube(tree[node])
    np.testing.assert_array_equal(cube, RAIN)
    assert (cube.lat == 50).all()
    assert cube.time.values[1] == np.datetime64("2000-01-01T01")


def test_a_data_tree_with_several_fields(folder):
    tree = xr.open_datatree(grouped(folder / "a.nc", fields=("/early/rain", "/late/rain")))
    with pytest.raises(ValueError, match=r"variable= one of \['/early/rain', '/late/rain'\]"):
        open_cube(tree)
    np.testing.assert_array_equal(open_cube(tree, variable="/late/rain"), RAIN + 100)
