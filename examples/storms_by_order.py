"""Storms by order: sequences of a mean rain that is asked for, and how often each would come.

A file of rain in mm/h may be given as argument; otherwise the rain is made up.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from skdiffuse import PrecipDiffusion, make_precipitation, open_cube
from skdiffuse.plotting import rain_colormap

if len(sys.argv) > 1:
    rain = open_cube(sys.argv[1])
else:
    rain = make_precipitation(600, (32, 32), random_state=0)
model = PrecipDiffusion(n_frames=8, crop_size=32, max_time=40, random_state=0)
model.fit(rain)

means = (0.05, 0.3, 1.5)
figure, axes = plt.subplots(len(means), 4, figsize=(8.4, 6.6), layout="constrained")
for row, mean in zip(axes, means, strict=True):
    storms = model.sample(4, storm={"mean": mean}, random_state=1)
    frequency = float(model.model_.weathers.frequencies[model.model_.weathers.class_of(mean)])
    for axis, storm in zip(row, np.asarray(storms), strict=True):
        image = axis.pcolormesh(storm[4], cmap=rain_colormap(), vmin=0.1, vmax=10)
        axis.set(xticks=[], yticks=[], aspect="equal")
        axis.set_title(f"{storm.mean():.2f} mm/h", fontsize=9)
    row[0].set_ylabel(f"asked: {mean} mm/h\n{100 * frequency:.1f} % of windows")
figure.colorbar(image, ax=axes, label="rain rate of the fifth frame (mm/h)", extend="both")
figure.savefig("storms_by_order.png", dpi=100)
