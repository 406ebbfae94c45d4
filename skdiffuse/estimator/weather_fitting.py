"""What is learnt of the weather before the training: from how many windows, and how it goes on."""

from __future__ import annotations

import math
from dataclasses import replace

from skdiffuse.cubes import Cubes
from skdiffuse.estimator.weather import WeatherLaw
from skdiffuse.estimator.weather_chain import fit_chain
from skdiffuse.training import WindowBatches

__all__ = ["batch_numbers", "with_chain"]

# Enough for a class of one window in a thousand, where there are as many.
MOST_WINDOWS, MOST_CELLS = 4096, 2**27
REPEATS = 4
# Batches that no training reaches.
FIRST_BATCH = 2**40


def batch_numbers(windows: WindowBatches) -> range:
    """Numbers of batches to know the windows by, which no training uses."""
    crop = windows.crop_shape
    there_are = sum(
        len(part.window_starts(windows.n_frames))
        * math.prod(n - c + 1 for n, c in zip(part.field_shape, crop, strict=True))
        for part in windows.reader.cube.parts
    )
    cells = windows.n_frames * math.prod(crop)
    n = min(MOST_WINDOWS, MOST_CELLS // cells, REPEATS * there_are)
    return range(FIRST_BATCH, FIRST_BATCH + max(1, -(-n // windows.batch_size)))


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
        # The first group of blocks: one that is in memory already where nothing is lazy.
        stretches = (windows.batch(k, group=0)[:2] for k in batch_numbers(windows))
        chain = fit_chain(law.classes, law.frequencies, stretches, n_frames)
    finally:
        windows.reader.close()
    return replace(law, chain=chain)
