"""Where it rains too much or too little: the geography of the mean."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import blocks, check_same_grid, like
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.metrics.readings import more_or_less, per_cent
from skdiffuse.metrics.score import Score, Statistic, register
from skdiffuse.metrics.weights import weighted_sum
from skdiffuse.runtime.array_types import ArrayOrDataArray


class BiasSummary(NamedTuple):
    """One map of the mean-normalised bias in five numbers.

    Attributes
    ----------
    domain : float
        Bias of the domain mean, ``mean(sim) / mean(obs) - 1``.
    mean_absolute : float
        Mean over the map of the absolute bias.
    root_mean_square : float
        Root mean square over the map.
    lowest, highest : float
        5 % and 95 % quantiles over the map.
    """

    domain: float
    mean_absolute: float
    root_mean_square: float
    lowest: float
    highest: float


def map_sums(X: Any, name: str = "X", weights: Any = None) -> np.ndarray:
    """Return the sum and the number of the valid values of each cell, shape (2, y, x)."""
    return weighted_sum(_map_sums, X, weights, name, item_ndim=2)


def _map_sums(X: Any) -> np.ndarray:
    shape = np.shape(X)[-2:]
    sums = np.zeros((2, *shape))
    for block in blocks(X, item_ndim=2):
        frames = block.reshape(-1, *shape)
        sums[0] += np.nansum(frames, axis=0, dtype=np.float64)
        sums[1] += np.count_nonzero(~np.isnan(frames), axis=0)
    return sums


def map_of_sums(sums: np.ndarray, n: float = 0) -> np.ndarray:
    """Return the map of means out of `map_sums`; NaN where a cell has no valid value."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[1] > 0, sums[0] / sums[1], np.nan)


def mean_map(X: Any, name: str = "X", weights: Any = None) -> np.ndarray:
    """Return the mean rain rate of each cell, shape (y, x); NaN where it has no valid value."""
    return map_of_sums(map_sums(X, name, weights))


@samples_by_name("sim")
def mean_normalised_bias(obs: Any, sim: Any, *, weights: Any = None) -> ArrayOrDataArray:
    """Return the map of the mean-normalised bias, ``mean(sim) / mean(obs) - 1``.

    A ratio of means over samples and time, never a mean of ratios, which dry hours make
    infinite. NaN where a cell never rains in `obs` or is missing in either.

    Parameters
    ----------
    obs, sim : array-like of shape (..., y, x)
        Rain rate in mm/h on one grid; leading dimensions may differ. NaN is ignored.
    weights : array-like of shape (n,), default=None
        What each sequence of `sim` counts. By default the coordinate ``weight`` of a DataArray,
        where it carries one, and else all alike; so in any case for `obs`.

    Returns
    -------
    ndarray or DataArray of shape (y, x)
        Dimensionless: 0 without bias, 0.5 for half as much again, -1 for no rain. A DataArray
        with the coordinates of `obs` where that is one.

    Raises
    ------
    ValueError
        Where the grids, calendars or units differ; the message says which.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import mean_normalised_bias
    >>> obs = np.ones((5, 4, 2, 2))
    >>> mean_normalised_bias(obs, 1.25 * obs[:3])
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    check_same_grid(obs, sim)
    observed = mean_map(obs, "obs")
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.where(observed > 0, mean_map(sim, "sim", weights) / observed - 1, np.nan)
    if not hasattr(obs, "dims"):
        return bias
    cell = obs.isel({d: 0 for d in obs.dims[:-2]}, drop=True)
    return like(cell, bias, "mean_normalised_bias", "1")


@samples_by_name("sim")
def bias_summary(obs: Any, sim: Any, *, weights: Any = None) -> BiasSummary:
    """Summarise the map of the mean-normalised bias.

    Parameters
    ----------
    obs, sim : array-like of shape (..., y, x)
        Rain rate in mm/h on one grid.
    weights : array-like of shape (n,), default=None
        As for `mean_normalised_bias`.

    Returns
    -------
    BiasSummary
        ``(domain, mean_absolute, root_mean_square, lowest, highest)``.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import bias_summary
    >>> bias_summary(np.ones((4, 2, 2)), np.full((4, 2, 2), 1.25)).domain
    0.25
    """
    bias = np.asarray(mean_normalised_bias(obs, sim, weights=weights))
    bias = bias[~np.isnan(bias)]
    if bias.size == 0:
        raise ValueError("No cell rains in obs and is valid in sim: there is no bias to state.")
    domain = np.nanmean(mean_map(sim, weights=weights)) / np.nanmean(mean_map(obs)) - 1
    low, high = np.quantile(bias, [0.05, 0.95])
    return BiasSummary(
        float(domain),
        float(np.mean(np.abs(bias))),
        float(np.sqrt(np.mean(bias**2))),
        float(low),
        float(high),
    )


def _defined(score: float) -> float:
    """The score, or an error where no map gives one."""
    if np.isnan(score):
        raise ValueError("obs is dry or missing everywhere: its mean can normalise nothing.")
    return score


def relative_bias(observed: float, simulated: float) -> float:
    """Return ``simulated / observed - 1``; NaN where nothing rains in the observations."""
    return float(simulated / observed - 1) if observed > 0 else float("nan")


def _valid_in_both(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = ~np.isnan(a) & ~np.isnan(b)
    return a[both], b[both]


def _bias_of_maps(a: np.ndarray, b: np.ndarray) -> float:
    a, b = _valid_in_both(a, b)
    return relative_bias(a.mean(), b.mean()) if a.size else float("nan")


@samples_by_name("sim")
def mean_bias(obs: Any, sim: Any, *, weights: Any = None) -> float:
    """Return the relative bias of the domain mean, ``mean(sim) / mean(obs) - 1``.

    Both means are over the cells that are valid somewhere in both cubes. Weights as for
    `mean_normalised_bias`.

    Examples
    --------
    >>> from skdiffuse.metrics import mean_bias
    >>> mean_bias([[1.0, 3.0]], [[1.0, 1.0]])
    -0.5
    """
    check_same_grid(obs, sim)
    return _defined(_bias_of_maps(mean_map(obs, "obs"), mean_map(sim, "sim", weights)))


def _map_error_of_maps(a: np.ndarray, b: np.ndarray) -> float:
    a, b = _valid_in_both(a, b)
    return float(np.abs(b - a).mean() / a.mean()) if a.size and a.mean() > 0 else float("nan")


@samples_by_name("sim")
def map_error(obs: Any, sim: Any, *, weights: Any = None) -> float:
    """Return how far the map of mean rain is off, as a share of the mean.

    ``mean |m_sim - m_obs| / mean m_obs`` with m the mean rain of each cell, over the cells that
    are valid somewhere in both cubes. 0 is perfect; never less than the size of `mean_bias`.

    Parameters
    ----------
    obs, sim : array-like of shape (..., y, x)
        Rain rate in mm/h on one grid; leading dimensions may differ. NaN is ignored.
    weights : array-like of shape (n,), default=None
        As for `mean_normalised_bias`.

    Examples
    --------
    >>> from skdiffuse.metrics import map_error
    >>> map_error([[1.0, 3.0]], [[3.0, 1.0]])
    1.0
    """
    check_same_grid(obs, sim)
    return _defined(_map_error_of_maps(mean_map(obs, "obs"), mean_map(sim, "sim", weights)))


@samples_by_name("sim")
def pattern_correlation(obs: Any, sim: Any, *, weights: Any = None) -> float:
    """Return the correlation between the observed and the simulated map of mean rain.

    Pearson's coefficient over cells; its square is the R^2 of the dissertation's maps.
    1 where rain falls in the right places, whatever its amount. Weights as for
    `mean_normalised_bias`.

    Examples
    --------
    >>> from skdiffuse.metrics import pattern_correlation
    >>> round(pattern_correlation([[1.0, 2, 3]], [[2.0, 4, 6]]), 12)
    1.0
    """
    check_same_grid(obs, sim)
    return _correlation(mean_map(obs, "obs"), mean_map(sim, "sim", weights))


@samples_by_name("sim", "other")
def bias_pattern_correlation(obs: Any, sim: Any, other: Any, *, weights: Any = None) -> float:
    """Return the correlation between the bias maps of two simulations.

    High where two models err in the same places: the error then lies in what they share (the
    data, the network) and not in what tells them apart (Herbert's dissertation, Figure 4.16).

    Parameters
    ----------
    obs, sim, other : array-like of shape (..., y, x)
        Rain rate in mm/h on one grid.
    weights : array-like of shape (n,), default=None
        As for `mean_normalised_bias`; those of `other` by its coordinate.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import bias_pattern_correlation
    >>> rng = np.random.default_rng(0)
    >>> obs, sim = rng.exponential(size=(2, 50, 8, 8))
    >>> round(bias_pattern_correlation(obs, sim, 2 * sim), 12)
    1.0
    """
    return _correlation(
        np.asarray(mean_normalised_bias(obs, sim, weights=weights)),
        np.asarray(mean_normalised_bias(obs, other)),
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = _valid_in_both(a, b)
    if a.size < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt(np.sum(a**2) * np.sum(b**2))
    return float(np.sum(a * b) / norm) if norm > 0 else float("nan")


MAP = Statistic("map of the mean", map_sums, finish=map_of_sums)

register(
    Score(
        "mean_bias", mean_bias, "Mean rain", direction="none", statistic=MAP,
        formula=_bias_of_maps,
        reading=lambda v: more_or_less(v, "too much rain", "too little rain"),
    )
)  # fmt: skip
register(
    Score(
        "map_error", map_error, "Where it rains", statistic=MAP, formula=_map_error_of_maps,
        reading=lambda v: f"mean rain is misplaced by {per_cent(v)} of its amount",
    )
)  # fmt: skip
register(
    Score(
        "pattern_correlation", pattern_correlation, "Where it rains: correlation", perfect=1,
        direction="greater", statistic=MAP, formula=_correlation, in_card=False,
        reading=lambda v: f"maps of mean rain correlate by {v:.2f}",
    )
)  # fmt: skip
