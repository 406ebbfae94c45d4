"""Faults at any moment: nothing is lost beyond the last checkpoint, and no half file has a name."""

from __future__ import annotations

import contextlib
import errno
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import skdiffuse
from skdiffuse import KeepingSettings, NetworkSettings, PrecipDiffusion
from skdiffuse.cubes import open_cube, write_cube
from skdiffuse.datasets import make_precipitation

PACKAGE = str(Path(skdiffuse.__file__).parent)
SIGNAL, NO_MEMORY = KeyboardInterrupt, MemoryError
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


class Dot(nn.Module):
    """A network of ten weights."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, z, log_snr):
        return self.mix(z.flatten(0, 1)[:, None]).reshape(z.shape)


def dot(**_):
    return Dot()


class At:
    """Raise a fault when so many lines of the package have been run, as a signal would."""

    def __init__(self, line: int, fault=SIGNAL) -> None:
        self.left, self.fault, self.ran = line, fault, 0

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)

    def _call(self, frame, event, _):
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame, event, _):
        if event == "line":
            self.ran += 1
            if self.ran == self.left:
                raise self.fault
        return self._line


@pytest.fixture(scope="module")
def rain():
    return make_precipitation(8, (6, 6), random_state=0)


@pytest.fixture(scope="module")
def straight(rain, tmp_path_factory):
    """An undisturbed training, and how many lines of the package it runs through."""
    # Imports are made once.
    model(tmp_path_factory.mktemp("imports")).fit(rain)
    with At(0) as whole:
        fitted = model(tmp_path_factory.mktemp("straight")).fit(rain)
    return fitted, whole.ran


def model(folder, **options) -> PrecipDiffusion:
    given = {
        "n_frames": 2,
        "network": NetworkSettings(dot, skip=None, geography=False),
        "keeping": KeepingSettings(checkpoint_seconds=0),
        "max_steps": 3,
        "batch_size": 1,
        "checkpoint_dir": folder,
        "warm_start": True,
        "random_state": 0,
        "verbose": False,
        **options,
    }
    return PrecipDiffusion(**given).set_params(sampler__n_steps=2)


def weights(fitted) -> list[torch.Tensor]:
    return list(fitted.network_.state_dict().values())


def names(folder: Path) -> list[str]:
    """Files that have a name: hidden ones are what a killed process leaves."""
    return sorted(path.name for path in folder.glob("[!.]*"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", [SIGNAL, NO_MEMORY, NO_SPACE], ids=["signal", "memory", "disk"])
def test_a_fit_struck_at_any_moment_is_resumed_to_the_same_bits(rain, straight, tmp_path, fault):
    straight, n_lines = straight
    draw = random.Random(0)
    for k in range(3):
        folder = tmp_path / str(k)
        # Where one device of several is tried, and the like, a lack is an answer.
        with At(draw.randrange(1, n_lines), fault), contextlib.suppress(Exception, SIGNAL):
            model(folder).fit(rain)
        resumed = model(folder).fit(rain)
        assert resumed.n_iter_ == 3
        for a, b in zip(weights(resumed), weights(straight), strict=True):
            assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["rain.nc", "rain.zarr"])
def test_a_file_struck_at_any_moment_is_the_old_or_the_new(rain, tmp_path, name):
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    path = tmp_path / name
    write_cube(rain, path)
    write_cube(rain, path)
    with At(0) as whole:
        write_cube(rain, path)
    for line in sorted({*random.Random(0).sample(range(1, whole.ran), 6), whole.ran - 1}):
        with At(line), pytest.raises(KeyboardInterrupt):
            write_cube(rain * 2, path)
        whole_files = rain.values, (rain * 2).values
        assert any(np.array_equal(open_cube(path).values, each) for each in whole_files)
        assert names(tmp_path) == [name]


@pytest.mark.filterwarnings("ignore")
def test_a_stream_struck_at_any_moment_leaves_no_half_file(rain, tmp_path):
    pytest.importorskip("dask")
    fitted = model(None, warm_start=False).fit(rain)
    out = tmp_path / "forecast.nc"

    def stream():
        return fitted.forecast(rain, 1, n_members=3, batch_size=1, out=out, random_state=0)

    stream()
    with At(0) as whole:
        complete = stream().load()
    for line in random.Random(0).sample(range(1, whole.ran), 5):
        out.unlink(missing_ok=True)
        with At(line), pytest.raises(KeyboardInterrupt):
            stream()
        if out.exists():
            np.testing.assert_array_equal(open_cube(out).values, complete.values)
        assert names(tmp_path) in ([], [out.name])


@pytest.mark.filterwarnings("ignore")
def test_a_model_and_its_card_struck_at_any_moment(rain, tmp_path):
    fitted = model(None, warm_start=False).fit(rain)
    card = dict.fromkeys(("title", "data", "region", "licence"), "x")
    path = tmp_path / "mine.safetensors"
    fitted.save(path, card=card)
    with At(0) as whole:
        fitted.save(path, card=card)
    before = [each.read_bytes() for each in sorted(tmp_path.iterdir())]
    for line in random.Random(0).sample(range(1, whole.ran), 8):
        with At(line), pytest.raises(KeyboardInterrupt):
            fitted.save(path, card=card)
        assert [each.read_bytes() for each in sorted(tmp_path.glob("[!.]*"))] == before


@pytest.fixture
def full_disk():
    """A disk on which no file has more than so many bytes, as libraries in C see it too."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextlib.contextmanager
    def full(n_bytes=4096):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return full


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["rain.nc", "rain.zarr"])
def test_a_full_disk_is_said_of_the_file_and_leaves_the_old_one(tmp_path, full_disk, name):
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    path, rng = tmp_path / name, np.random.default_rng(0)
    cube = make_precipitation(20, (20, 20), random_state=0).copy(data=rng.random((20, 20, 20)))
    write_cube(cube, path)
    with full_disk(), pytest.raises(OSError, match=rf"{name}.* could not be .*free.*Make room"):
        write_cube(cube * 2, path)
    np.testing.assert_array_equal(open_cube(path).values, cube.astype("f4").values)
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.filterwarnings("ignore")
def test_a_full_disk_in_a_stream_and_under_a_model(rain, tmp_path, full_disk):
    pytest.importorskip("dask")
    fitted = model(None, warm_start=False).fit(rain)
    out = tmp_path / "forecast.nc"
    with full_disk(), pytest.raises(OSError, match=r"forecast\.nc.* could not be written"):
        fitted.forecast(rain, 1, n_members=3, out=out, random_state=0)
    with full_disk(512), pytest.raises(OSError, match="File too large"):
        fitted.save(tmp_path / "mine.safetensors")
    assert list(tmp_path.iterdir()) == []
    fitted.forecast(rain, 1, n_members=3, out=out, random_state=0)


@pytest.mark.filterwarnings("ignore")
def test_permission_lost_in_the_middle_of_a_fit(rain, straight, tmp_path, monkeypatch):
    import os

    replace, written = os.replace, []

    def lost(source, target):
        written.append(target)
        if len(written) > 1:
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lost)
        with pytest.raises(PermissionError, match="Permission denied"):
            model(tmp_path).fit(rain)
    assert names(tmp_path) == [Path(written[0]).name]
    for a, b in zip(weights(model(tmp_path).fit(rain)), weights(straight[0]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("leap", [-1e8, 1e8])
def test_a_clock_that_leaps_in_a_fit_changes_nothing(rain, straight, tmp_path, monkeypatch, leap):
    """Neither the end of a training with a time limit, nor what is resumed."""
    import time

    now, asked = time.time, []

    def leaping():
        asked.append(0)
        return now() + leap * (len(asked) % 2)

    monkeypatch.setattr(time, "time", leaping)
    first = model(tmp_path, max_steps=2, max_time=60.0).fit(rain)
    assert first.n_iter_ == 2
    resumed = model(tmp_path, max_time=60.0).fit(rain)
    assert resumed.n_iter_ == 3
    for a, b in zip(weights(resumed), weights(straight[0]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore")
def test_a_process_killed_in_a_stream_leaves_no_half_file(rain, tmp_path):
    """As the kernel kills whoever takes too much memory: nothing is left to tidy up."""
    import os
    import signal

    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    pytest.importorskip("dask")
    fitted = model(None, warm_start=False).fit(rain)
    out = tmp_path / "forecast.nc"

    def stream():
        return fitted.forecast(rain, 1, n_members=3, batch_size=1, out=out, random_state=0)

    complete = stream().load()
    before = out.read_bytes()
    child = os.fork()
    if not child:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        try:
            stream()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert out.read_bytes() == before
    assert names(tmp_path) == [out.name]
    np.testing.assert_array_equal(stream().values, complete.values)


def test_a_zarr_store_is_put_back_if_the_new_one_gets_no_name(rain, tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    import os

    path = write_cube(rain, tmp_path / "rain.zarr")
    replace, calls = os.replace, []

    def second_fails(source, target):
        calls.append(target)
        if Path(target) == path and len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    # Zarr renames files of its own by other means.
    monkeypatch.setattr("skdiffuse.cubes.writing.os.replace", second_fails)
    monkeypatch.setattr("skdiffuse.cubes.writing._as_dataset", lambda cube, compress: Stub())
    with pytest.raises(KeyboardInterrupt):
        write_cube(rain, path)
    assert [Path(target).name for target in calls] == ["replaced.zarr", "rain.zarr", "rain.zarr"]
    np.testing.assert_array_equal(open_cube(path).values, rain.values)


class Stub:
    """What is written instead of a dataset: a folder."""

    def __init__(self):
        self.attrs = {}

    def to_zarr(self, path, **_):
        Path(path).mkdir()
