"""Further agreement with independent libraries where they are right, and where they are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skdiffuse import metrics

few_rates = st.sampled_from([0.0, 0.0, 0.1, 0.5, 2.5])


@given(st.integers(2, 6).flatmap(lambda m: arrays(float, (m, 7), elements=few_rates)))
def test_ranks_of_exchangeable_members_are_uniform_exactly(members):
    """Each member in turn as the truth: whatever the ties, all ranks come out equally often."""
    m = len(members)
    shares = [metrics.rank_histogram(members[i], np.delete(members, i, axis=0)) for i in range(m)]
    np.testing.assert_allclose(np.mean(shares, axis=0), 1 / m, atol=1e-12)


@pytest.fixture(scope="module")
def neighbours(mrms):
    """An hour of MRMS rain with dry ties and NaN, and an ensemble of it moved about."""
    obs = mrms.values[3:8].astype(float)
    moves = ((0, 0), (1, 2), (-2, 1), (3, -3), (0, 5))
    ens = np.stack([np.roll(obs, move, axis=(1, 2)) for move in moves])
    ens[1] *= 1.2
    ens[3, 2, 40:44] = np.nan
    assert np.isnan(obs).any() and np.mean(obs == 0) > 0.3
    return obs, ens


def test_crps_of_real_rain_with_gaps_agrees_with_scores(neighbours):
    probability = pytest.importorskip("scores.probability")
    xr = pytest.importorskip("xarray")
    obs, ens = neighbours
    dims = ("time", "y", "x")
    y, x = xr.DataArray(obs, dims=dims), xr.DataArray(ens, dims=("member", *dims))
    for fair, method in ((True, "fair"), (False, "ecdf")):
        peer = probability.crps_for_ensemble(x, y, "member", method=method, preserve_dims="all")
        found = metrics.crps_ensemble(obs, ens, fair=fair, average=False)
        np.testing.assert_allclose(found, peer.transpose(*dims), atol=1e-6)
    peer = probability.tail_tw_crps_for_ensemble(
        x, y, "member", 2.0, tail="upper", method="fair", preserve_dims="all"
    )
    found = metrics.threshold_weighted_crps(obs, ens, 2.0, average=False)
    np.testing.assert_allclose(found, peer.transpose(*dims), atol=1e-6)


def test_brier_of_real_rain_with_gaps_agrees_with_scores(neighbours):
    probability = pytest.importorskip("scores.probability")
    xr = pytest.importorskip("xarray")
    obs, ens = neighbours
    dims = ("time", "y", "x")
    peer = probability.brier_score_for_ensemble(
        xr.DataArray(ens, dims=("member", *dims)),
        xr.DataArray(obs, dims=dims),
        "member",
        1.0,
        fair_correction=True,
    )
    assert metrics.brier_score(obs, ens, 1.0) == pytest.approx(float(peer.squeeze()), abs=1e-6)


def test_temporal_spectrum_agrees_with_scipy(mrms):
    from scipy.signal import periodogram

    X = np.nan_to_num(mrms.values[:24]).astype(float)
    _, density = periodogram(X, axis=0, detrend=False)
    # A density by frequency in cycles a frame: times the width 1/T it is the power of a wave.
    expected = density.mean(axis=(1, 2)) / len(X)
    np.testing.assert_allclose(metrics.temporal_psd(X).P, expected, rtol=1e-6)


def test_contingency_of_real_rain_agrees_with_pysteps_where_nothing_is_missing(neighbours):
    pysteps = pytest.importorskip("pysteps.verification.detcatscores")
    obs, ens = neighbours
    whole = np.nan_to_num(obs[1]), np.nan_to_num(ens[1, 1])
    # pysteps counts >, skdiffuse >=: off the values of the data both are the same.
    for level in (0.1513, 1.0513):
        table = metrics.contingency_table(*whole, level)
        peer = pysteps.det_cat_fct(whole[1], whole[0], level)
        for name in ("POD", "FAR", "CSI", "HSS"):
            assert getattr(table, name.lower()) == pytest.approx(peer[name], abs=1e-6), name
    # A cell without a forecast is no miss; pysteps makes it one.
    gap = np.where(np.arange(128) < 64, whole[0], np.nan)
    assert metrics.contingency_table(whole[0], gap, 1.05).pod == 1
    assert pysteps.det_cat_fct(gap, whole[0], 1.05)["POD"] < 0.9


def test_ranks_without_ties_agree_with_pysteps_and_with_ties_are_not_random(neighbours):
    pysteps = pytest.importorskip("pysteps.verification.ensscores")
    rng = np.random.default_rng(0)
    y, x = rng.gamma(0.5, size=(40, 30)), rng.gamma(0.5, size=(6, 40, 30))
    np.testing.assert_allclose(
        metrics.rank_histogram(y, x), pysteps.rankhist(x, y, normalize=True), atol=1e-6
    )
    obs, ens = neighbours[0][1], neighbours[1][:, 1]
    ours = [metrics.rank_histogram(obs, ens) for _ in range(2)]
    np.testing.assert_array_equal(*ours)
    theirs = [pysteps.rankhist(ens, obs, normalize=True) for _ in range(2)]
    assert np.any(theirs[0] != theirs[1]), "pysteps draws tied ranks from the global generator"
    np.testing.assert_allclose(ours[0], np.mean(theirs, axis=0), atol=0.03)


def test_roc_of_real_rain_agrees_with_pysteps(neighbours):
    pysteps = pytest.importorskip("pysteps.verification.probscores")
    obs, ens = neighbours[0][1], neighbours[1][:, 1]
    area = metrics.roc_curve(obs, ens, 1.05).area
    p = np.mean(ens >= 1.05, axis=0)
    # One class of probability for each possible share of members.
    roc = pysteps.ROC_curve_init(1.05, n_prob_thrs=7)
    pysteps.ROC_curve_accum(roc, p, obs)
    _, _, peer = pysteps.ROC_curve_compute(roc, compute_area=True)
    assert area == pytest.approx(peer, abs=0.02)


def test_amplitude_and_location_of_sal_agree_with_pysteps(neighbours):
    pysteps = pytest.importorskip("pysteps.verification.salscores")
    pytest.importorskip("skimage")
    obs, sim = np.nan_to_num(neighbours[0][1]), np.nan_to_num(neighbours[1][1, 1])
    found = metrics.sal(obs, sim)
    structure, amplitude, _ = pysteps.sal(sim, obs)
    assert found.amplitude == pytest.approx(amplitude, abs=1e-6)
    # Objects are found in another way there (by gradients), so structures only agree in sign.
    assert np.isnan(structure) or abs(found.structure - structure) < 0.5
