"""Names are the truth: every public function that takes arrays, whichever way they lie.

Each is called with DataArrays in the documented order, and again with dimensions transposed or
cells in another order. It gives the same numbers or says what is wrong; a function that stands in
no table fails the first test.
"""

import inspect

import numpy as np
import pytest
import xarray as xr
from sklearn.base import BaseEstimator

import skdiffuse
from skdiffuse import (
    PrecipDiffusion,
    answers,
    baselines,
    cubes,
    datasets,
    metrics,
    model_selection,
    plotting,
)
from skdiffuse.pipeline import DiffusionPipeline
from skdiffuse.preprocessing import IdentityTransform

N = 6  # square fields, and as many frames and members: sizes tell nothing


def _evaluate(obs, sim):
    found = plotting.evaluation_report(obs, {"m": sim}, n_resamples=4, animation=False)
    return [entry.value for entry in found.entries]


def _evaluate_forecasts(obs, ens):
    found = plotting.evaluation_report(
        None, forecasts={"m": ens}, truth=obs, thresholds=[1.0], n_resamples=4
    )
    return [entry.value for entry in found.entries]


def _geographic(X):
    degrees = {"lat": X.y.data, "lon": X.x.data}
    X = X.rename(y="lat", x="lon").assign_coords(degrees)
    X.lat.attrs["units"], X.lon.attrs["units"] = "degrees_north", "degrees_east"
    return X


def _series(place):
    return place.series.rename(realization="n")


# Samples (n, time, y, x) that belong to no common cases.
SAMPLES = {
    "bias_pattern_correlation": lambda a, b: metrics.bias_pattern_correlation(a, b, a**2),
    "bias_summary": metrics.bias_summary,
    "bootstrap": lambda a, b: metrics.bootstrap(
        metrics.map_error, a, b, n_resamples=5, random_state=0
    ),
    "bootstrap_difference": lambda a, b: metrics.bootstrap_difference(
        metrics.map_error, a, b, 2 * b, n_resamples=5, random_state=0
    ),
    "change_signal": lambda a, b: [
        c[1:] for c in metrics.change_signal(a, b, n_resamples=4, random_state=0)
    ],
    "evaluation_report": _evaluate,
    "log_spectral_distance": metrics.log_spectral_distance,
    "map_error": metrics.map_error,
    "mean_bias": metrics.mean_bias,
    "mean_normalised_bias": metrics.mean_normalised_bias,
    "nearest_training_distance": metrics.nearest_training_distance,
    "pattern_correlation": metrics.pattern_correlation,
    "permutation_test": lambda a, b: metrics.permutation_test(
        metrics.map_error, a, b, n_resamples=5, random_state=0
    ),
    "power_deficit": lambda a, b: [
        metrics.power_deficit(a, b, kind=kind) for kind in ("spatial", "temporal")
    ],
    "scorecard": lambda a, b: [e.value for e in metrics.scorecard(a, {"m": b}, n_resamples=4)],
    "BiasMapDisplay": lambda a, b: plotting.BiasMapDisplay.from_samples(a, b).bias,
    "FramesDisplay": lambda a, b: plotting.FramesDisplay.from_samples(a, b).sequences,
    "PowerSpectrumDisplay": lambda a, b: [
        vars(plotting.PowerSpectrumDisplay.from_samples(a, b, kind=kind))["simulated"]
        for kind in ("spatial", "temporal")
    ],
    "IntensityHistogramDisplay": lambda a, b: vars(
        plotting.IntensityHistogramDisplay.from_samples(a, b)
    )["intervals"],
    "QuantileQuantileDisplay": lambda a, b: vars(
        plotting.QuantileQuantileDisplay.from_samples(a, b)
    )["intervals"],
}
# Distributions of values alone: of any shapes and places.
ANYWHERE = {
    "jensen_shannon_divergence": metrics.jensen_shannon_divergence,
    "perkins_skill_score": metrics.perkins_skill_score,
    "quantile_error": metrics.quantile_error,
    "quantile_ratios": metrics.quantile_ratios,
    "wasserstein_distance": metrics.wasserstein_distance,
    "wet_fraction_bias": metrics.wet_fraction_bias,
    "ReturnLevelDisplay": lambda a, b: vars(
        plotting.ReturnLevelDisplay.from_samples(
            a, b, method="pot", per_block=50, periods=[2.0], n_resamples=2
        )
    )["simulated"],
}
# Besides those, pictures that compare no cells.
WITHOUT_PLACES = {
    *ANYWHERE, "FramesDisplay", "IntensityHistogramDisplay", "QuantileQuantileDisplay",
}  # fmt: skip
# One forecast of what came true.
FORECASTS = {
    "contingency_table": lambda a, b: metrics.contingency_table(a, b, 1.0),
    "match_objects": lambda a, b: (
        metrics.match_objects(a.isel(n=0, time=1), b.isel(n=0, time=1)).interest
    ),
    "fss": lambda a, b: metrics.fss(a, b, thresholds=[0.5, 1.0], scales=[1, 3]),
    "sal": lambda a, b: metrics.sal(a.isel(n=0, time=1), b.isel(n=0, time=1)),
}
# Ensembles (realization, n, time, y, x) of what came true.
ENSEMBLES = {
    "brier_decomposition": lambda y, x: metrics.brier_decomposition(y, x, 1.0),
    "brier_score": lambda y, x: metrics.brier_score(y, x, 1.0),
    "crps_decomposition": metrics.crps_decomposition,
    "crps_potential": metrics.crps_potential,
    "crps_reliability": metrics.crps_reliability,
    "crps_ensemble": metrics.crps_ensemble,
    "economic_value": lambda y, x: metrics.economic_value(y, x, 1.0).value,
    "energy_score": metrics.energy_score,
    "evaluation_report": _evaluate_forecasts,
    "forecast_scorecard": lambda y, x: [
        e.value for e in metrics.forecast_scorecard(y, {"m": x}, n_resamples=4)
    ],
    "fss": lambda y, x: metrics.fss(y, x, member_axis=0),
    "rank_histogram": metrics.rank_histogram,
    "reliability_curve": lambda y, x: metrics.reliability_curve(y, x, 1.0),
    "roc_curve": lambda y, x: metrics.roc_curve(y, x, 1.0),
    "spread_skill": metrics.spread_skill,
    "threshold_weighted_crps": lambda y, x: metrics.threshold_weighted_crps(y, x, 1.0),
    "variogram_score": metrics.variogram_score,
    "FSSDisplay": lambda y, x: plotting.FSSDisplay.from_samples(y, {"m": x}).curves,
    "LeadTimeDisplay": lambda y, x: plotting.LeadTimeDisplay.from_samples(y, {"m": x}).curves,
    "RankHistogramDisplay": lambda y, x: vars(
        plotting.RankHistogramDisplay.from_samples(y, {"m": x})
    )["intervals"],
    "ReliabilityDisplay": lambda y, x: vars(
        plotting.ReliabilityDisplay.from_samples(y, {"m": x}, threshold=1.0)
    )["intervals"],
    "RocDisplay": lambda y, x: vars(
        plotting.RocDisplay.from_samples(y, {"m": x}, threshold=1.0, n_resamples=5)
    )["areas"],
    "SpreadSkillDisplay": lambda y, x: vars(
        plotting.SpreadSkillDisplay.from_samples(y, {"m": x}, n_bins=3)
    )["binned"],
}
# One array.
OF_ONE = {
    "anisotropy": metrics.anisotropy,
    "basin_forecast": lambda X: _series(
        answers.basin_forecast(_geographic(X), [(20, 25), (45, 22), (40, 48)])
    ),
    "point_forecast": lambda X: _series(answers.point_forecast(X, y=40.0, x=20.0)),
    "areal_reduction_factor": lambda X: metrics.areal_reduction_factor(X, 2, level=0.9),
    "autocorrelation": lambda X: metrics.autocorrelation(X, 2),
    "coarsen": lambda X: cubes.coarsen(X, 2),
    "coherence": metrics.coherence,
    "crop": lambda X: cubes.crop(_geographic(X), lat=(20, 50), lon=(20, 40)),
    "intensity_histogram": metrics.intensity_histogram,
    "lagrangian_autocorrelation": lambda X: metrics.lagrangian_autocorrelation(X, 2),
    "lat_lon": lambda X: cubes.lat_lon(_geographic(X)),
    "quantiles": lambda X: metrics.quantiles(X, [0.3, 0.95]),
    "return_levels": lambda X: metrics.return_levels(
        X, [2.0], method="pot", per_block=50, n_resamples=2, random_state=0
    ),
    "spatial_psd": metrics.spatial_psd,
    "spell_lengths": lambda X: metrics.spell_lengths(X, kind="dry"),
    "tail_dependence": lambda X: metrics.tail_dependence(X, 2, level=0.9),
    "temporal_psd": metrics.temporal_psd,
    "validate_cube": lambda X: cubes.validate_cube(X).values,
    "validate_cubes": lambda X: cubes.validate_cubes([X, X]).parts[1].values,
    "wet_fraction": metrics.wet_fraction,
    "add_explorer": lambda X: list(
        plotting.add_explorer(plotting.HtmlReport("x"), {"rain": X}).to_html().encode()
    ),
    "explore": lambda X: list(plotting.explore({"rain": X}).to_html().encode()),
    "animate": lambda X: list(plotting.animate({"rain": X.isel(n=0)}))[:500],
}
# Of no array, or checked below or beside the code that they are about.
OTHERS = {
    "metrics": {
        "cordex_diagnostics", "cordex_indices", "decorrelation_time",
        "effective_sample_size", "extreme_quantile_levels", "get_scorer",
        "get_scorer_names", "get_scores", "intensity_edges", "make_forecast_scorer",
        "make_interpolation_scorer", "make_sample_scorer",
    },
    "answers": {"depth_duration_frequency"},
    "plotting": {"rain_colormap", "rain_norm", "DenoisingDisplay", "HtmlReport", "TransformDisplay",
                 "Evaluation", "PlaceForecastDisplay"},
    "cubes": {"align_cases", "align_grid", "align_like", "are_several", "cordex_prediction",
              "dress", "open_cube",
              "ordered", "write_cube"},
    "datasets": {"made_up_ukcp18", "make_precipitation", "open_cube", "prepare_ukcp18"},
    "model_selection": {"check_leakage"},
    "skdiffuse": {"denoising_report", "dissertation_model", "list_models", "make_precipitation",
                  "open_cube", "write_cube"},
}  # fmt: skip
# Methods of two arrays; the rest of a model's verbs take one, which `validate_cube` checks.
METHODS = {
    ("PrecipDiffusion", "fit"), ("PrecipDiffusion", "impute"), ("PrecipDiffusion", "score"),
    ("DiffusionPipeline", "impute"), ("DiffusionPipeline", "score"),
}  # fmt: skip
ARRAYS = {"X", "y", "mask", "obs", "sim", "ens", "validation", "train", "test", "truth", "other"}


def _public(module):
    return {
        name: thing
        for name in module.__all__
        if inspect.isfunction(thing := getattr(module, name))
        or (inspect.isclass(thing) and (hasattr(thing, "from_samples") or module is plotting))
    }


@pytest.mark.parametrize(
    "module",
    [answers, metrics, plotting, cubes, datasets, model_selection, skdiffuse],
    ids=lambda m: m.__name__,
)
def test_no_public_function_is_forgotten(module):
    tables = {*SAMPLES, *ANYWHERE, *FORECASTS, *ENSEMBLES, *OF_ONE}
    known = tables | OTHERS[module.__name__.rpartition(".")[2]]
    if module in (metrics, cubes):
        functions = {name for name in _public(module) if name[0].islower()}
    else:
        functions = set(_public(module))
    assert not functions - known, "give these a place in a table of this file"


def test_no_method_of_two_arrays_is_forgotten():
    found = set()
    classes = [PrecipDiffusion, DiffusionPipeline]
    classes += [getattr(baselines, name) for name in baselines.__all__]
    for each in classes:
        for name, method in inspect.getmembers(each, inspect.isfunction):
            own = method.__module__.startswith("skdiffuse")
            if own and not name.startswith("_"):
                arrays = ARRAYS & set(inspect.signature(method).parameters)
                if len(arrays) > 1:
                    found.add((each.__name__, name))
    # Baselines are fitted with a y that they do not look at.
    assert {f for f in found if f[1] != "fit" or f[0] == "PrecipDiffusion"} == METHODS


def _rain(seed, dims=("n", "time", "y", "x"), lazy=False):
    """Rain that differs along every dimension, with the labels of a north-up grid."""
    rng = np.random.default_rng(seed)
    shape = (N,) * len(dims)
    weather = np.random.default_rng(9).gamma(1.0, size=(N, N, N, N))
    ramp = np.linspace(0.5, 2, N)[:, None] * np.linspace(1, 3, N)
    X = xr.DataArray(
        (weather if len(dims) > 3 else weather[0]) * ramp * rng.gamma(0.8, size=shape),
        dims=dims,
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(N) * np.timedelta64(1, "h"),
            "y": np.linspace(60.0, 10.0, N),
            "x": np.linspace(10.0, 60.0, N),
        },
        attrs={"units": "mm h-1"},
    )
    return X.chunk(time=2) if lazy else X


TURNS = {
    "x before y": lambda X: X.transpose(..., "x", "y"),
    "time last": lambda X: X.transpose(..., "time"),
    "time first": lambda X: X.transpose("time", ...),
    "time between": lambda X: X.transpose(..., "y", "time", "x"),
}
CELLS = {
    "south up": lambda X: X.isel(y=slice(None, None, -1)),
    "shuffled": lambda X: X.isel(y=[2, 0, 1, 5, 3, 4], x=[5, 0, 4, 1, 2, 3]),
}
MEMBERS = {
    "members second": lambda X: X.transpose("n", "realization", ...),
    "members last": lambda X: X.transpose(..., "realization"),
}


def _numbers(result):
    """All numbers of a result, flat."""
    if isinstance(result, xr.DataArray):
        # Cells by label: a result may lie as its input does.
        known = [dim for dim in ("n", "time", "y", "lat", "x", "lon") if dim in result.dims]
        result = result.transpose(*known)
        result = np.asarray(result.sortby([d for d in known if d in result.indexes]))
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return np.concatenate([np.empty(0), *map(_numbers, result)])
    return np.ravel(np.asarray(result, dtype=np.float64))


def _same_or_refused(call, expected, *arrays):
    try:
        found = _numbers(call(*arrays))
    except ValueError as error:
        assert any(word in str(error) for word in ("transpose", "rename")), error
        return "refused"
    finally:
        import matplotlib.pyplot as plt

        plt.close("all")
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    return "same"


def _slow(name):
    return name in ("evaluation_report", "FramesDisplay", "animate")


@pytest.mark.filterwarnings("ignore:.*chunk.*")
@pytest.mark.parametrize("name", [*SAMPLES, *ANYWHERE])
def test_samples(name):
    call = {**SAMPLES, **ANYWHERE}[name]
    a, b = _rain(0), _rain(1)
    expected = _numbers(call(a, b))
    changes = {**TURNS, **CELLS}
    for change in ("time first", "south up") if _slow(name) else changes:
        turn = changes[change]
        assert _same_or_refused(call, expected, a, turn(b)) == "same" or change in TURNS
        if _slow(name):
            continue
        _same_or_refused(call, expected, a, turn(_rain(1, lazy=True)))
        if change in TURNS:
            _same_or_refused(call, expected, turn(a), b)
            _same_or_refused(call, expected, turn(a), turn(b))
    elsewhere = b.assign_coords(y=b.y + 10)
    if name in WITHOUT_PLACES:
        np.testing.assert_allclose(_numbers(call(a, elsewhere)), expected)
    else:
        with pytest.raises(ValueError, match="coordinate 'y' runs"):
            call(a, elsewhere)


@pytest.mark.parametrize("name", FORECASTS)
def test_forecasts(name):
    call = FORECASTS[name]
    a, b = _rain(0), _rain(1)
    expected = _numbers(call(a, b))
    for turn in (*TURNS.values(), *CELLS.values()):
        for lazy in (False, True):
            assert _same_or_refused(call, expected, a, turn(_rain(1, lazy=lazy))) == "same"
    for turn in TURNS.values():
        assert _same_or_refused(call, expected, turn(a), b) == "same"
    with pytest.raises(ValueError, match="coordinate 'y' runs"):
        call(a, b.assign_coords(y=b.y + 10))


@pytest.mark.filterwarnings("ignore:.*chunk.*")
@pytest.mark.parametrize("name", ENSEMBLES)
def test_ensembles(name):
    call = ENSEMBLES[name]
    dims = ("realization", "n", "time", "y", "x")
    a, b = _rain(0), _rain(1, dims)
    expected = _numbers(call(a, b))
    changes = {**TURNS, **CELLS, **MEMBERS}
    for change in ("members second", "south up") if _slow(name) else changes:
        turn = changes[change]
        assert _same_or_refused(call, expected, a, turn(b)) == "same"
        if not _slow(name):
            assert _same_or_refused(call, expected, a, turn(_rain(1, dims, lazy=True))) == "same"
        if not _slow(name) and change in TURNS:
            _same_or_refused(call, expected, turn(a), b)
    with pytest.raises(ValueError, match="coordinate 'y' runs"):
        call(a, b.assign_coords(y=b.y + 10))
    with pytest.raises(ValueError, match=r"lacks \['y'\].*rename\(\{'lat': 'y'\}\)"):
        call(a, b.rename(y="lat"))


def test_plain_ensembles_beside_named_ones():
    obs, ens = _rain(0), _rain(1, ("realization", "n", "time", "y", "x"))
    shown = plotting.RankHistogramDisplay.from_samples
    one = vars(shown(obs, {"m": ens}))["intervals"]["m"]
    second = ens.transpose("n", "realization", ...)
    unnamed = xr.DataArray(second.values)
    found = shown(obs, {"named": second, "plain": second.values, "unnamed": unnamed}, axis=1)
    for name in ("named", "plain", "unnamed"):
        np.testing.assert_array_equal(vars(found)["intervals"][name], one)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_ensembles_that_carry_weights_are_refused(name):
    obs, ens = _rain(0), _rain(1, ("realization", "n", "time", "y", "x"))
    for dim in ("realization", "n"):
        uneven = ens.assign_coords(weight=(dim, np.arange(1.0, N + 1)))
        for turn in (*MEMBERS.values(), CELLS["shuffled"]):
            with pytest.raises(ValueError, match="carries the coordinate 'weight'"):
                ENSEMBLES[name](obs, turn(uneven))


@pytest.mark.parametrize("name", OF_ONE)
def test_single_arrays(name):
    call = OF_ONE[name]
    expected = _numbers(call(_rain(0)))
    for change in ("time last",) if _slow(name) else TURNS:
        for lazy in (False, True):
            _same_or_refused(call, expected, TURNS[change](_rain(0, lazy=lazy)))


# Right values from xarray's own arithmetic, which goes by names and labels.


def test_the_crps_of_a_transposed_ensemble_is_that_of_its_names():
    obs = _rain(0, ("time", "y", "x"))
    noise = 0.05 * _rain(1, ("realization", "time", "y", "x"))
    ens = (obs + noise).transpose("realization", "time", "x", "y").isel(y=slice(None, None, -1))
    members = [ens.isel(realization=i) for i in range(N)]
    error = sum(abs(member - obs).sel(y=obs.y).mean() for member in members) / N
    spread = sum(abs(a - b).mean() for a in members for b in members) / (2 * N * (N - 1))
    assert metrics.crps_ensemble(obs, ens) == pytest.approx(float(error - spread))
    by_place = metrics.crps_ensemble(obs.values, ens.values)
    assert by_place > 3 * metrics.crps_ensemble(obs, ens)
    cells = metrics.crps_ensemble(obs, ens, average=False)
    assert cells.dims == obs.dims and cells.y.equals(obs.y)


def test_the_bias_of_a_cube_that_lies_the_other_way_up():
    obs, sim = _rain(0), _rain(1)
    expected = sim.mean(["n", "time"]) / obs.mean(["n", "time"]) - 1
    found = metrics.mean_normalised_bias(obs, sim.isel(y=slice(None, None, -1)).transpose(..., "n"))
    xr.testing.assert_allclose(found, expected.rename(found.name).assign_attrs(found.attrs))


def test_members_that_come_second_are_no_frames():
    ens = _rain(0, ("time", "realization", "y", "x"))
    power = sum(metrics.temporal_psd(ens.isel(realization=i).values).P for i in range(N))
    np.testing.assert_allclose(metrics.temporal_psd(ens).P, power / N)


def test_dates_before_unnamed_frames_are_asked_about():
    X = xr.DataArray(np.ones((N, N, N, N)), dims=("time", "frame", "y", "x"))
    with pytest.raises(ValueError, match=r"'frame' stands where frames should, and 'time' is time"):
        metrics.temporal_psd(X)
    by_remedy = X.drop_vars(list(X.coords)).rename({"frame": "lead", "y": "y", "x": "x"})
    assert metrics.temporal_psd(by_remedy).P[0] == 1
    assert metrics.temporal_psd(X.transpose("frame", "time", "y", "x")).P[0] == 1


def test_places_that_differ_by_less_than_rounding_are_one():
    obs = _rain(0).assign_coords(y=4.4e6 + 10.0 * np.arange(N))
    rounded = obs.assign_coords(y=obs.y.astype(np.float32))
    assert metrics.map_error(obs, rounded) == 0
    with pytest.raises(ValueError, match="coordinate 'y' runs"):
        metrics.map_error(obs, obs.assign_coords(y=obs.y + 10))


def test_longitudes_and_latitudes_of_cells_are_compared():
    lat = xr.DataArray(np.add.outer(np.arange(N), np.arange(N)) / 7.0, dims=("y", "x"))
    obs = _rain(0).drop_vars(["y", "x"]).assign_coords(lat=lat)
    assert metrics.map_error(obs, obs) == 0
    with pytest.raises(ValueError, match="coordinate 'lat' runs"):
        metrics.map_error(obs, obs.isel(y=slice(None, None, -1)))


def test_an_axis_that_names_contradict():
    obs, ens = _rain(0), _rain(1, ("realization", "n", "time", "y", "x"))
    with pytest.raises(ValueError, match=r"axis=2 of ens is 'time'.*\['realization'\]"):
        metrics.crps_ensemble(obs, ens, axis=2)
    for axis in (9, -7, "a", 1.5, None):
        with pytest.raises(ValueError, match=r"axis=|no dimension 'a'"):
            metrics.crps_ensemble(obs, ens, axis=axis)
        with pytest.raises(ValueError, match=r"axis=|no dimension 'a'"):
            metrics.crps_ensemble(obs.values, ens.values, axis=axis)
    with pytest.raises(ValueError, match="member_axis=9 is no dimension of sim, which has 5"):
        metrics.fss(obs, ens, member_axis=9)


# Models and pipelines.


class _Filler(BaseEstimator):
    """The last step of a pipeline, which keeps what it is given."""

    def fit(self, X, y=None):
        return self

    def impute(self, X, mask=None):
        self.mask = mask
        return X.fillna(0.0) if hasattr(X, "fillna") else np.nan_to_num(X)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("turn", [*TURNS.values(), *CELLS.values()], ids=[*TURNS, *CELLS])
def test_masks_of_a_pipeline(turn):
    X = _rain(0)
    pipeline = DiffusionPipeline([("same", IdentityTransform()), ("model", _Filler())]).fit(X)
    pipeline.impute(X, mask=turn(X > 1))
    np.testing.assert_array_equal(pipeline.steps[-1][1].mask, (X > 1).values)
    with pytest.raises(ValueError, match="mask has other labels along 'y' than X"):
        pipeline.impute(X, mask=(X > 1).assign_coords(y=X.y + 10))


class _Seen(Exception):
    """What `fit` hands to its preparation."""


@pytest.fixture(scope="module")
def model():
    X = _rain(0, ("time", "y", "x")).isel(y=slice(4), x=slice(4))
    height = X / 3 + 1
    model = PrecipDiffusion(n_frames=2, max_steps=1, random_state=0, verbose=False)
    return model.set_params(sampler__n_steps=2).fit(X, height), X, height


@pytest.mark.parametrize("change", [*TURNS, "south up"])
def test_masks_and_fields_of_a_model(change, model):
    model, X, height = model
    turn = {**TURNS, **CELLS}[change]
    options = {"random_state": 0, "n_samples": None}
    known = X > 1
    expected = model.impute(X, known, y=height, **options)
    np.testing.assert_array_equal(expected.where(known), X.where(known))
    np.testing.assert_array_equal(model.impute(X, turn(known), y=height, **options), expected)
    if change in ("x before y", "south up"):
        np.testing.assert_array_equal(model.impute(X, known, y=turn(height), **options), expected)
    with pytest.raises(ValueError, match="mask has other labels along 'y' than X"):
        model.impute(X, known.assign_coords(y=X.y + 10), **options)
    with pytest.raises(ValueError, match="y has other labels along 'y' than X"):
        model.impute(X, known, y=height.assign_coords(y=X.y + 10), **options)
    with pytest.raises(ValueError, match="must be boolean, True where X is known; got dtype float"):
        model.impute(X, known.astype(float), **options)


def test_rain_to_validate_on(monkeypatch):
    def seen(parameters, cube, held_out, *rest):
        raise _Seen(held_out.values)

    monkeypatch.setattr("skdiffuse.estimator.precip_diffusion.prepare", seen)
    X, other = _rain(0), _rain(1)
    with pytest.raises(_Seen) as caught:
        PrecipDiffusion(n_frames=2).fit(X, validation=CELLS["south up"](other))
    np.testing.assert_array_equal(caught.value.args[0], other.values)


@pytest.mark.parametrize("change", TURNS)
def test_cubes_of_a_model_are_refused_out_of_order(change):
    X = _rain(0, ("time", "y", "x"))
    with pytest.raises(ValueError, match=r"use X.transpose\('time', 'y', 'x'\)"):
        turned = TURNS[change](X)
        if turned.dims == X.dims:
            turned = X.transpose("y", "x", "time")
        PrecipDiffusion(n_frames=2).fit(turned)


def test_a_frame_the_other_way_up_leaks():
    X = _rain(0, ("time", "y", "x")).drop_vars("time")
    with pytest.raises(ValueError, match="leakage"):
        model_selection.check_leakage(X, CELLS["south up"](X))
