"""Is my model learning? At which noise and at which scale it is weak, after a few seconds.

A file of rain in mm/h may be given as argument; otherwise the rain is made up. The first two thirds
are trained on, the rest is what the model is asked about.
"""

import sys

from skdiffuse import PrecipDiffusion, denoising_report, make_precipitation, open_cube

if len(sys.argv) > 1:
    rain = open_cube(sys.argv[1])
else:
    rain = make_precipitation(600, (16, 16), random_state=0)
split = 2 * len(rain) // 3
model = PrecipDiffusion(n_frames=8, crop_size=32, max_time=20, random_state=0)
model.fit(rain[:split])

report = denoising_report(model, rain[split:], n_windows=24)
print(report)
report.plot().figure_.savefig("is_my_model_learning.png", dpi=100)
