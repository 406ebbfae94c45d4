"""Synthetic rain next to radar: four hours of each, and their marginals and spectra.

    python examples/generator_next_to_mrms.py MRMS_FILE PICTURE.png

The law takes the wet fraction and the mean of the wet cells from the chosen region; tail,
correlation length, slope and advection are set by eye.
"""

from __future__ import annotations

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap

from skdiffuse.datasets import PrecipitationLaw, make_precipitation, open_cube

LEVELS = [0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32]
HOURS, SIZE = 4, 192


def wettest_region(cube):
    """Values of the part of the domain and the hours in which it rained most widely."""
    values = cube.values
    best, where = -1.0, None
    for y in range(0, values.shape[1] - SIZE + 1, 32):
        for x in range(0, values.shape[2] - SIZE + 1, 32):
            wet = (values[:, y : y + SIZE, x : x + SIZE] >= 0.1).mean((1, 2))
            for t in range(values.shape[0] - HOURS):
                if wet[t : t + HOURS].mean() > best:
                    best, where = wet[t : t + HOURS].mean(), (t, y, x)
    t, y, x = where
    return values[t : t + HOURS, y : y + SIZE, x : x + SIZE]


def radial(power):
    """Mean power by ring of whole waves across the domain."""
    k = np.rint(np.hypot(*np.meshgrid(*[np.fft.fftfreq(n) * n for n in power.shape])))
    return np.array([power[k == ring].mean() for ring in range(1, power.shape[0] // 2)])


def main(path: str, picture: str) -> None:
    radar = np.nan_to_num(wettest_region(open_cube(path)))
    wet = radar >= 0.1
    law = {
        "wet_fraction": float(wet.mean()) * 1.25,
        "wet_mean": float(radar.sum() / wet.sum()) / 1.25,
        "kappa": 0.6,
        "tail_index": 0.08,
        "correlation_length": 24.0,
        "slope": 3.7,
        "advection": (-1.0, 6.0),
    }
    synthetic = make_precipitation(HOURS, radar.shape[1:], random_state=4, **law)

    colours = plt.get_cmap("turbo")(np.linspace(0.08, 0.97, len(LEVELS) - 1))
    cmap = ListedColormap(colours).with_extremes(under="white", over="black")
    norm = BoundaryNorm(LEVELS, cmap.N)
    figure = plt.figure(figsize=(11, 8.8), layout="constrained")
    above, below = figure.subfigures(2, height_ratios=(2, 1.15))
    axes = above.subplots(2, HOURS)
    for row, (name, fields) in enumerate((("radar", radar), ("synthetic", synthetic.values))):
        for column, ax in enumerate(axes[row]):
            image = ax.imshow(fields[column], cmap=cmap, norm=norm, interpolation="none")
            ax.set(xticks=[], yticks=[], title=f"{name}, hour {column + 1}")
    above.colorbar(
        image, ax=axes, label="mm/h", extend="both", ticks=LEVELS, format="%g", shrink=0.8
    )
    marginal, spectrum = below.subplots(1, 2)
    exact = PrecipitationLaw(shape=radar.shape[1:], **law)
    ax = marginal
    rates = np.geomspace(0.1, 60, 80)
    ax.loglog(rates, [(radar > r).mean() for r in rates], color="black", label="radar")
    ax.loglog(rates, [(synthetic.values > r).mean() for r in rates], label="synthetic, sample")
    ax.loglog(rates, 1 - exact.cdf(rates), "--", label="synthetic, exact law")
    ax.set(xlabel="rain rate (mm/h)", ylabel="share of cells above", ylim=(1e-5, 1))
    ax.legend()
    ax = spectrum
    waves = np.arange(1, radar.shape[1] // 2)
    for fields, style, name in ((radar, {"color": "black"}, "radar"), (synthetic.values, {}, None)):
        power = (np.abs(np.fft.fft2(fields)) ** 2).mean(0) / fields[0].size ** 2
        ax.loglog(waves, radial(power), label=name or "synthetic, sample", **style)
    ax.loglog(waves, radial(exact.power_spectrum()), "--", label="synthetic, exact law")
    ax.set(xlabel="waves across the domain", ylabel="mean power per wave ((mm/h)$^2$)")
    ax.legend()
    figure.savefig(picture, dpi=90)


if __name__ == "__main__":
    main(*sys.argv[1:])
