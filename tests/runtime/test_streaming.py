import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import write_cube
from skdiffuse.runtime.streaming import streamed


@pytest.mark.parametrize("name", ["rain.nc", "rain.zarr"])
def test_parts_are_written_in_order(tmp_path, name):
    pytest.importorskip("dask")
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    alive = []

    def parts():
        for i in range(4):
            alive.append(i)
            yield np.full((2, 3, 5, 5), i, np.float32)

    written = streamed(
        parts(), [(2, 3, 5, 5)] * 4, 0, lambda whole: whole, tmp_path / name, write_cube
    )
    assert alive == [0, 1, 2, 3]
    np.testing.assert_array_equal(written.values[:, 0, 0, 0], np.repeat(np.arange(4), 2))


def test_what_nobody_named(tmp_path):
    """xarray names it by a key of dask's, which no file has."""
    pytest.importorskip("dask")
    parts = iter([np.ones((1, 2, 3, 3), np.float32)])
    dims = ("realization", "time", "y", "x")
    written = streamed(
        parts,
        [(1, 2, 3, 3)],
        0,
        lambda whole: xr.DataArray(whole, dims=dims),
        tmp_path / "rain.nc",
        write_cube,
    )
    assert written.name == "precipitation_rate"
    assert (written == 1).all()


def test_nothing_half_written(tmp_path):
    pytest.importorskip("dask")

    def parts():
        yield np.zeros((1, 2, 3, 3), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streamed(
            parts(), [(1, 2, 3, 3)] * 2, 0, lambda whole: whole, tmp_path / "rain.nc", write_cube
        )
    assert not list(tmp_path.iterdir())
