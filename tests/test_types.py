"""What `py.typed` promises: a user's script sees real types, and its mistakes are found."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skdiffuse

ROOT = Path(__file__).parents[1]

# `assert_type` fails where a type is lost (Any), and an ignore that nothing needs is an error.
SCRIPT = """
from typing import assert_type

import numpy as np
import torch
import xarray as xr

from skdiffuse import (
    PrecipDiffusion, SqrtTransform, dissertation_model, make_precipitation, metrics, open_cube
)
from skdiffuse.baselines import Persistence
from skdiffuse.diffusion import (
    AdamsStep, GaussianDenoiser, KnownCells, TruncatedCosineSchedule, run_sampler, sampling_grid
)

assert_type(open_cube("rain.nc", units="mm h-1"), xr.DataArray)
open_cube(7)  # type: ignore[arg-type]
rain = make_precipitation(n_frames=4, shape=(16, 16), random_state=0)
assert_type(rain, xr.DataArray)
make_precipitation(frames=4)  # type: ignore[call-arg]

ensemble = np.stack([rain.values[1], rain.values[2]])
assert_type(metrics.crps_ensemble(rain.values[0], ensemble), float)
assert_type(
    metrics.crps_ensemble(rain[0], ensemble, axis=0, average=False), np.ndarray | xr.DataArray
)
metrics.crps_ensemble(rain[0], ensemble, average="cells")  # type: ignore[call-overload]
metrics.crps_ensemble(rain[0])  # type: ignore[call-overload]
metrics.crps_ensembles(rain)  # type: ignore[attr-defined]

denoiser = GaussianDenoiser(torch.zeros(1), torch.ones(1, 1))
grid = sampling_grid(TruncatedCosineSchedule(), 4, "tapered")
assert_type(run_sampler(denoiser, torch.ones(2, 1), grid, AdamsStep()), torch.Tensor)
run_sampler(denoiser, torch.ones(2, 1), grid, "adams")  # type: ignore[arg-type]

latent = SqrtTransform().fit(rain).transform(rain)
assert_type(latent, xr.DataArray)
assert_type(SqrtTransform().transform(rain.values), np.ndarray)
assert_type(Persistence().fit(rain).forecast(rain, 2), np.ndarray | xr.DataArray)
assert_type(PrecipDiffusion(random_state=0), PrecipDiffusion)

model = PrecipDiffusion("sqrt", n_frames=4, sampler=AdamsStep(), random_state=0).fit(rain)
assert_type(model, PrecipDiffusion)
assert_type(model.set_params(sampler__n_steps=16), PrecipDiffusion)
assert_type(model.sample(2, y=[0, 1], shape=(16, 24)), np.ndarray | xr.DataArray)
assert_type(model.forecast(rain, 2, n_members=3, w_r=1e3), np.ndarray | xr.DataArray)
assert_type(model.condition(KnownCells(torch.ones(1, 4, 16, 16))), np.ndarray)
assert_type(model.score_samples(rain), np.ndarray)
assert_type(model.score(rain), float)
assert_type(model.network_, torch.nn.Module)
assert_type(model.n_iter_, int)
assert_type(PrecipDiffusion.load("model.safetensors"), PrecipDiffusion)
assert_type(dissertation_model("learnt", max_steps=1), PrecipDiffusion)
PrecipDiffusion(n_frame=4)  # type: ignore[call-arg]
PrecipDiffusion(n_frames="4")  # type: ignore[arg-type]
model.forecast(rain)  # type: ignore[call-arg]
model.sample(2, shape=16)  # type: ignore[arg-type]
model.condition(rain)  # type: ignore[arg-type]
PrecipDifusion = skdiffuse.PrecipDifusion  # type: ignore[name-defined]
"""


def test_a_users_script_is_typed(tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    # With the settings and the cache of `make lint`, after which this takes a few seconds.
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_lazy_names_are_those_that_type_checkers_see():
    module = ast.parse(Path(skdiffuse.__file__).read_text())
    (branch,) = [node for node in module.body if isinstance(node, ast.If)]
    seen = {
        alias.name: statement.module
        for statement in branch.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == skdiffuse._HOMES
    assert set(skdiffuse.__all__) == {"__version__", *seen}
