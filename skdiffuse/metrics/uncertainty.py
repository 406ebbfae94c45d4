"""How sure is a score, and how sure a difference between two?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm, t
from sklearn.utils import check_random_state

from skdiffuse.cubes.alignment import align_labels
from skdiffuse.cubes.layout import has_names, kind_of
from skdiffuse.metrics.arrays import check_same_labels, to_numpy
from skdiffuse.metrics.weights import weights_of, with_weights

_JACKKNIFE_GROUPS = 100  # more than these are left out in groups


class BootstrapResult(NamedTuple):
    """A score with its uncertainty.

    Attributes
    ----------
    value : float or ndarray
        The score of the data as they are.
    low, high : float or ndarray
        Confidence interval.
    standard_error : float or ndarray
        Standard deviation over resamples.
    n : int
        Number of blocks (in the smaller sample), the sample size that counts.
    """

    value: Any
    low: Any
    high: Any
    standard_error: Any
    n: int


def align_units(
    obs: Any, others: Any, paired: bool, block_length: int | None, names: list[str]
) -> list[Any]:
    """Bring arrays to the order of dimensions of the first, whose own is refused if it is wrong.

    Whoever resamples hands plain arrays on to a metric: it cannot tell any more.
    """
    if not has_names(obs):
        return [obs, *others]
    _check_order(obs, names[0])
    kinds = [kind_of(obs, dim) for dim in obs.dims]
    if block_length is None and kinds[0] == "time" and kinds[1:2] in (["case"], ["member"]):
        raise ValueError(
            f"{names[0]} has the dimensions {obs.dims}, and whole sequences are resampled: use "
            f"{names[0]}.transpose({obs.dims[1]!r}, ...), or give block_length to resample times."
        )
    compared = obs.dims if paired else obs.dims[1:][-2:]
    found = [obs]
    for X, name in zip(others, names[1:], strict=False):
        if has_names(X) and set(X.dims) == set(obs.dims):
            X = align_labels(X.transpose(*obs.dims), obs, compared)
            check_same_labels(obs, X, compared, (names[0], name))
        elif has_names(X):
            _check_order(X, name)
            if X.dims[0] != obs.dims[0] and obs.dims[0] in X.dims:
                raise ValueError(
                    f"{name} has the dimensions {X.dims}, and {names[0]} {obs.dims}: what is "
                    f"resampled must come first, {name}.transpose({obs.dims[0]!r}, ...)."
                )
        found.append(X)
    return found


def _check_order(X: Any, name: str) -> None:
    """Raise where names tell that time, y and x do not follow each other in this order."""
    places = {"time": 0, "y": 1, "x": 2}
    known = [d for d in X.dims if kind_of(X, d) in places]
    right = sorted(known, key=lambda d: places[str(kind_of(X, d))])
    if known != right:
        follow = iter(right)
        order = tuple(next(follow) if d in known else d for d in X.dims)
        raise ValueError(
            f"{name} has the dimensions {X.dims}; time, y and x must follow each other in this "
            f"order: {name}.transpose{order}."
        )


def blocks_of(X: Any, block_length: int | None, name: str) -> np.ndarray:
    """Cut a cube into its resampling units, along a new first axis."""
    X = to_numpy(X, name)
    if X.ndim == 0:
        raise ValueError(f"{name} must be an array of samples; got a scalar.")
    if block_length is None:
        return X
    if not (isinstance(block_length, Integral) and 1 <= block_length <= len(X)):
        raise ValueError(
            f"block_length must lie between 1 and the {len(X)} steps of {name}; got "
            f"{block_length!r}."
        )
    length = int(block_length)
    count = len(X) // length
    return X[: count * length].reshape(count, length, *X.shape[1:])


def block_weights(X: Any, weights: Any, block_length: int | None, name: str) -> np.ndarray | None:
    """Weights of the resampling units of a cube; an error where they are blocks of a series."""
    w = weights_of(X, weights, name)
    if w is not None and block_length is not None:
        raise ValueError(
            f"{name} has weights, which are those of sequences, and block_length={block_length} "
            "cuts a series: give sequences (n, time, y, x), or no weights."
        )
    return w


def check_resampling(n_resamples: Any, confidence: Any) -> None:
    """Raise unless the numbers of a resampling are such."""
    if not (isinstance(confidence, Real) and 0 < float(confidence) < 1):
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence!r}.")
    if not (isinstance(n_resamples, Integral) and int(n_resamples) >= 2):
        raise ValueError(f"n_resamples must be at least 2, a whole number; got {n_resamples!r}.")


def check_blocks(n: int, name: str) -> None:
    if n < 2:
        raise ValueError(
            f"{name} has too few blocks to bootstrap: {n}. Give more sequences, or a smaller "
            "block_length for one long series."
        )


def bootstrap(
    metric: Callable[..., Any],
    obs: Any,
    *others: Any,
    paired: bool = False,
    block_length: int | None = None,
    n_resamples: int = 400,
    confidence: float = 0.95,
    random_state: Any = None,
    weights: Any = None,
) -> BootstrapResult:
    """Return a score with a confidence interval by resampling whole blocks.

    Hours of one storm are not independent, sequences are: whole sequences (or blocks of a long
    series) are drawn with replacement and the score computed anew (Kuensch 1989, Ann. Statist.
    17, 1217). The interval is the bias-corrected percentile interval (Efron 1987, JASA 82, 171),
    since scores that are never negative are biased upwards in every resample, widened from
    normal to Student quantiles for the blocks being few (Hesterberg 2015, Am. Stat. 69, 371).
    Where a few blocks decide the score, the spread of resamples is itself uncertain: the degrees
    of freedom then follow from the kurtosis k of the influence of single blocks (by the
    jackknife), ``df = 2 / ((k - 3)/n + 2/(n - 1))``, combined over samples after Satterthwaite
    (1946, Biometrics 2, 110).

    The interval says how well the score is known. Whether a distance, which is never zero in
    finite samples, differs from what equal distributions give is answered by
    `permutation_test`.

    Parameters
    ----------
    metric : callable
        ``metric(obs, *others) -> float or array``.
    obs, *others : array-like of shape (n, ...)
        Mostly one other, the simulation.
        Sequences (n, time, y, x), or with `block_length` one series (time, ...). Numbers of
        sequences may differ where not `paired`.
    paired : bool, default=False
        Draw the same blocks of all arrays (a forecast and what came true; two models on the
        same cases) and not each on its own (unconditional samples).
    block_length : int, default=None
        Steps in a block of a long series; choose it longer than the memory of the weather, about
        a day or two for hourly rain. A rest shorter than a block is left out.
    n_resamples : int, default=400
        Resamples; few of them make the ends of the interval rough, not the interval too narrow.
        1000 or more for final figures.
    confidence : float, default=0.95
        Level of the interval.
    random_state : int, RandomState or None
        Randomness of the resampling.
    weights : array-like of shape (n,), default=None
        What each sequence of the first of `others` counts, by default its coordinate ``weight``;
        so in any case for the other arrays. Sequences are drawn together with their weights: the
        metric is handed DataArrays that carry them, as the functions of this package expect.

    Returns
    -------
    BootstrapResult
        ``(value, low, high, standard_error, n)``.

    Raises
    ------
    ValueError
        Where there are fewer than two blocks, paired arrays differ in number, or the score is
        undefined in more than half of the resamples (nearly all blocks are dry). Fewer undefined
        resamples are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import bootstrap, mean_bias
    >>> rain = np.random.default_rng(1).gamma(0.5, size=(2, 100, 4, 4))
    >>> result = bootstrap(mean_bias, rain[0], rain[1], random_state=0)
    >>> bool(result.low < 0 < result.high), result.n
    (True, 100)
    """
    check_resampling(n_resamples, confidence)
    names = ["obs", "sim", *(f"argument {i + 3}" for i in range(len(others) - 1))]
    arrays = align_units(obs, others, paired, block_length, names)
    units = [
        blocks_of(X, block_length, name)
        for X, name in zip(arrays, names[: len(arrays)], strict=True)
    ]
    counts = [
        block_weights(X, weights if i == 1 else None, block_length, name)
        for i, (X, name) in enumerate(zip(arrays, names, strict=False))
    ]
    if paired and any(w is not None for w in counts):
        raise ValueError(
            "paired=True resamples cases, each of which counts once: weights have no meaning there."
        )
    for unit, name in zip(units, names, strict=False):
        check_blocks(len(unit), name)
        if paired and len(unit) != len(units[0]):
            raise ValueError(
                f"paired arrays need one number of blocks: obs has {len(units[0])}, {name} has "
                f"{len(unit)}."
            )

    def joined(unit: np.ndarray) -> np.ndarray:
        return unit if block_length is None else unit.reshape(-1, *unit.shape[2:])

    def score(chosen: list[np.ndarray]) -> np.ndarray:
        return np.asarray(
            metric(
                *(
                    with_weights(joined(unit[i]), None if w is None else w[i])
                    for unit, w, i in zip(units, counts, chosen, strict=True)
                )
            ),
            dtype=np.float64,
        )

    rng = check_random_state(random_state)
    whole = [np.arange(len(unit)) for unit in units]
    value = score(whole)
    draws = np.full((n_resamples, *value.shape), np.nan)
    for b in range(n_resamples):
        if paired:
            chosen = [rng.randint(len(units[0]), size=len(units[0]))] * len(units)
        else:
            chosen = [rng.randint(len(unit), size=len(unit)) for unit in units]
        draws[b] = or_undefined(score, chosen)
    undefined = float(np.mean(np.isnan(draws)))
    if undefined > 0.5 and not np.isnan(value).any():
        raise ValueError(
            f"The score is undefined in {100 * undefined:.0f} % of the resamples: too few blocks "
            "hold what it needs (rain, events). Give more sequences, or a lower threshold."
        )
    freedom = _degrees_of_freedom(score, whole, paired, value)
    low, high = _percentile_limits(draws, value, confidence, min(map(len, units)), freedom)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a score undefined in all resamples
        error = np.nanstd(draws, axis=0, ddof=1)
    value, low, high, error = (
        v.item() if np.ndim(v) == 0 else v for v in (value, low, high, error)
    )
    return BootstrapResult(value, low, high, error, min(map(len, units)))


def bootstrap_means(
    function: Callable[..., Any],
    *tables: np.ndarray,
    paired: bool = False,
    weights: Sequence[np.ndarray | None] | None = None,
    **options: Any,
) -> BootstrapResult:
    """Bootstrap a function of the means of tables over their blocks (first axis).

    Much cheaper than `bootstrap` where a score needs no more of each block than a few numbers:
    a mean over resampled blocks is a product with how often each was drawn.

    Parameters
    ----------
    function : callable
        ``function(*means) -> float or array``, of one mean a table.
    *tables : array-like of shape (n, ...)
        A row for each block.
    paired : bool, default=False
        Draw the same blocks of all tables.
    weights : sequence of (array-like of shape (n,) or None), default=None
        What each row of each table counts.
    **options
        Passed to `bootstrap`.

    Returns
    -------
    BootstrapResult

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.uncertainty import bootstrap_means
    >>> sums_and_counts = np.array([[2.0, 4], [6.0, 4], [1.0, 4]])
    >>> float(bootstrap_means(lambda m: m[0] / m[1], sums_and_counts, random_state=0).value)
    0.75
    """
    shapes = [np.shape(table)[1:] for table in tables]
    flat = [np.asarray(table, dtype=np.float64).reshape(len(table), -1) for table in tables]
    numbers = [np.arange(len(table)) for table in tables]
    each = [1.0 if w is None else w for w in weights or [None] * len(tables)]

    def mean(chosen: np.ndarray, table: np.ndarray, w: Any) -> np.ndarray:
        count = np.bincount(chosen, minlength=len(table)) * w
        return count / count.sum() @ table

    def score(*chosen: np.ndarray) -> Any:
        means = (
            mean(c, t, w).reshape(shape)
            for c, t, w, shape in zip(chosen, flat, each, shapes, strict=True)
        )
        return function(*means)

    return bootstrap(
        lambda *floats: score(*(f.astype(np.intp) for f in floats)),
        *(n.astype(np.float64) for n in numbers),
        paired=paired,
        **options,
    )


def or_undefined(score: Callable[..., Any], chosen: Any) -> Any:
    """The score of some blocks, NaN where it refuses them: all dry, or no event."""
    try:
        return score(chosen)
    except ValueError:
        return np.nan


def _degrees_of_freedom(
    score: Callable[..., np.ndarray], whole: list[np.ndarray], paired: bool, value: np.ndarray
) -> np.ndarray:
    """How many degrees of freedom the variance of a score has, at most n - 1."""
    most = min(map(len, whole)) - 1
    # Samples that are drawn together are left out together.
    together = [range(len(whole))] if paired else [[i] for i in range(len(whole))]
    variances, freedoms = [], []
    for members in together:
        n = len(whole[members[0]])
        groups = np.array_split(np.arange(n), min(n, _JACKKNIFE_GROUPS))
        left = np.array(
            [
                np.broadcast_to(
                    or_undefined(
                        score,
                        [np.delete(w, g) if i in members else w for i, w in enumerate(whole)],
                    ),
                    value.shape,
                )
                for g in groups
            ]
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            influence = left - left.mean(axis=0)
            second = np.mean(influence**2, axis=0)
            excess = np.mean(influence**4, axis=0) / second**2 - 3
        freedoms.append(2 / np.maximum(excess / len(groups) + 2 / (n - 1), 1e-9))
        variances.append(second * len(groups))
    with np.errstate(invalid="ignore", divide="ignore"):
        whole_variance = np.sum(variances, axis=0)
        found = whole_variance**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    return np.clip(np.where(np.isfinite(found), found, most), 1, most)


def _percentile_limits(
    draws: np.ndarray, value: np.ndarray, confidence: float, n: int, freedom: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected, widened percentile limits of resamples (first axis) of n blocks."""
    # A resample of n blocks varies by sqrt((n - 1)/n) too little.
    widths = t.ppf((1 + confidence) / 2, freedom).ravel() * np.sqrt(n / (n - 1))
    flat, centre = draws.reshape(len(draws), -1), value.ravel()
    limits = np.full((2, centre.size), np.nan)
    for c, z in enumerate(widths):
        known = flat[:, c][np.isfinite(flat[:, c])]
        if known.size < 2:
            continue
        below = np.mean(known < centre[c]) + np.mean(known == centre[c]) / 2
        # A share of 0 or 1 says only that the bias exceeds what the resamples can resolve.
        below = np.clip(below, 0.5 / known.size, 1 - 0.5 / known.size)
        shift = 2 * norm.ppf(below)
        # Of B resamples the k-th lies at the level k/(B + 1), whatever their law.
        limits[:, c] = np.quantile(known, norm.cdf([shift - z, shift + z]), method="weibull")
    return limits[0].reshape(value.shape), limits[1].reshape(value.shape)


def bootstrap_difference(
    metric: Callable[..., Any],
    obs: Any,
    sim: Any,
    baseline: Any,
    *,
    paired: bool = False,
    **options: Any,
) -> BootstrapResult:
    """Return ``metric(obs, sim) - metric(obs, baseline)`` with a confidence interval.

    Both scores are computed from the same resampled observations in each resample, so that the
    difficulty of a case cancels; an interval without zero says that the two models differ.

    Parameters
    ----------
    metric : callable
        ``metric(obs, sim) -> float or array``.
    obs, sim, baseline : array-like of shape (n, ...)
        Sequences in mm/h.
    paired : bool, default=False
        Draw the same blocks of all three: forecasts of the same cases.
    **options
        Passed to `bootstrap`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import bootstrap_difference, mean_bias
    >>> rain = np.random.default_rng(0).gamma(0.5, size=(3, 100, 4, 4))
    >>> d = bootstrap_difference(mean_bias, rain[0], 2 * rain[1], rain[2], random_state=0)
    >>> bool(d.low > 0)
    True
    """

    def difference(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return np.asarray(metric(a, b)) - np.asarray(metric(a, c))

    return bootstrap(difference, obs, sim, baseline, paired=paired, **options)
