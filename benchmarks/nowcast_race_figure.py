"""Draw what `nowcast_race.py` found, and one case of it.

    python benchmarks/nowcast_race_figure.py benchmarks/results/nowcast_race_hourly.json

Beside the results: ``..._leads.png``, scores against lead time, with intervals over blocks, and
``..._case.png``, members of the case with the most rain among those held out.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from nowcast_race import HORIZON, PAST, RACES, forecasts_of, loaded, race_cases
from nowcast_scores import THRESHOLDS

from skdiffuse.baselines import Climatology
from skdiffuse.plotting import FramesDisplay

COLOURS = {
    "model": "#0072b2",
    "guided": "#56b4e9",
    "STEPS": "#d55e00",
    "advection": "#e69f00",
    "persistence": "#999999",
    "training rain": "#009e73",
}


def lines(axis: plt.Axes, found: dict, minutes: float, column: int | None = None) -> None:
    """A line for each forecast, with intervals a little beside each other."""
    for k, (name, entry) in enumerate(found.items()):
        value, low, high = (np.array(entry[key])[:-1] for key in ("value", "low", "high"))
        if column is not None:
            value, low, high = value[:, column], low[:, column], high[:, column]
        lead = minutes * (np.arange(1, len(value) + 1) + 0.06 * (k - len(found) / 2))
        sides = np.maximum(0, [value - low, high - value])
        axis.errorbar(lead, value, sides, color=COLOURS[name], label=name, lw=1.5, elinewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("lead time (h)" if minutes == 1 else "lead time (min)")


def draw_leads(result: dict, path: Path) -> None:
    found = result["cases_summary"]
    # Few cases of the guided: its scores are of other windows.
    whole = max(entry["n_cases"] for entry in found["forecasts"].values())
    names = [n for n in COLOURS if found["forecasts"].get(n, {}).get("n_cases") == whole]
    minutes = RACES[result["race"]].minutes
    unit = 1.0 if minutes >= 60 else minutes
    figure, axes = plt.subplots(1, 2 + len(THRESHOLDS), figsize=(17, 3.6), layout="constrained")
    score = {name: found["forecasts"][name] for name in names}
    lines(axes[0], {n: e["crps"] for n, e in score.items()}, unit)
    axes[0].set_title("CRPS (mm/h)")
    axes[0].set_ylim(0)
    gains = {n: found["gains"][n]["crps"] for n in names if n in found["gains"]}
    lines(axes[1], gains, unit)
    axes[1].axhline(0, color="black", lw=0.8)
    axes[1].set_title("CRPS gained by the model (mm/h)")
    for k, (axis, level) in enumerate(zip(axes[2:], THRESHOLDS, strict=True)):
        lines(axis, {n: e["fss"] for n, e in score.items()}, unit, k)
        axis.set_title(f"FSS, {level:g} mm/h")
        axis.set_ylim(0, 1)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=70)


def draw_case(result: dict, path: Path) -> None:
    race = RACES[result["race"]]
    case = max(race_cases(race.held_out, race.minutes, None), key=lambda c: c.rain.mean())
    climate = Climatology().fit(case.rain)
    forecasts = forecasts_of(loaded(race), climate, 2)
    rows = {"observed": case.rain}
    past = np.full((PAST, *case.rain.shape[1:]), np.nan, np.float32)
    left_out = ("guided", "training rain")
    for name in [name for name in COLOURS if name in forecasts and name not in left_out]:
        members = forecasts[name](case, 0)
        titles = [f"{name}, member {k + 1}" for k in range(2)] if name == "model" else [name]
        rows |= {t: np.concatenate([past, m]) for t, m in zip(titles, members, strict=False)}
    assert all(len(row) == PAST + HORIZON for row in rows.values())
    FramesDisplay(rows).plot().figure_.savefig(path, dpi=60)


def main() -> None:
    path = Path(sys.argv[1])
    result = json.loads(path.read_text())
    draw_leads(result, path.with_name(f"{path.stem}_leads.png"))
    draw_case(result, path.with_name(f"{path.stem}_case.png"))


if __name__ == "__main__":
    main()
