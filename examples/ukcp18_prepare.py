"""The dissertation's data from UKCP18 files: 64 x 64 cells of 8.8 km centred on Birmingham.

    python examples/ukcp18_prepare.py                       a made-up month with true metadata
    python examples/ukcp18_prepare.py 'pr_*01_1hr_*.nc'     files from CEDA, one member

Writes ukcp18_train.nc and ukcp18_test.nc: every fifth season is for testing, a day is left out
on either side of it.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt

from skdiffuse.cubes import lat_lon, validate_cube, write_cube
from skdiffuse.datasets import made_up_ukcp18, prepare_ukcp18
from skdiffuse.model_selection import BlockSplit, SeasonSplit, check_leakage
from skdiffuse.plotting import rain_colormap, rain_norm


def main(pattern: str | None = None) -> None:
    rain = prepare_ukcp18(pattern or made_up_ukcp18(n_hours=720), member=None)
    lat, lon = lat_lon(rain)
    print(f"{dict(rain.sizes)}, {rain.time.values[0]} to {rain.time.values[-1]}")
    print(f"latitudes {lat.min():.2f} to {lat.max():.2f}")
    print(f"longitudes {lon.min():.2f} to {lon.max():.2f}")
    cube = validate_cube(rain, n_frames=10)
    print(f"{len(cube.window_starts(10))} windows of 10 hours, calendar {cube.template.calendar}")

    # A month is less than a season; five blocks of it stand in for seasons.
    splitter = SeasonSplit(n_splits=1) if pattern else BlockSplit(5, guard="12h")
    train, test = next(iter(splitter.split(rain)))
    check_leakage(rain[train], rain[test], guard="12h")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    wettest = rain[int(rain.values.mean((1, 2)).argmax())]
    image = left.pcolormesh(lon, lat, wettest, cmap=rain_colormap(), norm=rain_norm())
    left.set(xlabel="longitude", ylabel="latitude")
    left.set_title("The wettest hour", fontsize="medium", loc="left")
    figure.colorbar(image, ax=left, label="mm/h")
    for name, part in (("train", train), ("test", test)):
        right.plot(
            part, rain[part].mean(rain.dims[1:]), ".", ms=2, label=f"{len(part)} hours to {name}"
        )
        path = write_cube(rain[part], f"ukcp18_{name}.nc", provenance={"split": repr(splitter)})
        print(f"{path}: {len(part)} hours, mean {float(rain[part].mean()):.3f} mm/h")
    right.set(xlabel="hour", ylabel="mean rain (mm/h)")
    right.set_title("What is for what, and the gaps between", fontsize="medium", loc="left")
    right.legend(frameon=False, markerscale=4)
    figure.savefig("ukcp18_prepare.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
