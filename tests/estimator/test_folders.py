"""Checkpoints and logs of candidates of a search, and of a model by itself."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.model_selection import GridSearchCV, KFold

from skdiffuse import KeepingSettings, PrecipDiffusion, make_precipitation
from skdiffuse.networks.video_unet import PRESETS


@pytest.fixture(scope="module", autouse=True)
def least_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
        yield


@pytest.fixture(scope="module")
def rain():
    return make_precipitation(12, (8, 8), random_state=0).values.reshape(6, 2, 8, 8)


def model_in(folder, **options):
    options = {"n_frames": 2, "max_steps": 1, "random_state": 0, "verbose": False} | options
    return PrecipDiffusion(**options, checkpoint_dir=folder)


GRID = {"training__learning_rate": [1e-3, 1e-4]}


@pytest.fixture(scope="module")
def alone(rain):
    """Scores of the candidates where nothing is kept."""
    search = GridSearchCV(model_in(None), GRID, cv=KFold(2)).fit(rain)
    return search.cv_results_["mean_test_score"]


@pytest.mark.parametrize("warm_start", [False, True])
def test_candidates_of_a_search_keep_apart(warm_start, rain, alone, tmp_path):
    keeping = KeepingSettings(log_dir=tmp_path / "log", average_snapshots=True)
    model = model_in(tmp_path / "run", warm_start=warm_start, keeping=keeping)
    for _ in range(2):
        # The second time all of them go on from their own, or begin anew.
        search = GridSearchCV(model, GRID, cv=KFold(2), error_score="raise").fit(rain)
        np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone)
        # Two candidates on two folds, and the best one on all.
        folders = sorted((tmp_path / "run").iterdir())
        assert len(folders) == 5
        assert all(len(list(f.glob("checkpoint-*"))) == 1 for f in folders)
        logs = sorted((tmp_path / "log").iterdir())
        assert [f.name for f in logs] == [f.name for f in folders]
    best = search.best_estimator_
    assert best.get_params()["checkpoint_dir"] == tmp_path / "run"
    assert best.reaverage(0.1) is best


def test_a_model_by_itself_has_the_folder_that_is_named(rain, tmp_path):
    model_in(tmp_path).fit(rain)
    assert [f.name for f in tmp_path.iterdir()] == ["checkpoint-00000001.safetensors"]
    clone(model_in(tmp_path)).fit(rain)
    assert len([f for f in tmp_path.iterdir() if f.is_dir()]) == 1


def test_a_folder_is_tried_before_training(rain, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "skdiffuse.estimator.precip_diffusion.prepare", lambda *_: pytest.fail("was prepared")
    )
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OSError, match=r"checkpoint_dir='.*file': .* is a file, not a folder"):
        model_in(file).fit(rain)
    with pytest.raises(OSError, match=r"keeping__log_dir='.*file': .* is a file, not a folder"):
        model_in(None, keeping=KeepingSettings(log_dir=file)).fit(rain)


def test_a_progress_bar_belongs_to_the_search(rain):
    """What scikit-learn's error says, and the class's notes, works."""
    model = model_in(None)
    with pytest.raises(TypeError, match="Register them directly on the meta-estimator"):
        GridSearchCV(
            clone(model).set_callbacks(ProgressBar()), GRID, cv=KFold(2), error_score="raise"
        ).fit(rain)
    search = GridSearchCV(model, GRID, cv=KFold(2), error_score="raise")
    assert search.set_callbacks(ProgressBar()).fit(rain).best_score_ > -np.inf
