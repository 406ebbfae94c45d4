"""Scores that users of peers miss, against peers where they have them, else computed by hand."""

import numpy as np
import pytest
import xarray as xr
from scores.plotdata import relative_economic_value
from scores.processing import binary_discretise_proportion

from skdiffuse import metrics


@pytest.fixture(scope="module")
def forecasts():
    """Forecasts of five members that know something, half of the cells dry."""
    rng = np.random.default_rng(0)
    strength = rng.gamma(1.0, size=(8, 3, 6, 7)) * (rng.random((8, 3, 6, 7)) < 0.5)
    obs = strength * rng.gamma(2.0, size=strength.shape)
    return obs, np.stack([strength * rng.gamma(1.0, size=strength.shape) for _ in range(5)])


def brute_crps(obs, ens):
    """The integral of (F - step)^2, piece by piece."""
    total = []
    for y, x in zip(obs.ravel(), ens.reshape(len(ens), -1).T, strict=True):
        at = np.sort(np.append(x, y))
        height = [(np.mean(x <= a) - (y <= a)) ** 2 for a in at[:-1]]
        total.append(np.dot(height, np.diff(at)))
    return np.mean(total)


def test_parts_of_the_crps_add_up(forecasts):
    obs, ens = forecasts
    parts = metrics.crps_decomposition(obs, ens)
    assert parts.score == pytest.approx(brute_crps(obs, ens), rel=1e-10)
    assert parts.score == pytest.approx(metrics.crps_ensemble(obs, ens, fair=False), rel=1e-10)
    climate = np.mean(np.abs(obs.ravel()[:, None] - obs.ravel())) / 2
    assert parts.uncertainty == pytest.approx(climate, rel=1e-10)
    assert parts.uncertainty - parts.resolution + parts.reliability == pytest.approx(parts.score)
    single = metrics.crps_decomposition(obs, ens[:1])
    assert single.score == pytest.approx(np.abs(obs - ens[0]).mean())


def test_reliability_by_hersbachs_sums(forecasts):
    """Each cell's lengths of gaps below and above the observation, in a plain loop."""
    obs, ens = forecasts
    m, rows = len(ens), []
    for y, x in zip(obs.ravel(), np.sort(ens.reshape(len(ens), -1), axis=0).T, strict=True):
        alpha, beta = np.zeros(m + 1), np.zeros(m + 1)
        for i in range(1, m):
            low, high = x[i - 1], x[i]
            alpha[i] = high - low if y > high else max(y - low, 0)
            beta[i] = high - low if y < low else max(high - y, 0)
        beta[0], alpha[m] = max(x[0] - y, 0), max(y - x[-1], 0)
        rows.append([alpha, beta])
    alpha, beta = np.mean(rows, axis=0)
    lowest, highest = np.mean(obs < ens.min(axis=0)), np.mean(obs > ens.max(axis=0))
    gap, share = alpha + beta, beta / np.maximum(alpha + beta, 1e-300)
    share[0], share[m] = lowest, 1 - highest
    gap[0], gap[m] = beta[0] / lowest, alpha[m] / highest
    expected = np.sum(gap * (share - np.arange(m + 1) / m) ** 2)
    assert metrics.crps_decomposition(obs, ens).reliability == pytest.approx(expected, rel=1e-10)


def test_calibration_shows_in_the_reliability():
    """Members of the observations' own law are reliable; halved ones are not, and know as much."""
    rng = np.random.default_rng(1)
    strength = rng.gamma(2.0, size=20_000)
    obs, *members = strength * rng.exponential(size=(11, 20_000))
    good = metrics.crps_decomposition(obs, np.array(members))
    bad = metrics.crps_decomposition(obs, np.array(members) / 2)
    assert good.reliability < 0.03 * good.score < bad.reliability
    assert good.resolution > 0.1


def test_economic_value_is_that_of_scores(forecasts):
    """The `scores` package takes probabilities and finds the best of given ones."""
    obs, ens = forecasts
    ratios = np.linspace(0.05, 0.95, 19)
    found = metrics.economic_value(obs, ens, 1.0, cost_loss=ratios)
    probability = binary_discretise_proportion(
        xr.DataArray(ens, dims=("member", "n", "t", "y", "x")), [1.0], ">=", reduce_dims="member"
    ).squeeze("threshold", drop=True)
    seen = xr.DataArray((obs >= 1.0).astype(float), dims=("n", "t", "y", "x"))
    levels = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
    theirs = relative_economic_value(
        probability, seen, cost_loss_ratios=ratios, probability_thresholds=levels,
        generate_maximum_rev=True, probability_threshold_outputs=[0.5],
    )  # fmt: skip
    np.testing.assert_allclose(found.value, np.maximum(theirs["maximum"], 0), atol=1e-12)
    fixed = metrics.economic_value(obs, ens, 1.0, cost_loss=ratios, probability=0.5)
    curve = next(theirs[name] for name in theirs.data_vars if name != "maximum")
    np.testing.assert_allclose(fixed.value, np.ravel(curve), atol=1e-12)
    own = metrics.economic_value(obs, ens, 1.0, cost_loss=ratios, probability="cost_loss")
    assert np.all(own.value <= found.value + 1e-12)


def test_economic_value_of_known_forecasts(forecasts):
    obs, _ = forecasts
    perfect = metrics.economic_value(obs, obs[None], 1.0)
    np.testing.assert_allclose(perfect.value, 1)
    climate = metrics.economic_value(obs, np.zeros_like(obs)[None], 1.0)
    np.testing.assert_allclose(climate.value, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cost_loss": [0.5, 1.0]}, "ratios between 0 and 1"),
        ({"threshold": 1e6}, "occurred in 0 of"),
        ({"probability": "mine"}, "probability must be a number, 'cost_loss' or None; got 'mine'"),
    ],
)
def test_bad_values(options, message, forecasts):
    with pytest.raises(ValueError, match=message):
        metrics.economic_value(*forecasts, **{"threshold": 1.0, **options})


@pytest.mark.parametrize(
    "name", ["crps_reliability", "crps_potential", "economic_value", "object_interest"]
)
def test_scorecards_and_scorers_know_them(name, forecasts):
    """By the statistic, or by whole cases: the value is that of the function."""
    obs, ens = forecasts
    (entry,) = metrics.forecast_scorecard(
        obs, {"model": ens}, scores=[name], thresholds=(1.0,), n_resamples=20
    )
    expected = {
        "crps_reliability": lambda: metrics.crps_decomposition(obs, ens).reliability,
        "crps_potential": lambda: metrics.crps_decomposition(obs, ens).potential,
        "economic_value": lambda: metrics.economic_value(obs, ens, 1.0, cost_loss=[0.1]).value[0],
        "object_interest": lambda: np.nanmean(
            [
                metrics.match_objects(y, x).median_of_maximum_interest
                for member in ens
                for y, x in zip(obs.reshape(-1, 6, 7), member.reshape(-1, 6, 7), strict=True)
            ]
        ),
    }[name]()
    assert entry.value == pytest.approx(float(expected), rel=1e-9)
    assert entry.low <= entry.value <= entry.high and entry.reading
    assert any(name in known for known in metrics.get_scorer_names("ensemble"))


def storms(*boxes, shape=(40, 50)):
    field = np.zeros(shape)
    for (y, x, height, width), rate in boxes:
        field[y : y + height, x : x + width] = rate
    return field


def test_objects_are_what_they_look_like():
    field = storms(((5, 6, 4, 12), 3.0), ((20, 30, 9, 3), 5.0), ((35, 2, 1, 2), 9.0))
    match = metrics.match_objects(field, field, radius=0)
    long, tall = match.observed
    assert isinstance(long, metrics.RainObject)
    assert (field[tuple(long.cells.T)] == 3.0).all() and len(long.cells) == 48
    assert (long.area, tall.area) == (48, 27)
    assert long.centre == (6.5, 11.5) and tall.centre == (24.0, 31.0)
    assert long.angle == pytest.approx(0, abs=1e-6) and abs(tall.angle) == pytest.approx(90)
    # The moments of a rectangle: sides squared over twelve.
    assert long.aspect == pytest.approx(4 / 12) and tall.aspect == pytest.approx(3 / 9)
    assert long.intensity == 3.0
    assert match.csi == 1 and match.median_of_maximum_interest == pytest.approx(1.0)
    slanted = np.zeros((40, 40))
    slanted[np.arange(5, 25), np.arange(5, 25)] = 2.0
    (found,) = metrics.match_objects(slanted, slanted, radius=0).observed
    assert found.angle == pytest.approx(45)


def test_interest_by_hand():
    """A storm 6 cells to the east and twice as tall, distances by brute force."""
    obs, sim = storms(((10, 10, 4, 8), 2.0)), storms(((10, 16, 8, 8), 2.0))
    (one,), (other,) = (np.argwhere(f > 0)[None] for f in (obs, sim))
    apart = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    gap = min(np.linalg.norm(a - b) for a in one for b in other)
    reach = 30.0
    shared = np.count_nonzero((obs > 0) & (sim > 0)) / 32
    likeness = [
        1 - (apart - 3) / 27,
        1 - gap / 20,
        (32 / 64) / 0.8,
        0.5 + 0.5 * (shared - 0.1) / 0.15 if shared < 0.25 else 1.0,
    ]
    # The second is a square, which has no long axis: angles do not count.
    expected = np.dot([2, 4, 1, 2], likeness) / 9
    found = metrics.match_objects(obs, sim, radius=0, reach=reach)
    assert found.interest.item() == pytest.approx(expected, rel=1e-9)


def test_misses_false_alarms_and_parts():
    obs = storms(((5, 5, 4, 14), 2.0), ((30, 40, 4, 5), 2.0))
    sim = storms(((5, 5, 4, 6), 2.0), ((5, 13, 4, 6), 2.0), ((32, 4, 4, 5), 2.0))
    match = metrics.match_objects(obs, sim, radius=0)
    assert (match.hits, match.misses, match.false_alarms) == (1, 1, 1)
    assert {i for i, _ in match.pairs} == {0} and len(match.pairs) == 2
    assert match.csi == pytest.approx(1 / 3)
    dry = np.zeros((40, 50))
    assert metrics.match_objects(obs, dry).median_of_maximum_interest == 0
    assert np.isnan(metrics.match_objects(dry, dry).median_of_maximum_interest)


def test_smoothing_and_size_bound_objects():
    speck = storms(((5, 5, 1, 1), 30.0), ((20, 20, 6, 6), 2.0))
    assert len(metrics.match_objects(speck, speck, radius=0).observed) == 1
    # A disc of radius 2 holds 13 cells.
    found = metrics.match_objects(speck, speck, radius=2, threshold=30 / 13).observed
    assert [o.area for o in found] == [13]
    touching = storms(((5, 5, 3, 3), 2.0), ((8, 8, 3, 3), 2.0))
    assert len(metrics.match_objects(touching, touching, radius=0).observed) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": -1}, "radius=-1"),
        ({"min_area": 0}, "min_area=0"),
        ({"reach": 0.0}, "reach=0.0"),
        ({"min_interest": 1.5}, "min_interest must lie between 0 and 1; got 1.5"),
    ],
)
def test_bad_matching(options, message):
    with pytest.raises(ValueError, match=message):
        metrics.match_objects(np.ones((8, 8)), np.ones((8, 8)), **options)


def test_change_of_known_size():
    """Rain of the same law, half as much again: means and extremes rise by 50 %."""
    rng = np.random.default_rng(0)
    past, future = rng.gamma(0.3, size=(2, 80, 3, 6, 6))
    found = {c.name: c for c in metrics.change_signal(past, 1.5 * future, random_state=0)}
    assert found["mean"].past == pytest.approx(past.mean())
    assert found["mean"].change == pytest.approx(1.5 * future.mean() / past.mean() - 1)
    expected = np.quantile(1.5 * future, 0.999) / np.quantile(past, 0.999) - 1
    assert found["quantile 0.999"].change == pytest.approx(expected)
    expected = (1.5 * future).max(axis=(1, 2, 3)).mean() / past.max(axis=(1, 2, 3)).mean() - 1
    assert found["largest rate"].change == pytest.approx(expected)
    for name in ("mean", "quantile 0.99", "quantile 0.999", "largest rate"):
        assert found[name].low < 0.5 < found[name].high and found[name].is_clear
    # The delta method for a ratio of means.
    means = [X.mean(axis=(1, 2, 3)) for X in (past, 1.5 * future)]
    error = 1.5 * np.sqrt(sum(m.var(ddof=1) / len(m) / m.mean() ** 2 for m in means))
    width = found["mean"].high - found["mean"].low
    assert width == pytest.approx(2 * 1.96 * error, rel=0.25)
    absolute = metrics.change_signal(past, 1.5 * future, relative=False, n_resamples=5)
    assert absolute[0].change == pytest.approx(1.5 * future.mean() - past.mean())


def test_change_covers_no_change_as_often_as_it_says():
    """Of one law there is no change, and a 90 % interval says so in about 90 of 100 cases."""
    rng = np.random.default_rng(2)
    held = [
        metrics.change_signal(
            *rng.gamma(0.5, size=(2, 30, 1, 3, 3)), confidence=0.9, n_resamples=40, random_state=0
        )[0].is_clear
        for _ in range(40)
    ]
    assert 0.02 <= np.mean(held) <= 0.25


def test_change_of_series_and_of_weighted_sequences():
    rng = np.random.default_rng(3)
    past, future = rng.gamma(0.3, size=(2, 60, 4, 4))
    found = metrics.change_signal(past, future, block_length=6, n_resamples=10, random_state=0)
    expected = future.reshape(10, -1).max(axis=1).mean() / past.reshape(10, -1).max(axis=1).mean()
    assert found[-1].change == pytest.approx(expected - 1)
    times = np.array([1, 3, 0, 2] * 3)
    past, future = rng.gamma(0.3, size=(2, 12, 2, 4, 4))
    options = {"n_resamples": 5, "random_state": 0}
    weighted = metrics.change_signal(past, future, weights=times, **options)
    repeated = metrics.change_signal(past, np.repeat(future, times, axis=0), **options)
    for a, b in zip(weighted, repeated, strict=True):
        assert a.change == pytest.approx(b.change)


@pytest.mark.parametrize(
    ("past", "options", "message"),
    [
        ((9, 2, 4, 4), {"block_length": 3}, "only there"),
        ((9, 4, 4), {}, "block_length is None"),
        ((9, 4, 4), {"block_length": 6}, "past has 1 sequences or blocks"),
        ((1, 2, 4, 4), {}, "past has 1 sequences"),
        ((9, 2, 5, 4), {}, "past and future lie on different grids"),
    ],
)
def test_bad_periods(past, options, message):
    future = np.ones((9, 4, 4)) if len(past) == 3 else np.ones((9, 2, 4, 4))
    with pytest.raises(ValueError, match=message):
        metrics.change_signal(np.ones(past), future, **options)
