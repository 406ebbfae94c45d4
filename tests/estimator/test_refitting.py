"""Fitting again: going on, failing half way, and what is carried along or left behind."""

import pickle

import numpy as np
import pytest
import torch

from skdiffuse import NetworkSettings, PrecipDiffusion, SamplerSettings, make_precipitation
from skdiffuse.diffusion import LinearLogSNRSchedule
from skdiffuse.estimator import fitting
from skdiffuse.networks import PRESETS

OPTIONS = {
    "n_frames": 2,
    "max_steps": 2,
    "sampler": SamplerSettings(n_steps=2),
    "random_state": 0,
    "verbose": False,
}


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(24, (8, 8), random_state=0)


@pytest.fixture
def narrow(monkeypatch):
    """What is refused is so whatever the width."""
    for name, width in (("tiny", 8), ("small", 16)):
        monkeypatch.setitem(PRESETS, name, {"width": width, "multipliers": (1, 2), "patch_size": 2})


@pytest.fixture
def model(cube):
    return PrecipDiffusion(**OPTIONS, warm_start=True).fit(cube)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_frames", 3),
        ("network", "small"),
        ("network__edges", "periodic"),
        ("network__geography", False),
        ("network__skip", None),
        ("network__skip", "wiener"),
        ("network__weathers", (4, 1)),
        ("schedule", LinearLogSNRSchedule(-10.0, 10.0)),
        ("transformer", "log"),
        ("amortised", True),
        ("latent_scaling", "range"),
        ("trace", 0.1),
        ("batch_size", 4),
        ("crop_size", 4),
        ("training__learning_rate", 1e-4),
        ("training__learning_rate_schedule", "cosine"),
        ("training__weight_decay", 0.1),
        ("training__symmetries", True),
        ("training__validation_fraction", 0.3),
        ("training__train_transformer", False),
        ("random_state", 1),
    ],
)
def test_going_on_with_other_parameters_is_refused(narrow, model, cube, tmp_path, name, value):
    """In the same process as from a checkpoint."""
    before = {k: v.clone() for k, v in model.network_.state_dict().items()}
    model.set_params(**{name: value}, max_steps=3)
    with pytest.raises(ValueError, match="warm_start=True goes on with a training that had other"):
        model.fit(cube)
    assert model.n_iter_ == 2
    for key, weights in model.network_.state_dict().items():
        assert torch.equal(weights, before[key])
    kept = PrecipDiffusion(**OPTIONS, warm_start=True, checkpoint_dir=tmp_path)
    kept.fit(cube)
    other = PrecipDiffusion(**OPTIONS, warm_start=True, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"is of another\s+training"):
        other.set_params(**{name: value}, max_steps=3).fit(cube)


def test_going_on_with_other_rain_is_allowed(model, cube):
    other = make_precipitation(30, (8, 8), random_state=1)
    model.set_params(max_steps=4).fit(other)
    assert model.n_iter_ == 4


def test_a_refit_that_fails_half_way_leaves_the_model_as_it_was(model, cube, monkeypatch):
    drawn = model.sample(1)
    model.set_params(warm_start=False, transformer="log", n_frames=3)

    def fails(*arguments):
        raise MemoryError("no room for a spectrum")

    monkeypatch.setattr(fitting, "_start", fails)
    with pytest.raises(MemoryError, match="no room"):
        model.fit(cube[:, :4])
    np.testing.assert_array_equal(model.sample(1), drawn)
    assert model.field_shape_ == (8, 8)
    assert type(model.transformer_).__name__ == "SqrtTransform"


def test_a_first_fit_that_fails_leaves_nothing(cube, monkeypatch):
    def fails(*arguments):
        raise MemoryError("no room for a spectrum")

    monkeypatch.setattr(fitting, "_start", fails)
    model = PrecipDiffusion(**OPTIONS)
    with pytest.raises(MemoryError):
        model.fit(cube)
    assert not [name for name in vars(model) if name.endswith("_")]
    for name in ("latent_", "network_", "transformer_", "schedule_", "field_shape_", "template_"):
        assert not hasattr(model, name)


def test_a_file_keeps_no_device_no_folder_and_plain_numbers(cube, tmp_path, monkeypatch):
    model = PrecipDiffusion(
        n_frames=np.int64(2),
        max_steps=np.int32(2),
        batch_size=np.int64(4),
        trace=np.float32(0.02),
        amortised=np.bool_(False),
        sampler=SamplerSettings(n_steps=np.int64(2)),
        checkpoint_dir=tmp_path / "run",
        device="cpu",
        random_state=np.int64(3),
        verbose=False,
    ).fit(cube)
    model.set_params(device="cuda")
    model.save(tmp_path / "m")
    back = PrecipDiffusion.load(tmp_path / "m")
    assert (back.device, back.checkpoint_dir, back.random_state) == ("auto", None, 3)
    assert back.trace == pytest.approx(0.02)
    np.testing.assert_array_equal(back.sample(1), model.set_params(device="cpu").sample(1))


def test_files_of_an_earlier_format_are_refused_with_the_reason(model, tmp_path, monkeypatch):
    from skdiffuse.estimator import persistence

    with monkeypatch.context() as patch:
        patch.setattr(persistence, "FORMAT", 1)
        model.save(tmp_path / "old")
    with pytest.raises(ValueError, match=r"whose files this version .* no longer reads; fit"):
        PrecipDiffusion.load(tmp_path / "old")


def test_a_pickled_model_leaves_the_data_behind(cube):
    """Those trained on and those validated on, 16 times as large as what is pickled beside."""
    rain = make_precipitation(300, (8, 8), random_state=0).values
    model = PrecipDiffusion(**OPTIONS).set_params(training__validation_fraction=0.5)
    small = len(pickle.dumps(model.fit(rain[:40])))
    large = len(pickle.dumps(model.fit(rain)))
    assert abs(large - small) < 20_000


def test_a_pickled_model_leaves_the_trainer_behind_where_nobody_goes_on(cube):
    """The optimiser's memory and the weights it moves: more than three times the model."""
    model = PrecipDiffusion(**OPTIONS).fit(cube)
    n_bytes = 4 * sum(p.numel() for p in model.network_.parameters())
    assert len(pickle.dumps(model)) < 1.1 * n_bytes
    model.set_params(warm_start=True)
    assert len(pickle.dumps(model)) > 3 * n_bytes
    back = pickle.loads(pickle.dumps(model)).set_params(max_steps=3).fit(cube)
    assert back.n_iter_ == 3


class Wide(NetworkSettings):
    """A user's subclass."""


def test_subclasses_of_settings_are_settings(cube):
    model = PrecipDiffusion(**OPTIONS, network=Wide(edges="reflect")).fit(cube)
    assert model.model_.plan.edges == ("reflect", "reflect")
