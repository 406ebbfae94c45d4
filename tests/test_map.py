"""The map in CONTRIBUTING.md leads where it says."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
MOST_STOPS = 6


def ways():
    """Each way of the map as (title, stops)."""
    if not PAGE.exists():
        return []
    section = PAGE.read_text().split("## The map")[1].split("\n## ")[0]
    parts = re.split(r"^\*\*(.+)\*\*$", section, flags=re.MULTILINE)[1:]
    return [
        (title, re.findall(r"^\d+\. `([\w/]+\.py):([\w.]+)`", text, re.MULTILINE))
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    ]


@pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")
def test_there_are_four_short_ways():
    assert len(ways()) == 4
    for title, stops in ways():
        assert 2 <= len(stops) <= MOST_STOPS, title


@pytest.mark.parametrize(
    ("file", "name"), [stop for _, stops in ways() for stop in stops], ids="{}".format
)
def test_stop_is_there(file, name):
    module = importlib.import_module("skdiffuse." + file.removesuffix(".py").replace("/", "."))
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    # Defined here, and not handed on from somewhere else.
    assert found.__module__ == module.__name__
