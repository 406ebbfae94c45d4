"""A notebook that works in double precision gets the same model and the same rain."""

import numpy as np
import pytest
import torch

from skdiffuse import PrecipDiffusion, SamplerSettings, make_precipitation
from skdiffuse.networks.video_unet import PRESETS
from skdiffuse.runtime.default_dtype import single_precision


def everything(rain, path):
    model = PrecipDiffusion(
        n_frames=2, max_steps=2, sampler=SamplerSettings(n_steps=2), random_state=0, verbose=False
    ).fit(rain)
    model.save(path)
    return [
        model.sample(1),
        model.simulate(3),
        model.forecast(rain[:2], 1),
        model.downscale(rain[:2].coarsen(y=2, x=2).mean(), 2),
        np.array([model.score(rain), model.denoising_loss(rain)]),
        PrecipDiffusion.load(path).sample(1),
    ]


def test_the_default_dtype_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    rain = make_precipitation(8, (8, 8), random_state=0)
    expected = everything(rain, tmp_path / "model")
    torch.set_default_dtype(torch.float64)
    try:
        found = everything(rain, tmp_path / "model")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_it_is_put_back_after_an_error():
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(RuntimeError), single_precision():
            assert torch.zeros(1).dtype == torch.float32
            raise RuntimeError
        assert torch.zeros(1).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
