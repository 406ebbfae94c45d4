"""Cubes as sequences: the units that are scored, resampled and drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skdiffuse.cubes.layout import ordered
from skdiffuse.metrics.arrays import blocks, check_whole, to_numpy


def windows(X: Any, n_frames: int | None) -> Iterator[Any]:
    """Yield sequences (n, time, y, x) as they are, or a series in windows without gaps.

    Parameters
    ----------
    X : array-like of shape (n, time, y, x) or (time, y, x)
        Rain; a DataArray's time coordinate tells where a series has gaps.
    n_frames : int or None
        Length of a window; sequences are cut to it. None takes all frames.

    Yields
    ------
    array-like of shape (n, n_frames, y, x) or (n_frames, y, x)
        Of the kind of `X`: all sequences at once, a series window by window.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.sequences import windows
    >>> [w[:, 0, 0].tolist() for w in windows(np.arange(5.0).reshape(5, 1, 1), 2)]
    [[0.0, 1.0], [2.0, 3.0]]
    """
    if n_frames is not None:
        check_whole(n_frames, "n_frames")
    X = ordered(X)
    if np.ndim(X) == 4:
        if n_frames is not None and np.shape(X)[1] < n_frames:
            raise ValueError(
                f"X has sequences of {np.shape(X)[1]} frames, but {n_frames} are needed."
            )
        yield X if n_frames is None else X[:, :n_frames]
        return
    if np.ndim(X) != 3:
        raise ValueError(f"X must have shape (time, y, x) or (n, time, y, x); got {np.shape(X)}.")
    n = len(X) if n_frames is None else n_frames
    whole = np.ones(max(len(X) - 1, 0), dtype=bool)
    if hasattr(X, "dims") and X.dims[0] in X.coords:
        steps = np.diff(np.asarray(X[X.dims[0]]))
        whole = steps == np.sort(steps)[len(steps) // 2] if len(steps) else whole
    found, start = False, 0
    while start + n <= len(X):
        gaps = np.flatnonzero(~whole[start : start + n - 1])
        if gaps.size:
            start += int(gaps[-1]) + 1
            continue
        found = True
        yield X[start : start + n]
        start += n
    if not found:
        raise ValueError(f"X has no {n} frames in a row (of {len(X)}) to score.")


def sequences_of(X: Any, n_frames: int | None) -> np.ndarray:
    """Return a cube as sequences (n, time, y, x) in memory; a series is cut where it has no gap.

    Parameters
    ----------
    X, n_frames
        As for `windows`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.sequences import sequences_of
    >>> sequences_of(np.zeros((7, 4, 4)), 3).shape
    (2, 3, 4, 4)
    """
    X = ordered(X)
    if np.ndim(X) == 4:
        return to_numpy(X if n_frames is None else X[:, :n_frames])
    return np.concatenate(
        [to_numpy(window).reshape(-1, *np.shape(window)[-3:]) for window in windows(X, n_frames)]
    )


def each_sequence(X: Any, n_frames: int) -> Iterator[np.ndarray]:
    """Yield the sequences (time, y, x) one by one; of a lazy cube a block is loaded at a time."""
    check_whole(n_frames, "n_frames")
    X = ordered(X)
    if np.ndim(X) == 4:
        for block in blocks(X[:, :n_frames], item_ndim=3):
            yield from block
        return
    for window in windows(X, n_frames):
        yield to_numpy(window)
