"""Treatments of the atom of dry cells."""

import json

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdiffuse import PrecipDiffusion
from skdiffuse.preprocessing import (
    DryCellTransform,
    LearntMonotoneTransform,
    SqrtTransform,
    transformer_from_arrays,
    transformer_to_arrays,
)

TREATMENTS = ["point", "jitter", "censored"]
EDGE = 0.1  # sqrt(0.01)
each_treatment = pytest.mark.parametrize("treatment", TREATMENTS)


@parametrize_with_checks([DryCellTransform(treatment=t) for t in TREATMENTS])
def test_sklearn_battery(estimator, check):
    check(estimator)


@each_treatment
def test_wet_cells_are_the_inner_transforms_and_dry_ones_lie_below(rain, treatment):
    transform = DryCellTransform("sqrt", treatment, random_state=0).fit(rain)
    z = transform.transform(rain)
    wet, dry = rain >= 0.01, rain < 0.01
    np.testing.assert_array_equal(z[wet], SqrtTransform().transform(rain)[wet])
    assert z[dry].max() <= EDGE
    np.testing.assert_array_equal(np.isnan(z), np.isnan(rain))
    back = transform.inverse_transform(z)
    assert (back[dry] == 0.0).all()
    np.testing.assert_allclose(back[wet], rain[wet], rtol=1e-12)


def test_jitter_is_uniform_in_rain(rain):
    transform = DryCellTransform("sqrt", "jitter", random_state=1).fit(rain)
    z = transform.transform(np.zeros((1, 100, 200)))
    assert stats.kstest(z.ravel() ** 2 / 0.01, "uniform").pvalue > 0.01


def test_censored_recovers_the_gaussian():
    latent = np.random.default_rng(2).normal(-0.5, 0.8, size=(10, 100, 100))
    rain = np.where(latent > EDGE, latent, 0.0) ** 2
    transform = DryCellTransform("sqrt", "censored", random_state=0).fit(rain)
    assert transform.latent_mean_ == pytest.approx(-0.5, abs=0.03)
    assert transform.latent_std_ == pytest.approx(0.8, abs=0.03)
    z = transform.transform(rain)
    assert stats.kstest(z.ravel(), stats.norm(-0.5, 0.8).cdf).statistic < 0.02


@each_treatment
def test_draws_repeat_with_an_int_and_differ_without(rain, treatment):
    repeated = DryCellTransform("sqrt", treatment, random_state=5).fit(rain)
    np.testing.assert_array_equal(repeated.transform(rain), repeated.transform(rain))
    fresh = DryCellTransform("sqrt", treatment).fit(rain)
    same = np.array_equal(fresh.transform(rain), fresh.transform(rain), equal_nan=True)
    assert same == (treatment == "point")


class Cube(TransformerMixin, BaseEstimator):
    """A transformer that has nothing but the public verbs: the third power."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        assert X.ndim >= 2
        return X**3

    def inverse_transform(self, X):
        assert X.ndim >= 2
        return X.clamp(min=0) ** (1 / 3)

    def log_jacobian(self, X):
        assert X.ndim >= 2
        return (3 * X**2).log()


@each_treatment
def test_any_transformer_serves_by_its_public_verbs(rain, treatment):
    transform = DryCellTransform(Cube(), treatment, random_state=0).fit(rain)
    z = transform.transform(rain)
    wet, dry = rain >= 0.01, rain < 0.01
    np.testing.assert_allclose(z[wet], rain[wet] ** 3, rtol=1e-12)
    assert z[dry].max() <= 0.01**3
    back = transform.inverse_transform(z)
    np.testing.assert_allclose(back[wet], rain[wet], rtol=1e-9)
    assert (back[dry] == 0.0).all()
    slope = transform.log_jacobian(rain)
    np.testing.assert_allclose(slope[wet], np.log(3 * rain[wet] ** 2), rtol=1e-9)
    assert np.isfinite(slope[dry]).all()


@pytest.mark.parametrize("treatment", ["jitter", "censored"])
class TestFreshDraws:
    """What training sees of dry cells, whose draws must not be one frozen pattern."""

    def test_a_window_in_another_batch_is_drawn_anew(self, rain, treatment):
        transform = DryCellTransform("sqrt", treatment, random_state=0).fit(rain)
        one, other = rain[[0, 1]], rain[[0, 2]]
        dry = rain[0] < 0.01
        first, second = (transform.transform(batch)[0][dry] for batch in (one, other))
        assert not np.isin(first, second).any()
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(dry.sum())

    def test_blocks_of_a_lazy_cube_are_drawn_apart(self, rain, treatment):
        xr, _ = pytest.importorskip("xarray"), pytest.importorskip("dask")
        cube = xr.DataArray(np.zeros((4, 6, 6)), dims=("time", "y", "x"))
        cube[1] = 1.0
        transform = DryCellTransform("sqrt", treatment, random_state=0).fit(rain)
        z = transform.transform(cube.chunk(time=2)).values
        assert not np.isin(z[0], z[2:]).any()
        np.testing.assert_array_equal(z, transform.transform(cube.chunk(time=2)).values)

    def test_slopes_belong_to_the_draws(self, rain, treatment):
        """One call of each verb of the same array, whatever was drawn in between."""
        transform = DryCellTransform("sqrt", treatment, random_state=0).fit(rain)
        z = transform.transform(rain)
        transform.transform(rain[:2])
        slope, dry = transform.log_jacobian(rain), rain < 0.01
        if treatment == "jitter":
            expected = np.log(0.5 / z[dry]) + np.log(0.01)
        else:
            law = stats.norm(transform.latent_mean_, transform.latent_std_)
            expected = law.logcdf(EDGE) - law.logpdf(z[dry])
        np.testing.assert_allclose(slope[dry], expected, rtol=1e-6)

    def test_a_generator_and_another_seed_draw_anew_for_the_same_array(self, rain, treatment):
        dry = rain < 0.01
        transform = DryCellTransform("sqrt", treatment, random_state=np.random.RandomState(0))
        transform.fit(rain)
        first, second = (transform.transform(rain)[dry] for _ in range(2))
        assert not np.isin(first, second).any()
        transform.set_params(random_state=1)
        third = transform.transform(rain)[dry]
        fourth = transform.set_params(random_state=2).transform(rain)[dry]
        assert not np.isin(third, fourth).any()

    def test_training_sees_a_new_pattern_at_every_step(self, rain, treatment):
        seen = []

        class Recorded(DryCellTransform):
            def transform(self, X):
                z = super().transform(X)
                # Batches of the training; the network is tried out on single windows.
                if X.ndim == 4 and len(X) == 2:
                    seen.append(np.asarray(z[torch.as_tensor(X) < 0.01]))
                return z

        recorded = Recorded("sqrt", treatment, random_state=0)
        cube = np.nan_to_num(rain).reshape(-1, *rain.shape[-2:])
        PrecipDiffusion(
            recorded, n_frames=2, batch_size=2, max_steps=3, random_state=0, verbose=False
        ).fit(cube)
        steps = seen[-3:]
        for i, j in ((0, 1), (0, 2), (1, 2)):
            # Of thousands of draws in single precision a few coincide.
            assert np.isin(steps[i], steps[j]).mean() < 0.01


@pytest.mark.parametrize("treatment", ["jitter", "censored"])
def test_dequantised_dry_cells_bound_their_probability(treatment):
    """E[log p(z) + log-Jacobian] <= log P(dry), with equality where q is the law itself."""
    law = stats.norm(-0.5, 0.8)
    latent = law.rvs(size=(1, 200, 200), random_state=3)
    rain = np.where(latent > EDGE, latent, 0.0) ** 2
    transform = DryCellTransform("sqrt", treatment, random_state=0).fit(rain)
    zero = np.zeros((1, 100, 100))
    bound = law.logpdf(transform.transform(zero)) + transform.log_jacobian(zero)
    exact = law.logcdf(EDGE)
    if treatment == "censored":
        assert bound.mean() == pytest.approx(exact, abs=0.02)
        assert bound.std() < 0.1
    else:
        # With all dry latents in (0, 0.1) the bound is on that sliver of the law.
        sliver = np.log(integrate.quad(law.pdf, 0.0, EDGE)[0])
        assert bound.mean() == pytest.approx(sliver, abs=0.5)
        assert bound.mean() <= sliver


def test_point_counts_the_dry_bin():
    transform = DryCellTransform("sqrt", "point").fit(np.ones((1, 2, 2)))
    out = transform.log_jacobian(np.array([[[0.0, 0.25]]]))
    np.testing.assert_allclose(out, [[[np.log(EDGE), 0.0]]])


@each_treatment
def test_tensors_and_files(rain, treatment):
    inner = LearntMonotoneTransform(max_iter=5, random_state=0)
    transform = DryCellTransform(inner, treatment, random_state=3).fit(rain)
    tensor = transform.transform(torch.from_numpy(rain[:1]))
    assert tensor.dtype == torch.float64
    np.testing.assert_array_equal(tensor.numpy(), transform.transform(rain[:1]))
    config, arrays = transformer_to_arrays(transform)
    restored = transformer_from_arrays(json.loads(json.dumps(config)), arrays)
    np.testing.assert_array_equal(restored.transform(rain), transform.transform(rain))


@pytest.mark.parametrize("parameters", [{"treatment": "noise"}, {"threshold": 0.0}])
def test_refuses(parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"{name}: got"):
        DryCellTransform(**parameters).fit(np.ones((2, 2, 2)))


@each_treatment
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_fields(treatment, value):
    x = np.full((1, 4, 4), value, dtype=np.float32)
    transform = DryCellTransform("sqrt", treatment, random_state=0).fit(x)
    z = transform.transform(x)
    assert np.isfinite(z).all()
    np.testing.assert_allclose(transform.inverse_transform(z), x, rtol=1e-6)
