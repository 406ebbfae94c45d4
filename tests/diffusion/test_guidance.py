import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    AncestralStep,
    GaussianDenoiser,
    HeunStep,
    KnownCells,
    RandomStreams,
    ReconstructionGuidance,
    TruncatedCosineSchedule,
    alpha,
    run_sampler,
    sampling_grid,
    sigma,
)

D = 6
MEAN = torch.linspace(-0.5, 0.5, D, dtype=torch.float64)
DEVIATION = torch.linspace(0.6, 1.4, D, dtype=torch.float64)
LAG = torch.arange(D)[:, None] - torch.arange(D)
COVARIANCE = DEVIATION[:, None] * DEVIATION * 0.8 ** LAG.abs()
KNOWN = torch.tensor([True, False, True, False, True, False])
VALUES = torch.tensor([0.6, 0.0, -0.9, 0.0, 1.1, 0.0], dtype=torch.float64)


@pytest.fixture
def prior():
    return GaussianDenoiser(MEAN, COVARIANCE)


def guided(prior, w_r, mask=KNOWN, values=VALUES, n=1):
    return ReconstructionGuidance(prior, KnownCells(values.expand(n, -1), mask.expand(n, -1)), w_r)


@pytest.mark.parametrize("log_snr", [-4.0, 0.0, 3.0])
def test_small_weight_is_the_update_of_ho(prior, log_snr):
    """x_hat_u - (w_r alpha / 2) grad ||x_k - x_hat_k||^2, alpha to the first power."""
    log_snr = torch.tensor(log_snr, dtype=torch.float64)
    z = torch.linspace(-1, 1, D, dtype=torch.float64)[None].requires_grad_()
    x_hat = prior(z, log_snr)
    (gradient,) = torch.autograd.grad((VALUES - x_hat)[:, KNOWN].square().sum(), z)
    w_r = 1e-7
    ho = -w_r * alpha(log_snr) / 2 * gradient
    ours = guided(prior, w_r)(z, log_snr) - x_hat.detach()
    np.testing.assert_allclose(ours[:, ~KNOWN], ho[:, ~KNOWN], rtol=1e-4)


@pytest.mark.parametrize("log_snr", [-10.0, -2.0, 0.0, 4.0])
def test_large_weight_is_exact_for_one_known_cell(prior, log_snr):
    """C_uk C_kk^-1 r, the Gaussian conditional mean, when there is one direction to know."""
    log_snr = torch.tensor(log_snr, dtype=torch.float64)
    mask = torch.arange(D) == 2
    z = torch.linspace(-1, 1, D, dtype=torch.float64)[None]
    a, s = alpha(log_snr), sigma(log_snr)
    gain = a * COVARIANCE @ torch.linalg.inv(a**2 * COVARIANCE + s**2 * torch.eye(D))
    posterior = COVARIANCE - a * gain @ COVARIANCE
    x_hat = prior(z, log_snr)[0]
    exact = x_hat + posterior[:, 2] / posterior[2, 2] * (VALUES[2] - x_hat[2])
    result = guided(prior, 1e12, mask=mask)(z, log_snr)[0]
    np.testing.assert_allclose(result, exact, rtol=1e-6)


@pytest.mark.parametrize("w_r", [0.0, 1.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("step", [HeunStep(), AncestralStep("lower")])
def test_any_weight_is_finite_and_keeps_what_is_known(prior, w_r, step):
    n = 64
    streams = RandomStreams(range(n))
    grid = sampling_grid(TruncatedCosineSchedule(), 64)
    x = run_sampler(
        guided(prior, w_r, n=n), streams.normal((D,), torch.float64), grid, step, streams=streams
    )
    assert torch.isfinite(x).all()
    assert torch.equal(x[:, KNOWN], VALUES[KNOWN].expand(n, -1))
    assert x.abs().max() < 10


def sampled_error(prior, w_r, n_steps=256, **options):
    """Distance of the mean of guided samples of the unknown cells from the exact one.

    Antithetic noise makes the mean exact where the sampler is affine in the noise.
    """
    u, k = ~KNOWN, KNOWN
    exact = MEAN[u] + COVARIANCE[u][:, k] @ torch.linalg.inv(COVARIANCE[k][:, k]) @ (
        VALUES[k] - MEAN[k]
    )
    noise = RandomStreams(range(512)).normal((D,), torch.float64)
    noise = torch.cat([noise, -noise])
    denoiser = ReconstructionGuidance(prior, KnownCells(VALUES[None], KNOWN), w_r, **options)
    grid = sampling_grid(TruncatedCosineSchedule(), n_steps)
    x = run_sampler(denoiser, noise, grid, HeunStep())
    return (x[:, u].mean(0) - exact).norm().item()


def test_more_weight_comes_nearer_to_the_conditional_mean(prior):
    """As many iterations as known cells solve the system: the weight's limit is exact."""
    errors = [sampled_error(prior, w_r, n_iterations=3) for w_r in (0.0, 1.0, 1e3, 1e6, 1e9)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.4
    # What is left is the discretisation error of the sampler.
    coarse = sampled_error(prior, 1e9, n_steps=128, n_iterations=3)
    assert errors[-1] < 1e-3 * errors[0]
    assert coarse > 1.8 * errors[-1]


def test_one_iteration_is_finite_and_better_than_replacement(prior):
    errors = [sampled_error(prior, w_r, n_steps=64) for w_r in (0.0, 1.0, 1e3, 1e6, 1e9)]
    assert all(error < 0.9 * errors[0] for error in errors[1:])
    assert all(error < 0.6 * errors[0] for error in errors[2:])


def test_each_sequence_is_guided_by_itself(prior):
    """The same alone and in any batch, as a weight on a batch mean would not be."""
    log_snr = torch.tensor(1.0, dtype=torch.float64)
    z = RandomStreams(range(5)).normal((D,), torch.float64)
    together = guided(prior, 30.0, n=5)(z, log_snr)
    for i in range(5):
        alone = guided(prior, 30.0)(z[i : i + 1], log_snr)
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-12)


def test_nothing_or_everything_known(prior):
    log_snr = torch.tensor(0.0, dtype=torch.float64)
    z = RandomStreams([0]).normal((D,), torch.float64)
    nothing = guided(prior, 1e6, mask=torch.zeros(D, dtype=bool))(z, log_snr)
    torch.testing.assert_close(nothing, prior(z, log_snr))
    everything = guided(prior, 1e6, mask=torch.ones(D, dtype=bool))(z, log_snr)
    assert torch.equal(everything[0], VALUES)


def test_missing_values_do_not_leak(prior):
    values = torch.where(KNOWN, VALUES, torch.nan)
    log_snr = torch.tensor(0.0, dtype=torch.float64)
    z = RandomStreams([0]).normal((D,), torch.float64)
    assert torch.equal(
        guided(prior, 1e6, values=values)(z, log_snr), guided(prior, 1e6)(z, log_snr)
    )


def test_negative_weight_is_refused(prior):
    with pytest.raises(ValueError, match=r"w_r=-1.0 must be at least 0"):
        guided(prior, -1.0)
