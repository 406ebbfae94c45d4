"""Blur and coarse-graining against scipy, block means and the exact law of Gaussian fields."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq
from scipy.stats import norm

from skdiffuse.corruptions import (
    BlurCorruption,
    CoarseGrainingCorruption,
    GaussianBlurDenoiser,
    blur,
    cosine_basis,
    damping,
    draw_back,
)
from skdiffuse.diffusion import GaussianMixtureDenoiser, RandomStreams

FIELD = torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_cosines_are_those_of_scipy():
    ours = cosine_basis(6) @ FIELD[0, 0] @ cosine_basis(8).T
    np.testing.assert_allclose(ours, dctn(FIELD[0, 0].numpy(), norm="ortho"), atol=1e-12)


def test_blur_is_a_gaussian_kernel_with_mirrored_edges():
    wide = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theirs = gaussian_filter(wide[0].numpy(), 2.0, mode="reflect", truncate=8)
    np.testing.assert_allclose(blur(wide, torch.tensor(2.0))[0], theirs, atol=1e-6)


def test_damping_is_what_a_wide_gaussian_kernel_leaves_of_each_cosine():
    basis, n = cosine_basis(40), 40
    theirs = gaussian_filter(basis.numpy(), (0, 2.0), mode="reflect", truncate=8)
    left = damping(n, torch.tensor(2.0))
    np.testing.assert_allclose(left[:, None] * basis, theirs, atol=1e-6)
    several = damping(n, torch.tensor([0.0, 2.0, torch.inf]))
    assert several.dtype == torch.float64 and (several[0] == 1).all()
    assert torch.equal(several[1], left) and several[2].tolist() == [1.0] + [0.0] * (n - 1)


def test_blur_solves_the_heat_equation():
    """In steps of half the width's square, whose time derivative is the cosines' curvature."""
    tau, step = 1.5, 1e-5
    width = lambda t: torch.tensor(2 * t, dtype=torch.float64).sqrt()  # noqa: E731
    change = (blur(FIELD, width(tau + step)) - blur(FIELD, width(tau - step))) / (2 * step)
    rows, columns = cosine_basis(6), cosine_basis(8)
    k, m = math.pi * torch.arange(6)[:, None] / 6, math.pi * torch.arange(8) / 8
    curvature = -(k**2 + m**2) * (rows @ blur(FIELD, width(tau))[0, 0] @ columns.T)
    np.testing.assert_allclose(change[0, 0], rows.T @ curvature @ columns, atol=2e-5)


@pytest.mark.parametrize("kind", [BlurCorruption, CoarseGrainingCorruption])
def test_smoothing_keeps_means_and_each_sample_has_its_own(kind):
    corruption = kind(width=2.0)
    fields = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([-4.0, 0.0, torch.inf], dtype=torch.float64)
    together = corruption.smooth(fields, levels)
    torch.testing.assert_close(together.mean((-2, -1)), fields.mean((-2, -1)))
    for i, level in enumerate(levels):
        torch.testing.assert_close(together[i : i + 1], corruption.smooth(fields[i : i + 1], level))


def test_coarse_graining_passes_through_block_means():
    corruption = CoarseGrainingCorruption(width=8.0)
    fields = torch.rand(1, 1, 12, 8, generator=torch.Generator().manual_seed(0))
    for side in (2, 4):
        coarse = corruption.smooth(fields, torch.tensor(corruption.log_snr_of(side)))
        means = fields.reshape(1, 1, 12 // side, side, 8 // side, side).mean((3, 5))
        torch.testing.assert_close(coarse[..., ::side, ::side], means)
        torch.testing.assert_close(coarse[..., side - 1 :: side, side - 1 :: side], means)


def test_rain_is_smoothed_in_mm_per_hour():
    corruption = CoarseGrainingCorruption(noise_level=0.0, of_rain=True).bound(
        torch.square, torch.sqrt
    )
    root = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    z = corruption.corrupt(root, torch.tensor(-torch.inf), torch.zeros(()))
    torch.testing.assert_close(z[0, 0, 0, 0], root.square().mean().sqrt())


class TestGaussianFields:
    """A linear sampler: its output's covariance follows from what it makes of unit vectors."""

    power = 2.0 / (1 + torch.arange(4.0)[:, None] ** 2 + torch.arange(4.0) ** 2).double()

    def error(self, corruption, n_steps):
        """Relative error of the covariance in the cosine basis, and the share of its trace."""
        denoiser = GaussianBlurDenoiser(corruption, self.power)
        basis = torch.einsum("ky,lx->klyx", cosine_basis(4), cosine_basis(4)).reshape(16, 1, 4, 4)
        grid = torch.linspace(-20, 20, n_steps + 1, dtype=torch.float64)
        out = draw_back(corruption, denoiser, basis, grid, RandomStreams(range(16)))
        response = out.flatten(1) @ basis.flatten(1).T
        law = corruption.noise_level**2 * torch.ones(16, dtype=torch.float64)
        # Means are kept to the noisy end.
        law[0] += self.power[0, 0]
        covariance = response.T @ torch.diag(law) @ response
        exact = torch.diag(self.power.flatten())
        return float((covariance - exact).norm() / exact.norm()), float(
            covariance.trace() / exact.trace()
        )

    @pytest.mark.parametrize("noise_level", [1.0, 0.3])
    def test_improved_sampling_returns_the_covariance(self, noise_level):
        corruption = BlurCorruption(width=2.0, noise_level=noise_level)
        errors = [self.error(corruption, n)[0] for n in (32, 128, 512)]
        assert errors[0] / errors[1] > 3
        assert errors[1] / errors[2] > 3
        assert errors[2] < 0.04

    def test_without_noise_no_detail_comes_back(self):
        """The law at the noisy end has no detail, and the way back adds none: Su, section 11.3."""
        noisy = self.error(BlurCorruption(width=2.0, noise_level=0.001), 512)[1]
        means = float(self.power[0, 0] / self.power.sum())
        # Where noise is next to nothing, so is what it turns into in as many steps.
        assert noisy < 1
        assert means < noisy

    def test_marginal_variance_of_naive_steps(self):
        """With all noise new the sampler is ancestral without memory, and loses more."""
        naive = BlurCorruption(width=2.0, fresh=1.0)
        improved = BlurCorruption(width=2.0)
        grid = torch.linspace(-20, 20, 65, dtype=torch.float64)
        spread = []
        for corruption in (naive, improved):
            denoiser = GaussianBlurDenoiser(corruption, self.power)
            streams = RandomStreams(range(1000))
            z = streams.each(lambda g: torch.randn((1, 4, 4), generator=g))
            z += (
                math.sqrt(float(self.power[0, 0]))
                / 4
                * torch.randn((1000, 1, 1, 1), generator=torch.Generator().manual_seed(0))
            )
            spread.append(draw_back(corruption, denoiser, z, grid, streams).var(0).mean())
        exact = self.power.sum() / 16
        assert spread[1] > 0.75 * exact
        assert spread[0] < 0.7 * exact


def test_without_blur_it_is_the_ode_whose_densities_obey_the_heat_equation():
    """Su, 12.17: the distribution function is carried along, from wide noise to the data."""
    means, std = (-1.0, 1.0), 0.3
    data = GaussianMixtureDenoiser(
        torch.tensor([0.3, 0.7]), torch.tensor([[m] for m in means]), torch.full((2, 1, 1), std**2)
    )
    corruption = BlurCorruption(width=0.0, noise_level=100.0)

    def quantile(p, noise):
        wide = math.hypot(std, noise)
        cdf = lambda x: (  # noqa: E731
            0.3 * norm.cdf(x, means[0], wide) + 0.7 * norm.cdf(x, means[1], wide) - p
        )
        return brentq(cdf, -1000, 1000)

    def denoiser(z, log_snr):
        noise = corruption.noise_std(log_snr)
        own = -2 * torch.log(noise)
        return data(z.flatten(1) / torch.sqrt(1 + noise**2), own).reshape(z.shape)

    levels = (0.05, 0.29, 0.5, 0.9)
    grid = torch.linspace(-20, 24, 2001, dtype=torch.float64)
    start = torch.tensor([quantile(p, 100.0) for p in levels], dtype=torch.float64)
    end = draw_back(corruption, denoiser, start.reshape(-1, 1, 1, 1), grid, RandomStreams(range(4)))
    np.testing.assert_allclose(end.flatten(), [quantile(p, 0.0) for p in levels], atol=0.02)


def test_denoiser_without_noise_is_refused():
    with pytest.raises(ValueError, match="must have noise"):
        GaussianBlurDenoiser(BlurCorruption(noise_level=0.0), torch.ones(2, 2))
