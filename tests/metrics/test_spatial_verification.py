import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from skdiffuse import metrics


@pytest.mark.parametrize("scale", [1, 2, 3, 5, 8, 17, 31])
def test_fss_agrees_with_pysteps(ties, mrms, scale):
    pysteps = pytest.importorskip("pysteps.verification.spatialscores")
    X = np.nan_to_num(mrms.values).astype(float)
    for a, b, t in ((ties[0][0], ties[1][0, 0], 1.5), (X[10], X[11], 1.0)):
        # An even window of scipy's filter, which pysteps uses, lies as ours does.
        expected = pysteps.fss(b.copy(), a.copy(), t, scale)
        assert metrics.fss(a, b, thresholds=t, scales=scale) == pytest.approx(expected, abs=1e-9)


def test_fss_with_missing_cells_agrees_with_pysteps(mrms):
    pysteps = pytest.importorskip("pysteps.verification.spatialscores")
    a, b = mrms.values[3].copy(), np.roll(mrms.values[4], 3, axis=1)
    b[50:60, 50:60] = np.nan
    a[np.isnan(b)] = np.nan
    b[np.isnan(a)] = np.nan
    expected = pysteps.fss(b.astype(float), a.astype(float), 0.5, 9)
    assert metrics.fss(a, b, thresholds=0.5, scales=9) == pytest.approx(expected, abs=1e-6)


def test_pysteps_counts_what_was_not_observed_as_dry(mrms):
    """A perfect forecast stays perfect where the radar is down; in pysteps it does not."""
    pysteps = pytest.importorskip("pysteps.verification.spatialscores")
    sim = np.nan_to_num(mrms.values[4]).astype(float)
    obs = np.where(np.arange(128) < 64, sim, np.nan)
    assert metrics.fss(obs, sim, thresholds=0.5, scales=9) == 1
    assert pysteps.fss(sim, obs, 0.5, 9) < 0.9


def test_fss_inside_the_domain_agrees_with_scores(ties):
    spatial = pytest.importorskip("scores.spatial")
    for scale in (1, 3, 5):
        expected = spatial.fss_2d_single_field(
            ties[1][0, 0], ties[0][0], event_threshold=1.5, window_size=(scale, scale)
        )
        found = metrics.fss(
            ties[0][0], ties[1][0, 0], thresholds=1.5, scales=scale, padding="valid"
        )
        assert found == pytest.approx(expected, abs=1e-9)


def test_fss_of_the_whole_domain_compares_shares():
    """One window, as large as the field: ``1 - (p - q)^2 / (p^2 + q^2)``."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 6, 6)) < np.array([0.2, 0.6])[:, None, None]
    p, q = a.mean(), b.mean()
    found = metrics.fss(2.0 * a, 2.0 * b, scales=6, padding="valid")
    assert found == pytest.approx(1 - (p - q) ** 2 / (p**2 + q**2))


def test_sums_are_pooled_before_the_ratio(ties):
    a, b = ties[0], ties[1][0]
    each = metrics.fss(a, b, scales=3, average=False)
    pooled = metrics.fss(a, b, scales=3)
    p, o = (uniform_filter((X >= 1.0).astype(float), (0, 3, 3), mode="constant") for X in (b, a))
    misses, squares = ((p - o) ** 2).sum((1, 2)), (p**2 + o**2).sum((1, 2))
    np.testing.assert_allclose(each, 1 - misses / squares, rtol=1e-9)
    assert pooled == pytest.approx(1 - misses.sum() / squares.sum())
    assert each.min() < pooled < each.max()
    dry = np.concatenate([a, 0 * a]), np.concatenate([b, 0 * b])
    assert metrics.fss(*dry, scales=3) == pytest.approx(pooled)
    assert np.isnan(metrics.fss(0 * a, 0 * b))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0.1, 3))
def test_laws_of_fss(seed, scale, threshold):
    a, b = np.random.default_rng(seed).gamma(0.5, size=(2, 2, 15, 12))
    score = metrics.fss(a, b, thresholds=threshold, scales=scale)
    assert np.isnan(score) or 0 <= score <= 1
    np.testing.assert_allclose(
        metrics.fss(b, a, thresholds=threshold, scales=scale), score, atol=1e-12
    )
    if (a >= threshold).any():
        assert metrics.fss(a, a, thresholds=threshold, scales=scale) == 1


def test_shapes_thresholds_and_several_forecasts(ties):
    y, x = ties
    table = metrics.fss(y, x, thresholds=[1.0, 2.0, 3.0], scales=[1, 5], average=False)
    assert table.shape == (8, 6, 3, 2)
    for m, f, t, s in np.ndindex(table.shape):
        one = metrics.fss(y[f], x[m, f], thresholds=1.0 + t, scales=(1, 5)[s])
        assert table[m, f, t, s] == pytest.approx(one, rel=1e-12)


def test_probabilistic_fss_is_of_the_mean_fraction(ties):
    y, x = ties
    p = uniform_filter((x[:, 0] >= 1.5).mean(axis=0), 5, mode="constant")
    o = uniform_filter((y[0] >= 1.5).astype(float), 5, mode="constant")
    expected = 1 - np.sum((p - o) ** 2) / (np.sum(p**2) + np.sum(o**2))
    found = metrics.fss(y[0], x[:, 0], thresholds=1.5, scales=5, member_axis=0)
    assert found == pytest.approx(expected, abs=1e-9)


def test_errors_of_fss(ties):
    y, x = ties
    with pytest.raises(ValueError, match="positive whole numbers"):
        metrics.fss(y, x[0], scales=[2.5])
    with pytest.raises(ValueError, match="end in the shape of obs"):
        metrics.fss(y, x[0, :4])
    with pytest.raises(ValueError, match="fit into"):
        metrics.fss(y, x[0], scales=33, padding="valid")
    with pytest.raises(ValueError, match="padding"):
        metrics.fss(y, x[0], padding="reflect")
