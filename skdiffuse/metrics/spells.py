"""How long it stays wet, and how long dry."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import check_ndim, whole_series
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.metrics.weights import weighted_sum


class SpellLengths(NamedTuple):
    """Distribution of the lengths of spells.

    Attributes
    ----------
    length : ndarray of shape (n_frames,)
        1, 2, ... frames.
    count : ndarray of shape (n_frames,)
        Number of spells of each length, or what they count by their weights.
    mean : float
        Mean length in frames; NaN without any spell.
    """

    length: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # hides the method of tuples
    mean: float


@samples_by_name(axes=("time", "y", "x"))
def spell_lengths(
    X: Any,
    *,
    kind: Literal["wet", "dry"] = "wet",
    threshold: float = 0.1,
    complete: bool = False,
    weights: Any = None,
) -> SpellLengths:
    """Count how many frames in a row a cell stays wet (or dry).

    A spell ends with the sequence or at a missing value. Such cut spells are counted with the
    length seen: compare cubes of the same number of frames, or count complete ones only.

    Parameters
    ----------
    X : array-like of shape (..., time, y, x)
        Rain rate in mm/h.
    kind : {"wet", "dry"}, default="wet"
        Which spells to count.
    threshold : float, default=0.1
        Rate in mm/h from which a frame is wet.
    complete : bool, default=False
        Leave out spells that touch the ends of a sequence or a missing value.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import spell_lengths
    >>> rain = np.array([1.0, 1, 0, 0, 0, 1]).reshape(6, 1, 1)
    >>> spell_lengths(rain).count, spell_lengths(rain, kind="dry", complete=True).mean
    (array([1, 1, 0, 0, 0, 0]), 3.0)
    """
    check_ndim(X, 3, "X")
    if kind not in ("wet", "dry"):
        raise ValueError(f"kind must be 'wet' or 'dry'; got {kind!r}.")
    T = np.shape(X)[-3]

    def counts(part: Any) -> np.ndarray:
        count = np.zeros(T, dtype=np.int64)
        for block in whole_series(part):
            series = np.moveaxis(block, 1, -1).reshape(-1, T)
            count += _count_spells(series, kind, threshold, complete)
        return count

    count = weighted_sum(counts, X, weights, item_ndim=3)
    length = np.arange(1, T + 1)
    mean = float(length @ count / count.sum()) if count.any() else float("nan")
    return SpellLengths(length, count, mean)


def _count_spells(series: np.ndarray, kind: str, threshold: float, complete: bool) -> np.ndarray:
    """Number of spells of each length in the rows of a table."""
    wet = series >= series.dtype.type(threshold)
    missing = np.isnan(series)
    inside = wet if kind == "wet" else ~wet & ~missing
    edge = np.zeros((len(series), 1), dtype=np.int8)
    steps = np.diff(np.concatenate([edge, inside.astype(np.int8), edge], axis=1), axis=1)
    row, start = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    if complete:
        beside = np.concatenate([edge + 1, missing, edge + 1], axis=1).astype(bool)
        whole = ~beside[row, start] & ~beside[row, end + 1]
        start, end = start[whole], end[whole]
    return np.bincount(end - start, minlength=series.shape[1] + 1)[1:]
