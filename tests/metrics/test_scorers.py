import pickle

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline

from skdiffuse import metrics


class Resampler(BaseEstimator):
    """Rain as seen in training, times a factor: perfect at factor 1."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        self.X_ = np.asarray(X)
        return self

    def sample(self, n_samples=1, *, random_state=None):
        rng = np.random.RandomState(random_state)
        self.calls_ = getattr(self, "calls_", 0) + 1
        return self.factor * self.X_[rng.randint(len(self.X_), size=n_samples)]

    def forecast(self, X, horizon, *, n_members=1, random_state=None):
        last = np.repeat(np.asarray(X)[..., -1:, :, :], horizon, axis=-3)
        return np.stack([self.factor * last] * n_members)

    def impute(self, X, mask, *, n_samples=1, random_state=None):
        assert np.isnan(np.asarray(X)[~mask]).all(), "the hidden frames are given away"
        filled = np.where(mask, X, np.nanmean(X))
        return np.stack([filled] * n_samples)


@pytest.fixture
def rain():
    return np.random.default_rng(0).gamma(0.5, size=(40, 6, 8, 8))


def test_cross_validation_and_grid_search_find_the_right_model(rain):
    scorer = metrics.make_sample_scorer(metrics.wasserstein_distance, n_samples=30)
    scores = cross_val_score(Resampler(), rain, scoring=scorer, cv=KFold(4))
    # The same folds by hand: the first draw of the scorer's random state from what was trained on.
    expected = []
    for train, test in KFold(4).split(rain):
        chosen = np.random.RandomState(0).randint(len(train), size=30)
        # Of 10 and 30 sequences: each observed value stands for three of the sample.
        observed = np.repeat(np.sort(rain[test], axis=None), 3)
        drawn = np.sort(rain[train][chosen], axis=None)
        expected.append(-np.abs(observed - drawn).mean())
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    assert np.all(scores < 0) and np.all(scores > -0.1)
    search = GridSearchCV(Resampler(), {"factor": [0.5, 1.0, 2.0]}, scoring=scorer, cv=3)
    assert search.fit(rain).best_params_ == {"factor": 1.0}


@pytest.mark.parametrize("name", metrics.get_scorer_names())
def test_named_scorers_rank_models(rain, name):
    scorer = metrics.get_scorer(name, n_samples=40)
    good = scorer(Resampler().fit(rain), rain)
    bad = scorer(Resampler(3.0).fit(rain), rain)
    assert isinstance(good, float)
    if name == "pattern_correlation":  # blind to a factor
        assert good == pytest.approx(bad)
    else:
        assert good > bad


def test_several_metrics_draw_once(rain):
    scorer = metrics.make_sample_scorer(
        {"W1": "neg_wasserstein_distance", "perkins": "perkins_skill_score"}, n_samples=20
    )
    model = Resampler().fit(rain)
    result = scorer(model, rain)
    assert set(result) == {"W1", "perkins"} and model.calls_ == 1
    table = cross_validate(Resampler(), rain, scoring=scorer, cv=3)
    assert {"test_W1", "test_perkins"} <= set(table)
    search = GridSearchCV(
        Resampler(), {"factor": [1.0, 3.0]}, scoring=scorer, refit="perkins", cv=3
    )
    assert search.fit(rain).best_params_ == {"factor": 1.0}
    # And scikit-learn's own way, a dictionary of scorers.
    table = cross_validate(
        Resampler(), rain, scoring={"W1": metrics.get_scorer("neg_wasserstein_distance")}, cv=3
    )
    assert "test_W1" in table


def test_forecasts_and_interpolation_are_scored_inside_the_fold(rain):
    smooth = np.cumsum(rain[:, :, :1, :1] * np.ones((1, 1, 8, 8)), axis=1)
    # What the model says, of equal members: persistence, or the mean of what is given.
    persisted = np.repeat(smooth[:, 3:4], 2, axis=1), smooth[:, 4:]
    given = smooth[:, [0, 2, 4, 5]]

    def error_of_fill(test):
        return np.abs(smooth[test][:, [1, 3]] - given[test].mean()).mean()

    for make, error, truth, said in (
        (
            lambda m: metrics.make_forecast_scorer(m, n_past=4, horizon=2, n_members=3),
            lambda test: np.abs(np.subtract(*persisted))[test].mean(),
            persisted[1], persisted[0],
        ),
        (
            lambda m: metrics.make_interpolation_scorer(m, every=2, n_members=3),
            error_of_fill,
            smooth[:, [1, 3]], np.full_like(smooth[:, [1, 3]], given.mean()),
        ),
    ):  # fmt: skip
        scores = cross_val_score(Resampler(), smooth, scoring=make("neg_crps"), cv=4)
        folds = np.arange(40).reshape(4, 10)
        np.testing.assert_allclose(scores, [-error(test) for test in folds], rtol=1e-9)
        both = make({"crps": "neg_crps", "fss": "fss"})(Resampler().fit(smooth), smooth)
        assert set(both) == {"crps", "fss"}
        assert both["crps"] == pytest.approx(-error(np.arange(40)))
        p, o = (
            uniform_filter((X >= 1.0).astype(float), (0, 0, 5, 5), mode="constant")
            for X in (said, truth)
        )
        expected = 1 - np.sum((p - o) ** 2) / np.sum(p**2 + o**2)
        assert 0 < expected < 1 and both["fss"] == pytest.approx(expected)


def test_forecast_scorer_is_the_error_of_persistence(rain):
    scorer = metrics.make_forecast_scorer(n_past=4, horizon=2, n_members=2)
    expected = np.abs(rain[:, 4:] - rain[:, 3:4]).mean()
    assert scorer(Resampler().fit(rain), rain) == pytest.approx(-expected)


def test_series_are_cut_without_crossing_gaps():
    xr = pytest.importorskip("xarray")
    hours = np.delete(np.arange(20), [7]).astype("timedelta64[h]") + np.datetime64("2020-01-01")
    X = xr.DataArray(
        np.arange(19.0)[:, None, None] * np.ones((19, 4, 4)),
        dims=("time", "y", "x"),
        coords={"time": hours},
    )
    from skdiffuse.metrics.sequences import windows

    found = [list(w.values[:, 0, 0].astype(int)) for w in windows(X, 4)]
    assert found == [[0, 1, 2, 3], [7, 8, 9, 10], [11, 12, 13, 14], [15, 16, 17, 18]]
    scorer = metrics.make_forecast_scorer(n_past=2, horizon=2)
    assert scorer(Resampler().fit(X), X) == pytest.approx(-1.5)
    with pytest.raises(ValueError, match="in a row"):
        list(windows(X, 15))


def test_scorers_are_pickled_and_reproducible(rain):
    scorer = metrics.make_sample_scorer("neg_quantile_error", n_samples=8)
    again = pickle.loads(pickle.dumps(scorer))
    model = Resampler().fit(rain)
    assert scorer(model, rain) == again(model, rain)


def test_a_pipeline_that_cannot_sample_says_what_to_use(rain):
    from sklearn.preprocessing import FunctionTransformer

    pipeline = make_pipeline(FunctionTransformer(), Resampler()).fit(rain)
    with pytest.raises(TypeError, match="DiffusionPipeline"):
        metrics.get_scorer("neg_quantile_error")(pipeline, rain)
    with pytest.raises(ValueError, match="Unknown metric 'rmse'"):
        metrics.get_scorer("rmse")
    with pytest.raises(ValueError, match="every"):
        metrics.make_interpolation_scorer(every=1)
