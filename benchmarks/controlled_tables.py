"""Tables of `controlled.py`: means over seeds with their range."""

from collections.abc import Callable
from itertools import groupby

import numpy as np

__all__ = ["print_tables"]

COLUMNS: dict[str, Callable[[dict], float]] = {
    "mean": lambda row: row["mean"],
    "wet share": lambda row: row["wet_share"],
    "drizzle": lambda row: row["drizzle"][0],
    "< 1 mm/h": lambda row: row["below_1_mm_h"][0],
    "1 - 1e-2": lambda row: row["quantiles"][0],
    "1 - 1e-3": lambda row: row["quantiles"][1],
    "1 - 1e-4": lambda row: row["quantiles"][2],
    "1 - 1e-5": lambda row: row["quantiles"][3],
    "power 1": lambda row: row["power"]["1"],
    "2-3": lambda row: row["power"]["2-3"],
    "4-8": lambda row: row["power"]["4-8"],
    "9-16": lambda row: row["power"].get("9-16", np.nan),
    "17-32": lambda row: row["power"].get("17-32", np.nan),
    "temporal power": lambda row: 1 - row["temporal_power_deficit"],
    "bias": lambda row: row.get("normalised_bias", np.nan),
    "train s": lambda row: row.get("train_cpu_seconds", np.nan),
    "sample s": lambda row: row.get("sample_cpu_seconds", np.nan),
}


def shown(values: list[float]) -> str:
    """Mean and range."""
    if not np.isfinite(values).all():
        return ""
    digits = ".3f" if abs(np.mean(values)) < 0.1 else ".2f"
    text = f"{np.mean(values):{digits}}"
    if len(values) > 1:
        text += f" ({min(values):{digits}} to {max(values):{digits}})"
    return text


def print_table(rows: list[dict]) -> None:
    """One line a variant, in the order in which they came."""
    print("| | seeds | " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * (len(COLUMNS) + 2))
    for name in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == name]
        cells = [shown([column(row) for row in mine]) for column in COLUMNS.values()]
        print(f"| {name} | {len(mine)} | " + " | ".join(cells) + " |")


def print_tasks(rows: list[dict]) -> None:
    """Interpolation, nowcast and series of the reproduction."""
    ways = dict.fromkeys(way for row in rows for way in row.get("interpolation", {}))
    if not ways:
        return
    print("\n| CRPS; 1 - 1e-3 | " + " | ".join(ways) + " | nowcast | persistence | series mean |")
    print("|" + "---|" * (len(ways) + 4))
    for name in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == name and "interpolation" in row]
        cells = []
        for way in ways:
            found = [row["interpolation"][way] for row in mine]
            if any("error" in one for one in found):
                cells.append("does not end finite")
                continue
            pair = ("crps", "quantile_0.999")
            cells.append("; ".join(shown([one[key] for one in found]) for key in pair))
        for part, key in (("nowcast", "crps"), ("nowcast", "persistence"), ("series", "mean")):
            cells.append(shown([row[part][key] for row in mine]))
        print(f"| {name} | " + " | ".join(cells) + " |")


def print_tables(rows: list[dict]) -> None:
    """A table for each study and kind of rain, with the references first."""

    def key(row: dict) -> tuple[str, str]:
        return row["data"], row["study"]

    groups = {k: list(part) for k, part in groupby(sorted(rows, key=key), key)}
    for (data, study), part in groups.items():
        if study == "reference":
            continue
        print(f"\n{study}, {data}\n")
        print_table(groups.get((data, "reference"), []) + part)
        print_tasks(part)
