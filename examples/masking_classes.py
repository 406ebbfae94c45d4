"""Where it is dry, decided as such: classes of intensity by masking, then rates within them.

A small model of classes (dry, trace, light, moderate, heavy, extreme) and one of the rates within
them learn synthetic rain for some seconds each. The picture shows a map that is unmasked, rain of
both stages beside the data, and how often each class is. A path for it may be given as argument.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap

from skdiffuse import (
    NetworkSettings,
    PrecipDiffusion,
    SamplerSettings,
    TrainingSettings,
    TwoStageDiffusion,
    make_precipitation,
)
from skdiffuse.corruptions import CLASS_NAMES, draw_back, draw_law, intensity_classes
from skdiffuse.diffusion import RandomStreams, sampling_grid
from skdiffuse.networks import VideoUNet
from skdiffuse.plotting import rain_colormap, rain_norm

N_STEPS = 48


def small(**options):
    """A network that learns something in seconds."""
    kept = ("in_channels", "out_channels", "n_covariates")
    given = {name: options[name] for name in kept if name in options}
    return VideoUNet(24, (1, 2), patch_size=2, **given)


data = make_precipitation(400, (32, 32), random_state=0)
settings = {
    "n_frames": 1,
    "network": NetworkSettings(small, skip=None),
    "sampler": SamplerSettings(n_steps=N_STEPS),
    "training": TrainingSettings(learning_rate=2e-3),
    "random_state": 0,
    "verbose": False,
}
first = PrecipDiffusion(corruption="masking", max_steps=360, **settings)
second = PrecipDiffusion(max_steps=120, **settings)
model = TwoStageDiffusion(first, second, random_state=1).fit(data)

# One map on its way, by the pieces that the model is made of.
learnt = model.classes_.model_
streams, stages = RandomStreams([3]), []
draw_back(
    learnt.corruption,
    learnt.corruption.denoiser(learnt.network),
    draw_law(learnt.corruption, learnt.corruption.shape((1, 32, 32)), streams),
    sampling_grid(learnt.schedule, N_STEPS, "tapered"),
    streams,
    lambda i, n, z, x_hat: stages.append(z[0, 0].argmax(0).numpy()),
)
shown = [stages[i * (len(stages) - 1) // 4] for i in range(5)]

drawn = np.asarray(model.sample(24))
shares = {
    name: np.bincount(intensity_classes(rain).astype(int).ravel(), minlength=6) / rain.size
    for name, rain in {"data": np.asarray(data), "drawn": drawn}.items()
}
print("class".ljust(12), *(name.rjust(9) for name in shares))
for k, name in enumerate(CLASS_NAMES):
    print(name.ljust(12), *(f"{share[k]:9.2%}" for share in shares.values()))
print(f"bound of the log-density: {model.score(data[:16]):.1f} nats per map")

figure = plt.figure(figsize=(10, 5), layout="constrained")
above, below = figure.subfigures(2, 1)
colours = ["#f2efe6", "#c6dbef", "#6baed6", "#2171b5", "#f1a340", "#b2182b", "#8a8a8a"]
classes = {"cmap": ListedColormap(colours), "norm": BoundaryNorm(np.arange(-0.5, 7), 7)}
axes = above.subplots(1, 5)
for ax, states in zip(axes, shown, strict=True):
    picture = ax.imshow(states, **classes)
    ax.set_title(f"{np.mean(states == 6):.0%} masked", fontsize=9)
    ax.set(xticks=[], yticks=[])
bar = above.colorbar(picture, ax=axes, ticks=range(7), shrink=0.9)
bar.ax.set_yticklabels([*CLASS_NAMES, "masked"], fontsize=8)

axes = below.subplots(1, 4, width_ratios=(1, 1, 1, 1.6))
wettest = np.argsort(-drawn.mean((1, 2, 3)))
fields = [np.asarray(data)[40], drawn[wettest[4], 0], drawn[wettest[10], 0]]
for ax, field, title in zip(axes, fields, ("data", "drawn", "drawn"), strict=False):
    picture = ax.imshow(field, cmap=rain_colormap(), norm=rain_norm())
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])
below.colorbar(picture, ax=axes[:3], shrink=0.9, label="mm/h")
for i, (name, share) in enumerate(shares.items()):
    axes[3].bar(np.arange(6) + 0.4 * i - 0.2, share, 0.38, label=name, color=("#444", "#2171b5")[i])
axes[3].set_xticks(range(6), CLASS_NAMES, fontsize=8, rotation=30)
axes[3].set(yscale="log", ylabel="share of cells")
axes[3].legend(fontsize=8)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "masking_classes.png", dpi=80)
