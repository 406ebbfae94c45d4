"""Forecasts and downscaling that are told a driver, beside the same models without it.

    python benchmarks/drivers.py --steps 300

Two cases in which the driver is known to carry information:

- ``forecast``: hourly AROME rain. Told is what it had an hour before each frame, also of frames
  that are to come: a numerical forecast that is an hour late. Two frames from the two before;
  learnt on the south-east of France, asked about the north-west, of the same day.
- ``downscale``: made-up rain, multiplied by ``exp(0.7 h)`` of a made-up height h, and told that
  height. Four times finer; asked about land that was not learnt.

Models are alike in all but the driver: same seed, steps and windows. Scores are the fair CRPS in
mm/h, over cases that no model saw, with intervals of their differences by the bootstrap of cases.
The driver's model is also asked without it, as where none is at hand. Results are written when all
is done; the last line is JSON.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from skdiffuse import PrecipDiffusion
from skdiffuse.cubes import open_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.metrics import crps_ensemble

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("SKDIFFUSE_TEST_DATA", HERE.parents[1] / "shared/data"))
CROP, PAST, HORIZON, FACTOR = 32, 2, 2, 4


def late_forecast(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rain of hours, and what the hour before each had, from the second hour on."""
    rain = open_cube(FOLDER / f"arome_fc_{name}_2p5km_1h_20180501.nc").load().values
    return rain[1:], rain[:-1]


def land(shape: tuple[int, int], n_frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rain over hills, and their height for each frame."""
    rain = make_precipitation(n_frames, shape, correlation_length=8.0, random_state=seed).values
    rng = np.random.default_rng(seed)
    waves = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    # Hills some three to six cells wide, finer than what the coarse grid tells.
    noise = np.fft.fft2(rng.normal(size=shape)) * np.exp(-((waves / 0.16) ** 2))
    height = np.fft.ifft2(noise).real
    height = (height - height.mean()) / height.std()
    return rain * np.exp(0.7 * height), np.broadcast_to(height, rain.shape).copy()


def fitted(rain: np.ndarray, driver: np.ndarray | None, arguments) -> PrecipDiffusion:
    model = PrecipDiffusion(
        n_frames=PAST + HORIZON,
        crop_size=CROP,
        max_steps=arguments.steps,
        random_state=0,
        device=arguments.device,
        verbose=False,
    )
    model.set_params(sampler__n_steps=arguments.sampler_steps, network__geography=False)
    return model.fit(rain.astype(np.float32), driver)


def cases_of(rain: np.ndarray, driver: np.ndarray, n: int, seed: int = 0) -> list[tuple]:
    """Wet windows side by side, of rain and driver."""
    found = []
    length = PAST + HORIZON
    for t in range(0, len(rain) - length + 1, length):
        for i in range(0, rain.shape[1] - CROP + 1, CROP):
            for j in range(0, rain.shape[2] - CROP + 1, CROP):
                part = (slice(t, t + length), slice(i, i + CROP), slice(j, j + CROP))
                if np.isfinite(rain[part]).all() and (rain[part][:PAST] >= 0.1).mean() > 0.1:
                    found.append((rain[part].astype(np.float32), driver[part].astype(np.float32)))
    order = np.random.default_rng(seed).permutation(len(found))[:n]
    return [found[k] for k in sorted(order)]


def ask(task: str, model: PrecipDiffusion, window: np.ndarray, options: dict, arguments) -> float:
    """CRPS of one case."""
    if task == "forecast":
        members = model.forecast(
            window[:PAST], HORIZON, n_members=arguments.members, random_state=1, **options
        )
        return float(crps_ensemble(window[PAST:], members))
    rows = window.shape[1] // FACTOR
    coarse = window.reshape(len(window), rows, FACTOR, rows, FACTOR).mean((2, 4))
    members = model.downscale(
        coarse, FACTOR, n_samples=arguments.members, random_state=1, **options
    )
    return float(crps_ensemble(window, members))


def gain(without: np.ndarray, told: np.ndarray, seed: int = 0) -> list[float]:
    """Mean difference and its 95 % interval over cases."""
    rng = np.random.default_rng(seed)
    difference = without - told
    draws = difference[rng.integers(difference.size, size=(2000, difference.size))].mean(1)
    return [round(float(v), 4) for v in (difference.mean(), *np.quantile(draws, [0.025, 0.975]))]


def run(task: str, arguments) -> dict:
    if task == "forecast":
        learnt, asked = late_forecast("SE"), late_forecast("NW")
    else:
        learnt, asked = land((96, 96), 240, 0), land((96, 96), 80, 1)
    start = time.monotonic()
    told, without = (fitted(learnt[0], y, arguments) for y in (learnt[1], None))
    seconds = time.monotonic() - start
    scores: dict[str, list[float]] = {"told": [], "told nothing": [], "without": []}
    for window, driver in cases_of(*asked, arguments.cases):
        scores["told"].append(ask(task, told, window, {"y": driver}, arguments))
        scores["told nothing"].append(ask(task, told, window, {}, arguments))
        scores["without"].append(ask(task, without, window, {}, arguments))
    arrays = {name: np.array(values) for name, values in scores.items()}
    return {
        "n_cases": len(scores["told"]),
        "training_seconds": round(seconds),
        "crps": {name: round(float(values.mean()), 4) for name, values in arrays.items()},
        "gain over the model without": gain(arrays["without"], arrays["told"]),
        "gain over being told nothing": gain(arrays["told nothing"], arrays["told"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="*", default=["forecast", "downscale"])
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--sampler-steps", type=int, default=12)
    parser.add_argument("--members", type=int, default=6)
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=HERE / "results/drivers.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = {k: v for k, v in vars(arguments).items() if k not in ("tasks", "out")}
    found = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for task in arguments.tasks:
        found[task] = {**settings, **run(task, arguments)}
        print(task, found[task], flush=True)
        arguments.out.write_text(json.dumps(found) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
