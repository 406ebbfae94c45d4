"""What scikit-learn expects of estimators, and users of names."""

import subprocess
import sys

import pytest
from sklearn.utils import estimator_checks

import skdiffuse
from skdiffuse import PrecipDiffusion
from skdiffuse.baselines import Advection, Climatology, LinearInterpolation, Persistence, Steps

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


def test_every_public_name_exists():
    for name in skdiffuse.__all__:
        assert getattr(skdiffuse, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = skdiffuse.absent


@pytest.mark.parametrize("module", ["metrics", "cubes", "datasets", "model_selection"])
def test_parts_without_a_model_do_not_wait_for_torch(module):
    code = f"import sys, skdiffuse.{module}; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
