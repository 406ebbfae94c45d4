"""The page on the discrete DDPM runs as it stands, training included."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ddpm_in_six_steps.md"


def test_examples_run():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
        exec(block, names)
    assert names["gaps"][0] < 0.4
