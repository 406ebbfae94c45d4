"""Where it is dry, decided as such: classes of intensity by masking, then rates within them.

A small model of classes (dry, trace, light, moderate, heavy, extreme) and one of the rates within
them learn synthetic rain for some seconds each. The picture shows a map that is unmasked, rain of
both stages beside the data, and how often each class is. Called with a path, it writes it there.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap

from skdiffuse import (
    NetworkSettings,
    PrecipDiffusion,
    SamplerSettings,
    TwoStageDiffusion,
    make_precipitation,
)
from skdiffuse.corruptions import CLASS_NAMES, draw_back, draw_law, intensity_classes
from skdiffuse.diffusion import RandomStreams, sampling_grid
from skdiffuse.networks import VideoUNet

N_STEPS = 64


def small(**options):
    """A network that learns something in seconds."""
    kept = ("in_channels", "out_channels", "n_covariates")
    given = {name: options[name] for name in kept if name in options}
    return VideoUNet(24, (1, 2), patch_size=2, **given)


data = make_precipitation(400, (32, 32), random_state=0)
settings = {
    "n_frames": 2,
    "network": NetworkSettings(small, skip=None),
    "sampler": SamplerSettings(n_steps=N_STEPS),
    "max_time": 14.0,
    "random_state": 0,
    "verbose": False,
}
first = PrecipDiffusion(corruption="masking", **settings)
model = TwoStageDiffusion(first, random_state=1).fit(data)
gaussian = PrecipDiffusion(**settings).fit(data)

# One map on its way, by the pieces that the model is made of.
learnt = model.classes_.model_
corruption, stages = learnt.corruption, []
draw_back(
    corruption,
    corruption.denoiser(learnt.network),
    draw_law(corruption, corruption.shape((2, 32, 32)), streams := RandomStreams([7])),
    sampling_grid(learnt.schedule, N_STEPS, "tapered"),
    streams,
    lambda i, n, z, x_hat: stages.append(z[0, 0].argmax(0).numpy()),
)
shown = [stages[i * (len(stages) - 1) // 4] for i in range(5)]

rain = {
    "data": np.asarray(data),
    "two stages": np.asarray(model.sample(48)),
    "Gaussian": np.asarray(gaussian.sample(48)),
}
shares = {
    name: np.bincount(intensity_classes(r).astype(int).ravel(), minlength=6) / r.size
    for name, r in rain.items()
}
print("class".ljust(12), *(name.rjust(11) for name in shares))
for k, name in enumerate(CLASS_NAMES):
    print(name.ljust(12), *(f"{100 * share[k]:10.2f}%" for share in shares.values()))

colours = ["#f2efe6", "#c6dbef", "#6baed6", "#2171b5", "#f1a340", "#b2182b", "#8a8a8a"]
classes = {"cmap": ListedColormap(colours), "norm": BoundaryNorm(np.arange(-0.5, 7), 7)}
figure, axes = plt.subplots(2, 5, figsize=(11, 4.9), layout="constrained")
for ax, states in zip(axes[0], shown, strict=True):
    picture = ax.imshow(states, **classes)
    ax.set_title(f"{np.mean(states == 6):.0%} masked", fontsize=9)
bar = figure.colorbar(picture, ax=axes[0], ticks=range(7), shrink=0.9)
bar.ax.set_yticklabels([*CLASS_NAMES, "masked"], fontsize=8)
rates = {"cmap": "viridis", "vmin": 0, "vmax": 12}
for ax, field, title in zip(
    axes[1, :3],
    [rain["data"][40], rain["two stages"][3, 0], rain["two stages"][9, 0]],
    ["data", "two stages", "two stages"],
    strict=True,
):
    # Exactly dry is left white.
    picture = ax.imshow(np.where(field > 0, field, np.nan), **rates)
    ax.set_title(title, fontsize=9)
for ax in (*axes[0], *axes[1, :3]):
    ax.set(xticks=[], yticks=[])
figure.colorbar(picture, ax=axes[1, :3], shrink=0.9, label="mm/h")
grid = axes[1, 3].get_gridspec()
for ax in axes[1, 3:]:
    ax.remove()
ax = figure.add_subplot(grid[1, 3:])
for i, (name, share) in enumerate(shares.items()):
    place = np.arange(6) + 0.27 * (i - 1)
    ax.bar(place, share, 0.26, label=name, color=["#444444", "#2171b5", "#f1a340"][i])
ax.set_xticks(range(6), CLASS_NAMES, fontsize=8)
ax.set(yscale="log", ylabel="share of cells")
ax.legend(fontsize=8)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=80)
