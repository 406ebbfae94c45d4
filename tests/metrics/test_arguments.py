"""Arguments that cannot be meant: the error names the parameter and what was got."""

import re

import numpy as np
import pytest
import xarray as xr

from skdiffuse import metrics
from skdiffuse.model_selection import BlockSplit, EventSplit, SeasonSplit
from skdiffuse.plotting import evaluation_report

OBS = np.random.default_rng(0).gamma(0.5, size=(6, 4, 8, 8))
ENS = np.random.default_rng(1).gamma(0.5, size=(3, *OBS.shape))
NO_NUMBERS = (0, -1, 2.5, "a", True)

WHOLE = {
    "n_bins": [
        lambda v: metrics.spread_skill(OBS, ENS, n_bins=v),
        lambda v: metrics.reliability_curve(OBS, ENS, 1.0, n_bins=v),
    ],
    "n_frames": [
        lambda v: metrics.scorecard(OBS, {"m": OBS}, n_frames=v),
        lambda v: metrics.temporal_psd(OBS, n_frames=v),
        lambda v: evaluation_report(OBS, OBS, n_frames=v),
    ],
    "max_lag": [
        lambda v: metrics.autocorrelation(OBS, v),
        lambda v: metrics.lagrangian_autocorrelation(OBS, v),
        lambda v: metrics.variogram_score(OBS, ENS, max_lag=v),
    ],
    "lag": [lambda v: metrics.coherence(OBS, v)],
    "distance": [lambda v: metrics.tail_dependence(OBS, v)],
    "size": [lambda v: metrics.areal_reduction_factor(OBS, v)],
    "chunk": [lambda v: metrics.nearest_training_distance(OBS, OBS, chunk=v)],
    "n_resamples": [
        lambda v: metrics.bootstrap(metrics.mean_bias, OBS, OBS, n_resamples=v),
        lambda v: metrics.permutation_test(metrics.mean_bias, OBS, OBS, n_resamples=v),
        lambda v: metrics.scorecard(OBS, {"m": OBS}, n_resamples=v),
    ],
    "block_length": [lambda v: metrics.bootstrap(metrics.mean_bias, OBS, OBS, block_length=v)],
    "n_splits": [EventSplit, BlockSplit, SeasonSplit],
    "every": [lambda v: SeasonSplit(1, every=v)],
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name):
    for call in WHOLE[name]:
        for value in NO_NUMBERS:
            if value is True and name in ("n_resamples", "block_length"):
                continue
            with pytest.raises(ValueError, match=f"^{name}.*{value!r}"):
                call(value)


@pytest.mark.parametrize("value", [9, -5, "a", 1.5])
@pytest.mark.parametrize(
    "score", [metrics.crps_ensemble, metrics.energy_score, metrics.rank_histogram]
)
def test_axes_of_members(score, value):
    with pytest.raises(ValueError, match=f"axis={value!r} is no dimension of ens|dimension 'a'"):
        score(OBS[0], ENS[:, 0], axis=value)


def test_more_bins_than_cells():
    with pytest.raises(ValueError, match="n_bins=5 is more than the 4 cells known in obs"):
        metrics.spread_skill(OBS[0, 0, 0, :4], ENS[:, 0, 0, 0, :4], n_bins=5)


@pytest.mark.parametrize("value", ["a", 0, 1, None])
def test_levels_of_confidence(value):
    for test in (metrics.bootstrap, metrics.permutation_test):
        with pytest.raises(ValueError, match=f"confidence must lie between 0 and 1; got {value!r}"):
            test(metrics.mean_bias, OBS, OBS, confidence=value)


def test_orders_of_variograms():
    with pytest.raises(ValueError, match="p must be a positive number; got 'a'"):
        metrics.variogram_score(OBS, ENS, p="a")


def test_thresholds_of_events():
    for name in ("threshold", "wet_share"):
        with pytest.raises(ValueError, match=f"{name} must be a number of at least 0; got 'a'"):
            EventSplit(**{name: "a"})


def test_forecasts_without_dates():
    """Plain numbers for times are told apart from the dates of the observations."""
    times = np.datetime64("2020-01-01", "ns") + np.arange(6) * np.timedelta64(1, "h")
    obs = xr.DataArray(OBS[:, 0], dims=("time", "y", "x"), coords={"time": times})
    forecast = xr.DataArray(
        ENS[:, 0], dims=("realization", "time", "y", "x"), coords={"time": np.arange(4)}
    )
    message = (
        "obs does not hold 0, which m forecasts: 'time' of obs runs 2020-01-01 00:00 to "
        "2020-01-01 05:00. Give forecasts whose 'time' holds the valid times of obs"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluation_report(obs, forecasts={"m": [forecast]})
    named = forecast.assign_coords(time=times[2:])
    cases = [named, forecast.assign_coords(time=times[:4])]
    found = evaluation_report(obs, forecasts={"m": cases}, thresholds=[0.5], n_resamples=5)
    assert found.entries[0].n == 2
