"""Windows composed into long sequences: Gaussian autoregression, whose denoisers are exact."""

import functools

import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    AdamsStep,
    GaussianDenoiser,
    KnownCells,
    RandomStreams,
    TruncatedCosineSchedule,
    VDenoiser,
    WindowedNetwork,
    condition,
    run_sampler,
    sampling_grid,
)
from skdiffuse.diffusion.windows import pieces_along

LENGTH = 40


def covariance(length, lag_1):
    index = torch.arange(length)
    return lag_1 ** (index[:, None] - index).abs().double()


@functools.cache
def exact(length, lag_1):
    return GaussianDenoiser(torch.zeros(length), covariance(length, lag_1))


def window_denoiser(lag_1):
    """Posterior mean of a stretch of any length, each by itself, for z of (n, frames, 1, 1)."""
    return lambda z, log_snr: exact(z.shape[1], lag_1)(z, log_snr)


def windowed(lag_1, overlap, compose, **options):
    return WindowedNetwork(
        window_denoiser(lag_1), (10, None, None), (overlap, 0, 0), compose=compose, **options
    )


def sampled_covariance(denoiser):
    """Of the output of a deterministic sampler, which is linear in its noise: nothing is drawn."""
    noise = torch.eye(LENGTH, dtype=torch.float64)[:, :, None, None]
    grid = sampling_grid(TruncatedCosineSchedule(-20.0, 20.0), 64, "tapered")
    response = run_sampler(denoiser, noise, grid, AdamsStep()).flatten(1)
    return response.T @ response


@pytest.mark.parametrize("overlap", [1, 3, 8])
def test_composition_is_exact_for_clean_markov_data(overlap):
    """p(x) = prod p(window) / prod p(overlap), so the scores agree where there is no noise."""
    log_snr = torch.tensor(16.0, dtype=torch.float64)
    z = torch.linalg.cholesky(covariance(LENGTH, 0.8)) @ torch.randn(
        LENGTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    z = z.reshape(1, LENGTH, 1, 1)
    whole = exact(LENGTH, 0.8)(z, log_snr) - z
    composed = windowed(0.8, overlap, True)(z, log_snr) - z
    averaged = windowed(0.8, overlap, False)(z, log_snr) - z
    error = (composed - whole).norm() / whole.norm()
    assert error < 1e-4
    assert (averaged - whole).norm() / whole.norm() > 100 * error


def test_composed_samples_are_nearer_to_the_law_than_averaged_ones():
    errors = {}
    for lag_1 in (0.6, 0.8):
        true = covariance(LENGTH, lag_1)
        for compose in (True, False):
            found = sampled_covariance(windowed(lag_1, 5, compose))
            errors[lag_1, compose] = float((found - true).norm() / true.norm())
    assert errors[0.6, True] < 0.01
    assert errors[0.8, True] < 0.08
    assert errors[0.6, True] < errors[0.6, False] / 4
    assert errors[0.8, True] < errors[0.8, False] / 2


def test_no_seams():
    """Variance and correlation of neighbours at the borders of windows as inside."""
    found = sampled_covariance(windowed(0.8, 5, True))
    np.testing.assert_allclose(found.diagonal(), 1, atol=0.005)
    np.testing.assert_allclose(found.diagonal(1), 0.8, atol=0.006)


def test_guidance_sees_the_whole():
    """A cell known in one window is told to the next, in the regression's proportion."""
    values = torch.full((1, LENGTH, 1, 1), torch.nan, dtype=torch.float64)
    values[0, 20] = 2.0
    guided = condition(windowed(0.6, 8, True), KnownCells(values), "moment_matching")
    grid = sampling_grid(TruncatedCosineSchedule(), 64, "tapered")
    noise = torch.zeros(1, LENGTH, 1, 1, dtype=torch.float64)  # whose image is the mean
    mean = run_sampler(guided, noise, grid, AdamsStep()).flatten()
    np.testing.assert_allclose(mean, 2 * 0.6 ** (torch.arange(LENGTH) - 20).abs(), atol=0.02)


def test_memory_bound_changes_nothing():
    z = RandomStreams([1, 2]).normal((LENGTH, 6, 7), torch.float64).requires_grad_()
    log_snr = torch.tensor([0.0, 2.0], dtype=torch.float64)

    def network(z, log_snr, covariates, labels):
        assert z.shape[1:] == (10, 4, 4)
        return torch.tanh(z) * (1 + covariates[:, :, 0]) + labels.reshape(-1, 1, 1, 1)

    told = {
        "covariates": RandomStreams([3]).normal((1, 1, 6, 7), torch.float64),
        "labels": torch.tensor([3, 4]),
    }
    results = []
    for batch_size in (None, 5):
        tiled = WindowedNetwork(network, (10, 4, 4), (4, 2, 1), batch_size=batch_size)
        out = tiled(z, log_snr, **told)
        results.append((out, *torch.autograd.grad(out.square().sum(), z)))
    for once, in_parts in zip(*results, strict=True):
        torch.testing.assert_close(once, in_parts, rtol=1e-12, atol=1e-12)


def test_guidance_through_a_memory_bound_changes_nothing():
    """Several backward passes through windows that are evaluated again on the way."""
    values = torch.full((2, LENGTH, 1, 1), torch.nan, dtype=torch.float64)
    values[:, 12:15] = 1.0
    z = RandomStreams([1, 2]).normal((LENGTH, 1, 1), torch.float64)
    log_snr = torch.tensor(0.0, dtype=torch.float64)
    once, in_parts = (
        condition(windowed(0.8, 5, True, batch_size=n), KnownCells(values), "moment_matching")(
            z, log_snr
        )
        for n in (None, 3)
    )
    torch.testing.assert_close(once, in_parts)


def test_whole_windows_are_left_to_the_network():
    z = torch.randn(1, 7, 2, 2, generator=torch.Generator().manual_seed(0))
    log_snr = torch.tensor(0.0)
    network = WindowedNetwork(lambda z, _: z.cumsum(1), (10, None, None), (5, 0, 0))
    torch.testing.assert_close(
        VDenoiser(network)(z, log_snr), VDenoiser(network.network)(z, log_snr)
    )


@pytest.mark.parametrize("compose", [True, False])
@pytest.mark.parametrize(("length", "overlap"), [(40, 5), (41, 8), (16, 5), (11, 0), (10, 3)])
def test_weights_add_up_to_one(length, overlap, compose):
    total = torch.zeros(length, dtype=torch.float64)
    for start, stop, weight in pieces_along(length, 10, overlap, compose):
        total[start:stop] += weight
    np.testing.assert_allclose(total, 1)


def test_a_window_weighs_less_the_nearer_its_border_is():
    """Windows 0-9, 6-15, 12-21 and 14-23 of 24: in an overlap each gives way to the next."""
    (_, _, first), (_, _, second), *_ = pieces_along(24, 10, 4, compose=False)
    assert (first[:6] == 1).all()
    assert (first[6:].diff() < 0).all() and (second[:4].diff() > 0).all()
    assert first[6] > 0.8 > 0.2 > first[9]
    torch.testing.assert_close(first[6:], 1 - second[:4])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="overlap of 10 frames must be"):
        WindowedNetwork(window_denoiser(0.8), (10, None, None), (10, 0, 0))
    with pytest.raises(ValueError, match="batch_size=0 must be"):
        windowed(0.8, 5, True, batch_size=0)


@pytest.mark.parametrize("compose", [True, False])
def test_each_window_is_told_its_own_weather(compose):
    """The prediction is the class, so that weights show where it went; overlaps are told none."""
    seen = []

    def network(z, log_snr, weather):
        seen.extend((z.shape[1], int(k)) for k in weather)
        return weather.to(z)[:, None, None, None].expand_as(z)

    windows = WindowedNetwork(network, (4, None, None), (2, 0, 0), compose=compose)
    weather = torch.tensor([[3, 5, 7], [0, 1, 2]])
    found = windows(torch.zeros(2, 7, 1, 1), torch.tensor(0.0), weather=weather)
    assert sorted(k for size, k in seen if size == 4) == [0, 1, 2, 3, 5, 7]
    # Windows at 0, 2 and 3.
    overlaps = sorted(k for size, k in seen if size != 4)
    assert overlaps == ([-1] * 4 if compose else [])
    # Frames of the first and of the last window alone.
    assert found[:, [0, 6], 0, 0].tolist() == [[3.0, 7.0], [0.0, 2.0]]
    if compose:
        assert found[0, :, 0, 0].tolist() == [3.0, 3.0, 9.0, 17.0, 13.0, 13.0, 7.0]
    with pytest.raises(ValueError, match=r"weather must be of shape \(2, 3\)"):
        windows(torch.zeros(2, 7, 1, 1), torch.tensor(0.0), weather=weather[:, :2])
