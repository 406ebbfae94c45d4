"""What is learnt before the training of how weather goes on."""

from __future__ import annotations

from dataclasses import replace

from skdiffuse.cubes import Cubes
from skdiffuse.estimator.weather import WeatherLaw
from skdiffuse.estimator.weather_chain import fit_chain
from skdiffuse.training import WindowBatches, survey

__all__ = ["with_chain"]


def with_chain(
    law: WeatherLaw,
    cube: Cubes,
    n_frames: int,
    crop_shape: tuple[int, int],
    *,
    batch_size: int,
    seed: int,
    n_jobs: int | None = None,
) -> WeatherLaw:
    """The same law, with how its weather goes on where a cube shows that.

    Lags of up to a window's length are learnt, or as many as fit into the longest series without a
    gap, of several cubes the shortest such; of sequences as long as a window there are none.

    Parameters
    ----------
    law : WeatherLaw
    cube : Cube or SeveralCubes
    n_frames : int
        Of a window.
    crop_shape : tuple of int
        Rows and columns of a window.
    batch_size, seed, n_jobs
        See `WindowBatches`.
    """
    longest = min(max(stop - start for start, stop in part.runs()) for part in cube.parts)
    length = min(longest, 2 * n_frames)
    if length <= n_frames:
        return replace(law, chain=None)
    windows = WindowBatches(cube, length, crop_shape, batch_size, seed, n_jobs=n_jobs)
    try:
        chain = fit_chain(law.classes, law.frequencies, survey(windows), n_frames)
    finally:
        windows.reader.close()
    return replace(law, chain=chain)
