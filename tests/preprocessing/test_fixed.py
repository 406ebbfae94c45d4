"""The transforms with a formula, against it."""

import numpy as np
import pytest
from scipy import special, stats

from skdiffuse.preprocessing import BoxCoxTransform, CubeRootTransform, LogTransform

X = np.geomspace(1e-4, 500.0, 200).reshape(1, 1, -1)


def test_cube_root():
    np.testing.assert_allclose(CubeRootTransform().transform(X), np.cbrt(X), rtol=1e-14)


def test_log_with_offset():
    np.testing.assert_allclose(
        LogTransform(offset=0.02).transform(X), np.log(1.0 + X / 0.02), rtol=1e-12
    )


def test_log_above_threshold_is_a_pure_logarithm():
    z = LogTransform(offset=0.0, threshold=0.1).transform(X)
    above = X > 0.1
    np.testing.assert_allclose(z[above], 1.0 + np.log(X[above] / 0.1), rtol=1e-12)
    np.testing.assert_allclose(z[~above], X[~above] / 0.1, rtol=1e-12)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"offset": -1.0}, "offset: got -1.0"),
        ({"threshold": float("nan")}, "threshold: got nan"),
        ({"offset": 0.0}, "both 0"),
    ],
)
def test_log_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        LogTransform(**parameters).fit(X)


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_box_cox_formula(power):
    transform = BoxCoxTransform(power=power, offset=0.05).fit(X)
    expected = special.boxcox(X + 0.05, power) - special.boxcox(0.05, power)
    np.testing.assert_allclose(transform.transform(X), expected, rtol=1e-9)


def test_box_cox_power_is_scipys():
    rng = np.random.default_rng(1)
    wet = rng.gamma(2.0, 2.0, size=(1, 50, 100))
    transform = BoxCoxTransform(offset=0.01).fit(wet)
    kept = wet[wet > 0.01] + 0.01
    assert transform.power_ == pytest.approx(stats.boxcox_normmax(kept, method="mle"), abs=1e-4)


def test_box_cox_without_rain_warns():
    with pytest.warns(UserWarning, match="fewer than two different values"):
        assert BoxCoxTransform().fit(np.zeros((2, 3, 3))).power_ == 0.5


@pytest.mark.parametrize("parameters", [{"power": -0.1}, {"offset": 0.0}])
def test_box_cox_refuses(parameters):
    with pytest.raises(ValueError, match="got"):
        BoxCoxTransform(**parameters).fit(X)
