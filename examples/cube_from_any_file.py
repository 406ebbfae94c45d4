"""What a precipitation file holds, in mm/h, whatever its format, units and calendar.

Without a file one is made up: accumulations of three hours in metres, as a reanalysis has them.

    python examples/cube_from_any_file.py [FILE] [interval=1h] [z_r=200,1.6] [variable=tp]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skdiffuse import make_precipitation
from skdiffuse.cubes import open_cube, validate_cube


def made_up_file() -> str:
    """A file of three-hourly totals in metres."""
    rain = make_precipitation(80, (48, 48), time_step="3h", random_state=1)
    totals = (rain * 3 / 1000).rename("tp")
    totals.attrs = {"units": "m", "cell_methods": "time: sum", "long_name": "total precipitation"}
    path = Path(tempfile.mkdtemp()) / "totals.nc"
    totals.to_netcdf(path)
    return str(path)


def main(path: str | None = None, *settings: str) -> None:
    if path is None:  # nothing in such a file says over which time an amount fell
        path, settings = made_up_file(), ("interval=3h",)
    options = dict(setting.split("=", 1) for setting in settings)
    if "z_r" in options:
        options["z_r"] = tuple(float(number) for number in options["z_r"].split(","))
    rain = open_cube(path, **options)
    cube = validate_cube(rain)
    values = rain.values
    valid = values[np.isfinite(values)]
    print(f"{rain.name}: {dict(rain.sizes)}")
    print(f"  {rain.attrs.get('history', 'units were mm h-1 already').splitlines()[0]}")
    step = "one time only" if cube.time_step is None else f"every {cube.time_step / 60:g} min"
    times = rain[rain.dims[-3]].values
    print(f"  {times[0]} to {times[-1]}, {step}, {int(cube.breaks.sum())} gaps")
    print(f"  calendar {cube.template.calendar}; {valid.size / values.size:.1%} of cells present")
    levels = np.quantile(valid, [0.5, 0.9, 0.99, 0.999]).round(3).tolist()
    wet = np.mean(valid >= 0.1)
    print(f"  wet (0.1 mm/h) {wet:.1%}, mean {valid.mean():.3f}, max {valid.max():.1f}")
    print(f"  quantiles 0.5, 0.9, 0.99, 0.999: {levels}")

    figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    axis.hist(valid[valid >= 0.01], np.geomspace(0.01, valid.max(), 40), color="#0072B2")
    for level, value in zip((0.9, 0.99, 0.999), levels[1:], strict=True):
        axis.axvline(max(value, 0.01), color="#D55E00", lw=1)
        axis.text(max(value, 0.01), axis.get_ylim()[1], f" {level:g}", va="top", fontsize="small")
    axis.plot([], [], color="#D55E00", lw=1, label="quantiles of all cells, dry ones too")
    axis.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(0.03, 0.93))
    axis.set(xscale="log", xlabel="rain rate (mm/h)", ylabel="cells")
    axis.set_title(
        f"{step}, {1 - np.mean(valid >= 0.01):.0%} of the cells are dry", fontsize="medium"
    )
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig("cube_from_any_file.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
