"""Spells, correlation, anisotropy, coherence and objects."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from skdiffuse import metrics


def test_spells_agree_with_a_count_by_hand():
    rng = np.random.default_rng(0)
    X = (rng.random((3, 12, 4, 5)) < 0.4) * 1.0
    X[rng.random(X.shape) < 0.05] = np.nan
    for kind in ("wet", "dry"):
        expected = np.zeros(12, dtype=int)
        for series in np.moveaxis(X, 1, -1).reshape(-1, 12):
            is_kind = (series >= 0.1) if kind == "wet" else (series < 0.1)
            run = 0
            for value in [*is_kind, False]:
                if value:
                    run += 1
                elif run:
                    expected[run - 1] += 1
                    run = 0
        found = metrics.spell_lengths(X, kind=kind)
        np.testing.assert_array_equal(found.count, expected)
        assert found.mean == pytest.approx((found.length * expected).sum() / expected.sum())


def test_complete_spells_touch_neither_ends_nor_gaps():
    x = np.array([1, 0, 1, 1, 0, 1, np.nan, 1, 0, 1.0]).reshape(-1, 1, 1)
    assert metrics.spell_lengths(x, complete=True).count.tolist() == [0, 1] + [0] * 8
    assert np.isnan(metrics.spell_lengths(0 * x).mean)
    with pytest.raises(ValueError, match="kind"):
        metrics.spell_lengths(x, kind="moist")


def test_autocorrelation_of_a_known_process():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(40, 8, 24, 24))
    for t in range(1, 8):
        Z[:, t] = 0.8 * Z[:, t - 1] + 0.6 * Z[:, t]
    rain = np.expm1(Z - Z.min())  # its logarithm is the process
    rho = metrics.autocorrelation(rain, max_lag=3)
    np.testing.assert_allclose(rho, 0.8 ** np.arange(4), atol=0.01)
    assert metrics.decorrelation_time(0.8 ** np.arange(20)) == pytest.approx(
        1 / -np.log(0.8), abs=0.05
    )
    assert metrics.decorrelation_time([1, 0.9]) == np.inf


def test_lagrangian_correlation_follows_moving_rain(mrms):
    rng = np.random.default_rng(1)
    field = np.maximum(gaussian_filter(rng.normal(size=(80, 80)), 3) - 0.05, 0) * 40
    moving = np.stack([np.roll(field, (2 * t, -3 * t), (0, 1))[10:60, 10:60] for t in range(5)])
    assert metrics.lagrangian_autocorrelation(moving, 3)[3] > 0.999
    assert metrics.autocorrelation(moving, 3)[3] < 0.4
    lagrangian, eulerian = (
        metrics.lagrangian_autocorrelation(mrms, 2),
        metrics.autocorrelation(mrms, 2),
    )
    assert np.all(lagrangian[1:] > eulerian[1:])
    logs = np.log1p(mrms.values.astype(float)).reshape(36, -1)
    expected = []
    for lag in (1, 2):
        pairs = [(logs[t], logs[t + lag]) for t in range(36 - lag)]
        known = [~np.isnan(a) & ~np.isnan(b) for a, b in pairs]
        each = [np.corrcoef(a[k], b[k])[0, 1] for (a, b), k in zip(pairs, known, strict=True)]
        expected.append(np.mean(each))
    np.testing.assert_allclose(eulerian, [1, *expected], rtol=1e-5)
    with pytest.raises(ValueError, match="max_lag"):
        metrics.autocorrelation(moving, 5)


@pytest.mark.parametrize("degrees", [0, 30, 90, 150])
def test_anisotropy_finds_ratio_and_direction(degrees):
    n, s, r = 64, 2.0, 3.0
    f = np.fft.fftfreq(n)
    fy, fx = np.meshgrid(f, f, indexing="ij")
    a = np.radians(degrees)
    along, across = fx * np.cos(a) + fy * np.sin(a), -fx * np.sin(a) + fy * np.cos(a)
    amplitude = np.exp(-2 * (np.pi * s) ** 2 * ((r * along) ** 2 + across**2))
    noise = np.random.default_rng(0).normal(size=(60, n, n))
    X = np.fft.ifft2(np.fft.fft2(noise) * amplitude).real
    found = metrics.anisotropy(X)
    assert found.ratio == pytest.approx(r, rel=0.1)
    assert abs((found.orientation - degrees + 90) % 180 - 90) < 3
    assert metrics.anisotropy(gaussian_filter(noise, (0, 2, 2), mode="wrap")).ratio < 1.1


@pytest.mark.parametrize(("axis", "orientation"), [(1, 0.0), (2, 90.0)])
def test_bands_without_end_point_along_themselves(axis, orientation):
    """Four cells from crest to crest, along rows or along columns: exact in floating point."""
    wave = np.tile([1.0, 0.0, -1.0, 0.0], 4)
    bands = np.broadcast_to(np.expand_dims(wave, [0, 3 - axis]), (3, 16, 16))
    found = metrics.anisotropy(bands)
    assert found == (np.inf, orientation)


def test_coherence_is_lost_at_small_scales_first():
    rng = np.random.default_rng(0)
    big = gaussian_filter(rng.normal(size=(30, 1, 32, 32)), (0, 0, 4, 4), mode="wrap") * 20
    X = big + 0.5 * rng.normal(size=(30, 4, 32, 32))
    C = metrics.coherence(X).P
    assert C[1] > 0.9 and C[12] < 0.25
    assert np.nanmax(C) <= 1 + 1e-12
    # Mode by mode over the whole plane, from the definition.
    F = np.fft.fft2(X)
    a, b = F[:, :-1].reshape(-1, 32, 32), F[:, 1:].reshape(-1, 32, 32)
    f = np.fft.fftfreq(32)
    ring = np.rint(32 * np.hypot(f[:, None], f[None])).astype(int)
    cross, one, other = (
        np.bincount(ring.ravel(), p.ravel())
        for p in (np.abs((a * b.conj()).sum(0)), (np.abs(a) ** 2).sum(0), (np.abs(b) ** 2).sum(0))
    )
    np.testing.assert_allclose(C, cross / np.sqrt(one * other), rtol=1e-9)
    with pytest.raises(ValueError, match="lag"):
        metrics.coherence(X, lag=4)


def test_sal_of_real_rain(mrms):
    obs = np.nan_to_num(mrms.values[10]).astype(float)
    sim = np.roll(np.nan_to_num(mrms.values[11]).astype(float), 4, axis=0)
    found = metrics.sal(obs, sim, threshold=1.0)
    mean = 2 * (sim.mean() - obs.mean()) / (sim.mean() + obs.mean())
    assert found.amplitude == pytest.approx(mean, abs=1e-9)
    back = metrics.sal(sim, obs, threshold=1.0)
    np.testing.assert_allclose(back, [-found.structure, -found.amplitude, found.location])


def test_sal_of_known_cases():
    obs = np.zeros((48, 48))
    obs[10:16, 10:16] = 4.0
    perfect = metrics.sal(obs, obs)
    np.testing.assert_allclose(perfect, 0, atol=1e-12)
    double = metrics.sal(obs, 2 * obs)
    assert double.amplitude == pytest.approx(2 / 3)
    assert double.structure == pytest.approx(0) and double.location == pytest.approx(0)
    flat = np.zeros((48, 48))
    flat[8:18, 8:18] = 4.0 * 36 / 100  # the same rain, spread out
    wide = metrics.sal(obs, flat)
    # A square's mass over its maximum is its number of cells: 36 against 100.
    assert wide.structure == pytest.approx(2 * (100 - 36) / (100 + 36))
    assert wide.amplitude == pytest.approx(0)
    apart = shift(obs, (20, 0), order=0)
    assert metrics.sal(obs, apart).location == pytest.approx(20 / np.hypot(48, 48), abs=1e-3)
    two = obs / 2 + np.roll(obs, 16, axis=1) / 2
    # Centre moved by 8 cells, and scatter of 8 cells around it, counted twice.
    assert metrics.sal(obs, two).location == pytest.approx(3 * 8 / np.hypot(48, 48))
    assert np.isnan(metrics.sal(obs, 0 * obs)).all()
    with pytest.raises(ValueError, match="single fields"):
        metrics.sal(obs[None], obs[None])
