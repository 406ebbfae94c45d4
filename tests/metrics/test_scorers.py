import pickle
import subprocess
import sys

import numpy as np
import pytest
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
    assert scores.shape == (4,) and np.all(scores < 0) and np.all(scores > -0.1)
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
    for make in (
        lambda m: metrics.make_forecast_scorer(m, n_past=4, horizon=2, n_members=3),
        lambda m: metrics.make_interpolation_scorer(m, every=2, n_members=3),
    ):
        scores = cross_val_score(Resampler(), smooth, scoring=make("neg_crps"), cv=4)
        assert np.all(np.isfinite(scores)) and np.all(scores < 0)
        both = make({"crps": "neg_crps", "fss": "fss"})(Resampler().fit(smooth), smooth)
        assert set(both) == {"crps", "fss"} and 0 <= both["fss"] <= 1


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


def test_metrics_do_not_import_torch():
    code = "import sys, skdiffuse.metrics, skdiffuse.plotting; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
