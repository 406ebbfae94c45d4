"""How many plain sequences are 500 weighted ones worth?

    python benchmarks/rare_events.py [--quick]

Rain of known law is cut into 38,400 windows of 4 frames of 16 x 16 cells, which stand for a model
without error: what is estimated from a few of them is compared with the value of all. Windows are
told apart as a model does it (`WeatherClasses`, twelve classes by mean rain, each in three by
unevenness). Weighted sequences are drawn as `PrecipDiffusion.sample(500, rare=...)` draws them:
classes by `WeatherLaw.draw`, then any window of the class. Quantiles are read off weighted counts
in fine bins, as a scorecard does it. Plain sequences are any windows, 500 to 32,000 of
them. Errors are root mean squares over 200 repetitions, of the logarithm for quantiles and relative
otherwise; a number of plain sequences is equivalent where its error, which is interpolated between
the numbers tried, is that of 500 weighted ones.

--quick repeats 30 times and stores nothing; else the result is stored in
benchmarks/results/rare_events.json and drawn beside it.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from matplotlib.figure import Figure

from skdiffuse import metrics
from skdiffuse.datasets import PrecipitationLaw, make_precipitation
from skdiffuse.estimator.weather import WeatherLaw
from skdiffuse.metrics.quantiles import fine_counts, quantiles_of_counts
from skdiffuse.networks.mixture_fitting import WeatherClasses, describe

RESULTS = Path(__file__).parent / "results" / "rare_events.json"
N_SEEDS, N_FRAMES, SIDE = 40, 4, 16
N = 500
LEVELS = np.array([0.9, 0.99, 0.999, 0.9999, 0.99999])
PLAIN = (500, 1000, 2000, 4000, 8000, 16_000, 32_000)
RARE = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
NAMES = (*(f"quantile {level:g}" for level in LEVELS), "mean", "wet fraction")


def windows():
    """Windows side by side of several series, shape (n, frames, y, x)."""
    parts = []
    for seed in range(N_SEEDS):
        rain = make_precipitation(240, (64, 64), random_state=seed).values
        cut = rain.reshape(-1, N_FRAMES, 64 // SIDE, SIDE, 64 // SIDE, SIDE)
        parts.append(cut.transpose(0, 2, 4, 1, 3, 5).reshape(-1, N_FRAMES, SIDE, SIDE))
    return np.concatenate(parts)


def table_of(pool):
    """What each window adds: fine counts of its rain rates, its rain and its wet cells."""
    counts = np.array([fine_counts(X) for X in pool], dtype=np.float32)
    rain = pool.sum(axis=(1, 2, 3), dtype=np.float64)
    wet = np.count_nonzero(pool >= np.float32(0.1), axis=(1, 2, 3))
    return counts, rain, wet


def statistics(table, times):
    """Logarithm of the quantiles, mean and wet fraction of windows that count so many times."""
    used = np.flatnonzero(times)
    counts, rain, wet = (part[used] for part in table)
    times = times[used]
    total = times @ counts
    cells = total.sum()
    return np.array(
        [*np.log(quantiles_of_counts(total, LEVELS)), times @ rain / cells, times @ wet / cells]
    )


def errors(found, truth):
    """Root mean square errors, and their standard errors over repetitions, each of NAMES."""
    scale = np.where(np.arange(len(NAMES)) < len(LEVELS), 1.0, truth)
    squares = ((np.array(found) - truth) / scale) ** 2
    size = np.sqrt(squares.mean(axis=0))
    return size, squares.std(axis=0, ddof=1) / np.sqrt(len(squares)) / (2 * size)


def equivalent(error, plain):
    """Number of plain sequences with an error, by logarithms; beyond those tried as 1/sqrt(n)."""
    sizes, n = np.array([plain[n][-3] for n in PLAIN]), np.array(PLAIN)
    if error < sizes[-1]:
        return float(n[-1] * (sizes[-1] / error) ** 2)
    if error > sizes[0]:
        return float(n[0] * (sizes[0] / error) ** 2)
    # Errors fall with n, but for chance.
    falling = np.minimum.accumulate(sizes)
    return float(np.exp(np.interp(-np.log(error), -np.log(falling), np.log(n))))


def draw(path, result):
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    n = [int(k) for k in result["plain"]]
    sizes = [result["plain"][str(k)]["quantile 0.99999"] for k in n]
    left.plot(n, [s["rmse"] for s in sizes], "o-", color="black", label="plain sequences")
    left.fill_between(
        n, [s["rmse"] - 2 * s["error"] for s in sizes], [s["rmse"] + 2 * s["error"] for s in sizes],
        color="black", alpha=0.15, lw=0,
    )  # fmt: skip
    colours = dict(zip(RARE, ("#999999", "#56B4E9", "#0072B2", "#009E73", "#D55E00", "#CC79A7"),
                       strict=True))  # fmt: skip
    levels = 1 - LEVELS
    base = result["plain"][str(N)]
    for rare in RARE:
        own = result["weighted"][f"{rare:g}"]
        label = "stratified only" if rare == 0 else f"rare={rare:g}"
        one = own["quantile 0.99999"]
        left.errorbar(
            N, one["rmse"], 2 * one["error"], fmt="s", ms=6, color=colours[rare], label=label,
        )  # fmt: skip
        left.plot([N, one["equivalent"]], [one["rmse"]] * 2, ":", lw=1.2, color=colours[rare])
        ratio = [own[name]["rmse"] / base[name]["rmse"] for name in NAMES[: len(LEVELS)]]
        right.plot(levels, ratio, "o-", color=colours[rare], label=label)
    left.set(xscale="log", yscale="log", xlabel="sequences", ylabel="error of the logarithm (rms)")
    left.set_title("Quantile 1 - 1e-5", loc="left", fontsize="medium")
    left.set_xticks(n, [f"{k:,}" for k in n], rotation=30)
    left.set_yticks([0.03, 0.05, 0.1, 0.2], ["3 %", "5 %", "10 %", "20 %"])
    left.minorticks_off()
    right.axhline(1, color="black", lw=1)
    right.set(
        xscale="log", yscale="log", xlabel="share of cells beyond the quantile",
        ylabel="error, weighted over plain",
    )  # fmt: skip
    right.invert_xaxis()
    right.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    right.minorticks_off()
    right.set_title(f"{N} weighted sequences beside {N} plain ones", loc="left", fontsize="medium")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, color="#E6E6E6", lw=0.7)
    left.legend(frameon=False, fontsize="small")  # the colours of both
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="30 repetitions, nothing stored")
    repetitions = 30 if parser.parse_args().quick else 200
    start = time.process_time()
    pool = windows()
    mean, unevenness = describe(torch.from_numpy(pool))
    classes = WeatherClasses.fit(mean, unevenness, torch.ones(len(pool)), n_classes=12, n_parts=3)
    number = classes.of(mean, unevenness).numpy()
    law = WeatherLaw(classes, torch.from_numpy(np.bincount(number) / len(number)))
    members = [np.flatnonzero(number == j) for j in range(number.max() + 1)]
    table = table_of(pool)
    truth = statistics(table, np.ones(len(pool)))
    exact = PrecipitationLaw().quantile(LEVELS)
    print(f"{len(pool)} windows in {np.unique(number).size} classes")

    plain = {}
    for n in PLAIN:
        rng = np.random.default_rng(n)
        found = []
        for _ in range(repetitions):
            chosen = rng.integers(len(pool), size=n)
            found.append(statistics(table, np.bincount(chosen, minlength=len(pool)).astype(float)))
        plain[n] = errors(found, truth)[0]
        plain[n, "error"] = errors(found, truth)[1]
        print(f"plain {n:6d}", plain[n].round(4), flush=True)
    weighted, n_eff = {}, {}
    for rare in RARE:
        rng, found, sizes = np.random.default_rng(1), [], []
        for r in range(repetitions):
            drawn, weights = (v.numpy() for v in law.draw(seed=r, first=0, n=N, rare=rare))
            chosen = np.array([rng.choice(members[j]) for j in drawn])
            found.append(statistics(table, np.bincount(chosen, weights, minlength=len(pool))))
            sizes.append(metrics.effective_sample_size(weights))
        weighted[rare] = errors(found, truth)
        n_eff[rare] = float(np.mean(sizes))
        print(f"rare={rare}", weighted[rare][0].round(4), f"n_eff {n_eff[rare]:.0f}", flush=True)

    def entry(size, error, more=None):
        return {
            name: {
                "rmse": round(float(s), 5),
                "error": round(float(e), 5),
                **(more or {}).get(name, {}),
            }
            for name, s, e in zip(NAMES, size, error, strict=True)
        }

    top = f"quantile {LEVELS[-1]:g}"
    result = {
        "windows": len(pool),
        "repetitions": repetitions,
        "truth": dict(
            zip(NAMES, [*np.exp(truth[:-2]).round(3), *truth[-2:].round(4)], strict=True)
        ),
        "exact_quantiles_of_the_law": exact.round(3).tolist(),
        "plain": {str(n): entry(plain[n], plain[n, "error"]) for n in PLAIN},
        "weighted": {
            f"{rare:g}": entry(
                *weighted[rare],
                {top: {"equivalent": round(equivalent(weighted[rare][0][-3], plain))}},
            )
            | {"n_eff": round(n_eff[rare], 1)}
            for rare in RARE
        },
        "cpu_s": round(time.process_time() - start, 1),
    }
    best = min(RARE, key=lambda rare: weighted[rare][0][-3])
    own = result["weighted"][f"{best:g}"]
    summary = {
        "best_rare": best,
        "rmse_500_weighted": own[top]["rmse"],
        "rmse_500_plain": result["plain"][str(N)][top]["rmse"],
        "ratio": round(result["plain"][str(N)][top]["rmse"] / own[top]["rmse"], 2),
        "equivalent_plain_sequences": own[top]["equivalent"],
        "n_eff": own["n_eff"],
    }
    result["summary"] = summary
    if repetitions == 200:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
        draw(RESULTS.with_suffix(".png"), result)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
