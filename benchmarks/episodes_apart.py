"""How far real episodes of one kind of rain are from each other: the limit of any model of them.

    python benchmarks/episodes_apart.py

A model that has learnt some hours is asked about others. What it gets wrong there is not all its
fault: this puts episodes, months and halves of one cube beside each other, with the statistics of
`fidelity.py`, both ways round, and says how large the typical factor between two is,
``exp(mean |log ratio|)`` over the pairs. ``factor_by_chance`` is that of two halves of the windows
drawn of each. Needs the rain files; written to ``benchmarks/results/episodes_apart.json`` kind by
kind, and kinds that are there are not repeated.
"""

import argparse
import json
import os
from itertools import combinations
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import xarray as xr
from fidelity import FOLDER, HERE, Trial, read_files, table_of
from fidelity_ratios import ratios

MONTHS = ("202001-02", "202004-05", "202007-08", "202010-11")
RADARS = ("fmi_radar_2km_5min_20160928", "fmi_radar_2km_5min_20170509",
          "mch_radar_2km_5min_20150515", "mch_radar_2km_5min_20160711",
          "mch_radar_2km_5min_20170131")  # fmt: skip


def episodes(folder: Path) -> dict[str, tuple[int, dict[str, xr.DataArray]]]:
    """By kind of rain the side of a window, and episodes."""
    mrms = read_files(folder, "mrms_qpe01h_west_4km_20160920-22")
    era5 = {month: read_files(folder, f"era5_chile_0p25deg_1h_{month}") for month in MONTHS}
    imerg = read_files(folder, "imerg_e_brazil_s_0p1deg_30min_20231102-18")
    days = {f"days {k + 1}": imerg[k * len(imerg) // 4 : (k + 1) * len(imerg) // 4]
            for k in range(4)}  # fmt: skip
    return {
        "MRMS, days of one episode": (
            32, {f"day {k + 1}": mrms[24 * k : 24 * k + 24] for k in range(3)}
        ),
        "ERA5 Chile, pairs of months": (48, era5),
        "IMERG Brazil, four days each": (32, days),
        "radars, five minutes": (32, {name: read_files(folder, name) for name in RADARS}),
    }  # fmt: skip


def factor(rows: list[dict[str, list[float]]]) -> dict[str, float]:
    """Typical factor of each statistic between two."""
    found = {}
    for name in rows[0]:
        values = np.array([row[name][0] for row in rows])
        kept = values[np.isfinite(values) & (values > 0)]
        found[name] = round(float(np.exp(np.abs(np.log(kept)).mean())), 3) if kept.size else None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--windows", type=int, default=3072)
    arguments = parser.parse_args()
    path = HERE / "results/episodes_apart.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for kind, (crop, cubes) in episodes(arguments.folder).items():
        if kind in found:
            continue
        tables = {
            name: table_of(cube, Trial(cube, cube, crop, 0, n_windows=arguments.windows))
            for name, cube in cubes.items()
        }
        pairs = {f"{b} / {a}": ratios(tables[a], tables[b], crop)
                 for a, b in combinations(tables, 2)}  # fmt: skip
        chance = [ratios(table[::2], table[1::2], crop) for table in tables.values()]
        found[kind] = {
            "factor": factor(list(pairs.values())),
            "factor_by_chance": factor(chance),
            "pairs": pairs,
        }
        print(kind, json.dumps(found[kind]["factor"]), json.dumps(found[kind]["factor_by_chance"]))
        path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
