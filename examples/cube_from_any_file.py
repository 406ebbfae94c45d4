"""What a precipitation file holds, in mm/h, whatever its format, units and calendar.

python examples/cube_from_any_file.py FILE [interval=1h] [z_r=200,1.6] [variable=tp]
"""

from __future__ import annotations

import sys

import numpy as np

from skdiffuse.cubes import open_cube, validate_cube


def main(path: str, *settings: str) -> None:
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


if __name__ == "__main__":
    main(*sys.argv[1:])
