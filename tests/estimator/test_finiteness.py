"""Nobody is given a model or rain that is not finite."""

import dataclasses
import itertools
import math

import pytest
import torch
from torch import nn

from skdiffuse import PrecipDiffusion, SamplerSettings, make_precipitation
from skdiffuse.estimator import learning
from skdiffuse.estimator.finiteness import refuse_broken_rain
from skdiffuse.networks.video_unet import PRESETS
from skdiffuse.training.objective import TrainingObjective

OPTIONS = {
    "n_frames": 2,
    "max_steps": 3,
    "sampler": SamplerSettings(n_steps=2),
    "random_state": 0,
    "verbose": False,
}


@pytest.fixture(scope="module")
def rain():
    return make_precipitation(8, (8, 8), random_state=0)


@pytest.fixture
def model(rain, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    return PrecipDiffusion(**OPTIONS).fit(rain)


@pytest.mark.parametrize("n_steps", [1, 3, 10])
def test_a_training_that_diverges_gives_no_model(n_steps, rain, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    model = PrecipDiffusion(**OPTIONS).set_params(max_steps=n_steps, training__learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="learning_rate"):
        model.fit(rain)
    assert not hasattr(model, "model_")


def test_a_training_whose_second_half_took_no_step_gives_no_model(rain, monkeypatch):
    """Four bad steps of six are too few for 20 in a row, and leave finite weights."""
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    whole = TrainingObjective.forward
    steps = itertools.count(1)

    def forward(objective, rain, *args, **told):
        v, stretch = whole(objective, rain, *args, **told)
        if objective.training and torch.is_grad_enabled():
            v = v * (math.nan if next(steps) > 2 else 1.0)
        return v, stretch

    monkeypatch.setattr(TrainingObjective, "forward", forward)
    model = PrecipDiffusion(**OPTIONS).set_params(max_steps=6)
    with pytest.raises(FloatingPointError, match="all losses since half of them, are not finite"):
        model.fit(rain)
    assert not hasattr(model, "model_")


class Overflowing(nn.Module):
    """Fine in training, and not finite at a noise level that samples pass."""

    def __init__(self, **_):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, z, log_snr, **told):
        broken = (log_snr > 5) & (log_snr < 7.4) & (not self.training)
        return torch.where(broken.reshape(-1, 1, 1, 1), torch.nan, self.weight * z)


def test_a_network_that_samples_nothing_finite_gives_no_model(rain, monkeypatch):
    model = PrecipDiffusion(**OPTIONS, network=Overflowing)
    monkeypatch.setattr(learning, "refuse_broken_model", lambda *_: None)
    unguarded = PrecipDiffusion(**OPTIONS, network=Overflowing).fit(rain)
    with pytest.raises(FloatingPointError, match="1 of 1 generated sequences are not finite"):
        unguarded.sample(1, n_steps=10)
    monkeypatch.undo()
    with pytest.raises(FloatingPointError, match="what the model makes of noise is not finite"):
        model.fit(rain)
    assert not hasattr(model, "model_")


def test_broken_weights_are_neither_written_nor_read(model, tmp_path, monkeypatch):
    broken = next(p for p in model.network_.parameters() if p.ndim > 1)
    broken.data[0] = torch.nan
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match="The model to be saved has weights that are not finite"):
        model.save(path)
    assert not path.exists()
    monkeypatch.setattr("skdiffuse.estimator.persistence.refuse_broken_weights", lambda *_: None)
    model.save(path)
    monkeypatch.undo()
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    with pytest.raises(ValueError, match=r"The model in .*model\.safetensors has weights that are"):
        PrecipDiffusion.load(path)
    with pytest.raises(FloatingPointError, match="2 of 2 generated sequences are not finite"):
        model.sample(2)


def test_a_scale_that_is_not_a_number_is_a_broken_weight(model, tmp_path):
    latent = dataclasses.replace(model.latent_, scale=math.nan)
    model.model_ = dataclasses.replace(model.model_, latent=latent)
    with pytest.raises(ValueError, match="not finite"):
        model.save(tmp_path / "model.safetensors")


def test_finite_rain_passes():
    rain = torch.ones(2, 1, 2, 2)
    assert refuse_broken_rain(rain) is rain
    rain[1, 0, 0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match="1 of 2"):
        refuse_broken_rain(rain)
