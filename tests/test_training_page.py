"""What docs/training.md says of sampling on many devices, done."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skdiffuse import PrecipDiffusion, SamplerSettings
from skdiffuse.datasets import make_precipitation

PAGE = Path(__file__).parents[1] / "docs" / "training.md"


@pytest.mark.skipif(not PAGE.exists(), reason="needs the documentation")
def test_shares_of_processes_are_what_one_draws(tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    section = PAGE.read_text().split("## Sampling on many devices")[1]
    draw, gather = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    draw = draw.replace("1000", "5")
    cube = make_precipitation(12, (8, 8), random_state=0)
    model = PrecipDiffusion(
        n_frames=3, max_steps=2, sampler=SamplerSettings(n_steps=3), random_state=0, verbose=False
    )
    model.fit(cube).save(tmp_path / "model.safetensors")
    for rank in range(2):
        environment = os.environ | {
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "PYTHONPATH": str(PAGE.parents[1]),
        }
        subprocess.run([sys.executable, "-c", draw], cwd=tmp_path, env=environment, check=True)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(gather, found)
    one = model.sample(5, random_state=0)
    [storms] = found["storms"].data_vars.values()
    assert storms.dims == one.dims
    np.testing.assert_array_equal(storms.realization, one.realization)
    np.testing.assert_allclose(storms.values, one.values, atol=1e-5)
