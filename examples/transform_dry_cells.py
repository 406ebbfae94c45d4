"""What to do with dry cells: three treatments under the same small error in the latent.

Most cells of most hours are dry, an atom that a diffusion model can only reach approximately. Each
treatment is judged by what white noise of some standard deviations of its own latent, which a
model of standardised latents leaves, does to the rain: the mean, the wet cells, and the trace rain
(0.01 to 0.2 mm/h) that appears in dry cells.

    python examples/transform_dry_cells.py
"""

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
print(f"{'transform':12s} {'dry cells':10s} {'noise':>6s} {'mean rain':>10s} {'trace rain':>11s}")
for inner in (SqrtTransform(), LearntMonotoneTransform(random_state=0)):
    for treatment in ("point", "jitter", "censored"):
        transform = DryCellTransform(inner, treatment, random_state=0).fit(rain)
        for noise in (0.05, 0.1, 0.2):
            report = transform_report(transform, rain, noise=noise, noise_unit="std")
            print(
                f"{type(inner).__name__[:-9]:12s} {treatment:10s} {noise:6g} "
                f"{report.mean_ratio:9.3f}x {100 * report.trace_share:9.1f} %"
            )
