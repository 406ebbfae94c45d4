"""The log-density of rain against closed forms."""

import math

import numpy as np
import pytest
import torch

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.diffusion import GaussianDenoiser, GaussianMixtureDenoiser
from skdiffuse.estimator.density import log_density_bound
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.preprocessing import CubeRootTransform, LogTransform, SqrtTransform


def normal_log_density(x, mean, std):
    return -0.5 * ((x - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("transform", [SqrtTransform(), CubeRootTransform(), LogTransform()])
def test_wet_cells_have_the_density_of_the_transformed_gaussian(transform, one_stream):
    """Rain whose latent is Gaussian: log p(r) = log N(h(r)) + log h'(r), exactly."""
    rain = torch.tensor([[0.5, 2.0], [7.0, 30.0]], dtype=torch.float64)
    space = LatentSpace(transform.fit(rain), centre=0.3, scale=1.7, trace=0.01)
    correlated = torch.tensor([[1.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    denoiser = GaussianDenoiser(torch.zeros(2, dtype=torch.float64), correlated)
    n = 4000
    copies = rain.repeat_interleave(n, dim=0)
    streams = one_stream(2 * n)
    bounds = log_density_bound(denoiser, copies, space, streams).reshape(2, n)
    latent = space.encode(rain)
    # The slope by finite differences and not from the transform itself.
    step = 1e-6
    slope = (space.encode(rain * (1 + step)) - space.encode(rain * (1 - step))) / (2 * step * rain)
    exact = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64), correlated
    ).log_prob(latent) + slope.log().sum(1)
    error = bounds.std(1) / math.sqrt(n)
    assert (error < 0.1).all()
    assert ((bounds.mean(1) - exact).abs() < 3 * error).all()


def test_dry_cells_have_the_probability_to_be_dry(one_stream):
    """An atom of 0.7 beside a Gaussian: log 0.7 for dry, log 0.3 + log density for wet."""
    space = LatentSpace(SqrtTransform(), centre=1.0, scale=2.0, trace=0.01)
    dry = space.encode(torch.zeros(1, 1, dtype=torch.float64)).item()
    denoiser = GaussianMixtureDenoiser(
        torch.tensor([0.7, 0.3], dtype=torch.float64),
        torch.tensor([[dry], [1.0]], dtype=torch.float64),
        torch.tensor([[[1e-18]], [[0.04]]], dtype=torch.float64),
    )
    rain = torch.tensor([[0.0], [0.0099], [9.0]], dtype=torch.float64)
    n = 4000
    streams = one_stream(3 * n)
    copies = rain.repeat_interleave(n, dim=0)
    bounds = log_density_bound(denoiser, copies, space, streams).reshape(3, n)
    mean, error = bounds.mean(1), bounds.std(1) / math.sqrt(n)
    assert (error[[0, 2]] < 0.1).all()
    wet = math.log(0.3) + normal_log_density(1.0, 1.0, 0.2) + math.log(1 / (2 * 3.0) / 2.0)
    assert float(mean[0]) == pytest.approx(math.log(0.7), abs=4 * float(error[0]) + 0.02)
    assert float(mean[2]) == pytest.approx(wet, abs=4 * float(error[2]) + 0.02)
    # A trace that the model never makes of a dry cell before decoding is less probable.
    assert float(mean[1]) < float(mean[0])


@pytest.fixture(scope="module")
def model():
    rain = make_precipitation(40, (8, 8), random_state=0)
    return PrecipDiffusion(n_frames=4, max_steps=40, random_state=0, verbose=False).fit(rain)


def test_scores_of_sequences_do_not_depend_on_company(model):
    rain = np.asarray(make_precipitation(24, (8, 8), random_state=1))
    windows = rain.reshape(6, 4, 8, 8)
    together = model.score_samples(windows)
    assert together.shape == (6,) and together.dtype == np.float64
    np.testing.assert_allclose(model.score_samples(windows[2:3]), together[2:3], rtol=1e-5)
    np.testing.assert_allclose(model.score_samples(rain), together, rtol=1e-5)
    halves = model.score_samples(windows.reshape(3, 8, 8, 8))
    np.testing.assert_allclose(halves, together.reshape(3, 2).sum(1), rtol=1e-5)
    assert isinstance(model.score(windows), float)
    assert model.score(windows) == pytest.approx(together.mean())


def test_real_rain_is_more_probable_than_shuffled_rain(model):
    rain = np.asarray(make_precipitation(40, (8, 8), random_state=2)).reshape(10, 4, 8, 8)
    shuffled = np.random.default_rng(0).permutation(rain.reshape(10, -1), axis=1)
    assert model.score(rain) > model.score(shuffled.reshape(rain.shape))


def test_missing_cells_are_left_out(one_stream):
    """Of independent cells the density of those that are known is the sum over them."""
    space = LatentSpace(SqrtTransform(), centre=1.0, scale=2.0, trace=0.01)
    denoiser = GaussianDenoiser(torch.zeros(2).double(), torch.diag(torch.tensor([0.5, 2.0])))
    n = 4000
    rain = torch.tensor([[9.0, math.nan]], dtype=torch.float64).expand(n, 2)
    bounds = log_density_bound(denoiser, rain, space, one_stream(n))
    exact = normal_log_density(1.0, 0.0, math.sqrt(0.5)) + math.log(1 / (2 * 3.0) / 2.0)
    error = float(bounds.std()) / math.sqrt(n)
    assert float(bounds.mean()) == pytest.approx(exact, abs=3 * error + 5e-3)


def test_sequences_with_missing_cells_have_scores(model):
    rain = np.asarray(make_precipitation(4, (8, 8), random_state=3))[None].copy()
    rain[:, :, :4] = np.nan
    assert np.isfinite(model.score_samples(rain)).all()
