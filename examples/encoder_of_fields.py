"""An autoencoder of rain fields: four times fewer cells, and what of the rain comes back."""

import matplotlib.pyplot as plt
import torch

from skdiffuse import make_precipitation, metrics
from skdiffuse.corruptions import EncodedCorruption
from skdiffuse.plotting import rain_colormap


def sequences(seed):
    """Latents of sequences of 4 frames."""
    rain = make_precipitation(160, (64, 64), random_state=seed)
    return torch.from_numpy(rain.values.reshape(40, 4, 64, 64)).sqrt()


learnt, new = sequences(0), sequences(1)
figure, axes = plt.subplots(2, 4, figsize=(9, 4.6), layout="constrained")
for row, factor in zip(axes, (2, 4), strict=True):
    encoded = EncodedCorruption(factor=factor, width=24, n_steps=200).fit([learnt])
    codes = encoded.encode(new)
    back = encoded.decode(codes).clamp(min=0).square()
    rain = new.square()
    case = int(rain.mean((1, 2, 3)).argmax())
    error = float((back - rain).square().mean().sqrt() / rain.std())
    shown = dict(cmap=rain_colormap(), vmin=0.1, vmax=10)
    row[0].imshow(rain[case, 1], **shown)
    row[1].imshow(codes[case, 1], cmap="gray")
    image = row[2].imshow(back[case, 1], **shown)
    for axis, name in zip(
        row[:3], ("rain", "its code", f"decoded, error {error:.0%}"), strict=True
    ):
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=9)
    row[0].set_ylabel(f"{factor**2} times fewer cells")
    for field, name in (rain, "rain"), (back, "decoded"):
        waves, power = metrics.spatial_psd(field.numpy())
        row[3].loglog(waves[1:33], power[1:33], label=name)
    row[3].set_title("power by waves across", fontsize=9)
    row[3].legend(fontsize=8)
figure.colorbar(image, ax=axes[:, 2], label="mm/h", extend="both")
figure.savefig("encoder_of_fields.png", dpi=64)
