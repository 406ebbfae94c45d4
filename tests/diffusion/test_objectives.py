import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skdiffuse.diffusion import (
    PARAMETERIZATIONS,
    LinearLogSNRSchedule,
    TruncatedCosineSchedule,
    UpperVariance,
    alpha,
    convert,
    discrete_loss,
    edm_weighting,
    elbo_weighting,
    interpolated_variance_loss,
    npr_loss,
    sampling_grid,
    sigma,
    sn_loss,
    v_loss,
    weighted_loss,
)
from skdiffuse.diffusion.variances import posterior_coefficients


def zero(z, log_snr):
    return torch.zeros_like(z)


def fields(seed, shape=(3, 2, 4)):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_v_loss_is_the_mean_square(dtype):
    x, eps = (field.to(dtype) for field in fields(0))
    log_snr = torch.tensor([-30.0, 0.3, 30.0], dtype=torch.float64)
    network = lambda z, log_snr: 0.3 * z + 1  # noqa: E731
    loss = v_loss(network, x, log_snr, eps)
    assert loss.shape == (3,) and loss.dtype == dtype
    for i in range(3):
        a, s = float(alpha(log_snr[i])), float(sigma(log_snr[i]))
        error = 0.3 * (a * x[i] + s * eps[i]) + 1 - (a * eps[i] - s * x[i])
        assert float(loss[i]) == pytest.approx(float(error.square().mean()), rel=1e-5)


@given(known=arrays(bool, (3, 2, 4)))
def test_masked_cells_do_not_matter(known):
    x, eps = fields(1)
    mask = torch.from_numpy(known)
    log_snr = torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64)
    network = lambda z, log_snr: torch.tanh(z)  # noqa: E731
    losses = [
        v_loss(network, torch.where(mask, x, filler), log_snr, eps, mask)
        for filler in (0.0, 1e30, math.nan)
    ]
    assert torch.equal(losses[0], losses[1]) and torch.equal(losses[0], losses[2])
    assert torch.isfinite(losses[0]).all()
    for i in range(3):
        if known[i].any():
            a, s = float(alpha(log_snr[i])), float(sigma(log_snr[i]))
            error = torch.tanh(a * x[i] + s * eps[i]) - (a * eps[i] - s * x[i])
            assert float(losses[0][i]) == pytest.approx(
                float(error[mask[i]].square().mean()), rel=1e-9
            )
        else:
            assert losses[0][i] == 0


def test_gradient_beside_nan_is_that_of_the_known_cells():
    x, eps = fields(2)
    x[0, 0, 0] = math.nan
    weight = torch.ones(1, requires_grad=True)
    loss = v_loss(lambda z, at: weight * z, x, torch.zeros(3), eps, torch.isfinite(x)).sum()
    loss.backward()
    known, half = torch.isfinite(x), math.sqrt(0.5)  # alpha and sigma at log-SNR 0
    z, v = half * (x + eps), half * (eps - x)
    expected = sum(float((2 * (z - v) * z)[i][known[i]].mean()) for i in range(3))
    assert float(weight.grad) == pytest.approx(expected, rel=1e-6)


def test_a_full_mask_changes_nothing():
    x, eps = fields(3)
    network = lambda z, log_snr: torch.sin(z)  # noqa: E731
    full = torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(
        v_loss(network, x, torch.zeros(3), eps, full), v_loss(network, x, torch.zeros(3), eps)
    )


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
def test_weighted_loss_does_not_depend_on_the_parameterization(parameterization):
    x, eps = fields(4)
    log_snr = torch.tensor([-3.0, 0.0, 3.0], dtype=torch.float64)
    schedule, weighting = TruncatedCosineSchedule(), edm_weighting()
    v_network = lambda z, log_snr: torch.sin(z)  # noqa: E731

    def network(z, log_snr):
        return convert(v_network(z, log_snr), z, log_snr, source="v", target=parameterization)

    found = weighted_loss(
        network,
        x,
        log_snr,
        eps,
        weighting=weighting,
        schedule=schedule,
        parameterization=parameterization,
    )
    z = alpha(log_snr)[:, None, None] * x + sigma(log_snr)[:, None, None] * eps
    eps_hat = convert(v_network(z, log_snr), z, log_snr, source="v", target="eps")
    mse_eps = (eps - eps_hat).square().flatten(1).mean(1)
    expected = weighting(log_snr) / (2 * schedule.density(log_snr)) * mse_eps
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_expected_weighted_loss_does_not_depend_on_the_schedule():
    """Importance weights undo the density: quadrature over t of each schedule agrees."""
    x = torch.tensor([[0.4]], dtype=torch.float64)
    eps = torch.tensor([[-1.2]], dtype=torch.float64)
    totals = []
    for schedule in (TruncatedCosineSchedule(-8, 8), LinearLogSNRSchedule(-8, 8)):
        nodes, weights = np.polynomial.legendre.leggauss(400)
        log_snr = schedule.log_snr(torch.from_numpy((nodes + 1) / 2))
        losses = weighted_loss(
            zero,
            x.expand(400, 1),
            log_snr,
            eps.expand(400, 1),
            weighting=elbo_weighting(),
            schedule=schedule,
            parameterization="v",
        )
        totals.append(float((torch.from_numpy(weights) / 2 * losses).sum()))
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)


@given(
    x=st.floats(-2, 2),
    eps=st.floats(-2, 2),
    t=st.floats(-10, 8),
    step=st.floats(0.01, 5),
)
def test_discrete_loss_is_a_kl_divergence(x, eps, t, step):
    """Between two Gaussians of equal variance whose means differ by c_x (x - x_hat)."""
    x, eps = (torch.tensor([[value]], dtype=torch.float64) for value in (x, eps))
    denoiser = lambda z, log_snr: 0.5 * z  # noqa: E731
    a_s, s_s = float(alpha(t + step)), float(sigma(t + step))
    shrink = -math.expm1(-step)
    c_x, variance = a_s * shrink, s_s**2 * shrink
    z = float(alpha(t)) * x + float(sigma(t)) * eps
    expected = float((c_x * (x - 0.5 * z)) ** 2 / (2 * variance))
    found = float(discrete_loss(denoiser, x, t, t + step, eps))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_discrete_bound_on_the_cosine_grid_is_loose(gaussian):
    """3785 nats at 1000 steps, D = 6: why likelihoods are integrated over the log-SNR."""
    grid = sampling_grid(TruncatedCosineSchedule(), 1000, "time")
    loose = 0.0
    for low, high in itertools.pairwise(grid):
        posterior = float(gaussian.denoiser.posterior_covariance(low).trace())
        loose += 0.5 * math.exp(low) * math.expm1(high - low) * posterior
    nodes, weights = np.polynomial.legendre.leggauss(300)
    tight = 0.5 * sum(
        20 * w * math.exp(20 * u) * float(gaussian.denoiser.posterior_covariance(20 * u).trace())
        for u, w in zip(nodes, weights, strict=True)
    )
    assert loose - tight == pytest.approx(3785, abs=1)


def gauss_hermite_pairs(n=40):
    """Data x = +-1 and noise by quadrature: weights and (k, 1) fields."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).repeat(n, 1)
    eps = torch.from_numpy(np.repeat(nodes, 2))[:, None]
    return x, eps, torch.from_numpy(np.repeat(weights / weights.sum() / 2, 2))


@pytest.mark.parametrize("kind", ["npr", "sn"])
def test_variance_losses_are_least_at_the_conditional_moments(kind):
    """Every perturbation in a few directions raises the expected loss, by its own square."""
    x, eps, weights = gauss_hermite_pairs()
    log_snr = torch.tensor(0.3, dtype=torch.float64)
    a, s = float(alpha(log_snr)), float(sigma(log_snr))

    def denoiser(z, at):
        return torch.tanh(a / s**2 * z)

    def optimum(z, at):
        x_hat = denoiser(z, at)
        if kind == "npr":
            return (a / s) ** 2 * (1 - x_hat**2)
        return (z**2 - 2 * a * z * x_hat + a**2) / s**2

    def expected_loss(network):
        if kind == "npr":
            losses = npr_loss(network, denoiser, x, log_snr, eps)
        else:
            losses = sn_loss(network, x, log_snr, eps)
        return float((weights * losses).sum())

    least = expected_loss(optimum)
    z = a * x + s * eps
    for direction in (torch.ones_like, torch.sin, lambda z: z**2):
        for size in (0.1, -0.1):
            raised = expected_loss(
                lambda z, at, size=size, direction=direction: optimum(z, at) + size * direction(z)
            )
            square = float((weights * direction(z)[:, 0] ** 2).sum())
            assert raised - least == pytest.approx(size**2 * square, rel=1e-3)


def test_second_stage_does_not_train_the_denoiser():
    weight = torch.ones(1, requires_grad=True)
    network_weight = torch.ones(1, requires_grad=True)
    x, eps = (field.float() for field in fields(5))
    loss = npr_loss(
        lambda z, at: network_weight * z, lambda z, at: weight * z, x, torch.zeros(3), eps
    )
    loss.sum().backward()
    assert weight.grad is None and network_weight.grad is not None


def test_interpolated_variance_learns_the_best_variance_of_the_step():
    """On x = +-1 the least loss is at v = std^2 + c_x^2 Var[x | z]; the mean is left alone."""
    x, eps, weights = gauss_hermite_pairs()
    t, s = (torch.tensor(v, dtype=torch.float64) for v in (-1.0, 0.5))
    a, sd = float(alpha(t)), float(sigma(t))
    z = a * x + sd * eps
    scale = torch.ones(1, dtype=torch.float64, requires_grad=True)

    def denoiser(z, at):
        return torch.tanh(a / sd**2 * z) * scale

    _, c_x, std = posterior_coefficients(t, s)
    best = std**2 + c_x**2 * (1 - torch.tanh(a / sd**2 * z) ** 2)
    upper = UpperVariance()(z, z, t, s)
    exact = (torch.log(best) - 2 * math.log(std)) / (math.log(upper) - 2 * math.log(std))

    def loss_of(fraction):
        losses = interpolated_variance_loss(fraction, denoiser, x, t, s, eps)
        return (weights * losses).sum()

    f = exact.detach().clone().requires_grad_()
    least = loss_of(lambda z, at: f)
    direction = torch.sin(z)
    (slope,) = torch.autograd.grad(least, f)
    assert abs(float((slope * direction).sum())) < 1e-6
    assert scale.grad is None
    for size in (0.1, -0.1):
        assert loss_of(lambda z, at, size=size: exact + size * direction) > least
    # the minimum is the entropy of the step beyond that of the posterior
    entropy = 0.5 * float((weights * torch.log(best / std**2)[:, 0]).sum())
    assert float(least.detach()) == pytest.approx(entropy, rel=1e-6)
