"""The pipeline that generates, around a small model whose answers are known."""

import pickle
import re

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_html_repr

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.pipeline import DiffusionPipeline
from skdiffuse.preprocessing import (
    DryCellTransform,
    IdentityTransform,
    LogTransform,
    SqrtTransform,
)

pytestmark = pytest.mark.usefixtures("narrow_networks")


class Echo(BaseEstimator):
    """Answers with what it was fitted to or asked about, in its own (latent) units."""

    def fit(self, X, y=None):
        self.mean_ = float(np.nanmean(np.asarray(X)))
        return self

    def sample(self, n_samples=1, *, random_state=None):
        return np.full((n_samples, 2, 3, 3), self.mean_)

    def simulate(self, n_frames, *, random_state=None):
        return np.full((n_frames, 3, 3), self.mean_)

    def impute(self, X, mask=None, *, n_samples=1):
        known = np.isfinite(np.asarray(X))
        if mask is not None:
            known &= mask
        filled = np.where(known, np.asarray(X) + 1e-9, self.mean_)
        filled = np.broadcast_to(filled, (n_samples, *X.shape))
        if isinstance(X, xr.DataArray):
            return X.expand_dims(realization=n_samples).copy(data=filled)
        return filled

    def interpolate(self, X, factor=2, *, n_samples=1):
        refined = np.full((n_samples, (len(X) - 1) * factor + 1, *X.shape[1:]), self.mean_)
        refined[:, ::factor] = X
        return refined

    def forecast(self, X, horizon, *, n_members=1):
        return np.broadcast_to(X[-1:], (n_members, horizon, *X.shape[1:]))

    def downscale(self, X, factor):
        return np.repeat(np.repeat(X, factor, -1), factor, -2)

    def condition(self, observation, *, n_samples=1):
        return np.full((n_samples, 2, 2), observation)

    def score_samples(self, X):
        return stats.norm.logpdf(np.nan_to_num(X)).reshape(len(X), -1).sum(axis=1)

    def score(self, X, y=None):
        return 0.0


@pytest.fixture
def rain():
    cube = np.random.default_rng(0).gamma(0.5, 2.0, size=(4, 3, 3))
    cube[1, 0, 0] = np.nan
    return cube


@pytest.fixture
def pipeline(rain):
    return DiffusionPipeline([("sqrt", SqrtTransform()), ("model", Echo())]).fit(rain)


def test_sample_and_simulate_come_back_through_the_inverse(pipeline, rain):
    expected = np.nanmean(np.sqrt(rain)) ** 2
    np.testing.assert_allclose(pipeline.sample(5, random_state=0), np.full((5, 2, 3, 3), expected))
    np.testing.assert_allclose(pipeline.simulate(7), np.full((7, 3, 3), expected))


def test_impute_leaves_known_values_alone(pipeline, rain):
    mask = np.ones(rain.shape, dtype=bool)
    mask[2] = False
    filled = pipeline.impute(rain, mask, n_samples=2)
    known = mask & np.isfinite(rain)
    assert filled.shape == (2, 4, 3, 3)
    np.testing.assert_array_equal(filled[:, known], np.broadcast_to(rain[known], (2, known.sum())))
    np.testing.assert_allclose(filled[:, ~known], pipeline.sample()[0, 0, 0, 0])


def test_interpolate_keeps_the_frames(pipeline, rain):
    refined = pipeline.interpolate(rain, 3)
    assert refined.shape == (1, 10, 3, 3)
    known = np.isfinite(rain)
    np.testing.assert_array_equal(refined[0, ::3][known], rain[known])
    np.testing.assert_allclose(refined[0, 1], pipeline.sample()[0, 0])


def test_forecast_sees_the_latent(pipeline, rain):
    ensemble = pipeline.forecast(rain, 2, n_members=3)
    np.testing.assert_allclose(ensemble, np.broadcast_to(rain[-1], (3, 2, 3, 3)))


def test_cubes_keep_their_names_and_units(pipeline, rain):
    cube = xr.DataArray(
        rain, dims=("time", "north", "east"), attrs={"units": "mm h-1", "standard_name": "rain"}
    )
    filled = pipeline.impute(cube, n_samples=2)
    assert filled.dims == ("realization", "time", "north", "east")
    assert filled.attrs["units"] == "mm h-1" and filled.attrs["standard_name"] == "rain"
    known = np.isfinite(rain)
    np.testing.assert_array_equal(filled.values[1][known], rain[known])


@pytest.fixture
def cube(rain):
    labels = {"north": [30.0, 20.0, 10.0], "east": [0.0, 1.0, 2.0]}
    return xr.DataArray(rain, dims=("time", "north", "east"), coords=labels)


@pytest.mark.parametrize(
    "laid_out",
    [
        lambda mask: mask,
        lambda mask: mask.transpose("east", "time", "north"),
        lambda mask: mask.sortby("north"),
        lambda mask: mask.isel(time=0, drop=True),
        lambda mask: mask.isel(time=0, drop=True).sortby("north").T,
    ],
    ids=["as the cube", "transposed", "north the other way", "of places", "of places, transposed"],
)
def test_hidden_cells_stay_hidden_however_a_mask_is_laid_out(pipeline, cube, laid_out):
    # South-west of a diagonal, so that a mask out of place shows cells it should hide.
    mask = (cube.north + cube.east * 10 > 20).broadcast_like(cube).transpose(*cube.dims)
    filled = pipeline.impute(cube, laid_out(mask), n_samples=2)
    known = mask.values & np.isfinite(cube.values)
    expected = np.where(known, cube.values, pipeline.sample()[0, 0, 0, 0])
    np.testing.assert_allclose(filled.values, np.broadcast_to(expected, filled.shape))
    np.testing.assert_array_equal(filled.values[1][known], cube.values[known])


def test_a_mask_of_other_places_is_refused(pipeline, cube):
    mask = cube.notnull().assign_coords(north=[31.0, 21.0, 11.0])
    with pytest.raises(ValueError, match="mask has other labels along 'north' than X"):
        pipeline.impute(cube, mask)
    with pytest.raises(ValueError, match=r"mask of shape \(4, 2\) does not fit X"):
        pipeline.impute(cube, np.ones((4, 2), dtype=bool))


@pytest.mark.parametrize("step", [IdentityTransform(), "passthrough"])
def test_downscale_and_condition_behind_linear_steps(step, rain):
    pipeline = DiffusionPipeline([("none", step), ("model", Echo())]).fit(rain)
    fine = np.kron(rain, np.ones((1, 2, 2)))
    np.testing.assert_array_equal(pipeline.downscale(rain, 2), fine)
    np.testing.assert_array_equal(pipeline.condition(2.0), np.full((1, 2, 2), 2.0))


@pytest.mark.parametrize("verb", ["downscale", "condition"])
def test_downscale_and_condition_refuse_a_bent_scale(pipeline, rain, verb):
    arguments = (rain, 2) if verb == "downscale" else (rain,)
    with pytest.raises(ValueError, match=r"SqrtTransform.*PrecipDiffusion\(transformer"):
        getattr(pipeline, verb)(*arguments)


def test_densities_of_two_transforms_are_those_of_the_rain():
    # With a standard Gaussian latent the density of the rain follows from the change of variables.
    x = np.random.default_rng(1).gamma(2.0, 2.0, size=(5, 2, 3, 3))
    pipeline = DiffusionPipeline([("log", LogTransform(offset=0.5)), ("model", Echo())]).fit(x)
    z = np.log1p(x / 0.5)
    expected = (stats.norm.logpdf(z) - np.log(x + 0.5)).reshape(5, -1).sum(axis=1)
    np.testing.assert_allclose(pipeline.score_samples(x), expected)
    assert pipeline.score(x) == pytest.approx(expected.mean())


def test_density_with_two_steps_and_dry_cells():
    x = np.random.default_rng(1).gamma(2.0, 2.0, size=(5, 2, 3, 3))
    two = DiffusionPipeline(
        [("sqrt", SqrtTransform()), ("log", LogTransform(1.0)), ("model", Echo())]
    ).fit(x)
    z = np.log1p(np.sqrt(x))
    slope = 0.5 / np.sqrt(x) / (1.0 + np.sqrt(x))
    expected = (stats.norm.logpdf(z) + np.log(slope)).reshape(5, -1).sum(axis=1)
    np.testing.assert_allclose(two.score_samples(x), expected)
    x[0, 0, 0, 0] = 0.0
    with pytest.raises(ValueError, match="DryCellTransform"):
        two.score_samples(x)
    jittered = DryCellTransform("sqrt", "jitter", random_state=0)
    dry = DiffusionPipeline([("dry", jittered), ("model", Echo())]).fit(x)
    z = np.sqrt(x)
    # The density of the drawn latent, times the width of the dry bin: 0.01 mm/h.
    z[0, 0, 0, 0] = jittered.fit(x).transform(x)[0, 0, 0, 0]
    expected = (stats.norm.logpdf(z) + np.log(0.5 / z)).reshape(5, -1).sum(axis=1)
    expected[0] += np.log(0.01)
    np.testing.assert_allclose(dry.score_samples(x), expected)


def test_verbs_are_those_of_the_last_step(rain):
    pipeline = DiffusionPipeline([("sqrt", SqrtTransform()), ("model", KernelDensity())])
    assert hasattr(pipeline, "sample") and hasattr(pipeline, "score_samples")
    for verb in ("impute", "interpolate", "forecast", "simulate", "downscale", "condition"):
        assert not hasattr(pipeline, verb)
        with pytest.raises(AttributeError):
            getattr(pipeline, verb)
    assert not hasattr(Pipeline(pipeline.steps), "sample")


def test_not_fitted():
    with pytest.raises(Exception, match="not fitted"):
        DiffusionPipeline([("sqrt", SqrtTransform()), ("model", KernelDensity())]).sample()


def test_clone_pickle_html_and_grid_search(pipeline, rain):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pipeline)).sample(), pipeline.sample())
    assert clone(pipeline).named_steps["sqrt"].get_params() == {}
    assert "DiffusionPipeline" in estimator_html_repr(pipeline)
    x = np.random.default_rng(2).gamma(2.0, 2.0, size=(40, 5))
    search = GridSearchCV(
        DiffusionPipeline([("transform", SqrtTransform()), ("model", KernelDensity())]),
        {"transform": [IdentityTransform(), SqrtTransform(), "passthrough"]},
        cv=2,
    ).fit(x)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == pytest.approx(scores[2]) and scores[0] != pytest.approx(scores[1])
    assert search.best_estimator_.sample(2, random_state=0).shape == (2, 5)


@pytest.fixture(scope="module")
def wet():
    """Sequences that are wet everywhere, so that they have a density in mm/h."""
    gamma = np.random.default_rng(0).gamma(2.0, 2.0, size=(6, 2, 8, 8))
    return (gamma + 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def rain_model():
    model = PrecipDiffusion(None, n_frames=2, max_steps=2, random_state=0, verbose=False)
    # Few steps will do wherever the constructor has them.
    few = {"n_steps": 3} if "n_steps" in model.get_params() else {}
    return model.set_params(**few)


@pytest.fixture(scope="module")
def rain_pipeline(wet, rain_model):
    steps = [("sqrt", SqrtTransform()), ("model", clone(rain_model))]
    return DiffusionPipeline(steps).fit(wet)


@pytest.fixture(scope="module")
def by_hand(wet, rain_model):
    return clone(rain_model).fit(np.sqrt(wet))


class TestRainModel:
    """The library's own model behind a transform, against the same model fitted by hand."""

    @pytest.mark.parametrize(
        ("verb", "arguments", "options"),
        [
            ("sample", (3,), {}),
            ("simulate", (3,), {}),
            ("forecast", (1,), {"n_members": 2}),
            ("interpolate", (2,), {"n_samples": 2}),
        ],
    )
    def test_verbs_are_those_of_the_latent_squared(
        self, rain_pipeline, by_hand, wet, verb, arguments, options
    ):
        of_rain = () if verb in ("sample", "simulate") else (wet[0],)
        of_latent = tuple(np.sqrt(x) for x in of_rain)
        found = getattr(rain_pipeline, verb)(*of_rain, *arguments, random_state=1, **options)
        latent = getattr(by_hand, verb)(*of_latent, *arguments, random_state=1, **options)
        assert found.shape == latent.shape
        np.testing.assert_allclose(found, latent.astype(float) ** 2, rtol=1e-4, atol=1e-6)
        assert found.std() > 0

    def test_interpolate_gives_the_frames_back_to_the_bit(self, rain_pipeline, wet):
        refined = rain_pipeline.interpolate(wet[0], 3, n_samples=2, random_state=0)
        assert refined.shape == (2, 4, 8, 8)
        np.testing.assert_array_equal(refined[:, ::3], np.stack([wet[0]] * 2))

    def test_errors_name_arguments_through_the_pipeline(self, rain_pipeline, wet):
        for verb, given in (
            ("sample", {"shape": (0, 16)}),
            ("sample", {"random_state": "a"}),
            ("forecast", {"X": wet[0], "horizon": "a"}),
            ("impute", {"X": wet[0], "jacobian_error": "a"}),
            ("interpolate", {"X": wet[0], "factor": 2, "n_steps": 2.5}),
        ):
            [argument, value] = list(given.items())[-1]
            with pytest.raises(ValueError, match=re.escape(f"{argument}={value!r} must ")):
                getattr(rain_pipeline, verb)(**given)

    def test_another_kind_of_rain_is_refused_through_the_pipeline(self):
        rain = make_precipitation(8, (8, 8), random_state=0) + 0.1
        rain.attrs["units"] = "mm h-1"
        model = PrecipDiffusion(None, n_frames=2, max_steps=1, random_state=0, verbose=False)
        pipeline = DiffusionPipeline([("sqrt", SqrtTransform()), ("model", model)]).fit(rain)
        assert pipeline.forecast(rain[:2], 1, n_steps=1).sizes["time"] == 1
        ten_minutes = rain[0].time.values + np.arange(8) * np.timedelta64(10, "m")
        with pytest.raises(ValueError, match="X has frames 600 s apart, and the model needs the 3"):
            pipeline.forecast(rain.assign_coords(time=ten_minutes)[:2], 1)

    def test_impute_a_cube_with_a_mask_laid_out_otherwise(self, rain_pipeline, by_hand, wet):
        labels = {"y": np.arange(8.0)[::-1], "x": np.arange(8.0)}
        cube = xr.DataArray(wet[0], dims=("time", "y", "x"), coords=labels)
        cube.attrs["units"] = "mm h-1"
        mask = (cube.x > 2 * cube.y).transpose("x", "y").sortby("y")
        filled = rain_pipeline.impute(cube, mask, n_samples=2, random_state=0)
        known = np.arange(8.0) > 2 * np.arange(8.0)[::-1, None]
        assert filled.dims == ("realization", "time", "y", "x")
        assert filled.attrs["units"] == "mm h-1"
        np.testing.assert_array_equal(filled.values[..., known], np.stack([wet[0][:, known]] * 2))
        latent = by_hand.impute(
            np.sqrt(wet[0]), np.broadcast_to(known, (2, 8, 8)), n_samples=2, random_state=0
        )
        np.testing.assert_allclose(filled.values, latent.astype(float) ** 2, rtol=1e-4)
        assert not np.isclose(filled.values[..., ~known], wet[0][:, ~known]).any()

    def test_densities_are_those_of_the_latent_and_the_slope(self, rain_pipeline, by_hand, wet):
        latent = by_hand.score_samples(np.sqrt(wet))
        slope = np.log(0.5 / np.sqrt(wet.astype(float))).reshape(6, -1).sum(axis=1)
        np.testing.assert_allclose(rain_pipeline.score_samples(wet), latent + slope, rtol=1e-5)
