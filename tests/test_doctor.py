"""What the doctor says of a healthy installation, and of sick ones."""

import importlib.metadata

import numpy as np
import pytest
import torch

from skdiffuse import doctor
from skdiffuse.cli import main
from skdiffuse.doctor import examine
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion


def only(monkeypatch, *kept):
    """Leave out the parts of an examination that take time and are not asked about."""
    for name in ("_sampler_is_exact", "_devices_agree", "_model_works"):
        if name not in kept:
            monkeypatch.setattr(doctor, name, lambda: iter(()))


def found(name):
    return [finding for finding in examine() if finding.name == name]


def test_a_healthy_installation(monkeypatch, capsys, global_generators_stay_untouched):
    monkeypatch.setattr(doctor, "_STEPS", 2)
    assert main(["doctor"]) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    for name in ("packages: torch", "threads:", "speed:", "sampler:", "imputing:", "saving:"):
        assert f"ok      {name}" in said
    assert "steps/s" in said and said.endswith("All is well.\n")


@pytest.mark.parametrize(
    ("method", "broken", "name"),
    [
        ("sample", lambda self, n, **_: np.full((n, 4, 16, 16), -1.0), "sampling"),
        ("impute", lambda self, X, **_: np.zeros((1, *X.shape)), "imputing"),
        ("save", lambda self, path: (_ for _ in ()).throw(OSError("disk full")), "model"),
    ],
)
def test_what_does_not_work_fails(method, broken, name, monkeypatch, capsys):
    only(monkeypatch, "_model_works")
    monkeypatch.setattr(doctor, "_STEPS", 1)
    monkeypatch.setattr(PrecipDiffusion, method, broken)
    assert main(["doctor"]) == 1
    assert f"failure {name}: " in capsys.readouterr().out


def test_a_sampler_that_errs_is_noticed(monkeypatch):
    """One step where twenty are needed."""
    only(monkeypatch, "_sampler_is_exact")
    assert [f.status for f in found("sampler")] == ["ok"]
    grid = doctor.sampling_grid
    monkeypatch.setattr(doctor, "sampling_grid", lambda schedule, n, name: grid(schedule, 2, name))
    assert [f.status for f in found("sampler")] == ["failure"]


def test_packages(monkeypatch):
    only(monkeypatch)
    asked = ["numpy>=999", "absent-package", 'zarr>=999; extra == "lazy"', 'pytest; extra == "dev"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: asked)
    (failure,) = (f for f in found("packages") if f.status == "failure")
    assert f"numpy is {np.__version__}, and >=999 is needed" in failure.text
    assert "absent-package is not installed" in failure.text
    (advice,) = found("extra lazy")
    assert advice.status == "advice" and "pip install 'skdiffuse[lazy]'" in advice.text
    assert not found("extra dev")


def test_a_gpu_that_torch_cannot_use(monkeypatch):
    only(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.Path, "glob", lambda self, pattern: iter(["/dev/nvidia0"]))
    (finding,) = found("GPU")
    assert finding.status == "advice" and "CUDA build of torch" in finding.text


@pytest.mark.parametrize(
    ("threads", "bound", "text"),
    [
        (8, False, "more threads than cores wait for each other: set OMP_NUM_THREADS=4"),
        (1, False, "3 cores are idle"),
        (4, False, "OMP_PROC_BIND=true"),
        (4, True, None),
    ],
)
def test_threads(threads, bound, text, monkeypatch):
    only(monkeypatch)
    monkeypatch.setattr(doctor, "_cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("OMP_PROC_BIND", raising=False)
    if bound:
        monkeypatch.setenv("OMP_PROC_BIND", "true")
    advice = [f.text for f in found("threads") if f.status == "advice"]
    assert len(advice) == (text is not None)
    assert not advice or text in advice[0]
