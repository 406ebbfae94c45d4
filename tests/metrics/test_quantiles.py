import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse import metrics


def test_levels_are_the_dissertations_grid_within_reach():
    full = metrics.extreme_quantile_levels(10**9)
    expected = sorted(
        {1 - 10.0**-a + b * 10.0 ** -(a + 1) for a in range(1, 7) for b in range(1, 10)}
    )
    np.testing.assert_allclose(1 - full, 1 - np.array(expected), rtol=1e-6)
    assert full.dtype == np.float64


@given(st.integers(2, 10**8))
def test_no_level_is_beyond_the_sample(n):
    levels = metrics.extreme_quantile_levels(n)
    assert np.all(np.diff(levels) > 0)
    assert np.all((1 - levels) * n >= 1 - 1e-6)
    if levels.size < 54:  # and the next one is
        following = metrics.extreme_quantile_levels(10**9)[levels.size]
        assert (1 - following) * n < 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantiles_agree_with_numpy(mrms, dtype):
    values = mrms.values.astype(dtype)
    levels = metrics.extreme_quantile_levels(values.size)
    expected = np.quantile(values[~np.isnan(values)].astype(np.float64), levels)
    np.testing.assert_allclose(metrics.quantiles(values, levels), expected, rtol=1e-12)


def test_ratio_of_scaled_rain(mrms):
    q = metrics.quantile_ratios(mrms, 1.5 * mrms.values.astype(float))
    wet = q.obs > 0
    np.testing.assert_allclose(q.ratio[wet], 1.5, rtol=1e-6)
    assert metrics.quantile_error(mrms, mrms) == 0
    heavy = metrics.quantile_error(mrms, 2.0 * mrms.values, levels=[0.99, 0.999])
    assert heavy == pytest.approx(np.log(2), rel=1e-6)


def test_samples_of_different_size_use_the_smaller():
    q = metrics.quantile_ratios(np.arange(1000.0), np.arange(100.0))
    np.testing.assert_array_equal(q.levels, metrics.extreme_quantile_levels(100))


def test_too_small_and_dry():
    with pytest.raises(ValueError, match="too small"):
        metrics.quantile_error([1.0, 2.0], [1.0, 2.0])
    assert metrics.quantile_error(np.zeros(100), np.zeros(100)) == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        metrics.quantiles([1.0], [1.5])
