"""Fitting a mixture: what it was drawn from comes back, and nothing breaks where data are few."""

import numpy as np
import pytest
import torch

from skdiffuse.diffusion import diffuse
from skdiffuse.networks import MixturePrior, fit_mixture, mean_power
from skdiffuse.networks.mixture_fitting import WeatherClasses, _bins, describe
from skdiffuse.networks.spectral import spectral_transform

SHAPE = (3, 6, 8)


def isotropic(shape, height):
    """Power of rings, so that averages over rings change nothing."""
    bins = _bins(shape, (False,) * 3)
    return (height / (1.0 + bins)).reshape(shape)


def draw(n, mean, power, seed=0):
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, *power.shape, generator=random)
    noise = spectral_transform(power.sqrt() * noise, inverse=True)
    # The constant mode is the class's: no spread, so that the means tell the classes apart.
    return noise - noise.mean((1, 2, 3), keepdim=True) + mean


def two_kinds(n=3000):
    dry, wet = isotropic(SHAPE, 0.01), isotropic(SHAPE, 4.0)
    return draw(int(0.4 * n), -0.5, dry), draw(n - int(0.4 * n), 1.0, wet, seed=1), (dry, wet)


def test_the_mixture_drawn_from_comes_back():
    dry, wet, powers = two_kinds()
    prior, classes = fit_mixture([dry, wet], [torch.ones(len(dry)), torch.ones(len(wet))], 2)
    torch.testing.assert_close(prior.weights, torch.tensor([0.4, 0.6]))
    torch.testing.assert_close(prior.mean, torch.tensor([-0.5, 1.0]), atol=1e-5, rtol=0)
    for found, power in zip(prior.power, powers, strict=True):
        found, power = found.flatten()[1:], power.flatten()[1:]
        np.testing.assert_allclose(found, power, rtol=0.1)
    assert (classes(dry) == 0).all()
    assert (classes(wet) == 1).all()


def test_spectra_are_those_of_scipy_averaged_over_rings():
    scipy_fft = pytest.importorskip("scipy.fft")
    windows = draw(50, 0.3, isotropic(SHAPE, 2.0)) * torch.linspace(0.5, 2, 8)
    prior, _ = fit_mixture([windows], [torch.ones(50)], 1)
    anomaly = windows.double() - windows.double().mean((1, 2, 3), keepdim=True)
    square = (scipy_fft.dctn(anomaly.numpy(), axes=(1, 2, 3), norm="ortho") ** 2).mean(0)
    y, x = np.arange(6) * 8 / 6, np.arange(8)
    ring = np.round(np.hypot(y[:, None], x))
    for row in range(SHAPE[0]):
        for radius in np.unique(ring):
            if (row, radius) == (0, 0):
                continue
            found = prior.power[0, row].numpy()[ring == radius]
            np.testing.assert_allclose(found, square[row][ring == radius].mean(), rtol=1e-4)


def test_weights_count():
    """A window drawn half as often and weighted double."""
    dry, wet, _ = two_kinds()
    plain, _ = fit_mixture([dry, wet], [torch.ones(len(dry)), torch.ones(len(wet))], 2)
    half = dry[::2]
    weighted, _ = fit_mixture([half, wet], [2 * torch.ones(len(half)), torch.ones(len(wet))], 2)
    torch.testing.assert_close(weighted.weights, plain.weights)
    ratio = weighted.power.flatten(1)[:, 1:] / plain.power.flatten(1)[:, 1:]
    assert (ratio - 1).abs().max() < 0.15


def test_missing_cells_are_left_out():
    dry, wet, _ = two_kinds()
    windows = torch.cat([dry, wet])
    whole, _ = fit_mixture([windows], [torch.ones(len(windows))], 2)
    missing = torch.rand(windows.shape, generator=torch.Generator().manual_seed(2)) < 0.3
    gaps = torch.where(missing, torch.nan, windows)
    gaps[0] = torch.nan
    prior, classes = fit_mixture([gaps], [torch.ones(len(windows))], 2)
    assert torch.isfinite(prior.power).all()
    torch.testing.assert_close(prior.mean, whole.mean, atol=0.05, rtol=0)
    # Gaps scatter power among the modes but keep its sum.
    ratio = prior.power.flatten(1)[1, 1:].sum() / whole.power.flatten(1)[1, 1:].sum()
    assert ratio == pytest.approx(1, abs=0.03)
    assert classes(gaps)[0] == -1
    assert (classes(gaps)[1:] >= 0).all()


def test_one_class_has_the_power_of_all_windows():
    """Mean square about the mean, ring by ring: what the Wiener filter is made from."""
    windows = (
        draw(300, 0.0, isotropic(SHAPE, 1.0)) + torch.linspace(-1, 1, 300)[:, None, None, None]
    )
    prior, _ = fit_mixture([windows], [torch.ones(300)], 1)
    power = mean_power([windows], [torch.ones(300)])
    assert prior.n_classes == 1
    assert prior.mean.item() == pytest.approx(0, abs=1e-5)
    assert prior.power[0, 0, 0, 0].item() == pytest.approx(power[0, 0, 0].item(), rel=1e-4)
    assert prior.power.sum().item() == pytest.approx(power.sum().item(), rel=1e-4)


@pytest.mark.parametrize("n", [1, 2, 5, 30])
@pytest.mark.parametrize("n_classes", [1, 2, 8])
def test_few_windows(n, n_classes):
    windows = torch.randn(n, 2, 4, 4, generator=torch.Generator().manual_seed(n)).cumsum(0)
    prior, classes = fit_mixture([windows], [torch.ones(n)], n_classes)
    assert 1 <= prior.n_classes <= max(1, n // 4)
    number = classes(windows)
    count = torch.bincount(number, minlength=prior.n_classes)
    assert count.min() >= min(4, n)
    assert len(count) == prior.n_classes
    for level in (-30.0, 0.0, 30.0):
        found = prior.denoise(windows, torch.tensor(level))
        assert torch.isfinite(found.x).all()
        assert torch.isfinite(found.v).all()


def test_rain_that_never_comes():
    """All alike: one class, and v that stays finite though nothing varies."""
    windows = torch.full((40, 2, 4, 4), -0.2)
    prior, classes = fit_mixture([windows], [torch.ones(40)])
    assert prior.n_classes == 1
    assert (classes(windows) == 0).all()
    eps = torch.randn(windows.shape, generator=torch.Generator().manual_seed(0))
    for level in (-30.0, -5.0, 5.0):
        z = diffuse(windows, eps, torch.tensor(level))
        torch.testing.assert_close(prior(z, torch.tensor(level)), windows, atol=0.01, rtol=0)
    at_end = prior.denoise(diffuse(windows, eps, torch.tensor(30.0)), torch.tensor(30.0))
    assert at_end.v.abs().max() < 10


@pytest.mark.parametrize("shape", [(1, 5, 5), (4, 1, 6), (2, 3, 9), (1, 1, 1)])
@pytest.mark.parametrize("periodic", [(False,) * 3, (False, False, True)])
def test_windows_of_any_shape(shape, periodic):
    windows = torch.randn(64, *shape, generator=torch.Generator().manual_seed(0))
    prior, _ = fit_mixture([windows[:32], windows[32:]], [torch.ones(32)] * 2, 4, periodic)
    assert prior.power.shape[1:] == shape
    if periodic[2]:
        # A wave has one power wherever it begins.
        last = shape[2] - shape[2] % 2 if shape[2] % 2 else shape[2] - 1
        torch.testing.assert_close(prior.power[..., 1:last:2], prior.power[..., 2 : last + 1 : 2])
    for level in (-12.0, 0.0):
        assert torch.isfinite(prior(windows, torch.tensor(level))).all()


def test_classes_by_rates_and_unevenness():
    """Windows of equal mean, uniform or in one place, are different weather."""
    random = np.random.default_rng(0)
    mean = random.gamma(0.5, 1.0, size=(4000, 1, 1, 1))
    uniform = np.broadcast_to(mean, (4000, 2, 4, 4)) * random.uniform(0.9, 1.1, (4000, 2, 4, 4))
    spots = uniform * random.uniform(0.05, 0.1, (4000, 1, 1, 1))
    spots[:, :, 1, 2] = 15 * mean[:, :, 0, 0]
    rates = torch.from_numpy(np.concatenate([uniform, spots]))
    latents = (rates.sqrt() - 0.4) / 0.6
    ones = [torch.ones(len(rates))]
    prior, classes = fit_mixture([latents], ones, 4, rates=[rates], n_parts=2)
    number = classes(rates)
    assert prior.n_classes == len(torch.unique(number)) == 8
    # Halves of windows of like mean, where uniform ones are half only but for chance.
    assert (number[:4000] % 2 == 0).double().mean() > 0.95
    assert (number[4000:] % 2 == 1).double().mean() > 0.95
    # Wetter windows have higher numbers.
    order = rates[:4000].mean((1, 2, 3)).argsort()
    assert ((number[:4000] // 2)[order].diff() >= 0).all()


def test_unevenness_of_latents_is_refused():
    with pytest.raises(ValueError, match="n_parts=3 needs rates"):
        fit_mixture([torch.zeros(4, 1, 2, 2)], [torch.ones(4)], n_parts=3)


def test_no_class_is_refused():
    with pytest.raises(ValueError, match="n_classes=0"):
        fit_mixture([torch.zeros(4, 1, 2, 2)], [torch.ones(4)], n_classes=0)


@pytest.mark.parametrize("latents", [[], [torch.full((3, 1, 2, 2), torch.nan)]])
def test_nothing_known_is_refused(latents):
    with pytest.raises(ValueError, match="no known cell"):
        fit_mixture(latents, [torch.ones(len(latent)) for latent in latents])


def test_windows_without_weights_are_not_passed_over():
    with pytest.raises(ValueError, match="shorter"):
        fit_mixture([torch.zeros(4, 1, 2, 2)] * 2, [torch.ones(4)])


def test_description_of_windows():
    windows = torch.tensor([[3.0, 5.0, torch.nan], [0.0, 0.0, 0.0], [torch.nan] * 3])
    mean, unevenness = describe(windows.reshape(3, 1, 1, 3))
    np.testing.assert_allclose(mean, [4, 0, np.nan])
    np.testing.assert_allclose(unevenness, [np.sqrt(17) / 4, 1, 1])


def test_quantiles_of_weighted_windows():
    mean = torch.arange(1000, dtype=torch.float64)
    ones = torch.ones(1000, dtype=torch.float64)
    edges = WeatherClasses.fit(mean, ones, ones, 8).edges
    expected = np.quantile(mean, 1 - np.geomspace(0.6, 0.004, 7))
    np.testing.assert_allclose(edges, expected, atol=1.5)
    weights = torch.where(mean < 500, 3.0, 1.0).double()
    edges = WeatherClasses.fit(mean, ones, weights, 2).edges
    # Three quarters of the weight are below 500, so that 40 % of it are below 267.
    np.testing.assert_allclose(edges, [266], atol=1)


def test_fitted_mixture_beats_its_wiener_filter_on_a_mixture():
    dry, wet, _ = two_kinds()
    train, test = torch.cat([dry[:900], wet[:1400]]), torch.cat([dry[900:], wet[1400:]])
    mixture, _ = fit_mixture([train], [torch.ones(len(train))], 2)
    filtered, _ = fit_mixture([train], [torch.ones(len(train))], 1)
    assert isinstance(filtered, MixturePrior)
    eps = torch.randn(test.shape, generator=torch.Generator().manual_seed(4))
    for level in (-6.0, -2.0, 2.0):
        level = torch.tensor(level)
        z = diffuse(test, eps, level)
        errors = [(prior(z, level) - test).square().mean() for prior in (mixture, filtered)]
        assert errors[0] < errors[1]


class TestMeansOfClasses:
    def test_the_law_of_each_class_has_its_mean_and_range(self):
        """Against the windows of each class themselves, weighted."""
        generator = torch.Generator().manual_seed(0)
        mean = torch.rand(3000, generator=generator, dtype=torch.float64) ** 6
        unevenness = 1 + torch.rand(3000, generator=generator, dtype=torch.float64)
        weights = 0.5 + torch.rand(3000, generator=generator, dtype=torch.float64)
        classes = WeatherClasses.fit(mean, unevenness, weights, 6, 2)
        member = classes.of(mean, unevenness)
        for j, law in enumerate(classes.means):
            inside, w = mean[member == j], weights[member == j]
            assert (law.diff() >= 0).all()
            of_law = torch.trapezoid(law, dx=1 / (len(law) - 1))
            torch.testing.assert_close(of_law, (w @ inside) / w.sum(), rtol=1e-9, atol=0)
            assert law[-1] == pytest.approx(float(inside.max()), rel=0.02)
            middle = np.quantile(inside, 0.5, weights=w, method="inverted_cdf")
            assert law[len(law) // 2] == pytest.approx(middle, rel=0.1)

    def test_windows_without_rain_have_a_mean_of_zero(self):
        mean = torch.cat([torch.zeros(60), torch.linspace(1, 2, 40)]).double()
        classes = WeatherClasses.fit(mean, torch.ones(100).double(), torch.ones(100).double(), 2)
        assert (classes.means[0] == 0).all() and (classes.means[1] >= 1).all()
