"""Ensemble forecasts beside what came true: ranks, reliability, discrimination, lead times."""

import io

import numpy as np
import pytest
from scipy.stats import t as student

from skdiffuse import plotting


@pytest.fixture
def forecasts():
    rng = np.random.default_rng(0)
    centre = rng.gamma(0.5, size=(8, 3, 16, 16))
    obs = centre * rng.lognormal(0, 0.5, centre.shape)
    obs[0, 0, :4] = np.nan
    return obs, {
        name: centre * rng.lognormal(0, width, (6, *centre.shape))
        for name, width in (("reliable", 0.5), ("overconfident", 0.1))
    }


def labels(display):
    return " ".join(t.get_text() for t in display.ax_.get_legend().get_texts())


def test_ensembles_are_drawn_beside_each_other():
    rng = np.random.default_rng(0)
    centre = rng.gamma(0.5, size=(20, 16, 16))
    obs = centre * rng.lognormal(0, 0.5, centre.shape)
    ens = {
        name: centre * rng.lognormal(0, width, (9, *centre.shape))
        for name, width in (("reliable", 0.5), ("overconfident", 0.1))
    }
    ranks = plotting.RankHistogramDisplay.from_samples(obs, ens)
    ends = {name: (s[0] + s[-1]) / 2 for name, s in ranks.shares.items()}
    assert ends["overconfident"] > 2 * ends["reliable"]
    for name, e in ens.items():  # without ties a rank is the number of members below
        expected = np.bincount((e < obs).sum(axis=0).ravel(), minlength=10) / obs.size
        np.testing.assert_allclose(ranks.shares[name], expected, rtol=1e-9)
        (stairs,) = [p for p in ranks.ax_.patches if p.get_label() == name]
        np.testing.assert_allclose(stairs.get_data().values, 10 * expected, rtol=1e-9)
    curves = plotting.ReliabilityDisplay.from_samples(obs, ens, threshold=1.0)
    assert curves.ax_.get_title() == "at least 1 mm/h"
    for name, e in ens.items():
        k = (e >= 1).sum(axis=0)
        place = np.minimum(10 * k // 9, 9)
        filled = np.unique(place)
        (line,) = [line for line in curves.ax_.get_lines() if line.get_label() == name]
        expected = [[k[place == c].mean() / 9, (obs >= 1)[place == c].mean()] for c in filled]
        np.testing.assert_allclose(line.get_xydata(), expected, rtol=1e-9)
    for display in (ranks, curves):
        labels = [t.get_text() for t in display.ax_.get_legend().get_texts()]
        assert labels == ["reliable", "overconfident"]


def test_forecasts_by_lead_time_and_scale(forecasts):
    from skdiffuse import metrics

    obs, ens = forecasts
    lead = plotting.LeadTimeDisplay.from_samples(obs, ens, lead=[5, 10, 15], unit="minutes")
    expected = [metrics.crps_ensemble(obs[:, t], ens["reliable"][:, :, t]) for t in range(3)]
    np.testing.assert_allclose(lead.curves["reliable"].value, expected)
    assert np.all(lead.curves["reliable"].low < expected)
    assert lead.ax_.get_xlabel() == "lead time (minutes)" and "overconfident" in labels(lead)
    one = plotting.LeadTimeDisplay.from_samples(obs[0], {n: e[:, 0] for n, e in ens.items()})
    assert np.isnan(one.curves["reliable"].low).all()

    scales = plotting.FSSDisplay.from_samples(obs, ens, thresholds=[0.5, 2], cell_km=2.0)
    expected = metrics.fss(
        obs, ens["reliable"], thresholds=[0.5, 2], scales=[1, 3, 5, 9], member_axis=0
    )
    np.testing.assert_allclose(scales.curves["reliable"].value, expected)
    assert "2 mm/h" in labels(scales) and "km" in scales.ax_.get_xlabel()
    for shown in (lead, one, scales):
        shown.figure_.savefig(io.BytesIO())
    with pytest.raises(ValueError, match="n_members"):
        plotting.LeadTimeDisplay.from_samples(obs, ens["reliable"][:, :2])
    with pytest.raises(ValueError, match="one to 4 rates"):
        plotting.FSSDisplay.from_samples(obs, ens, thresholds=range(1, 7))
    with pytest.raises(ValueError, match="one value for each of 3 times"):
        plotting.LeadTimeDisplay.from_samples(obs, ens, lead=[1, 2])


def test_discrimination_and_spread(forecasts):
    from skdiffuse import metrics

    obs, ens = forecasts
    roc = plotting.RocDisplay.from_samples(obs, ens, threshold=1.0)
    for name, curve in roc.curves.items():
        assert curve.area == metrics.roc_curve(obs, ens[name], 1.0).area
        assert roc.areas[name][0] < curve.area < roc.areas[name][1]
        p = (ens[name] >= 1).mean(axis=0)
        hits, false = (
            np.array([0, *(np.mean(p[event] > (k - 0.5) / 6) for k in range(6, -1, -1))])
            for event in (obs >= 1, obs < 1)
        )
        trapezoids = np.diff(false) * (hits[1:] + hits[:-1]) / 2
        assert curve.area == pytest.approx(trapezoids.sum())
    spread = plotting.SpreadSkillDisplay.from_samples(obs, ens)
    known = np.isfinite(obs)
    for name, e in ens.items():
        variance = e.var(axis=0, ddof=1)[known] * 7 / 6
        squared = (e.mean(axis=0) - obs)[known] ** 2
        expected = np.sqrt(variance.mean() / squared.mean())
        assert spread.overall[name].ratio == pytest.approx(expected)
        bins = np.array_split(np.argsort(variance, kind="stable"), 12)
        expected = [[variance[b].mean() ** 0.5, squared[b].mean() ** 0.5] for b in bins]
        found = np.stack([spread.binned[name].spread, spread.binned[name].error], axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert spread.overall["overconfident"].ratio < 0.5 < spread.overall["reliable"].ratio
    assert "overall spread / error" in labels(spread)
    ranks = plotting.RankHistogramDisplay.from_samples(obs, ens)
    low, high = ranks.intervals["reliable"]
    assert np.all((low <= ranks.shares["reliable"]) & (ranks.shares["reliable"] <= high))
    curves = plotting.ReliabilityDisplay.from_samples(obs, ens, threshold=1.0, n_bins=5)
    # A ratio of sums over cases, with the textbook's error of such a ratio, in the fullest class.
    curve, p = curves.curves["reliable"], (ens["reliable"] >= 1).mean(axis=0)
    c = int(np.argmax(curve.count))
    here = known & (np.minimum((5 * p + 1e-9).astype(int), 4) == int(5 * curve.probability[c]))
    seen, count = (here & (obs >= 1)).sum(axis=(1, 2, 3)), here.sum(axis=(1, 2, 3))
    assert curve.frequency[c] == pytest.approx(seen.sum() / count.sum())
    error = np.sqrt(8 / 7 * np.sum((seen - curve.frequency[c] * count) ** 2)) / count.sum()
    low, high = curves.intervals["reliable"]
    assert high[c] - low[c] == pytest.approx(2 * student.ppf(0.975, 7) * error, rel=0.4)
    assert np.all((low >= 0) & (high <= 1)) and low[c] < curve.frequency[c] < high[c]
    dry = plotting.SpreadSkillDisplay.from_samples(0 * obs, 0 * ens["reliable"])
    for shown in (roc, spread, ranks, curves, dry):
        shown.figure_.savefig(io.BytesIO())
