"""The examples of the page on conditioning run as they stand."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conditioning.md"


def test_examples_run():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
        exec(block, names)
    # the mean of the second frame lies between what was observed and what the first frame says
    mean = names["x"][:, 1].mean()
    assert 0.5 < mean < 0.9
