"""Conditional methods on the Gaussian data, whose laws are known: a test of the chain and loop.

Guidance is written out here, from the exact Jacobian, so that nothing is shared with the package.
"""

import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    AncestralStep,
    KnownCells,
    TruncatedCosineSchedule,
    alpha,
    condition,
    integrate,
    sampling_grid,
    sigma,
)

KNOWN, UNKNOWN = torch.tensor([0, 2, 4]), [1, 3, 5]
GRID = sampling_grid(TruncatedCosineSchedule(-20.0, 20.0), 256, "time")
EYE = torch.eye(6, dtype=torch.float64)


class Probes:
    """Streams for 13 samples: zero, six unit latents, six unit noises."""

    def __len__(self):
        return 13

    def normal(self, shape, dtype):
        return torch.cat([torch.zeros(7, 6), torch.eye(6)]).to(dtype)


def affine_step(denoiser, i):
    """Offset, response to z and response to noise of ancestral step i."""
    z = torch.cat([torch.zeros(1, 6), torch.eye(6), torch.zeros(6, 6)]).double()
    out = integrate(denoiser, z, GRID[i : i + 2], AncestralStep("lower"), streams=Probes())
    of_z, of_noise = (out[1:] - out[0]).split(6)
    return out[0], of_z.T, of_noise.T


def conditional_law(denoiser, x_known, replacement):
    """Mean and variances of the unknown cells; the noise of replaced cells is part of the state."""
    mean = torch.zeros(9, dtype=torch.float64)
    covariance = torch.eye(9, dtype=torch.float64)

    def replaced(mean, covariance, log_snr):
        transform, offset = torch.eye(9, dtype=torch.float64), torch.zeros(9, dtype=torch.float64)
        transform[KNOWN, KNOWN] = 0
        transform[KNOWN, 6 + torch.arange(3)] = float(sigma(log_snr))
        offset[KNOWN] = float(alpha(log_snr)) * x_known
        if replacement == "fresh":  # the noise is a new one, unrelated to the state
            covariance = covariance.clone()
            covariance[6:, :6] = covariance[:6, 6:] = 0
        return transform @ mean + offset, transform @ covariance @ transform.T

    if replacement:
        mean, covariance = replaced(mean, covariance, GRID[0])
    for i in range(256):
        offset, of_z, of_noise = affine_step(denoiser, i)
        transform = torch.eye(9, dtype=torch.float64)
        transform[:6, :6] = of_z
        mean = transform @ mean
        mean[:6] += offset
        covariance = transform @ covariance @ transform.T
        covariance[:6, :6] += of_noise @ of_noise.T
        if replacement:
            mean, covariance = replaced(mean, covariance, GRID[i + 1])
    return mean[UNKNOWN], torch.diag(covariance)[UNKNOWN]


def guided(gaussian, x_known, weight):
    """``x_hat + (sigma^2 / alpha) J_k^T W (x_k - x_hat_k)`` with W = weight(alpha, sigma, J)."""

    def denoiser(z, log_snr):
        a, s = float(alpha(log_snr)), float(sigma(log_snr))
        marginal = a**2 * gaussian.covariance + s**2 * EYE
        jacobian = a * gaussian.covariance @ torch.linalg.inv(marginal)
        x_hat = gaussian.denoiser(z, log_snr)
        error = x_known - x_hat[:, KNOWN]
        return x_hat + s**2 / a * error @ weight(a, s, jacobian[KNOWN][:, KNOWN]) @ jacobian[KNOWN]

    return denoiser


METHODS = {
    # w alpha J^T (x_k - x_hat_k): alpha once, not squared as printed
    "ho w=1": ("fresh", lambda a, s, jacobian: a**2 / s**2 * EYE[:3, :3]),
    "ho w=1 printed alpha^2": ("fresh", lambda a, s, jacobian: a**3 / s**2 * EYE[:3, :3]),
    "pigdm": ("fresh", lambda a, s, jacobian: EYE[:3, :3] / s**2),
    # the posterior covariance of the known cells is (sigma^2 / alpha) J_kk
    "exact": (None, lambda a, s, jacobian: torch.linalg.inv(s**2 / a * jacobian)),
}


@pytest.mark.parametrize("method", METHODS)
def test_guidance_of_reference(vectors, gaussian, method):
    reference = vectors["gaussian_D6"]["conditional"]
    x_known = torch.tensor(reference["x_k"], dtype=torch.float64)
    replacement, weight = METHODS[method]
    law = conditional_law(guided(gaussian, x_known, weight), x_known, replacement)
    for found, expected in zip(law, reference[f"{method} T=256 mean,var"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("replacement", ["fresh", "fixed"])
def test_replacement_of_reference(vectors, gaussian, replacement):
    """Replacing known cells after every step, with new or the same noise, has a known bias."""
    reference = vectors["gaussian_D6"]["conditional"]
    x_known = torch.tensor(reference["x_k"], dtype=torch.float64)
    law = conditional_law(gaussian.denoiser, x_known, replacement)
    for found, expected in zip(
        law, reference[f"replace {replacement} T=256 mean,var"], strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


OURS = {
    "replace fresh": ("fresh", "replacement", {}),
    "ho w=1": ("fresh", "ho", {"w_r": 1.0}),
    "pigdm": ("fresh", "pigdm", {}),
    "exact": (None, "moment_matching", {}),
}


@pytest.mark.parametrize("name", OURS)
def test_our_methods_have_the_law_of_reference(vectors, gaussian, name):
    """Nothing is sampled: biases and all, the package's denoisers have exactly these laws."""
    reference = vectors["gaussian_D6"]["conditional"]
    values = torch.full((1, 6), torch.nan, dtype=torch.float64)
    values[0, KNOWN] = torch.tensor(reference["x_k"], dtype=torch.float64)
    replacement, method, options = OURS[name]
    denoiser = condition(gaussian.denoiser, KnownCells(values), method, **options)
    law = conditional_law(denoiser, values[0, KNOWN], replacement)
    for found, expected in zip(law, reference[f"{name} T=256 mean,var"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_moment_matching_is_exact(gaussian):
    """Mean within 1e-6 and variances within 2.5 % (and closer with more steps), by Gauss's rule."""
    values = torch.tensor([[0.6, torch.nan, -0.9, torch.nan, 1.1, torch.nan]]).double()
    k, u = KNOWN, UNKNOWN
    regression = gaussian.covariance[u][:, k] @ torch.linalg.inv(gaussian.covariance[k][:, k])
    exact_mean = gaussian.mean[u] + regression @ (values[0, k] - gaussian.mean[k])
    exact = gaussian.covariance[u][:, u] - regression @ gaussian.covariance[k][:, u]
    denoiser = condition(gaussian.denoiser, KnownCells(values), "moment_matching")
    mean, variance = conditional_law(denoiser, values[0, k], None)
    assert (mean - exact_mean).norm() < 1e-6
    assert 0.975 < variance.sum() / torch.trace(exact) < 1
