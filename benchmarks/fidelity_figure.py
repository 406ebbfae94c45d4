"""Draw what `fidelity.py` found: power kept by band, and mean, wet share and quantiles beside it.

python benchmarks/fidelity_figure.py RESULT.json FIGURE.png

Bars are means over seeds, intervals those of all seeds together. Grey: held-out rain, which says
how far rain of other hours is from the rain that was learnt; it may lie above the picture.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

COLOURS = {
    "old default": "#999999",
    "mixture alone": "#e69f00",
    "mixture alone, weighted": "#f0e442",
    "new default": "#0072b2",
    "new default, weighted": "#56b4e9",
}
WIDTH = 0.8


def of_rain(result: dict, rain: str, names: list[str]) -> np.ndarray | None:
    """Mean over seeds, least low and largest high of each statistic; None where not drawn."""
    rows = [row["ratios"] for row in result["ratios"] if row["rain"] == rain]
    if not rows:
        return None
    values = np.array([[row[name] for name in names] for row in rows], dtype=float)
    return np.stack([values[..., 0].mean(0), values[..., 1].min(0), values[..., 2].max(0)])


def draw(axis: plt.Axes, result: dict, names: list[str]) -> None:
    """Bars of all kinds of rain, side by side for each statistic."""
    found = {rain: of_rain(result, rain, names) for rain in COLOURS}
    found = {rain: values for rain, values in found.items() if values is not None}
    places = np.arange(len(names))
    real = of_rain(result, "held-out rain", names)
    for k, place in enumerate(places):
        label = "held-out rain" if k == 0 else None
        axis.fill_between(place + np.array([-0.46, 0.46]), *real[1:, [k, k]], color="0.9", lw=0,
                          zorder=0, label=label)  # fmt: skip
    for k, (rain, (value, low, high)) in enumerate(found.items()):
        x = places + WIDTH * ((k + 0.5) / len(found) - 0.5)
        # A value outside its own interval, where resamples are skew, has no side to draw.
        sides = np.maximum(0, [value - low, high - value])
        axis.bar(x, value, WIDTH / len(found), yerr=sides, color=COLOURS[rain], label=rain,
                 capsize=2, error_kw={"lw": 0.8})  # fmt: skip
    axis.axhline(1, color="black", lw=0.8)
    short = [name.removeprefix("power ").replace("quantile ", "quantile\n") for name in names]
    axis.set_xticks(places, short)
    axis.set_ylim(0, 1.8)
    axis.spines[["top", "right"]].set_visible(False)


def main() -> None:
    result = json.loads(Path(sys.argv[1]).read_text())
    names = list(result["ratios"][0]["ratios"])
    power = [name for name in names if name.startswith("power")]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    draw(left, result, power)
    left.set(xlabel="waves across the window", ylabel="power, generated / learnt")
    draw(right, result, [name for name in names if name not in power])
    right.set(ylabel="generated / learnt")
    left.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
    number = max(row["n"] for row in result["ratios"] if row["rain"] != "held-out rain")
    figure.suptitle(
        f"{result['data']}, {result['cpu_minutes']:g} CPU minutes of training, {number} sequences "
        "of each; intervals of 95 % with the noise of both sides",
        fontsize=10,
    )
    figure.savefig(sys.argv[2], dpi=110)


if __name__ == "__main__":
    main()
