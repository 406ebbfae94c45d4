"""Searches and cross-validation in threads and processes, with callbacks, in double precision."""

import multiprocessing
import threading

import joblib.parallel
import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.networks.video_unet import PRESETS
from skdiffuse.runtime.default_dtype import single_precision

RAIN = make_precipitation(8, (8, 8), random_state=0).values.reshape(4, 2, 8, 8)
GRID = {"training__learning_rate": [1e-3, 1e-4]}


def model(**options):
    given = {"n_frames": 2, "max_steps": 1, "random_state": 0, "verbose": False, "device": "cpu"}
    return PrecipDiffusion(**{**given, **options})


@pytest.fixture
def least_network(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def alone():
    return cross_val_score(model(), RAIN, cv=KFold(2), error_score="raise")


@pytest.mark.parametrize("backend", ["threading", "loky", "spawn"])
def test_processes_and_threads_give_the_same_scores(backend, alone, monkeypatch):
    name = backend
    if backend == "spawn":
        # What joblib takes of an environment variable when it is imported.
        context = multiprocessing.get_context("spawn")
        monkeypatch.setattr(joblib.parallel, "DEFAULT_MP_CONTEXT", context)
        name = "multiprocessing"
    with parallel_config(name):
        scores = cross_val_score(model(), RAIN, cv=KFold(2), n_jobs=2, error_score="raise")
    np.testing.assert_allclose(scores, alone, rtol=1e-5)


def test_threads_in_double_precision(least_network, double_precision):
    torch.set_default_dtype(torch.float32)
    expected = cross_val_score(model(), RAIN, cv=KFold(4), error_score="raise")
    torch.set_default_dtype(torch.float64)
    with parallel_config("threading"):
        scores = cross_val_score(model(), RAIN, cv=KFold(4), n_jobs=4, error_score="raise")
    # Also the first weights, which layers draw from one stream of all threads.
    np.testing.assert_allclose(scores, expected, rtol=1e-7)
    assert torch.get_default_dtype() == torch.float64


def test_threads_that_overlap_leave_double_precision(double_precision):
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    found = []

    def first():
        with single_precision():
            first_in.set()
            second_in.wait(10)
        first_out.set()

    def second():
        first_in.wait(10)
        with single_precision():
            second_in.set()
            first_out.wait(10)
            found.append(torch.get_default_dtype())

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [torch.float32]
    assert torch.get_default_dtype() == torch.float64


class Watching:
    """A callback of one's own, which ends each training after its first epoch."""

    def __init__(self):
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **_):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, fitted_estimator=None, **_):
        self.ended.append((context.task_name, estimator.training.learning_rate))
        return context.task_name == "epoch"


def test_a_callback_of_the_model_inside_a_search(least_network):
    watching = Watching()
    candidate = model(max_steps=50).set_params(training__learning_rate=1e-3)
    candidate.set_callbacks(watching)
    search = GridSearchCV(candidate, GRID, cv=KFold(2), error_score="raise").fit(RAIN)
    # Two candidates on two folds, and the best one on all: each is told of, and ended.
    epochs = [rate for name, rate in watching.ended if name == "epoch"]
    assert len(epochs) == 5
    assert set(epochs) == {1e-3, 1e-4}
    assert search.best_estimator_.n_iter_ < 50
    assert watching.begun.count("fit") == 5
