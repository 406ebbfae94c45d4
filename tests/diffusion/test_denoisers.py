from typing import get_origin, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse.diffusion import (
    PARAMETERIZATIONS,
    AdamsStep,
    ClampedDenoiser,
    Denoiser,
    EDMDenoiser,
    NetworkDenoiser,
    TruncatedCosineSchedule,
    VDenoiser,
    alpha,
    convert,
    run_sampler,
    sampling_grid,
    sigma,
)


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
def test_a_perfect_network_gives_the_exact_denoiser(gaussian, parameterization):
    def network(z, log_snr):
        x_hat = gaussian.denoiser(z, log_snr)
        return convert(x_hat, z, log_snr, source="x", target=parameterization)

    denoiser = NetworkDenoiser(network, parameterization)
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for log_snr in (-7.0, 0.0, 7.0):
        torch.testing.assert_close(
            denoiser(z, log_snr), gaussian.denoiser(z, log_snr), rtol=1e-9, atol=1e-9
        )
    if parameterization == "v":
        torch.testing.assert_close(VDenoiser(network)(z, 1.0), denoiser(z, 1.0))


@given(log_snr=st.floats(-15, 15), data_std=st.floats(0.05, 20))
def test_edm_preconditioning_is_that_of_the_paper(log_snr, data_std):
    """D(y; r) = c_skip y + c_out F(c_in y), for y = z / alpha."""
    noise = np.exp(-log_snr / 2)
    total = noise**2 + data_std**2
    c_skip, c_out, c_in = data_std**2 / total, noise * data_std / total**0.5, total**-0.5
    z = torch.tensor([[0.7, -1.1]], dtype=torch.float64)
    y = z.numpy() * np.hypot(1, noise)
    expected = c_skip * y + c_out * np.sin(c_in * y)
    denoiser = EDMDenoiser(lambda scaled, log_snr: torch.sin(scaled), data_std)
    np.testing.assert_allclose(denoiser(z, log_snr), expected, rtol=1e-9, atol=1e-12)


@given(log_snr=st.floats(-30, 30))
def test_edm_of_unit_variance_predicts_minus_v(log_snr):
    skip, out, scale = EDMDenoiser(torch.zeros_like).coefficients(log_snr)
    assert float(skip) == pytest.approx(float(alpha(log_snr)), rel=1e-12)
    assert float(out) == pytest.approx(float(sigma(log_snr)), rel=1e-12)
    assert float(scale) == pytest.approx(1, rel=1e-12)


def test_a_plain_function_is_a_denoiser():
    """That of white data of unit variance, whose noise the probability flow does not move."""

    def white(z, log_snr):
        return z * alpha(log_snr)

    assert isinstance(white, get_origin(Denoiser))
    assert get_type_hints(run_sampler)["denoiser"] == Denoiser
    noise = torch.linspace(-2, 2, 5, dtype=torch.float64)[None]
    data = run_sampler(white, noise, sampling_grid(TruncatedCosineSchedule(), 8), AdamsStep())
    np.testing.assert_allclose(data, noise, atol=1e-3)


def test_clamping():
    z = torch.tensor([[-3.0, 0.2, 3.0]])
    identity = lambda z, log_snr: z  # noqa: E731
    assert ClampedDenoiser(identity, -1, 1)(z, 0.0).tolist() == [[-1.0, pytest.approx(0.2), 1.0]]
    assert ClampedDenoiser(identity, upper=1)(z, 0.0)[0, 0] == -3
    assert torch.equal(ClampedDenoiser(identity)(z, 0.0), z)
    with pytest.raises(ValueError, match="lower must be below upper"):
        ClampedDenoiser(identity, 1, 1)


def test_errors():
    with pytest.raises(ValueError, match="parameterization must be one of"):
        NetworkDenoiser(torch.zeros_like, "noise")
    with pytest.raises(ValueError, match="data_std must be positive"):
        EDMDenoiser(torch.zeros_like, 0.0)
