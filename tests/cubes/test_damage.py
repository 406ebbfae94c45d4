"""Every case of benchmarks/damage_matrix.py as a test."""

import importlib.util
import tempfile
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "damage_matrix.py"
_SPEC = importlib.util.spec_from_file_location("damage_matrix", _PATH)
damage_matrix = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(damage_matrix)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "error", "options"),
    [pytest.param(*rest, id=name) for name, *rest in damage_matrix.CASES],
)
def test_right_cube_or_clear_error(make, error, options):
    # Not tmp_path, which other users cannot enter.
    with tempfile.TemporaryDirectory() as folder:
        verdict, line = damage_matrix.outcome(make, error, options, Path(folder))
    assert verdict == ("opened_right" if error is None else "clear_errors"), line


def test_there_are_cases_of_both_kinds():
    errors = [error is not None for _, _, error, _ in damage_matrix.CASES]
    assert sum(errors) >= 40
    assert len(errors) - sum(errors) >= 40
