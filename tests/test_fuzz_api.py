"""A share of the calls of benchmarks/fuzz_api.py, and whether it would notice what is unclear."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("dask")

_PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "fuzz_api.py"
_SPEC = importlib.util.spec_from_file_location("fuzz_api", _PATH)
fuzz_api = importlib.util.module_from_spec(_SPEC)
# What is pickled is looked for there.
sys.modules["fuzz_api"] = fuzz_api
_SPEC.loader.exec_module(fuzz_api)


def test_rain_or_a_clear_error_comes_of_every_call():
    tally = fuzz_api.Tally(strict=True, limit=60)
    fuzz_api.fuzz(tally, examples=6, steps=12)
    assert tally.calls >= 40
    assert tally.rain > 0
    assert tally.clear > 0


@pytest.mark.parametrize(
    "work",
    [
        lambda: {}["there is no such key in here"],
        lambda: np.zeros(3).reshape(2, 2),
        lambda: (_ for _ in ()).throw(ValueError("X is wrong, and that is all there is to say")),
        lambda: (_ for _ in ()).throw(SystemError("the interpreter is in disorder")),
    ],
)
def test_other_errors_are_noticed(work):
    tally = fuzz_api.Tally(strict=False)
    tally.call("fit", work, None)
    assert tally.figures()["unclear"] + tally.figures()["crashes"] == 1


def test_wrong_results_are_noticed():
    tally = fuzz_api.Tally(strict=False)
    machine = fuzz_api.make_machine(tally)()
    for wrong in (np.full((1, 2), np.nan), -np.ones((1, 2)), np.ones((2, 2))):
        tally.call("sample", lambda wrong=wrong: wrong, lambda r: machine.is_rain(r, (1,)))
    machine.teardown()
    assert tally.figures()["unclear"] == 3
