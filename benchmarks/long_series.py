"""Long free series of a stored model: as much rain as it learnt, and no seams?

    python benchmarks/long_series.py skdiffuse/hourly_4km_small --data mrms

`simulate` in each of its modes beside the learnt rain: ratios of the mean and the wet share, with
intervals from resampled stretches of 50 frames, and the mean absolute change from one frame to the
next where windows meet over that elsewhere. Written as JSON after each mode.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from fidelity import FOLDER, HERE, Trial, rain_of, windows_of

from skdiffuse import PrecipDiffusion

WET = 0.1
STRETCH = 50


def of_stretches(rain: np.ndarray) -> np.ndarray:
    """Mean and wet share of each stretch."""
    parts = [p for series in rain for p in np.split(series, range(STRETCH, len(series), STRETCH))]
    return np.array([[p.mean(), (p > WET).mean()] for p in parts])


def interval(stretches: np.ndarray, real: np.ndarray, seed: int = 0) -> list[list[float]]:
    """Ratio to real windows with 95 % intervals, for the mean and for the wet share."""
    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [
            stretches[rng.integers(len(stretches), size=len(stretches))].mean(0)
            / real[rng.integers(len(real), size=len(real))].mean(0)
            for _ in range(1000)
        ]
    )
    value = stretches.mean(0) / real.mean(0)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return np.stack([value, low, high], 1).round(3).tolist()


def seam(rain: np.ndarray, n_frames: int, overlap: int, seed: int = 0) -> list[float]:
    """Change at the first new frame of each window over that at the others, with its interval."""
    change = np.abs(np.diff(rain, axis=1)).mean((2, 3))
    step = n_frames - overlap
    at = np.arange(change.shape[1]) + 1
    border = (at >= n_frames) & ((at - n_frames) % step == 0)
    rng = np.random.default_rng(seed)
    blocks = np.array_split(np.arange(change.shape[1]), max(1, change.shape[1] // STRETCH))
    pieces = [(series[b][border[b]], series[b][~border[b]]) for series in change for b in blocks]

    def ratio(chosen: list) -> float:
        return float(
            np.concatenate([p[0] for p in chosen]).mean()
            / np.concatenate([p[1] for p in chosen]).mean()
        )

    drawn = [
        ratio([pieces[i] for i in rng.integers(len(pieces), size=len(pieces))]) for _ in range(500)
    ]
    return [round(v, 3) for v in (ratio(pieces), *np.quantile(drawn, [0.025, 0.975]))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a file or a name")
    parser.add_argument("--data", default="mrms", help="as of fidelity.py: what it learnt")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--modes", nargs="+", default=["composed:4", "autoregressive:2"])
    parser.add_argument("--steps", type=int, default=16, help="of the sampler")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = PrecipDiffusion.load(arguments.model).set_params(device="cpu", verbose=False)
    learnt, _, _ = rain_of(arguments.data, arguments.folder)
    trial = Trial(learnt, learnt, model.field_shape_[0], 0, n_frames=model.n_frames)
    windows = np.concatenate([w for w, _ in windows_of(learnt, trial, 4096, n_candidates=1)])
    real = np.stack([windows.mean((1, 2, 3)), (windows > WET).mean((1, 2, 3))], 1)
    path = HERE / "results" / f"long_series_{Path(arguments.model).stem}.json"
    found = {"frames": arguments.frames, "sampler_steps": arguments.steps, "modes": {}}
    for asked in arguments.modes:
        mode, n = asked.split(":")
        start = time.process_time()
        rain = np.asarray(
            model.simulate(
                arguments.frames, n_samples=int(n), mode=mode, n_steps=arguments.steps,
                random_state=0,
            )
        )  # fmt: skip
        mean, wet = interval(of_stretches(rain), real)
        row = {
            "series": int(n),
            "mean": mean,
            "wet_share": wet,
            "border_over_inside": seam(rain, model.n_frames, model.n_frames // 2),
            "cpu_seconds": round(time.process_time() - start, 1),
        }
        found["modes"][mode] = row
        print(mode, json.dumps(row), flush=True)
        path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
