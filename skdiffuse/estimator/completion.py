"""Filling in what is not known, in sequences of any length, window by window."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from skdiffuse.cubes import Cube
from skdiffuse.diffusion import KnownCells
from skdiffuse.estimator.drawing import draw
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.request import SamplingRequest
from skdiffuse.estimator.weather import DrawnWeather
from skdiffuse.runtime.seeds import derived_seed

__all__ = ["complete", "fill", "fill_window", "told_from"]


def complete(
    rain: Tensor,
    draw: Callable[[Tensor, Tensor, list[int], int], Tensor],
    *,
    n_frames: int,
    seeds: list[tuple[int, ...]],
) -> Tensor:
    """Fill in the unknown cells of sequences of any number of frames.

    A window of `n_frames` moves along the sequences in steps of half its length; what an earlier
    window has filled in is known to the later ones. Shorter sequences are continued by unknown
    frames up to `n_frames`, so that the network sees what it was trained on.

    Parameters
    ----------
    rain : Tensor of shape (n, time, y, x)
        In mm/h, NaN where unknown.
    draw : callable
        ``draw(rain, known, seeds, start)`` fills in sequences of `n_frames` frames, which begin at
        frame `start`.
    n_frames : int
    seeds : list of tuple of int
        What identifies each of the n sequences; the window's number is added to it.

    Returns
    -------
    Tensor of the shape of `rain`, without NaN

    Examples
    --------
    >>> import torch
    >>> def zeros(rain, known, seeds, start):
    ...     return torch.where(known, rain, 0.0)
    >>> nan = float("nan")
    >>> complete(torch.tensor([1.0, nan]).reshape(1, 2, 1, 1), zeros, n_frames=4,
    ...          seeds=[(0,)]).flatten()
    tensor([1., 0.])
    """
    length = rain.shape[1]
    missing = max(0, n_frames - length)
    unknown = rain.new_full((len(rain), missing, *rain.shape[2:]), torch.nan)
    rain = torch.cat([rain, unknown], dim=1)
    last = rain.shape[1] - n_frames
    starts = [*range(0, last, max(1, n_frames // 2)), last]
    for number, start in enumerate(starts):
        window = rain[:, start : start + n_frames]
        known = torch.isfinite(window)
        if known[:, : length - start].all():
            continue
        drawn = draw(window, known, [derived_seed(*seed, number) for seed in seeds], start)
        rain[:, start : start + n_frames] = torch.where(known, window, drawn)
    return rain[:, :length]


def told_from(
    model: RainModel, request: SamplingRequest, start: int, stop: int, length: int
) -> SamplingRequest:
    """The request of one window: of fields that go with the whole sequence its frames.

    Parameters
    ----------
    model : RainModel
    request : SamplingRequest
    start : int
        First frame of the window.
    stop : int
        One past the last frame of the sequence that the window goes with.
    length : int
        Frames of the sequence.

    Raises
    ------
    ValueError
        If the fields are of other frames.
    """
    if not model.told.means or request.y is None:
        return request
    fields = np.asarray(request.y)
    one_channel = len(model.told.means) == 1 and (fields.ndim < 4 or fields.shape[-3] != 1)
    axis = fields.ndim - (3 if one_channel else 4)
    n = fields.shape[axis] if axis >= 0 else 0
    if n not in (length, max(length, model.n_frames)):
        raise ValueError(
            f"y holds fields of {n} frames (shape {fields.shape}), and the sequence has {length}: "
            "give fields for all of its frames."
        )
    if n > length:
        return request
    part = fields.take(range(start, min(stop, start + model.n_frames)), axis=axis)
    # Of frames that only fill a window nothing is known, which is told as what is usual.
    missing = model.n_frames - part.shape[axis]
    widths = [(0, missing if k == axis else 0) for k in range(fields.ndim)]
    return replace(request, y=np.pad(part.astype(np.float32), widths, constant_values=np.nan))


def fill_window(
    model: RainModel,
    request: SamplingRequest,
    rain: Tensor,
    seeds: list[int],
    weather: DrawnWeather | None = None,
) -> Tensor:
    """Draw what is NaN in windows of rain in mm/h, given the rest.

    Parameters
    ----------
    model : RainModel
    request : SamplingRequest
    rain : Tensor of shape (n, frames, y, x)
    seeds : list of int
        One for each of the n windows.
    weather : DrawnWeather, optional
        Of each window, if it is known by which it was drawn. Where cells are known its classes are
        told and its means are not kept, and a network that learnt to be told cells is told neither.
    """
    known = torch.isfinite(rain)
    _, frames, rows, columns = rain.shape
    shape = frames, rows, columns
    if known.any():
        is_told = request.method != "amortised"
        classes = weather.classes if weather is not None and is_told else None
        drawn = draw(model, request, shape, seeds, KnownCells(rain), classes=classes)
        return torch.where(known, rain, drawn)
    # With nothing known this is sampling, whose weather is drawn first.
    if weather is None and model.weathers is not None and not request.changes_the_weather:
        weather = model.weathers.of_seeds(seeds)
    return draw(model, request, shape, seeds, weather=weather)


def fill(
    model: RainModel,
    request: SamplingRequest,
    rain: np.ndarray,
    n_samples: int,
    *,
    cube: Cube | None = None,
    first: int = 0,
) -> np.ndarray:
    """Fill in NaN, stretch by stretch between gaps in time.

    Parameters
    ----------
    model : RainModel
    request : SamplingRequest
    rain : ndarray of shape (n, time, y, x)
        In mm/h, NaN where unknown.
    n_samples : int
    cube : Cube, optional
        Whose gaps in time are those of `rain`; None: there is none.
    first : int
        Number of the first sample.

    Returns
    -------
    ndarray of float32, shape (n_samples, n, time, y, x)
    """
    n, length = rain.shape[:2]
    repeated = np.repeat(rain[None].astype(np.float32), n_samples, axis=0)
    members = torch.from_numpy(repeated.reshape(n_samples * n, *rain.shape[1:]))
    numbers = [(i, k) for i in range(first, first + n_samples) for k in range(n)]

    for start, end in [(0, length)] if cube is None else cube.runs():

        def draw_unknown(
            window: Tensor,
            known: Tensor,
            seeds: list[int],
            first: int,
            start: int = start,
            end: int = end,
        ) -> Tensor:
            told = told_from(model, request, start + first, end, length)
            return fill_window(model, told, torch.where(known, window, torch.nan), seeds)

        members[:, start:end] = complete(
            members[:, start:end],
            draw_unknown,
            n_frames=model.n_frames,
            seeds=[(request.seed, start, *number) for number in numbers],
        )
    return members.numpy().reshape(n_samples, *rain.shape)
