"""Train on a cube of 200 GB that is not there, and compare with one in memory.

The cube is a Zarr array of 200 GB of float32 in chunks of 16 MB, made on the spot: a few chunks
hold synthetic rain, the others are absent and read as zeros, which costs the reader the same memory
as real ones and less time. The tiny network is trained on it while the next blocks are read; the
same steps on a cube in memory, from the same file, are the measure. A third training, without
``--quick``, is on a smaller store of which all chunks are there, compressed. Each runs in a process
of its own, so that peak memory is each one's, and with one thread for its arithmetic. The first two
run at the same time, each on a core of its own where there are two, which reading has to share.

Timed are as many steps as a group of blocks serves, from the second on, so that just one group is
read meanwhile, as in a long training. The ratio is of the CPU seconds of all threads: that of a
machine where reading ahead hides nothing, and independent of what else the machine does. Reading
the first blocks, for the statistics and the first steps, is what a training pays once, and is given
apart.

Last, without ``--quick``, the rate at which blocks of compressed NetCDF files are read, by the
thread of the training's process and by one and two processes (``n_jobs``).

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
from functools import partial
from pathlib import Path

import numpy as np

from skdiffuse.training.batches import MEMORY
from skdiffuse.training.cube_blocks import BlockReader

FRAMES, ROWS, COLUMNS = 200_000, 500, 500
CHUNKS = (100, 200, 200)
WRITTEN = 40
# A store whose chunks are all there, and files of it.
REAL_FRAMES, REAL_SIDE, FILES = 1600, 400, 8
N_FRAMES, CROP, BATCH = 10, 32, 8
ROUNDS, GROUPS = 3, 2
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


def make_real(folder: Path) -> None:
    """The same rain in all chunks of a store, and in NetCDF files, each compressed."""
    import dask.array as da
    import xarray as xr

    from skdiffuse.datasets import make_precipitation

    rain = make_precipitation(REAL_FRAMES // FILES, (REAL_SIDE, REAL_SIDE), random_state=0)
    whole = da.concatenate([da.from_array(rain.values)] * FILES).rechunk(CHUNKS)
    whole.astype("f4").to_zarr(str(folder / "real.zarr"))
    for number in range(FILES):
        later = rain.assign_coords(time=rain.time + number * (rain.time[-1] - rain.time[0]) * 1.01)
        xr.Dataset({"rain": later}).to_netcdf(
            folder / f"real_{number}.nc", encoding={"rain": {"zlib": True, "chunksizes": CHUNKS}}
        )


def train(path: Path, kind: str) -> dict:
    """One group's steps on the whole cube, lazily, or on its first 400 frames in memory."""
    import dask.array as da
    import torch

    from skdiffuse import PrecipDiffusion
    from skdiffuse.cubes import validate_cube
    from skdiffuse.training import Trainer, WindowBatches

    torch.set_num_threads(1)
    cube = da.from_zarr(str(path))
    windows = WindowBatches(validate_cube(cube), N_FRAMES, (CROP, CROP), BATCH, 0)
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

    groups = []
    read_group = BlockReader._read_group

    def noted(self, number):
        groups.append(len(seconds))
        return read_group(self, number)

    Trainer._one_step, BlockReader._read_group = timed, noted
    start = time.perf_counter()
    model = PrecipDiffusion(
        n_frames=N_FRAMES,
        crop_size=CROP,
        batch_size=BATCH,
        # The next group but one is asked for when the first step after the next begins.
        max_steps=windows.steps_per_group + 2,
        random_state=0,
        verbose=False,
    ).fit(cube)
    return {
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
        "seconds_before": time.perf_counter() - start - sum(seconds),
        "seconds": sum(seconds[1:]),
        "cpu_seconds": cpu_after[-1] - cpu_before[1],
        "longest_step": max(seconds[1:]),
        "groups_read_meanwhile": sum(step > 1 for step in groups),
        "steps": model.n_iter_ - 1,
        "blocks_in_group": windows.reader.blocks_in_group,
    }


def launch(path: Path, kinds: tuple[str, ...]) -> list[dict]:
    """Trainings at the same time, each in a process and on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    started = []
    for number, kind in enumerate(kinds):
        command = [sys.executable, __file__, "--train", kind, "--path", str(path)]
        core = cores[number % len(cores)]
        started.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=partial(os.sched_setaffinity, 0, {core}),
            )
        )
    results = []
    for process in started:
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"a training ended with status {process.returncode}")
        results.append(json.loads(output.splitlines()[-1]))
    return results


def reading_rates(folder: Path) -> dict[str, float]:
    """MB of float32 a second, by who reads: the best of some rounds, in turns."""
    from skdiffuse.cubes import open_cube, validate_cube

    cube = validate_cube(open_cube(folder / "real_*.nc"), n_frames=N_FRAMES)
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for n_jobs in (None, 1, 2):
            reader = BlockReader(cube, N_FRAMES, (CROP, CROP), 0, MEMORY, n_jobs)
            # The processes start, and know the files.
            reader.group(0)
            start = time.perf_counter()
            read = sum(block.values.nbytes for k in range(GROUPS) for block in reader.group(k + 1))
            rate = read / 1e6 / (time.perf_counter() - start)
            # The one that was begun ahead must not run into the next reader's time.
            reader.group(GROUPS + 1)
            for future in reader._pending.values():
                future.result()
            reader.close()
            name = "a thread" if n_jobs is None else f"n_jobs={n_jobs}"
            best[name] = max(best.get(name, 0.0), round(rate, 1))
    return best


def run(quick: bool) -> dict:
    """The trainings, and the rates of reading."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "rain.zarr"
        make_cube(path)
        on_disk = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        lazy, memory = launch(path, ("lazy", "memory"))
        figures = {
            "peak_gib": round(lazy["peak_gib"], 2),
            "throughput_ratio": round(memory["cpu_seconds"] / lazy["cpu_seconds"], 3),
            "throughput_ratio_wall": round(memory["seconds"] / lazy["seconds"], 3),
            "peak_gib_in_memory": round(memory["peak_gib"], 2),
            "cube_gb": FRAMES * ROWS * COLUMNS * 4 / 1e9,
            "gb_on_disk": round(on_disk / 1e9, 3),
            "steps": lazy["steps"],
            "groups_read_meanwhile": lazy["groups_read_meanwhile"],
            "blocks_in_group": lazy["blocks_in_group"],
            "cpu_seconds_lazy": round(lazy["cpu_seconds"], 1),
            "cpu_seconds_in_memory": round(memory["cpu_seconds"], 1),
            "seconds_lazy": round(lazy["seconds"], 1),
            "seconds_in_memory": round(memory["seconds"], 1),
            "seconds_before_training_lazy": round(lazy["seconds_before"], 1),
            "seconds_before_training_in_memory": round(memory["seconds_before"], 1),
            "longest_step_lazy": round(lazy["longest_step"], 2),
            "batch": f"{BATCH} x {N_FRAMES} x {CROP} x {CROP}",
            "threads": 1,
            "cores": len(os.sched_getaffinity(0)),
        }
        if not quick:
            make_real(folder)
            real, memory = launch(folder / "real.zarr", ("lazy", "memory"))
            ratio = memory["cpu_seconds"] / real["cpu_seconds"]
            figures["compressed_store"] = {
                "gb": REAL_FRAMES * REAL_SIDE**2 * 4 / 1e9,
                "throughput_ratio": round(ratio, 3),
                "throughput_ratio_wall": round(memory["seconds"] / real["seconds"], 3),
                "groups_read_meanwhile": real["groups_read_meanwhile"],
                "steps": real["steps"],
                "peak_gib": round(real["peak_gib"], 2),
            }
            figures["netcdf_mb_per_second"] = reading_rates(folder)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="write no result file")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(json.dumps(train(options.path, options.train)))
        sys.exit()
    figures = run(options.quick)
    if not options.quick:
        result = Path(__file__).parent / "results" / "out_of_core.json"
        result.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
