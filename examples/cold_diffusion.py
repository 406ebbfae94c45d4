"""Cold diffusion: rain blurred, averaged over blocks, and made fine again from the coarse field."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.corruptions import BlurCorruption, CoarseGrainingCorruption
from skdiffuse.networks import VideoUNet
from skdiffuse.plotting import rain_colormap


def small(**options):
    """A network for a minute's training."""
    return VideoUNet(16, (1, 2), patch_size=2)


rain = make_precipitation(600, (32, 32), correlation_length=6.0, random_state=0)
new = make_precipitation(60, (32, 32), correlation_length=6.0, random_state=1)
model = PrecipDiffusion(
    n_frames=2,
    network=small,
    # In mm/h, so that a coarse field is what the way back begins with.
    corruption=CoarseGrainingCorruption(of_rain=True),
    max_steps=400,
    random_state=0,
    verbose=False,
)
model.set_params(network__skip=None, training__learning_rate=2e-3).fit(rain)

wet = int(np.argmax(new.values[:58].mean((1, 2))))
truth = new[wet : wet + 2]
coarse = truth.values.reshape(2, 8, 4, 8, 4).mean((2, 4))
fine = model.downscale(coarse, 4, n_samples=3, method="restoration", random_state=0)

field = torch.from_numpy(truth.values[None])
rows = [
    [
        kind(noise_level=0.0).smooth(field, torch.tensor(level, dtype=torch.float64))[0, 1]
        for level in (torch.inf, 5.5, 2.8, 0.0, -4.0)
    ]
    for kind in (BlurCorruption, CoarseGrainingCorruption)
]
rows.append([coarse[1], *(np.asarray(member)[1] for member in fine), truth.values[1]])
names = ["as it is", "log-SNR 5.5", "2.8", "0", "-4"]
titles = [names, names, ["coarse", "restored", "restored", "restored", "truth"]]
figure, axes = plt.subplots(3, 5, figsize=(8.5, 5.4), layout="constrained")
for row, fields, heads in zip(axes, rows, titles, strict=True):
    for axis, one, head in zip(row, fields, heads, strict=True):
        image = axis.imshow(one, cmap=rain_colormap(), vmin=0.1, vmax=10)
        axis.set(xticks=[], yticks=[])
        axis.set_title(head, fontsize=9)
for axis, name in zip(axes[:, 0], ("blur", "block means", "downscaling"), strict=True):
    axis.set_ylabel(name)
figure.colorbar(image, ax=axes, label="rain rate (mm/h)", extend="both", shrink=0.7)
figure.savefig("cold_diffusion.png", dpi=80)
print(model.n_iter_, "training steps")
