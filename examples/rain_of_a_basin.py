"""Will it rain in this basin within half an hour, and how much? Answers of an ensemble.

The past is made up by the model itself, so that what came true is known; a radar file with five
minutes between frames may be given as argument.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

from skdiffuse import PrecipDiffusion, open_cube
from skdiffuse.answers import basin_forecast
from skdiffuse.plotting import PlaceForecastDisplay, rain_colormap, rain_norm

model = PrecipDiffusion.load("skdiffuse/five_minutes_2km").set_params(verbose=False)
if len(sys.argv) > 1:
    rain = open_cube(sys.argv[1])[:10, :64, :64]
else:
    rain = model.sample(1, storm={"mean": 1.0}, n_steps=16, random_state=8)[0]
cells = 2.0 * np.arange(64)
places = {"y": ("y", cells[::-1]), "x": ("x", cells)}
rain = rain.assign_coords(places)

members = model.forecast(
    rain[:4], 6, n_members=24, method="amortised", n_steps=10, random_state=0
).assign_coords(places)
# Corners (y, x) in km, as the grid has them; with latitudes and longitudes nothing else changes.
basin = np.array([(50, 40), (58, 62), (84, 72), (92, 52), (74, 36)])
here = basin_forecast(members, basin, coordinates="grid", name="basin")
truth = basin_forecast(rain[4:], basin, coordinates="grid")

chance = here.will_it_rain("30min", threshold=0.5)
print(
    f"At least 0.5 mm/h within half an hour: {float(chance):.0%} "
    f"({float(chance.low):.0%} to {float(chance.high):.0%})"
)
print(here.to_dataframe(thresholds=[0.5, 2.0]).round(2).to_string())
here.to_csv("basin.csv")

figure = Figure(figsize=(11.5, 3.4), layout="constrained")
map_axes, *axes = figure.subplots(1, 3, width_ratios=(2.2, 3, 2))
image = map_axes.pcolormesh(cells, cells[::-1], rain[3], cmap=rain_colormap(), norm=rain_norm())
map_axes.plot(*np.vstack([basin, basin[:1]])[:, ::-1].T, color="#D55E00", lw=1.5)
map_axes.set(aspect="equal", title="now", xlabel="km", ylabel="km")
figure.colorbar(image, ax=map_axes, label="mm/h", shrink=0.8)
PlaceForecastDisplay.from_forecast(
    here, thresholds=[0.05, 0.1, 0.25, 0.5, 1.0], observed=truth, axes=axes
)
figure.savefig("rain_of_a_basin.png", dpi=90)
