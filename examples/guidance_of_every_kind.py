"""One question put by every kind of guidance, where the exact answer is known.

Two numbers are dry, drizzle or a storm (a mixture of Gaussians); their sum is seen, with an error.
The exact conditional law is a mixture again, and so is the law that a guidance of weight gamma
should have, ``p(x) p(y | x)^gamma``: an error variance divided by gamma.

    python examples/guidance_of_every_kind.py
"""

from functools import partial
from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from skdiffuse.diffusion import (
    AdamsStep,
    ClassifierFreeGuidance,
    ClassifierGuidance,
    FunctionObservation,
    GaussianMixtureDenoiser,
    SimilarityGuidance,
    TruncatedCosineSchedule,
    condition,
    run_sampler,
    sampling_grid,
)

N, SEEN, ERROR_VARIANCE, GAMMA = 4000, 1.2, 0.16, 3.0
LOOK = torch.ones(1, 2, dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[-0.8, -0.8], [0.2, 1.0], [2.0, 0.3]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [[[0.05, 0.0], [0.0, 0.05]], [[0.2, -0.1], [-0.1, 0.4]], [[1.0, 0.7], [0.7, 0.8]]],
    dtype=torch.float64,
)
GRID = sampling_grid(TruncatedCosineSchedule(-16.0, 16.0), 48)


def given(error_variance):
    """Weights, means and covariances once the sum is seen."""
    log_weights, means, covariances = [], [], []
    for weight, mean, covariance in zip(WEIGHTS, MEANS, COVARIANCES, strict=True):
        spread = LOOK @ covariance @ LOOK.T + error_variance
        gain = covariance @ LOOK.T / spread
        misfit = SEEN - LOOK @ mean
        means.append(mean + gain @ misfit)
        covariances.append(covariance - gain @ LOOK @ covariance)
        log_weights.append(weight.log() - 0.5 * (misfit**2 / spread + spread.log()).sum())
    weights = torch.softmax(torch.stack(log_weights), 0)
    return weights, torch.stack(means), torch.stack(covariances)


def draws(law, seed):
    weights, means, covariances = law
    generator = torch.Generator().manual_seed(seed)
    k = torch.multinomial(weights, N, replacement=True, generator=generator)
    white = torch.randn(N, 2, dtype=torch.float64, generator=generator)
    # A covariance that is singular but for rounding.
    factor = torch.linalg.cholesky(covariances + 1e-9 * torch.eye(2))
    return means[k] + torch.einsum("nij,nj->ni", factor[k], white)


def distance(x, truth):
    """Wasserstein distance, over projections in 32 directions."""
    angle = torch.arange(32, dtype=torch.float64) * torch.pi / 32
    axes = torch.stack([angle.cos(), angle.sin()])
    apart = (x @ axes).sort(0).values - (truth @ axes).sort(0).values
    return float(apart.abs().mean())


class Counted:
    """A denoiser that counts how often it is asked."""

    def __init__(self, denoiser):
        self.denoiser, self.count = denoiser, 0

    def __call__(self, z, log_snr):
        self.count += 1
        return self.denoiser(z, log_snr)


prior = GaussianMixtureDenoiser(WEIGHTS, MEANS, COVARIANCES)
told = GaussianMixtureDenoiser(*given(ERROR_VARIANCE))


def log_probability(z, log_snr):
    """log p(y | z) of the exact classifier, by Bayes: up to a constant, as q(z | y) / q(z)."""
    return told.log_density(z, log_snr) - prior.log_density(z, log_snr)


def log_likelihood(x):
    """log p(y | x) of clean data, up to a constant."""
    return -0.5 * (x.sum(1) - SEEN) ** 2 / ERROR_VARIANCE


def observation(error_variance):
    values = torch.full((1, 1), SEEN, dtype=torch.float64)
    return FunctionObservation(values, lambda x: x.sum(1, keepdim=True), error_variance)


def kinds(gamma):
    """Every guidance of a weight: what of an observation is taken gamma times is its precision."""
    seen = observation(ERROR_VARIANCE / gamma)
    yield "classifier", lambda d: ClassifierGuidance(d, log_probability, gamma)
    yield "classifier-free", lambda d: ClassifierFreeGuidance(told, d, gamma - 1)
    yield "similarity", lambda d: SimilarityGuidance(d, log_likelihood, gamma)
    for method in ("replacement", "ho", "pigdm", "reconstruction", "moment_matching"):
        # Of Ho's the weight is gamma, and at low noise it is stable below 2 / |A|^2 = 1.
        options = {"w_r": 0.3 * gamma} if method == "ho" else {}
        yield method, partial(condition, observation=seen, method=method, **options)


def show(ax, x, title):
    edges = torch.linspace(-2.2, 4.0, 63)
    counts = torch.histogramdd(x.float(), [edges, edges], density=True).hist
    ax.imshow(counts.T, origin="lower", extent=(-2.2, 4, -2.2, 4), cmap="Blues", vmax=0.8)
    ax.axline((0, SEEN), slope=-1, color="0.6", lw=0.7)
    ax.set_title(title, fontsize=8)
    ax.set(xticks=[], yticks=[])


def main():
    fig, axes = plt.subplots(3, 5, figsize=(8.6, 5.6), layout="constrained")
    panels = iter(axes.flat)
    noise = torch.randn(N, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shown = {1.0: None, GAMMA: ("classifier", "similarity", "ho", "moment_matching")}
    for gamma, names in shown.items():
        law = given(ERROR_VARIANCE / gamma)
        truth = draws(law, 1)
        floor = distance(draws(law, 2), truth)
        print(f"gamma = {gamma:g}: as many exact draws {floor:.3f}")
        if gamma == 1:
            before = draws((WEIGHTS, MEANS, COVARIANCES), 3)
            show(next(panels), before, f"prior: {distance(before, truth):.2f}")
        show(next(panels), truth, f"exact, $\\gamma$ = {gamma:g}")
        for name, guide in kinds(gamma):
            asked = Counted(prior)
            x = run_sampler(guide(asked), noise, GRID, AdamsStep()).detach()
            apart = distance(x, truth)
            said = f"{apart:.2f}" if apart < 10 else "diverges"
            print(f"  {name:<16} {apart:.3f}   {asked.count} evaluations of the prior")
            if names is None or name in names:
                show(next(panels), x, f"{name}: {said}")
    path = Path(__file__).parents[1] / "docs" / "images" / "guidance.png"
    fig.savefig(path, dpi=75)


if __name__ == "__main__":
    main()
