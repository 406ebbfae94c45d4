import numpy as np
import pytest

from skdiffuse import metrics


@pytest.fixture(scope="module")
def cases():
    """Truth of 12 cases and an ensemble whose members are drawn as the truth is."""
    rng = np.random.default_rng(0)
    centre = rng.gamma(0.5, 3.0, size=(12, 3, 12, 12))
    drawn = centre * rng.lognormal(0, 0.6, size=(9, *centre.shape))
    drawn[drawn < 0.2] = 0
    return drawn[0], drawn[1:], centre


def test_scores_are_those_of_the_functions(cases):
    obs, ens, _ = cases
    obs = obs.copy()
    obs[2, 1, :4] = np.nan
    card = {e.score: e for e in metrics.forecast_scorecard(obs, {"m": ens}, n_resamples=10)}
    expected = {
        "crps": metrics.crps_ensemble(obs, ens),
        "crps above 5 mm/h": metrics.threshold_weighted_crps(obs, ens, 5.0),
        "energy_score": metrics.energy_score(obs, ens),
        "brier of 1 mm/h": metrics.brier_score(obs, ens, 1.0),
        "fss of 1 mm/h": metrics.fss(obs, ens, thresholds=1.0, scales=5, member_axis=0),
        "spread_skill": metrics.spread_skill(obs, ens).ratio,
    }
    for name, value in expected.items():
        assert card[name].value == pytest.approx(value, rel=1e-9), name
        assert card[name].low <= card[name].value <= card[name].high
    assert card["crps"].n == 12


def test_overconfidence_is_caught_and_baselines_are_beaten(cases):
    obs, ens, centre = cases
    timid = centre + np.sqrt(0.5) * (ens - centre)  # half the variance around the same centre
    card = metrics.forecast_scorecard(
        obs, {"good": ens, "timid": timid}, baselines={"dry": 0 * ens[:1]}, n_resamples=100
    )
    of = {(e.simulation, e.score): e for e in card}
    assert of["good", "spread_skill"].low < 1 < of["good", "spread_skill"].high
    assert of["timid", "spread_skill"].high < 0.9
    assert "too small" in of["timid", "spread_skill"].reading
    assert of["good", "crps"].versus == {"dry": "better"}
    assert of["dry", "crps"].value == pytest.approx(obs.mean())
    assert np.isnan(of["dry", "spread_skill"].value)
    assert of["dry", "spread_skill"].reading == "undefined"
    assert of["dry", "mean_bias"].value == -1
    assert of["good", "spread_skill"].versus == {"dry": "undefined"}


def test_lazy_ensembles_are_read_case_by_case(cases):
    da = pytest.importorskip("dask.array")
    obs, ens, _ = cases
    lazy = da.from_array(ens, chunks=(2, 5, 3, 12, 5))
    one, other = (metrics.forecast_scorecard(obs, {"m": e}, n_resamples=5) for e in (ens, lazy))
    assert [e.value for e in one] == pytest.approx([e.value for e in other])


def test_errors(cases):
    obs, ens, _ = cases
    with pytest.raises(ValueError, match="too few blocks"):
        metrics.forecast_scorecard(obs[:1], {"m": ens[:, :1]})
    with pytest.raises(ValueError, match="n_members"):
        metrics.forecast_scorecard(obs, {"m": ens[:, :3]})
    with pytest.raises(ValueError, match="Names must differ"):
        metrics.forecast_scorecard(obs, {"m": ens}, baselines={"m": ens})
    with pytest.raises(ValueError, match=r"\(n, time, y, x\)"):
        metrics.forecast_scorecard(obs[0], {"m": ens[:, 0]})
