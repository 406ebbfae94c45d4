"""Train the same model in one process and in two, and compare the loss curves.

Each run is started as a user would start it, the second by ``torchrun --nproc-per-node 2``: the
batch as a whole is the same, its windows are shared. A third run shares the weights as well
(``sharded=True``). A fourth kills one of the two processes in the middle and measures how long it
takes until the whole job has ended with an error. Last, without ``--quick``, two processes train
the preset ``large`` for three steps, each with all weights and each with its share: by how much the
peak memory of the first process exceeds what it had before.

Run ``python benchmarks/two_processes.py`` (``--quick``: no result file).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 60


def train(result: Path, die_at: int, sharded: bool, network: str) -> None:
    """What every process runs."""
    import torch

    from skdiffuse import PrecipDiffusion, TrainingSettings
    from skdiffuse.datasets import make_precipitation
    from skdiffuse.training import Trainer, loop

    torch.set_num_threads(1)
    loop.LOG_EVERY = 1
    if die_at >= 0 and os.environ.get("RANK") == "1":
        one_step = Trainer._one_step

        def dying(self):
            if self.step == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return one_step(self)

        Trainer._one_step = dying
    cube = make_precipitation(60, (16, 16), random_state=0)
    model = PrecipDiffusion(
        "learnt",
        network=network,
        training=TrainingSettings(sharded=sharded),
        n_frames=4,
        batch_size=8,
        max_steps=STEPS if network == "tiny" else 3,
        random_state=0,
        verbose=False,
    )
    before = peak_gib()
    model.fit(cube)
    peak = peak_gib() - before
    if os.environ.get("RANK", "0") == "0":
        weights = torch.cat([p.flatten() for p in model.network_.parameters()])
        figures = {
            "loss": [entry["loss"] for entry in model.history_],
            "seconds": model.history_[-1]["seconds"] - model.history_[1]["seconds"],
            "norm": weights.norm().item(),
            "peak_gib": peak,
        }
        result.write_text(json.dumps(figures))


def peak_gib() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def launch(
    n: int, folder: Path, die_at: int = -1, sharded: bool = False, network: str = "tiny"
) -> tuple[float, dict | None]:
    """Seconds and result of a run with n processes; exit code instead, where one is to die."""
    result = folder / f"{n}-{die_at}-{sharded}-{network}.json"
    program = [__file__, "--train", str(result), "--die-at", str(die_at), "--network", network]
    if sharded:
        program.append("--sharded")
    command = [sys.executable, *program]
    if n > 1:
        # --standalone finds a free port by itself.
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command = [*torchrun, f"--nproc-per-node={n}", *program]
    start = time.monotonic()
    ended = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - start
    if die_at >= 0:
        return seconds, {"exit_code": ended.returncode}
    if ended.returncode:
        raise RuntimeError(f"training failed with exit code {ended.returncode}:\n{ended.stderr}")
    return seconds, json.loads(result.read_text())


def run(quick: bool) -> dict:
    """One process, two, two that share the weights, and two of which one dies."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds_one, one = launch(1, folder)
        seconds_two, two = launch(2, folder)
        seconds_sharded, sharded = launch(2, folder, sharded=True)
        seconds_killed, killed = launch(2, folder, die_at=10)
        figures = {
            "max_loss_difference": difference(one, two),
            "max_loss_difference_sharded": difference(one, sharded),
            "steps": len(one["loss"]),
            "weight_norm_difference": abs(one["norm"] / two["norm"] - 1),
            "weight_norm_difference_sharded": abs(one["norm"] / sharded["norm"] - 1),
            "killed_rank_exit_code": killed["exit_code"],
            "killed_rank_seconds_to_end": round(seconds_killed, 1),
            "seconds_one_process": round(seconds_one, 1),
            "seconds_two_processes": round(seconds_two, 1),
            "seconds_sharded": round(seconds_sharded, 1),
            "step_seconds_two_processes": round(two["seconds"] / (STEPS - 2), 3),
            "step_seconds_sharded": round(sharded["seconds"] / (STEPS - 2), 3),
            "global_batch": 8,
            "threads_per_process": 1,
            "cores": len(os.sched_getaffinity(0)),
            "backend": "gloo",
        }
        if not quick:
            for name, shares in (("replicated", False), ("sharded", True)):
                _, large = launch(2, folder, sharded=shares, network="large")
                figures[f"large_peak_gib_{name}"] = round(large["peak_gib"], 2)
    return figures


def difference(one: dict, other: dict) -> float:
    """Largest difference of two loss curves."""
    return max(abs(a - b) for a, b in zip(one["loss"], other["loss"], strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="write no result file")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--die-at", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--sharded", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--network", default="tiny", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train is not None:
        train(options.train, options.die_at, options.sharded, options.network)
        sys.exit()
    figures = run(options.quick)
    if not options.quick:
        path = Path(__file__).parent / "results" / "two_processes.json"
        path.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
