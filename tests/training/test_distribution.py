"""Processes that share a training train as one does, and die together.

They are started as ``torchrun`` tells them that they are; benchmarks/two_processes.py has torchrun
itself start them.
"""

import json
import multiprocessing
import os
import signal
import socket
import time

import numpy as np
import pytest
import torch
from torch import distributed

from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import TruncatedCosineSchedule
from skdiffuse.networks import VideoUNet
from skdiffuse.training import Budget, Trainer, WindowBatches, loop

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="torch was built without gloo",
)


def train(folder, environment, parts, dies):
    os.environ |= environment
    rank = os.environ.get("RANK", "0")
    loop.LOG_EVERY = 1
    # Other weights on the second: those of the first are to be everyone's.
    torch.manual_seed(int(rank))
    rain = np.random.default_rng(0).gamma(0.3, 1.0, (12, 8, 8))
    trainer = Trainer(
        VideoUNet(width=8, multipliers=(1, 2)),
        WindowBatches(validate_cube(rain), 3, (8, 8), batch_size=5, seed=0),
        torch.sqrt,
        TruncatedCosineSchedule(),
        parts=parts,
        checkpoint_dir=folder / "checkpoints",
    )
    if dies and rank == "1":
        trainer._rate = lambda: os.kill(os.getpid(), signal.SIGKILL)
    trainer.run(Budget(4))
    weights = torch.cat([p.flatten() for p in trainer.averaged.parameters()])
    found = {"loss": [e["loss"] for e in trainer.history], "weights": weights.tolist()}
    (folder / f"{rank}.json").write_text(json.dumps(found))


def launch(folder, n, parts=1, dies=False):
    """Exit codes of n processes."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(n), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=train, args=(folder, shared | {"RANK": str(rank)}, parts, dies))
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


def test_two_processes_train_as_one(tmp_path):
    """Windows shared unequally, three and two, and worked through in parts."""
    assert launch(tmp_path / "one", 1) == [0]
    assert launch(tmp_path / "two", 2, parts=2) == [0, 0]
    one = json.loads((tmp_path / "one/0.json").read_text())
    first, second = (json.loads((tmp_path / f"two/{rank}.json").read_text()) for rank in "01")
    assert first == second
    assert len(one["loss"]) == 4
    assert first["loss"] == pytest.approx(one["loss"], rel=1e-5)
    torch.testing.assert_close(
        torch.tensor(first["weights"]), torch.tensor(one["weights"]), rtol=1e-3, atol=1e-5
    )
    assert [p.name for p in (tmp_path / "two/checkpoints").iterdir()] == [
        "checkpoint-00000004.safetensors"
    ]


def test_a_killed_process_ends_the_job_with_an_error(tmp_path):
    start = time.monotonic()
    survivor, killed = launch(tmp_path / "two", 2, dies=True)
    assert killed == -signal.SIGKILL
    assert survivor == 1
    assert time.monotonic() - start < 60
