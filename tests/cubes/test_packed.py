"""Stores and files inside others: zipped Zarr, lists of references."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, write_cube
from skdiffuse.datasets import make_precipitation

pytest.importorskip("zarr")
pytest.importorskip("fsspec")


@pytest.fixture
def rain():
    return make_precipitation(6, (4, 5), random_state=0)


@pytest.mark.parametrize("inside", ["", "rain.zarr/", "a/b.zarr/"])
@pytest.mark.filterwarnings("ignore:Consolidated")
def test_zipped_zarr(rain, tmp_path, inside):
    """With the store at the root of the archive, or the folder itself packed."""
    store = write_cube(rain, tmp_path / "rain.zarr")
    path = tmp_path / "rain.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(store.rglob("*")):
            if file.is_file():
                archive.write(file, inside + str(file.relative_to(store)))
    shutil.rmtree(store)
    cube = open_cube(path)
    assert cube.chunks is not None
    xr.testing.assert_identical(cube.compute(), rain)


@pytest.mark.filterwarnings("ignore:Consolidated")
def test_a_group_in_zipped_zarr(rain, tmp_path):
    path = tmp_path / "rain.zip"
    import zarr

    with zarr.storage.ZipStore(path, mode="w") as store:
        rain.to_dataset(name="rain").to_zarr(store, group="radar/science", consolidated=False)
    np.testing.assert_array_equal(open_cube(path).values, rain.values)


def references(rain, tmp_path):
    """By kerchunk, to a NetCDF file."""
    maker = pytest.importorskip("kerchunk.netCDF3")
    path = tmp_path / "rain.nc"
    rain.to_dataset(name="rain").to_netcdf(path, format="NETCDF3_64BIT", engine="scipy")
    found = maker.NetCDF3ToZarr(str(path), inline_threshold=0).translate()
    assert str(path) in json.dumps(found)
    return found


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.filterwarnings("ignore:Consolidated")
def test_references_of_kerchunk(rain, tmp_path, version):
    found = references(rain, tmp_path)
    path = tmp_path / "rain.json"
    path.write_text(json.dumps(found if version else found["refs"]))
    np.testing.assert_array_equal(open_cube(path).values, rain.values)


def test_damaged_references(tmp_path):
    path = tmp_path / "rain.json"
    path.write_text('{"version": 1, "refs": {"a": ')
    with pytest.raises(ValueError, match="damaged or incomplete"):
        open_cube(path)
    path.write_text('{"rain": [1, 2]}')
    with pytest.raises(ValueError, match="neither NetCDF"):
        open_cube(path)
