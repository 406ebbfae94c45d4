"""Training crops of large domains, drawn more often where it rains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from skdiffuse.cubes.validation import validate_cube


def wet_preference(wet_fraction: np.ndarray, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that prefer wet windows, and the weights that undo the preference.

    Parameters
    ----------
    wet_fraction : ndarray of shape (n,)
    bias : float
        In [0, 1): 0 draws all alike.

    Returns
    -------
    probabilities, weights : ndarray of shape (n,)
        q_i = (1 - b) / n + b a_i / sum(a) and 1 / (n q_i), see :class:`CropSampler`.

    Examples
    --------
    >>> probabilities, weights = wet_preference(np.array([0.0, 1.0]), 0.5)
    >>> probabilities.tolist()
    [0.25, 0.75]
    """
    n = len(wet_fraction)
    total = wet_fraction.sum()
    by_rain = wet_fraction / total if total > 0 else np.full(n, 1 / n)
    probabilities = (1 - bias) / n + bias * by_rain
    return probabilities, 1 / (n * probabilities)


class CropSampler:
    """Crops of a large domain, wet ones preferred, with the weights that undo the preference.

    Most crops of most domains are nearly dry, and a network that sees them in proportion learns
    slowly; one that sees only wet ones learns a wrong climatology. Here crop i of N is drawn
    with probability q_i = (1 - b) / N + b a_i / sum(a), where a_i is its wet fraction and b is
    ``wet_bias``, and comes with the weight w_i = 1 / (N q_i): weighted means over what is drawn
    are unbiased for means over all crops, and no weight exceeds 1 / (1 - b) (importance
    sampling from a defensive mixture, Hesterberg 1995, Technometrics 37).

    Parameters
    ----------
    X : cube
        Series or sequences, see :func:`validate_cube`; a lazy one is read once, frame by frame.
    size : int or (int, int)
        Cells of a crop in y and x.
    n_frames : int, default=1
        Frames of a crop; never across a gap in time.
    stride : int, optional
        Cells between crops. Default: ``size``, so that crops tile the domain (the cells left
        over are shared out between both edges) and their mean is the domain's.
    frame_stride : int, optional
        Frames between crops; default ``n_frames``.
    wet_bias : float, default=0.5
        In [0, 1): 0 draws all crops alike.
    threshold : float, default=0.1
        Rate in mm/h from which a cell is wet.
    min_valid : float, default=1.0
        Share of a crop's cells that must not be missing.

    Attributes
    ----------
    positions : ndarray of int, shape (n_crops, 4)
        Sequence, first frame, first row, first column.
    wet_fraction, probabilities, weights : ndarray of shape (n_crops,)

    Raises
    ------
    ValueError
        If no crop of the size lies in the domain, or none is valid enough.

    Examples
    --------
    >>> from skdiffuse.datasets import make_precipitation
    >>> rain = make_precipitation(12, (64, 96), wet_fraction=0.05, random_state=0)
    >>> sampler = CropSampler(rain, 32, n_frames=4)
    >>> len(sampler)
    18
    >>> crops, weights = sampler.draw(5, random_state=0)
    >>> crops.shape, bool(weights.max() <= 2)
    ((5, 4, 32, 32), True)
    """

    def __init__(
        self,
        X: Any,
        size: int | tuple[int, int],
        n_frames: int = 1,
        *,
        stride: int | None = None,
        frame_stride: int | None = None,
        wet_bias: float = 0.5,
        threshold: float = 0.1,
        min_valid: float = 1.0,
    ) -> None:
        if not 0 <= wet_bias < 1:
            raise ValueError(f"wet_bias must be in [0, 1); got {wet_bias!r}.")
        if not 0 <= min_valid <= 1:
            raise ValueError(f"min_valid must be in [0, 1]; got {min_valid!r}.")
        self.cube = validate_cube(X, n_frames=n_frames)
        self.size: tuple[int, ...] = tuple(size) if isinstance(size, Iterable) else (size, size)
        self.n_frames = n_frames
        rows, columns = (
            _starts(n, width, stride)
            for n, width in zip(self.cube.field_shape, self.size, strict=True)
        )
        windows = self.cube.window_starts(n_frames, frame_stride or n_frames)
        wet, valid = self._shares(rows, columns, threshold)
        wet, valid = (_moving_mean(a, n_frames)[windows[:, 0], windows[:, 1]] for a in (wet, valid))
        positions = np.empty((len(windows), len(rows), len(columns), 4), dtype=np.intp)
        positions[..., :2] = windows[:, None, None]
        positions[..., 2], positions[..., 3] = rows[:, None], columns
        # Shares are exact ratios of counts up to rounding.
        kept = valid >= min_valid - 1e-9
        if not kept.any():
            raise ValueError(
                f"no crop of {self.n_frames} x {self.size} cells has {min_valid:.0%} of its cells "
                f"present; the best has {valid.max():.0%}: lower min_valid or make crops smaller."
            )
        self.positions = positions[kept]
        self.wet_fraction = wet[kept]
        self.probabilities, self.weights = wet_preference(self.wet_fraction, wet_bias)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, i: int) -> np.ndarray:
        """Crop ``i``: ndarray of shape (n_frames, *size), float32."""
        sequence, start, row, column = self.positions[i]
        y, x = (slice(a, a + n) for a, n in zip((row, column), self.size, strict=True))
        return self.cube.window(sequence, start, self.n_frames, y, x)

    def draw(
        self, n: int, random_state: int | np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw ``n`` crops, with replacement.

        Returns
        -------
        crops : ndarray of shape (n, n_frames, *size), float32
        weights : ndarray of shape (n,)
        """
        rng = np.random.default_rng(random_state)
        chosen = rng.choice(len(self), size=n, p=self.probabilities)
        return np.stack([self[i] for i in chosen]), self.weights[chosen]

    def _shares(
        self, rows: np.ndarray, columns: np.ndarray, threshold: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Wet and valid share of every frame of every tile, reading one frame at a time."""
        shape = (self.cube.n_sequences, self.cube.n_times, len(rows), len(columns))
        wet, valid = np.empty(shape), np.empty(shape)
        for sequence in range(shape[0]):
            for time in range(shape[1]):
                frame = self.cube.window(sequence, time, 1)[0]
                wet[sequence, time] = self._tile_mean(frame >= threshold, rows, columns)
                valid[sequence, time] = self._tile_mean(np.isfinite(frame), rows, columns)
        return wet, valid

    def _tile_mean(self, mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Share of True cells in each tile, from sums over all rectangles from the origin."""
        sums = np.zeros(np.add(mask.shape, 1), dtype=np.int64)
        sums[1:, 1:] = mask.cumsum(0).cumsum(1)
        top, left = rows[:, None], columns[None, :]
        bottom, right = top + self.size[0], left + self.size[1]
        counts = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return counts / np.prod(self.size)


def _starts(n: int, width: int, stride: int | None) -> np.ndarray:
    """First cells of tiles that lie in the middle of ``n`` cells."""
    if not 1 <= width <= n:
        raise ValueError(f"size {width} does not fit into the domain of {n} cells.")
    step = width if stride is None else stride
    if step < 1:
        raise ValueError(f"stride must be at least 1; got {stride!r}.")
    starts = np.arange(0, n - width + 1, step)
    return starts + (n - width - starts[-1]) // 2


def _moving_mean(frames: np.ndarray, n_frames: int) -> np.ndarray:
    """Mean over ``n_frames`` frames from each frame on, along axis 1."""
    sums = np.cumsum(np.insert(frames, 0, 0, axis=1), axis=1)
    return (sums[:, n_frames:] - sums[:, :-n_frames]) / n_frames
