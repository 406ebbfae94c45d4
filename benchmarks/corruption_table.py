"""The table of `corruptions.py`: means over seeds with 95 % intervals."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

# Columns of the printed table: what stands in a run's JSON, and the heading.
COLUMNS = {
    "free.wet_share": "wet share",
    "free.quantiles.0.99": "q .99",
    "free.quantiles.0.999": "q .999",
    "free.quantiles.0.9999": "q 1-1e-4",
    "free.quantiles.0.99999": "q 1-1e-5",
    "free.power.1-3": "waves 1-3",
    "free.power.4-8": "4-8",
    "free.power.9-16": "9-16",
    "conditional.downscale.replacement": "CRPS fine",
    "conditional.downscale.restoration": "restored",
    "conditional.downscale.reconstruction": "guided",
    "conditional.interpolate.replacement": "CRPS between",
    "conditional.interpolate.reconstruction": "guided",
    "training_steps": "steps",
    "cpu_seconds_per_sequence": "s / sequence",
}

_ONE_LINE = r'{"mean": \1, "half": \2, "n": \3}'


def numbers(value: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a JSON, by their paths."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from numbers(each, f"{prefix}{name}.")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield prefix.rstrip("."), float(value)


def summary(values: list[float]) -> dict[str, float]:
    """Mean and half the width of its 95 % interval, by Student's t over seeds."""
    finite = [v for v in values if math.isfinite(v)]
    n = len(finite)
    half = math.nan
    if n > 1:
        half = float(student.ppf(0.975, n - 1) * np.std(finite, ddof=1) / math.sqrt(n))
    mean = float(np.mean(finite)) if n else math.nan
    return {"mean": float(f"{mean:.5g}"), "half": float(f"{half:.3g}"), "n": n}


def collect(folder: Path, result: Path, block: str) -> None:
    """Read all runs of a folder, print their table and keep what it is made of in a block."""
    runs: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    costs = {}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        if path.name.startswith("encoder_"):
            costs[content["data"]] = content
        elif "system" in content:
            runs[content["data"]][content["system"]].append(content)
    found: dict[str, Any] = {"encoder": costs} if costs else {}
    for data, systems in runs.items():
        found[data] = {}
        for system, parts in systems.items():
            gathered: dict[str, list[float]] = defaultdict(list)
            for part in parts:
                for name, value in numbers(part):
                    if name != "seed" and not name.startswith("size."):
                        gathered[name].append(value)
            found[data][system] = {name: summary(values) for name, values in gathered.items()}
        print(f"\n{data}: mean over seeds, and half of the 95 % interval")
        print("| system | " + " | ".join(COLUMNS.values()) + " |")
        print("|---" * (len(COLUMNS) + 1) + "|")
        for system, summaries in found[data].items():
            cells = [_cell(name, summaries.get(name)) for name in COLUMNS]
            print(f"| {system} | " + " | ".join(cells) + " |")
        chance = [_chance(name, found[data].values()) for name in COLUMNS]
        print("| standard error of one draw | " + " | ".join(chance) + " |")
    kept = json.loads(result.read_text()) if result.exists() else {}
    lines = json.dumps(kept | {block: found}, indent=1)
    # One line for a number and what belongs to it.
    result.write_text(
        re.sub(r"\{\s+\"mean\": (.*),\s+\"half\": (.*),\s+\"n\": (.*)\s+\}", _ONE_LINE, lines)
        + "\n"
    )


def _chance(name: str, systems: Iterable[dict[str, Any]]) -> str:
    """Mean over systems of what is chance of the sequences drawn, with one training."""
    noise = name.replace("free.", "sampling_noise.")
    found = [each[noise]["mean"] for each in systems if noise != name and noise in each]
    return _short(name, float(np.mean(found))) if found else "-"


def _short(name: str, value: float) -> str:
    """As many digits as mean something."""
    if name == "training_steps" or abs(value) >= 10:
        return f"{value:.0f}"
    text = f"{value:.2f}" if name.startswith("free.") else f"{value:.3f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def _cell(name: str, entry: dict[str, float] | None) -> str:
    if entry is None or not entry["n"]:
        return "-"
    if entry["n"] == 1:
        return _short(name, entry["mean"])
    return f"{_short(name, entry['mean'])} ± {_short(name, entry['half'])}"
