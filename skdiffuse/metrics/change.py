"""How rain changes from one period to another, and how sure that is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import check_ndim, check_same_grid
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.metrics.intensity import wet_fraction
from skdiffuse.metrics.quantiles import quantiles as quantiles_of
from skdiffuse.metrics.uncertainty import bootstrap
from skdiffuse.metrics.weights import weighted_values, weights_of


class Change(NamedTuple):
    """One statistic in two periods.

    Attributes
    ----------
    name : str
        What it is: "mean", "wet fraction", "quantile 0.99", "largest rate".
    past, future : float
        In each period, in mm/h (the wet fraction has no unit).
    change : float
        ``future / past - 1``, or ``future - past``.
    low, high : float
        Confidence interval of the change.
    """

    name: str
    past: float
    future: float
    change: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes no change."""
        return bool(self.low > 0 or self.high < 0)


@samples_by_name("future", axes=("time", "y", "x"))
def change_signal(
    past: Any,
    future: Any,
    *,
    levels: Any = (0.99, 0.999),
    wet_threshold: float = 0.1,
    relative: bool = True,
    block_length: int | None = None,
    n_resamples: int = 400,
    confidence: float = 0.95,
    random_state: Any = None,
    weights: Any = None,
) -> list[Change]:
    """Return how mean, wet fraction and extremes change between two periods, with intervals.

    Whole sequences (or blocks of a series) of each period are resampled on their own, as
    `bootstrap` does, and all statistics are taken of the same resamples. The change of a model is
    compared with that of the model that it imitates by their intervals: they are independent.

    Parameters
    ----------
    past, future : array-like of shape (n, time, y, x) or (time, y, x)
        Rain rate in mm/h on one grid; a series needs `block_length`.
    levels : array-like of shape (n_levels,), default=(0.99, 0.999)
        Probabilities of quantiles of all cells and times, dry ones too.
    wet_threshold : float, default=0.1
        Rate in mm/h from which a cell is wet.
    relative : bool, default=True
        Changes as a share of the past; else as differences.
    block_length : int, default=None
        Steps in a block of a series: longer than the memory of the weather.
    n_resamples, confidence, random_state
        As for `bootstrap`.
    weights : array-like of shape (n,), default=None
        What each sequence of `future` counts; by default its coordinate ``weight``, and so in any
        case for `past`.

    Returns
    -------
    list of Change
        Mean, wet fraction, each quantile, and the mean over sequences (or blocks) of the largest
        rate in them.

    Raises
    ------
    ValueError
        Where the grids differ, or a period has fewer than two sequences or blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import change_signal
    >>> rain = np.random.default_rng(0).gamma(0.3, size=(2, 60, 4, 8, 8))
    >>> mean, wet, *extremes = change_signal(rain[0], 1.5 * rain[1], random_state=0)
    >>> mean.name, mean.is_clear, bool(mean.low < 0.5 < mean.high)
    ('mean', True, True)
    >>> [change.name for change in extremes]
    ['quantile 0.99', 'quantile 0.999', 'largest rate']
    """
    for X, name in ((past, "past"), (future, "future")):
        check_ndim(X, 3, name)
        units = np.shape(X)[0] // (block_length or 1)
        if (np.ndim(X) == 3) != (block_length is not None):
            raise ValueError(
                f"{name} has shape {np.shape(X)} and block_length is {block_length!r}: give it "
                "for a series (time, y, x), and only there."
            )
        if units < 2:
            raise ValueError(
                f"{name} has {units} sequences or blocks, and intervals need at least 2. Give "
                "more, or a smaller block_length."
            )
    check_same_grid(past, future, ("past", "future"))
    levels = np.atleast_1d(np.asarray(levels, dtype=np.float64))

    def statistics(X: Any) -> np.ndarray:
        values, w = weighted_values(X)
        return np.array(
            [
                np.average(values.astype(np.float64), weights=w),
                wet_fraction(X, wet_threshold),
                *quantiles_of(X, levels),
                _largest(X.reshape(-1, block_length, *X.shape[1:]) if block_length else X),
            ]
        )

    def both(a: Any, b: Any) -> np.ndarray:
        """Statistics of either period and their change, row by row."""
        before, after = statistics(a), statistics(b)
        change = after - before
        if relative:
            change = np.divide(change, before, out=np.full_like(change, np.nan), where=before > 0)
        return np.stack([before, after, change])

    found = bootstrap(
        both,
        past,
        future,
        block_length=block_length,
        n_resamples=n_resamples,
        confidence=confidence,
        random_state=random_state,
        weights=weights,
    )
    names = ["mean", "wet fraction", *(f"quantile {q:g}" for q in levels), "largest rate"]
    value, low, high = (np.asarray(part) for part in found[:3])
    return [
        Change(name, *(float(v) for v in (*value[:, i], low[2, i], high[2, i])))
        for i, name in enumerate(names)
    ]


def _largest(X: Any) -> float:
    """Mean over sequences of the largest rate, by their weights; sequences of nothing have none."""
    values, w = np.asarray(X), weights_of(X)
    largest = np.where(np.isnan(values), -np.inf, values).max(axis=tuple(range(1, values.ndim)))
    known = np.isfinite(largest)
    return float(np.average(largest[known], weights=None if w is None else w[known]))
