"""The figure of `conditional_oracle.py`: error of mean and covariance against cost."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {
    "replacement": "#7a4a2a",
    "Ho, w = 1": "#e07a2f",
    "Ho, w = 3": "#b07d12",
    "PiGDM": "#12805c",
    "reconstruction, 1 iteration": "#5aa9e6",
    "reconstruction, 3 iterations": "#0b5fa5",
    "moment matching": "#8a4fbf",
}
TITLES = {
    "gaps": "Gaps: 3 of 6 cells known",
    "forecast": "Forecast: 5 of 10 frames known",
    "downscaling": "Downscaling: means of 2 x 2 cells",
}
ROWS = {"mean_relative": "error of the mean", "covariance": "relative error of the covariance"}


def draw(race, path):
    """Draw the errors of the samples of every problem in `race`."""
    fig, axes = plt.subplots(
        2, 3, figsize=(12, 6.6), sharex=True, sharey="row", layout="constrained"
    )
    for column, problem in zip(axes.T, TITLES, strict=True):
        for ax, quantity in zip(column, ROWS, strict=True):
            for method, colour in COLOURS.items():
                rows = [r for r in race if r["problem"] == problem and r["method"] == method]
                cost = [r["evaluations"] + r["vector_jacobian_products"] for r in rows]
                drawn = rows[0]["n_drawn"]
                ax.plot(
                    cost,
                    [r[quantity] for r in rows],
                    color=colour,
                    label=method + (f"\n({drawn} samples drawn)" if drawn else ""),
                    marker="o",
                    ms=3,
                    lw=1.8,
                )
            ax.set(xscale="log", yscale="log")
            ax.set_xticks([10, 30, 100, 300, 1000], [10, 30, 100, 300, 1000])
            ax.minorticks_off()
            ax.grid(axis="y", color="0.92")
            ax.spines[["top", "right"]].set_visible(False)
        column[0].set_title(TITLES[problem], fontsize=11, loc="left")
    for ax, label in zip(axes[:, 0], ROWS.values(), strict=True):
        ax.set_ylabel(label)
    fig.supxlabel("passes through the network, forward and backward", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    fig.savefig(path, dpi=110)
    plt.close(fig)


if __name__ == "__main__":
    results = Path(__file__).parent / "results"
    race = json.loads((results / "conditional_oracle.json").read_text())["race"]
    draw(race, results / "conditional_oracle.png")
