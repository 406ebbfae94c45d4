import math

import pytest
import torch

from skdiffuse.diffusion import (
    EDMTrainingSchedule,
    LinearLogSNRSchedule,
    TruncatedCosineSchedule,
    edm_weighting,
    elbo_weighting,
    eps_weighting,
    min_snr_weighting,
    sigmoid_weighting,
    v_weighting,
)

COSINE = TruncatedCosineSchedule()
LOG_SNR = torch.linspace(-20, 20, 801, dtype=torch.float64)
ALL = [
    elbo_weighting(),
    eps_weighting(COSINE),
    eps_weighting(LinearLogSNRSchedule()),
    v_weighting(COSINE),
    v_weighting(EDMTrainingSchedule()),
    min_snr_weighting(COSINE),
    min_snr_weighting(LinearLogSNRSchedule()),
    sigmoid_weighting(),
    edm_weighting(),
]


@pytest.mark.parametrize("weighting", ALL, ids=repr)
def test_monotonicity_is_known(weighting):
    w = weighting(LOG_SNR)
    assert (w >= 0).all() and w.dtype == torch.float64
    assert weighting.monotone == bool((w.diff() <= 1e-12 * w.max()).all())


def test_what_is_monotone():
    assert [w.monotone for w in ALL] == [True, False, True, True, False, False, True, True, False]


def shape(weighting):
    """Weighting over its value at log-SNR 0."""
    return weighting(LOG_SNR) / weighting(0.0)


def test_cosine_forms_of_the_table():
    """Kingma and Gao (2023), table 1."""
    close = {"rtol": 1e-10, "atol": 1e-13}
    sech = 1 / torch.cosh(LOG_SNR / 2)
    torch.testing.assert_close(shape(eps_weighting(COSINE)), sech, **close)
    torch.testing.assert_close(shape(v_weighting(COSINE)), torch.exp(-LOG_SNR / 2), **close)
    clipped = torch.minimum(torch.ones(()), 5 * torch.exp(-LOG_SNR))
    torch.testing.assert_close(shape(min_snr_weighting(COSINE, 5.0)), sech * clipped, **close)


def test_edm_is_its_objective():
    """E_sigma lambda(sigma) ||x - x_hat||^2 with lambda = (sigma^2 + s^2) / (sigma s)^2."""
    s, schedule = 0.5, EDMTrainingSchedule(log_snr_min=-30.0, log_snr_max=35.0)
    log_snr = torch.linspace(-8, 12, 21, dtype=torch.float64)
    noise2 = torch.exp(-log_snr)
    of_x = (noise2 + s**2) / (noise2 * s**2)
    of_eps = schedule.density(log_snr) * of_x * noise2
    torch.testing.assert_close(edm_weighting(s)(log_snr) / s**2, of_eps, rtol=1e-10, atol=0)


def test_sigmoid_falls_at_its_bias():
    assert float(sigmoid_weighting(3.0)(3.0)) == 0.5
    assert float(sigmoid_weighting(0.0)(math.log(3))) == pytest.approx(0.25)
