"""Tasks put as known cells or means: gaps filled, frames in between, nowcasts, finer grids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from skdiffuse.cubes import Cube, dress, write_cube
from skdiffuse.diffusion import ArealMean
from skdiffuse.estimator.arguments import fields_of_cells
from skdiffuse.estimator.completion import fill
from skdiffuse.estimator.generation import condition, history_of
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.request import SamplingRequest
from skdiffuse.estimator.same_kind import RainKind
from skdiffuse.runtime.array_types import ArrayOrDataArray
from skdiffuse.runtime.seeds import integer_seed
from skdiffuse.runtime.streaming import spans, streamed

__all__ = [
    "as_asked",
    "context",
    "downscale",
    "forecast",
    "impute",
    "interpolate",
    "refined_in_time",
    "with_future",
]


def context(model: RainModel, cube: Cube, **factors: int) -> Cube:
    """Rain that a task starts from, with the time step of the model where its own is not told.

    Parameters
    ----------
    model : RainModel
    cube : Cube
    **factors
        See `RainKind.check`.

    Raises
    ------
    ValueError
        If the rain is of another kind than the model knows.
    """
    RainKind.of(model).check(cube, **factors)
    if cube.template is None or cube.time_step is not None or model.template is None:
        return cube
    # A single frame does not tell the time step; the training cube does.
    ours, theirs = model.template, cube.template
    number_step = ours.number_step if theirs.number_step is None else theirs.number_step
    template = replace(theirs, time_step=ours.time_step, number_step=number_step)
    return replace(cube, template=template)


def impute(
    model: RainModel,
    request: SamplingRequest,
    cube: Cube,
    known: np.ndarray,
    n_samples: int | None,
) -> ArrayOrDataArray:
    """Fill in what is not `known`, a bool for each value; see `PrecipDiffusion.impute`."""
    request = replace(request, y=fields_of_cells(request.y, cube.template))
    values = _floats(cube)
    members = 1 if n_samples is None else n_samples
    filled = fill(model, request, np.where(known, values, np.nan), members, cube=cube)
    filled = np.where(known, values, filled).astype(values.dtype)
    return dress(as_asked(filled, cube, n_samples), cube.template, history=history_of("impute"))


def interpolate(
    model: RainModel, request: SamplingRequest, cube: Cube, factor: int, n_samples: int | None
) -> ArrayOrDataArray:
    """Make the frames between the known ones; see `PrecipDiffusion.interpolate`."""
    request = replace(request, y=fields_of_cells(request.y, cube.template))
    refined = refined_in_time(cube, factor)
    known = np.isfinite(refined)
    members = 1 if n_samples is None else n_samples
    filled = fill(model, request, refined, members)
    filled = np.where(known, refined, filled).astype(refined.dtype)
    return dress(
        as_asked(filled, cube, n_samples),
        cube.template,
        time="refined",
        factor=factor,
        history=history_of("interpolate"),
    )


def forecast(
    model: RainModel,
    request: SamplingRequest,
    cube: Cube,
    horizon: int,
    n_members: int,
    out: str | Path | None,
) -> ArrayOrDataArray:
    """Continue sequences; see `PrecipDiffusion.forecast`."""
    request = replace(request, y=fields_of_cells(request.y, cube.template))
    sequence = with_future(cube, model.n_frames, horizon)

    def members(first: int, end: int) -> np.ndarray:
        filled = fill(model, request, sequence, end - first, first=first)[:, :, -horizon:]
        return filled[:, 0] if cube.is_series else filled

    def dressed(values: np.ndarray) -> ArrayOrDataArray:
        return dress(values, cube.template, time="continued", history=history_of("forecast"))

    if out is None:
        return dressed(members(0, n_members))
    cuts = spans(n_members, request.batch_size)
    lead = () if cube.is_series else (len(sequence),)
    shape = (*lead, horizon, *cube.field_shape)
    parts = (members(*cut) for cut in cuts)
    return streamed(parts, [(b - a, *shape) for a, b in cuts], 0, dressed, out, write_cube)


def downscale(
    model: RainModel, request: SamplingRequest, cube: Cube, factor: int, n_samples: int | None
) -> ArrayOrDataArray:
    """Make rain whose areal means are those of the cube; see `PrecipDiffusion.downscale`."""
    coarse = cube.frames().astype(np.float32)
    n, _, rows, columns = coarse.shape
    fine_shape = (rows * factor, columns * factor)
    members = 1 if n_samples is None else n_samples
    fine = np.empty((members, n, coarse.shape[1], *fine_shape), np.float32)
    for number, (first, end) in enumerate(cube.runs()):
        stretch = torch.from_numpy(coarse[:, first:end].copy())
        # Nothing is known of frames that are only there to fill a window.
        missing = max(0, model.n_frames - (end - first))
        stretch = torch.cat([stretch, stretch.new_full((n, missing, rows, columns), torch.nan)], 1)
        shape = (stretch.shape[1], *fine_shape)
        asked = replace(request, seed=integer_seed((request.seed + number) % 2**31))
        drawn = condition(model, asked, ArealMean(stretch, factor), members, shape)
        fine[:, :, first:end] = drawn[:, :, : end - first]
    fine = _with_areal_means(fine, coarse, factor)
    return dress(
        as_asked(fine, cube, n_samples),
        cube.template,
        space_factor=factor,
        history=history_of("downscale"),
    )


def refined_in_time(cube: Cube, factor: int) -> np.ndarray:
    """Frames of a cube with `factor` - 1 frames of NaN between each two."""
    if cube.breaks.any():
        raise ValueError(
            "X has gaps in time, which cannot be refined evenly; interpolate each stretch "
            "without a gap by itself."
        )
    values = _floats(cube)
    n, length, *field = values.shape
    refined = np.full((n, (length - 1) * factor + 1, *field), np.nan, values.dtype)
    refined[:, ::factor] = values
    return refined


def with_future(cube: Cube, n_frames: int, horizon: int) -> np.ndarray:
    """The last frames of a cube that a window of `n_frames` has room for, and `horizon` of NaN."""
    wanted = max(n_frames - horizon, n_frames // 2, 1)
    past = cube.frames(max(cube.runs()[-1][0], cube.n_times - wanted))
    if not np.isfinite(past).any():
        raise ValueError(
            f"X is missing in all of its last {past.shape[1]} frames, from which to forecast."
        )
    future = np.full((len(past), horizon, *cube.field_shape), np.nan, np.float32)
    return np.concatenate([past, future], axis=1)


def _floats(cube: Cube) -> np.ndarray:
    values = cube.frames()
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def as_asked(members: np.ndarray, cube: Cube, n_samples: int | None) -> np.ndarray:
    """Without the dimensions that the user did not ask for."""
    members = members[:, 0] if cube.is_series else members
    return members[0] if n_samples is None else members


def _with_areal_means(fine: np.ndarray, coarse: np.ndarray, factor: int) -> np.ndarray:
    """Multiply the cells of each block so that their mean is the coarse value."""
    *lead, rows, columns = fine.shape
    blocks = fine.reshape(*lead, rows // factor, factor, columns // factor, factor)
    mean = blocks.mean(axis=(-3, -1), keepdims=True, dtype=np.float64)
    wanted = coarse[..., :, None, :, None].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = blocks * (wanted / mean)
    # A block that was drawn dry gives no hint where its rain should fall.
    scaled = np.where(mean > 0, scaled, wanted)
    scaled = np.where(np.isfinite(wanted), scaled, blocks)
    return scaled.reshape(fine.shape).astype(np.float32)
