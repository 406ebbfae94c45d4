"""Heavy-tailed diffusion in one cell: noise, the best denoiser, and the way back to the data.

Everything is in closed form, so that nothing is trained: what Student-t noise does by itself.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import norm, t

from skdiffuse.corruptions import ScaleMixtureDenoiser, StudentTCorruption
from skdiffuse.diffusion import (
    GaussianDenoiser,
    HeunStep,
    Trajectory,
    TruncatedCosineSchedule,
    run_sampler,
    sampling_grid,
)

NU = (3.0, 5.0, np.inf)
data = GaussianDenoiser(torch.zeros(1), torch.ones(1, 1))
figure, (noise, estimate, paths) = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")

beyond = np.logspace(-0.5, -5, 100)
z = torch.linspace(-12, 12, 241, dtype=torch.float64)[:, None]
for nu in NU:
    corruption = StudentTCorruption(nu)
    law = norm if np.isinf(nu) else t(nu)
    label = "Gaussian" if np.isinf(nu) else f"nu = {nu:g}"
    noise.loglog(beyond, corruption.scale * law.isf(beyond), label=label)
    estimate.plot(z, ScaleMixtureDenoiser(corruption, data)(z, 0.0), label=label)
noise.invert_xaxis()
noise.set(xlabel="probability to exceed", ylabel="noise, all of variance 1", title="Noise")
noise.legend()
estimate.set(xlabel="z", ylabel="E[x | z]", title="Best denoiser at equal signal and noise")

# The ODE carries each quantile of the noise to that of the data.
heavy = StudentTCorruption(3.0)
levels = np.array([1e-5, 1e-3, 0.02, 0.2, 0.5, 0.8, 0.98, 1 - 1e-3, 1 - 1e-5])
start = torch.from_numpy(heavy.scale * t(3.0).ppf(levels))[:, None]
grid = sampling_grid(TruncatedCosineSchedule(), 64, "angle")
trajectory = Trajectory()
end = run_sampler(ScaleMixtureDenoiser(heavy, data), start, grid, HeunStep(), callback=trajectory)
paths.plot(grid, torch.stack(trajectory.z)[..., 0].numpy(), color="tab:blue", lw=1)
paths.plot(np.full(len(levels), 20.0), norm.ppf(levels), "k.", label="quantiles of the data")
paths.set(xlabel="log-SNR", ylabel="z", yscale="symlog", title="Quantiles on their way, nu = 3")
paths.set_ylim(-90, 90)
paths.legend(loc="lower right", fontsize=8)
figure.savefig("heavy_tails.png", dpi=90)
print(np.abs(end[:, 0].numpy() - norm.ppf(levels)).max())
