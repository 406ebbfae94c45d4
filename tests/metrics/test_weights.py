"""Weights of sequences: whole numbers are repetitions, and uneven draws give the truth."""

import inspect

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from skdiffuse import metrics
from skdiffuse.metrics.score import REGISTRY
from skdiffuse.metrics.weights import weights_of

DIMS = ("sample", "time", "y", "x")
TIMES = np.array([3, 1, 0, 2, 1, 4, 1, 2, 1, 1, 5, 1])
# A call of each function that has weights, of observations or of a third cube where it has some.
CALLS = {
    "anisotropy": lambda f, a, b, **w: f(b, **w),
    "areal_reduction_factor": lambda f, a, b, **w: f(b, 3, level=0.95, **w),
    "autocorrelation": lambda f, a, b, **w: f(b, 2, **w),
    "bias_pattern_correlation": lambda f, a, b, **w: f(a, b, a**2, **w),
    "coherence": lambda f, a, b, **w: f(b, **w),
    "intensity_histogram": lambda f, a, b, **w: f(b, **w),
    "lagrangian_autocorrelation": lambda f, a, b, **w: f(b, **w),
    "quantiles": lambda f, a, b, **w: f(b, [0, 0.3, 0.5, 0.9, 0.99, 0.9999, 1], **w),
    "spatial_psd": lambda f, a, b, **w: f(b, window="hann", **w),
    "spell_lengths": lambda f, a, b, **w: f(b, **w),
    "tail_dependence": lambda f, a, b, **w: f(b, 1, level=0.9, **w),
    "temporal_psd": lambda f, a, b, **w: f(b, n_frames=2, window="hann", **w),
    "wet_fraction": lambda f, a, b, **w: f(b, **w),
}
OF_TWO = {
    "bias_summary", "jensen_shannon_divergence", "log_spectral_distance", "map_error", "mean_bias",
    "mean_normalised_bias", "pattern_correlation", "perkins_skill_score", "power_deficit",
    "quantile_error", "quantile_ratios", "wasserstein_distance", "wet_fraction_bias",
}  # fmt: skip
CALLS |= dict.fromkeys(sorted(OF_TWO), lambda f, a, b, **w: f(a, b, **w))
# Tests of their own: what is fitted, resampled, or made of many.
APART = {
    "bootstrap", "bootstrap_difference", "effective_sample_size", "permutation_test",
    "change_signal", "return_levels", "scorecard",
}  # fmt: skip
REFUSE = {
    "brier_decomposition", "brier_score", "contingency_table", "crps_decomposition",
    "crps_ensemble", "crps_potential", "crps_reliability", "economic_value", "energy_score",
    "fss", "rank_histogram",
    "reliability_curve", "roc_curve", "spread_skill", "threshold_weighted_crps", "variogram_score",
}  # fmt: skip
NO_SEQUENCES = {
    "cordex_diagnostics": "takes series with dates",
    "cordex_indices": "takes series with dates",
    "decorrelation_time": "takes a curve",
    "extreme_quantile_levels": "takes a number",
    "forecast_scorecard": "refuses, below",
    "get_scorer": "takes a name",
    "get_scorer_names": "takes nothing",
    "get_scores": "takes nothing",
    "intensity_edges": "takes numbers",
    "make_forecast_scorer": "draws forecasts",
    "make_interpolation_scorer": "draws forecasts",
    "make_sample_scorer": "leaves it to the metric, below",
    "match_objects": "takes single fields",
    "nearest_training_distance": "gives one number a sequence",
    "sal": "takes single fields",
}


def test_every_function_heeds_weights_refuses_them_or_says_why_not():
    public = {n for n in metrics.__all__ if n[0].islower()}
    assert public == {*CALLS, *APART, *REFUSE, *NO_SEQUENCES}
    for name in public:
        heeds = "weights" in inspect.signature(getattr(metrics, name)).parameters
        assert heeds == (name in {*CALLS, *APART} - {"bootstrap_difference"}), name


@pytest.fixture(scope="module")
def rain():
    """Observations and a simulation, with gaps in both and a sequence that is all missing."""
    rng = np.random.default_rng(5)
    strength = rng.gamma(2.0, size=(2, 12, 1, 9, 8))
    X = np.round(strength * rng.gamma(0.4, size=(2, 12, 4, 9, 8)), 1)
    X[0, 2, 3, :2, :3] = X[1, 1, 1, 4, 4] = np.nan
    X[1, 4] = np.nan
    return X[0], X[1]


def carrying(X, weights=TIMES):
    return xr.DataArray(X, {"weight": ("sample", weights)}, DIMS)


def agree(found, expected, rtol=1e-11):
    if not isinstance(expected, tuple):
        found, expected = (found,), (expected,)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("name", CALLS)
def test_whole_numbers_are_repetitions(name, rain):
    obs, sim = rain
    call, function = CALLS[name], getattr(metrics, name)
    expected = call(function, obs, np.repeat(sim, TIMES, axis=0))
    agree(call(function, obs, sim, weights=TIMES), expected)
    agree(call(function, obs, carrying(sim)), expected)
    # What is given goes before what is carried, and equal weights are none.
    agree(call(function, obs, carrying(sim), weights=np.ones(12)), call(function, obs, sim))
    if name in OF_TWO:
        expected = function(np.repeat(obs, TIMES, axis=0), sim)
        agree(function(carrying(obs), sim), expected)
    # Nowhere does the number without weights come out by chance.
    with pytest.raises(AssertionError):
        agree(call(function, obs, sim, weights=TIMES), call(function, obs, sim))


@pytest.mark.parametrize("name", CALLS)
def test_weights_of_lazy_cubes(name, rain, monkeypatch):
    da = pytest.importorskip("dask.array")
    from skdiffuse.metrics import arrays

    obs, sim = rain
    call, function = CALLS[name], getattr(metrics, name)
    expected = call(function, obs, sim, weights=TIMES)
    monkeypatch.setattr(arrays, "BLOCK_CELLS", 3 * sim[0].size)
    lazy = da.from_array(sim, chunks=(5, 3, 9, 4))
    agree(call(function, da.from_array(obs, chunks=(4, 4, 9, 8)), carrying(lazy)), expected, 1e-6)


TURNS = [("time", "sample", "y", "x"), ("x", "y", "time", "sample"), ("y", "sample", "x", "time")]
SHUFFLED = np.random.default_rng(3).permutation(12)


def labelled(X, weights=TIMES):
    return carrying(X, weights).assign_coords(sample=np.arange(100, 112), y=np.arange(9.0))


@pytest.mark.parametrize("name", CALLS)
def test_weights_go_with_names(name, rain):
    obs, sim = rain
    call, function = CALLS[name], getattr(metrics, name)
    expected = call(function, obs, sim, weights=TIMES)
    named, weights = labelled(sim), labelled(sim).weight
    plain = named.drop_vars("weight")
    for dims in TURNS:
        agree(call(function, obs, named.transpose(*dims)), expected)
        agree(call(function, obs, plain.transpose(*dims), weights=weights[SHUFFLED]), expected)
    agree(call(function, obs, named[SHUFFLED]), expected)
    agree(call(function, obs, plain[SHUFFLED], weights=weights), expected)
    if name in OF_TWO:
        # Cells are brought to the order of the observations, and keep what their sequence counts.
        truth = labelled(obs).drop_vars("weight")
        turned = named.isel(y=slice(None, None, -1)).transpose(*TURNS[2])
        agree(call(function, truth, turned), expected)
        agree(call(function, labelled(obs).transpose(*TURNS[0]), sim),
              call(function, np.repeat(obs, TIMES, axis=0), sim))  # fmt: skip
    with pytest.raises(ValueError, match=r"weights of .* other labels along 'sample' than X"):
        call(function, obs, plain, weights=weights.assign_coords(sample=np.arange(12)))
    with pytest.raises(ValueError, match=r"weights of .* run along \('storm',\)"):
        call(function, obs, plain, weights=weights.rename(sample="storm"))


@pytest.mark.parametrize("name", ["intensity_histogram", "quantiles", "wet_fraction"])
def test_nameless_weights_of_frames_in_front_are_refused(name, rain):
    turned = labelled(rain[1]).drop_vars("weight").transpose(*TURNS[0])
    with pytest.raises(ValueError, match="give them as a DataArray that names theirs"):
        CALLS[name](getattr(metrics, name), None, turned, weights=np.ones(4))


@pytest.mark.parametrize("dims", TURNS[::2])
def test_intervals_and_cards_heed_names_and_weights(dims, rain):
    obs = carrying(np.nan_to_num(rain[0])).drop_vars("weight")
    named = labelled(np.nan_to_num(rain[1]))
    turned, plain, weights = (
        named.transpose(*dims), named.drop_vars("weight"), named.weight[SHUFFLED],
    )  # fmt: skip
    options = {"n_resamples": 5, "random_state": 0}
    for resample in (metrics.bootstrap, metrics.permutation_test):
        expected = resample(metrics.map_error, obs, named, **options)
        agree(resample(metrics.map_error, obs, turned, **options), expected)
        agree(resample(metrics.map_error, obs, plain, weights=weights, **options), expected)

    def card(sim, weights=None):
        return [e[3:9] for e in metrics.scorecard(obs, {"m": sim}, weights=weights, **options)]

    expected = card(named)
    agree(card(turned), expected)
    agree(card(plain.transpose(*dims), {"m": weights}), expected)


@pytest.mark.parametrize("score", REGISTRY["sample"].values(), ids=lambda s: s.name)
def test_every_score_of_a_card_takes_whole_numbers_for_repetitions(score, rain):
    obs, sim = rain
    obs = np.nan_to_num(obs)
    often = np.repeat(sim, TIMES, axis=0)
    assert score.function(obs, sim, weights=TIMES) == pytest.approx(score(obs, often), rel=1e-11)
    options = {"scores": [score], "n_resamples": 2}
    expected = metrics.scorecard(obs, {"m": often}, **options)[0].value
    for found in (
        metrics.scorecard(obs, {"m": sim}, weights={"m": TIMES}, **options),
        metrics.scorecard(obs, {"m": carrying(sim)}, **options),
    ):
        assert found[0].value == pytest.approx(expected, rel=1e-11)
        assert found[0].n == 12 and found[0].n_eff == pytest.approx(22**2 / 64)
    swapped = metrics.scorecard(carrying(sim), {"m": obs}, **options)[0].value
    assert swapped == pytest.approx(metrics.scorecard(often, {"m": obs}, **options)[0].value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 6)), min_size=1, max_size=30))
def test_weighted_quantiles_are_those_of_numpy(pairs):
    values, times = map(np.array, zip(*pairs, strict=True))
    times[0] = max(times[0], 1)
    levels = np.linspace(0, 1, 23)
    np.testing.assert_allclose(
        metrics.quantiles(values, levels, weights=times),
        np.quantile(np.repeat(values, times), levels),
        rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    # Of many values the interpolation is narrow, and the definitions agree off the jumps.
    jumps = np.cumsum(times[np.argsort(values)]) / times.sum()
    levels = levels[np.abs(levels[:, None] - jumps).min(axis=1) > 1e-3]
    found = metrics.quantiles(values, levels, weights=10_000.0 * times)
    exact = np.quantile(values, levels, weights=times, method="inverted_cdf")
    np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-12)


def test_shares_are_as_good_as_counts(rain):
    _, sim = rain
    w = np.random.default_rng(0).gamma(2.0, size=12)
    for scale in (1 / w.sum(), 1.0, 300.0):
        agree(metrics.wet_fraction(sim, weights=scale * w), metrics.wet_fraction(sim, weights=w))
        found = metrics.quantiles(sim, [0.5, 0.9, 0.99], weights=scale * w)
        expected = metrics.quantiles(sim, [0.5, 0.9, 0.99], weights=w)
        np.testing.assert_allclose(found, expected, rtol=0.02)


@pytest.fixture(scope="module")
def mixture():
    """Nine dry-ish sequences to one storm, drawn in halves, and the exact law of both."""
    rng = np.random.default_rng(8)
    storm = np.arange(400) % 2 == 1
    X = np.where(storm, 8.0, 1.0)[:, None, None, None] * rng.exponential(size=(400, 2, 6, 6))

    def beyond(rate):
        return 0.9 * np.exp(-rate) + 0.1 * np.exp(-rate / 8)

    return X, np.where(storm, 0.2, 1.8), beyond


def test_uneven_draws_give_the_truth(mixture):
    X, w, beyond = mixture
    sim = carrying(X, w)
    assert metrics.wet_fraction(sim, 3.0) == pytest.approx(beyond(3.0), rel=0.02)
    for level, error in ((0.9, 0.02), (0.99, 0.02), (0.9999, 0.08)):
        truth = brentq(lambda r, p=1 - level: beyond(r) - p, 0, 300)
        assert metrics.quantiles(sim, [level])[0] == pytest.approx(truth, rel=error)
    # Means of squares: power, 2 m^2 of each exponential law.
    power = 0.9 * 2 + 0.1 * 2 * 64
    assert metrics.spatial_psd(sim).P.sum() == pytest.approx(power, rel=0.04)
    assert metrics.temporal_psd(sim).P.sum() == pytest.approx(power, rel=0.04)
    one = np.ones((1, 1, 6, 6))
    assert metrics.mean_bias(one * 1.7, sim) == pytest.approx(0, abs=0.02)
    assert metrics.mean_bias(one * 1.7, X) > 1  # without weights


def test_return_levels_of_uneven_draws():
    rng = np.random.default_rng(3)
    # Maxima of one law, its upper half drawn three times as often.
    pool = rng.gumbel(20, 5, size=20_000)
    high = pool > np.median(pool)
    drawn = np.concatenate([rng.choice(pool[~high], 500), rng.choice(pool[high], 1500)])
    w = np.repeat([2.0, 2 / 3], [500, 1500])
    found = metrics.return_levels(drawn, [50], weights=w, n_resamples=40, random_state=0)
    exact = 20 - 5 * np.log(-np.log(1 - 1 / 50))
    assert found.low[0] < exact < found.high[0]
    assert found.level[0] == pytest.approx(exact, rel=0.03) and found.n == 2000
    times = rng.integers(0, 4, size=60)
    some = rng.gumbel(20, 5, size=60)
    for options in ({}, {"method": "pot", "per_block": 4, "threshold_level": 0.4}):
        options = {"n_resamples": 1, "random_state": 0, **options}
        a = metrics.return_levels(some, [10, 40], weights=times, **options)
        b = metrics.return_levels(np.repeat(some, times), [10, 40], **options)
        np.testing.assert_allclose(a.level, b.level, rtol=2e-3)


def test_interval_of_a_weighted_mean_is_the_textbook_one():
    rng = np.random.default_rng(0)
    w = rng.gamma(1.0, size=80)
    X = rng.normal(5, 1, size=(80, 3)) + rng.normal(size=(80, 1))

    def mean(obs, sim):
        return np.average(np.asarray(sim).mean(axis=1), weights=weights_of(sim))

    found = metrics.bootstrap(mean, X, X, weights=w, n_resamples=2000, random_state=0)
    each = X.mean(axis=1)
    centre = np.average(each, weights=w)
    assert found.value == pytest.approx(centre)
    error = np.sqrt(np.sum((w * (each - centre)) ** 2)) / w.sum()
    assert found.standard_error == pytest.approx(error, rel=0.06)


def test_test_against_noise_holds_its_level_for_weighted_draws():
    """Of one law, of which one sample was drawn unevenly and is of another size."""
    rng = np.random.default_rng(4)

    def gap(a, b):
        means = (np.average(np.asarray(X)[:, 0], weights=weights_of(X)) for X in (a, b))
        return float(np.subtract(*means))

    p = []
    for r in range(120):
        obs = np.where(rng.random((200, 1)) < 0.1, 8, 1) * rng.gamma(4.0, size=(200, 1))
        storm = rng.random(60) < 0.5
        w = np.where(storm, 0.2, 1.8)
        sim = np.where(storm, 8, 1)[:, None] * rng.gamma(4.0, size=(60, 1))
        p.append(metrics.permutation_test(
            gap, obs, sim, weights=w, n_resamples=79, random_state=r).p_value)  # fmt: skip
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.10
    assert 0.4 <= np.mean(p) <= 0.6
    shifted = metrics.permutation_test(gap, obs, 2 * sim, weights=w, random_state=0)
    assert shifted.p_value < 0.02


def test_effective_size_counts_equal_weights():
    assert metrics.effective_sample_size(np.full(7, 0.3)) == pytest.approx(7)
    assert metrics.effective_sample_size([1, 1, 0, 0, 0]) == 2


@pytest.mark.parametrize("name", sorted(REFUSE))
def test_scores_of_forecasts_refuse_weights(name, rain):
    obs, sim = rain
    function = getattr(metrics, name)
    more = (1.0,) if "threshold" in inspect.signature(function).parameters else ()
    members = name not in ("contingency_table", "fss")
    options = {"axis": 1} if members else {}
    uneven = carrying(sim).expand_dims("realization", axis=1) if members else carrying(sim)
    for a, b in ((obs, uneven), (carrying(obs), np.asarray(uneven))):
        with pytest.raises(ValueError, match="carries the coordinate 'weight'"):
            function(a, b, *more, **options)
    with pytest.raises(ValueError, match="carries the coordinate 'weight'"):
        metrics.forecast_scorecard(carrying(obs), {"m": sim[None]})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"one number for each of the 12 sequences of X; got shape \(2,\)"),
        (np.append(np.ones(11), -1), "not negative and not all zero; got -1 to 1"),
        (np.append(np.ones(11), np.nan), "1 that are not finite"),
        (np.zeros(12), "not all zero; got 0 to 0"),
    ],
)
def test_weights_that_are_none(weights, message, rain):
    with pytest.raises(ValueError, match=message):
        metrics.wet_fraction(rain[1], weights=weights)


def test_weights_of_what_has_no_sequences(rain):
    _, sim = rain
    with pytest.raises(ValueError, match="along the first of 4 dimensions or more"):
        metrics.temporal_psd(sim[0], weights=np.ones(4))
    with pytest.raises(ValueError, match="along the first of 3 dimensions or more"):
        metrics.mean_bias(sim[0, 0], sim[0, 0], weights=np.ones(9))
    turned = carrying(sim).transpose("time", "sample", "y", "x")
    with pytest.raises(ValueError, match=r"runs along .'sample',., and weights are of its first"):
        weights_of(turned)
    rows = xr.DataArray(sim, {"weight": ("y", np.ones(9))}, DIMS)
    with pytest.raises(ValueError, match=r"runs along .'y',., and weights are of its first"):
        metrics.spatial_psd(rows)
    # One sequence of several says its weight, and has no others to be weighed against.
    agree(metrics.quantiles(carrying(sim)[0], [0.5]), metrics.quantiles(sim[0], [0.5]))
    with pytest.raises(ValueError, match="weights have no use with average=False"):
        metrics.spatial_psd(sim, average=False, weights=TIMES)
    with pytest.raises(ValueError, match="paired=True resamples cases"):
        metrics.bootstrap(metrics.mean_bias, sim, carrying(sim), paired=True)
    with pytest.raises(ValueError, match="block_length=2 cuts a series"):
        metrics.bootstrap(metrics.mean_bias, sim, sim, weights=TIMES, block_length=2)


def test_a_card_refuses_what_it_cannot_weigh(rain):
    obs, sim = rain

    def largest(obs, sim):
        return float(np.nanmax(sim) / np.nanmax(obs))

    mine = metrics.Score("largest", largest, "Largest", str)
    with pytest.raises(ValueError, match="Score 'largest' takes no weights"):
        metrics.scorecard(obs, {"m": carrying(sim)}, scores=[mine])
    with pytest.raises(ValueError, match=r"given for \['n'\], but the simulations are \['m'\]"):
        metrics.scorecard(obs, {"m": sim}, weights={"n": TIMES})
    with pytest.raises(ValueError, match=r"sequences \(n, time, y, x\); got shape"):
        metrics.scorecard(obs, {"m": sim[0]}, weights={"m": np.ones(4)})


class Uneven:
    """Draws of a model that was fitted on a DataArray, or on an array."""

    def __init__(self, X, labelled):
        self.X, self.labelled = X, labelled

    def sample(self, n_samples, *, rare=0.0, random_state=None):
        return carrying(self.X) if self.labelled else self.X


def test_scorers_heed_the_weights_of_what_they_draw(rain):
    obs, sim = rain
    score = metrics.get_scorer("neg_absolute_mean_bias", rare=0.5)
    expected = -abs(metrics.mean_bias(obs, np.repeat(sim, TIMES, axis=0)))
    assert score(Uneven(sim, True), obs) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"rare=0\.5 draws rare weather more often"):
        score(Uneven(sim, False), obs)
    own = metrics.make_sample_scorer(lambda a, b: float(np.nanmean(b)), rare=0.5)
    with pytest.raises(ValueError, match="<lambda> takes no weights"):
        own(Uneven(sim, True), obs)
