"""A user's own network, step rule, schedule and transform, without a change to the library."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone

from skdiffuse import NetworkSettings, PrecipDiffusion, SamplerSettings, make_precipitation
from skdiffuse.diffusion import (
    AdamsStep,
    HeunStep,
    LinearLogSNRSchedule,
    NoiseLevel,
    TaperedLogSNR,
    TruncatedCosineSchedule,
)

OPTIONS = {"n_frames": 2, "max_steps": 2, "random_state": 0, "verbose": False}
PAGE = Path(__file__).parents[2] / "docs" / "network.md"


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(12, (8, 8), random_state=0)


class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.zeros(()))

    def forward(self, z, log_snr):
        return self.factor * z


def scaled(*, n_frames, n_covariates, n_labels, field_shape, edges, power, prior):
    assert (n_frames, n_covariates, n_labels) == (2, 0, 0)
    assert (field_shape, edges) == ((8, 8), ("zero", "zero"))
    assert power is None
    assert prior.power.shape[1:] == (2, 8, 8)
    return Scaled()


class Euler:
    """First order in the angle."""

    evaluations, stochastic, remembers = 1, False, False

    def __call__(self, denoiser, z, log_snr, log_snr_next, memory, streams):
        x_hat = denoiser(z, log_snr)
        here, there = NoiseLevel.at(log_snr), NoiseLevel.at(log_snr_next)
        return z + (there.angle - here.angle) * here.v(z, x_hat), x_hat, None


class Halved(LinearLogSNRSchedule):
    """A schedule of a class that the library does not know."""


class FourthRoot(BaseEstimator):
    """A transform that inherits nothing of the library."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X**0.25

    def inverse_transform(self, X):
        return X.clamp(min=0) ** 4

    def log_jacobian(self, X):
        return -0.75 * torch.log(X) + np.log(0.25)


def test_own_network_learns_and_comes_back(cube, tmp_path):
    model = PrecipDiffusion(**{**OPTIONS, "max_steps": 20}, network=scaled).fit(cube)
    assert float(model.network_.factor) != 0
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"a network of its own, .*scaled, .* load\(path, network"):
        PrecipDiffusion.load(tmp_path / "m")
    back = PrecipDiffusion.load(tmp_path / "m", network=scaled)
    np.testing.assert_array_equal(back.sample(1), model.sample(1))
    with pytest.raises(ValueError, match="weights of another network"):
        PrecipDiffusion.load(tmp_path / "m", network=lambda **_: torch.nn.Conv1d(1, 1, 1))


def test_own_network_with_settings(cube):
    """Geography and edges are told to it as to the library's own."""
    seen = {}

    def network(**told):
        seen.update(told)
        return Scaled()

    settings = NetworkSettings(network, geography=False, edges="periodic", skip=None)
    PrecipDiffusion(**OPTIONS, network=settings).fit(cube)
    assert seen["field_shape"] is None
    assert seen["edges"] == ("periodic", "periodic")
    assert seen["power"] is None
    assert seen["prior"] is None


def test_a_function_that_makes_no_network(cube):
    with pytest.raises(TypeError, match=r"must return a torch.nn.Module .* returned int"):
        PrecipDiffusion(**OPTIONS, network=lambda **_: 3).fit(cube)


def test_own_step_is_taken_and_asked_for(cube, tmp_path):
    """Euler's method in the angle is DDIM: known by its closed form on the network v = c z."""
    model = PrecipDiffusion(**OPTIONS, network=scaled).fit(cube)
    euler = clone(model).set_params(sampler=SamplerSettings(Euler(), n_steps=4))
    euler.model_ = model.model_
    vars(euler).update(history_=[], n_iter_=2, n_skipped_=0)
    assert not np.array_equal(euler.sample(1), model.sample(1))
    euler.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"load\(path, network="):
        PrecipDiffusion.load(tmp_path / "m", sampler=Euler())
    with pytest.raises(ValueError, match=r"sampler of its own, .*Euler"):
        PrecipDiffusion.load(tmp_path / "m", network=scaled)
    back = PrecipDiffusion.load(tmp_path / "m", network=scaled, sampler=Euler())
    assert back.sampler.n_steps == 4
    np.testing.assert_array_equal(back.sample(1), euler.sample(1))


@pytest.mark.parametrize(
    "step", [HeunStep(), AdamsStep(order=3, coordinate=TaperedLogSNR(6.0))], ids=repr
)
def test_steps_and_schedules_of_the_library_are_restored(cube, tmp_path, step):
    schedule = TruncatedCosineSchedule(-9.0, 11.0)
    sampler = SamplerSettings(step, n_steps=3, spacing=TaperedLogSNR(5.0))
    model = PrecipDiffusion(**OPTIONS, schedule=schedule, sampler=sampler).fit(cube)
    model.save(tmp_path / "m")
    back = PrecipDiffusion.load(tmp_path / "m")
    assert back.sampler.step == step
    assert back.sampler.spacing == TaperedLogSNR(5.0)
    assert (back.schedule_.log_snr_min, back.schedule_.log_snr_max) == (-9.0, 11.0)
    np.testing.assert_array_equal(back.sample(1), model.sample(1))


def test_own_schedule_is_asked_for(cube, tmp_path):
    model = PrecipDiffusion(**OPTIONS, schedule=Halved(-8.0, 8.0)).fit(cube)
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"schedule of its own, .*Halved"):
        PrecipDiffusion.load(tmp_path / "m")
    back = PrecipDiffusion.load(tmp_path / "m", schedule=Halved(-8.0, 8.0))
    np.testing.assert_array_equal(back.sample(1), model.sample(1))


def test_own_transform_works_and_is_refused_in_a_file(cube, tmp_path):
    model = PrecipDiffusion(FourthRoot(), **OPTIONS).fit(cube)
    rain = np.asarray(model.sample(1))
    assert np.isfinite(rain).all() and (rain >= 0).all()
    np.testing.assert_allclose(
        model.latent_.decode(model.latent_.encode(torch.tensor([[0.0, 2.0]]))), [[0, 2]], rtol=1e-5
    )
    with pytest.raises(TypeError, match="FourthRoot"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not PAGE.exists(), reason="needs the documentation")
def test_the_page_runs_as_it_stands(tmp_path):
    section = PAGE.read_text().split("## Parts of your own")[1]
    [code] = re.findall(r"```python\n(.*?)```", section.split("## ")[0], re.DOTALL)
    names = {}
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        exec(code, names)
    finally:
        os.chdir(here)
    np.testing.assert_array_equal(names["again"].sample(2), names["storms"])
