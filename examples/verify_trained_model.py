"""Train a small model for some minutes and evaluate it on hours it has never seen.

Reads hourly MRMS precipitation, trains on wet crops of the first 48 hours and evaluates against
wet crops of the last 24 hours: made-up rain beside smoothed and untouched training rain (the
second shows how far apart the two periods are), and nowcasts beside persistence and advection.
Writes ``report.html`` with ``report.json`` and ``report.csv``.

    python examples/verify_trained_model.py MRMS_FILE.nc out/report.html --minutes 3
"""

import argparse

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from skdiffuse import NetworkSettings, PrecipDiffusion, TrainingSettings, plotting
from skdiffuse.baselines import Advection, Persistence
from skdiffuse.cubes import open_cube
from skdiffuse.plotting.colours import model_colours

FRAMES, SIDE, PAST = 6, 32, 3


def wet_crops(rain, n, seed):
    """n random sequences of FRAMES x SIDE x SIDE without gaps and with 5 % of cells wet."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < n:
        t, y, x = (
            rng.integers(size - part + 1)
            for size, part in zip(rain.shape, (FRAMES, SIDE, SIDE), strict=True)
        )
        crop = rain[t : t + FRAMES, y : y + SIDE, x : x + SIDE]
        if np.isfinite(crop).all() and np.mean(crop >= 0.1) >= 0.05:
            found.append(crop)
    return np.array(found)


def draw_overview(path, held_out, everyone, truth, forecasts):
    """Six views in one picture."""
    figure = Figure(figsize=(13.5, 8.0), layout="constrained")
    axes = figure.subplots(2, 3)
    plotting.IntensityHistogramDisplay.from_samples(held_out, everyone, ax=axes[0, 0])
    plotting.QuantileQuantileDisplay.from_samples(held_out, everyone, ax=axes[0, 1])
    plotting.PowerSpectrumDisplay.from_samples(held_out, everyone, ax=axes[0, 2])
    plotting.LeadTimeDisplay.from_samples(truth, forecasts, unit="hours", ax=axes[1, 0])
    several = {name: ens for name, ens in forecasts.items() if len(ens) > 1}
    plotting.ReliabilityDisplay.from_samples(
        truth, several, threshold=1.0, colours=model_colours(forecasts), ax=axes[1, 1]
    )
    plotting.FSSDisplay.from_samples(truth, forecasts, cell_km=4, ax=axes[1, 2])
    titles = (
        "How often it rains how hard", "Quantiles out to the extremes", "Power by scale",
        "Nowcast: error by lead time", "Nowcast: probability of 1 mm/h", "Nowcast: skill by scale",
    )  # fmt: skip
    for ax, title in zip(axes.ravel(), titles, strict=True):
        ax.set_title("")
        ax.set_title(title, fontsize="medium", loc="left")
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("report")
    parser.add_argument("--minutes", type=float, default=3.0, help="training time")
    parser.add_argument("--cases", type=int, default=16, help="nowcasts to score")
    parser.add_argument("--picture", help="file for an overview of six views")
    args = parser.parse_args()
    rain = open_cube(args.file).values
    training = wet_crops(rain[:48], 400, seed=0)
    held_out = wet_crops(rain[48:], 80, seed=1)
    model = PrecipDiffusion(
        n_frames=FRAMES, network=NetworkSettings(geography=False),
        training=TrainingSettings(max_epochs=10**6), max_time=60 * args.minutes, random_state=0,
        verbose=False,
    ).fit(training)  # fmt: skip
    samples = model.sample(80, random_state=1)
    past, truth = held_out[: args.cases, :PAST], held_out[: args.cases, PAST:]
    horizon = FRAMES - PAST
    nowcasts = {"model": model.forecast(past, horizon, n_members=6, random_state=2)}
    others = {
        "persistence": Persistence().fit(training).forecast(past, horizon),
        "advection": Advection(random_state=0).fit(training).forecast(past, horizon, n_members=6),
    }
    simple = {
        "smoothed rain": gaussian_filter(training[:80], (0, 0, 1.0, 1.0)),
        "training rain": training[80:240],
    }
    card = {
        "training": "400 crops of 6 h x 32 x 32 cells (4 km), 20-21 September 2016",
        "held out": "80 crops of 22 September 2016, the same region; nowcasts of "
        f"{args.cases} of them, 3 h from 3 h",
        "minutes of training": args.minutes,
        "training steps": model.n_iter_,
        "parameters": str(model),
    }
    result = plotting.evaluation_report(
        held_out, {"model": samples}, args.report, baselines=simple, truth=truth,
        forecasts=nowcasts, forecast_baselines=others, cards={"model": card},
        title="A small model of hourly rain, on held-out hours",
    )  # fmt: skip
    if args.picture:
        draw_overview(
            args.picture, held_out, {"model": samples, **simple}, truth, {**nowcasts, **others}
        )
    for entry in result.entries:
        if entry.simulation == "model":
            p = f"p {entry.p_value:.3f}" if np.isfinite(entry.p_value) else ""
            print(f"{entry.score:32s} {entry.value:8.3f} {p:8s} {entry.versus}  {entry.reading}")


if __name__ == "__main__":
    main()
