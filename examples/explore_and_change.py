"""Look around in a nowcast, and see what changes between two periods.

Writes ``explore.html``, a page with a slider for time, a choice of member and the series of the
cell that is clicked on, and ``storms_and_change.png``: which storms of a forecast are found again,
what the forecast is worth to whom, the parts of its CRPS, and how extremes change. Made-up rain
alone, so that everybody gets the same; under a minute on one core.

    python examples/explore_and_change.py [FOLDER]
"""

import argparse
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from skdiffuse import metrics, plotting
from skdiffuse.baselines import Persistence
from skdiffuse.datasets import make_precipitation

SHAPE, PAST, AHEAD = (48, 48), 4, 6


def draw_objects(ax, obs, sim):
    """Outlines of storms: those that match in one colour, the others in grey."""
    match = metrics.match_objects(obs, sim, threshold=0.5)
    pairs = match.pairs
    ax.imshow(obs, cmap=plotting.rain_colormap(), norm=plotting.rain_norm(), origin="lower")
    groups = ((match.observed, 0, "-"), (match.simulated, 1, "--"))
    for objects, side, line in groups:
        for number, one in enumerate(objects):
            mask = np.zeros(SHAPE)
            mask[tuple(one.cells.T)] = 1
            found = any(pair[side] == number for pair in pairs)
            colour = "#d55e00" if found else "#777777"
            ax.contour(mask, [0.5], colors=colour, linestyles=line, linewidths=1.6)
    ax.set(xticks=[], yticks=[])
    ax.set_title(
        f"Storms: {match.hits} found, {match.misses} missed, {match.false_alarms} false",
        fontsize="medium",
    )
    ax.set_xlabel("solid: seen, dashed: forecast; orange: matched", fontsize="small")


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    series = make_precipitation(300, SHAPE, correlation_length=6.0, random_state=1)
    starts = range(0, 300 - PAST - AHEAD, PAST + AHEAD)
    past = np.stack([series.values[s : s + PAST] for s in starts])
    truth = np.stack([series.values[s + PAST : s + PAST + AHEAD] for s in starts])
    # Persistence that does not know quite where and how much: a stand-in for any ensemble.
    rng = np.random.default_rng(0)
    still = np.asarray(Persistence().fit(series).forecast(past, AHEAD))[0]
    members = [
        np.roll(still, rng.integers(-4, 5, size=2), axis=(-2, -1))
        * rng.gamma(4.0, 0.25, size=(len(still), 1, 1, 1))
        for _ in range(12)
    ]
    ensemble = np.stack(members)

    case = int(truth.mean(axis=(1, 2, 3)).argmax())
    place = {"y": series.y, "x": series.x}
    dims = ("realization", "time", "y", "x")
    plotting.explore(
        {
            "came true": xr.DataArray(truth[case], place, dims[1:]),
            "forecast": xr.DataArray(ensemble[:, case], place, dims),
        },
        out / "explore.html",
        title="The wettest case",
    )

    figure = Figure(figsize=(11, 8.2), layout="constrained")
    axes = figure.subplots(2, 2)
    draw_objects(axes[0, 0], truth[case, 0], ensemble[0, case, 0])

    for lead, colour in ((0, "#0072B2"), (2, "#D55E00"), (5, "#009E73")):
        value = metrics.economic_value(truth[:, lead], ensemble[:, :, lead], 1.0)
        axes[0, 1].plot(value.cost_loss, value.value, color=colour, label=f"lead {lead + 1}")
    axes[0, 1].set(xlabel="cost of protection / loss", ylabel="relative value", ylim=(0, 1))
    axes[0, 1].set_title("Worth of knowing about 1 mm/h", fontsize="medium")
    axes[0, 1].legend(frameon=False)

    parts = [metrics.crps_decomposition(truth[:, t], ensemble[:, :, t]) for t in range(AHEAD)]
    leads = np.arange(1, AHEAD + 1)
    potential = [p.potential for p in parts]
    axes[1, 0].bar(leads, potential, color="#0072B2", label="potential")
    reliability = [p.reliability for p in parts]
    axes[1, 0].bar(leads, reliability, bottom=potential, color="#E69F00", label="reliability")
    axes[1, 0].plot(leads, [p.uncertainty for p in parts], "k--", label="climate")
    axes[1, 0].set(xlabel="lead", ylabel="CRPS (mm/h)")
    axes[1, 0].set_title("What calibration could gain", fontsize="medium")
    axes[1, 0].legend(frameon=False, ncols=3, fontsize="small", loc="upper center")
    axes[1, 0].set_ylim(0, 1.25 * max(p.score for p in parts))

    before = make_precipitation(2000, (12, 12), correlation_length=2.0, random_state=2)
    after = 1.3 * make_precipitation(2000, (12, 12), correlation_length=2.0, random_state=3)
    changes = metrics.change_signal(before, after, block_length=24, n_resamples=200, random_state=0)
    for row, change in enumerate(reversed(changes)):
        axes[1, 1].plot([100 * change.low, 100 * change.high], [row, row], color="#0072B2", lw=3)
        axes[1, 1].plot(100 * change.change, row, "o", color="black")
    axes[1, 1].axvline(0, color="#999999", lw=1)
    axes[1, 1].axvline(30, color="#D55E00", lw=1, ls="--", label="true factor 1.3")
    axes[1, 1].set(xlabel="change (%)")
    axes[1, 1].set_yticks(range(len(changes)), [c.name for c in reversed(changes)])
    axes[1, 1].set_title("Change between two periods, 95 %", fontsize="medium")
    axes[1, 1].legend(frameon=False, fontsize="small", loc="upper right")
    axes[1, 1].set_ylim(-0.5, len(changes))
    figure.savefig(out / "storms_and_change.png", dpi=75)
    print(f"Look at {out}/explore.html and {out}/storms_and_change.png.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "out", type=Path, nargs="?", default=Path(), help="folder for the page and the picture"
    )
    main(parser.parse_args().out)
