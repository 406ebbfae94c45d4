"""Train on a cube of 200 GB that is not there, and compare with one in memory.

The cube is a Zarr array of 200 GB of float32 in chunks of 16 MB, made on the spot: a few chunks
hold synthetic rain, the others are absent and read as zeros, which costs the reader the same memory
as real ones and less time. The tiny network is trained on it while the next blocks are read; the
same steps on a cube in memory, from the same file, are the measure. Both run in processes of their
own, so that peak memory is each one's.

The ratio is of the CPU seconds of all threads over all steps but the first: that of a machine with
one core, where reading ahead hides nothing, and independent of what else the machine does. Reading
the first blocks, for the statistics and the first steps, is what a training pays once, and is given
apart.

Run ``python benchmarks/out_of_core.py`` (``--quick``: no result file).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FRAMES, ROWS, COLUMNS = 200_000, 500, 500
CHUNKS = (100, 200, 200)
WRITTEN = 40
# A group of blocks serves 372 steps at this batch, and the next one is read in the background while
# it does. Fewer steps with one such reading make the comparison harder than a long training is.
STEPS = 240
GIB = 2**30


def make_cube(path: Path) -> None:
    """The sparse array, with rain in some of its chunks."""
    import zarr

    from skdiffuse.datasets import make_precipitation

    array = zarr.create_array(
        path, shape=(FRAMES, ROWS, COLUMNS), chunks=CHUNKS, dtype="f4", fill_value=0.0
    )
    rain = make_precipitation(CHUNKS[0], CHUNKS[1:], random_state=0).values
    random = np.random.default_rng(0)
    for _ in range(WRITTEN):
        frame = CHUNKS[0] * random.integers(FRAMES // CHUNKS[0])
        row, column = 200 * random.integers(2, size=2)
        array[frame : frame + CHUNKS[0], row : row + 200, column : column + 200] = rain


def train(path: Path, kind: str, steps: int) -> dict:
    """Steps on the whole cube, lazily, or on its first 1000 frames in memory."""
    import dask.array as da
    import torch

    from skdiffuse import PrecipDiffusion
    from skdiffuse.training import Trainer

    torch.set_num_threads(1)
    cube = da.from_zarr(str(path))
    if kind == "memory":
        cube = cube[:400].compute()
    seconds, cpu_before, cpu_after = [], [], []
    one_step = Trainer._one_step

    def timed(self):
        start = time.perf_counter()
        cpu_before.append(time.process_time())
        entry = one_step(self)
        seconds.append(time.perf_counter() - start)
        cpu_after.append(time.process_time())
        return entry

    Trainer._one_step = timed
    start = time.perf_counter()
    model = PrecipDiffusion(
        n_frames=10, crop_size=32, batch_size=8, max_steps=steps, random_state=0, verbose=False
    ).fit(cube)
    reader = model._trainer.windows.reader
    return {
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
        "seconds_before": time.perf_counter() - start - sum(seconds),
        "seconds": sum(seconds[1:]),
        "cpu_seconds": cpu_after[-1] - cpu_before[1],
        "longest_step": max(seconds[1:]),
        "steps_per_group": model._trainer.windows.steps_per_group,
        "blocks_in_group": getattr(reader, "blocks_in_group", None),
    }


def launch(path: Path, kind: str, steps: int) -> dict:
    """A training in a process of its own."""
    command = [sys.executable, __file__, "--train", kind, "--path", path, "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run(steps: int) -> dict:
    """Both trainings, one after the other."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "rain.zarr"
        make_cube(path)
        on_disk = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        lazy, memory = (launch(path, kind, steps) for kind in ("lazy", "memory"))
    return {
        "peak_gib": round(lazy["peak_gib"], 2),
        "throughput_ratio": round(memory["cpu_seconds"] / lazy["cpu_seconds"], 3),
        "throughput_ratio_wall": round(memory["seconds"] / lazy["seconds"], 3),
        "peak_gib_in_memory": round(memory["peak_gib"], 2),
        "cube_gb": FRAMES * ROWS * COLUMNS * 4 / 1e9,
        "gb_on_disk": round(on_disk / 1e9, 3),
        "steps": steps,
        "steps_per_group_of_blocks": lazy["steps_per_group"],
        "blocks_in_group": lazy["blocks_in_group"],
        "cpu_seconds_lazy": round(lazy["cpu_seconds"], 1),
        "cpu_seconds_in_memory": round(memory["cpu_seconds"], 1),
        "seconds_lazy": round(lazy["seconds"], 1),
        "seconds_in_memory": round(memory["seconds"], 1),
        "seconds_before_training_lazy": round(lazy["seconds_before"], 1),
        "seconds_before_training_in_memory": round(memory["seconds_before"], 1),
        "longest_step_lazy": round(lazy["longest_step"], 2),
        "batch": "8 x 10 x 32 x 32",
        "threads": 1,
        "cores": len(os.sched_getaffinity(0)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="write no result file")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(json.dumps(train(options.path, options.train, options.steps)))
        sys.exit()
    figures = run(STEPS)
    if not options.quick:
        result = Path(__file__).parent / "results" / "out_of_core.json"
        result.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
