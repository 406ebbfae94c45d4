import numpy as np
import pytest

from skdiffuse import metrics


def test_brier_agrees_with_scores_and_scoringrules(ties):
    y, x = ties
    t = 1.5
    scoringrules = pytest.importorskip("scoringrules")
    p = (x >= t).mean(axis=0)
    peer = scoringrules.brier_score((y >= t).astype(float), p).mean()
    plain = metrics.brier_score(y, x, t, fair=False)
    assert plain == pytest.approx(peer, abs=1e-12)
    probability = pytest.importorskip("scores.probability")
    xr = pytest.importorskip("xarray")
    dims = ("time", "y", "x")
    fair = probability.brier_score_for_ensemble(
        xr.DataArray(x, dims=("member", *dims)),
        xr.DataArray(y, dims=dims),
        "member",
        t,
        fair_correction=True,
    )
    assert metrics.brier_score(y, x, t) == pytest.approx(float(fair.squeeze()), abs=1e-9)


def test_decomposition_adds_up(ties):
    y, x = ties
    y = np.maximum(y, x[:3].mean(axis=0))  # some resolution
    parts = metrics.brier_decomposition(y, x, 1.5)
    assert parts.score == pytest.approx(metrics.brier_score(y, x, 1.5, fair=False), abs=1e-12)
    assert min(parts) >= 0 and parts.resolution > 0.001


def test_a_reliable_forecast_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    p = rng.random(40_000)
    obs = (rng.random(40_000) < p) * 2.0
    ens = (rng.random((50, 40_000)) < p) * 2.0
    curve = metrics.reliability_curve(obs, ens, 1.0, n_bins=5)
    np.testing.assert_allclose(curve.frequency, curve.probability, atol=0.03)
    assert curve.count.sum() == 40_000


def test_roc_agrees_with_scikit_learn(ties):
    from sklearn.metrics import roc_auc_score

    y, x = ties
    y = np.maximum(y, x[:3].mean(axis=0))
    roc = metrics.roc_curve(y, x, 2.0)
    expected = roc_auc_score((y >= 2).ravel(), (x >= 2).mean(axis=0).ravel())
    assert roc.area == pytest.approx(expected, abs=1e-12)
    assert roc.hit_rate[0] == 0 and roc.hit_rate[-1] == 1
    with pytest.raises(ValueError, match="both events and non-events"):
        metrics.roc_curve(y, x, 1e6)


def test_contingency_agrees_with_scores(ties):
    categorical = pytest.importorskip("scores.categorical")
    xr = pytest.importorskip("xarray")
    obs, sim = ties[0].copy(), ties[1][0].copy()
    sim[0, :3] = obs[0, :3]
    obs[0, 5] = np.nan
    table = metrics.contingency_table(obs, sim, 1.5)
    manager = (
        categorical.ThresholdEventOperator(default_event_threshold=1.5)
        .make_contingency_manager(xr.DataArray(sim), xr.DataArray(obs))
        .transform()
    )
    assert table.csi == pytest.approx(float(manager.critical_success_index()))
    assert table.pod == pytest.approx(float(manager.probability_of_detection()))
    assert table.far == pytest.approx(float(manager.false_alarm_ratio()))
    assert table.ets == pytest.approx(float(manager.equitable_threat_score()))
    assert table.hss == pytest.approx(float(manager.heidke_skill_score()))
    assert table.frequency_bias == pytest.approx(float(manager.frequency_bias()))
    assert table.n == obs.size - 32


def test_no_event_is_nan_and_not_an_error():
    table = metrics.contingency_table(np.zeros((4, 4)), np.zeros((4, 4)), 1.0)
    assert np.isnan([table.csi, table.pod, table.far, table.ets, table.hss]).all()
    with pytest.raises(ValueError, match="one shape"):
        metrics.contingency_table(np.zeros(3), np.zeros(4), 1.0)
