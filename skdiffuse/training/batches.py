"""Random windows of a cube, as batches for training."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from skdiffuse.cubes import Cubes
from skdiffuse.training.companions import Companions
from skdiffuse.training.cube_blocks import Block
from skdiffuse.training.reading_several import CubesReader, MixedBlocks, reader_of_cubes

# A cell is wet from this rate on (mm/h).
WET = 0.1
# Share of the draws that prefer wet windows; no weight exceeds 1 / (1 - WET_BIAS).
WET_BIAS = 0.5
# Share of the windows whose weather is not told, as it is not where rain is completed. With .5
# instead of .15 the loss so told after 300 steps was .3659 instead of .3741 on synthetic rain, and
# the error where weather is told the same within .7 % at every log-SNR.
WEATHER_NOT_TOLD = 0.5
# Bytes of a lazy cube that are held at a time, twice over.
MEMORY = 2**28

__all__ = ["Prefetched", "WindowBatches", "wet_preference"]

# Rain, weights, and what the network is told; see `WindowBatches.batch`.
Batch: TypeAlias = tuple[Tensor, Tensor, dict[str, Tensor]]


class WindowBatches:
    """Random windows of a cube, or of several: ``n_frames`` consecutive frames of a random crop.

    Most windows of most cubes are dry and teach little. For each place in a batch `n_candidates`
    windows are drawn evenly, and of these one with a probability that grows with its share of wet
    cells; the weights that come with it make every mean over the batch an unbiased estimate of the
    mean over all windows, so that the climate that is learnt stays right.

    A lazy cube that does not fit into `memory` is read block by block, and windows are drawn from
    some blocks at a time; see `BlockReader`. Several cubes have shares in the windows in proportion
    to their cells; see `SeveralCubes.shares`.

    Parameters
    ----------
    cube : Cube or SeveralCubes
    n_frames : int
    crop_shape : tuple of int
        Rows and columns of a window.
    batch_size : int
    seed : int
    n_candidates : int, default=4
        With 1, windows are drawn evenly and all weights are 1.
    symmetries : bool, default=False
        Whether each window is mirrored, and turned by right angles if it is square, at random.
    memory : int or None, default=None
        Bytes of a lazy cube that are held at a time, in float32; as much again is read ahead. None
        is 256 MiB.
    companions : Companions, optional
        What accompanies the cube and is told to the network.
    n_jobs : int or None, default=None
        Processes that read blocks, None: a thread. Does not change the batches.

    Attributes
    ----------
    weathers : callable or None
        Class of the weather of windows in mm/h, if the network is to be told it.
    steps_per_epoch : int
        Batches that hold as many cells as the cube.
    """

    def __init__(
        self,
        cube: Cubes,
        n_frames: int,
        crop_shape: tuple[int, int],
        batch_size: int,
        seed: int,
        n_candidates: int = 4,
        symmetries: bool = False,
        memory: int | None = None,
        companions: Companions | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_frames = n_frames
        self.crop_shape = crop_shape
        self.batch_size = batch_size
        self.seed = seed
        self.n_candidates = n_candidates
        self.symmetries = symmetries
        self.memory = MEMORY if memory is None else memory
        self.weathers: Callable[[Tensor], Tensor] | None = None
        self.read_from(cube, companions, n_jobs)

    def read_from(
        self, cube: Cubes, companions: Companions | None = None, n_jobs: int | None = None
    ) -> None:
        """Draw from another cube from now on."""
        self.companions = companions
        self._reader: CubesReader | None = reader_of_cubes(
            cube, self.n_frames, self.crop_shape, self.seed, self.memory, n_jobs
        )
        cells = sum(part.values.size for part in cube.parts)
        window_cells = self.n_frames * self.crop_shape[0] * self.crop_shape[1]
        self.steps_per_epoch = max(1, round(cells / (window_cells * self.batch_size)))
        self.steps_per_group = max(1, self.steps_per_epoch // self.reader.groups_per_epoch)

    @property
    def reader(self) -> CubesReader:
        """What reads the cube.

        Raises
        ------
        RuntimeError
            If there is none: windows are pickled without their data.
        """
        if self._reader is None:
            raise RuntimeError(
                "windows have been pickled, which leaves out their data; call "
                "windows.read_from(cube), with the cube that they are to be drawn from, before "
                "they are used or a Trainer is run on them."
            )
        return self._reader

    def __call__(self, step: int, places: range | None = None) -> tuple[Tensor, Tensor]:
        """Rain and weights of batch number `step`; see `batch`."""
        rain, weights, _ = self.batch(step, places)
        return rain, weights

    def batch(self, step: int, places: range | None = None, group: int | None = None) -> Batch:
        """Batch number `step`.

        Parameters
        ----------
        step : int
        places : range, optional
            Which windows of the batch; default: all. A window does not depend on the others, so
            that processes which share a batch read their own windows only.
        group : int, optional
            Group of blocks to draw from; default: that of the step.

        Returns
        -------
        rain : Tensor of shape (batch, frames, y, x)
            In mm/h, NaN where missing.
        weights : Tensor of shape (batch,)
            Their expectation is 1.
        told : dict of Tensor
            ``labels`` or ``covariates`` of each window, and its ``weather``, for the network.
        """
        places = range(self.batch_size) if places is None else places
        blocks = self.reader.group(step // self.steps_per_group if group is None else group)
        drawn = [self._draw(blocks, step, place) for place in places]
        windows, weights, told, ignorant = zip(*drawn, strict=True)
        rain = torch.from_numpy(np.stack(windows))
        together = {name: torch.stack([each[name] for each in told]) for name in told[0]}
        if self.weathers is not None:
            together["weather"] = torch.where(torch.tensor(ignorant), -1, self.weathers(rain))
        return rain, torch.tensor(weights, dtype=torch.float32), together

    def _draw(
        self, blocks: list[Block] | list[MixedBlocks], step: int, place: int
    ) -> tuple[np.ndarray, float, dict[str, Tensor], bool]:
        """A window, its weight, what accompanies it, and whether its weather is not told."""
        random = np.random.default_rng((self.seed, step, place, 0))
        candidates = [
            blocks[random.integers(len(blocks))].draw(random, self.n_frames, self.crop_shape)
            for _ in range(self.n_candidates)
        ]
        if self.n_candidates == 1:
            (chosen, where), weight = candidates[0], 1.0
        else:
            wet = np.array([wet_share(window) for window, _ in candidates])
            probability, weights = wet_preference(wet, WET_BIAS)
            k = random.choice(len(candidates), p=probability)
            (chosen, where), weight = candidates[k], float(weights[k])
        told: dict[str, Tensor] = {}
        if self.companions is not None:
            told = self.companions.of_window(where, self.n_frames, self.crop_shape, random)
        ignorant = self.weathers is not None and random.random() < WEATHER_NOT_TOLD
        if self.symmetries:
            mirrored = random.random(3) < 0.5
            chosen = self.mirrored(chosen, mirrored)
            if "covariates" in told:
                fields = self.mirrored(told["covariates"].numpy(), mirrored)
                told["covariates"] = torch.from_numpy(np.ascontiguousarray(fields))
        return chosen, weight, told, ignorant

    def mirrored(self, fields: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        """Fields mirrored down and across, and turned if they are square, as three booleans say."""
        down, across, turned = mirrored
        fields = fields[..., :: -1 if down else 1, :: -1 if across else 1]
        if turned and self.crop_shape[0] == self.crop_shape[1]:
            fields = fields.swapaxes(-1, -2)
        return fields

    def __getstate__(self) -> dict[str, Any]:
        # The data are the user's, and a kept model must not carry them along.
        return vars(self) | {"_reader": None, "companions": None}


class Prefetched:
    """Batches of consecutive steps, made in a thread of their own while the network is at work.

    Parameters
    ----------
    windows : WindowBatches
    places : range
        Which windows of each batch.
    pinned : bool
        Whether to put them into page-locked memory, from which a GPU copies by itself.
    ahead : int
        Batches made before they are asked for.
    """

    def __init__(
        self, windows: WindowBatches, places: range, *, pinned: bool = False, ahead: int = 2
    ) -> None:
        # Asked for at once, so that windows without data are refused before a thread is begun.
        self._reader = windows.reader
        self.windows = windows
        self.places = places
        self.pinned = pinned
        self.ahead = ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._pending: dict[int, Future[Batch]] = {}

    def __call__(self, step: int) -> Batch:
        """Batch number `step`."""
        wanted = range(step, step + self.ahead + 1)
        self._pending = {k: f for k, f in self._pending.items() if k in wanted}
        for k in wanted:
            if k not in self._pending:
                self._pending[k] = self._pool.submit(self._make, k)
        return self._pending.pop(step).result()

    def close(self) -> None:
        """Stop the thread and let go of the data."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._reader.close()

    def _make(self, step: int) -> Batch:
        rain, weights, told = self.windows.batch(step, self.places)
        if not self.pinned:
            return rain, weights, told
        told = {name: tensor.pin_memory() for name, tensor in told.items()}
        return rain.pin_memory(), weights.pin_memory(), told


def wet_share(windows: np.ndarray) -> np.ndarray:
    """Share of wet cells of each window of shape (..., frames, y, x)."""
    cells = math.prod(windows.shape[-3:])
    return np.asarray(np.count_nonzero(windows >= WET, axis=(-3, -2, -1)) / cells)


def wet_preference(wet_fraction: np.ndarray, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that prefer wet windows, and the weights that undo the preference.

    Parameters
    ----------
    wet_fraction : ndarray of shape (..., n)
        Of the windows that are chosen among.
    bias : float
        In [0, 1): 0 draws all alike.

    Returns
    -------
    probabilities, weights : ndarray of shape (..., n)
        q_i = (1 - b) / n + b a_i / sum(a) and 1 / (n q_i), where b is the bias and a_i the wet
        fraction: weighted means over what is drawn are unbiased for means over all, and no weight
        exceeds 1 / (1 - b).

    References
    ----------
    Hesterberg, "Weighted average importance sampling and defensive mixture distributions",
    Technometrics 37 (1995).

    Examples
    --------
    >>> probabilities, weights = wet_preference(np.array([0.0, 1.0]), 0.5)
    >>> probabilities.tolist()
    [0.25, 0.75]
    """
    n = wet_fraction.shape[-1]
    total = wet_fraction.sum(-1, keepdims=True)
    by_rain = np.where(total > 0, wet_fraction, 1 / n) / np.where(total > 0, total, 1.0)
    probabilities = (1 - bias) / n + bias * by_rain
    return probabilities, 1 / (n * probabilities)
