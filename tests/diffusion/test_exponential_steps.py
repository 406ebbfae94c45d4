"""Solving a Gaussian law exactly: what is exact, and that the law need not be right."""

import math

import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    AdamsStep,
    ExponentialAdamsStep,
    GaussianDenoiser,
    GaussianLaw,
    GaussianMixtureDenoiser,
    TaperedLogSNR,
    TruncatedCosineSchedule,
    integrate,
    run_sampler,
    sampling_grid,
)

SCHEDULE = TruncatedCosineSchedule(-20.0, 20.0)
VARIANCES = torch.logspace(-4, 4, 5, dtype=torch.float64)
MEAN = torch.linspace(-2.0, 1.0, 5, dtype=torch.float64)
# Rain of one class of weather: variances as of rain, tails heavier than of a Gaussian.
FACTORS = torch.tensor([0.4, 2.2], dtype=torch.float64)
WEIGHTS = torch.tensor([0.7, 0.3], dtype=torch.float64)
MIXTURE = GaussianMixtureDenoiser(
    WEIGHTS, MEAN.expand(2, 5), torch.diag_embed(FACTORS[:, None] * VARIANCES)
)


def noise(n, dim=5):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_a_gaussian_law_in_any_number_of_steps(n_steps):
    """Each mode keeps its quantile: the map that the exact flow is."""
    grid = sampling_grid(SCHEDULE, n_steps, "tapered")
    denoiser = GaussianDenoiser(MEAN, torch.diag(VARIANCES))
    z = noise(4)
    end = integrate(denoiser, z, grid, ExponentialAdamsStep(GaussianLaw(MEAN, VARIANCES)))
    a2 = 1 / (1 + np.exp([20.0, -20.0]))
    spread = np.sqrt(a2[:, None] * VARIANCES.numpy() + 1 - a2[:, None])
    centre = np.sqrt(a2)[:, None] * MEAN.numpy()
    expected = centre[1] + (z.numpy() - centre[0]) * spread[1] / spread[0]
    np.testing.assert_allclose(end, expected, rtol=1e-9)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_white_law_is_adams(order):
    """The law of unit variance says nothing: v of it is 0."""
    law = GaussianLaw(torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64))
    grid = sampling_grid(SCHEDULE, 12, "tapered")
    ours, plain = (
        integrate(MIXTURE, noise(3), grid, step)
        for step in (ExponentialAdamsStep(law, order), AdamsStep(order))
    )
    np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "law",
    [GaussianLaw(MEAN, 3 * VARIANCES), GaussianLaw(-MEAN, torch.full_like(VARIANCES, 30.0))],
    ids=["near", "far"],
)
def test_any_law_ends_at_the_same_place(law):
    """At the corrector's order, 3, by a quarter of the step."""
    z, ends = noise(6), {}
    for n, step in ((1000, AdamsStep()), (80, None), (320, None)):
        step = ExponentialAdamsStep(law) if step is None else step
        ends[n] = integrate(MIXTURE, z, sampling_grid(SCHEDULE, n, "tapered"), step)
    coarse, fine = (((ends[n] - ends[1000]) / VARIANCES.sqrt()).norm() for n in (80, 320))
    assert fine < 1e-3
    assert math.log2(coarse / fine) / 2 > 2.5


def test_fewer_evaluations_than_adams():
    """Eight of them end nearer, by the law of mean and variance alone."""
    law = GaussianLaw(MEAN, (WEIGHTS @ FACTORS) * VARIANCES)
    z = noise(100)
    exact = run_sampler(MIXTURE, z, sampling_grid(SCHEDULE, 200, "tapered"), AdamsStep())
    grid = sampling_grid(SCHEDULE, 7, TaperedLogSNR(9.0, -2.0))
    ours, plain = (
        ((run_sampler(MIXTURE, z, grid, step) - exact) / exact.std(0)).square().mean().sqrt()
        for step in (ExponentialAdamsStep(law), AdamsStep())
    )
    assert ours < 0.5 * plain


def test_there_and_back():
    law = GaussianLaw(MEAN, VARIANCES)
    grid = sampling_grid(SCHEDULE, 200, "tapered")
    step, z = ExponentialAdamsStep(law), noise(3)
    back = integrate(MIXTURE, integrate(MIXTURE, z, grid, step), grid.flip(0), step)
    np.testing.assert_allclose(back, z, atol=2e-3)


def test_single_precision_stays_single():
    law = GaussianLaw(MEAN, VARIANCES)
    out = run_sampler(
        MIXTURE, noise(2).float(), sampling_grid(SCHEDULE, 4, "tapered"), ExponentialAdamsStep(law)
    )
    assert out.dtype == torch.float32


@pytest.mark.parametrize("order", [1, 6])
def test_orders_that_do_not_exist(order):
    with pytest.raises(ValueError, match=f"order must lie in 2..5, got {order}"):
        ExponentialAdamsStep(order=order)


def test_no_law():
    with pytest.raises(ValueError, match="law=None"):
        run_sampler(MIXTURE, noise(1), torch.tensor([-1.0, 1.0]), ExponentialAdamsStep())
