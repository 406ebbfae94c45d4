"""The whole way once: from a rain file to new rain, a filled gap, a nowcast and the scores."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import xarray as xr

from skdiffuse.baselines import Climatology, Persistence
from skdiffuse.cubes import open_cube, validate_cube, write_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.demo.report import write_report
from skdiffuse.demo.result import WET, DemoResult
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.settings import SamplerSettings, TrainingSettings
from skdiffuse.runtime.whole_files import write_whole

__all__ = ["run_demo"]

N_FRAMES = 8
CROP = 32
N_GENERATED = 48
N_CASES = 6
N_MEMBERS = 8
WET_SHARE = 0.05


def run_demo(
    data: str | Path | None = None,
    *,
    minutes: float = 4.0,
    out: str | Path = "demo",
    random_state: int = 0,
) -> DemoResult:
    """Train a small model for a few minutes and report what it can do.

    Parameters
    ----------
    data : str, Path or None, default=None
        File that `open_cube` reads; None makes synthetic rain.
    minutes : float, default=4.0
        Time to train.
    out : str or Path, default="demo"
        Folder for ``report.html``, ``scores.json``, ``samples.nc``, ``nowcast.nc``,
        ``model.safetensors`` and checkpoints.
    random_state : int, default=0

    Returns
    -------
    DemoResult

    Raises
    ------
    ValueError
        If the cube is too short for the demo, or `minutes` is not positive.
    """
    if not minutes > 0:
        raise ValueError(f"minutes={minutes!r} must be positive.")
    began = time.monotonic()
    cube, source = _cube(data, random_state)
    train, held_out = _split(cube)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)

    model = PrecipDiffusion(
        n_frames=N_FRAMES,
        crop_size=CROP,
        max_time=60 * minutes,
        sampler=SamplerSettings(n_steps=20),
        training=TrainingSettings(max_epochs=10**6),
        checkpoint_dir=out / "checkpoints",
        random_state=random_state,
    ).fit(train)
    model.save(out / "model.safetensors")

    generated = model.sample(N_GENERATED)
    # As the model was fitted to one.
    assert isinstance(generated, xr.DataArray)
    write_cube(generated, out / "samples.nc")
    windows = _windows(held_out, model.field_shape_)
    cases = _wet_cases(windows, random_state)
    interpolated = {
        "model": np.asarray(model.interpolate(cases[:, :-1:2], n_samples=N_MEMBERS))[:, :, 1::2],
        "linear in time": 0.5 * (cases[None, :, :-2:2] + cases[None, :, 2::2]),
    }
    past, horizon = cases[:, : N_FRAMES // 2], N_FRAMES - N_FRAMES // 2
    forecasters: dict[str, PrecipDiffusion | Persistence | Climatology] = {
        "model": model,
        "persistence": Persistence().fit(train),
        "climatology": Climatology(random_state=random_state).fit(train),
    }
    nowcast = {
        name: np.asarray(forecaster.forecast(past, horizon, n_members=N_MEMBERS))
        for name, forecaster in forecasters.items()
    }
    write_cube(_last_nowcast(model, held_out), out / "nowcast.nc")

    result = DemoResult(
        source=source,
        model=model,
        held_out_loss=model.denoising_loss(held_out, n_draws=2),
        held_out=windows,
        training=_windows(train, model.field_shape_),
        generated=np.asarray(generated),
        cases=cases,
        interpolated=interpolated,
        nowcast=nowcast,
        minutes=(time.monotonic() - began) / 60,
    )
    write_whole(out / "scores.json", (json.dumps(result.scores(), indent=2) + "\n").encode())
    write_report(result, out / "report.html")
    return result


def _cube(data: str | Path | None, random_state: int) -> tuple[xr.DataArray, str]:
    if data is not None:
        return open_cube(data).load(), Path(data).name
    cube = make_precipitation(1200, (CROP, CROP), correlation_length=6.0, random_state=random_state)
    return cube, "synthetic rain (make_precipitation), whose law is known"


def _split(cube: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Hold out the last fifth in time."""
    if cube.ndim != 3:
        raise ValueError(
            f"The demo takes one series (time, y, x); the cube has dimensions {cube.dims}. "
            "Choose one member with open_cube(..., member=...) and use the estimator."
        )
    n_times = cube.shape[0]
    n_held_out = max(N_FRAMES, n_times // 5)
    if n_times - n_held_out < N_FRAMES:
        raise ValueError(
            f"The cube has {n_times} frames; the demo needs at least {2 * N_FRAMES} to train on "
            f"sequences of {N_FRAMES} and to hold out as many."
        )
    return cube[:-n_held_out], cube[-n_held_out:]


def _windows(cube: xr.DataArray, shape: tuple[int, int]) -> np.ndarray:
    """Windows side by side, without overlap, that lack no value: (n, time, y, x)."""
    checked = validate_cube(cube, n_frames=N_FRAMES)
    windows = [
        checked.window(sequence, start, N_FRAMES, y, x)
        for sequence, start, y, x in checked.tiles(N_FRAMES, shape)
    ]
    whole = [window for window in windows if np.isfinite(window).all()]
    if not whole:
        raise ValueError(
            f"The cube has no stretch of {N_FRAMES} frames of {shape} cells without missing "
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


def _last_nowcast(model: PrecipDiffusion, held_out: xr.DataArray) -> xr.DataArray:
    """A nowcast from the end of the held-out series, with its coordinates."""
    rows, columns = model.field_shape_
    past = held_out[-N_FRAMES // 2 :]
    wet = np.nan_to_num(np.asarray(past)).mean(axis=0)
    y, x = np.unravel_index(wet.argmax(), wet.shape)
    top = min(max(y - rows // 2, 0), wet.shape[0] - rows)
    left = min(max(x - columns // 2, 0), wet.shape[1] - columns)
    region = past[:, top : top + rows, left : left + columns]
    nowcast = model.forecast(region, N_FRAMES // 2, n_members=N_MEMBERS)
    # As the region is one.
    assert isinstance(nowcast, xr.DataArray)
    return nowcast
