"""What docs/training.md says of sampling on many devices, done."""

import multiprocessing
import os
import re
from pathlib import Path

import numpy as np
import pytest

from skdiffuse import PrecipDiffusion, SamplerSettings
from skdiffuse.datasets import make_precipitation
from skdiffuse.networks import PRESETS

PAGE = Path(__file__).parents[1] / "docs" / "training.md"


def run(code, folder, environment):
    os.chdir(folder)
    os.environ |= environment
    exec(code, {})


@pytest.mark.skipif(not PAGE.exists(), reason="needs the documentation")
def test_shares_of_processes_are_what_one_draws(tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    section = PAGE.read_text().split("## Sampling on many devices")[1]
    draw, gather = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    draw = draw.replace("1000", "5")
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    cube = make_precipitation(12, (8, 8), random_state=0)
    model = PrecipDiffusion(
        n_frames=3, max_steps=2, sampler=SamplerSettings(n_steps=3), random_state=0, verbose=False
    )
    model.fit(cube).save(tmp_path / "model.safetensors")
    # Forked, so that each does not import everything once more.
    context = multiprocessing.get_context("fork")
    shares = [
        context.Process(target=run, args=(draw, tmp_path, {"RANK": str(rank), "WORLD_SIZE": "2"}))
        for rank in range(2)
    ]
    for share in shares:
        share.start()
    for share in shares:
        share.join(90)
    assert [share.exitcode for share in shares] == [0, 0]
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(gather, found)
    one = model.sample(5, random_state=0)
    [storms] = found["storms"].data_vars.values()
    assert storms.dims == one.dims
    np.testing.assert_array_equal(storms.realization, one.realization)
    np.testing.assert_allclose(storms.values, one.values, atol=1e-5)
