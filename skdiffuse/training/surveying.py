"""Windows to know a cube by before the training: each of them once, or some of very many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from skdiffuse.runtime.seeds import derived_seed
from skdiffuse.training.batches import WET_BIAS, WindowBatches, wet_preference, wet_share
from skdiffuse.training.cube_blocks import Block
from skdiffuse.training.reading_several import blocks_with_shares

__all__ = ["survey"]

# Enough for a class of one window in a thousand, where there are as many.
MOST_WINDOWS, MOST_CELLS = 4096, 2**27
# Cells that are handed out together: some megabytes.
CELLS_AT_A_TIME = 2**20
# No step of a training.
PURPOSE = 2**40


def survey(windows: WindowBatches) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows of the first group of blocks, which is the whole cube where it is in memory.

    Where they are few, each comes once, in random order, so that what is learnt of them has no
    error of sampling. Of very many as many are drawn as are enough, wet ones preferred as in a
    training. Which they are follows from the seed of `windows`, and is the same each time.

    Parameters
    ----------
    windows : WindowBatches

    Yields
    ------
    rain : Tensor of shape (n, frames, y, x)
        In mm/h, NaN where missing.
    weights : Tensor of shape (n,)
        What each window stands for; their expectation is 1.
    """
    random = np.random.default_rng(derived_seed(windows.seed, PURPOSE))
    blocks, shares = blocks_with_shares(windows.reader.group(0))
    counts = np.array([block.n_windows for block in blocks])
    cells = windows.n_frames * windows.crop_shape[0] * windows.crop_shape[1]
    most = max(1, min(MOST_WINDOWS, MOST_CELLS // cells))
    at_a_time = max(1, CELLS_AT_A_TIME // cells)
    if counts.sum() <= most:
        of_block = np.repeat(np.arange(len(blocks)), counts)
        number = np.concatenate([np.arange(n) for n in counts])
        weight = (shares * counts.sum() / counts)[of_block]
        order = random.permutation(len(number))
        for part in np.split(order, range(at_a_time, len(order), at_a_time)):
            rain = _read(windows, blocks, of_block[part], number[part])
            yield _handed_out(windows, random, rain, weight[part])
        return
    n_candidates = windows.n_candidates
    of_block = random.choice(len(blocks), size=(most, n_candidates), p=shares)
    number = random.integers(counts[of_block])
    for start in range(0, most, at_a_time):
        rows = slice(start, start + at_a_time)
        candidates = [
            _read(windows, blocks, of_block[rows, k], number[rows, k]) for k in range(n_candidates)
        ]
        wet = np.stack([wet_share(each) for each in candidates], 1)
        chosen, weight = _preferred(wet, random)
        rain = np.stack([candidates[k][i] for i, k in enumerate(chosen)])
        yield _handed_out(windows, random, rain, weight)


def _read(
    windows: WindowBatches, blocks: list[Block], of_block: np.ndarray, number: np.ndarray
) -> np.ndarray:
    """Windows of shape (n, frames, y, x), each by its number in its block."""
    shape = windows.n_frames, *windows.crop_shape
    rain = np.empty((len(number), *shape), dtype=np.float32)
    for i, (b, k) in enumerate(zip(of_block.tolist(), number.tolist(), strict=True)):
        rain[i] = blocks[b].window(k, *shape)
    return rain


def _handed_out(
    windows: WindowBatches, random: np.random.Generator, rain: np.ndarray, weight: np.ndarray
) -> tuple[Tensor, Tensor]:
    if windows.symmetries:
        rain = np.stack([windows.mirrored(each, random.random(3) < 0.5) for each in rain])
    return torch.from_numpy(rain), torch.from_numpy(weight.astype(np.float32))


def _preferred(wet: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of candidates the number of one, and its weight."""
    n = wet.shape[1]
    if n == 1:
        return np.zeros(len(wet), int), np.ones(len(wet))
    probability, weight = wet_preference(wet, WET_BIAS)
    chosen = (random.random((len(wet), 1)) > probability.cumsum(1)[:, :-1]).sum(1)
    return chosen, weight[np.arange(len(wet)), chosen]
