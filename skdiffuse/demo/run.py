"""The whole way once: from rain to new rain, filled frames, a nowcast and the scores."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.baselines import Climatology, Persistence
from skdiffuse.cubes import open_cube, validate_cube, write_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.demo.known_models import model_of_made_up_rain, model_that_knows
from skdiffuse.demo.report import write_report
from skdiffuse.demo.result import WET, DemoResult
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.settings import SamplerSettings, TrainingSettings
from skdiffuse.runtime.whole_files import write_whole

__all__ = ["run_demo"]

# Of a model that is trained here, for so many minutes unless it is said for how many.
N_FRAMES = 8
CROP = 32
MINUTES = 4.0
# As much as fits into some minutes of two cores in windows of 10 x 64 x 64.
N_GENERATED = 32
N_CASES = 5
N_MEMBERS = 4
N_STEPS = 20
N_STEPS_GUIDED = 12
WET_SHARE = 0.05


def run_demo(
    data: str | Path | None = None,
    *,
    minutes: float | None = None,
    out: str | Path = "demo",
    random_state: int = 0,
) -> DemoResult:
    """Report what a model can do: one of the package that knows such rain, or one trained here.

    Parameters
    ----------
    data : str, Path or None, default=None
        File that `open_cube` reads; None makes synthetic rain.
    minutes : float or None, default=None
        Time to train a small model on the first four fifths of the rain. None: no training where a
        model of the package knows rain of this step and grid, 4 minutes elsewhere.
    out : str or Path, default="demo"
        Folder for ``report.html`` and its pictures, ``scores.json``, ``samples.nc`` and
        ``nowcast.nc``; of a model that is trained here ``model.safetensors`` and checkpoints, too.
    random_state : int, default=0

    Returns
    -------
    DemoResult

    Raises
    ------
    ValueError
        If the cube is too short for the demo, or `minutes` is not positive.
    """
    if minutes is not None and not minutes > 0:
        raise ValueError(f"minutes={minutes!r} must be positive.")
    began = time.monotonic()
    cube, source = _cube(data, random_state)
    found = _known_model(cube, made_up=data is None) if minutes is None else None
    earlier, held_out = _split(cube, N_FRAMES if found is None else found[0].n_frames)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    name: str | None = None
    if found is None:
        model = _trained(earlier, minutes or MINUTES, out, random_state)
    else:
        model, name = found

    generated = model.sample(N_GENERATED, n_steps=N_STEPS, random_state=random_state)
    # As the model was fitted to one.
    assert isinstance(generated, xr.DataArray)
    write_cube(generated, out / "samples.nc")
    windows = _windows(held_out, model)
    cases = _wet_cases(windows, random_state)
    options: dict[str, Any] = {"n_steps": N_STEPS_GUIDED, "random_state": random_state}
    filled = model.interpolate(cases[:, :-1:2], n_samples=N_MEMBERS, **options)
    interpolated = {
        "model": np.asarray(filled)[:, :, 1::2],
        "linear in time": 0.5 * (cases[None, :, :-2:2] + cases[None, :, 2::2]),
    }
    past, horizon = cases[:, : model.n_frames // 2], model.n_frames - model.n_frames // 2
    baselines: dict[str, Persistence | Climatology] = {
        "persistence": Persistence().fit(earlier),
        "climatology": Climatology(random_state=random_state).fit(earlier),
    }
    nowcast = {
        "model": np.asarray(model.forecast(past, horizon, n_members=N_MEMBERS, **options)),
        **{
            what: np.asarray(baseline.forecast(past, horizon, n_members=N_MEMBERS))
            for what, baseline in baselines.items()
        },
    }
    write_cube(_last_nowcast(model, held_out, options), out / "nowcast.nc")

    result = DemoResult(
        source=source,
        model=model,
        name=name,
        held_out_loss=model.denoising_loss(held_out, n_draws=2),
        held_out=windows,
        earlier=_windows(earlier, model),
        generated=np.asarray(generated),
        cases=cases,
        interpolated=interpolated,
        nowcast=nowcast,
        minutes=(time.monotonic() - began) / 60,
    )
    write_whole(out / "scores.json", (json.dumps(result.scores(), indent=2) + "\n").encode())
    write_report(result, out / "report.html")
    return result


def _known_model(cube: xr.DataArray, made_up: bool) -> tuple[PrecipDiffusion, str] | None:
    found = model_of_made_up_rain() if made_up else model_that_knows(cube)
    if found is not None:
        found[0].set_params(verbose=False)
    return found


def _trained(rain: xr.DataArray, minutes: float, out: Path, random_state: int) -> PrecipDiffusion:
    model = PrecipDiffusion(
        n_frames=N_FRAMES,
        crop_size=CROP,
        max_time=60 * minutes,
        sampler=SamplerSettings(n_steps=N_STEPS),
        training=TrainingSettings(max_epochs=10**6),
        checkpoint_dir=out / "checkpoints",
        random_state=random_state,
    ).fit(rain)
    model.save(out / "model.safetensors")
    return model


def _cube(data: str | Path | None, random_state: int) -> tuple[xr.DataArray, str]:
    if data is not None:
        return open_cube(data).load(), Path(data).name
    # Another draw than the one that the model with a name has learnt, of the same law.
    seed = 1000 + random_state
    cube = make_precipitation(1200, (64, 64), correlation_length=6.0, random_state=seed)
    return cube, "made-up rain (make_precipitation), whose law is known"


def _split(cube: xr.DataArray, n_frames: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Hold out the last fifth in time."""
    if cube.ndim != 3:
        raise ValueError(
            f"The demo takes one series (time, y, x); the cube has dimensions {cube.dims}. "
            "Choose one member with open_cube(..., member=...) and use the estimator."
        )
    n_times = cube.shape[0]
    n_held_out = max(n_frames, n_times // 5)
    if n_times - n_held_out < n_frames:
        raise ValueError(
            f"The cube has {n_times} frames; the demo needs at least {2 * n_frames} to know "
            f"sequences of {n_frames} and to hold out as many."
        )
    return cube[:-n_held_out], cube[-n_held_out:]


def _windows(cube: xr.DataArray, model: PrecipDiffusion) -> np.ndarray:
    """Windows side by side, without overlap, that lack no value: (n, time, y, x)."""
    n_frames, shape = model.n_frames, model.field_shape_
    checked = validate_cube(cube, n_frames=n_frames)
    windows = [
        checked.window(sequence, start, n_frames, y, x)
        for sequence, start, y, x in checked.tiles(n_frames, shape)
    ]
    whole = [window for window in windows if np.isfinite(window).all()]
    if not whole:
        raise ValueError(
            f"The cube has no stretch of {n_frames} frames of {shape} cells without missing "
            "values, with which the demo could compare."
        )
    return np.stack(whole)


def _wet_cases(windows: np.ndarray, random_state: int) -> np.ndarray:
    """Cases drawn among the windows that are wet enough to tell forecasts apart."""
    wet = np.mean(windows >= WET, axis=(1, 2, 3))
    enough = np.flatnonzero(wet >= WET_SHARE)
    if len(enough) < N_CASES:
        return windows[np.argsort(-wet, kind="stable")[:N_CASES]]
    return windows[np.random.default_rng(random_state).permutation(enough)[:N_CASES]]


def _last_nowcast(
    model: PrecipDiffusion, held_out: xr.DataArray, options: dict[str, Any]
) -> xr.DataArray:
    """A nowcast from the end of the held-out series, with its coordinates."""
    rows, columns = model.field_shape_
    past = held_out[-(model.n_frames // 2) :]
    wet = np.nan_to_num(np.asarray(past)).mean(axis=0)
    y, x = np.unravel_index(wet.argmax(), wet.shape)
    top = min(max(y - rows // 2, 0), wet.shape[0] - rows)
    left = min(max(x - columns // 2, 0), wet.shape[1] - columns)
    region = past[:, top : top + rows, left : left + columns]
    nowcast = model.forecast(region, model.n_frames // 2, n_members=N_MEMBERS, **options)
    # As the region is one.
    assert isinstance(nowcast, xr.DataArray)
    return nowcast
