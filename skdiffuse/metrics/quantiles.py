"""Quantiles of rain rate far into the tail, observed against simulated."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import TRACE, check_same_units
from skdiffuse.metrics.intensity import intensity_edges, rate_counts, shares
from skdiffuse.metrics.score import Score, Statistic, register
from skdiffuse.metrics.weights import amount, weighted_values

_FINE_EDGES = intensity_edges(TRACE, 1000.0, per_decade=64)  # bins 3.7 % wide


class QuantileRatios(NamedTuple):
    """Quantiles of two samples at the same levels, and their ratio.

    Attributes
    ----------
    levels : ndarray of shape (n_levels,)
        Probabilities of not exceeding, float64.
    obs, sim : ndarray of shape (n_levels,)
        Quantiles in mm/h.
    ratio : ndarray of shape (n_levels,)
        ``sim / obs``; NaN where both quantiles are dry.
    """

    levels: np.ndarray
    obs: np.ndarray
    sim: np.ndarray
    ratio: np.ndarray


def extreme_quantile_levels(n: float) -> np.ndarray:
    """Return quantile levels that close in on 1 by decades, as far as `n` values can tell.

    The grid is ``{1 - 10^-n1 + n2 10^-(n1 + 1)}`` for n1 = 1..6 and n2 = 1..9 (Herbert's
    dissertation, Figures 4.14 and 4.20, which leave n1 unbounded), restricted to
    ``1 - q >= 1/n``: beyond that a sample of `n` values has no quantile to show. float64,
    since float32 loses 19 % of the tail at 1 - 1e-7.

    Parameters
    ----------
    n : int
        Size of the (smaller) sample.

    Returns
    -------
    ndarray of shape (n_levels,)
        Increasing levels between 0.91 and 1 - 1e-7; empty for fewer than two values.

    Examples
    --------
    >>> from skdiffuse.metrics import extreme_quantile_levels
    >>> extreme_quantile_levels(200)
    array([0.91 , 0.92 , 0.93 , 0.94 , 0.95 , 0.96 , 0.97 , 0.98 , 0.99 ,
           0.991, 0.992, 0.993, 0.994, 0.995])
    """
    # 1 - q = (10 - n2) / 10^(n1 + 1), compared with 1/n in whole numbers.
    tails = [(10 - n2, 10 ** (n1 + 1)) for n1 in range(1, 7) for n2 in range(1, 10)]
    return np.array([1 - above / of for above, of in tails if above * int(n) >= of])


def quantiles(X: Any, levels: Any, *, weights: Any = None) -> np.ndarray:
    """Return the quantiles of all valid values of `X`, interpolated linearly in float64.

    The same as ``np.quantile(X[~isnan(X)], levels)``, without rounding the levels to the
    precision of the data and without sorting what lies below the lowest level. Where values
    count w_i, as many as W together, the quantile q is the mean of the step function that takes
    each value in order over a length w_i, between ``q (W - 1)`` and ``q (W - 1) + 1``: with whole
    numbers as weights the quantile of values that are repeated so often, and with many values
    that of ``np.quantile(..., weights=w, method="inverted_cdf")``.

    Parameters
    ----------
    X : array-like of any shape
        Rain rate in mm/h; NaN is ignored.
    levels : array-like of shape (n_levels,)
        Probabilities.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

    Examples
    --------
    >>> from skdiffuse.metrics import quantiles
    >>> quantiles([0, 1, 2, float("nan"), 4], [0.5, 1])
    array([1.5, 4. ])
    >>> quantiles([4, 1], [0, 0.5, 1], weights=[1, 2])
    array([1., 1., 4.])
    """
    return _quantiles(*weighted_values(X, weights), levels)


def _quantiles(values: np.ndarray, weights: np.ndarray | None, levels: Any) -> np.ndarray:
    levels = np.asarray(levels, dtype=np.float64)
    if levels.size == 0:
        return np.empty(levels.shape)
    if not np.all((levels >= 0) & (levels <= 1)):
        raise ValueError(f"levels must lie between 0 and 1; got {levels!r}.")
    if weights is not None:
        return _weighted_quantiles(values, weights, levels)
    place = levels * (values.size - 1)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, values.size - 1)
    # Sorting the tail alone: what lies below the lowest level needs no order.
    start = int(low.min())
    # Dry cells are ties, which cost fifteen times as much unless the largest is asked for too.
    parted = np.partition(values, [start, values.size - 1])
    top = np.sort(parted[start:]).astype(np.float64)
    lower, upper = top[low - start], top[high - start]
    return lower + (place - low) * (upper - lower)


def _weighted_quantiles(values: np.ndarray, weights: np.ndarray, levels: np.ndarray) -> np.ndarray:
    order = np.argsort(values)
    values, ends = values[order].astype(np.float64), np.cumsum(weights[order])
    width = min(1.0, ends[-1])
    found = np.empty(levels.shape)
    for at, level in np.ndenumerate(levels):
        start = level * (ends[-1] - width)
        first = int(np.searchsorted(ends[:-1], start, side="right"))
        last = int(np.searchsorted(ends[:-1], start + width, side="left"))
        cuts = np.clip(ends[first : last + 1], start, start + width)
        share = np.diff(np.concatenate([[start], cuts]))
        base = values[first]  # a plateau, such as that of dry cells, comes out to the bit
        found[at] = base + share @ (values[first : last + 1] - base) / max(share.sum(), 1e-300)
    return found


def quantile_ratios(
    obs: Any, sim: Any, levels: Any = None, *, weights: Any = None
) -> QuantileRatios:
    """Compare the quantiles of two samples of rain rate.

    Parameters
    ----------
    obs, sim : array-like
        Rain rate in mm/h, of any shapes and sizes; NaN is ignored.
    levels : array-like of shape (n_levels,), default=None
        Probabilities; by default `extreme_quantile_levels` of the smaller sample, which is as
        large as its weights add up to.
    weights : array-like of shape (n,), default=None
        What each sequence of `sim` counts. By default the coordinate ``weight`` of a DataArray,
        where it carries one, and else all alike; so in any case for `obs`.

    Returns
    -------
    QuantileRatios
        ``(levels, obs, sim, ratio)``.

    Examples
    --------
    >>> from skdiffuse.metrics import quantile_ratios
    >>> quantile_ratios([0.0, 1, 2, 3], [0.0, 2, 4, 6], levels=[0.5, 1]).ratio
    array([2., 2.])
    """
    check_same_units(obs, sim)
    a, b = weighted_values(obs, name="obs"), weighted_values(sim, weights, "sim")
    if levels is None:
        # Sums of weights that are meant to be whole miss it by rounding.
        levels = extreme_quantile_levels(min(amount(*a), amount(*b)) * (1 + 1e-12))
    levels = np.asarray(levels, dtype=np.float64)
    q_obs, q_sim = _quantiles(*a, levels), _quantiles(*b, levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = q_sim / q_obs
    return QuantileRatios(levels, q_obs, q_sim, ratio)


def _log_ratio(q_obs: np.ndarray, q_sim: np.ndarray) -> float:
    """Root mean square logarithm of the ratio of quantiles; NaN where there are none."""
    if np.size(q_obs) == 0:
        return float("nan")
    log_ratio = np.log(np.maximum(q_sim, TRACE) / np.maximum(q_obs, TRACE))
    return float(np.sqrt(np.mean(log_ratio**2)))


def quantile_error(obs: Any, sim: Any, levels: Any = None, *, weights: Any = None) -> float:
    """Return the root mean square of ``ln(q_sim / q_obs)`` over the extreme quantiles.

    0 is perfect; 0.1 is about 10 % on each quantile. Both quantiles are floored at the trace
    rate of 0.01 mm/h, so that a dry one counts as a large error and not an infinite one.

    Parameters
    ----------
    obs, sim : array-like
        Rain rate in mm/h, of any shapes and sizes; NaN is ignored.
    levels : array-like, default=None
        Probabilities; by default `extreme_quantile_levels` of the smaller sample.
    weights : array-like of shape (n,), default=None
        As for `quantile_ratios`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import quantile_error
    >>> rain = np.arange(1000.0)
    >>> round(quantile_error(rain, 1.1 * rain), 4), round(float(np.log(1.1)), 4)
    (0.0953, 0.0953)
    """
    q = quantile_ratios(obs, sim, levels, weights=weights)
    if q.levels.size == 0:
        raise ValueError(
            "obs and sim are too small for the extreme quantiles: 12 valid values are needed "
            "for the level 0.91. Give levels."
        )
    return _log_ratio(q.obs, q.sim)


def fine_counts(X: Any, weights: Any = None) -> np.ndarray:
    """Return the number of dry cells and of those in each of 64 bins a decade, 0.01 to 1000 mm/h.

    What `quantiles_of_counts` needs; counts of several cubes may be added.
    """
    return rate_counts(X, _FINE_EDGES, weights)


def quantiles_of_counts(counts: np.ndarray, levels: Any) -> np.ndarray:
    """Return quantiles in mm/h of counts in fine bins, right to about 2 %.

    They are interpolated in the logarithm of the rate; the dry atom stands at the first edge.

    Parameters
    ----------
    counts : array-like of shape (n_bins + 1,)
        From `fine_counts`.
    levels : array-like
        Probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.quantiles import fine_counts, quantiles_of_counts
    >>> quantiles_of_counts(fine_counts(np.arange(1, 1001) / 10), [0.5, 0.9]).round(1)
    array([50.1, 90.1])
    """
    reached = np.cumsum(shares(counts))
    if np.isnan(reached).any():  # of no value there is no quantile
        return np.full(np.shape(levels), np.nan)
    return np.exp(np.interp(levels, reached, np.log(_FINE_EDGES)))


def _extremes_of_counts(counts: np.ndarray, n: float) -> np.ndarray:
    # Ten of the n values lie beyond the highest level: bins cannot place a single one.
    return quantiles_of_counts(counts, extreme_quantile_levels(n // 10))


# Exact quantiles need all values in order; fine bins are nearly as good and can be resampled.
register(
    Score(
        "quantile_error", quantile_error, "Extremes", formula=_log_ratio,
        statistic=Statistic("fine rain rates", fine_counts, finish=_extremes_of_counts),
        reading=lambda v: f"extreme quantiles are off by a factor of about {np.exp(v):.2f}",
    )
)  # fmt: skip
