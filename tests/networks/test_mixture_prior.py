"""The mixture of Gaussians against what can be known of it without a spectrum."""

import math

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiffuse.diffusion import (
    AdamsStep,
    TruncatedCosineSchedule,
    VDenoiser,
    alpha,
    run_sampler,
    sampling_grid,
    sigma,
)
from skdiffuse.diffusion.parameterizations import NoiseLevel
from skdiffuse.networks import MixturePrior, VideoUNet, WienerSkip
from skdiffuse.networks.mixture_prior import _Windows
from skdiffuse.networks.spectral import power_at, spectral_transform

SHAPE = (2, 3, 4)
N_CELLS = math.prod(SHAPE)
WEIGHTS = [0.6, 0.3, 0.1]
MEANS = [-0.5, 0.25, 2.0]


def make_prior(shape=SHAPE, periodic=(False,) * 3, seed=0):
    scale = np.array([0.01, 1.0, 20.0])[:, None, None, None]
    power = np.random.default_rng(seed).gamma(1.0, scale, (3, *shape)) + 1e-3
    return MixturePrior(torch.tensor(WEIGHTS), torch.tensor(MEANS), torch.tensor(power), periodic)


def basis_of(shape, periodic):
    """Columns are the basis functions, as scipy or the Fourier series has them."""
    matrices = []
    for n, whole_waves in zip(shape, periodic, strict=True):
        if whole_waves:
            place = 2 * np.pi * np.arange(n) / n
            columns = [np.ones(n)]
            for k in range(1, n // 2 + 1):
                columns += [np.cos(k * place), np.sin(k * place)]
            columns = np.stack(columns[:n], axis=1)
            matrices.append(columns / np.linalg.norm(columns, axis=0))
        else:
            matrices.append(scipy.fft.dct(np.eye(n), axis=1, norm="ortho"))
    first, second, third = matrices
    return np.kron(np.kron(first, second), third)


def brute_force(prior, z, log_snr):
    """Posterior mean, v and probabilities from covariance matrices of cells."""
    shape = prior.power.shape[1:]
    basis = basis_of(shape, prior.periodic)
    a, s = (f(log_snr).item() for f in (alpha, sigma))
    log_joint, means = [], []
    flat = z.reshape(len(z), -1)
    for weight, mean, power in zip(
        *(part.double().numpy() for part in (prior.weights, prior.mean, prior.power)), strict=True
    ):
        covariance = basis @ np.diag(power.ravel()) @ basis.T
        marginal = a**2 * covariance + s**2 * np.eye(len(covariance))
        anomaly = flat - a * mean
        solved = np.linalg.solve(marginal, anomaly.T).T
        means.append(mean + a * solved @ covariance)
        square = (anomaly * solved).sum(1)
        log_joint.append(np.log(weight) - 0.5 * (np.linalg.slogdet(marginal)[1] + square))
    log_joint = np.stack(log_joint, axis=1)
    r = np.exp(log_joint - log_joint.max(1, keepdims=True))
    r /= r.sum(1, keepdims=True)
    x = np.einsum("nj,jnk->nk", r, np.stack(means)).reshape(z.shape)
    return x, (a * z - x) / s, r


@pytest.mark.parametrize("log_snr", [-20.0, -8.0, -3.0, 0.0, 3.0, 8.0])
@pytest.mark.parametrize("periodic", [(False,) * 3, (False, True, True)])
def test_posterior_is_that_of_covariance_matrices(log_snr, periodic):
    prior = make_prior(periodic=periodic)
    random = np.random.default_rng(1)
    a, s = (f(log_snr).item() for f in (alpha, sigma))
    # Drawn near each class, so that all of them are met and some are in doubt.
    x = np.repeat(MEANS, 8)[:, None, None, None] + random.normal(size=(24, *SHAPE)) * 0.5
    z = a * x + s * random.normal(size=x.shape)
    found = prior.denoise(torch.from_numpy(z), torch.tensor(log_snr, dtype=torch.float64))
    expected_x, expected_v, expected_r = brute_force(prior, z, log_snr)
    np.testing.assert_allclose(found.responsibilities, expected_r, atol=1e-9)
    np.testing.assert_allclose(found.x, expected_x, atol=1e-8)
    np.testing.assert_allclose(found.v, expected_v, atol=1e-7)
    single = prior.denoise(torch.from_numpy(z).float(), torch.tensor(log_snr))
    assert single.x.dtype == single.v.dtype == torch.float32
    np.testing.assert_allclose(single.x, expected_x, atol=1e-4)


def test_each_sequence_has_its_own_level():
    prior = make_prior()
    z = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = torch.tensor([-4.0, 0.0, 5.0], dtype=torch.float64)
    together = prior.denoise(z, levels)
    assert together.explained.shape == (3, 1, 1, 1)
    for i, level in enumerate(levels):
        alone = prior.denoise(z[i : i + 1], level)
        torch.testing.assert_close(together.x[i : i + 1], alone.x)
        torch.testing.assert_close(together.explained[i : i + 1], alone.explained)


@pytest.mark.parametrize("log_snr", [-9.0, -1.0, 6.0])
def test_jacobian_by_finite_differences(log_snr):
    prior = make_prior()
    z = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = (alpha(log_snr) * 0.5 + z * sigma(log_snr)).requires_grad_()
    level = torch.tensor(log_snr, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: prior(z, level), z, eps=1e-6, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.floats(-30, 30), st.floats(-50, 50))
def test_always_finite_in_float32(log_snr, offset):
    z = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)) + offset
    z.requires_grad_()
    found = make_prior().denoise(z, torch.tensor(log_snr))
    (gradient,) = torch.autograd.grad(found.v.sum() + found.x.sum(), z)
    for tensor in (*found, gradient):
        assert torch.isfinite(tensor).all()
    torch.testing.assert_close(found.responsibilities.sum(1), torch.ones(2, dtype=torch.float64))


def test_both_ends():
    """Nothing but noise: the mean of all. No noise: the latent itself."""
    prior = make_prior()
    z = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    overall = torch.full_like(z, sum(w * m for w, m in zip(WEIGHTS, MEANS, strict=True)))
    torch.testing.assert_close(prior(z, torch.tensor(-30.0)), overall, atol=1e-4, rtol=0)
    torch.testing.assert_close(prior(z, torch.tensor(30.0)), z, atol=1e-5, rtol=0)


@pytest.mark.parametrize("log_snr", [-20.0, -5.0, 0.0, 7.0])
@pytest.mark.parametrize("edges", ["zero", "periodic"])
def test_one_class_is_the_wiener_filter(log_snr, edges):
    power = make_prior().power[1]
    with torch.random.fork_rng(devices=[]):
        unet = VideoUNet(8, (1, 2), in_channels=2, out_channels=3, edges=edges)
    wiener = WienerSkip(unet, power)
    prior = MixturePrior(torch.ones(1), torch.zeros(1), power[None], wiener.periodic)
    z = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    log_snr = torch.tensor(log_snr)
    torch.testing.assert_close(
        prior.denoise(z, log_snr).v, wiener(z, log_snr).detach(), atol=1e-6, rtol=1e-6
    )
    # Shorter sequences are read at the same frequencies.
    z = z[:, :1, :, :2]
    torch.testing.assert_close(
        prior.denoise(z, log_snr).v, wiener(z, log_snr).detach(), atol=1e-6, rtol=1e-6
    )


def test_explained_is_what_the_best_linear_filter_says():
    """Regression on draws of the mixture, mode by mode."""
    prior, log_snr = make_prior(), torch.tensor(-2.0, dtype=torch.float64)
    random = np.random.default_rng(0)
    member = random.choice(3, size=200_000, p=WEIGHTS)
    coefficients = random.normal(size=(len(member), N_CELLS))
    coefficients *= np.sqrt(prior.power.numpy().reshape(3, -1)[member])
    coefficients[:, 0] += np.array(MEANS)[member] * math.sqrt(N_CELLS)
    x = coefficients - coefficients.mean(0)
    z = alpha(log_snr).item() * x + sigma(log_snr).item() * random.normal(size=x.shape)
    gain = (x * z).mean(0) / (z * z).mean(0)
    expected = math.sqrt(np.mean((gain * z) ** 2))
    mean, explained, residual = (tensor.item() for tensor in prior.linear(log_snr))
    assert mean == pytest.approx(sum(w * m for w, m in zip(WEIGHTS, MEANS, strict=True)))
    assert explained == pytest.approx(expected, rel=0.02)
    assert residual == pytest.approx(math.sqrt(np.mean((x - gain * z) ** 2)), rel=0.02)
    assert prior.denoise(torch.zeros(1, *SHAPE), log_snr).explained.item() == pytest.approx(
        explained
    )


def test_samples_are_those_of_the_mixture():
    """From noise by the library's own sampler, with no network at all."""
    prior = make_prior()
    n = 4000
    noise = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(0))
    grid = sampling_grid(TruncatedCosineSchedule(), 64, "tapered")
    x = run_sampler(prior, noise, grid, AdamsStep()).double().reshape(n, -1).numpy()
    _, _, r = brute_force(prior, x.reshape(n, *SHAPE), 20.0)
    shares = r.mean(0)
    for share, weight in zip(shares, WEIGHTS, strict=True):
        assert abs(share - weight) < 4 * math.sqrt(weight * (1 - weight) / n)
    basis = basis_of(SHAPE, prior.periodic)
    for j in range(3):
        drawn = x[r[:, j] > 0.5]
        coefficients = drawn @ basis
        coefficients[:, 0] -= MEANS[j] * math.sqrt(N_CELLS)
        standard = coefficients / prior.power[j].flatten().sqrt().numpy()
        # 24 modes: five standard errors.
        error = 5 / math.sqrt(len(drawn))
        np.testing.assert_allclose(standard.mean(0), 0, atol=error)
        np.testing.assert_allclose(standard.var(0), 1, atol=error * math.sqrt(2))


def test_a_class_that_is_told_is_that_class_alone():
    prior = make_prior()
    z = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level = torch.tensor(-2.0, dtype=torch.float64)
    found = prior.denoise(z, level, torch.tensor([2, 0, -1]))
    assert found.responsibilities[:2].tolist() == [[0, 0, 1], [1, 0, 0]]
    for i, j in enumerate((2, 0)):
        alone = MixturePrior(torch.ones(1), prior.mean[[j]], prior.power[[j]])
        torch.testing.assert_close(found.x[[i]], alone(z[[i]], level))
        torch.testing.assert_close(found.v[[i]], alone.denoise(z[[i]], level).v)
    torch.testing.assert_close(found.x[[2]], prior(z[[2]], level))


@pytest.mark.parametrize("shape", [SHAPE, (2, 5, 4)])
def test_the_law_of_a_class_has_its_v(shape):
    prior = make_prior()
    z = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weather, level = torch.tensor([2, 0]), torch.tensor(-2.0, dtype=torch.float64)
    law = prior.law(shape, z.device, weather)
    v = law.fields(law.v(law.modes(z), NoiseLevel.at(level)))
    for i, j in enumerate((2, 0)):
        alone = MixturePrior(torch.ones(1), prior.mean[[j]], prior.power[[j]])
        torch.testing.assert_close(v[[i]], alone.denoise(z[[i]], level).v, rtol=1e-6, atol=1e-8)


def test_what_is_known_of_a_class_that_is_told():
    prior, log_snr = make_prior(), torch.tensor([-2.0, 1.0, 0.0])
    told = prior.linear(log_snr, torch.tensor([2, -1, 0]))
    for i, j in ((0, 2), (2, 0)):
        alone = MixturePrior(torch.ones(1), prior.mean[[j]], prior.power[[j]])
        for found, expected in zip(told, alone.linear(log_snr[i]), strict=True):
            torch.testing.assert_close(found[[i]], expected)
    for found, expected in zip(told, prior.linear(log_snr[1]), strict=True):
        torch.testing.assert_close(found[[1]], expected)


def storms_and_dry():
    """Classes of a smooth spectrum, of windows of 2 x 8 x 8 cells."""
    t, y, x = (torch.arange(n, dtype=torch.float64) for n in (2, 8, 8))
    decay = 1 / (1 + (t[:, None, None] ** 2 + y[:, None] ** 2 + x**2))
    power = torch.stack([1e-4 * decay, 10 * decay])
    return MixturePrior(torch.tensor([0.9, 0.1]), torch.tensor([-0.3, 2.7]), power)


def two_sided(prior, n, seed=0):
    """Fields whose left half is dry and whose right half is stormy."""
    random = torch.Generator().manual_seed(seed)
    halves = []
    for j in range(2):
        noise = torch.randn(n, 2, 8, 16, generator=random, dtype=torch.float64)
        power = prior.power[j].double().repeat_interleave(2, dim=-1)
        field = spectral_transform(power.sqrt() * noise, inverse=True) + prior.mean[j]
        halves.append(field)
    return torch.cat(halves, dim=-1)


@pytest.mark.parametrize("log_snr", [-4.0, 0.0, 4.0])
def test_one_side_may_be_dry_and_the_other_stormy(log_snr):
    prior = storms_and_dry()
    x = two_sided(prior, 32)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    z = alpha(log_snr) * x + sigma(log_snr) * noise
    level = torch.tensor([log_snr], dtype=torch.float64)
    local = prior.denoise(z, level)
    # One class for all of the field: a prior whose window is as large.
    of_all = MixturePrior(prior.weights, prior.mean, power_at(prior.power, x.shape[1:]))(z, level)
    dry, stormy = slice(0, 12), slice(20, 32)
    for side in (dry, stormy):
        local_error, global_error = (
            (x_hat - x)[..., side].square().mean() for x_hat in (local.x, of_all)
        )
        # One class for the whole field is that of the storm, which its own side may not notice.
        assert local_error < (0.5 if side is dry else 1.05) * global_error
    assert 0.3 < local.responsibilities[:, 1].mean() < 0.7


def test_windows_leave_no_trace_where_there_is_one_class():
    """At any size: the filter of all of the field, as `WienerSkip` has it."""
    power = storms_and_dry().power[1]
    with torch.random.fork_rng(devices=[]):
        wiener = WienerSkip(VideoUNet(8, (1, 2), in_channels=2, out_channels=3), power)
    prior = MixturePrior(torch.ones(1), torch.zeros(1), power[None])
    z = torch.randn(2, 5, 19, 30, generator=torch.Generator().manual_seed(0))
    v = wiener(z, torch.tensor(0.0)).detach()
    torch.testing.assert_close(prior.denoise(z, torch.tensor(0.0)).v, v, atol=1e-5, rtol=1e-5)
    twice = MixturePrior(torch.ones(2), torch.zeros(2), power.expand(2, -1, -1, -1))
    torch.testing.assert_close(twice.denoise(z, torch.tensor(0.0)).v, v, atol=1e-5, rtol=1e-5)


def test_windows_of_one_size_are_the_plain_mixture_to_the_bit():
    """A window of all there is, cut and blended by the way of larger fields."""
    prior = storms_and_dry()
    z = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    level = torch.tensor([0.5], dtype=torch.float64)
    found = prior.denoise(z, level)
    windows = _Windows(z.shape[1:], z.shape[1:])
    assert windows.is_whole
    assert torch.equal(windows.cut(z)[:, 0], z)
    cut = spectral_transform(windows.cut(z)).flatten(2)
    filters = prior._filters(range(2), z.shape[1:], level)
    r = prior._responsibilities(cut, filters, level, None)
    assert torch.equal(windows.shares(z.device) @ r, found.responsibilities)
    v = prior._of_weather_by_place(cut[:, 0], z.shape[1:], level, r, windows, z.dtype)
    torch.testing.assert_close(v, found.v, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 3, 4), (2, 2, 9), (5, 7, 4), (1, 1, 1)])
def test_any_size(shape):
    for periodic in ((False,) * 3, (False, False, True)):
        prior = make_prior(periodic=periodic)
        z = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        found = prior.denoise(z, torch.tensor([-3.0, 2.0]))
        assert found.x.shape == found.v.shape == z.shape
        assert torch.isfinite(found.x).all()
        torch.testing.assert_close(
            found.responsibilities.sum(1), torch.ones(2, dtype=torch.float64)
        )


def test_a_periodic_axis_has_no_seam_at_any_length():
    prior = make_prior((2, 3, 8), (False, False, True))
    # Sine and cosine of a wave have the same power.
    power = prior.power.clone()
    power[..., 2:7:2] = power[..., 1:6:2]
    prior = MixturePrior(prior.weights, prior.mean, power, prior.periodic)
    for width in (8, 12, 7):
        z = torch.randn(2, 2, 3, width, generator=torch.Generator().manual_seed(0))
        rolled = prior(z.roll(3, -1), torch.tensor(0.3)).roll(-3, -1)
        torch.testing.assert_close(rolled, prior(z, torch.tensor(0.3)), rtol=1e-4, atol=1e-5)


def test_half_precision_stays_outside():
    prior, z = make_prior(), torch.ones(1, *SHAPE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = prior(z, torch.tensor(0.0))
    assert torch.equal(half, prior(z, torch.tensor(0.0)))


def test_it_can_be_saved_and_is_a_denoiser_of_v_too():
    prior, other = make_prior(), make_prior(seed=1)
    other.load_state_dict(prior.state_dict())
    z = torch.ones(1, *SHAPE)
    assert torch.equal(prior(z, torch.tensor(1.0)), other(z, torch.tensor(1.0)))
    of_v = VDenoiser(lambda z, log_snr: prior.denoise(z, log_snr).v)(z, torch.tensor(1.0))
    torch.testing.assert_close(of_v, prior(z, torch.tensor(1.0)))


@pytest.mark.parametrize(
    ("weights", "mean", "power", "message"),
    [
        ([1.0], [0.0], torch.zeros(1, 2, 3, 4), "power must be positive.*least value 0"),
        ([1.0], [0.0], torch.ones(2, 3, 4), "power must be positive, of shape"),
        ([1.0, 1.0], [0.0], torch.ones(1, 2, 3, 4), "one number for each of the 1 classes"),
        ([0.0, 1.0], [0.0, 1.0], torch.ones(2, 2, 3, 4), "weights must be positive"),
    ],
)
def test_what_is_no_mixture_is_refused(weights, mean, power, message):
    with pytest.raises(ValueError, match=message):
        MixturePrior(torch.tensor(weights), torch.tensor(mean), power)


@pytest.mark.parametrize(
    ("weather", "message"),
    [
        (torch.tensor([3, 0]), r"weather must lie between -1 \(none\) and 2.*3 classes"),
        (torch.tensor([1]), "weather must be 2 integers"),
    ],
)
def test_a_class_that_does_not_exist_is_refused(weather, message):
    with pytest.raises(ValueError, match=message):
        make_prior().denoise(torch.zeros(2, *SHAPE), torch.tensor(0.0), weather)
