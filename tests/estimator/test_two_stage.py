"""Classes first and rates within them second, on short trainings and exact networks."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skdiffuse import NetworkSettings, PrecipDiffusion, SamplerSettings
from skdiffuse.corruptions import INTENSITY_EDGES, ClassCorruption, intensity_classes
from skdiffuse.datasets import make_precipitation
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.estimator.rate_stage import RAISED, RateStage
from skdiffuse.estimator.two_stage import TwoStageDiffusion

pytestmark = pytest.mark.usefixtures("global_generators_stay_untouched")

OPTIONS = {
    "n_frames": 2,
    "max_steps": 2,
    "sampler": SamplerSettings(n_steps=4),
    "random_state": 0,
    "verbose": False,
}
CLASS_LAW = torch.tensor([0.6, 0.1, 0.12, 0.1, 0.05, 0.03])


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(12, (8, 8), random_state=0)


def first_stage(kind="masking"):
    return PrecipDiffusion(corruption=kind, **OPTIONS)


@pytest.fixture(scope="module")
def model(cube):
    return TwoStageDiffusion(first_stage(), random_state=0).fit(cube)


@pytest.fixture(scope="module")
def independent(cube):
    return TwoStageDiffusion(first_stage(), "independent", random_state=0).fit(cube)


class ConstantNetwork(torch.nn.Module):
    """The same class probabilities everywhere: exact where cells are independent."""

    def forward(self, z, log_snr):
        law = CLASS_LAW.log().reshape(1, 1, -1, 1, 1)
        return law.expand(*z.shape[:2], -1, *z.shape[-2:])


class NoNetwork(torch.nn.Module):
    """v of white noise of variance 1, which is 0 whatever z."""

    def forward(self, z, log_snr, covariates=None):
        return torch.zeros_like(z)


def with_constant_network(model):
    """A fitted model of classes whose cells are independent, with the same law everywhere."""
    corruption = replace(model.corruption, log_frequencies=None)
    return replace(model, network=ConstantNetwork(), corruption=corruption)


@pytest.mark.parametrize("kind", ["masking", "substitution", "ordinal"])
def test_rain_is_dry_or_within_its_class(cube, kind):
    model = TwoStageDiffusion(first_stage(kind), "independent", random_state=0).fit(cube)
    rain, classes = model.sample(3), model.sample_classes(3)
    assert rain.shape == (3, 2, 8, 8) and rain.dtype == np.float32
    np.testing.assert_array_equal(intensity_classes(np.asarray(rain)), classes)
    assert (np.asarray(rain)[classes == 0] == 0).all()


def test_second_stage_stays_within_the_classes(model):
    rain, classes = model.sample(2), model.sample_classes(2)
    np.testing.assert_array_equal(intensity_classes(np.asarray(rain)), classes)
    assert rain.dims == ("realization", "time", "y", "x")
    assert "TwoStageDiffusion.sample" in rain.attrs["history"]


def test_classes_follow_the_law_of_an_exact_network(independent):
    exact = independent.classes_.model_
    try:
        independent.classes_.model_ = with_constant_network(exact)
        classes = independent.sample_classes(60, random_state=1)
    finally:
        independent.classes_.model_ = exact
    shares = np.bincount(classes.astype(int).ravel(), minlength=6) / classes.size
    np.testing.assert_allclose(shares, CLASS_LAW, atol=0.02)


def test_a_sample_does_not_depend_on_the_others(independent):
    three, two = independent.sample(3, random_state=5), independent.sample(2, random_state=5)
    np.testing.assert_array_equal(three[:2], two)


@pytest.mark.parametrize("which", ["model", "independent"])
def test_known_rain_comes_back_to_the_bit(which, cube, request):
    model = request.getfixturevalue(which)
    known = np.random.default_rng(0).random(cube[:4].shape) < 0.5
    filled = model.impute(cube[:4], known, n_samples=2, random_state=0)
    assert filled.shape == (2, 4, 8, 8)
    for member in np.asarray(filled):
        np.testing.assert_array_equal(member[known], np.asarray(cube[:4])[known])
    assert np.isfinite(np.asarray(filled)).all() and (np.asarray(filled) >= 0).all()
    whole = model.impute(cube[:4], n_samples=None)
    np.testing.assert_array_equal(whole, cube[:4])


def test_forecast_goes_on_where_rain_ends(independent, cube):
    members = independent.forecast(cube, 3, n_members=2, random_state=0)
    assert members.shape == (2, 3, 8, 8) and np.isfinite(np.asarray(members)).all()
    hour = cube.time[1] - cube.time[0]
    assert members.time[0] == cube.time[-1] + hour
    np.testing.assert_array_equal(
        independent.forecast(np.asarray(cube), 3, n_members=2, random_state=0), members
    )


def test_bound_of_independent_cells_is_their_probability(independent, cube):
    """By an exact network: the log-probability of the class, and the density of the rate in it."""
    exact = independent.classes_.model_
    rain = np.full((2, 8, 8), 2.5, dtype=np.float32)
    try:
        independent.classes_.model_ = with_constant_network(exact)
        scores = [independent.score_samples(r)[0] for r in (rain, 0 * rain)]
    finally:
        independent.classes_.model_ = exact
    density = independent.rates_.log_density(np.array([2.5]))[0]
    assert scores[0] == pytest.approx(128 * (float(CLASS_LAW[3].log()) + density), rel=1e-5)
    assert scores[1] == pytest.approx(128 * float(CLASS_LAW[0].log()), rel=1e-5)


def test_second_stage_that_knows_nothing_has_the_density_of_independent_cells(model):
    """An exact network of white normal scores, whose bound has to be the closed form's."""
    learnt = model.intensities_.model_
    drawn = np.random.default_rng(0).gamma(0.5, 4.0, (2, 2, 48, 48))
    rain = np.where(drawn > 0.2, drawn, 0).astype(np.float32)
    classes = intensity_classes(rain)
    try:
        space = LatentSpace(learnt.latent.transformer, RAISED, 1.0, learnt.latent.trace)
        model.intensities_.model_ = replace(learnt, network=NoNetwork(), latent=space)
        stage = RateStage(model.rates_, model.intensities_)
        bound = stage.log_density(rain, classes, torch.device("cpu"))
    finally:
        model.intensities_.model_ = learnt
    wet = classes > 0
    expected = np.where(wet, model.rates_.log_density(rain), 0).sum((1, 2, 3))
    np.testing.assert_allclose(bound, expected, atol=0.1 * wet[0].sum(), rtol=0)


def test_scores_are_finite_for_every_kind(model, cube):
    assert np.isfinite(model.score(cube))
    ordinal = TwoStageDiffusion(first_stage("ordinal"), "independent").fit(cube)
    assert ordinal.score_samples(cube).shape == (6,)


def test_model_of_classes_alone_draws_one_rate_a_class_and_goes_through_a_file(cube, tmp_path):
    model = first_stage().fit(cube)
    rain = np.asarray(model.sample(2))
    assert len(np.unique(rain)) <= 6 and 0 in rain
    model.save(tmp_path / "model.safetensors")
    read = PrecipDiffusion.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(read.sample(2), rain)


def test_what_a_model_of_classes_cannot_do_is_refused_by_name(cube):
    rain = np.asarray(cube)
    model = first_stage().fit(rain)
    for ask in (
        lambda: model.impute(rain[:2], rain[:2] > 1, w_r=1.0),
        lambda: model.impute(rain[:2], rain[:2] > 1),
        lambda: model.score_samples(rain),
        lambda: model.sample(log_likelihood=lambda rain: rain.sum()),
        lambda: model.downscale(rain[:2, :4, :4], 2),
        lambda: first_stage().set_params(sampler="heun").fit(rain),
    ):
        with pytest.raises(ValueError, match=r"corruption=.*masking"):
            ask()
    with pytest.raises(ValueError, match="amortised=True"):
        first_stage().set_params(amortised=True).fit(cube)


def test_what_two_stages_cannot_do_is_refused_with_the_reason(independent, cube):
    for ask, reason in (
        (lambda: independent.impute(cube, w_r=1.0), "takes no w_r=: w_r acts on expected rain"),
        (lambda: independent.forecast(cube, 1, method="replacement"), "the only method"),
        (lambda: independent.sample(1, batch_size=2), "set classes__batch_size"),
        (lambda: independent.sample(1, y=0), "told nothing but each other"),
    ):
        with pytest.raises(TypeError, match=reason):
            ask()
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_step'"):
        independent.sample(1, n_step=2)
    for name in ("downscale", "condition", "simulate", "network_", "nonsense"):
        assert not hasattr(independent, name)
    with pytest.raises(AttributeError, match="acts on expected rain"):
        independent.downscale(cube, 2)
    with pytest.raises(ValueError, match="y is not None"):
        first = TwoStageDiffusion(first_stage(), "independent")
        first.fit(cube, np.zeros(len(cube)))
    with pytest.raises(ValueError, match="X is a list of cubes"):
        first.fit([cube, cube])
    with pytest.raises(ValueError, match="missing in all of its last"):
        independent.forecast(cube.where(cube.time < cube.time[-3]), 1)


def test_a_copy_is_one_whether_fitted_or_not(independent):
    copied = pickle.loads(pickle.dumps(independent))
    np.testing.assert_array_equal(copied.sample(1), independent.sample(1))
    assert not hasattr(copy.deepcopy(clone(independent)), "rates_")


def test_frames_between_are_imputed(independent, cube):
    between = independent.interpolate(cube[:9:3], 3, n_samples=2, random_state=0)
    assert between.shape == (2, 7, 8, 8)
    np.testing.assert_array_equal(between[:, ::3], np.broadcast_to(cube[:9:3], (2, 3, 8, 8)))
    np.testing.assert_array_equal(between.time, cube.time[:7])
    apart = np.full((7, 8, 8), np.nan, np.float32)
    apart[::3] = cube[:9:3]
    np.testing.assert_array_equal(independent.impute(apart, n_samples=2, random_state=0), between)


def test_rain_as_lists_is_learnt_as_its_array(model, cube):
    lists = TwoStageDiffusion(first_stage(), random_state=0).fit(np.asarray(cube).tolist())
    np.testing.assert_array_equal(lists.sample(1), model.sample(1))


def test_stages_that_do_not_fit_are_named(cube):
    with pytest.raises(ValueError, match="must be a PrecipDiffusion that diffuses classes"):
        TwoStageDiffusion(PrecipDiffusion(**OPTIONS)).fit(cube)
    with pytest.raises(ValueError, match=r"intensities has n_frames=3 and classes n_frames=2"):
        second = PrecipDiffusion(**{**OPTIONS, "n_frames": 3})
        TwoStageDiffusion(first_stage(), second).fit(cube)
    with pytest.raises(ValueError, match=r"intensities has corruption='ordinal', which draws"):
        TwoStageDiffusion(first_stage(), first_stage("ordinal")).fit(cube)
    with pytest.raises(ValueError, match="intensities='none' must be"):
        TwoStageDiffusion(first_stage(), "none").fit(cube)


def test_edges_are_those_of_the_first_stage(cube):
    corruption = ClassCorruption(edges=(0.1, 2.0))
    second = PrecipDiffusion(**OPTIONS, network=NetworkSettings(skip="wiener"))
    model = TwoStageDiffusion(first_stage(corruption), second, random_state=0).fit(cube)
    assert model.rates_.edges.tolist() == pytest.approx([0.1, 2.0])
    assert set(np.unique(model.sample_classes(2))) <= {0, 1, 2}
    assert len(INTENSITY_EDGES) == 5
