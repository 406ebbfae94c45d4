import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from skdiffuse.diffusion import (
    AdamsBashforthStep,
    AdamsStep,
    Angle,
    ClampedDenoiser,
    GaussianDenoiser,
    GaussianMixtureDenoiser,
    HeunStep,
    LogSNR,
    RungeKuttaStep,
    TaperedLogSNR,
    TruncatedCosineSchedule,
    integrate,
    run_sampler,
    sampling_grid,
)

SCHEDULE = TruncatedCosineSchedule(-20.0, 20.0)


@pytest.mark.parametrize("n_steps", [8, 256])
def test_heun_of_reference(vectors, gaussian, output_law, n_steps):
    grid = sampling_grid(SCHEDULE, n_steps, "time")
    _, covariance = output_law(gaussian.denoiser, HeunStep(), grid)
    expected = vectors["gaussian_D6"][f"heun T={n_steps}: diag cov"]
    np.testing.assert_allclose(torch.diag(covariance), expected, rtol=2e-11)


def test_heun_column_of_the_table(covariance_error):
    errors = {
        n: covariance_error(HeunStep(), sampling_grid(SCHEDULE, n, "time")) for n in (16, 256, 1024)
    }
    assert [f"{error:.1e}" for error in errors.values()] == ["8.7e-03", "3.2e-05", "2.0e-06"]
    assert math.log2(errors[256] / errors[1024]) / 2 == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize(
    ("step", "order", "coarse"),
    [
        (RungeKuttaStep("euler"), 1, 128),
        (RungeKuttaStep("midpoint"), 2, 64),
        (RungeKuttaStep("heun"), 2, 64),
        (RungeKuttaStep("kutta3"), 3, 32),
        (RungeKuttaStep("rk4"), 4, 32),
        (AdamsBashforthStep(), 2, 128),
    ],
)
def test_orders_of_convergence(gaussian, step, order, coarse):
    """Of the latent itself; the exact one is a linear map of the noise."""
    z = torch.eye(6, dtype=torch.float64)
    outs = []
    for n in (coarse, 2 * coarse, 16 * coarse):
        grid = sampling_grid(SCHEDULE, n, "angle")
        outs.append(integrate(gaussian.denoiser, z, grid, step))
    errors = [float((out - exact_map(gaussian, z)).norm()) for out in outs[:2]]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def exact_map(gaussian, z):
    """Probability-flow ODE of Gaussian data from log-SNR -20 to 20."""
    eigenvalues, basis = torch.linalg.eigh(gaussian.covariance)
    variance = lambda alpha2: alpha2 * eigenvalues + 1 - alpha2  # noqa: E731
    alpha2 = torch.sigmoid(torch.tensor([-20.0, 20.0], dtype=torch.float64))
    scale = torch.sqrt(variance(alpha2[1]) / variance(alpha2[0]))
    start, stop = (torch.sqrt(a2) * gaussian.mean for a2 in alpha2)
    return stop + ((z - start) @ basis * scale) @ basis.T


@pytest.mark.parametrize(("order", "measured"), [(3, 3), (4, 4)])
def test_adams_order(gaussian, order, measured):
    z = torch.eye(6, dtype=torch.float64)
    step = AdamsStep(order, coordinate=TaperedLogSNR(6.0))
    errors = []
    for n in (40, 80):
        out = integrate(gaussian.denoiser, z, sampling_grid(SCHEDULE, n, step.coordinate), step)
        errors.append(float((out - exact_map(gaussian, z)).norm()))
    assert math.log2(errors[0] / errors[1]) > measured - 0.3


class Counting:
    def __init__(self, denoiser):
        self.denoiser, self.count = denoiser, 0

    def __call__(self, z, log_snr):
        self.count += 1
        return self.denoiser(z, log_snr)


def test_headline_20_evaluations(gaussian, output_law):
    """At most 0.3 % error of the covariance at 20 evaluations; ancestral needs over 1000."""
    coordinate = TaperedLogSNR(half_width=6.0)
    counting = Counting(gaussian.denoiser)
    grid = sampling_grid(SCHEDULE, 19, coordinate)
    mean, covariance = output_law(counting, AdamsStep(coordinate=coordinate), grid, last_mean=True)
    assert counting.count == 20
    error = torch.linalg.norm(covariance - gaussian.covariance)
    assert error <= 0.0015 * torch.linalg.norm(gaussian.covariance)
    torch.testing.assert_close(mean, gaussian.mean, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("evaluations", "allowed"), [(20, 0.03), (32, 0.003), (50, 3e-4)])
def test_default_resolves_a_spectrum_like_that_of_rain(output_law, evaluations, allowed):
    """Variances from 1e-4 to 1e4, where a grid uniform in the angle loses the large ones."""
    spectrum = torch.logspace(-4, 4, 9, dtype=torch.float64)
    denoiser = GaussianDenoiser(torch.zeros(9), torch.diag(spectrum))

    def sampled_variance(step, spacing):
        grid = sampling_grid(SCHEDULE, evaluations - 1, spacing)
        return output_law(denoiser, step, grid, last_mean=True, dim=9)[1].diag()

    found = sampled_variance(AdamsStep(), "tapered")
    weighted = torch.linalg.norm(found - spectrum) / torch.linalg.norm(spectrum)
    assert weighted < allowed
    assert float(((found / spectrum)[2:] - 1).abs().max()) < 2 * allowed
    angle = sampled_variance(AdamsBashforthStep(), "angle")
    assert float((angle / spectrum)[-1]) < 0.2


def test_exact_for_unit_variance():
    """v = 0: every solver is exact, at any number of steps."""
    white = GaussianDenoiser(torch.zeros(3), torch.eye(3))
    z = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in (AdamsStep(), AdamsBashforthStep(), HeunStep(), RungeKuttaStep("rk4")):
        out = integrate(white, z, sampling_grid(SCHEDULE, 3, "tapered"), step)
        torch.testing.assert_close(out, z, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("step", "spacing", "allowed"),
    [
        (AdamsStep(), "tapered", 0.012),
        (AdamsStep(coordinate=TaperedLogSNR(4.0)), TaperedLogSNR(4.0), 0.005),
        (RungeKuttaStep("rk4"), "tapered", 0.01),
    ],
)
def test_quantile_map_of_a_mixture(step, spacing, allowed):
    """In one dimension the ODE maps the quantiles of the noise to those of the data."""
    weights, means, std = np.array([0.3, 0.7]), np.array([-1.0, 1.2]), np.array([0.4, 0.3])
    denoiser = GaussianMixtureDenoiser(weights, means[:, None], (std**2)[:, None, None])
    z = norm.ppf((np.arange(200) + 0.5) / 200)

    def quantile(p):
        return brentq(lambda x: weights @ norm.cdf((x - means) / std) - p, -6, 6)

    exact = np.array([quantile(p) for p in norm.cdf(z)])
    n_steps = 24 // step.evaluations
    grid = sampling_grid(SCHEDULE, n_steps, spacing)
    x = run_sampler(denoiser, torch.from_numpy(z)[:, None], grid, step)[:, 0].numpy()
    if step.evaluations == 1:
        assert np.sqrt(np.mean((x - exact) ** 2)) < allowed * exact.std()
    fine = run_sampler(
        denoiser, torch.from_numpy(z)[:, None], sampling_grid(SCHEDULE, 200, spacing), step
    )[:, 0].numpy()
    assert np.sqrt(np.mean((fine - exact) ** 2)) < 1e-4 * exact.std()


@pytest.mark.parametrize(
    "step", [AdamsStep(), AdamsStep(5), AdamsBashforthStep(), HeunStep(), RungeKuttaStep("rk4")]
)
@pytest.mark.parametrize("spacing", ["tapered", "angle", "log_snr", "edm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clamped_x_hat_does_not_explode(step, spacing, dtype):
    """v of a clamped x_hat divides by a vanishing sigma; latents must stay within bounds."""
    wide = GaussianDenoiser(torch.zeros(50), 9 * torch.eye(50))
    denoiser = ClampedDenoiser(wide, -0.5, 0.5)
    z = torch.randn(20, 50, generator=torch.Generator().manual_seed(0), dtype=dtype)
    largest = []
    x = run_sampler(
        denoiser,
        z,
        sampling_grid(SCHEDULE, 40, spacing),
        step,
        callback=lambda i, n, z, x_hat: largest.append(float(z.abs().max())),
    )
    assert torch.isfinite(x).all() and x.abs().max() <= 0.5
    assert max(largest) < 3 * float(z.abs().max())


def test_adams_weights_integrate_polynomials():
    """In the angle, AB2 has its textbook weights."""
    step = AdamsBashforthStep()
    grid = sampling_grid(SCHEDULE, 8, "angle")
    zero = torch.zeros(1, 1, dtype=torch.float64)
    seen = []

    def denoiser(z, log_snr):
        seen.append(z)
        return -torch.exp(-log_snr / 2) / torch.sqrt(1 + torch.exp(-log_snr)) * torch.ones_like(z)

    # x_hat = -sigma makes v = alpha z / sigma + 1; the weights of z = 0 are seen in the third z
    integrate(denoiser, zero, grid[3:6], step)
    v = [float(torch.exp(g / 2)) * float(z) + 1 for g, z in zip(grid[3:5], seen, strict=True)]
    h = -(math.pi / 2) * (1 - 2 * 2.8902492931039796e-05) / 8
    out = integrate(denoiser, zero, grid[3:6], step)
    assert float(out - seen[1]) == pytest.approx(h * (1.5 * v[1] - 0.5 * v[0]), rel=1e-9)


def test_reverse_direction_returns(gaussian):
    grid = sampling_grid(SCHEDULE, 100, "tapered")
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in (RungeKuttaStep("rk4"), AdamsStep()):
        there = integrate(gaussian.denoiser, z, grid, step)
        back = integrate(gaussian.denoiser, there, grid.flip(0), step)
        torch.testing.assert_close(back, z, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: RungeKuttaStep("rk5"), "method must be one of"),
        (lambda: AdamsStep(6), "order must lie in"),
        (lambda: AdamsStep(1), "at least 2 with a corrector"),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_coordinate_of_the_polynomial_may_differ_from_the_grid(covariance_error):
    grid = sampling_grid(SCHEDULE, 60, "tapered")
    for coordinate in (Angle(), LogSNR()):
        assert covariance_error(AdamsStep(3, coordinate=coordinate), grid) < 0.01
