import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse.diffusion import GaussianDenoiser, VDenoiser
from skdiffuse.networks import VideoUNet, WienerSkip
from skdiffuse.networks.spectral import mean_power, periodic_axes

SHAPE = (3, 4, 5)


def make_skip(power, **options):
    """The skip alone: a U-Net predicts 0 before it is trained."""
    with torch.random.fork_rng(devices=[]):
        return WienerSkip(VideoUNet(8, (1, 2), in_channels=2, out_channels=3, **options), power)


def random_power(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).gamma(0.3, 5.0, SHAPE) + 1e-3)


@pytest.mark.parametrize("log_snr", [-20.0, -8.0, 0.0, 8.0, 20.0])
def test_exact_for_gaussian_data_of_the_same_power(log_snr):
    power = random_power().float().double()
    basis = scipy.fft.dctn(np.eye(60).reshape(60, *SHAPE), axes=(1, 2, 3), norm="ortho")
    basis = basis.reshape(60, 60)
    covariance = torch.from_numpy(basis @ np.diag(power.flatten()) @ basis.T)
    exact = GaussianDenoiser(torch.zeros(60, dtype=torch.float64), covariance)
    z = torch.randn(4, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_snr = torch.tensor(log_snr, dtype=torch.float64)
    skip = make_skip(power).double()
    x_hat = VDenoiser(skip)(z.reshape(4, *SHAPE), log_snr).detach()
    np.testing.assert_allclose(x_hat.reshape(4, 60), exact(z, log_snr), rtol=1e-5, atol=1e-5)


@given(st.floats(-30, 30), st.floats(1e-6, 1e6))
def test_always_finite_in_float32(log_snr, variance):
    v = make_skip(torch.full(SHAPE, variance))(torch.ones(1, *SHAPE), torch.tensor(log_snr))
    assert torch.isfinite(v).all()


def test_white_data_of_unit_variance_need_no_skip():
    z = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    v = make_skip(torch.ones(SHAPE))(z, torch.tensor([-3.0, 4.0]))
    torch.testing.assert_close(v, torch.zeros_like(z), atol=1e-6, rtol=0)


def test_other_sizes_are_read_at_the_same_frequencies():
    """A spectrum that is a function of frequency keeps being it, where it is linear."""

    def spectrum(shape):
        t, y, x = (torch.arange(n) / n for n in shape)
        return 5 - t[:, None, None] - 2 * y[:, None] - x

    skip = make_skip(spectrum((4, 8, 8)))
    torch.testing.assert_close(skip._power_at((4, 8, 8)), spectrum((4, 8, 8)))
    torch.testing.assert_close(skip._power_at((2, 4, 8)), spectrum((2, 4, 8)))
    finer = skip._power_at((4, 16, 8))
    # Above the highest known frequency the last value is kept.
    torch.testing.assert_close(finer[:, :15], spectrum((4, 16, 8))[:, :15])
    torch.testing.assert_close(finer[:, 15], finer[:, 14])


@pytest.mark.parametrize("log_snr", [-8.0, 0.0, 8.0])
def test_exact_for_gaussian_data_without_a_seam(log_snr):
    """The covariance of a ring, estimated from its windows, and read at another length."""

    def covariance(n):
        apart = np.arange(n)
        apart = np.minimum(apart, n - apart)
        around = sum(np.exp(-np.abs(apart + n * k) / 1.5) for k in range(-20, 21))
        return around[(np.arange(n)[:, None] - np.arange(n)) % n]

    draws = np.random.default_rng(0).normal(size=(40000, 8)) @ np.linalg.cholesky(covariance(8)).T
    windows = torch.from_numpy(draws)[:, None, None]
    periodic = periodic_axes(("zero", "periodic"))
    power = mean_power([windows], [torch.ones(len(windows))], periodic)
    assert power[0, 0, 1] == power[0, 0, 2]
    skip = make_skip(power, edges=("zero", "periodic")).double()
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_snr = torch.tensor(log_snr, dtype=torch.float64)
    mean = torch.zeros(8, dtype=torch.float64)
    exact = GaussianDenoiser(mean, torch.from_numpy(covariance(8)))
    x_hat = VDenoiser(skip)(z.reshape(4, 1, 1, 8), log_snr).detach()
    np.testing.assert_allclose(x_hat.reshape(4, 8), exact(z, log_snr), atol=0.03)
    # Every second frequency of twice the length is one of the length.
    waves = skip._power_at((1, 1, 16))[0, 0]
    torch.testing.assert_close(waves[[0, 3, 4, 7, 8, 15]], skip.power[0, 0, [0, 1, 2, 3, 4, 7]])


def test_a_periodic_skip_has_no_seam():
    power = mean_power(
        [torch.randn(50, 3, 4, 8, generator=torch.Generator().manual_seed(1)).cumsum(-1)],
        [torch.ones(50)],
        (False, False, True),
    )
    for width in (8, 12, 7):
        skip = make_skip(power, edges=("zero", "periodic"))
        z = torch.randn(2, 3, 4, width, generator=torch.Generator().manual_seed(0))
        rolled = skip(z.roll(3, -1), torch.tensor(0.3)).roll(-3, -1)
        torch.testing.assert_close(rolled, skip(z, torch.tensor(0.3)), rtol=1e-4, atol=1e-5)
