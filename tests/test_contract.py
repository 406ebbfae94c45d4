"""What scikit-learn expects of estimators, and users of names."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.validation import validate_data

import skdiffuse
from skdiffuse import PrecipDiffusion
from skdiffuse.baselines import Advection, Climatology, LinearInterpolation, Persistence, Steps
from skdiffuse.networks.video_unet import PRESETS

# The checks that need no data: those that draw 2-D data of their own cannot serve here.
CHECKS = (
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
)


@pytest.mark.parametrize(
    "estimator",
    [PrecipDiffusion(), Advection(), Climatology(), LinearInterpolation(), Persistence(), Steps()],
    ids=repr,
)
@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learn_contract(estimator, check):
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


class RainOfTables(PrecipDiffusion):
    """The estimator on tables: each row a sequence of one frame, one cell high.

    scikit-learn's checks draw tables, and skip whatever does not take them.
    """

    def __init__(
        self,
        transformer="sqrt",
        *,
        n_frames=1,
        crop_size=64,
        network="tiny",
        batch_size=8,
        max_steps=1,
        random_state=None,
        verbose=False,
    ):
        super().__init__(
            transformer,
            n_frames=n_frames,
            crop_size=crop_size,
            network=network,
            batch_size=batch_size,
            max_steps=max_steps,
            random_state=random_state,
            verbose=verbose,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags

    def fit(self, X, y=None):
        return super().fit(self._sequences(X, reset=True))

    def sample(self, n_samples=1, **options):
        return super().sample(n_samples, **options)[:, 0, 0]

    def score_samples(self, X):
        return super().score_samples(self._sequences(X, reset=False))

    def score(self, X, y=None):
        return float(self.score_samples(X).mean())

    def _sequences(self, X, reset):
        X = validate_data(self, X, reset=reset, ensure_all_finite="allow-nan")
        return np.asarray(X)[:, None, None, :]


@pytest.fixture
def least_network(monkeypatch):
    """The shallowest network under the name of the default: the checks score 2,000 times."""
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})


@estimator_checks.parametrize_with_checks([RainOfTables()])
@pytest.mark.usefixtures("least_network")
def test_scikit_learn_battery_on_tables(estimator, check):
    check(estimator)


def test_tables_are_sequences_of_the_estimator(least_network):
    X = np.random.default_rng(0).gamma(2.0, 2.0, size=(20, 6)) + 0.1
    table = RainOfTables(random_state=0).fit(X)
    options = {"n_frames": 1, "max_steps": 1, "random_state": 0, "verbose": False}
    cube = PrecipDiffusion(**options).fit(X[:, None, None, :])
    drawn = table.sample(3, random_state=1)
    assert drawn.shape == (3, 6) and (drawn >= 0).all()
    np.testing.assert_array_equal(drawn, cube.sample(3, random_state=1)[:, 0, 0])
    np.testing.assert_array_equal(table.score_samples(X), cube.score_samples(X[:, None, None, :]))


def test_every_public_name_exists():
    for name in skdiffuse.__all__:
        assert getattr(skdiffuse, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = skdiffuse.absent


def test_parts_without_a_model_do_not_wait_for_torch():
    code = (
        "import importlib, sys\n"
        "for name in ('cubes', 'datasets', 'metrics', 'model_selection', 'plotting'):\n"
        "    importlib.import_module(f'skdiffuse.{name}')\n"
        "    assert 'torch' not in sys.modules, name"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
