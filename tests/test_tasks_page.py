"""The page on tasks runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

from skdiffuse.networks import PRESETS


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_examples_run(monkeypatch):
    # Shapes and what is refused have nothing to do with how wide a network is.
    monkeypatch.setitem(PRESETS, "tiny", {**PRESETS["tiny"], "width": 8, "multipliers": (1, 2)})
    page = (Path(__file__).parents[1] / "docs/tasks.md").read_text()
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, names)
    promised = dict(re.findall(r"^(\w+) = .*# (\([\d, ]+\))", page, re.MULTILINE))
    assert len(promised) >= 5
    for name, shape in promised.items():
        assert str(tuple(names[name].shape)) == shape, name
        assert np.isfinite(names[name]).all()
