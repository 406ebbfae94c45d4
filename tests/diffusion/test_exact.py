import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from skdiffuse.diffusion import (
    GaussianDenoiser,
    GaussianMixtureDenoiser,
    alpha,
    convert,
    sigma,
)


def test_gaussian_matches_reference(vectors, gaussian):
    reference = vectors["gaussian_D6"]
    np.testing.assert_allclose(gaussian.mean, reference["mu"], atol=1e-15)
    eigenvalues = torch.linalg.eigvalsh(gaussian.covariance)
    np.testing.assert_allclose(eigenvalues, reference["eig"], rtol=1e-11)
    # printed to 12 significant digits
    for dtype, rtol in ((torch.float64, 5e-12), (torch.float32, 1e-6)):
        z = torch.tensor([reference["z"]], dtype=dtype)
        for log_snr in (-3.0, 0.0, 3.0):
            expected = reference[f"lam={log_snr:.0f}"]
            x_hat = gaussian.denoiser(z, log_snr)
            assert x_hat.dtype == dtype
            close = {"rtol": rtol, "atol": rtol}
            np.testing.assert_allclose(x_hat[0], expected["xhat"], **close)
            v = convert(x_hat, z, log_snr, source="x", target="v")
            np.testing.assert_allclose(v[0], expected["v"], **close)
            score = convert(x_hat, z, log_snr, source="x", target="score")
            np.testing.assert_allclose(score[0], expected["score"], **close)
            density = gaussian.denoiser.log_density(z, log_snr)
            assert float(density) == pytest.approx(expected["logq"], rel=rtol)
            posterior = gaussian.denoiser.posterior_covariance(log_snr)
            average = float(posterior.trace()) / 6
            assert average == pytest.approx(expected["sbar2"], rel=1e-12)


def test_log_density_of_data(vectors, gaussian):
    reference = vectors["gaussian_D6"]
    x1 = torch.tensor([reference["x1"]], dtype=torch.float64)
    assert multivariate_normal(gaussian.mean, gaussian.covariance).logpdf(x1[0]) == pytest.approx(
        reference["logp(x1)"], abs=1e-12
    )
    assert float(gaussian.denoiser.log_density(x1, 200.0)) == pytest.approx(
        reference["logp(x1)"], abs=1e-12
    )


def test_conditional_law_of_reference(vectors, gaussian):
    reference = vectors["gaussian_D6"]["conditional"]
    known, unknown = reference["known"], [1, 3, 5]
    covariance, mean = gaussian.covariance.numpy(), gaussian.mean.numpy()
    gain = np.linalg.solve(covariance[np.ix_(known, known)], covariance[np.ix_(known, unknown)]).T
    np.testing.assert_allclose(
        mean[unknown] + gain @ (reference["x_k"] - mean[known]), reference["mean"], rtol=1e-9
    )
    remaining = covariance[np.ix_(unknown, unknown)] - gain @ covariance[np.ix_(known, unknown)]
    np.testing.assert_allclose(np.diag(remaining), reference["var"], rtol=1e-11)


def mixture():
    generator = torch.Generator().manual_seed(1)
    factors = torch.randn(3, 4, 4, generator=generator, dtype=torch.float64)
    means = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    return GaussianMixtureDenoiser(torch.tensor([0.2, 0.5, 0.3]), means, factors @ factors.mT / 4)


@pytest.mark.parametrize("log_snr", [-6.0, -1.0, 0.0, 2.0, 7.0])
def test_tweedie(log_snr):
    """alpha E[x | z] = z + sigma^2 grad log q(z), for the density by autograd."""
    denoiser = mixture()
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z.requires_grad_()
    (score,) = torch.autograd.grad(denoiser.log_density(z, log_snr).sum(), z)
    expected = (z + sigma(log_snr) ** 2 * score) / alpha(log_snr)
    torch.testing.assert_close(denoiser(z, log_snr), expected.detach(), rtol=1e-9, atol=1e-9)


def test_mixture_density_integrates_to_one():
    denoiser = GaussianMixtureDenoiser(
        torch.tensor([1.0, 3.0]), torch.tensor([[-1.0], [1.5]]), torch.tensor([[[0.1]], [[0.0]]])
    )
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    density = denoiser.log_density(z, 1.0).exp()
    assert float(torch.trapezoid(density, z[:, 0])) == pytest.approx(1, abs=1e-10)
    posterior_mean = torch.trapezoid(density * denoiser(z, 1.0)[:, 0], z[:, 0])
    assert float(posterior_mean) == pytest.approx(-0.25 + 0.75 * 1.5, abs=1e-9)


def test_posterior_covariance_is_tweedies_second_moment(gaussian):
    """Cov[x | z] = (sigma^2 / alpha) d x_hat / d z."""
    log_snr = 1.3
    jacobian = torch.autograd.functional.jacobian(
        lambda z: gaussian.denoiser(z[None], log_snr)[0], torch.zeros(6, dtype=torch.float64)
    )
    expected = sigma(log_snr) ** 2 / alpha(log_snr) * jacobian
    torch.testing.assert_close(
        gaussian.denoiser.posterior_covariance(log_snr), expected, rtol=1e-10, atol=1e-12
    )


def test_one_log_snr_per_sample_and_any_shape():
    denoiser = mixture()
    z = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(2))
    log_snr = torch.tensor([-1.0, 0.0, 4.0], dtype=torch.float64)
    together = denoiser(z, log_snr)
    assert together.shape == z.shape and together.dtype == z.dtype
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], denoiser(z[i : i + 1], log_snr[i]))


@pytest.mark.parametrize("log_snr", [-30.0, 0.0, 30.0])
def test_float32_agrees_with_float64(log_snr):
    z = 5 * torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    found = mixture()(z, log_snr)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), mixture()(z.double(), log_snr), rtol=1e-5, atol=1e-5)


def test_errors():
    with pytest.raises(ValueError, match="covariance must have shape"):
        GaussianDenoiser(torch.zeros(2), torch.eye(3))
    with pytest.raises(ValueError, match="positive semi-definite"):
        GaussianDenoiser(torch.zeros(2), -torch.eye(2))
    with pytest.raises(ValueError, match="weights must be non-negative"):
        GaussianMixtureDenoiser(torch.tensor([1.0, -1.0]), torch.zeros(2, 1), torch.zeros(2, 1, 1))
