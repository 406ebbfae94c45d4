"""What to do with dry cells: three treatments under the same small error in the latent.

Most cells of most hours are dry, an atom that a diffusion model can only reach approximately. Each
treatment is judged by what white noise of some standard deviations of its own latent, which a
model of standardised latents leaves, does to the rain: the mean, the wet cells, and the trace rain
(0.01 to 0.2 mm/h) that appears in dry cells.

    python examples/transform_dry_cells.py
"""

import matplotlib.pyplot as plt
import torch

from skdiffuse.datasets import make_precipitation
from skdiffuse.preprocessing import (
    DryCellTransform,
    LearntMonotoneTransform,
    SqrtTransform,
    transform_report,
)

torch.set_num_threads(1)
rain = make_precipitation(240, (64, 64), wet_fraction=0.15, wet_mean=1.5, random_state=3)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
print(f"{'transform':12s} {'dry cells':10s} {'noise':>6s} {'mean rain':>10s} {'trace rain':>11s}")
inner_transforms = (SqrtTransform(), LearntMonotoneTransform(random_state=0))
for axis, inner in zip(axes, inner_transforms, strict=True):
    for treatment in ("point", "jitter", "censored"):
        transform = DryCellTransform(inner, treatment, random_state=0).fit(rain)
        shares = {}
        for noise in (0.05, 0.1, 0.2):
            report = transform_report(transform, rain, noise=noise, noise_unit="std")
            print(
                f"{type(inner).__name__[:-9]:12s} {treatment:10s} {noise:6g} "
                f"{report.mean_ratio:9.3f}x {100 * report.trace_share:9.1f} %"
            )
            shares[noise] = 100 * report.trace_share
        axis.plot(shares.keys(), shares.values(), "o-", label=f"dry cells: {treatment}")
    name = "Square root" if isinstance(inner, SqrtTransform) else "Learnt transform"
    axis.set_title(name, fontsize="medium", loc="left")
    axis.set(xlabel="noise (standard deviations of the latent)")
    axis.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("trace rain (% of the dry cells)")
axes[0].legend(frameon=False, fontsize="small")
figure.savefig("transform_dry_cells.png", dpi=90)
