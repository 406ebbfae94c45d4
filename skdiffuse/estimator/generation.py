"""New rain: sequences for nothing or for an observation, and series of any length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs
from torch import Tensor

from skdiffuse._version import __version__
from skdiffuse.cubes import dress, write_cube
from skdiffuse.diffusion import Observation, window_starts
from skdiffuse.estimator.completion import fill_window, told_from
from skdiffuse.estimator.drawing import draw, speaks_of_windows
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.request import SamplingRequest
from skdiffuse.estimator.weather import DrawnWeather, Storm
from skdiffuse.runtime.array_types import ArrayOrDataArray
from skdiffuse.runtime.seeds import derived_seed
from skdiffuse.runtime.streaming import spans, streamed

__all__ = ["condition", "history_of", "sample", "simulate", "weather_of"]


def sample(
    model: RainModel,
    request: SamplingRequest,
    n_samples: int,
    *,
    shape: tuple[int, int],
    first: int = 0,
    storm: Storm | None = None,
    rare: float = 0.0,
    n_jobs: int | None = None,
    out: str | Path | None = None,
) -> ArrayOrDataArray:
    """Draw sequences of which nothing is known; see `PrecipDiffusion.sample`."""
    window = (model.n_frames, *shape)
    fields = len(model.told.means)
    of_all = ((), window, (window[0], fields, *shape))
    y_for_all = request.y is None or np.shape(request.y) in of_all

    def draw_some(start: int, stop: int) -> np.ndarray:
        seeds = [derived_seed(request.seed, first + i) for i in range(start, stop)]
        y = request.y if y_for_all else np.asarray(request.y)[start:stop]
        weather = weather_of(model, request, first + start, stop - start, storm, rare)
        return draw(model, replace(request, y=y), window, seeds, weather=weather).numpy()

    workers = 1 if n_jobs is None else effective_n_jobs(n_jobs)

    def draw_shared(start: int, stop: int) -> np.ndarray:
        share = -(-(stop - start) // workers)
        if share == stop - start:
            return draw_some(start, stop)
        parts = [(a + start, b + start) for a, b in spans(stop - start, share)]
        try:
            return np.concatenate(Parallel(n_jobs)(delayed(draw_some)(*part) for part in parts))
        except Exception as error:
            if not isinstance(error, BrokenExecutor) and type(error).__name__ != "KilledWorker":
                raise
            raise RuntimeError(
                f"A process of n_jobs={n_jobs} ended while it drew, perhaps for want of memory; "
                f"set n_jobs or batch_size lower. {error}"
            ) from error

    def dressed(values: np.ndarray) -> ArrayOrDataArray:
        history = history_of("sample")
        rain = dress(values, model.template, time="elapsed", first=first, history=history)
        if rare and not isinstance(rain, np.ndarray):
            drawn = weather_of(model, request, first, n_samples, storm, rare)
            assert drawn is not None  # `rare` is refused where there is no law of weather.
            rain = rain.assign_coords(weight=(rain.dims[0], drawn.weights.numpy()))
        return rain

    if out is None:
        return dressed(draw_shared(0, n_samples))
    cuts = spans(n_samples, request.batch_size * workers)
    parts = (draw_shared(*cut) for cut in cuts)
    return streamed(parts, [(b - a, *window) for a, b in cuts], 0, dressed, out, write_cube)


def weather_of(
    model: RainModel,
    request: SamplingRequest,
    first: int,
    n: int,
    storm: Storm | None,
    rare: float,
) -> DrawnWeather | None:
    """Weather of samples by their numbers; None where nothing is known of it."""
    if model.weathers is None or (request.changes_the_weather and storm is None):
        return None
    return model.weathers.draw(request.seed, first, n, rare, storm)


def condition(
    model: RainModel,
    request: SamplingRequest,
    observation: Observation,
    n_samples: int,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Draw sequences of which something is known; see `PrecipDiffusion.condition`.

    Returns
    -------
    ndarray of shape (n_samples, n, *shape), for the n sequences that are observed
    """
    n = len(observation.values)
    seeds = [derived_seed(request.seed, i, k) for i in range(n_samples) for k in range(n)]
    drawn = draw(model, request, shape, seeds, observation)
    return torch.stack([observation.pin(member) for member in drawn.split(n)]).numpy()


def simulate(
    model: RainModel,
    request: SamplingRequest,
    n_frames: int,
    n_samples: int,
    *,
    shape: tuple[int, int],
    mode: str = "autoregressive",
    overlap: int,
    out: str | Path | None = None,
) -> ArrayOrDataArray:
    """Draw series of any length; see `PrecipDiffusion.simulate`."""

    def dressed(values: np.ndarray) -> ArrayOrDataArray:
        return dress(values, model.template, time="elapsed", history=history_of("simulate"))

    parts: Iterator[np.ndarray]
    step = model.n_frames - overlap
    if mode == "autoregressive":
        starts = list(range(0, n_frames, step))
        lengths = [min(step, n_frames - start) for start in starts]
        weathers = weather_along(model, request, n_samples, shape, starts)
        windows = _windows_in_turn(model, request, n_frames, shape, n_samples, overlap, weathers)
        parts = (
            # In this order no window is drawn that nobody asks for.
            window[:, :length].numpy()
            for length, window in zip(lengths, windows, strict=True)
        )
    else:
        length = max(n_frames, model.n_frames)
        starts = window_starts(length, model.n_frames, overlap)
        weathers = weather_along(model, request, n_samples, shape, starts)
        drawn = _windows_at_once(
            model, request, (length, *shape), n_samples, overlap, mode == "composed", weathers
        )
        parts, lengths = iter([drawn[:, :n_frames].numpy()]), [n_frames]
    if out is None:
        return dressed(np.concatenate(list(parts), axis=1))
    shapes = [(n_samples, length, *shape) for length in lengths]
    return streamed(parts, shapes, 1, dressed, out, write_cube)


def weather_along(
    model: RainModel,
    request: SamplingRequest,
    n_samples: int,
    field: tuple[int, int],
    starts: Sequence[int],
) -> list[DrawnWeather] | None:
    """Weather of windows of series, drawn before they are; None where the network decides."""
    law = model.weathers
    if law is None or request.changes_the_weather or not speaks_of_windows(model, request, field):
        return None
    if not law.follows([stop - start for start, stop in pairwise(starts)]):
        return None
    return law.along(request.seed, n_samples, starts)


def history_of(verb: str) -> str:
    """What a file's history says of rain that a verb made."""
    return f"skdiffuse {__version__}: PrecipDiffusion.{verb}"


def _windows_at_once(
    model: RainModel,
    request: SamplingRequest,
    shape: tuple[int, int, int],
    n_samples: int,
    overlap: int,
    compose: bool,
    weathers: list[DrawnWeather] | None,
) -> Tensor:
    """Series of which all windows are denoised together, each told its class of weather.

    A mean is kept where a window is all there is: that of a longer series would be changed in
    steps.
    """
    seeds = [derived_seed(request.seed, i) for i in range(n_samples)]
    told: dict[str, Any] = {}
    if weathers is not None and len(weathers) == 1:
        told["weather"] = weathers[0]
    elif weathers is not None:
        told["classes"] = torch.stack([weather.classes for weather in weathers], dim=1)
    return draw(model, request, shape, seeds, overlap=overlap, compose=compose, **told)


def _windows_in_turn(
    model: RainModel,
    request: SamplingRequest,
    n_frames: int,
    shape: tuple[int, int],
    n_samples: int,
    overlap: int,
    weathers: list[DrawnWeather] | None,
) -> Iterator[Tensor]:
    """Windows in turn, each of which begins with the last frames of the one before."""
    past = torch.empty(n_samples, 0, *shape)
    step = model.n_frames - overlap
    for number, start in enumerate(range(0, n_frames, step)):
        future = past.new_full((n_samples, model.n_frames - past.shape[1], *shape), torch.nan)
        seeds = [derived_seed(request.seed, number, i) for i in range(n_samples)]
        told = told_from(model, request, start, n_frames, n_frames)
        weather = None if weathers is None else weathers[number]
        window = fill_window(model, told, torch.cat([past, future], dim=1), seeds, weather)
        yield window
        past = window[:, step:]
