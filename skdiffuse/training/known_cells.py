"""Random tasks for training: which cells of a sequence the network is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["TASKS", "random_known_cells"]

Task = Callable[[tuple[int, int, int], np.random.Generator], np.ndarray]


def random_known_cells(
    shape: Sequence[int], seed: int, *, nothing: float = 0.15, tasks: Sequence[Task] | None = None
) -> Tensor:
    """Draw what is known of each sequence of a batch: one of `TASKS`, or nothing.

    Parameters
    ----------
    shape : sequence of int
        ``(n, frames, y, x)``.
    seed : int
    nothing : float, default=0.15
        Share of the sequences of which nothing is known, from which the network learns to go
        without (Ho and Salimans 2021, "Classifier-free diffusion guidance").
    tasks : sequence of callable, default=TASKS
        Each ``(frames, y, x), generator -> mask``; all are equally likely.

    Returns
    -------
    Tensor of bool, of the shape asked for
        True where known.

    Examples
    --------
    >>> known = random_known_cells((4, 8, 16, 16), seed=0)
    >>> known.shape
    torch.Size([4, 8, 16, 16])
    >>> bool(random_known_cells((4, 8, 16, 16), seed=0, nothing=1.0).any())
    False
    """
    random = np.random.default_rng(seed)
    _, frames, rows, columns = shape
    tasks = TASKS if tasks is None else tasks
    known = np.zeros(tuple(shape), bool)
    for mask in known:
        if random.random() >= nothing:
            task = tasks[int(random.integers(len(tasks)))]
            mask[...] = task((frames, rows, columns), random)
    return torch.from_numpy(known)


def past_frames(window: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
    """A nowcast: the first frames, at least one, are known."""
    known = np.zeros(window, bool)
    known[: random.integers(1, max(window[0], 2))] = True
    return known


def frames_apart(window: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
    """An interpolation in time: every k-th frame is known."""
    known = np.zeros(window, bool)
    step = random.integers(2, 5)
    known[random.integers(step) :: step] = True
    return known


def hole(window: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
    """A gap: a rectangle is unknown, in all frames or in some that follow each other."""
    known = np.ones(window, bool)
    ends = (np.sort(random.integers(0, size + 1, 2)) for size in window)
    time, y, x = (slice(a, max(b, a + 1)) for a, b in ends)
    known[slice(None) if random.random() < 0.5 else time, y, x] = False
    return known


def beam(window: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
    """A blocked radar beam: a sector seen from a point in or near the field is unknown."""
    _, rows, columns = window
    y = np.arange(rows)[:, None] - random.uniform(-0.5, 1.5) * rows
    x = np.arange(columns)[None] - random.uniform(-0.5, 1.5) * columns
    middle, width = random.uniform(-np.pi, np.pi), random.uniform(0.05, 0.6)
    off = np.abs((np.arctan2(y, x) - middle + np.pi) % (2 * np.pi) - np.pi)
    return np.broadcast_to(off > width, window)


def scattered(window: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
    """Gauges: cells here and there are known, a few or many, the same ones in all frames or not."""
    share = 10 ** random.uniform(-2, 0)
    places = window if random.random() < 0.5 else (1, *window[1:])
    return np.broadcast_to(random.random(places) < share, window)


# The two tasks in time are given more room than those in space, and nowcasts most.
TASKS: tuple[Task, ...] = (
    past_frames,
    past_frames,
    past_frames,
    frames_apart,
    frames_apart,
    hole,
    beam,
    scattered,
)
