"""Weights that are kept: small enough, readable, and rain comes out."""

from pathlib import Path

import pytest

import skdiffuse
from skdiffuse import PrecipDiffusion
from skdiffuse.training import read_tensors

FILES = sorted((Path(skdiffuse.__file__).parent / "weights").glob("*.safetensors"))


def test_there_are_some():
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_makes_rain(file):
    """A storm is as strong as ordered, and no cell absurd."""
    assert file.stat().st_size < 6e6
    tensors, _ = read_tensors(file)
    assert all(tensor.double().isfinite().all() for tensor in tensors.values())
    model = PrecipDiffusion.load(file).set_params(device="cpu", verbose=False)
    rain = model.sample(1, storm={"mean": 0.5}, n_steps=4, random_state=0)
    assert rain.shape == (1, model.n_frames, *model.field_shape_)
    assert float(rain.mean()) == pytest.approx(0.5, rel=0.02)
    assert 1 < float(rain.max()) < 500
    assert model.n_iter_ > 1000
