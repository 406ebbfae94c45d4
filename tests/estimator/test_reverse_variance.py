"""Errors of a fitted model's denoiser, measured, against those of an exact one."""

import copy
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from skdiffuse import NetworkSettings, PrecipDiffusion, SamplerSettings, make_precipitation
from skdiffuse.diffusion import (
    AncestralStep,
    GaussianDenoiser,
    ShiftedCosineSchedule,
    UpperVariance,
    alpha,
    sigma,
)
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.estimator.measured_errors import MEASURED, MeasuredErrors
from skdiffuse.networks.video_unet import PRESETS

MEAN, STD = 20.0, 2.0
# Two kinds of cells, of which one is far more uncertain; each an AR(1) process in time.
CORRELATION = 0.8
SPREADS = torch.tensor([0.2, 1.4], dtype=torch.float64)


def covariance():
    lags = torch.arange(4, dtype=torch.float64)
    return CORRELATION ** (lags[:, None] - lags).abs()


class ExactNetwork(torch.nn.Module):
    """v of independent cells with spreads that change from column to column, times a factor."""

    def __init__(self, wrong=0.0):
        super().__init__()
        self.wrong = wrong

    def forward(self, z, log_snr):
        log_snr = log_snr.reshape(-1)
        x = torch.empty_like(z, dtype=torch.float64)
        for kind, spread in enumerate(SPREADS):
            exact = GaussianDenoiser(torch.zeros(4), spread**2 * covariance())
            cells = z[..., kind::2].permute(0, 2, 3, 1).double()
            n_cells = cells[0, ..., 0].numel()
            level = log_snr if len(log_snr) == 1 else log_snr.repeat_interleave(n_cells)
            found = exact(cells.reshape(-1, 4), level).reshape(cells.shape)
            x[..., kind::2] = found.permute(0, 3, 1, 2)
        a, s = (c.reshape(-1, 1, 1, 1) for c in (alpha(log_snr), sigma(log_snr)))
        eps = (1 - self.wrong) * (z - a * x) / s
        return ((eps - s * z) / a).to(z.dtype)


def rain_of(n, seed=0):
    factor = np.linalg.cholesky(covariance().numpy())
    white = np.random.default_rng(seed).standard_normal((n, 4, 8, 8))
    x = np.einsum("ij,njyx->niyx", factor, white) * np.tile(SPREADS.numpy(), 4)
    return (MEAN + STD * x).astype(np.float32)


def settings(name, n_steps=6):
    return SamplerSettings("ancestral", n_steps=n_steps, spacing="log_snr", reverse_variance=name)


@cache
def fitted():
    options = {"n_frames": 4, "max_steps": 1, "random_state": 0, "verbose": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
        return PrecipDiffusion(
            **options,
            transformer=None,
            network=NetworkSettings(skip=None),
            schedule=ShiftedCosineSchedule(0.0, -8.0, 8.0),
        ).fit(rain_of(4))


def exact_model(wrong=0.0):
    model = copy.copy(fitted())
    latent = LatentSpace(model.transformer_, MEAN, STD, 0.01)
    model.model_ = replace(model.model_, latent=latent, network=ExactNetwork(wrong))
    return model


@pytest.fixture(scope="module")
def exact():
    return exact_model().learn_variance(rain_of(64, 1), "corrected")


def posterior(log_snr):
    """Exact variance by frame and kind of column, (4, 2)."""
    each = [GaussianDenoiser(torch.zeros(4), s**2 * covariance()) for s in SPREADS]
    return torch.stack([torch.diag(e.posterior_covariance(log_snr)) for e in each], dim=1)


def variance_of(model, name):
    return model.model_.errors.variance(name, (4, 8, 8), torch.device("cpu"))


@pytest.mark.parametrize("name", ["analytic", "corrected", "diagonal"])
@pytest.mark.parametrize("log_snr", [-6.0, -1.0, 2.5, 6.0])
def test_measured_is_the_exact_posterior_variance(exact, name, log_snr):
    found = variance_of(exact, name).posterior_variance(log_snr)
    wanted = posterior(log_snr)
    if name == "diagonal":
        found = found.reshape(4, 8, 4, 2).mean((1, 2))
        torch.testing.assert_close(found, wanted, rtol=0.15, atol=0.005)
    else:
        # 64 windows of 64 cells, of 4 correlated frames; "analytic" is the difference of squares
        # as large as its bound.
        slack = 0.002 * math.exp(-log_snr) if name == "analytic" else 0.0
        assert float(found) == pytest.approx(float(wanted.mean()), rel=0.06, abs=slack)


def test_only_the_corrected_bears_a_network_that_is_wrong():
    """With 0.7 eps_hat the error is larger; "analytic" takes it for explained."""
    model = exact_model(wrong=0.3).learn_variance(rain_of(64, 1))
    log_snr = 0.0
    right = exact_model().learn_variance(rain_of(64, 1))
    e2 = 1 - float(variance_of(right, "analytic").posterior_variance(log_snr)) * math.exp(log_snr)
    best = float(posterior(log_snr).mean()) + 0.09 * math.exp(-log_snr) * e2
    assert float(variance_of(model, "corrected").posterior_variance(log_snr)) == pytest.approx(
        best, rel=0.1
    )
    off = math.exp(-log_snr) * (1 - 0.49 * e2)
    assert float(variance_of(model, "analytic").posterior_variance(log_snr)) == pytest.approx(
        off, rel=0.1
    )
    assert off > 1.2 * best


@pytest.fixture(scope="module")
def drawn(exact):
    """Standard deviation of each kind of cell, relative to the data's, with few steps."""
    found = {}
    for name in ("lower", "upper", "corrected", "diagonal"):
        model = exact.set_params(sampler=settings(name, 24))
        x = (model.sample(48, random_state=1) - MEAN) / STD
        by_kind = x.reshape(48, 4, 8, 4, 2).std(axis=(0, 1, 2, 3))
        found[name] = by_kind / SPREADS.numpy()
    exact.set_params(sampler="adams")
    return found


def test_samples_are_as_uncertain_as_the_data(drawn):
    error = {name: float(np.abs(ratios - 1).max()) for name, ratios in drawn.items()}
    # What is left is the correlation in time, which no diagonal covariance has.
    assert error["diagonal"] < 0.09 < error["corrected"] < error["lower"]
    assert error["lower"] > 0.14


@pytest.mark.parametrize("kind", ["npr", "sn"])
def test_head_finds_which_cells_are_uncertain(exact, kind):
    """It is told nothing of places, and sees them in the noise of the latent."""
    model = exact_model()
    model.model_ = replace(model.model_, errors=exact.model_.errors)
    model.learn_variance(rain_of(64, 1), kind, max_steps=60)
    head = variance_of(model, kind)
    log_snr, nxt = torch.tensor(3.0).double(), torch.tensor(5.0).double()
    rain = torch.from_numpy(rain_of(16, 5))
    x = (rain - MEAN) / STD
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    z = float(alpha(log_snr)) * x + float(sigma(log_snr)) * noise
    v = ExactNetwork()(z, log_snr)
    x_hat = float(alpha(log_snr)) * z - float(sigma(log_snr)) * v
    found = head(z, x_hat, log_snr, nxt).reshape(16, 4, 8, 4, 2).mean((0, 1, 2, 3))
    corrected = float(variance_of(model, "corrected")(z, x_hat, log_snr, nxt))
    assert float(found.mean()) == pytest.approx(corrected, rel=0.35)
    if kind == "npr":
        assert found[0] < 0.8 * found[1]


def test_all_forms_draw_and_come_back_from_a_file(tmp_path):
    cube = make_precipitation(12, (8, 8), random_state=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
        model = PrecipDiffusion(n_frames=2, max_steps=2, random_state=0, verbose=False).fit(cube)
        for kind in ("npr", "sn"):
            model.learn_variance(cube, kind, n_windows=2, max_steps=2)
        before = {}
        for name in MEASURED:
            model.set_params(sampler=settings(name, 3))
            before[name] = model.sample(2).values
            assert np.isfinite(before[name]).all()
        assert set(model.model_.errors.heads) == {"npr", "sn"}
        model.save(tmp_path / "m")
        back = PrecipDiffusion.load(tmp_path / "m")
        assert back.sampler.reverse_variance == MEASURED[-1]
        for name in MEASURED:
            back.set_params(sampler=settings(name, 3))
            np.testing.assert_array_equal(back.sample(2).values, before[name])
        with pytest.raises(ValueError, match=r"sequences of shape \(2, 8, 8\), and \(2, 6, 8\) is"):
            back.set_params(sampler=settings("diagonal", 3)).sample(1, shape=(6, 8))
        one = back.set_params(sampler=settings("npr", 3), batch_size=1).sample(2)
        np.testing.assert_allclose(one.values, before["npr"], atol=1e-4)
        # Measured anew, nothing is left of heads that were trained to go with other numbers.
        assert back.learn_variance(cube, n_windows=2).model_.errors.heads == {}


def test_what_was_not_learnt_is_named():
    model = exact_model()
    with pytest.raises(ValueError, match=r"call model.learn_variance\(X, 'analytic'\)"):
        model.set_params(sampler=settings("analytic")).sample(1)
    model.learn_variance(rain_of(4), n_windows=4)
    with pytest.raises(ValueError, match=r"call model.learn_variance\(X, 'npr'\)"):
        model.set_params(sampler=settings("npr")).sample(1)


def test_an_object_of_ones_own_takes_the_place_of_a_name():
    model = exact_model()
    by_name = model.set_params(sampler=settings("upper")).sample(1)
    own = model.set_params(sampler=settings(UpperVariance())).sample(1)
    np.testing.assert_array_equal(by_name, own)
    step = SamplerSettings(AncestralStep("upper"), n_steps=6, spacing="log_snr")
    np.testing.assert_array_equal(model.set_params(sampler=step).sample(1), own)


def test_missing_cells_count_for_nothing():
    rain = rain_of(64, 1)
    gappy = rain.copy()
    gappy[:, :, :, 4:] = np.nan
    found = exact_model().learn_variance(gappy).model_.errors
    assert isinstance(found, MeasuredErrors)
    assert torch.isfinite(found.residual).all()
    # Cells that were never known have the mean of the others.
    shared = found.residual[:, 0, 0, 4:]
    torch.testing.assert_close(shared, shared[:, :1].expand_as(shared))
    with pytest.raises(ValueError, match="missing everywhere"):
        exact_model().learn_variance(np.full_like(rain[:4], np.nan))
