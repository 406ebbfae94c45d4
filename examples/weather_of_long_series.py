"""Weather of a long series: how its classes follow each other, and the rain that is drawn to them.

A file of rain in mm/h may be given as argument; otherwise the rain is made up.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from skdiffuse import PrecipDiffusion, make_precipitation, open_cube

rain = (
    open_cube(sys.argv[1])
    if len(sys.argv) > 1
    else make_precipitation(600, (32, 32), random_state=0)
)
model = PrecipDiffusion(n_frames=8, crop_size=32, max_time=20, random_state=0).fit(rain)
series = np.asarray(model.simulate(80, mode="averaged", n_steps=12, random_state=1))[0]

weathers = model.model_.weathers
means = weathers.classes.means.mean(1).numpy()
order = np.argsort(means)
after = weathers.chain.later[3].numpy()[np.ix_(order, order)]
figure, (left, right) = plt.subplots(
    1, 2, figsize=(9.6, 3.6), width_ratios=(1, 1.9), layout="constrained"
)
image = left.pcolormesh(after / after.sum(1, keepdims=True), cmap="viridis_r", vmin=0)
ticks = np.arange(0, len(order), 4)
for axis in (left.xaxis, left.yaxis):
    axis.set_ticks(ticks + 0.5, [f"{means[order[k]]:.2g}" for k in ticks])
left.set(
    xlabel="four hours later (mm/h)", ylabel="class of a window (mean in mm/h)", aspect="equal"
)
figure.colorbar(image, ax=left, label="probability", shrink=0.9)

real = np.asarray(rain)[:600].mean((1, 2))
right.axhspan(*np.quantile(real, [0.05, 0.95]), color="0.9", label="90 % of the learnt frames")
right.plot(series.mean((1, 2)), label="frames of the series")
windows = np.stack([series[start : start + 8].mean() for start in range(0, 73, 4)])
right.step(np.arange(0, 73, 4) + 4, windows, where="mid", label="its windows")
right.set(xlabel="hour", ylabel="mean rain (mm/h)", xlim=(0, 79), yscale="log", ylim=(3e-3, 3))
right.legend(frameon=False, ncols=3, loc="upper center", fontsize="x-small")
figure.savefig("weather_of_long_series.png", dpi=100)
