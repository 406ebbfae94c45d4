"""Processes that share a training train as one does, and die together.

They are started as ``torchrun`` tells them that they are; benchmarks/two_processes.py has torchrun
itself start them.
"""

import importlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import time

import numpy as np
import pytest
import torch
from torch import distributed

from skdiffuse import PrecipDiffusion, TrainingSettings
from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import TruncatedCosineSchedule
from skdiffuse.networks import PRESETS, VideoUNet
from skdiffuse.preprocessing import MonotoneNetwork
from skdiffuse.training import Budget, HeldOut, LatentCurve, Trainer, WindowBatches, loop
from skdiffuse.training.processes import own_share

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="torch was built without gloo",
)


def train(folder, environment, steps, dies, options):
    os.environ |= environment
    rank = os.environ.get("RANK", "0")
    torch.set_num_threads(1)
    loop.LOG_EVERY = 1
    loop.LEAST_STEPS_BETWEEN_VALIDATIONS = 2
    # Other weights on the second: those of the first are to be everyone's.
    torch.manual_seed(int(rank))
    rain = validate_cube(np.random.default_rng(0).gamma(0.3, 1.0, (12, 8, 8)))
    schedule = TruncatedCosineSchedule()
    network = VideoUNet(
        width=8, multipliers=(1, 2), gradient_checkpointing=options.pop("checkpointing", False)
    )
    trainer = Trainer(
        network,
        WindowBatches(rain, 3, (8, 8), batch_size=5, seed=0),
        LatentCurve(MonotoneNetwork(scale=10.0), 1.0, 0.5),
        schedule,
        checkpoint_dir=folder / "checkpoints",
        average_snapshots=True,
        held_out=HeldOut(rain, 3, (8, 8), schedule, batch_size=32, seed=0),
        patience=9,
        **options,
    )
    trainer.resume()
    if dies is not None and rank == "1":
        rate = trainer._rate
        trainer._rate = lambda: os.kill(os.getpid(), dies) or rate()
    trainer.run(Budget(steps))
    # A shift of the curve changes nothing: its gradient is rounding, and Adam takes it for a step.
    weights = [p for name, p in trainer.averaged.named_parameters() if not name.endswith("bias3")]
    weights = torch.cat([p.flatten() for p in weights])
    held = sum(own_share(p).numel() for p in trainer.state.objective.parameters())
    found = {
        "loss": [e["loss"] for e in trainer.history],
        "norm": [e["gradient_norm"] for e in trainer.history],
        "validation": [e["validation_loss"] for e in trainer.history if "validation_loss" in e],
        "weights": weights.tolist(),
        "held": held,
    }
    (folder / f"{rank}.json").write_text(json.dumps(found))


class StopsAfterTwoEpochs:
    """A callback of scikit-learn that counts, and knows what a model it was given says."""

    def __init__(self):
        self.epochs = 0
        self.losses = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if context.task_name != "epoch":
            return False
        self.epochs += 1
        self.losses.append(fitted_estimator.denoising_loss(X))
        return self.epochs == 2


def fit(folder, environment, sharded):
    """What a user's script does under torchrun."""
    os.environ |= environment
    torch.set_num_threads(1)
    PRESETS["tiny"] = {"width": 8, "multipliers": (1, 2), "patch_size": 2}
    rain = np.random.default_rng(0).gamma(0.3, 1.0, (12, 8, 8))
    callback = StopsAfterTwoEpochs()
    model = PrecipDiffusion(
        "learnt",
        n_frames=3,
        batch_size=2,
        training=TrainingSettings(max_epochs=5, sharded=sharded),
        random_state=0,
        verbose=False,
    )
    model.set_callbacks(callback).fit(rain)
    model.set_callbacks()
    model = pickle.loads(pickle.dumps(model))
    found = {
        "epochs": callback.epochs,
        "losses": callback.losses,
        "steps": model.n_iter_,
        "sample": model.sample(2, random_state=1).tolist(),
    }
    (folder / f"{environment.get('RANK', 0)}.json").write_text(json.dumps(found))


def launch(folder, n, steps=4, dies=None, **options):
    """Exit codes of n processes that train."""
    return start(folder, n, train, steps, dies, options)


def start(folder, n, target, *arguments):
    """Exit codes of n processes."""
    # What every optimiser loads: once here, and not in each process.
    importlib.import_module("torch._dynamo")
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(n), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=target, args=(folder, shared | {"RANK": str(rank)}, *arguments))
        for rank in range(n)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
        if process.is_alive():
            process.kill()
            pytest.fail("a process hangs")
    return [process.exitcode for process in processes]


def found(folder, rank=0):
    return json.loads((folder / f"{rank}.json").read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A training that no other process shares."""
    folder = tmp_path_factory.mktemp("alone")
    assert launch(folder, 1) == [0]
    return folder


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A training whose weights two processes share."""
    folder = tmp_path_factory.mktemp("sharded")
    assert launch(folder, 2, sharded=True) == [0, 0]
    return folder


def assert_weights_agree(one, other):
    torch.testing.assert_close(
        torch.tensor(one["weights"]), torch.tensor(other["weights"]), rtol=1e-3, atol=1e-5
    )


def assert_trained_as_one(folder, alone):
    one, first, second = found(alone), found(folder), found(folder, 1)
    for name in ("loss", "norm", "validation"):
        assert first[name] == second[name]
        assert first[name] == pytest.approx(one[name], rel=1e-5)
    assert len(one["loss"]) == 4
    assert len(one["validation"]) == 2
    assert first["weights"] == second["weights"]
    assert_weights_agree(first, one)
    names = sorted(p.name for p in (folder / "checkpoints").iterdir())
    assert names == sorted(p.name for p in (alone / "checkpoints").iterdir())


def test_two_processes_train_as_one(tmp_path, alone):
    """Windows shared unequally, three and two, and worked through in parts."""
    assert launch(tmp_path, 2, parts=2) == [0, 0]
    assert_trained_as_one(tmp_path, alone)


def test_two_processes_that_share_weights_train_as_one(tmp_path, sharded, alone):
    assert_trained_as_one(sharded, alone)
    assert found(sharded)["held"] + found(sharded, 1)["held"] == found(alone)["held"]
    options = {"sharded": True, "parts": 2, "checkpointing": True}
    assert launch(tmp_path, 2, **options) == [0, 0]
    assert_trained_as_one(tmp_path, alone)


def test_sharded_training_is_resumed_by_any_number_of_processes(tmp_path, sharded):
    """Two that go on end with the bits of two that never ended: a checkpoint is whole."""
    assert launch(tmp_path / "two", 2, steps=2, sharded=True) == [0, 0]
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    assert launch(tmp_path / "two", 2, sharded=True) == [0, 0]
    assert launch(tmp_path / "one", 1, sharded=True) == [0]
    assert found(tmp_path / "two") == found(sharded)
    assert_weights_agree(found(tmp_path / "one"), found(sharded))


@pytest.mark.parametrize("options", [{}, {"sharded": True}])
def test_a_killed_process_ends_the_job_with_an_error(tmp_path, options):
    start = time.monotonic()
    survivor, killed = launch(tmp_path / "two", 2, dies=signal.SIGKILL, **options)
    assert killed == -signal.SIGKILL
    assert survivor == 1
    assert time.monotonic() - start < 60


def test_one_process_told_to_end_ends_all_in_good_order(tmp_path):
    codes = launch(tmp_path, 2, dies=signal.SIGTERM, sharded=True)
    assert codes == [143, 143]
    assert "checkpoint-00000001.safetensors" in os.listdir(tmp_path / "checkpoints")


@pytest.mark.parametrize("sharded", [False, True])
def test_callbacks_run_in_the_first_process_and_stop_all(tmp_path, sharded):
    assert start(tmp_path / "one", 1, fit, sharded) == [0]
    assert start(tmp_path / "two", 2, fit, sharded) == [0, 0]
    one, first, second = (
        found(tmp_path / "one"),
        found(tmp_path / "two"),
        found(tmp_path / "two", 1),
    )
    assert [one["epochs"], first["epochs"], second["epochs"]] == [2, 2, 0]
    assert one["steps"] == first["steps"] == second["steps"]
    assert first["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert first["sample"] == second["sample"]
    np.testing.assert_allclose(first["sample"], one["sample"], rtol=1e-2, atol=1e-2)


def test_sharding_says_what_it_needs():
    rain = np.ones((12, 8, 8))
    with pytest.raises(ValueError, match="sharded=True and compile=True"):
        PrecipDiffusion(n_frames=3, training=TrainingSettings(sharded=True, compile=True)).fit(rain)
    with pytest.raises(ValueError, match="set checkpoint_dir"):
        PrecipDiffusion(n_frames=3, training=TrainingSettings(sharded=True), warm_start=True).fit(
            rain
        )
