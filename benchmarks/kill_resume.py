"""Kill a training again and again, and see whether it ends with the same bits.

A small training runs in a process of its own, writes a checkpoint after every step, and is killed
(SIGKILL) at a random moment, or in the middle of writing a checkpoint: the file is then half
written, or whole but not yet under its name. It is begun anew with ``warm_start=True`` until it
has been killed as often as asked for, and then left to end. Its weights, the optimiser's memory
and the frozen transform must be those of a training that nobody disturbed.

Run ``python benchmarks/kill_resume.py`` (``--quick``: the same, and a result file is not written).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
import warnings
from pathlib import Path

import torch

from skdiffuse import LearntMonotoneTransform, PrecipDiffusion, TrainingSettings
from skdiffuse.datasets import make_precipitation
from skdiffuse.training import loop

N_KILLS = 50
N_STEPS = 100


def train(folder: Path, result: Path, die_in_write: int | None) -> None:
    """Train to the end; die in the `die_in_write`-th writing of a checkpoint, if given."""
    torch.set_num_threads(1)
    loop.CHECKPOINT_SECONDS = 0.0
    if die_in_write is not None:
        _die_in_write(die_in_write)
    cube = make_precipitation(24, (8, 8), random_state=0)
    model = PrecipDiffusion(
        LearntMonotoneTransform(max_iter=20),
        n_frames=2,
        crop_size=8,
        batch_size=2,
        max_steps=N_STEPS,
        training=TrainingSettings(learning_rate_schedule="cosine"),
        checkpoint_dir=folder,
        warm_start=True,
        random_state=0,
        verbose=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(cube)
    digest = hashlib.sha256()
    trainer = model._preparation.trainer
    states = [trainer.state.objective.state_dict(), trainer.state.average.network.state_dict()]
    # By number: a state that was restored may hold its parameters in another order.
    states += [state for _, state in sorted(trainer.state.optimizer.state_dict()["state"].items())]
    for state in states:
        for _, value in sorted(state.items()):
            digest.update(torch.as_tensor(value).contiguous().reshape(-1).view(torch.uint8).numpy())
    digest.update(model.transformer_.latent_nodes_.tobytes())
    result.write_text(digest.hexdigest())


def _die_in_write(countdown: int) -> None:
    """Be killed in the middle of a write, or before the file gets its name."""
    replace, fsync, left = os.replace, os.fsync, [countdown]

    def dying_fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] == 0 and countdown % 2:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    def dying_replace(source: str, target: str) -> None:
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.fsync, os.replace = dying_fsync, dying_replace


def run(n_kills: int, seed: int) -> dict:
    """Kill, resume, compare."""
    draw = random.Random(seed)
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        start = time.monotonic()
        straight = context.Process(target=train, args=(root / "straight", root / "a", None))
        straight.start()
        straight.join()
        seconds = time.monotonic() - start
        kills = in_write = processes = 0
        # So that the kills are spread over the training and not used up at its start.
        typical = seconds / n_kills
        while not (root / "b").exists():
            die = draw.randrange(1, 5) if kills < n_kills and draw.random() < 0.4 else None
            child = context.Process(target=train, args=(root / "killed", root / "b", die))
            child.start()
            processes += 1
            if kills < n_kills and die is None:
                child.join(draw.uniform(0.1, 1.0) + draw.uniform(0.0, 1.2) * typical)
                if child.is_alive():
                    os.kill(child.pid, signal.SIGKILL)
            child.join()
            if child.exitcode == -signal.SIGKILL:
                kills += 1
                in_write += die is not None
            elif child.exitcode != 0:
                raise RuntimeError(f"a resumed training failed with exit code {child.exitcode}")
        identical = (root / "a").read_text() == (root / "b").read_text()
    return {
        "kills": kills,
        "kills_in_writing": in_write,
        "bit_identical": identical,
        "processes": processes,
        "steps": N_STEPS,
        "seconds_undisturbed": round(seconds, 1),
        "threads": 1,
        "seed": seed,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="write no result file")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    figures = run(N_KILLS, seed=0)
    if not quick:
        path = Path(__file__).parent / "results" / "kill_resume.json"
        path.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
