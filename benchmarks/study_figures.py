"""Pictures of the study, from stored results: what is ablated, and what sampling costs.

python benchmarks/study_figures.py    # docs/images/study_ablation.png and study_sampling.png
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

HERE = Path(__file__).parent
IMAGES = HERE.parents[0] / "docs" / "images"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"
BANDS = ("1", "2-3", "4-8")
SOLVERS = {"adams": BLUE, "exponential": ORANGE, "heun": GREY}


def stored(name: str) -> dict:
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def ablation() -> None:
    """Each variant's power and high quantiles beside those of real rain, by kind of rain."""
    found = stored("controlled")["rows"]
    rows = [row for row in found if row["study"] == "ablation"]
    kinds = [kind for kind in ("synthetic", "mrms", "era5") if any(r["data"] == kind for r in rows)]
    titles = {"synthetic": "Rain of known law", "mrms": "Hourly radar, MRMS", "era5": "ERA5"}
    names = list(dict.fromkeys(row["variant"] for row in rows))[::-1]
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(4.2 * len(kinds) + 2, 6.2), sharey=True, layout="constrained"
    )
    for axis, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        few = [
            row for row in found
            if row["data"] == kind and row["variant"] == "as many learnt windows"
        ]  # fmt: skip
        chance = [value(row) for row in few for value in (power, quantile)]
        axis.axvspan(min(chance), max(chance), color="0.92", lw=0)
        axis.axvline(1.0, color="0.4", lw=1)
        for place, name in enumerate(names):
            mine = [row for row in rows if row["variant"] == name and row["data"] == kind]
            for shift, colour, value in ((0.15, BLUE, power), (-0.15, ORANGE, quantile)):
                at = [place + shift] * len(mine)
                axis.plot(list(map(value, mine)), at, "o", color=colour, ms=5, alpha=0.8)
        axis.set_xscale("log")
        axis.set(xlim=(0.2, 30), xlabel="generated / real")
        axis.set_xticks([0.2, 0.5, 1, 2, 5, 10, 20], ["0.2", "0.5", "1", "2", "5", "10", "20"])
        axis.xaxis.set_minor_locator(plt.NullLocator())
        axis.set_yticks(range(len(names)), names)
        axis.set_title(titles[kind], loc="left", fontsize="medium")
        axis.grid(axis="y", color="0.9")
    for colour, label in (
        (BLUE, "power (geometric mean of scales)"),
        (ORANGE, "quantile 1 - 1e-4"),
    ):
        np.atleast_1d(axes)[0].plot([], [], "o", color=colour, ms=5, label=label)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(IMAGES / "study_ablation.png", dpi=80)


def power(row: dict) -> float:
    return float(np.exp(np.mean([np.log(row["power"][band]) for band in BANDS])))


def quantile(row: dict) -> float:
    return row["quantiles"][2]


def sampling() -> None:
    """What is left of power, and how far fields are off, by evaluations of the network."""
    models = stored("sampling_cost")
    figure, axes = plt.subplots(
        2, len(models), figsize=(4.6 * len(models), 5.6), sharex=True, squeeze=False,
        sharey="row", layout="constrained",
    )  # fmt: skip
    for (name, found), (upper, lower) in zip(models.items(), axes.T, strict=True):
        upper.axhspan(0.98, 1.02, color="0.9", lw=0)
        for solver, colour in SOLVERS.items():
            rows = [row for row in found["rows"] if row["solver"] == solver and "ratios" in row]
            rows.sort(key=lambda row: row["evaluations"])
            n = [row["evaluations"] for row in rows]
            ratios = [[v[0] for k, v in row["ratios"].items() if k.startswith("power")]
                      for row in rows]  # fmt: skip
            upper.plot(n, np.exp(np.mean(np.log(ratios), axis=1)), ".-", color=colour, label=solver)
            upper.fill_between(n, np.min(ratios, 1), np.max(ratios, 1), color=colour, alpha=0.15)
            lower.plot(n, [row["distance"] for row in rows], ".-", color=colour)
        upper.set_title(name.removeprefix("skdiffuse/"), loc="left", fontsize="medium")
        upper.set(ylim=(0.3, 2.0), yscale="log")
        upper.set_yticks([0.5, 1, 2], ["0.5", "1", "2"])
        upper.yaxis.set_minor_locator(plt.NullLocator())
        lower.set(xscale="log", yscale="log", xlabel="evaluations of the network")
        lower.set_xticks([4, 8, 16, 32, 64], ["4", "8", "16", "32", "64"])
        lower.xaxis.set_minor_locator(plt.NullLocator())
    axes[0, 0].set_ylabel("power / that of 128 steps")
    axes[1, 0].set_ylabel("distance from 128 steps\n(standard deviations)")
    axes[0, 0].legend(frameon=False)
    figure.savefig(IMAGES / "study_sampling.png", dpi=80)


if __name__ == "__main__":
    ablation()
    sampling()
