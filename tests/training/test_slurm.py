"""The job script of docs/training.md, on one machine and with stand-ins for SLURM's commands."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed

from skdiffuse.training import read_tensors

PAGE = Path(__file__).parents[2] / "docs" / "training.md"

pytestmark = pytest.mark.skipif(
    not PAGE.exists() or not distributed.is_available() or not distributed.is_gloo_available(),
    reason="needs the documentation, bash and gloo",
)

TRAIN = """
import os
import numpy as np
import torch
from skdiffuse import KeepingSettings, PrecipDiffusion
from skdiffuse.networks import PRESETS
from skdiffuse.training import loop

torch.set_num_threads(1)
PRESETS["tiny"] = {"width": 8, "multipliers": (1,)}
loop.LOG_EVERY = 1
rain = np.random.default_rng(0).gamma(0.3, 1.0, (12, 8, 8))
model = PrecipDiffusion(
    n_frames=3, batch_size=4, max_steps=STEPS, random_state=0, verbose=False,
    checkpoint_dir=FOLDER + "/run", warm_start=True,
    # No checkpoint but that of an end in good order.
    keeping=KeepingSettings(checkpoint_seconds=3600.0, log_dir=FOLDER + "/run"),
)
model.fit(rain)
if os.environ.get("RANK", "0") == "0":
    model.save(FOLDER + "/model.safetensors")
"""
# Takes srun's own options away. Told to end, srun kills what it started, at once; here without
# SLURM's control groups, so torchrun's processes before torchrun.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
{python} -m torch.distributed.run "${{@:2}}" &
echo $! > task
trap 'pkill -KILL -P $(cat task); kill -KILL $(cat task)' TERM
wait $(cat task)
"""
# Reaches the tasks, and neither srun nor the script.
SCANCEL = '#!/bin/bash\n[ "$*" = "--signal=TERM 4711" ] && kill -TERM "$(cat task)"\n'
SCONTROL = '#!/bin/bash\nif [ "$1" = show ]; then echo localhost; else echo "$@" >> requeued; fi\n'


def prepare(folder, steps):
    """A working folder with the page's script, train.py and the stand-ins; its environment."""
    folder.mkdir()
    script = re.search(r"```bash\n(#!/bin/bash.*?)```", PAGE.read_text(), re.DOTALL)[1]
    train = TRAIN.replace("STEPS", str(steps)).replace("FOLDER", repr(str(folder)))
    files = {"job.sh": script, "train.py": train}
    files |= {"srun": SRUN.format(python=sys.executable), "scontrol": SCONTROL, "scancel": SCANCEL}
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    slurm = {"JOB_ID": "4711", "NNODES": "1", "GPUS_ON_NODE": "2", "CPUS_PER_TASK": "1"}
    return (
        os.environ
        | {f"SLURM_{name}": value for name, value in slurm.items()}
        | {
            "SLURM_JOB_NODELIST": "localhost",
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(PAGE.parents[1]),
        }
    )


def start(folder, environment):
    return subprocess.Popen(
        ["bash", "job.sh"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def run(code, environment):
    os.environ |= environment
    exec(code, {})


def train_here(folder):
    """What torchrun would do with train.py, by processes that have imported everything."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    context = multiprocessing.get_context("fork")
    code = (folder / "train.py").read_text()
    tasks = [
        context.Process(target=run, args=(code, shared | {"RANK": str(rank)})) for rank in range(2)
    ]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(120)
    return [task.exitcode for task in tasks]


def test_a_job_that_is_told_to_end_is_requeued_and_resumed_to_the_bit(tmp_path):
    straight, requeued = tmp_path / "straight", tmp_path / "requeued"
    steps = 60
    prepare(straight, steps)
    assert train_here(straight) == [0, 0]

    environment = prepare(requeued, steps)
    job = start(requeued, environment)
    deadline = time.monotonic() + 90
    while not list(requeued.glob("run/training.csv")) and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(90) != 0
    assert (requeued / "requeued").read_text() == "requeue 4711\n"
    [last] = requeued.glob("run/checkpoint-*")
    assert int(re.findall(r"\d+", last.name)[0]) < steps
    assert not (requeued / "model.safetensors").exists()

    assert start(requeued, environment).wait(120) == 0
    one, other = (read_tensors(f / "model.safetensors")[0] for f in (straight, requeued))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_that_fails_fails_the_job(tmp_path):
    folder = tmp_path / "failing"
    environment = prepare(folder, 1)
    (folder / "train.py").write_text("raise SystemExit(3)")
    assert start(folder, environment).wait(60) == 1
    assert not (folder / "requeued").exists()
