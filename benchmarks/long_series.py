"""Long free series of a stored model: as much rain as it learnt, and no seams?

    python benchmarks/long_series.py skdiffuse/hourly_4km_small --data mrms

`simulate` in each of its modes beside the learnt rain: ratios of the mean and the wet share, with
intervals from resampled stretches of 50 frames, and the mean absolute change from one frame to the
next where windows meet over that elsewhere. Series are drawn two by two, each pair with a seed of
its own, and the JSON is written after each: a run that is ended early leaves what it has. Modes
that are not asked for stay in the file if they were of as many frames and steps.

Some hundred hours of one place are too few to tell a mean by: with weather drawn by its exact law
that of one series of 500 hours is still off by .85 of itself (``drawn_weather`` says by how much
these are). ``given_weather`` compares with what the classes that were drawn have in the learnt
rain, frame by frame, which leaves that chance out. A model that was kept without a chain of weather
learns one first.
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
from skdiffuse.diffusion import window_starts
from skdiffuse.runtime.seeds import integer_seed

WET = 0.1
STRETCH = 50
SERIES_AT_A_TIME = 2


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


def classes_along(
    model: PrecipDiffusion, rain: np.ndarray, overlap: int, mode: str, seed: int
) -> tuple[np.ndarray, list[int]]:
    """Classes of weather that were drawn for the windows of series, and where these begin."""
    n_frames, length = model.n_frames, rain.shape[1]
    starts = range(0, length, n_frames - overlap)
    if mode != "autoregressive":
        starts = window_starts(length, n_frames, overlap)
    drawn = model.model_.weathers.along(integer_seed(seed), len(rain), starts)
    return np.stack([each.classes.numpy() for each in drawn], axis=1), list(starts)


def given_weather(
    rain: np.ndarray, classes: np.ndarray, starts: list[int], n_frames: int, of_class: np.ndarray
) -> tuple[list[list[float]], list[float]]:
    """Ratios to what is expected of the classes drawn, with intervals, and of that to all.

    `of_class` holds mean and wet share of each class. What a frame is expected to have is the mean
    over the windows that it lies in.
    """
    expected = np.zeros((2, *rain.shape[:2]))
    count = np.zeros(rain.shape[1])
    for column, start in zip(classes.T, starts, strict=True):
        part = slice(start, start + n_frames)
        length = len(count[part])
        expected[:, :, part] += of_class[column].T[:, :, None].repeat(length, 2)
        count[part] += 1
    expected = (expected / count)[..., None, None]
    found = of_stretches(rain)
    wanted = np.stack([of_stretches(each)[:, 0] for each in expected], 1)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(1000):
        chosen = rng.integers(len(found), size=len(found))
        drawn.append(found[chosen].sum(0) / wanted[chosen].sum(0))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    ratios = np.stack([found.sum(0) / wanted.sum(0), low, high], 1).round(3).tolist()
    return ratios, wanted.mean(0).tolist()


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
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = PrecipDiffusion.load(arguments.model).set_params(device=arguments.device, verbose=False)
    learnt, _, _ = rain_of(arguments.data, arguments.folder)
    trial = Trial(learnt, learnt, model.field_shape_[0], 0, n_frames=model.n_frames)
    windows = np.concatenate([w for w, _ in windows_of(learnt, trial, 4096, n_candidates=1)])
    real = np.stack([windows.mean((1, 2, 3)), (windows > WET).mean((1, 2, 3))], 1)
    if model.model_.weathers.chain is None:
        model.fit_weather_chain(learnt)
    classes = model.model_.weathers.classes(torch.from_numpy(windows)).numpy()
    of_class = np.stack([real[classes == k].mean(0) for k in range(classes.max() + 1)])
    path = HERE / "results" / f"long_series_{Path(arguments.model).stem}.json"
    facts = {"frames": arguments.frames, "sampler_steps": arguments.steps}
    before = json.loads(path.read_text()) if path.exists() else {}
    same = all(before.get(name) == value for name, value in facts.items())
    found = facts | {"modes": before["modes"] if same else {}}
    overlap = model.n_frames // 2
    for asked in arguments.modes:
        mode, n = asked.split(":")
        start = time.process_time()
        series, drawn, starts = [], [], []
        for seed in range(int(n) // SERIES_AT_A_TIME):
            pair = model.simulate(
                arguments.frames, n_samples=SERIES_AT_A_TIME, mode=mode, n_steps=arguments.steps,
                random_state=seed,
            )  # fmt: skip
            series.append(np.asarray(pair))
            classes, starts = classes_along(model, series[-1], overlap, mode, seed)
            drawn.append(classes)
            rain = np.concatenate(series)
            mean, wet = interval(of_stretches(rain), real)
            given, expected = given_weather(
                rain, np.concatenate(drawn), starts, model.n_frames, of_class
            )
            found["modes"][mode] = {
                "series": len(rain),
                "mean": mean,
                "wet_share": wet,
                "given_weather": dict(zip(("mean", "wet_share"), given, strict=True)),
                "drawn_weather": dict(
                    zip(
                        ("mean", "wet_share"),
                        (expected / real.mean(0)).round(3).tolist(),
                        strict=True,
                    )
                ),
                "border_over_inside": seam(rain, model.n_frames, overlap),
                "cpu_seconds": round(time.process_time() - start, 1),
            }
            print(mode, json.dumps(found["modes"][mode]), flush=True)
            path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
