import math

import pytest
import torch

from skdiffuse.diffusion import (
    AnalyticVariance,
    AncestralStep,
    ExactReverseCovariance,
    GaussianMixtureDenoiser,
    InterpolatedVariance,
    LearntVariance,
    LowerVariance,
    PosteriorVariance,
    RandomStreams,
    TruncatedCosineSchedule,
    UpperVariance,
    alpha,
    convert,
    integrate,
    posterior_variance_from_data,
    posterior_variance_from_noise,
    posterior_variance_from_residual,
    sampling_grid,
    sigma,
)

LOG_SNRS = (-6.0, -2.0, 0.0, 3.0, 8.0)


def tensor(value):
    return torch.tensor(value, dtype=torch.float64)


def moments(gaussian, log_snr):
    """Exact E[eps_hat^2] and E[(x_hat - mu)^2] per cell: eps_hat and x_hat are linear in z."""
    a, s = alpha(log_snr), sigma(log_snr)
    marginal = a**2 * gaussian.covariance + s**2 * torch.eye(6, dtype=torch.float64)
    gain = a * gaussian.covariance @ torch.linalg.inv(marginal)
    of_eps = (torch.eye(6, dtype=torch.float64) - a * gain) / s
    eps_hat = torch.diag(of_eps @ marginal @ of_eps.T)
    explained = torch.diag(gain @ marginal @ gain.T)
    return eps_hat, explained


@pytest.mark.parametrize("log_snr", LOG_SNRS)
def test_every_estimator_is_the_posterior_variance(gaussian, log_snr):
    expected = torch.diag(gaussian.denoiser.posterior_covariance(log_snr))
    eps_hat2, explained = moments(gaussian, log_snr)
    data_variance = torch.diag(gaussian.covariance)
    # the error of eps_hat is uncorrelated with it: E eps^2 = 1 = E eps_hat^2 + E (eps - eps_hat)^2
    residual = expected * math.exp(log_snr)
    for per_cell in (True, False):
        mean = (lambda v: v) if per_cell else torch.mean
        target = mean(expected)
        close = {"rtol": 1e-10, "atol": 1e-10}
        torch.testing.assert_close(
            posterior_variance_from_noise(mean(eps_hat2), log_snr), target, **close
        )
        torch.testing.assert_close(
            posterior_variance_from_data(mean(data_variance), mean(explained), log_snr),
            target,
            **close,
        )
        torch.testing.assert_close(
            posterior_variance_from_residual(mean(residual), log_snr), target, **close
        )


class SigmaPoints:
    """Streams whose noise has mean 0 and covariance I exactly, over the samples of the batch.

    Averages of quadratic functions of the noise are exact.
    """

    def __init__(self, noise):
        self.noise = noise

    def __len__(self):
        return len(self.noise)

    def normal(self, shape, dtype):
        return self.noise.to(dtype).reshape(-1, *shape)


def sigma_points(gaussian):
    """Data and noise whose joint first and second moments are exact, (24, 6) each."""
    points = math.sqrt(12) * torch.eye(12, dtype=torch.float64)
    points = torch.cat([points, -points])
    factor = torch.linalg.cholesky(gaussian.covariance)
    return gaussian.mean + points[:, :6] @ factor.T, points[:, 6:]


@pytest.mark.parametrize("estimator", ["residual", "noise", "data"])
@pytest.mark.parametrize("per_cell", [True, False])
def test_estimated_from_model_and_data(gaussian, estimator, per_cell):
    x, noise = sigma_points(gaussian)
    log_snrs = torch.tensor(LOG_SNRS, dtype=torch.float64)
    variance = AnalyticVariance.from_data(
        gaussian.denoiser, x, log_snrs, SigmaPoints(noise), estimator=estimator, per_cell=per_cell
    )
    for log_snr in LOG_SNRS:
        expected = torch.diag(gaussian.denoiser.posterior_covariance(log_snr))
        expected = expected if per_cell else expected.mean()
        found = variance.posterior_variance(log_snr)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_only_the_residual_bears_an_imperfect_mean(gaussian):
    """With 0.9 eps_hat, the error of x_hat is larger; the other estimators miss it."""
    log_snr = 0.0

    def imperfect(z, at):
        eps_hat = convert(gaussian.denoiser(z, at), z, at, source="x", target="eps")
        return convert(0.9 * eps_hat, z, at, source="eps", target="x")

    x, noise = sigma_points(gaussian)
    at = torch.tensor([log_snr, 1.0], dtype=torch.float64)
    found = {
        estimator: float(
            AnalyticVariance.from_data(
                imperfect, x, at, SigmaPoints(noise), estimator=estimator
            ).posterior_variance(log_snr)
        )
        for estimator in ("residual", "noise", "data")
    }
    eps_hat2 = float(moments(gaussian, log_snr)[0].mean())
    posterior = float(gaussian.denoiser.posterior_covariance(log_snr).trace()) / 6
    true_error = posterior + 0.01 * math.exp(-log_snr) * eps_hat2
    assert found["residual"] == pytest.approx(true_error, rel=1e-10)
    assert found["noise"] == pytest.approx(math.exp(-log_snr) * (1 - 0.81 * eps_hat2), rel=1e-10)
    assert abs(found["noise"] - true_error) > 0.05 and abs(found["data"] - true_error) > 0.01


def test_clipping():
    assert float(posterior_variance_from_noise(tensor(1.2), 0.0)) == 0
    assert float(posterior_variance_from_noise(tensor(-0.5), 0.0)) == 1
    assert float(posterior_variance_from_noise(tensor(0.0), -4.0, (-1.0, 1.0))) == 1
    assert float(posterior_variance_from_noise(tensor(0.0), -4.0, (0.0, 4.0))) == 4
    assert float(posterior_variance_from_data(tensor(3.0), tensor(0.0), 1.0)) == pytest.approx(
        math.exp(-1)
    )
    assert float(posterior_variance_from_residual(tensor(9.0), 2.0)) == pytest.approx(math.exp(-2))


def test_bounds():
    at = tensor(-1.0), tensor(2.0)
    z = torch.zeros(1, 2)
    lower, upper = (variance(z, z, *at) for variance in (LowerVariance(), UpperVariance()))
    assert lower < upper
    unit = PosteriorVariance(lambda z, log_snr: float(sigma(log_snr) ** 2))
    assert unit(z, z, *at) == pytest.approx(upper, rel=1e-12)  # optimal for unit variance
    assert PosteriorVariance(lambda z, log_snr: 0.0)(z, z, *at) == pytest.approx(lower)
    # the posterior variance of data of variance 4 is larger than that of variance 1
    four = 4 * sigma(at[0]) ** 2 / (4 * alpha(at[0]) ** 2 + sigma(at[0]) ** 2)
    assert PosteriorVariance(lambda z, log_snr: float(four))(z, z, *at) > upper


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_interpolated_is_geometric(fraction):
    at = tensor(-1.0), tensor(2.0)
    z = torch.zeros(1, 2)
    lower, upper = (variance(z, z, *at) for variance in (LowerVariance(), UpperVariance()))
    network = lambda z, log_snr: torch.full_like(z, fraction)  # noqa: E731
    found = InterpolatedVariance(network)(z, z, *at)
    expected = torch.full_like(z, lower ** (1 - fraction) * upper**fraction)
    torch.testing.assert_close(found, expected)


def two_points(z, log_snr):
    """x = +-1 with equal chance: x_hat = tanh(alpha z / sigma^2), E[x^2 | z] = 1."""
    return torch.tanh(float(alpha(log_snr) / sigma(log_snr) ** 2) * z)


@pytest.mark.parametrize("kind", ["npr", "sn"])
def test_conditional_variance(kind):
    """Both networks at their optimum give std^2 + c_x^2 Var[x | z], which here depends on z."""

    def optimum(z, log_snr):
        x_hat = two_points(z, log_snr)
        a, s = float(alpha(log_snr)), float(sigma(log_snr))
        if kind == "npr":
            return (a / s) ** 2 * (1 - x_hat**2)
        return (z**2 - 2 * a * z * x_hat + a**2) / s**2

    z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    at = tensor(0.5), tensor(1.5)
    exact = PosteriorVariance(lambda z, log_snr: 1 - two_points(z, log_snr) ** 2)
    x_hat = two_points(z, at[0])
    torch.testing.assert_close(
        LearntVariance(optimum, kind)(z, x_hat, *at), exact(z, x_hat, *at), rtol=1e-10, atol=1e-12
    )


def test_exact_mixture_variance_agrees_with_the_closed_form():
    mixture = GaussianMixtureDenoiser(
        torch.tensor([0.5, 0.5]), torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1, 1)
    )
    z = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    torch.testing.assert_close(mixture(z, 0.7), two_points(z, 0.7), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("log_snr", [-4.0, 0.0, 3.0])
def test_variance_of_a_mixture_is_tweedies(log_snr):
    """Cov[x | z] = (sigma^2 / alpha) d x_hat / d z, here by automatic differentiation."""
    covariances = torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.1, 0.0], [0.0, 0.6]]]).double()
    mixture = GaussianMixtureDenoiser(
        tensor([0.7, 0.3]), tensor([[-1.0, 0.5], [1.5, 0.0]]), covariances
    )
    z = RandomStreams(range(5)).normal((2,), torch.float64)
    jacobian = torch.stack(
        [
            torch.autograd.functional.jacobian(lambda z: mixture(z, log_snr)[0], each[None])[:, 0]
            for each in z
        ]
    )
    expected = sigma(log_snr) ** 2 / alpha(log_snr) * torch.diagonal(jacobian, dim1=1, dim2=2)
    torch.testing.assert_close(mixture.posterior_variance(z, log_snr), expected)


def test_conditional_variance_improves_samples(one_stream):
    """At few steps the latents of two points keep their second moment, alpha^2 + sigma^2 = 1."""
    grid = sampling_grid(TruncatedCosineSchedule(-8.0, 1.0), 3)
    moments = []
    for variance in ("lower", PosteriorVariance(lambda z, at: 1 - two_points(z, at) ** 2)):
        streams = one_stream(4000)
        z = streams.normal((1,), torch.float64)
        z = integrate(two_points, z, grid, AncestralStep(variance), streams=streams)
        moments.append(float(z.square().mean()))
    assert abs(moments[1] - 1) < 0.05
    assert moments[0] < 0.9


def test_full_covariance_has_the_diagonal_of_the_cells(gaussian):
    full = ExactReverseCovariance(gaussian.denoiser)
    at = tensor(-1.0), tensor(1.0)
    z = torch.zeros(1, 6, dtype=torch.float64)
    diagonal = PosteriorVariance(
        lambda z, log_snr: torch.diag(gaussian.denoiser.posterior_covariance(log_snr))
    )
    torch.testing.assert_close(full(z, z, *at), diagonal(z, z, *at))


def test_table_is_interpolated_and_checked():
    exact = lambda log_snr: 0.3 * torch.exp(-log_snr)  # noqa: E731
    nodes = torch.tensor([-5.0, 0.0, 5.0], dtype=torch.float64)
    variance = AnalyticVariance(nodes, exact(nodes))
    for log_snr in (-5.0, -1.7, 3.3, 5.0):
        expected = float(exact(tensor(log_snr)))
        assert float(variance.posterior_variance(log_snr)) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="log_snrs must increase"):
        AnalyticVariance(nodes.flip(0), nodes)
    with pytest.raises(ValueError, match="estimator must be"):
        AnalyticVariance.from_data(
            two_points, torch.zeros(2, 1), nodes, RandomStreams([0, 1]), estimator="score"
        )
    with pytest.raises(ValueError, match="kind must be"):
        LearntVariance(two_points, "eps")
