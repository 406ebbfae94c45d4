"""Many files as one lazy cube."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, series, validate_cube, write_cube
from skdiffuse.datasets import make_precipitation


def write_days(folder, n_days, calendar="360_day", units=None, shape=(4, 5)):
    whole = make_precipitation(24 * n_days, shape, calendar=calendar, random_state=0)
    for day in range(n_days):
        part = whole.isel(time=slice(24 * day, 24 * day + 24))
        if units is not None:
            part.time.encoding["units"] = units.format(day + 1)
        # File names run against time.
        write_cube(part, folder / f"{99 - day:02d}.nc")
    return whole


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
@pytest.mark.parametrize(
    "units",
    [
        None,
        "hours since 1970-01-01",
        "hours since 2000-01-{:02d}",
        "days since 2000-01-{:02d}",
        "seconds since 2000-01-{:02d} 06:00:00",
        "minutes since 2000-01-{:02d}T00:00",
    ],
)
def test_days_counted_from_any_date(tmp_path, calendar, units):
    whole = write_days(tmp_path, 4, calendar, units)
    joined = open_cube(tmp_path / "*.nc")
    assert joined.chunks is not None
    xr.testing.assert_identical(joined.compute(), whole)


def test_nothing_but_times_is_read_until_a_window_is(tmp_path, monkeypatch):
    write_days(tmp_path, 6)
    opened = []
    real = xr.open_dataset
    monkeypatch.setattr(
        series.xr, "open_dataset", lambda p, **k: (opened.append(p.name), real(p, **k))[1]
    )
    cube = validate_cube(open_cube(tmp_path / "*.nc"), n_frames=5)
    opened.clear()
    window = cube.window(0, 46, 5)
    assert window.shape == (5, 4, 5)
    assert sorted(opened) == ["97.nc", "98.nc"]


def test_memory_is_bounded_by_blocks(tmp_path, monkeypatch):
    """A mean over files of 8 MB in blocks of 1 MB never holds half of them."""
    monkeypatch.setattr(series, "_BLOCK_BYTES", 2**20)
    write_days(tmp_path, 4, shape=(145, 150))
    cube = open_cube(tmp_path / "*.nc")
    assert cube.nbytes > 8e6
    import dask

    with dask.config.set(scheduler="synchronous"):
        float(cube[:2].mean())
        tracemalloc.start()
        mean = float(cube.mean())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert mean > 0
    assert peak < cube.nbytes / 2


def test_a_gap_between_files_is_a_break(tmp_path):
    write_days(tmp_path, 3)
    (tmp_path / "98.nc").unlink()
    cube = validate_cube(open_cube(tmp_path / "*.nc"), n_frames=24)
    assert cube.window_starts(24).tolist() == [[0, 0], [0, 24]]


def test_many_threads_read_many_files(tmp_path):
    """The netCDF library is not thread-safe: files opened side by side used to crash Python."""
    whole = write_days(tmp_path, 30)
    cube = open_cube(tmp_path / "*.nc")
    for _ in range(20):
        read = cube.compute(scheduler="threads", num_workers=8)
        np.testing.assert_array_equal(read, whole)


def test_file_that_vanishes(tmp_path):
    write_days(tmp_path, 2)
    cube = open_cube(tmp_path / "*.nc")
    (tmp_path / "98.nc").write_bytes(b"not any more")
    with pytest.raises(ValueError, match=r"98\.nc.*cannot be read"):
        np.asarray(cube)


def test_packed_files_are_unpacked_each_by_its_own_scale(tmp_path):
    whole = make_precipitation(48, (4, 5), random_state=0)
    for day, scale in enumerate((0.01, 0.02)):
        part = whole.isel(time=slice(24 * day, 24 * day + 24)).to_dataset()
        packing = {"dtype": "i2", "scale_factor": scale, "_FillValue": -1}
        part.to_netcdf(tmp_path / f"{day}.nc", encoding={"precipitation_rate": packing})
    np.testing.assert_allclose(open_cube(tmp_path / "*.nc"), whole, atol=0.0101)
