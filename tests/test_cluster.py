"""A dask cluster of two processes of this machine, of which one dies in the middle."""

import os
import re
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from joblib import parallel_config

from skdiffuse import PrecipDiffusion, make_precipitation, open_cube, write_cube
from skdiffuse.estimator import generation
from skdiffuse.metrics import perkins_skill_score, spatial_psd
from skdiffuse.networks.video_unet import PRESETS

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

PAGE = Path(__file__).parents[1] / "docs/ecosystem.md"


@pytest.fixture(scope="module")
def client():
    dask = pytest.importorskip("dask")
    with (
        # Where nothing is stolen, nobody new has to import torch for one task.
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=60
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def rain():
    return make_precipitation(8, (8, 8), random_state=0)


@pytest.fixture(scope="module")
def model(rain):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
        yield PrecipDiffusion(n_frames=2, max_steps=1, random_state=0, verbose=False).fit(rain)


def dying_once(marker):
    """Ends the process that calls it first."""

    def die():
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return die


@pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")
def test_samples_of_a_worker_that_died_have_the_same_bits(client, model, tmp_path, monkeypatch):
    """By the code of the page, with a wish that ends a process."""
    die = dying_once(tmp_path / "died")

    def wish(rain):
        die()
        return 0.1 * rain.sum((1, 2, 3))

    drawn = partial(model.sample, log_likelihood=wish)
    section = PAGE.read_text().split("## Clusters that exist")[1].split("\n###")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.setattr("dask.distributed.Client", lambda address: client)
    names = {"model": SimpleNamespace(sample=drawn)}
    exec(code, names)
    assert (tmp_path / "died").exists()
    with parallel_config("threading"):
        alike = drawn(4, n_jobs=2, n_steps=2, random_state=0)
    np.testing.assert_array_equal(names["rain"], alike)


def test_files_of_a_worker_that_died_have_the_same_scores(client, rain, tmp_path):
    for k in range(2):
        write_cube(rain[4 * k : 4 * k + 4], tmp_path / f"{k}.nc")
    die = dying_once(tmp_path / "died")

    def read(block):
        die()
        return block

    cube = open_cube(tmp_path / "*.nc")
    # With its type, or dask would try `read` here.
    lazy = cube.copy(data=cube.data.map_blocks(read, meta=rain.values[:0]))
    np.testing.assert_array_equal(spatial_psd(lazy).P, spatial_psd(rain).P)
    assert (tmp_path / "died").exists()
    assert perkins_skill_score(rain, lazy) == 1.0


def test_workers_lost_for_good(model, monkeypatch):
    class Lost:
        def __init__(self, n_jobs):
            pass

        def __call__(self, tasks):
            raise type("KilledWorker", (Exception,), {})("draw_some died 3 times")

    monkeypatch.setattr(generation, "Parallel", Lost)
    with pytest.raises(RuntimeError, match=r"n_jobs=2 ended while it drew.*batch_size"):
        model.sample(4, n_steps=2, n_jobs=2)
