import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skdiffuse import metrics

rates = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0, 2.5, 7.0, 40.0])


def reference_crps(y, x, fair):
    """The definition, cell by cell."""
    x = x[~np.isnan(x)]
    m = len(x)
    pairs = np.abs(x[:, None] - x[None, :]).sum() / 2
    return np.abs(x - y).mean() - pairs / (m * (m - 1) if fair else m * m)


@settings(deadline=None)
@given(st.integers(2, 9).flatmap(lambda m: arrays(float, (m + 1, 5), elements=rates)))
def test_crps_is_its_definition_whatever_the_ties(data):
    y, x = data[0], data[1:]
    for fair in (True, False):
        found = metrics.crps_ensemble(y, x, fair=fair, average=False)
        expected = [reference_crps(y[i], x[:, i], fair) for i in range(5)]
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("m", [2, 3, 19, 20, 21, 63, 64, 65, 100])
def test_crps_for_all_sizes_of_ensemble(m):
    rng = np.random.default_rng(m)
    y, x = rng.gamma(0.5, size=7), rng.gamma(0.5, size=(m, 7))
    x[rng.random(x.shape) < 0.1] = np.nan
    x[:2] = 0.3
    expected = [reference_crps(y[i], x[:, i], True) for i in range(7)]
    np.testing.assert_allclose(metrics.crps_ensemble(y, x, average=False), expected, rtol=1e-12)


def test_crps_agrees_with_the_libraries_that_are_right(ties, mrms):
    scoringrules = pytest.importorskip("scoringrules")
    properscoring = pytest.importorskip("properscoring")
    X = np.nan_to_num(mrms.values).astype(float)
    real = X[10], np.stack([np.roll(X[10], s, axis=1) for s in (0, 1, -2, 3, 5)])
    for y, x in (ties, real):
        last = np.moveaxis(x, 0, -1)
        found = metrics.crps_ensemble(y, x, average=False)
        np.testing.assert_allclose(
            found, scoringrules.crps_ensemble(y, last, estimator="fair"), atol=1e-6
        )
        plain = metrics.crps_ensemble(y, x, fair=False, average=False)
        np.testing.assert_allclose(plain, properscoring.crps_ensemble(y, last), atol=1e-6)


def test_crps_agrees_with_scores_and_missing_members(ties):
    probability = pytest.importorskip("scores.probability")
    xr = pytest.importorskip("xarray")
    y, x = ties[0][:2].copy(), ties[1][:, :2].copy()
    x[0, :, :4] = np.nan
    y[0, 10] = np.nan
    dims = ("time", "y", "x")
    for fair, method in ((True, "fair"), (False, "ecdf")):
        peer = probability.crps_for_ensemble(
            xr.DataArray(x, dims=("member", *dims)),
            xr.DataArray(y, dims=dims),
            "member",
            method=method,
            preserve_dims="all",
        )
        found = metrics.crps_ensemble(y, x, fair=fair, average=False)
        np.testing.assert_allclose(found, peer.transpose(*dims), atol=1e-9)


def test_peers_fail_where_members_are_tied_or_missing():
    """Why the project has its own CRPS: the right answers are 0.4375 and, with NaN, 0.5."""
    y, x = np.array([1.0]), np.array([[1.0], [0.0], [2.0], [4.0]])
    assert metrics.crps_ensemble(y, x, fair=False) == pytest.approx(0.4375)
    pysteps = pytest.importorskip("pysteps.verification.probscores")
    assert pysteps.CRPS(x, y) != pytest.approx(0.4375, abs=0.1)
    missing = np.array([[0.0], [2.0], [np.nan]])
    assert metrics.crps_ensemble(y, missing, fair=False) == pytest.approx(0.5)
    scoringrules = pytest.importorskip("scoringrules")
    assert np.isnan(scoringrules.crps_ensemble(y, missing.T, estimator="nrg")).all()


@given(arrays(float, (2, 6), elements=rates), st.floats(0.1, 20), st.floats(0, 20))
def test_laws_of_crps(data, factor, shift):
    y, x = data
    single = metrics.crps_ensemble(y, x[None], fair=False, average=False)
    np.testing.assert_allclose(single, np.abs(x - y))
    x = np.stack([x, x[::-1], y])
    base = metrics.crps_ensemble(y, x, average=False)
    np.testing.assert_allclose(
        metrics.crps_ensemble(factor * y, factor * x, average=False), factor * base, atol=1e-9
    )
    np.testing.assert_allclose(
        metrics.crps_ensemble(y + shift, x + shift, average=False), base, atol=1e-9
    )
    # The threshold-weighted score below everything is the score itself.
    np.testing.assert_allclose(
        metrics.threshold_weighted_crps(y, x, 0.0, average=False), base, atol=1e-12
    )


def test_threshold_weighted_crps_agrees_with_scoringrules(ties):
    scoringrules = pytest.importorskip("scoringrules")
    y, x = ties
    for t in (0.5, 3.0):
        peer = scoringrules.twcrps_ensemble(
            y, np.moveaxis(x, 0, -1), v_func=lambda r, t=t: np.maximum(r, t), estimator="nrg"
        )
        found = metrics.threshold_weighted_crps(y, x, t, fair=False, average=False)
        np.testing.assert_allclose(found, peer, atol=1e-9)


def test_member_axis_and_precision(ties):
    y, x = ties
    expected = metrics.crps_ensemble(y, x)
    assert metrics.crps_ensemble(y, np.moveaxis(x, 0, -1), axis=-1) == pytest.approx(expected)
    single = metrics.crps_ensemble(y.astype(np.float32), x.astype(np.float32))
    assert single == pytest.approx(expected, rel=1e-6)
    half = metrics.crps_ensemble(y.astype(np.float16), x.astype(np.float16))
    assert half == pytest.approx(expected, rel=1e-2)


def test_errors_of_crps(ties):
    y, x = ties
    with pytest.raises(ValueError, match="at least 2 members; got 1"):
        metrics.crps_ensemble(y, x[:1])
    with pytest.raises(ValueError, match="shape of obs"):
        metrics.crps_ensemble(y[:1], x)
    with pytest.raises(ValueError, match="No cell is valid"):
        metrics.crps_ensemble(np.full((2, 2), np.nan), np.zeros((3, 2, 2)))


def test_energy_score_agrees_with_scoringrules(ties):
    scoringrules = pytest.importorskip("scoringrules")
    y, x = ties
    flat = np.moveaxis(x.reshape(8, 6, -1), 0, 1)
    peer = scoringrules.es_ensemble(y.reshape(6, -1), flat, estimator="nrg") / 32
    found = metrics.energy_score(y, x, fair=False, average=False)
    np.testing.assert_allclose(found, peer, rtol=1e-9)
    # In one cell it is the CRPS.
    cell = metrics.energy_score(y[..., :1, :1], x[..., :1, :1])
    assert cell == pytest.approx(metrics.crps_ensemble(y[..., :1, :1], x[..., :1, :1]))


def test_variogram_score_agrees_with_scoringrules():
    scoringrules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(0)
    y, x = rng.gamma(0.5, size=(3, 4)), rng.gamma(0.5, size=(6, 3, 4))
    place = np.array([(i, j) for i in range(3) for j in range(4)], dtype=float)
    distance = np.linalg.norm(place[:, None] - place[None], axis=-1)
    w = np.divide(1, distance, out=np.zeros_like(distance), where=distance > 0)
    peer = scoringrules.vs_ensemble(y.ravel(), x.reshape(6, -1), w, p=0.5, estimator="nrg")
    found = metrics.variogram_score(y, x, max_lag=10)
    assert found == pytest.approx(float(peer) / w.sum(), rel=1e-9)


@pytest.mark.parametrize("max_lag", [1, 2])
def test_variogram_score_of_near_cells_agrees_with_scoringrules(max_lag):
    """Pairs farther apart get no weight there."""
    scoringrules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(0)
    y, x = rng.gamma(0.5, size=(4, 5)), rng.gamma(0.5, size=(6, 4, 5))
    place = np.array([(i, j) for i in range(4) for j in range(5)], dtype=float)
    apart = np.abs(place[:, None] - place[None])
    distance = np.linalg.norm(apart, axis=-1)
    near = (apart.max(-1) <= max_lag) & (distance > 0)
    w = np.divide(1, distance, out=np.zeros_like(distance), where=near)
    peer = scoringrules.vs_ensemble(y.ravel(), x.reshape(6, -1), w, p=0.5, estimator="nrg")
    found = metrics.variogram_score(y, x, max_lag=max_lag)
    assert found == pytest.approx(float(peer) / w.sum(), rel=1e-9)


def test_variogram_score_sees_lost_correlation():
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(9, 20, 1, 1)) + 0.3 * rng.normal(size=(9, 20, 8, 8))
    shuffled = smooth[1:].reshape(8, 20, -1)[..., rng.permutation(64)].reshape(8, 20, 8, 8)
    noise = rng.normal(size=(8, 20, 8, 8)) * np.sqrt(1.09)
    good = metrics.variogram_score(smooth[0], smooth[1:])
    assert metrics.variogram_score(smooth[0], noise) > 2 * good
    assert metrics.variogram_score(smooth[0], shuffled) == pytest.approx(good, rel=0.3)


def test_rank_histogram_of_exchangeable_rain_is_flat():
    rng = np.random.default_rng(0)
    X = rng.gamma(0.4, size=(6, 200_000))
    X[X < 0.3] = 0  # mostly ties
    counts = metrics.rank_histogram(X[0], X[1:])
    np.testing.assert_allclose(counts, 1 / 6, atol=0.004)
    assert counts.sum() == pytest.approx(1)
    under = metrics.rank_histogram(3 * X[0], X[1:])
    assert under[-1] > 1.3 / 6


@given(arrays(float, (5, 8), elements=rates))
def test_rank_histogram_is_the_mean_over_random_ties(data):
    y, x = data[0], data[1:]
    expected = np.zeros(5)
    for i in range(8):
        low, equal = int((x[:, i] < y[i]).sum()), int((x[:, i] == y[i]).sum())
        expected[low : low + equal + 1] += 1 / (equal + 1) / 8
    np.testing.assert_allclose(metrics.rank_histogram(y, x), expected)


def test_spread_and_skill():
    rng = np.random.default_rng(0)
    spread = rng.gamma(2.0, size=100_000)
    centre = rng.normal(size=100_000)
    obs = centre + spread * rng.normal(size=100_000)
    ens = centre + spread * rng.normal(size=(5, 100_000))
    result = metrics.spread_skill(obs, ens)
    assert result.ratio == pytest.approx(1, abs=0.02)
    assert metrics.spread_skill(obs, centre + 0.5 * (ens - centre)).ratio < 0.7
    bins = metrics.spread_skill(obs, ens, n_bins=4)
    assert np.all(np.diff(bins.spread) > 0) and np.all(np.diff(bins.error) > 0)
    two = metrics.spread_skill(obs, ens[:2])
    assert two.ratio == pytest.approx(1, abs=0.03)
    with pytest.raises(ValueError, match="at least 2 members"):
        metrics.spread_skill(obs, ens[:1])
