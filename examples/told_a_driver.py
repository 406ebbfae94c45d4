"""Downscaling that is told the height of the land, beside the same model without it.

Rain over made-up hills: heavier where they are high, on scales that the coarse grid does not show.
Both models are trained for 200 steps on one piece of land and asked about another.
"""

import numpy as np
from matplotlib.figure import Figure

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.metrics import crps_ensemble
from skdiffuse.plotting import rain_colormap, rain_norm


def hills(seed, shape=(48, 48)):
    """Heights without a unit, of mean 0 and variance 1, some four cells wide."""
    waves = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=shape))
    height = np.fft.ifft2(noise * np.exp(-((waves / 0.16) ** 2))).real
    return (height - height.mean()) / height.std()


def rain_over(height, n_frames, seed):
    rain = make_precipitation(n_frames, height.shape, correlation_length=8.0, random_state=seed)
    return (rain.values * np.exp(height)).astype(np.float32)


FRAMES, CROP, FACTOR, STEPS = 2, 16, 4, 200
learnt, other = hills(0), hills(1)
rain = rain_over(learnt, 200, 0)
# A field for each frame; height is the same in all.
fields = np.broadcast_to(learnt, rain.shape)
options = {
    "n_frames": FRAMES,
    "crop_size": CROP,
    "max_steps": STEPS,
    "random_state": 0,
    "verbose": False,
}
told = PrecipDiffusion(**options).fit(rain, fields)
without = PrecipDiffusion(**options).fit(rain)

truth = rain_over(other, 40, 1)
wettest = np.argmax(truth[:-FRAMES, :CROP, :CROP].mean((1, 2)))
truth, height = truth[wettest : wettest + FRAMES, :CROP, :CROP], other[:CROP, :CROP]
coarse = truth.reshape(FRAMES, CROP // FACTOR, FACTOR, CROP // FACTOR, FACTOR).mean((2, 4))
asked = {"n_samples": 8, "n_steps": 12, "random_state": 0}
y = np.broadcast_to(height, truth.shape).astype(np.float32)
members = {
    "told the height": told.downscale(coarse, FACTOR, y=y, **asked),
    "without": without.downscale(coarse, FACTOR, **asked),
}
crps = {name: crps_ensemble(truth, ensemble) for name, ensemble in members.items()}
for name, score in crps.items():
    print(f"{name}: CRPS {score:.3f} mm/h")

figure = Figure(figsize=(11, 2.6), layout="constrained")
axes = figure.subplots(1, 5)
axes[0].pcolormesh(height, cmap="gist_earth")
pictures = {"coarse": coarse[0], "what fell": truth[0]}
pictures |= {
    f"{name}: mean of 8,\nCRPS {crps[name]:.3f} mm/h": ensemble[:, 0].mean(0)
    for name, ensemble in members.items()
}
axes[0].set_title("height of the land", fontsize=10)
for ax, (name, field) in zip(axes[1:], pictures.items(), strict=True):
    image = ax.pcolormesh(field, cmap=rain_colormap(), norm=rain_norm())
    ax.set_title(name, fontsize=10)
for ax in axes:
    ax.set(aspect="equal", xticks=[], yticks=[])
figure.colorbar(image, ax=axes[-1], label="mm/h")
figure.savefig("told_a_driver.png", dpi=90)
