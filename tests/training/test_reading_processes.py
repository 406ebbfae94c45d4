"""Processes that read: the same batches, an end with every training, errors instead of waiting."""

import os
import sys
import threading

import numpy as np
import pytest
import torch

from skdiffuse import PrecipDiffusion
from skdiffuse.cubes import open_cube, validate_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.networks import PRESETS
from skdiffuse.training import WindowBatches, batches

da = pytest.importorskip("dask.array")
xr = pytest.importorskip("xarray")
cloudpickle = pytest.importorskip("cloudpickle")

MEMORY = 200_000
# Sent whole: known by its name, it would be imported, and torch with it, by each process.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def rain():
    return make_precipitation(120, (24, 30), random_state=0)


@pytest.fixture(scope="module")
def files(rain, tmp_path_factory):
    """The rain in four compressed NetCDF files and in a Zarr store, under the names of both."""
    folder = tmp_path_factory.mktemp("files")
    dataset = rain.rename("rain").to_dataset()
    for k in range(4):
        dataset.isel(time=slice(30 * k, 30 * k + 30)).to_netcdf(
            folder / f"rain_{k}.nc", encoding={"rain": {"zlib": True, "chunksizes": (10, 12, 15)}}
        )
    dataset.chunk(time=20, y=12, x=15).to_zarr(folder / "rain.zarr", consolidated=False)
    return folder


def lazily(files, kind):
    if kind == "many files":
        return xr.open_mfdataset(str(files / "*.nc"), chunks={"time": 15})["rain"]
    return open_cube(files / "*.nc" if kind == "open_cube" else files / "rain.zarr")


@pytest.mark.parametrize("kind", ["many files", "open_cube", "zarr"])
def test_batches_are_the_same_whoever_reads(kind, rain, files):
    cube = validate_cube(lazily(files, kind))
    drawn, blocks = [], []
    for n_jobs in (None, 1, 2):
        windows = WindowBatches(cube, 4, (8, 8), 4, seed=0, memory=MEMORY, n_jobs=n_jobs)
        steps = range(0, 5 * windows.steps_per_group, windows.steps_per_group)
        drawn.append(torch.stack([windows(step)[0] for step in steps]))
        blocks.append(windows.reader.group(1))
        windows.reader.close()
    assert windows.reader.groups_per_epoch > 1
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    for block in blocks[2]:
        _, t, y, x = block.values.shape
        _, time, row, column = block.origin
        truth = rain.values[time : time + t, row : row + y, column : column + x]
        np.testing.assert_array_equal(block.values[0], truth)


class Watched:
    """Rain that leaves the number of the process that reads it."""

    def __init__(self, folder, what=None):
        self.folder, self.what, self.trains = folder, what, os.getpid()

    def __call__(self, values):
        (self.folder / str(os.getpid())).touch()
        if self.what == "dies" and os.getpid() != self.trains:
            os.kill(os.getpid(), 9)
        return values * np.nan if self.what == "missing" else values

    def cube(self, rain):
        lazy = da.from_array(rain.values, chunks=(20, 12, 15))
        return lazy.map_blocks(self, dtype="f4", meta=np.empty((0, 0, 0), "f4"))

    @property
    def readers(self):
        return [int(path.name) for path in self.folder.iterdir() if int(path.name) != self.trains]


def runs(process):
    """Whether it does, unless it has ended and only waits for its parent to notice."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def model(monkeypatch, **options):
    monkeypatch.setattr(batches, "MEMORY", MEMORY)
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    options = {"max_steps": 2, "n_jobs": 2, "random_state": 0} | options
    return PrecipDiffusion(n_frames=4, crop_size=8, batch_size=4, verbose=False, **options)


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux")
@pytest.mark.parametrize("ends", ["well", "interrupted", "missing", "dies"])
def test_no_process_outlives_fit(ends, rain, tmp_path, monkeypatch):
    watched = Watched(tmp_path, ends)
    if ends == "interrupted":
        monkeypatch.setattr("skdiffuse.training.Trainer._one_step", interrupt)
    errors = {
        "interrupted": (KeyboardInterrupt, None),
        "missing": (ValueError, "only missing values"),
        "dies": (RuntimeError, "n_jobs=2 ended while it read X"),
    }
    estimator = model(monkeypatch)
    if ends == "well":
        estimator.fit(watched.cube(rain))
    else:
        with pytest.raises(errors[ends][0], match=errors[ends][1]):
            estimator.fit(watched.cube(rain))
    assert watched.readers
    assert not [process for process in watched.readers if runs(process)]


def test_resumed_with_other_processes_to_the_bit(files, tmp_path, monkeypatch):
    cube = lazily(files, "zarr")

    def fit(folder, **options):
        folder = tmp_path / folder
        fitted = model(monkeypatch, checkpoint_dir=folder, warm_start=True, **options).fit(cube)
        return torch.cat([p.flatten() for p in fitted.network_.state_dict().values()])

    # A group of blocks serves as many steps as there are in all, else nothing new is read.
    straight = fit("straight", max_steps=40, n_jobs=None)
    fit("resumed", max_steps=25, n_jobs=2)
    assert torch.equal(fit("resumed", max_steps=40, n_jobs=None), straight)


def test_cube_that_cannot_be_sent_is_refused(rain, monkeypatch):
    lock = threading.Lock()

    def locked(values):
        with lock:
            return values

    lazy = da.from_array(rain.values, chunks=(20, 12, 15)).map_blocks(locked, dtype="f4")
    with pytest.raises(TypeError, match="cannot be sent to the processes of n_jobs=2"):
        model(monkeypatch).fit(lazy)


@pytest.mark.parametrize(("n_jobs", "error"), [(0, ValueError), ("two", TypeError)])
def test_n_jobs_is_checked(n_jobs, error, rain, monkeypatch):
    with pytest.raises(error, match="n_jobs"):
        model(monkeypatch, n_jobs=n_jobs).fit(rain)
