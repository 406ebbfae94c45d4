"""Power of what is made from noisy windows, against fields whose exact denoiser is known."""

import math

import numpy as np
import pytest
import torch

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.diffusion import alpha, sigma
from skdiffuse.training.paired_start import START, paired_start_error


def exact(variance):
    """v of white Gaussian fields: x_hat = alpha S z / (alpha^2 S + sigma^2)."""

    def predict_v(z, log_snr):
        a, s = (f(log_snr).to(z).reshape(-1, 1, 1, 1) for f in (alpha, sigma))
        x_hat = a * variance * z / (a**2 * variance + s**2)
        return (a * z - x_hat) / s

    return predict_v


@pytest.fixture(scope="module")
def windows():
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 96, 4, 16, 16, generator=generator)
    return x, noise


def test_the_exact_denoiser_loses_nothing(windows):
    x, noise = windows
    assert paired_start_error(exact(1.0), x, noise) < 0.03


def test_power_is_off_by_what_the_ode_says(windows):
    """Of white fields each value goes its own way, from z to z sqrt(S / (a^2 S + s^2)).

    S is what the denoiser takes the variance for. So the power that is made is
    S E[z^2] / (a^2 S + s^2), with E[z^2] = 1.
    """
    x, noise = windows
    level = torch.tensor(START)
    a2, s2 = float(alpha(level) ** 2), float(sigma(level) ** 2)
    for assumed in (0.25, 4.0):
        expected = abs(math.log(assumed / (a2 * assumed + s2)))
        # Sixteen steps.
        found = paired_start_error(exact(assumed), x, noise)
        assert found == pytest.approx(expected, rel=0.05)


def test_neither_batches_nor_missing_cells_change_it(windows):
    x, noise = windows
    x = x.clone()
    whole = paired_start_error(exact(1.0), x, noise, batch_size=96)
    assert paired_start_error(exact(1.0), x, noise, batch_size=7) == pytest.approx(whole, rel=1e-4)
    x[:, :, :4] = torch.nan
    assert paired_start_error(exact(1.0), x, noise) < 0.05


def test_patience_goes_by_it(monkeypatch):
    """A training whose error grows from one validation to the next keeps the first weights."""
    from skdiffuse.training import loop

    monkeypatch.setattr(loop, "LEAST_STEPS_BETWEEN_VALIDATIONS", 2)
    errors = iter(np.linspace(1, 2, 20))
    monkeypatch.setattr(loop.HeldOut, "paired_start_error", lambda *_: float(next(errors)))
    rain = make_precipitation(24, (8, 8), random_state=0)
    model = PrecipDiffusion(
        n_frames=3, batch_size=8, max_steps=40, random_state=0, verbose=False
    ).set_params(training__watch="paired_start", training__patience=3, training__max_epochs=50)
    model.fit(rain, validation=rain)
    found = [e["paired_start_error"] for e in model.history_ if "paired_start_error" in e]
    assert found == pytest.approx(np.linspace(1, 2, 20)[:4])


def test_what_it_needs_is_said():
    rain = make_precipitation(12, (8, 8), random_state=0)
    model = PrecipDiffusion(n_frames=3, max_steps=1, verbose=False)
    model.set_params(training__watch="paired_start")
    with pytest.raises(ValueError, match="watch='paired_start' needs rain to validate on"):
        model.fit(rain)
    with pytest.raises(ValueError, match="set watch='loss'"):
        model.set_params(corruption="blur").fit(rain, validation=rain)
