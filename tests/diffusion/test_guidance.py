import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    CONDITIONING_METHODS,
    AdamsStep,
    AncestralStep,
    ArealMean,
    GaussianDenoiser,
    HeunStep,
    HoGuidance,
    JointObservation,
    KnownCells,
    Observation,
    PiGDM,
    RandomStreams,
    ReconstructionGuidance,
    TruncatedCosineSchedule,
    alpha,
    condition,
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


@pytest.mark.parametrize("log_snr", [-4.0, 0.0, 3.0])
@pytest.mark.parametrize("kind", [HoGuidance, PiGDM])
def test_explicit_kinds_are_their_formulas(prior, kind, log_snr):
    """In terms of the posterior covariance P of the data, whose cells C picks.

    Ho et al.: w_r (alpha / sigma)^2 P_uk r; PiGDM, without an error: P_uk r / sigma^2.
    """
    log_snr = torch.tensor(log_snr, dtype=torch.float64)
    z = torch.linspace(-1, 1, D, dtype=torch.float64)[None]
    posterior = torch.linalg.inv(torch.linalg.inv(COVARIANCE) + torch.exp(log_snr) * torch.eye(D))
    x_hat = prior(z, log_snr)
    seen = posterior[:, KNOWN] @ (VALUES - x_hat)[0, KNOWN]
    expected = {
        HoGuidance: 3.0 * torch.exp(log_snr) * seen,
        PiGDM: seen / sigma(log_snr) ** 2,
    }[kind]
    weight = {"w_r": 3.0} if kind is HoGuidance else {}
    known = KnownCells(VALUES[None], KNOWN[None])
    found = kind(prior, known, **weight)(z, log_snr)
    np.testing.assert_allclose(found[:, ~KNOWN], (x_hat + expected)[:, ~KNOWN], rtol=1e-6)
    assert torch.equal(found[0, KNOWN], VALUES[KNOWN])


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
    noise = RandomStreams(range(32)).normal((D,), torch.float64)
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


# Moment matching and what all methods share


@pytest.mark.parametrize("method", sorted(CONDITIONING_METHODS))
def test_batch_and_order_do_not_matter(prior, method):
    """Sampled alone, or with others that know other cells, a sequence is the same."""
    masks = torch.stack([KNOWN, ~KNOWN, torch.arange(D) < 5, torch.zeros(D, dtype=bool)])
    values = torch.where(masks, torch.linspace(-1, 2, D, dtype=torch.float64), torch.nan)
    grid = sampling_grid(TruncatedCosineSchedule(), 8)

    def sample(rows):
        streams = RandomStreams(range(4)[rows])
        noise = streams.normal((D,), torch.float64)
        denoiser = condition(prior, KnownCells(values).rows(rows), method)
        return run_sampler(denoiser, noise, grid, AncestralStep(), streams=streams)

    together = sample(slice(0, 4))
    for i in range(4):
        np.testing.assert_allclose(sample(slice(i, i + 1))[0], together[i], rtol=1e-9, atol=1e-12)
        assert torch.equal(together[i, masks[i]], values[i, masks[i]])


@pytest.mark.parametrize("step", [HeunStep(), AncestralStep("lower")])
def test_forecast_of_an_autoregression_has_its_predictive_law(step, one_stream):
    """x_t = 1.2 x_t-1 - 0.5 x_t-2 + noise: the forecast from the last two frames is known."""
    length, n = 10, 4000
    phi = torch.eye(length, dtype=torch.float64)
    for t in range(2, length):
        phi[t, t - 1], phi[t, t - 2] = -1.2, 0.5
    # stationary start: variance and lag-1 correlation of the process with unit innovations
    lag_1 = 1.2 / 1.5
    variance = 1 / (1 - 1.2 * lag_1 + 0.5 * (1.2 * lag_1 - 0.5))
    innovations = torch.eye(length, dtype=torch.float64)
    innovations[:2, :2] = variance * torch.tensor([[1, lag_1], [lag_1, 1]])
    inverse = torch.linalg.inv(phi)
    scale = variance**0.5
    prior = GaussianDenoiser(torch.zeros(length), inverse @ innovations @ inverse.T / variance)
    past = torch.tensor([0.4, -0.2, 0.9, 1.6, 1.3], dtype=torch.float64) / scale
    mean, response = [past[-2], past[-1]], torch.zeros(5, 5, dtype=torch.float64)
    for t in range(5):
        mean.append(1.2 * mean[-1] - 0.5 * mean[-2])
        response[t, t] = 1 / scale
        if t > 0:
            response[t] += 1.2 * response[t - 1]
        if t > 1:
            response[t] -= 0.5 * response[t - 2]
    values = torch.cat([past, torch.full((5,), torch.nan)])[None, :, None, None]
    streams = one_stream(n)
    x = run_sampler(
        condition(prior, KnownCells(values), "moment_matching"),
        streams.normal((length, 1, 1), torch.float64),
        sampling_grid(TruncatedCosineSchedule(), 400 if step.stochastic else 32, "tapered"),
        step,
        streams=streams,
    ).flatten(1)
    exact = response @ response.T
    error = x[:, 5:].mean(0) - torch.stack(mean[2:])
    assert (error.abs() < 4 * (exact.diagonal() / n).sqrt()).all()
    found = x[:, 5:].T.cov()
    # four standard errors of a sample covariance
    spread = ((exact**2 + exact.diagonal()[:, None] * exact.diagonal()) / n).sqrt()
    assert ((found - exact).abs() < 4 * spread + 0.02 * exact.diagonal().max()).all()


def test_observation_error_is_respected(prior):
    """The Gaussian regression on values of error variance R, nothing being pinned."""
    error = 0.3
    observation = KnownCells(VALUES[None], KNOWN, error_variance=error)
    grid = sampling_grid(TruncatedCosineSchedule(), 64, "tapered")
    noise = RandomStreams(range(300)).normal((D,), torch.float64)
    x = run_sampler(
        condition(prior, observation, "moment_matching"),
        torch.cat([noise, -noise]),
        grid,
        HeunStep(),
    )
    k = KNOWN
    gain = COVARIANCE[:, k] @ torch.linalg.inv(COVARIANCE[k][:, k] + error * torch.eye(3))
    np.testing.assert_allclose(x.mean(0), MEAN + gain @ (VALUES - MEAN)[k], atol=1e-3)
    exact = COVARIANCE - gain @ COVARIANCE[k]
    assert (x.T.cov() - exact).norm() / exact.norm() < 0.15


def test_contradiction_ends_between(prior):
    """Two gauges in one cell that differ: near the two, and between them with equal errors."""
    twice = JointObservation(
        [KnownCells(VALUES[None] + d, KNOWN, error_variance=0.1) for d in (-0.5, 0.5)]
    )
    once = KnownCells(VALUES[None], KNOWN, error_variance=0.05)
    log_snr = torch.tensor(0.0, dtype=torch.float64)
    z = RandomStreams([0]).normal((D,), torch.float64)
    both, one = (condition(prior, o, "moment_matching")(z, log_snr) for o in (twice, once))
    np.testing.assert_allclose(both, one, rtol=1e-5)
    exact = JointObservation([KnownCells(VALUES[None] + d, KNOWN) for d in (-0.5, 0.5)])
    # Without errors nothing explains both, and the residual that is left must not be divided by
    # the rounding error that stands for the covariance along it: that gave 1e17.
    for dtype in (torch.float64, torch.float32):
        for log_snr in (-10.0, 0.0, 10.0):
            found = condition(prior, exact, "moment_matching")(z.to(dtype), torch.tensor(log_snr))
            certain = KnownCells(VALUES[None], KNOWN)
            between = condition(prior, certain, "moment_matching")(z, torch.tensor(log_snr))
            assert (found.double() - between).abs().max() < 3


@pytest.mark.parametrize("method", ["moment_matching", "reconstruction"])
def test_no_jacobian_makes_it_diverge(method):
    """A network's is neither symmetric nor positive: each step stays within the largest gain."""
    jacobian = torch.randn(D, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for matrix in (jacobian, -torch.eye(D, dtype=torch.float64), 1e-9 * jacobian):
        guided = condition(
            lambda z, _, m=matrix: z @ m,
            KnownCells(VALUES[None], KNOWN),
            method,
            n_iterations=1,
            largest_gain=2.0,
        )
        z = torch.zeros(1, D, dtype=torch.float64)
        x = guided(z, torch.tensor(-20.0, dtype=torch.float64))[0]
        misfit = VALUES[KNOWN].square().mean().sqrt()
        assert x[~KNOWN].square().mean().sqrt() <= 2.0 * misfit * (1 + 1e-9)


def test_negative_jacobian_says_nothing(prior):
    """A sequence is left as it is where its covariance is not positive, the others are guided."""

    def denoiser(z, log_snr):
        return torch.cat([prior(z[:1], log_snr), -z[1:]])

    log_snr = torch.tensor(0.0, dtype=torch.float64)
    z = RandomStreams([0, 1]).normal((D,), torch.float64)
    seen = KnownCells(VALUES[None], KNOWN)
    x = condition(denoiser, seen, "moment_matching")(z, log_snr)
    assert torch.equal(x[1, ~KNOWN], -z[1, ~KNOWN])
    torch.testing.assert_close(x[:1], condition(prior, seen, "moment_matching")(z[:1], log_snr))


def test_error_of_the_jacobian_is_an_error_of_the_observation(prior):
    log_snr = torch.tensor(1.0, dtype=torch.float64)
    z = RandomStreams([0]).normal((D,), torch.float64)
    variance = 0.02 * float(sigma(log_snr) ** 2 / alpha(log_snr))
    careful = condition(
        prior, KnownCells(VALUES[None], KNOWN), "moment_matching", jacobian_error=0.02
    )
    vague = condition(prior, KnownCells(VALUES[None], KNOWN, variance), "moment_matching")
    u = ~KNOWN
    torch.testing.assert_close(careful(z, log_snr)[:, u], vague(z, log_snr)[:, u])


def test_mean_of_rain_is_met_through_the_latent():
    """Means over blocks of exp(x), observed without error, of which x_hat's is not the mean."""
    y, x = (g.flatten() for g in torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij"))
    distance = torch.hypot((y[:, None] - y).double(), (x[:, None] - x).double())
    prior = GaussianDenoiser(torch.zeros(16), torch.exp(-distance / 3))
    wanted = torch.tensor([[[[3.0, 0.5], [1.0, 0.1]]]], dtype=torch.float64)
    seen = ArealMean(wanted, 2).through(torch.exp, torch.log)
    noise = RandomStreams(range(20)).normal((1, 4, 4), torch.float64)
    grid = sampling_grid(TruncatedCosineSchedule(), 64, "tapered")
    sampled = run_sampler(condition(prior, seen, "moment_matching"), noise, grid, HeunStep())
    found = ArealMean(wanted, 2).predict(torch.exp(sampled))
    np.testing.assert_allclose(found, wanted.expand_as(found), rtol=1e-3)


def test_mean_of_rain_is_not_the_rain_of_the_mean():
    """Two cells, (exp(x_1) + exp(x_2)) / 2 observed: the conditional mean is an integral."""
    covariance = torch.tensor([[1.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    prior, wanted, error = GaussianDenoiser(torch.zeros(2), covariance), 2.0, 0.01
    axis = torch.linspace(-6, 4, 2001, dtype=torch.float64)
    grid_x = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    log_prior = -0.5 * (grid_x @ torch.linalg.inv(covariance) * grid_x).sum(-1)
    misfit = torch.exp(grid_x).mean(-1) - wanted
    weight = torch.softmax((log_prior - misfit**2 / (2 * error)).flatten(), 0)
    exact = float(weight @ grid_x[..., 0].flatten())

    values = torch.full((1, 1, 1, 1), wanted, dtype=torch.float64)
    grid = sampling_grid(TruncatedCosineSchedule(), 48, "tapered")
    noise = RandomStreams(range(1000)).normal((1, 1, 2), torch.float64)
    noise = torch.cat([noise, noise.flip(-1), -noise, -noise.flip(-1)])

    def error_of_mean(**options):
        seen = TwoCells(values, error_variance=error).through(torch.exp, torch.log)
        guided = condition(prior, seen, "moment_matching", **options)
        return abs(float(run_sampler(guided, noise, grid, AdamsStep()).mean()) - exact)

    assert error_of_mean() < 0.05
    assert error_of_mean() < 0.8 * error_of_mean(spread=lambda log_snr: 0.0)


class TwoCells(Observation):
    def predict(self, field):
        return field.mean(-1, keepdim=True)
