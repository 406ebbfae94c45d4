"""One entry a score: its function, its scorer and its row must be one thing."""

import pickle
from functools import partial

import numpy as np
import pytest

from skdiffuse import metrics
from skdiffuse.metrics.score import REGISTRY, Score, Statistic, find_score
from skdiffuse.plotting import evaluation_report

SAMPLE, ENSEMBLE = REGISTRY["sample"], REGISTRY["ensemble"]

# Public functions that are no score of a simulation against the truth, and why.
NO_SCORE = {
    **dict.fromkeys(
        ("anisotropy", "areal_reduction_factor", "autocorrelation", "coherence",
         "decorrelation_time", "intensity_histogram", "lagrangian_autocorrelation", "quantiles",
         "return_levels", "spatial_psd", "spell_lengths", "tail_dependence", "temporal_psd",
         "wet_fraction"), "describes one cube",
    ),
    **dict.fromkeys(
        ("bias_summary", "brier_decomposition", "contingency_table", "crps_decomposition",
         "mean_normalised_bias",
         "nearest_training_distance", "quantile_ratios", "rank_histogram", "reliability_curve",
         "sal"), "gives a map, a curve or several numbers",
    ),
    "cordex_diagnostics": "gives maps and curves",
    "cordex_indices": "describes one cube",
    "bias_pattern_correlation": "compares two simulations",
    "change_signal": "compares two periods",
    **dict.fromkeys(("extreme_quantile_levels", "intensity_edges"), "is a grid of numbers"),
    "effective_sample_size": "is about weights",
    **dict.fromkeys(("bootstrap", "bootstrap_difference", "permutation_test"), "takes a score"),
    **dict.fromkeys(
        ("forecast_scorecard", "get_scorer", "get_scorer_names", "get_scores",
         "make_forecast_scorer", "make_interpolation_scorer", "make_sample_scorer", "scorecard"),
        "is made of scores",
    ),
}  # fmt: skip


def test_every_public_function_is_a_score_or_says_why_not():
    public = {n for n in metrics.__all__ if n[0].islower()}
    scores = {s.public or s.name for table in (SAMPLE, ENSEMBLE) for s in table.values()}
    assert scores <= public and not scores & set(NO_SCORE)
    assert public == scores | set(NO_SCORE)


def test_the_usual_scores_and_their_order():
    assert [s.name for s in metrics.get_scores()] == [
        "mean_bias", "map_error", "wet_fraction_bias", "jensen_shannon_divergence",
        "perkins_skill_score", "quantile_error", "log_spectral_distance", "power_deficit",
        "temporal_log_spectral_distance", "temporal_power_deficit",
    ]  # fmt: skip
    assert [s.name for s in metrics.get_scores("ensemble")] == [
        "crps", "threshold_weighted_crps", "energy_score", "mean_bias", "spread_skill",
        "brier_score", "fss",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="kind must be 'sample' or 'ensemble'; got 'forecast'"):
        metrics.get_scores("forecast")


def test_rows_of_the_cards():
    """Few enough to be read; all else is there for who asks."""
    assert {score.name for score in metrics.get_scores()} == {
        "mean_bias", "map_error", "wet_fraction_bias", "jensen_shannon_divergence",
        "perkins_skill_score", "quantile_error", "log_spectral_distance", "power_deficit",
        "temporal_log_spectral_distance", "temporal_power_deficit",
    }  # fmt: skip
    assert {score.name for score in metrics.get_scores("ensemble")} == {
        "crps", "threshold_weighted_crps", "energy_score", "mean_bias", "spread_skill",
        "brier_score", "fss",
    }  # fmt: skip


@pytest.fixture(scope="module")
def rain():
    """Samples of 14 and 9 sequences with dry ties, gaps in frames and a cell never seen."""
    rng = np.random.default_rng(11)
    strength = rng.gamma(2.0, size=(23, 1, 1, 1))
    X = np.round(strength * rng.gamma(0.3, 2.0, size=(23, 5, 9, 12)), 1)
    X[X < 0.3] = 0
    obs, sim = X[:14], 1.4 * X[14:]
    obs[2, 1, 4:] = np.nan
    obs[5, :, 3, 7] = np.nan
    obs[7] = np.nan
    sim[0, 3, :2, :2] = np.nan
    obs[1, 0, 0, :4] = 0.1, 1.0, 10.0, 0.01  # on the edges of bins
    return obs, sim


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_row_of_the_scorecard_is_the_function(rain, name, dtype):
    obs, sim = (X.astype(dtype) for X in rain)
    score = SAMPLE[name]
    (entry,) = metrics.scorecard(obs, {"m": sim}, scores=[name], n_resamples=5)
    assert (entry.score, entry.unit, entry.title) == (name, score.unit, score.title)
    if name == "quantile_error":  # the one that reads quantiles off bins
        levels = metrics.extreme_quantile_levels(9 * 5 * 9 * 12 // 10)
        exact = metrics.quantile_error(obs, sim, levels)
        assert entry.value == pytest.approx(exact, abs=np.log(10) / 64)
        return
    assert entry.value == pytest.approx(score(obs, sim), rel=1e-6 if dtype == np.float32 else 1e-9)


def test_quantiles_off_bins_are_within_a_bin_of_the_exact_ones(rain):
    from skdiffuse.metrics.quantiles import fine_counts, quantiles_of_counts

    known = rain[1][~np.isnan(rain[1])]
    levels = metrics.extreme_quantile_levels(known.size // 10)
    found = quantiles_of_counts(fine_counts(known), levels)
    exact = np.quantile(known, levels, method="inverted_cdf")
    assert found.shape == levels.shape and found.size > 15
    np.testing.assert_allclose(np.log(found / exact), 0, atol=np.log(10) / 64 + 1e-9)


@pytest.fixture(scope="module")
def forecasts():
    rng = np.random.default_rng(12)
    truth = rng.gamma(0.5, 3.0, size=(7, 2, 9, 10))
    members = truth * rng.lognormal(0, 0.5, size=(4, *truth.shape))
    truth[truth < 0.6] = 0
    members[members < 0.6] = 0
    truth[3, 1, :4] = np.nan
    members[1, 5, 0, 2, 3:6] = np.nan
    return truth, members


@pytest.mark.parametrize("name", ENSEMBLE)
@pytest.mark.parametrize("n_members", [4, 1])
def test_row_of_the_forecasts_is_the_function(forecasts, name, n_members):
    truth, members = forecasts[0], forecasts[1][:n_members]
    card = metrics.forecast_scorecard(
        truth, {"m": members}, scores=[name], thresholds=(0.5, 2.0), scale=3, n_resamples=5
    )
    each = "threshold" in ENSEMBLE[name].parameters and name != "threshold_weighted_crps"
    assert len(card) == (2 if each else 1)
    # Cells that lack a member are left out for all scores.
    whole = np.where(np.isnan(members).any(axis=0), np.nan, truth)
    score = ENSEMBLE[name]
    if "threshold" in score.parameters:
        score = score.at(threshold=2.0)
    if "scale" in score.parameters:
        score = score.at(scale=3)
    if n_members == 1 and name == "spread_skill":
        assert np.isnan(card[-1].value) and card[-1].reading == "undefined"
        return
    fair = {"fair": False} if n_members == 1 and name in UNFAIR else {}
    expected = score.function(whole, members, **score.parameters, **fair)
    assert card[-1].value == pytest.approx(expected, rel=1e-9)
    assert card[-1].score == score.label and card[-1].title == score.heading
    assert "{" not in card[-1].score + card[-1].title + card[-1].reading


UNFAIR = {"crps", "threshold_weighted_crps", "energy_score", "brier_score"}


def test_bias_of_forecasts_by_hand(forecasts):
    truth, members = forecasts
    known = ~np.isnan(truth) & ~np.isnan(members).any(axis=0)
    expected = members.mean(axis=0)[known].sum() / truth[known].sum() - 1
    (entry,) = metrics.forecast_scorecard(truth, {"m": members}, scores=["mean_bias"])
    assert entry.value == pytest.approx(expected, rel=1e-12)
    # It is the function of the same name on the cells in question.
    mean = members.mean(axis=0)[known][None]
    assert entry.value == pytest.approx(metrics.mean_bias(truth[known][None], mean), rel=1e-12)


def test_map_error_by_hand(rain):
    a, b = (np.nanmean(X.reshape(-1, 9, 12), axis=0) for X in rain)
    assert metrics.map_error(*rain) == pytest.approx(np.abs(b - a).mean() / a.mean())
    assert metrics.map_error(*rain) >= abs(metrics.mean_bias(*rain))
    with pytest.raises(ValueError, match="dry or missing"):
        metrics.map_error(0 * rain[0], rain[1])


class Fixed:
    """A model that always says the same."""

    def __init__(self, sim):
        self.sim = sim

    def sample(self, n_samples=1):
        return self.sim

    def forecast(self, X, horizon, n_members=1):
        return self.sim

    def impute(self, X, mask, n_samples=1):
        return self.sim


def signed(score, value):
    """The value as a scorer should state it, from the entry's direction alone."""
    return {"greater": value, "less": -value, "none": -abs(value - score.perfect)}[score.direction]


@pytest.mark.parametrize("name", SAMPLE)
def test_sample_scorers_follow_the_direction(rain, name):
    obs, sim = rain
    score = SAMPLE[name]
    expected = signed(score, score(obs, sim))
    for given in (name, score.scorer_name):
        scorer = pickle.loads(pickle.dumps(metrics.get_scorer(given)))
        assert scorer(Fixed(sim), obs) == pytest.approx(expected)
    for given in (score, score.function):
        made = metrics.make_sample_scorer({"it": given})
        assert made(Fixed(sim), obs)["it"] == pytest.approx(expected)
    assert score.scorer_name in metrics.get_scorer_names()


@pytest.mark.parametrize("name", ENSEMBLE)
def test_forecast_scorers_follow_the_direction(forecasts, name):
    truth, members = forecasts
    whole = np.where(np.isnan(members).any(axis=0), np.nan, truth)
    score = ENSEMBLE[name]
    frames = whole.reshape(-1, 9, 10), members.reshape(4, -1, 9, 10)
    expected = signed(score, score(*frames))
    # The truth follows one frame that is given.
    X = np.concatenate([np.zeros((7, 1, 9, 10)), whole], axis=1)
    options = {"n_past": 1, "horizon": 2, "n_members": 4}
    public = getattr(metrics, score.public or score.name)
    for scorer in (
        metrics.get_scorer(score.scorer_name, **options),
        metrics.make_forecast_scorer(name, **options),
        metrics.make_forecast_scorer(score, **options),
    ):
        scorer = pickle.loads(pickle.dumps(scorer))
        assert scorer(Fixed(members), X) == pytest.approx(expected)
    if "threshold" not in score.parameters:
        scorer = metrics.make_forecast_scorer(public, **options)
        assert scorer(Fixed(members), X) == pytest.approx(expected)
    assert score.scorer_name in metrics.get_scorer_names("ensemble")
    # Without options ensembles are those that fill hidden frames: here frames 1 and 2 of four.
    X = np.concatenate([X, X[:, :1]], axis=1)
    filled = np.concatenate([members[:, :, :1], members, members[:, :, :1]], axis=2)
    scorer = metrics.get_scorer(name, every=4) if name in SAMPLE else metrics.get_scorer(name)
    every = 4 if name in SAMPLE else 2
    hidden = [t for t in range(3) if t % every]
    expected = signed(
        score, score(X[:, hidden].reshape(-1, 9, 10), filled[:, :, hidden].reshape(4, -1, 9, 10))
    )
    assert scorer(Fixed(filled), X) == pytest.approx(expected)


def test_directions_of_public_functions_are_known_and_others_may_be_given(rain, forecasts):
    obs, sim = rain
    area = metrics.perkins_skill_score(obs, sim)
    make = metrics.make_sample_scorer
    assert make(metrics.perkins_skill_score)(Fixed(sim), obs) == area
    assert make(partial(metrics.perkins_skill_score, bins=[0.1, 1, 100]))(Fixed(sim), obs) > 0
    assert make(metrics.perkins_skill_score, greater_is_better=False)(Fixed(sim), obs) == -area
    assert make(lambda a, b: 2.0)(Fixed(sim), obs) == -2
    assert make(lambda a, b: 2.0, greater_is_better=True)(Fixed(sim), obs) == 2
    truth, members = forecasts
    X = np.concatenate([truth[:, :1], truth], axis=1)
    scorer = metrics.make_forecast_scorer(
        partial(metrics.fss, member_axis=0, thresholds=2.0), n_past=1, horizon=2
    )
    assert scorer(Fixed(members), X) > 0.5
    with pytest.raises(ValueError, match="'crps' is of kind 'ensemble'"):
        make(ENSEMBLE["crps"])
    with pytest.raises(ValueError, match="Unknown metric 'crps'; known are neg_"):
        make("crps")
    with pytest.raises(TypeError, match="a function, a Score, a name or a dictionary; got 3"):
        make(3)
    with pytest.raises(ValueError, match="task must be one of sample, forecast, interpolation"):
        metrics.get_scorer("crps", task="nowcast")


def test_parameters_reach_the_scorer(forecasts):
    truth, members = forecasts
    X = np.concatenate([np.zeros((7, 1, 9, 10)), truth], axis=1)
    scorer = metrics.get_scorer("neg_brier_score", threshold=4.0, n_past=1, horizon=2)
    assert scorer(Fixed(members), X) == pytest.approx(-metrics.brier_score(truth, members, 4.0))
    assert find_score("fss").at(threshold=4.0, scale=7).label == "fss of 4 mm/h"
    with pytest.raises(ValueError, match=r"'fss' has no parameter \['level'\]"):
        find_score("fss").at(level=3.0)


def share_above(obs, sim, threshold):
    """A user's score: how much oftener it rains hard."""
    return float(np.nanmean(sim >= threshold) - np.nanmean(obs >= threshold))


def widest(obs, ens):
    """A user's score of ensembles: how often the truth lies among the members."""
    return float(np.mean((ens.min(axis=0) <= obs) & (obs <= ens.max(axis=0))))


QUICK = Score(
    "hard_share", share_above, "Hard rain", direction="none", parameters={"threshold": 3.0},
    row="share above {threshold:g} mm/h",
    reading=lambda v, threshold: f"{100 * v:+.2f} % of hours with {threshold:g} mm/h",
    statistic=Statistic("cells of hard rain", lambda X: np.array([np.sum(X >= 3.0), X.size])),
    formula=lambda a, b: float(b[0] / b[1] - a[0] / a[1]),
)  # fmt: skip
SLOW = Score(
    "hard_share", share_above, "Hard rain", direction="none", parameters={"threshold": 3.0},
    row="share above {threshold:g} mm/h",
    reading=lambda v, threshold: f"{100 * v:+.2f} % of hours with {threshold:g} mm/h",
)  # fmt: skip
INSIDE = Score(
    "inside",
    widest,
    "Truth among the members",
    kind="ensemble",
    perfect=1,
    direction="greater",
    reading=lambda v: f"the truth is among the members in {100 * v:.0f} % of cells",
)


def test_a_score_of_ones_own_needs_nothing_else(rain, tmp_path):
    obs, sim = (np.nan_to_num(X) for X in rain)
    expected = np.mean(sim >= 3) - np.mean(obs >= 3)
    rows = [
        metrics.scorecard(obs, {"m": sim}, baselines={"self": obs}, scores=[mine, "mean_bias"],
                          n_resamples=40)
        for mine in (QUICK, SLOW)
    ]  # fmt: skip
    for own, other, *_ in rows:
        assert own.score == "share above 3 mm/h" and other.score == "mean_bias"
        assert own.value == pytest.approx(expected) and own.versus == {
            "self": "no clear difference"
        }
        assert own.reading.startswith(f"{100 * expected:+.2f} % of hours with 3 mm/h")
    # By its statistic or by its function on whole sequences: the same resamples, the same numbers.
    assert rows[0][0][3:9] == pytest.approx(rows[1][0][3:9], rel=1e-9)
    scorer = pickle.loads(pickle.dumps(metrics.make_sample_scorer(QUICK)))
    assert scorer(Fixed(sim), obs) == pytest.approx(-abs(expected))

    rng = np.random.default_rng(0)
    truth = obs[:6, :2]
    members = truth * rng.lognormal(0, 1, (5, *truth.shape))
    result = evaluation_report(
        obs, {"m": sim}, tmp_path / "page.html", truth=truth, forecasts={"f": members},
        scores=[*metrics.get_scores(), QUICK, "crps", INSIDE], n_resamples=10, animation=False,
    )  # fmt: skip
    page = (tmp_path / "page.html").read_text()
    assert "<td>Hard rain</td>" in page and "<td>Truth among the members</td>" in page
    assert [e.score for e in result.entries] == [
        *(s.name for s in metrics.get_scores()), "share above 3 mm/h", "crps", "inside",
    ]  # fmt: skip
    assert result.entries[-1].value == pytest.approx(widest(truth, members))
    low, high = result.entries[-1][4:6]
    assert low <= result.entries[-1].value <= high


def test_entries_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="kind must be one of"):
        Score("x", share_above, "X", str, kind="nowcast")
    with pytest.raises(ValueError, match="direction must be one of"):
        Score("x", share_above, "X", str, direction="up")
    with pytest.raises(ValueError, match="give both, or neither"):
        Score("x", share_above, "X", str, formula=share_above)
    with pytest.raises(ValueError, match="needs a finite perfect value"):
        Score("x", share_above, "X", str, direction="none", perfect=np.nan)
    rain = np.ones((3, 2, 4, 4))
    for scores, error, message in (
        ([], ValueError, "scores is empty"),
        (["rmse"], ValueError, "Unknown metric 'rmse'"),
        ([share_above], TypeError, "Score entries or names"),
        ([INSIDE], ValueError, "kind 'ensemble'.*use forecast_scorecard"),
    ):
        with pytest.raises(error, match=message):
            metrics.scorecard(rain, {"m": rain}, scores=scores)


def test_names_are_taken_once_but_by_the_same_function():
    from skdiffuse.metrics.score import register

    before = list(SAMPLE)
    for name in ("quantile_error", "power_deficit"):  # as a module that is loaded again does
        assert register(SAMPLE[name]) is SAMPLE[name]
    assert list(SAMPLE) == before
    with pytest.raises(ValueError, match="a sample score 'quantile_error' already"):
        register(Score("quantile_error", share_above, "X", str))


def test_losses_of_scores_without_a_perfect_value():
    up = Score("x", share_above, "X", str, perfect=np.inf, direction="greater")
    down = Score("x", share_above, "X", str, perfect=np.nan, direction="less")
    assert up.loss(3.0) < up.loss(2.0) and down.loss(3.0) > down.loss(2.0)
    assert ENSEMBLE["spread_skill"].loss(0.7) == pytest.approx(ENSEMBLE["spread_skill"].loss(1.3))


@pytest.mark.parametrize("name", ENSEMBLE)
def test_scorers_of_ensembles_rank_models(name):
    rng = np.random.default_rng(5)
    centre = rng.gamma(0.4, 3.0, size=(12, 4, 16, 16))
    drawn = centre * rng.lognormal(0, 0.6, size=(7, *centre.shape))
    truth, good = drawn[0], drawn[1:]
    bad = 2 * np.roll(good, 7, axis=-1)  # too much rain, in the wrong place
    scorer = metrics.get_scorer(name, n_past=1, horizon=4)
    X = np.concatenate([truth[:, :1], truth], axis=1)
    assert scorer(Fixed(good), X) > scorer(Fixed(bad), X)


def test_a_score_of_means_is_that_of_the_samples_or_says_why_not(rain):
    obs, sim = (np.nan_to_num(X) for X in rain)
    means = [np.mean([QUICK.statistic.of(X) for X in cube], axis=0) for cube in (obs, sim)]
    assert QUICK.of_means(*means, n=1) == pytest.approx(np.mean(sim >= 3) - np.mean(obs >= 3))
    with pytest.raises(ValueError, match="'hard_share' has no statistic"):
        SLOW.of_means(*means, n=1)
