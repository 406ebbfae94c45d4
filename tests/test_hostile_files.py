"""Every case of benchmarks/hostile_files.py as a test."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("zarr")
pytest.importorskip("fsspec")

_PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "hostile_files.py"
_SPEC = importlib.util.spec_from_file_location("hostile_files", _PATH)
hostile_files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hostile_files)


@pytest.mark.parametrize(
    ("attempt", "error"),
    [pytest.param(*rest, id=name) for name, *rest in hostile_files.CASES],
)
def test_refused_in_plain_words_and_nothing_is_run(attempt, error):
    verdict, line = hostile_files.outcome(attempt, error)
    assert verdict == "as_it_should", line


def test_what_is_run_would_be_noticed(tmp_path):
    """The witness itself."""
    import os
    import pickle

    def executed(folder):
        pickle.loads(pickle.dumps(hostile_files._Touch(folder.parent / "mark")))

    assert hostile_files.outcome(executed, None)[0] == "code_executed"
    assert hostile_files.outcome(lambda folder: os.system("true"), None)[0] == "code_executed"
