"""Student-t noise against quadrature, with one cell and with two coupled ones."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, multivariate_normal, multivariate_t, norm
from scipy.stats import t as student

from skdiffuse.corruptions import ScaleMixtureDenoiser, StudentTCorruption
from skdiffuse.diffusion import (
    GaussianDenoiser,
    HeunStep,
    RandomStreams,
    TruncatedCosineSchedule,
    alpha,
    elbo,
    run_sampler,
    sampling_grid,
    sigma,
)

NU = 4.0
SCALE = math.sqrt((NU - 2) / NU)
COVARIANCE = np.array([[1.0, 0.6], [0.6, 0.8]])


@pytest.mark.parametrize("log_snr", [-3.0, 0.0, 2.0])
def test_one_cell_against_quadrature(log_snr):
    a, s = float(alpha(log_snr)), float(sigma(log_snr))
    one = GaussianDenoiser(torch.zeros(1), torch.ones(1, 1))
    heavy = ScaleMixtureDenoiser(StudentTCorruption(NU), one)
    for z in (-6.0, 0.3, 2.0):
        joint = lambda x, z=z: norm.pdf(x) * student.pdf(z, NU, a * x, s * SCALE)  # noqa: E731
        evidence = quad(joint, -9, 9, points=[z / a] if abs(z / a) < 9 else None)[0]
        mean = quad(lambda x: x * joint(x), -9, 9)[0] / evidence  # noqa: B023
        where = torch.tensor([[z]], dtype=torch.float64)
        assert heavy(where, log_snr).item() == pytest.approx(mean, rel=1e-5)
        assert heavy.log_density(where, log_snr).item() == pytest.approx(
            math.log(evidence), abs=1e-6
        )


@pytest.mark.parametrize("log_snr", [-2.0, 1.0])
def test_two_coupled_cells_against_quadrature(log_snr):
    a, s = float(alpha(log_snr)), float(sigma(log_snr))
    two = GaussianDenoiser(torch.zeros(2), torch.from_numpy(COVARIANCE))
    heavy = ScaleMixtureDenoiser(StudentTCorruption(NU), two)
    axis = np.linspace(-7, 7, 401)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    z = np.array([0.4, -2.5])
    noise = multivariate_t(shape=(s * SCALE) ** 2 * np.eye(2), df=NU)
    joint = multivariate_normal(cov=COVARIANCE).pdf(x) * noise.pdf(z - a * x)
    cell = (axis[1] - axis[0]) ** 2
    evidence = joint.sum() * cell
    mean = (joint[..., None] * x).sum((0, 1)) * cell / evidence
    where = torch.from_numpy(z[None])
    np.testing.assert_allclose(heavy(where, log_snr)[0], mean, rtol=1e-4)
    assert heavy.log_density(where, log_snr).item() == pytest.approx(math.log(evidence), abs=1e-4)


@pytest.mark.parametrize("coupled", [True, False])
def test_law_of_a_step_back_is_that_of_two_noise_levels(coupled):
    """Weighting the scales of the noise by how they explain z, which is what defines it."""
    corruption = StudentTCorruption(NU, coupled)
    t, s = torch.tensor(-1.0, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    x, z = torch.tensor([0.5, -1.0]).double(), torch.tensor([2.0, -0.5]).double()
    n = 1500
    chance = RandomStreams(range(n)).each(lambda g: corruption.step_noise((2,), g)).double()
    stepped = corruption.step_back(z.expand(n, 2), x.expand(n, 2), t, s, chance)[:, 0]
    a_t, s_t, a_s, s_s = (float(f(level)) for level in (t, s) for f in (alpha, sigma))
    eps = ((z - a_t * x) / (s_t * SCALE)).numpy()
    d, squares = (2, (eps**2).sum()) if coupled else (1, eps[0] ** 2)

    # q(z_s | z, x, g) of the first cell is Gaussian; g is weighted by its gamma law and evidence.
    ratio = a_t / a_s
    spread = s_t**2 - ratio**2 * s_s**2
    mean = ratio * s_s**2 / s_t**2 * float(z[0]) + a_s * spread / s_t**2 * float(x[0])
    std = s_s * math.sqrt(spread) / s_t * SCALE
    log_g = np.linspace(-9, 4, 3000)
    g = np.exp(log_g)
    weights = g ** (NU / 2) * np.exp(-NU * g / 2) * g ** (d / 2) * np.exp(-g * squares / 2)
    weights /= weights.sum()
    cdf = lambda v: (weights * norm.cdf((np.reshape(v, (-1, 1)) - mean) * np.sqrt(g) / std)).sum(1)  # noqa: E731
    assert kstest(stepped.numpy(), cdf).pvalue > 1e-3


def test_deterministic_steps_return_the_data_from_student_noise():
    """One cell of a Gaussian: distribution functions are carried along the ODE."""
    one = GaussianDenoiser(torch.zeros(1), torch.full((1, 1), 0.25))
    heavy = ScaleMixtureDenoiser(StudentTCorruption(NU), one)
    grid = sampling_grid(TruncatedCosineSchedule(), 64, "angle")
    levels = np.array([0.02, 0.3, 0.5, 0.9, 0.999])
    start = torch.from_numpy(SCALE * student.ppf(levels, NU))[:, None]
    drawn = run_sampler(heavy, start, grid, HeunStep())
    np.testing.assert_allclose(drawn[:, 0], norm.ppf(levels, scale=0.5), rtol=0.01, atol=1e-6)


def test_bound_of_the_density_lies_below_it_and_near():
    corruption = StudentTCorruption(NU)
    one = GaussianDenoiser(torch.zeros(1), torch.ones(1, 1))
    heavy = ScaleMixtureDenoiser(corruption, one)
    # Quantiles of the data, so that a mean over them is minus the entropy.
    n = 200
    x = torch.from_numpy(norm.ppf((np.arange(n) + 0.5) / n))[:, None]
    bounds = []
    for view in corruption.gaussian_views(heavy):
        streams = RandomStreams(range(n))
        found = elbo(view, x, streams, log_snr_min=-20.0, log_snr_max=12.0, n_levels=24, n_noise=2)
        bounds.append(-found.bound)
    average = float(torch.stack(bounds).mean())
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    assert -entropy - 0.6 < average < -entropy + 0.03


def test_uncoupled_noise_has_no_bound_and_no_mixture_of_scales():
    uncoupled = StudentTCorruption(NU, coupled=False)
    assert "likelihood" not in uncoupled.capabilities
    with pytest.raises(ValueError, match="coupled=True"):
        ScaleMixtureDenoiser(uncoupled, GaussianDenoiser(torch.zeros(1), torch.ones(1, 1)))
