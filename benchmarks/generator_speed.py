"""How many frames of synthetic rain an hour on one core.

    OMP_NUM_THREADS=1 python benchmarks/generator_speed.py

CPU seconds of this process, best of five, 64 x 64 cells; ends with one JSON line. The parts are
timed alone to show what limits the speed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy import fft

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from skdiffuse.datasets import PrecipitationLaw, make_precipitation

N_FRAMES = 2000


def best_seconds(run, repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def main() -> dict:
    result = {"benchmark": "generator_speed", "threads": 1, "shape": [64, 64], "best_of": 5}
    for periodic in (True, False):
        seconds = best_seconds(
            lambda p=periodic: make_precipitation(N_FRAMES, periodic=p, random_state=0)
        )
        key = "periodic" if periodic else "cut_from_torus"
        result[f"frames_per_hour_{key}"] = round(3600 * N_FRAMES / seconds)
    law = PrecipitationLaw()
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(law.torus, dtype=np.float32)
    waves = fft.rfft2(noise)
    parts = {
        "noise": lambda: rng.standard_normal(law.torus, dtype=np.float32),
        "forward_fft": lambda: fft.rfft2(noise),
        "inverse_fft": lambda: fft.irfft2(waves, s=law.torus),
        "marginal": lambda: law.from_latent(noise[:64, :64]),
    }
    for name, run in parts.items():
        each = best_seconds(lambda r=run: [r() for _ in range(200)]) / 200
        result[f"microseconds_{name}"] = round(1e6 * each, 1)
    return result


if __name__ == "__main__":
    print(json.dumps(main()))
