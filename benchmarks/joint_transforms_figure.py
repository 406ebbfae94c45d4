"""Draw what `joint_transforms.py` found: loss curves, learnt curves, quantiles and spectra kept.

python benchmarks/joint_transforms_figure.py RESULT.json FIGURE.png
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from joint_transforms import LEVELS

COLOURS = {"identity": "#999999", "sqrt": "#0072b2", "learnt": "#d55e00"}
NAMES = {"identity": "none", "sqrt": "square root", "learnt": "learnt, jointly"}


def main() -> None:
    result = json.loads(Path(sys.argv[1]).read_text())
    figure, (loss, curve, tail) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for transform, colour in COLOURS.items():
        runs = [run for run in result["runs"] if run["transform"] == transform]
        for number, run in enumerate(runs):
            label = NAMES[transform] if number == 0 else None
            steps = np.linspace(0, run["steps"], len(run["loss_curve"]) + 1)[1:]
            loss.plot(steps, run["loss_curve"], color=colour, alpha=0.7, lw=1, label=label)
            curve.plot(run["curve"]["rates"], run["curve"]["relative_latent"], ".-", color=colour,
                       lw=1, label=label)  # fmt: skip
        ratios = np.array([run["quantile_ratios"] for run in runs])
        place = np.arange(len(LEVELS)) + 0.15 * (list(COLOURS).index(transform) - 1)
        middle = ratios.mean(0)
        spread = np.abs(np.array([ratios.min(0), ratios.max(0)]) - middle)
        tail.errorbar(place, middle, spread, fmt="o", ms=4, capsize=3, color=colour,
                      label=NAMES[transform])  # fmt: skip
    real = np.array([run["real_against_real"]["quantile_ratios"] for run in result["runs"]])
    tail.fill_between(range(len(LEVELS)), real.min(0), real.max(0), color="0.85", zorder=0,
                      label="real against real")  # fmt: skip
    loss.set(xlabel="training step", ylabel="v-loss of the batches")
    curve.set(xlim=(0, 20), xlabel="rain rate (mm/h)", ylabel="latent, relative to that of 20 mm/h")
    tail.set_yscale("log")
    tail.axhline(1, color="black", lw=0.8)
    tail.set_xticks(range(len(LEVELS)), [f"1 - {1 - level:.0e}" for level in LEVELS])
    tail.set(xlabel="quantile", ylabel="generated / real")
    loss.legend(frameon=False)
    tail.legend(frameon=False, fontsize=8)
    for axis in (loss, curve, tail):
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{result['data']}: three seeds each", fontsize=10)
    figure.savefig(sys.argv[2], dpi=110)


if __name__ == "__main__":
    main()
