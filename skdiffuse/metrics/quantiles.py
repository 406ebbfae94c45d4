"""Quantiles of rain rate far into the tail, observed against simulated."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import TRACE, check_same_units, valid_values
from skdiffuse.metrics.intensity import intensity_edges, rate_counts, shares
from skdiffuse.metrics.score import Score, Statistic, register

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


def extreme_quantile_levels(n: int) -> np.ndarray:
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


def quantiles(X: Any, levels: Any) -> np.ndarray:
    """Return the quantiles of all valid values of `X`, interpolated linearly in float64.

    The same as ``np.quantile(X[~isnan(X)], levels)``, without rounding the levels to the
    precision of the data and without sorting what lies below the lowest level.

    Examples
    --------
    >>> from skdiffuse.metrics import quantiles
    >>> quantiles([0, 1, 2, float("nan"), 4], [0.5, 1])
    array([1.5, 4. ])
    """
    return _quantiles(valid_values(X), levels)


def _quantiles(values: np.ndarray, levels: Any) -> np.ndarray:
    levels = np.asarray(levels, dtype=np.float64)
    if levels.size == 0:
        return np.empty(levels.shape)
    if not np.all((levels >= 0) & (levels <= 1)):
        raise ValueError(f"levels must lie between 0 and 1; got {levels!r}.")
    place = levels * (values.size - 1)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, values.size - 1)
    # Sorting the tail alone: what lies below the lowest level needs no order.
    start = int(low.min())
    top = np.sort(np.partition(values, start)[start:]).astype(np.float64)
    lower, upper = top[low - start], top[high - start]
    return lower + (place - low) * (upper - lower)


def quantile_ratios(obs: Any, sim: Any, levels: Any = None) -> QuantileRatios:
    """Compare the quantiles of two samples of rain rate.

    Parameters
    ----------
    obs, sim : array-like
        Rain rate in mm/h, of any shapes and sizes; NaN is ignored.
    levels : array-like of shape (n_levels,), default=None
        Probabilities; by default `extreme_quantile_levels` of the smaller sample.

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
    a, b = valid_values(obs, "obs"), valid_values(sim, "sim")
    if levels is None:
        levels = extreme_quantile_levels(min(a.size, b.size))
    levels = np.asarray(levels, dtype=np.float64)
    q_obs, q_sim = _quantiles(a, levels), _quantiles(b, levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = q_sim / q_obs
    return QuantileRatios(levels, q_obs, q_sim, ratio)


def _log_ratio(q_obs: np.ndarray, q_sim: np.ndarray) -> float:
    """Root mean square logarithm of the ratio of quantiles; NaN where there are none."""
    if np.size(q_obs) == 0:
        return float("nan")
    log_ratio = np.log(np.maximum(q_sim, TRACE) / np.maximum(q_obs, TRACE))
    return float(np.sqrt(np.mean(log_ratio**2)))


def quantile_error(obs: Any, sim: Any, levels: Any = None) -> float:
    """Return the root mean square of ``ln(q_sim / q_obs)`` over the extreme quantiles.

    0 is perfect; 0.1 is about 10 % on each quantile. Both quantiles are floored at the trace
    rate of 0.01 mm/h, so that a dry one counts as a large error and not an infinite one.

    Parameters
    ----------
    obs, sim : array-like
        Rain rate in mm/h, of any shapes and sizes; NaN is ignored.
    levels : array-like, default=None
        Probabilities; by default `extreme_quantile_levels` of the smaller sample.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import quantile_error
    >>> rain = np.arange(1000.0)
    >>> round(quantile_error(rain, 1.1 * rain), 4), round(float(np.log(1.1)), 4)
    (0.0953, 0.0953)
    """
    q = quantile_ratios(obs, sim, levels)
    if q.levels.size == 0:
        raise ValueError(
            "obs and sim are too small for the extreme quantiles: 12 valid values are needed "
            "for the level 0.91. Give levels."
        )
    return _log_ratio(q.obs, q.sim)


def fine_counts(X: Any) -> np.ndarray:
    """Return the number of dry cells and of those in each of 64 bins a decade, 0.01 to 1000 mm/h.

    What `quantiles_of_counts` needs; counts of several cubes may be added.
    """
    return rate_counts(X, _FINE_EDGES)


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


def _extremes_of_counts(counts: np.ndarray, n: int) -> np.ndarray:
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
