"""Train the same model in one process and in two, and compare the loss curves.

Each run is started as a user would start it, the second by ``torchrun --nproc-per-node 2``: the
batch as a whole is the same, its windows are shared. A third run kills one of the two processes in
the middle and measures how long it takes until the whole job has ended with an error.

Run ``python benchmarks/two_processes.py`` (``--quick``: no result file).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 60


def train(result: Path, die_at: int) -> None:
    """What every process runs."""
    import torch

    from skdiffuse import PrecipDiffusion
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
        "learnt", n_frames=4, batch_size=8, max_steps=STEPS, random_state=0, verbose=False
    ).fit(cube)
    if os.environ.get("RANK", "0") == "0":
        weights = torch.cat([p.flatten() for p in model.network_.parameters()])
        curve = [entry["loss"] for entry in model.history_]
        result.write_text(json.dumps({"loss": curve, "norm": weights.norm().item()}))


def launch(n: int, folder: Path, die_at: int = -1) -> tuple[int, float, dict | None]:
    """Exit code, seconds and result of a run with n processes."""
    result = folder / f"{n}-{die_at}.json"
    program = [__file__, "--train", str(result), "--die-at", str(die_at)]
    command = [sys.executable, *program]
    if n > 1:
        # --standalone finds a free port by itself.
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command = [*torchrun, f"--nproc-per-node={n}", *program]
    start = time.monotonic()
    code = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=400, capture_output=True
    ).returncode
    seconds = time.monotonic() - start
    return code, seconds, json.loads(result.read_text()) if result.exists() else None


def run() -> dict:
    """One process, two, and two of which one dies."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        code_one, seconds_one, one = launch(1, folder)
        code_two, seconds_two, two = launch(2, folder)
        code_killed, seconds_killed, _ = launch(2, folder, die_at=10)
    if code_one or code_two:
        raise RuntimeError(f"training failed with exit codes {code_one} and {code_two}")
    differences = [abs(a - b) for a, b in zip(one["loss"], two["loss"], strict=True)]
    return {
        "max_loss_difference": max(differences),
        "steps": len(differences),
        "weight_norm_difference": abs(one["norm"] / two["norm"] - 1),
        "killed_rank_exit_code": code_killed,
        "killed_rank_seconds_to_end": round(seconds_killed, 1),
        "seconds_one_process": round(seconds_one, 1),
        "seconds_two_processes": round(seconds_two, 1),
        "global_batch": 8,
        "threads_per_process": 1,
        "cores": len(os.sched_getaffinity(0)),
        "backend": "gloo",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="write no result file")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--die-at", type=int, default=-1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train is not None:
        train(options.train, options.die_at)
        sys.exit()
    figures = run()
    if not options.quick:
        path = Path(__file__).parent / "results" / "two_processes.json"
        path.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
