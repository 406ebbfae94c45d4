"""The page on what users expect: each cell of ours names a test that exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "expectations.md"


def rows():
    table = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table[1:]]


def test_every_row_is_whole():
    assert len(rows()) >= 30
    for row in rows():
        assert len(row) == 4 and all(row), row


def test_the_tests_that_are_named_exist():
    named = 0
    for expected, *_, ours in rows():
        found = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", ours)
        assert found, f"{expected!r}: {ours!r} names no test"
        for path, name in found:
            tree = ast.parse((ROOT / path).read_text())
            functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
            assert name in functions, f"{expected!r}: {path} has no {name}"
            named += 1
    assert named >= 30
