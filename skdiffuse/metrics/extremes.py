"""The tail: return levels, extremes that come together, and how they thin out over areas."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.optimize import fmin, minimize
from scipy.stats import genextreme, genpareto
from sklearn.utils import check_random_state

from skdiffuse.metrics.arrays import blocks, check_ndim, check_whole
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.metrics.quantiles import _quantiles
from skdiffuse.metrics.weights import (
    amount,
    sequences_first,
    weighted_sum,
    weighted_values,
    weights_of,
)

# What a value that a law excludes adds to its negative log-likelihood, as in SciPy's fits.
PENALTY = 100 * np.log(np.finfo(np.float64).max)


class ReturnLevels(NamedTuple):
    """Rates that are exceeded once in a return period, on average.

    Attributes
    ----------
    period : ndarray of shape (n_periods,)
        Return periods, in blocks.
    level, low, high : ndarray of shape (n_periods,)
        Return level in mm/h with its confidence interval.
    shape : float
        Shape parameter xi of the fitted law; positive for heavy tails.
    n : int
        Number of maxima or exceedances fitted.
    """

    period: np.ndarray
    level: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shape: float
    n: int


def return_levels(
    X: Any,
    periods: Any,
    *,
    method: Literal["gev", "pot"] = "gev",
    per_block: int | None = None,
    threshold_level: float = 0.95,
    n_resamples: int = 200,
    confidence: float = 0.95,
    random_state: Any = None,
    weights: Any = None,
) -> ReturnLevels:
    """Estimate return levels with intervals from the bootstrap.

    ``gev``: X holds one maximum a block, to which the generalised extreme-value law is fitted by
    maximum likelihood; the level of period T is its quantile 1 - 1/T. ``pot``: X holds single
    independent values, `per_block` of which make up a block; the generalised Pareto law is fitted
    to the excesses over a high quantile u, and ``level(T) = u + (sigma/xi) ((T n zeta)^xi - 1)``
    with zeta the share above u (Coles 2001, An Introduction to Statistical Modeling of Extreme
    Values, chapters 3 and 4).

    Parameters
    ----------
    X : array-like
        Block maxima, or independent values, in mm/h; NaN is ignored. Values that follow each
        other in a storm are not independent: decluster them (take the maximum of each) first.
    periods : array-like
        Return periods in blocks, greater than 1.
    method : {"gev", "pot"}, default="gev"
        Block maxima or peaks over threshold.
    per_block : int
        Values in a block; needed for ``pot``.
    threshold_level : float, default=0.95
        Quantile level of the threshold u of ``pot``.
    n_resamples, confidence, random_state
        Of the bootstrap: parametric, and where values have weights of the values together with
        them, since how often the law would have drawn each is not known to it.
    weights : array-like of shape (n,), default=None
        What each maximum or value (entry of the first dimension) counts, in the likelihood too;
        by default the coordinate ``weight`` of a DataArray that carries one, and else all alike.

    Raises
    ------
    ValueError
        With fewer than 20 maxima or excesses.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import return_levels
    >>> maxima = np.random.default_rng(0).gumbel(20, 5, size=300)
    >>> r = return_levels(maxima, [10, 100], n_resamples=20, random_state=0)
    >>> bool(np.all((r.low < r.level) & (r.level < r.high)))
    True
    """
    values, w = weighted_values(X, weights)
    values = values.astype(np.float64)
    T = np.atleast_1d(np.asarray(periods, dtype=np.float64))
    if np.any(T <= 1):
        raise ValueError(f"periods must be greater than one block; got {periods!r}.")
    if method == "gev":
        law, base, data, w_data, exceeding = genextreme, 0.0, values, w, 1 / T
    elif method == "pot":
        if per_block is None:
            raise ValueError("method='pot' needs per_block, the number of values in a block.")
        base = float(_quantiles(values, w, threshold_level))
        above = values > base
        data, w_data = values[above] - base, None if w is None else w[above]
        law = genpareto
        exceeding = amount(values, w) / (T * per_block * amount(data, w_data))
        if np.any(exceeding >= 1):
            raise ValueError("A return level lies below the threshold: lower threshold_level.")
    else:
        raise ValueError(f"method must be 'gev' or 'pot'; got {method!r}.")
    if data.size < 20:
        raise ValueError(
            f"{data.size} {'maxima' if method == 'gev' else 'excesses'} are too few to fit a tail: "
            "20 are the least."
        )

    def fit(
        sample: np.ndarray, start: tuple[float, ...] = (), w: np.ndarray | None = None
    ) -> tuple[float, ...]:
        if w is not None:
            return _weighted_fit(law, sample, w, start or fit(sample))
        # Resamples resemble the data: their fits start where that of the data ended.
        shape, near = start[:1], dict(zip(("loc", "scale"), start[1:], strict=False))
        if law is genpareto:
            near.pop("loc", None)
            return law.fit(sample, *shape, floc=0, optimizer=_minimum, **near)
        return law.fit(sample, *shape, optimizer=_minimum, **near)

    found = fit(data, w=w_data)
    rng = check_random_state(random_state)

    def again() -> tuple[float, ...]:
        if w_data is None:
            return fit(law.rvs(*found, size=data.size, random_state=rng), found)
        chosen = rng.randint(data.size, size=data.size)
        return fit(data[chosen], found, w_data[chosen])

    draws = np.array([law.isf(exceeding, *again()) for _ in range(n_resamples)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    # scipy's GEV has the shape with the opposite sign.
    shape = -found[0] if law is genextreme else found[0]
    level = base + law.isf(exceeding, *found)
    return ReturnLevels(T, level, base + low, base + high, float(shape), int(data.size))


def _minimum(_: Any, start: np.ndarray, args: tuple[np.ndarray], disp: int) -> np.ndarray:
    """Where SciPy's fit would end, whose own likelihood takes thirty times as long."""

    def loss(theta: np.ndarray, data: np.ndarray) -> float:
        if theta[-1] <= 0:
            return np.inf
        each = _log_density(theta, data)
        inside = np.isfinite(each)
        return -float(each[inside].sum()) + PENALTY * np.count_nonzero(~inside)

    return fmin(loss, start, args=args, disp=disp)


def _log_density(theta: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Of excesses, by shape and scale; of maxima, by shape, location and scale, as SciPy has them.

    It is -inf for what the law excludes.
    """
    shape, *location, scale = theta
    x = (data - location[0]) / scale if location else data / scale
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if location:
            power = -x if shape == 0 else np.log1p(-shape * x) / shape
            each = -np.exp(power) + (1 - shape) * power
        else:
            each = -x if shape == 0 else -(1 + 1 / shape) * np.log1p(shape * x)
            each = np.where(x >= 0, each, -np.inf)
    return np.where(np.isnan(each), -np.inf, each) - np.log(scale)


def _weighted_fit(
    law: Any, data: np.ndarray, w: np.ndarray, start: tuple[float, ...]
) -> tuple[float, ...]:
    """Parameters of the largest weighted likelihood; a location of 0 of excesses stays."""
    excesses = law is genpareto

    def loss(x: np.ndarray) -> float:
        theta = np.array([*x[:-1], np.exp(x[-1])])
        return -float(w @ np.maximum(_log_density(theta, data), -1e3)) / w.sum()

    # The logarithm of the scale has no bound.
    x = [start[0], *([] if excesses else [start[1]]), np.log(start[2])]
    options = {"xatol": 1e-6, "fatol": 1e-10, "maxiter": 2000}
    shape, *location, scale = minimize(loss, x, method="Nelder-Mead", options=options).x
    return shape, *(location or [0.0]), np.exp(scale)


@samples_by_name()
def tail_dependence(X: Any, distance: int, *, level: float = 0.99, weights: Any = None) -> float:
    """Return how often a cell is extreme given that another some cells away is.

    ``chi(u) = P(F(B) > u | F(A) > u)`` with F the distribution of all cells, over pairs of cells
    `distance` rows or columns apart (Coles, Heffernan and Tawn 1999, Extremes 2, 339). ``1 - u``
    for independent cells, 1 for cells that are extreme together.

    Parameters
    ----------
    X : array-like of shape (..., y, x)
        Rain rate in mm/h; NaN is left out.
    distance : int
        Cells between the two.
    level : float, default=0.99
        Quantile level u of what is extreme.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import tail_dependence
    >>> noise = np.random.default_rng(0).gamma(0.5, size=(100, 32, 32))
    >>> round(tail_dependence(noise, 1, level=0.9), 2)
    0.1
    """
    check_ndim(X, 2, "X")
    distance = check_whole(distance, "distance")
    shortest = min(np.shape(X)[-2:])
    if not 1 <= distance < shortest:
        raise ValueError(f"distance must lie between 1 and {shortest - 1}; got {distance}.")
    u = float(_quantiles(*weighted_values(X, weights), level))

    def counts(part: Any) -> np.ndarray:
        both = extreme = 0
        for block in blocks(part, item_ndim=2):
            for a, b in (
                (block[..., distance:, :], block[..., :-distance, :]),
                (block[..., distance:], block[..., :-distance]),
            ):
                known = ~np.isnan(a) & ~np.isnan(b)
                # Either cell of a pair may be the one that is given.
                both += 2 * int(np.count_nonzero((a > u) & (b > u)))
                extreme += int(np.count_nonzero((a > u) & known))
                extreme += int(np.count_nonzero((b > u) & known))
        return np.array([both, extreme])

    both, extreme = weighted_sum(counts, X, weights, item_ndim=2)
    return float(both / extreme) if extreme else float("nan")


@samples_by_name()
def areal_reduction_factor(
    X: Any, size: int, *, level: float = 0.999, weights: Any = None
) -> float:
    """Return how much less extreme the mean over an area is than rain at a point.

    The quantile of means over squares of `size` x `size` cells, over the quantile of single
    cells, at one level: 1 where extremes are wider than the area, small where they are points
    (after the fixed-area factor of the US Weather Bureau, Technical Paper 29, 1957).

    Parameters
    ----------
    X : array-like of shape (..., y, x)
        Rain rate in mm/h. Squares with missing cells are left out.
    size : int
        Side of the squares, which do not overlap.
    level : float, default=0.999
        Quantile level.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import areal_reduction_factor
    >>> flat = np.random.default_rng(0).gamma(0.5, size=(500, 1, 1)) * np.ones((8, 8))
    >>> round(areal_reduction_factor(flat, 4), 6)
    1.0
    """
    check_ndim(X, 2, "X")
    size = check_whole(size, "size")
    ny, nx = np.shape(X)[-2:]
    if not 1 <= size <= min(ny, nx):
        raise ValueError(f"size must lie between 1 and {min(ny, nx)}; got {size}.")
    X = sequences_first(X, weights, item_ndim=2)
    w = weights_of(X, weights)
    cells, means = [], []
    for block in blocks(X, item_ndim=2):
        whole = block[..., : ny // size * size, : nx // size * size]
        squares = whole.reshape(*block.shape[:-2], ny // size, size, nx // size, size)
        cells.append(whole)
        means.append(squares.mean(axis=(-3, -1), dtype=np.float64))
    area, point = (
        float(_quantiles(*weighted_values(np.concatenate(part), w), level))
        for part in (means, cells)
    )
    return area / point if point > 0 else float("nan")
