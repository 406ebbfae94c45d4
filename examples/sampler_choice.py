"""Which sampler for how many network evaluations: a law of which the truth is known.

An exact denoiser plugs in wherever a network does, so a sampler can be tried without training. The
data here have directions of very different variance, as sequences of rain have.
"""

import matplotlib.pyplot as plt
import torch

from skdiffuse.diffusion import (
    AdamsStep,
    AncestralStep,
    DDIMStep,
    GaussianDenoiser,
    RandomStreams,
    TruncatedCosineSchedule,
    run_sampler,
    sampling_grid,
)

variances = torch.tensor([1e-3, 1e-1, 1.0, 1e1, 1e3], dtype=torch.float64)
denoiser = GaussianDenoiser(torch.zeros(5), torch.diag(variances))
schedule = TruncatedCosineSchedule()

figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
print("sampled / true variance".ljust(42), *(f"{v:8g}" for v in variances))
for name, step, spacing in [
    ("ancestral, uniform in the angle", AncestralStep(), "angle"),
    ("DDIM, uniform in the angle", DDIMStep(), "angle"),
    ("Adams, uniform in the tapered log-SNR", AdamsStep(), "tapered"),
]:
    for evaluations in (20, 32):
        streams = RandomStreams(range(2000))
        z = streams.normal((5,), torch.float64)
        x = run_sampler(
            denoiser, z, sampling_grid(schedule, evaluations - 1, spacing), step, streams=streams
        )
        # the same noise without a sampler: what a perfect one would have made of it
        truth = variances * (z if not step.stochastic else torch.ones(1)).square().mean(0)
        ratios = x.square().mean(0) / truth
        print(f"{name}, {evaluations}".ljust(42), *(f"{float(ratio):8.3f}" for ratio in ratios))
    axis.plot(variances, ratios, "o-", label=f"{name}, {evaluations} evaluations")
axis.axhline(1, color="0.6", lw=0.8)
axis.set(
    xscale="log",
    ylim=(0, 1.15),
    xlabel="variance of the data along a direction",
    ylabel="share of it in the samples",
)
axis.legend(frameon=False, fontsize="small")
axis.spines[["top", "right"]].set_visible(False)
figure.savefig("sampler_choice.png", dpi=90)
