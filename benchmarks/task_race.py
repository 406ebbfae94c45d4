"""One model, every conditional task but the nowcast, beside methods without learning.

The models of `weights.py` (64 x 64 cells, 10 frames) are asked, on rain that they were not trained
on, to fill in every other frame, blocked radar beams and a grid four times coarser, by each method
of conditioning; nowcasts are in `nowcast_race.py`. Scores are the fair CRPS (mm/h), the
probabilistic FSS (1 mm/h, 5 x 5 cells) and the share of power at fine scales, with 95 % intervals
from resampled sequences. The last line is JSON.

    python benchmarks/task_race.py hourly --json benchmarks/results/task_race_hourly.json

The results in ``task_race_mrms.json`` and ``task_race_fmi.json`` are those of smaller models (1.3
million weights, 32 x 32 cells, 8 frames, minutes of one core), by this script as it was then.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from nowcast_race import N_STEPS, RACES, loaded, windows
from scipy.interpolate import griddata
from scipy.ndimage import zoom

from skdiffuse.baselines import LinearInterpolation
from skdiffuse.metrics import bootstrap, crps_ensemble, fss, spatial_psd
from skdiffuse.training.known_cells import beam

HERE = Path(__file__).parent
CROP, FRAMES = 64, 10
WET_SHARE = 0.05
FACTOR = 4
WEIGHTS = (0, 1.0, 1e3, 1e6, 1e9)
METHODS = {
    "replacement": {},
    "pigdm": {},
    "reconstruction": {"n_iterations": 3},
    "moment_matching": {"n_iterations": 6},
    "amortised": {},
}


def held_out_cases(rain, n, seed=0):
    """Wet windows without missing values, side by side: (n, FRAMES, y, x)."""
    wet = [w for *_, w in windows(rain, CROP) if (w >= 0.1).mean() >= WET_SHARE]
    order = np.random.default_rng(seed).permutation(len(wet))[:n]
    return np.stack([wet[i] for i in order])


class Counted(torch.nn.Module):
    """A network that counts what it is asked for, in sequences."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.forwards = self.backwards = 0

    def forward(self, z, *args, **told):
        self.forwards += len(z)
        v = self.network(z, *args, **told)
        if v.requires_grad:
            v.register_hook(self._back)
        return v

    def _back(self, gradient):
        self.backwards += len(gradient)


def fine(rain):
    """Power of waves shorter than four cells."""
    return np.asarray(spatial_psd(rain).P)[CROP // 4 : CROP // 2 + 1].sum()


def scores(truth, members, cells=None):
    """CRPS per frame and in all, FSS, fine-scale power; each with the interval over sequences."""
    members = np.asarray(members, dtype=np.float64)
    fair = len(members) > 1
    error = crps_ensemble(truth, members, fair=fair, average=False)
    if cells is not None:
        error = np.where(cells, error, np.nan)
    per_case = np.nanmean(error, axis=(1, 2, 3))
    frames = np.nanmean(error, axis=(0, 2, 3))

    def mean(obs, sim):
        return float(np.mean(sim))

    def skill(obs, sim):
        return float(fss(obs, np.moveaxis(sim, 1, 0), thresholds=1.0, scales=5, member_axis=0))

    def fine_power(obs, sim):
        sim = sim.reshape(-1, *sim.shape[2:])
        found, wanted = (fine(x) for x in (sim, obs))
        return float(found / wanted)

    by_case = np.moveaxis(members, 1, 0)
    result = {"crps_per_frame": frames.round(4).tolist()}
    for name, metric, sim in (
        ("crps", mean, per_case),
        ("fss", skill, by_case),
        ("fine_power_ratio", fine_power, by_case),
    ):
        found = bootstrap(metric, truth, sim, paired=True, n_resamples=200, random_state=0)
        result[name] = [round(float(v), 4) for v in (found.value, found.low, found.high)]
    result["crps_cases"] = per_case.round(5).tolist()
    return result


def beams(shape, seed=0):
    """True where known: every sequence has three beams missing in all frames."""
    random = np.random.default_rng(seed)
    masks = []
    while len(masks) < shape[0]:
        known = np.all([beam(shape[1:], random) for _ in range(3)], axis=0)
        if 0.1 < 1 - known.mean() < 0.6:
            masks.append(known)
    return np.stack(masks)


def filled_in_space(rain, known):
    """Linear between known cells, frame by frame; the nearest outside their hull."""
    filled = rain.copy()
    for frame, mask in zip(
        filled.reshape(-1, CROP, CROP), known.reshape(-1, CROP, CROP), strict=True
    ):
        points, holes = np.argwhere(mask), np.argwhere(~mask)
        if len(points) and len(holes):
            linear = griddata(points, frame[mask], holes, "linear")
            nearest = griddata(points, frame[mask], holes, "nearest")
            frame[~mask] = np.where(np.isfinite(linear), linear, nearest)
    return filled


def tasks(truth, members, names):
    """For each task: truth, scored cells, what the model does, what the baselines do."""
    if "interpolation" in names:
        yield (
            "interpolation",
            truth[:, 1:-1:2],
            None,
            (lambda m, **o: m.interpolate(truth[:, :-1:2], n_samples=members, **o)[:, :, 1::2]),
            {
                "linear in time": lambda: LinearInterpolation().interpolate(truth[:, :-1:2])[
                    :, :, 1::2
                ]
            },
        )
    if "gaps" in names:
        known = beams(truth.shape)
        gappy = np.where(known, truth, np.nan)
        yield (
            "gaps",
            truth,
            ~known,
            (lambda m, **o: m.impute(gappy, n_samples=members, **o)),
            {"linear in space": lambda: filled_in_space(gappy, known)[None]},
        )
    if "downscaling" in names:
        coarse = truth.reshape(*truth.shape[:2], CROP // FACTOR, FACTOR, CROP // FACTOR, FACTOR)
        coarse = coarse.mean(axis=(-3, -1))
        yield (
            "downscaling",
            truth,
            None,
            (lambda m, **o: m.downscale(coarse, FACTOR, n_samples=members, **o)),
            {
                "as it is": lambda: coarse.repeat(FACTOR, -1).repeat(FACTOR, -2)[None],
                "linear in space": lambda: zoom(
                    coarse, (1, 1, FACTOR, FACTOR), order=1, grid_mode=True, mode="nearest"
                )[None],
            },
        )


def race(model, cases, n_members, methods, names):
    """Scores of every method and baseline of every task, and the fields of the first case."""
    counter = model.network_ = Counted(model.network_)
    results, pictures = {}, {}
    for task, truth, cells, ask, baselines in tasks(cases, n_members, names):
        results[task] = {}
        rows = {"observed": truth[0]}
        for name, answer in baselines.items():
            fields = np.asarray(answer())
            results[task][name] = scores(truth, fields, cells)
            rows[name] = fields[0, 0]
        for name in methods:
            if task == "downscaling" and name == "amortised":
                continue  # Means over blocks cannot be told to the network.
            counter.forwards = counter.backwards = 0
            start = time.process_time()
            fields = np.asarray(ask(model, method=name, random_state=1, **METHODS[name]))
            entry = scores(truth, fields, cells)
            n = n_members * len(truth)
            entry["forward_per_sequence"] = round(counter.forwards / n, 2)
            entry["backward_per_sequence"] = round(counter.backwards / n, 2)
            entry["cpu_seconds_per_sequence"] = round((time.process_time() - start) / n, 3)
            results[task][name] = entry
            rows[name] = fields[0, 0]
        for name, entry in results[task].items():
            print(task, name, entry["crps"], entry["fss"], entry["fine_power_ratio"], flush=True)
        pictures[task] = rows
    model.network_ = counter.network
    return results, pictures


def weights_of_reconstruction(model, cases, n_members=3):
    """Error of interpolated frames for weights from nothing to the plateau."""
    known = cases[:, : FRAMES - 1 : 2]
    withheld = cases[:, 1 : FRAMES - 1 : 2].astype(np.float64)
    result = {}
    for w_r in WEIGHTS:
        filled = model.interpolate(
            known, method="reconstruction", w_r=w_r, n_samples=n_members, random_state=2
        )
        between = np.asarray(filled)[:, :, 1::2].astype(np.float64)
        crps = crps_ensemble(withheld, between, average=False).mean(axis=(1, 2, 3))
        error = np.abs(between.mean(0) - withheld).mean(axis=(1, 2, 3))
        result[f"{w_r:g}"] = {
            "crps": round(float(crps.mean()), 4),
            "crps_cases": crps.round(4).tolist(),
            "mean_absolute_error_of_ensemble_mean": round(float(error.mean()), 4),
            "error_cases": error.round(4).tolist(),
            "finite": bool(np.isfinite(filled).all()),
        }
        print("w_r", w_r, result[f"{w_r:g}"], flush=True)
    return result


def long_runs(model, n_frames, n_samples, modes=("autoregressive", "composed")):
    """Drift along simulated series, and differences between frames at borders and inside."""
    result = {}
    for mode in modes:
        start = time.process_time()
        series = np.asarray(
            model.simulate(n_frames, n_samples=n_samples, mode=mode, random_state=3)
        ).astype(np.float64)
        seconds = time.process_time() - start
        length = n_frames // 10
        blocks = series[:, : 10 * length].reshape(n_samples, 10, length, CROP, CROP)
        power = np.array([[fine(b) for b in s] for s in blocks])
        measures = {
            "mean": blocks.mean(axis=(2, 3, 4)),
            "wet_fraction": (blocks >= 0.1).mean(axis=(2, 3, 4)),
            "log_fine_power": np.log(power + 1e-12),
        }
        position = np.linspace(-0.5, 0.5, 10)
        drift = {}
        for name, values in measures.items():
            slopes = (values * position).sum(1) / (position**2).sum()
            # Student's 95 % interval over series, which are independent.
            half = T_975[n_samples - 1] * slopes.std(ddof=1) / np.sqrt(n_samples)
            drift[name] = {
                "level": round(float(values.mean()), 4),
                "change_along_the_series": round(float(slopes.mean()), 4),
                "interval": [round(float(slopes.mean() + s * half), 4) for s in (-1, 1)],
            }
        change = np.abs(np.diff(series, axis=1)).mean(axis=(2, 3))
        border = (np.arange(1, n_frames) % (FRAMES // 2) == 0) & (np.arange(1, n_frames) >= FRAMES)
        ratios = change[:, border].mean(1) / change[:, FRAMES:][:, ~border[FRAMES:]].mean(1)
        half = T_975[n_samples - 1] * ratios.std(ddof=1) / np.sqrt(n_samples)
        result[mode] = {
            "n_frames": n_frames,
            "n_series": n_samples,
            "drift": drift,
            "border_to_inside_difference": round(float(ratios.mean()), 4),
            "border_interval": [round(float(ratios.mean() + s * half), 4) for s in (-1, 1)],
            "cpu_seconds": round(seconds, 1),
        }
        print(mode, json.dumps(result[mode]), flush=True)
    return result


T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}


def merged(before, now):
    """Results of a race that is run in parts."""
    return {key: {**before.get(key, {}), **now.get(key, {})} for key in [*before, *now]}


def draw(pictures, name):
    from skdiffuse.plotting import FramesDisplay

    for task, rows in pictures.items():
        display = FramesDisplay(rows).plot()
        path = HERE / "results" / f"task_race_{name}_{task}.png"
        display.figure_.savefig(path, dpi=60)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("race", choices=list(RACES), nargs="?", default="hourly")
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--tasks", nargs="*", default=["interpolation", "gaps", "downscaling"])
    parser.add_argument("--weights", action="store_true", help="only the weights of reconstruction")
    parser.add_argument("--series", type=int, metavar="FRAMES", help="only long runs")
    parser.add_argument("--modes", nargs="+", default=["autoregressive", "composed"])
    parser.add_argument("--json", type=Path, help="where to add the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = RACES[options.race]
    model = loaded(chosen).set_params(sampler__n_steps=N_STEPS)
    cases = held_out_cases(chosen.held_out[0].read(), options.cases)
    results = {
        "race": options.race,
        "n_sequences": len(cases),
        "n_members": options.members,
        "sampler_steps": N_STEPS,
        "threads": torch.get_num_threads(),
        "training_steps": model.n_iter_,
        "seeds": "cases 0, members 1",
    }
    if options.weights:
        results["w_r"] = weights_of_reconstruction(model, cases)
    elif options.series:
        results["simulate"] = long_runs(model, options.series, 4, options.modes)
    else:
        raced, pictures = race(model, cases, options.members, options.methods, options.tasks)
        results["tasks"] = raced
        draw(pictures, options.race)
    if options.json:
        before = json.loads(options.json.read_text()) if options.json.is_file() else {}
        for key in ("tasks", "simulate"):
            results[key] = merged(before.get(key, {}), results.get(key, {}))
        options.json.write_text(json.dumps({**before, **results}, indent=1) + "\n")
    print(json.dumps({k: v for k, v in results.items() if k not in ("tasks", "simulate")}))


if __name__ == "__main__":
    main()
