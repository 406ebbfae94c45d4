import numpy as np
import pytest
import xarray as xr

from skdiffuse import metrics


def test_bias_map_agrees_with_nanmean(mrms):
    sim = mrms.values[::2] * 1.3
    bias = metrics.mean_normalised_bias(mrms, sim)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.nanmean(sim, 0, dtype=float) / np.nanmean(mrms.values, 0, dtype=float) - 1
    wet = np.isfinite(expected)
    np.testing.assert_allclose(bias.values[wet], expected[wet], atol=1e-6)
    assert np.isnan(bias.values[~wet]).all()
    assert bias.dims == mrms.dims[1:] and "lat" in bias.coords and "time" not in bias.coords
    assert bias.attrs["units"] == "1"


def test_sequences_and_series_give_one_map(mrms):
    a = metrics.mean_normalised_bias(mrms.values, 2 * mrms.values)
    b = metrics.mean_normalised_bias(
        mrms.values.reshape(6, 6, 96, 128), 2 * mrms.values.reshape(3, 12, 96, 128)
    )
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_summary_and_patterns():
    rng = np.random.default_rng(0)
    obs = rng.gamma(1.0, size=(200, 8, 8)) * np.linspace(1, 3, 8)
    assert metrics.mean_bias(obs, 1.2 * obs) == pytest.approx(0.2)
    summary = metrics.bias_summary(obs, 1.2 * obs)
    np.testing.assert_allclose(summary, 0.2, rtol=1e-9)
    assert metrics.pattern_correlation(obs, 3 * obs + 1) == pytest.approx(1)
    a, b = obs * rng.uniform(0.5, 2, (8, 8)), obs * rng.uniform(0.5, 2, (8, 8))
    ba, bb = (metrics.mean_normalised_bias(obs, x) for x in (a, b))
    expected = np.corrcoef(ba.ravel(), bb.ravel())[0, 1]
    assert metrics.bias_pattern_correlation(obs, a, b) == pytest.approx(expected)


def test_grids_that_differ_are_named(mrms):
    with pytest.raises(ValueError, match=r"\(96, 128\) in obs and \(96, 127\) in sim"):
        metrics.mean_bias(mrms, mrms[..., :-1])
    with pytest.raises(ValueError, match="coordinate 'x'"):
        metrics.mean_bias(mrms, mrms.assign_coords(x=mrms.x + 5000))
    with pytest.raises(ValueError, match="'y' in obs is 'x' in sim"):
        square = mrms[:, :96, :96]
        metrics.mean_bias(square, square.transpose("time", "x", "y"))
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        metrics.mean_bias([1.0], [1.0])


def test_calendars_that_differ_are_named(mrms):
    hours = xr.date_range("2000-01-01", periods=36, freq="h", calendar="360_day", use_cftime=True)
    with pytest.raises(ValueError, match="360_day"):
        metrics.mean_bias(mrms, mrms.assign_coords(time=hours))


def test_dry_observations():
    with pytest.raises(ValueError, match="dry or missing"):
        metrics.mean_bias(np.zeros((3, 2, 2)), np.ones((3, 2, 2)))
    assert np.isnan(metrics.mean_normalised_bias(np.zeros((3, 2, 2)), np.ones((3, 2, 2)))).all()
