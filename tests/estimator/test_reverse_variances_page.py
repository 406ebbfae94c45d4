"""The page on reverse variances runs as it stands."""

import re
from pathlib import Path

from skdiffuse.networks.video_unet import PRESETS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reverse_variances.md"


def test_examples_run(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
        exec(block, names)
    assert set(names["model"].model_.errors.heads) == {"npr"}
