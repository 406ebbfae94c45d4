"""How long rain remembers: at a place, and along its own motion."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import fft

from skdiffuse.metrics.arrays import check_ndim, check_whole, frames_with_next
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.metrics.weights import weighted_sum


def _pair_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of the cells valid in both."""
    both = ~np.isnan(a) & ~np.isnan(b)
    a, b = a[both].astype(np.float64), b[both].astype(np.float64)
    if a.size < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else float("nan")


def _stretches(X: Any, max_lag: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield sequences of ``log(1 + r)``, and how many of their frames begin a pair."""
    check_ndim(X, 3, "X")
    frames = np.shape(X)[-3]
    if not 1 <= max_lag < frames:
        raise ValueError(
            f"max_lag must lie between 1 and {frames - 1}, one less than the frames; got {max_lag}."
        )
    for stretches, beginning in frames_with_next(X, max_lag):
        for S in np.log1p(np.maximum(stretches, 0)):
            yield S, beginning


def _sums_of_valid(pairs: list[list[float]]) -> np.ndarray:
    """Sum of the correlations of each lag, and their number."""
    return np.array([[np.nansum(p), np.count_nonzero(~np.isnan(p))] for p in pairs]).T


def _means(sums: np.ndarray) -> np.ndarray:
    """Mean correlation at lag 0 and those summed."""
    with np.errstate(invalid="ignore"):
        return np.array([1.0, *(sums[0] / sums[1])])


@samples_by_name(axes=("time", "y", "x"))
def autocorrelation(X: Any, max_lag: int = 1, *, weights: Any = None) -> np.ndarray:
    """Return the mean correlation between frames some steps apart, of ``log(1 + r)``.

    The correlation over cells of each pair of frames, averaged over all pairs with variance.
    The logarithm keeps a single downpour from deciding it.

    Parameters
    ----------
    X : array-like of shape (..., time, y, x)
        Rain rate in mm/h; NaN is left out.
    max_lag : int, default=1
        Largest lag in frames.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

    Returns
    -------
    ndarray of shape (max_lag + 1,)
        Correlation at lag 0 (which is 1) to `max_lag`; NaN without any pair.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import autocorrelation
    >>> still = np.random.default_rng(0).gamma(1.0, size=(1, 8, 8)) * np.ones((5, 1, 1))
    >>> autocorrelation(still, max_lag=2).round(6)
    array([1., 1., 1.])
    """
    max_lag = check_whole(max_lag, "max_lag")

    def sums(part: Any) -> np.ndarray:
        pairs: list[list[float]] = [[] for _ in range(max_lag)]
        for S, beginning in _stretches(part, max_lag):
            for lag in range(1, max_lag + 1):
                for t in range(min(beginning, len(S) - lag)):
                    pairs[lag - 1].append(_pair_correlation(S[t], S[t + lag]))
        return _sums_of_valid(pairs)

    return _means(weighted_sum(sums, X, weights, item_ndim=3))


def _displacement(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """Whole cells (rows, columns) by which a must move to resemble b most."""
    ny, nx = a.shape
    shape = 2 * ny, 2 * nx  # padded: rain does not come back in on the other side
    parts = [np.nan_to_num(f) for f in (a, b)]
    A, B = (fft.rfft2(f - f.mean(), shape) for f in parts)
    product = fft.irfft2(np.conj(A) * B, shape)
    dy, dx = (int(i) for i in np.unravel_index(np.argmax(product), shape))
    return dy - (2 * ny if dy >= ny else 0), dx - (2 * nx if dx >= nx else 0)


def _moved(a: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """The field moved by whole cells, missing where it comes from outside."""
    ny, nx = a.shape
    out = np.full_like(a, np.nan)
    if abs(dy) < ny and abs(dx) < nx:
        out[max(0, dy) : ny + min(0, dy), max(0, dx) : nx + min(0, dx)] = a[
            max(0, -dy) : ny + min(0, -dy), max(0, -dx) : nx + min(0, -dx)
        ]
    return out


@samples_by_name(axes=("time", "y", "x"))
def lagrangian_autocorrelation(X: Any, max_lag: int = 1, *, weights: Any = None) -> np.ndarray:
    """Return the correlation between frames some steps apart, moving with the rain.

    The earlier frame is first carried along by the motion of the whole field, the sum of the
    displacements from frame to frame at which their cross-correlation is largest (Germann and
    Zawadzki 2002, MWR 130, 2859, with one motion a frame). What is left of the decay is growth
    and decay of the rain itself: what a nowcast cannot get by extrapolation.

    Parameters
    ----------
    X : array-like of shape (..., time, y, x)
        Rain rate in mm/h; NaN is left out.
    max_lag : int, default=1
        Largest lag in frames.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

    Returns
    -------
    ndarray of shape (max_lag + 1,)

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import lagrangian_autocorrelation
    >>> blob = np.zeros((16, 16))
    >>> blob[6:10, 2:5] = [[1, 2, 1]] * 4
    >>> moving = np.stack([np.roll(blob, 3 * t, axis=1) for t in range(4)])
    >>> lagrangian_autocorrelation(moving, max_lag=2).round(6)
    array([1., 1., 1.])
    """
    max_lag = check_whole(max_lag, "max_lag")

    def sums(part: Any) -> np.ndarray:
        pairs: list[list[float]] = [[] for _ in range(max_lag)]
        for S, beginning in _stretches(part, max_lag):
            steps = [_displacement(a, b) for a, b in pairwise(S)]
            path = np.cumsum([(0, 0), *steps], axis=0)
            for lag in range(1, max_lag + 1):
                for t in range(min(beginning, len(S) - lag)):
                    dy, dx = (int(d) for d in path[t + lag] - path[t])
                    pairs[lag - 1].append(_pair_correlation(_moved(S[t], dy, dx), S[t + lag]))
        return _sums_of_valid(pairs)

    return _means(weighted_sum(sums, X, weights, item_ndim=3))


def decorrelation_time(correlation: Any) -> float:
    """Return the lag, in frames, at which a correlation function falls below ``1/e``.

    Parameters
    ----------
    correlation : array-like of shape (n_lags,)
        From `autocorrelation` or `lagrangian_autocorrelation`, starting with lag 0.

    Returns
    -------
    float
        Interpolated between lags; infinite where it stays above ``1/e`` as far as it is known.

    Examples
    --------
    >>> from skdiffuse.metrics import decorrelation_time
    >>> round(decorrelation_time([1.0, 0.6, 0.36, 0.216]), 2)
    1.97
    """
    c = np.asarray(correlation, dtype=np.float64)
    below = np.flatnonzero(c < np.exp(-1))
    if below.size == 0:
        return float("inf")
    i = int(below[0])
    return float(i - 1 + (c[i - 1] - np.exp(-1)) / (c[i - 1] - c[i]))
