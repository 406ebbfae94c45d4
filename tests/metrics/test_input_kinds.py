"""Every score of every kind of array: the kind must not matter, nor how it is chunked."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from skdiffuse import metrics
from skdiffuse.metrics import arrays

xr = pytest.importorskip("xarray")
DIMS = ("case", "time", "y", "x")

OF_ONE = {
    "anisotropy": metrics.anisotropy,
    "areal_reduction_factor": lambda X: metrics.areal_reduction_factor(X, 2, level=0.9),
    "autocorrelation": lambda X: metrics.autocorrelation(X, 2),
    "coherence": metrics.coherence,
    "intensity_histogram": metrics.intensity_histogram,
    "lagrangian_autocorrelation": lambda X: metrics.lagrangian_autocorrelation(X, 2),
    "quantiles": lambda X: metrics.quantiles(X, [0.3, 0.95]),
    "return_levels": lambda X: metrics.return_levels(
        X, [2.0], method="pot", per_block=900, n_resamples=2, random_state=0
    ),
    "spatial_psd": metrics.spatial_psd,
    "spell_lengths": lambda X: metrics.spell_lengths(X, kind="dry"),
    "tail_dependence": lambda X: metrics.tail_dependence(X, 2, level=0.9),
    "temporal_psd": lambda X: metrics.temporal_psd(X, n_frames=2),
    "wet_fraction": metrics.wet_fraction,
}
OF_TWO = {
    "bias_pattern_correlation": lambda a, b: metrics.bias_pattern_correlation(a, b, b**2),
    "bias_summary": metrics.bias_summary,
    "contingency_table": lambda a, b: metrics.contingency_table(a, b, 1.0),
    "fss": lambda a, b: metrics.fss(a, b, thresholds=[0.5, 1.0], scales=[1, 4]),
    "jensen_shannon_divergence": metrics.jensen_shannon_divergence,
    "log_spectral_distance": metrics.log_spectral_distance,
    "map_error": metrics.map_error,
    "match_objects": lambda a, b: metrics.match_objects(a[0, 1], b[0, 1]).interest,
    "mean_bias": metrics.mean_bias,
    "mean_normalised_bias": metrics.mean_normalised_bias,
    "nearest_training_distance": lambda a, b: metrics.nearest_training_distance(b, a, chunk=2),
    "pattern_correlation": metrics.pattern_correlation,
    "perkins_skill_score": metrics.perkins_skill_score,
    "power_deficit": metrics.power_deficit,
    "quantile_error": metrics.quantile_error,
    "quantile_ratios": metrics.quantile_ratios,
    "sal": lambda a, b: metrics.sal(a[0, 1], b[0, 1]),
    "wasserstein_distance": metrics.wasserstein_distance,
    "wet_fraction_bias": metrics.wet_fraction_bias,
}
OF_ENSEMBLE = {
    "brier_decomposition": lambda y, x: metrics.brier_decomposition(y, x, 1.0),
    "brier_score": lambda y, x: metrics.brier_score(y, x, 1.0),
    "crps_decomposition": metrics.crps_decomposition,
    "crps_potential": metrics.crps_potential,
    "crps_reliability": metrics.crps_reliability,
    "crps_ensemble": metrics.crps_ensemble,
    "economic_value": lambda y, x: metrics.economic_value(y, x, 1.0)[:2],
    "energy_score": metrics.energy_score,
    "rank_histogram": metrics.rank_histogram,
    "reliability_curve": lambda y, x: metrics.reliability_curve(y, x, 1.0),
    "roc_curve": lambda y, x: metrics.roc_curve(y, x, 1.0),
    "spread_skill": lambda y, x: metrics.spread_skill(y, x, n_bins=3),
    "threshold_weighted_crps": lambda y, x: metrics.threshold_weighted_crps(y, x, 1.0),
    "variogram_score": metrics.variogram_score,
    "fss of an ensemble": lambda y, x: metrics.fss(y, x, member_axis=0),
    "crps of each cell": lambda y, x: metrics.crps_ensemble(y, x, average=False),
    "energy score of each field": lambda y, x: metrics.energy_score(y, x, average=False),
}
# What is no score of arrays, and what tests of its own cover.
OTHERS = {
    "bootstrap", "bootstrap_difference", "change_signal", "cordex_diagnostics",
    "cordex_indices", "decorrelation_time",
    "effective_sample_size",
    "extreme_quantile_levels", "forecast_scorecard", "get_scorer", "get_scorer_names", "get_scores",
    "intensity_edges", "make_forecast_scorer", "make_interpolation_scorer", "make_sample_scorer",
    "permutation_test", "scorecard",
}  # fmt: skip
CALLS = {**OF_ONE, **OF_TWO, **OF_ENSEMBLE}


def test_no_score_is_left_out():
    functions = {n for n in metrics.__all__ if n[0].islower()}
    assert functions - OTHERS == {n for n in CALLS if " " not in n}


@pytest.fixture(scope="module")
def rain():
    rng = np.random.default_rng(4)
    strength = rng.gamma(2.0, size=(5, 1, 8, 9))
    X = strength * rng.gamma(0.6, size=(4, 5, 6, 8, 9))
    X[X < 0.3] = 0
    X[0, 2, 3, :2, :3] = np.nan  # of the observations
    X[2, 1, 1, 4, 4] = np.nan  # of one member
    return X.astype(np.float32)


def arguments(name, rain):
    obs, ens = rain[0], rain[1:]
    return (obs,) if name in OF_ONE else (obs, ens[0]) if name in OF_TWO else (obs, ens)


def labelled(X):
    return xr.DataArray(X, dims=("realization", *DIMS)[-X.ndim :], attrs={"units": "mm h-1"})


def agree(found, expected):
    if not isinstance(expected, tuple):
        found, expected = (found,), (expected,)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CALLS)
def test_kind_of_array_does_not_matter(name, rain):
    args = arguments(name, rain)
    expected = CALLS[name](*args)
    frozen = [X.copy() for X in args]
    for X in frozen:
        X.flags.writeable = False
    agree(CALLS[name](*frozen), expected)
    for X, before in zip(frozen, args, strict=True):
        np.testing.assert_array_equal(X, before)
    agree(CALLS[name](*map(labelled, args)), expected)
    agree(CALLS[name](*map(torch.from_numpy, args)), expected)
    agree(CALLS[name](*(np.ma.masked_invalid(X) for X in args)), expected)


@pytest.mark.parametrize("name", CALLS)
@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_chunks_do_not_matter(name, rain, data):
    da = pytest.importorskip("dask.array")
    args = arguments(name, rain.astype(np.float64))
    series = data.draw(st.booleans(), "one long series") and name != "nearest_training_distance"
    if series and name not in ("sal", "match_objects"):
        args = tuple(X.reshape(*X.shape[:-4], -1, *X.shape[-2:]) for X in args)
    expected = CALLS[name](*args)
    cells = data.draw(st.integers(300, 5000), "cells in memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "BLOCK_CELLS", cells)
        lazy = []
        for X in args:
            chunks = tuple(data.draw(st.integers(-(-n // 3), n), "chunk") for n in X.shape)
            lazy.append(da.from_array(X, chunks=chunks))
        if data.draw(st.booleans(), "in a DataArray"):
            lazy = [labelled(X) for X in lazy]
        found = CALLS[name](*lazy)
    agree(found, expected)


def test_scores_of_cells_and_fields_keep_their_coordinates(rain):
    obs = labelled(rain[0]).assign_coords(y=np.arange(8.0), lat=(("y", "x"), np.ones((8, 9))))
    ens = labelled(rain[1:]).transpose(*DIMS, "realization")
    cells = metrics.crps_ensemble(obs, ens, axis="realization", average=False)
    assert cells.dims == DIMS and "lat" in cells.coords and cells.attrs["units"] == "mm h-1"
    fields = metrics.energy_score(obs, ens, axis=-1, average=False)
    assert fields.dims == ("case", "time") and not fields.coords
    with pytest.raises(ValueError, match="no dimension 'member'"):
        metrics.crps_ensemble(obs, ens, axis="member")


def test_forecasts_of_other_times_and_places_are_refused(rain):
    hours = np.arange(6).astype("timedelta64[h]")
    obs = labelled(rain[0, 0]).assign_coords(
        time=np.datetime64("2020-01-01T00", "ns") + hours, y=np.arange(8.0)
    )
    ens = xr.DataArray(rain[1:, 0], dims=("realization", "time", "y", "x"), coords=obs.coords)
    metrics.crps_ensemble(obs, ens)
    late = ens.assign_coords(time=ens.time + np.timedelta64(1, "h"))
    with pytest.raises(ValueError, match="different times: 'time' runs 2020-01-01T00:00 to"):
        metrics.crps_ensemble(obs, late)
    with pytest.raises(ValueError, match=r"coordinate 'y' runs 0\.\.7 in obs and 1\.\.8 in ens"):
        metrics.crps_ensemble(obs, ens.assign_coords(y=np.arange(8.0) + 1))
    noleap = xr.date_range("2020-01-01", periods=6, freq="h", calendar="noleap", use_cftime=True)
    with pytest.raises(ValueError, match="calendars: standard and noleap"):
        metrics.brier_score(obs, ens.assign_coords(time=noleap), 1.0)
    with pytest.raises(ValueError, match="units"):
        metrics.contingency_table(obs, ens[0].assign_attrs(units="m s-1"), 1.0)


def test_crps_of_a_lazy_ensemble_needs_little_memory():
    """20 members x 18 lead times x 128 x 128 in float32 are 22 MiB; 4 fit into memory at once."""
    da = pytest.importorskip("dask.array")
    shape = (20, 18, 128, 128)
    ens = da.random.default_rng(0).gamma(0.3, size=shape, chunks=(20, 1, 128, 128))
    ens = ens.astype("float32")
    obs = da.zeros(shape[1:], chunks=(1, 128, 128), dtype="float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "BLOCK_CELLS", 20 * 128 * 128)
        metrics.crps_ensemble(obs[:1], ens[:, :1])  # imports
        tracemalloc.start()
        metrics.crps_ensemble(obs, ens)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 * 2**20
