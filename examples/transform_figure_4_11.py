"""Half a metre of rain: how a learnt transform fails, and why the default does not.

The dissertation's first learnt transform minimised -mean(log h') over all cells with a minimum
gradient of 0.001 (its equation 4.13). Most cells are exactly dry, so the curve spent the whole
latent range on rain below a few tenths of a millimetre per hour and was flat above; a small error
in the latent then became any amount of rain, over half a metre in ten hours (its Figure 4.11).
The remedy was a mask, which gives dry cells no say, and a minimum gradient of 0.1.

This example fits both curves, and the square root, to the same synthetic rain, adds the same
small error to the latent of ten hours (white noise of 0.1 on a range of 2, what a generative model
may leave), clips it to the range, inverts, and draws the ten-hour totals.

    python examples/transform_figure_4_11.py [PICTURE.png]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import LogNorm

from skdiffuse.datasets import make_precipitation
from skdiffuse.plotting import rain_colormap
from skdiffuse.preprocessing import LearntMonotoneTransform, SqrtTransform, transform_report

NOISE = 0.1

torch.set_num_threads(1)
rain = make_precipitation(
    240, (64, 64), wet_fraction=0.15, wet_mean=1.5, tail_index=0.3, random_state=3
)
transforms = {
    "square root": SqrtTransform(),
    "learnt, the default\n(masked, c = 0.1)": LearntMonotoneTransform(random_state=0),
    "learnt as in eq. 4.13\n(no mask, c = 0.001)": LearntMonotoneTransform(
        min_gradient=0.001, mask_below=None, max_iter=2000, random_state=0
    ),
}

day = rain.values[int(np.convolve(rain.values.mean((1, 2)), np.ones(10), "valid").argmax()) :][:10]
noise = np.random.default_rng(0).standard_normal(day.shape)
largest = float(rain.max())
totals = {"the rain itself": day.sum(axis=0)}
for name, transform in transforms.items():
    transform.fit(rain)
    low, high = transform.transform(np.array([[[0.0, largest]]]))[0, 0]
    latent = transform.transform(day.astype(np.float64)) + noise * NOISE * (high - low) / 2
    totals[name] = transform.inverse_transform(latent.clip(low, high)).sum(axis=0)
    print(f"{name!r}: mean total {totals[name].mean():.0f} mm, largest {totals[name].max():.0f} mm")
    print(transform_report(transform, rain), "\n")

figure = plt.figure(figsize=(12.5, 7.2), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=(1.0, 1.15))
curve, share = top.subplots(1, 2, width_ratios=(1.0, 1.0))
rates = np.geomspace(1e-3, largest, 500)
colours = dict(zip(transforms, ("#0072B2", "#009E73", "#D55E00"), strict=True))
for k, (name, transform) in enumerate(transforms.items()):
    report = transform_report(transform, rain)
    z = transform.transform(rates.reshape(1, 1, -1)).ravel()
    label = name.replace("\n", " ")
    curve.plot(rates, z / z[-1], color=colours[name], label=label)
    place = np.arange(report.latent_share.size)
    share.bar(place + 0.27 * (k - 1), 100 * report.latent_share, 0.25, color=colours[name])
curve.set(xscale="log", xlabel="rain rate (mm/h)", ylabel="latent (share of its range)")
curve.xaxis.set_major_formatter("{x:g}")
curve.set_title("The curves")
edges = [
    f"{a:.3g} to {b:.3g}" for a, b in zip(report.band_edges, report.band_edges[1:], strict=False)
]
share.set_xticks(place, edges, fontsize="small")
share.set(xlabel="rain rate (mm/h)", ylabel="share of the latent range (%)")
share.legend(*curve.get_legend_handles_labels(), frameon=False, fontsize="small")
share.set_title("Where the latent range goes")
for ax in (curve, share):
    ax.spines[["top", "right"]].set_visible(False)

axes = bottom.subplots(1, 4)
norm = LogNorm(1.0, 1000.0)
for ax, (name, total) in zip(axes, totals.items(), strict=True):
    image = ax.imshow(np.maximum(total, 0.01), cmap=rain_colormap(), norm=norm, origin="lower")
    ax.set_title(name, fontsize="medium")
    ax.set_xlabel(f"mean {total.mean():.0f} mm, largest {total.max():.0f} mm")
    ax.set(xticks=[], yticks=[])
bar = bottom.colorbar(image, ax=axes, shrink=0.85, label="rain in ten hours (mm)")
bar.ax.yaxis.set_major_formatter("{x:g}")
bottom.suptitle("Ten hours of rain after the same small error in the latent")
picture = sys.argv[1] if len(sys.argv) > 1 else "transform_figure_4_11.png"
figure.savefig(picture, dpi=90)
print(f"wrote {picture}")
