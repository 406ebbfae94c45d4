"""`PrecipDiffusion(corruption=...)`: every one trains, samples and is kept, or refuses by name."""

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skdiffuse import KeepingSettings, PrecipDiffusion, make_precipitation
from skdiffuse.corruptions import (
    BlurCorruption,
    CoarseGrainingCorruption,
    EncodedCorruption,
    GaussianCorruption,
    StudentTCorruption,
)
from skdiffuse.diffusion import ArealMean, DPMSolverStep, KnownCells
from skdiffuse.estimator.fitting import _as_they_come
from skdiffuse.networks import VideoUNet


def small(**options):
    return VideoUNet(4, (1, 2), **{k: v for k, v in options.items() if k in NETWORK})


NETWORK = ("in_channels", "out_channels", "n_covariates", "n_labels", "edges")
RAIN = make_precipitation(n_frames=12, shape=(8, 8), random_state=0)
FAMILY = {
    "student_t": StudentTCorruption(nu=3.0),
    "student_t of each cell": StudentTCorruption(nu=3.0, coupled=False),
    "blur": BlurCorruption(width=2.0),
    "blur, cold": BlurCorruption(width=2.0, noise_level=0.0, norm=1),
    "coarse_graining": CoarseGrainingCorruption(noise_level=0.1, of_rain=True),
    "blur of rain": BlurCorruption(width=2.0, of_rain=True),
    "blur of rain, cold": BlurCorruption(width=2.0, noise_level=0.0, of_rain=True),
    "encoded": EncodedCorruption(width=4, n_steps=2),
    "encoded together": EncodedCorruption(width=4, n_steps=2, joint=True),
}


def make(corruption, **options):
    given = {"n_frames": 3, "network": small, "max_steps": 2, "batch_size": 4, "random_state": 0}
    given |= {"verbose": False, "device": "cpu"} | options
    return PrecipDiffusion(corruption=corruption, **given).set_params(
        sampler__n_steps=3, network__skip=None
    )


@pytest.fixture(scope="module")
def fitted():
    return {name: make(corruption).fit(RAIN) for name, corruption in FAMILY.items()}


def rain_of(array):
    return np.asarray(array)


@pytest.mark.parametrize("name", FAMILY)
def test_samples_rain_and_survives_a_file(fitted, name, tmp_path):
    model = fitted[name]
    rain = rain_of(model.sample(3))
    assert rain.shape == (3, 3, 8, 8)
    assert (rain >= 0).all()
    # Each sample by its own stream, however they are batched.
    np.testing.assert_allclose(rain[2:], rain_of(model.sample(1, first=2)), atol=1e-4)
    model.save(tmp_path / "model")
    loaded = PrecipDiffusion.load(tmp_path / "model", network=small)
    assert loaded.corruption == model.corruption
    np.testing.assert_array_equal(rain_of(loaded.sample(3)), rain)
    assert math.isfinite(model.denoising_loss(RAIN))


@pytest.mark.parametrize("name", ["student_t", "blur", "encoded", "encoded together"])
def test_a_training_in_two_parts_is_that_in_one(name, tmp_path):
    whole = make(FAMILY[name], max_steps=3).fit(RAIN)
    options = {"checkpoint_dir": tmp_path, "warm_start": True}
    make(FAMILY[name], max_steps=1, **options).fit(RAIN)
    parted = make(FAMILY[name], max_steps=3, **options).fit(RAIN)
    np.testing.assert_array_equal(rain_of(parted.sample(2)), rain_of(whole.sample(2)))
    with pytest.raises(ValueError, match="corruption: "):
        make("gaussian", max_steps=4, **options).fit(RAIN)


@pytest.mark.parametrize("name", ["student_t", "blur", "blur, cold", "coarse_graining"])
def test_known_cells_come_back_without_a_gradient(fitted, name):
    gaps = rain_of(RAIN[:3]).copy()
    gaps[1, 2:5] = np.nan
    filled = rain_of(fitted[name].impute(gaps))[0]
    known = np.isfinite(gaps)
    np.testing.assert_array_equal(filled[known], gaps[known])
    assert np.isfinite(filled).all()


@pytest.mark.parametrize("method", ["replacement", "restoration"])
@pytest.mark.parametrize("name", ["blur of rain", "blur of rain, cold", "coarse_graining"])
def test_downscaling_keeps_areal_means(fitted, name, method):
    # The law at the noisy end is one of windows, and a coarse field stands in for it.
    n = 3 if method == "replacement" else 4
    coarse = rain_of(RAIN[:n]).reshape(n, 4, 2, 4, 2).mean((2, 4))
    fine = rain_of(fitted[name].downscale(coarse, 2, method=method))[0]
    means = fine.reshape(n, 4, 2, 4, 2).mean((2, 4))
    np.testing.assert_allclose(means, coarse, rtol=1e-4, atol=1e-5)


def test_restoration_begins_at_the_coarse_field():
    """A network that adds nothing leaves of cold coarse-graining what it was given."""

    class Nothing(torch.nn.Module):
        def __init__(self, **options):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, z, log_snr):
            return self.weight * z

    model = make(
        CoarseGrainingCorruption(noise_level=0.0, of_rain=True), network=lambda **o: Nothing()
    )
    model = model.set_params(training__learning_rate=1e-12, trace=0.0).fit(RAIN)
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    fine = model.condition(ArealMean(coarse, 2), method="restoration")[0]
    expected = coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)
    np.testing.assert_allclose(fine, expected, atol=1e-3)


def test_gaussian_by_name_or_object_is_the_default_to_the_bit():
    default = make("gaussian").fit(RAIN).sample(2)
    for same in (GaussianCorruption(), StudentTCorruption(nu=math.inf)):
        np.testing.assert_array_equal(rain_of(make(same).fit(RAIN).sample(2)), rain_of(default))


def test_student_t_starts_from_the_same_closed_form_and_has_a_bound():
    model = make("student_t").set_params(network="tiny", network__skip="mixture").fit(RAIN)
    assert model.model_.prior is not None
    assert rain_of(model.sample(2)).shape == (2, 3, 8, 8)
    assert np.isfinite(model.score_samples(RAIN)).all()


@pytest.mark.parametrize("name", FAMILY)
def test_survives_pickling_and_cloning(fitted, name):
    model = fitted[name]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(rain_of(again.sample(1)), rain_of(model.sample(1)))
    assert clone(model).corruption == model.corruption


def test_student_t_can_be_told_what_is_known():
    model = make(StudentTCorruption(nu=3.0), amortised=True).fit(RAIN)
    gaps = rain_of(RAIN[:3]).copy()
    gaps[1] = np.nan
    filled = rain_of(model.impute(gaps, method="amortised"))[0]
    np.testing.assert_array_equal(filled[::2], gaps[::2])


def test_an_encoder_that_learns_with_the_network_is_averaged_with_it(tmp_path):
    keeping = {"checkpoint_dir": tmp_path, "keeping": KeepingSettings(average_snapshots=True)}
    model = make(FAMILY["encoded together"], max_steps=16)
    model.set_params(**keeping, training__learning_rate=0.01).fit(RAIN)
    assert {"loss", "loss_of_the_decoder"} <= model.history_[-1].keys()
    first, learnt = (
        model.model_.corruption.with_tensors({}).fit([torch.zeros(1, 3, 8, 8)], seed=0).tensors(),
        model.model_.corruption.tensors(),
    )
    assert "reference" not in learnt
    assert not learnt["shrink.0.weight"].allclose(first["shrink.0.weight"], atol=1e-3)
    # Nobody else changes it: what was fitted before is as it was.
    assert FAMILY["encoded together"].autoencoder is None
    narrower = pickle.loads(pickle.dumps(model)).reaverage(0.06)
    other = narrower.model_.corruption.tensors()
    assert not other["shrink.0.weight"].equal(learnt["shrink.0.weight"])
    assert np.isfinite(rain_of(narrower.sample(1))).all()


def test_an_encoder_is_not_trained_where_weights_are_shared():
    model = make(FAMILY["encoded together"]).set_params(training__sharded=True)
    with pytest.raises(ValueError, match=r"sharded=True shares the weights of the network alone"):
        model.fit(RAIN)


def test_encoder_makes_the_network_see_fewer_cells():
    seen = []

    class Watching(VideoUNet):
        def forward(self, z, log_snr, **told):
            seen.append(tuple(z.shape[1:]))
            return super().forward(z, log_snr, **told)

    make(FAMILY["encoded"], network=lambda **o: Watching(4, (1, 2))).fit(RAIN)
    assert set(seen) == {(3, 4, 4)}


@pytest.mark.parametrize(
    ("name", "ask", "named"),
    [
        ("blur", lambda m: m.score_samples(RAIN), "score_samples"),
        ("student_t of each cell", lambda m: m.score(RAIN), "score_samples"),
        ("encoded", lambda m: m.score(RAIN), "score_samples"),
        ("blur", lambda m: m.impute(RAIN, w_r=1.0), "w_r=1.0"),
        ("student_t", lambda m: m.impute(RAIN, method="reconstruction"), "method='reconstruction'"),
        ("encoded", lambda m: m.interpolate(RAIN[:2]), "method='replacement'"),
        ("encoded", lambda m: m.forecast(RAIN[:2], 1), "method='replacement'"),
        ("student_t", lambda m: m.downscale(RAIN, 1, method="restoration"), "'restoration'"),
        ("coarse_graining", lambda m: m.impute(RAIN, method="restoration"), "coarse field"),
        ("blur", lambda m: m.downscale(RAIN, 1, method="restoration"), "of_rain=True"),
        (
            "coarse_graining",
            lambda m: m.condition(KnownCells(torch.ones(1, 3, 8, 8)), method="restoration"),
            "coarse field",
        ),
        ("blur", lambda m: m.sample(shape=(16, 16)), "rain of shape"),
        ("blur", lambda m: m.impute(RAIN, n_resampling=2), "n_resampling=2"),
        ("blur", lambda m: m.sample(log_likelihood=lambda x: x.sum((1, 2, 3))), "log_likelihood"),
    ],
)
def test_what_a_corruption_cannot_do_is_refused_by_name(fitted, name, ask, named):
    with pytest.raises(ValueError, match=named) as caught:
        ask(fitted[name])
    assert "corruption" in str(caught.value) or named == "coarse field"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"corruption": "blur", "amortised": True}, "amortised=True"),
        ({"corruption": "blur", "sampler": "heun"}, "sampler=HeunStep"),
        ({"corruption": "student_t", "sampler": DPMSolverStep(eta=1.0)}, "sampler=DPMSolverStep"),
        ({"corruption": "warm"}, "corruption='warm'"),
        ({"corruption": EncodedCorruption(factor=8), "crop_size": 4}, "multiples of 8"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_before_training(options, named):
    with pytest.raises(ValueError, match=named):
        PrecipDiffusion(n_frames=3, max_steps=1, verbose=False, **options).fit(RAIN)


def test_windows_come_as_often_as_in_the_rain():
    """Batches prefer wet windows and say what each stands for; laws are learnt of neither."""
    dry, wet = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    batch = torch.cat([dry, wet, wet, wet]), torch.tensor([3.0, 1 / 3, 1 / 3, 1 / 3])
    parts = list(_as_they_come([batch] * 300, seed=0))
    assert [len(part) for part in parts] == [512, 512, 176]
    assert abs(torch.cat(parts).mean() - 0.25) < 0.05
