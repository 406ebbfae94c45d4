import numpy as np
import pytest
import scipy.fft
import torch

from skdiffuse.networks.spectral import mean_power, spectral_transform

SHAPE = (3, 4, 5)


def random_power(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).gamma(0.3, 5.0, SHAPE) + 1e-3)


@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 1), (2, 7, 16)])
def test_cosine_transform_is_that_of_scipy(shape):
    x = np.random.default_rng(0).normal(size=(2, *shape))
    ours = spectral_transform(torch.from_numpy(x))
    expected = scipy.fft.dctn(x, axes=(1, 2, 3), norm="ortho")
    np.testing.assert_allclose(ours, expected, atol=1e-13)
    np.testing.assert_allclose(spectral_transform(ours, inverse=True), x, atol=1e-13)


def test_mean_power_of_known_data():
    """Windows of a known spectrum, unevenly weighted, half of their cells missing at random."""
    power = random_power(1)
    random = np.random.default_rng(0)
    coefficients = torch.from_numpy(random.normal(size=(20000, *SHAPE))) * power.sqrt()
    windows = spectral_transform(coefficients, inverse=True)
    estimate = mean_power([windows], [torch.ones(len(windows))])
    np.testing.assert_allclose(estimate, power, rtol=0.06)
    doubled = mean_power([windows, windows[:1] * 0], [torch.ones(20000), torch.tensor([20000.0])])
    np.testing.assert_allclose(doubled, estimate / 2, rtol=1e-5)
    gaps = torch.where(torch.from_numpy(random.random(windows.shape)) < 0.5, windows, torch.nan)
    total = mean_power([gaps], [torch.ones(len(gaps))]).sum()
    np.testing.assert_allclose(total, estimate.sum(), rtol=0.02)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_waves_have_the_power_of_numpys_fourier_transform(n):
    x = np.random.default_rng(0).normal(size=(3, n))
    ours = spectral_transform(torch.from_numpy(x)[:, None, None], (False, False, True))
    expected = np.abs(np.fft.rfft(x, norm="ortho")) ** 2
    expected[:, 1 : (n + 1) // 2] *= 2
    power = np.zeros_like(expected)
    for row, square in enumerate(ours[:, 0, 0].square().numpy().T):
        power[:, (row + 1) // 2] += square
    np.testing.assert_allclose(power, expected, atol=1e-12)
    back = spectral_transform(ours, (False, False, True), inverse=True)
    np.testing.assert_allclose(back[:, 0, 0], x, atol=1e-12)
