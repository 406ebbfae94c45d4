"""Does a score say more than sampling noise would?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from skdiffuse.metrics.uncertainty import (
    align_units,
    block_weights,
    blocks_of,
    check_blocks,
    check_resampling,
    or_undefined,
)
from skdiffuse.metrics.weights import effective_sample_size, with_weights


class PermutationResult(NamedTuple):
    """A score beside what it would be without any difference.

    Attributes
    ----------
    value : float
        The score of the data as they are.
    expected : float
        Its median where both samples come from one distribution.
    low, high : float
        The range it then has with the confidence asked for.
    p_value : float
        Probability of a score at least as far out, on either side, without any difference; NaN
        where the score is undefined.
    n : int
        Number of blocks in the smaller sample.
    """

    value: float
    expected: float
    low: float
    high: float
    p_value: float
    n: int


def permutation_test(
    metric: Callable[..., float],
    obs: Any,
    sim: Any,
    *,
    block_length: int | None = None,
    n_resamples: int = 200,
    confidence: float = 0.95,
    random_state: Any = None,
    weights: Any = None,
) -> PermutationResult:
    """Compare a score with its values under "obs and sim are draws of one distribution".

    The blocks of both are shuffled into two samples of the same sizes again and again. A distance
    (Jensen-Shannon, Wasserstein, quantile error) is never zero in finite samples: `expected` is
    what sampling noise alone makes of it. The p-value counts the data among the shuffles, so that
    it is valid for any number of them (Phipson and Smyth 2010, SAGMB 9, 39).

    Sequences with unequal weights are no draws of the distribution, and cannot change places with
    those that are. Then both samples are drawn from the weighted one, each in its way: one plainly,
    with probabilities in proportion to weights, and one as the weighted sample itself was drawn,
    its sequences with equal probabilities and their weights. A bootstrap, right for many sequences;
    what is drawn evenly over strata on purpose is known better than it says.

    Parameters
    ----------
    metric : callable
        ``metric(obs, sim) -> float``.
    obs, sim : array-like of shape (n, ...) and (m, ...)
        Sequences in mm/h, or with `block_length` long series.
    block_length, n_resamples, confidence, random_state
        As for `bootstrap`.
    weights : array-like of shape (m,), default=None
        What each sequence of `sim` counts, by default its coordinate ``weight``; so in any case
        for `obs`.

    Returns
    -------
    PermutationResult
        ``(value, expected, low, high, p_value, n)``.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import permutation_test, wasserstein_distance
    >>> rain = np.random.default_rng(0).gamma(0.5, size=(2, 50, 4, 4))
    >>> test = permutation_test(wasserstein_distance, rain[0], 1.5 * rain[1], random_state=0)
    >>> test.value > test.high, test.p_value < 0.01
    (True, True)
    """
    check_resampling(n_resamples, confidence)
    obs, sim = align_units(obs, (sim,), False, block_length, ["obs", "sim"])
    a, b = blocks_of(obs, block_length, "obs"), blocks_of(sim, block_length, "sim")
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"obs and sim need blocks of one shape to be shuffled; got {a.shape[1:]} and "
            f"{b.shape[1:]}."
        )
    for unit, name in ((a, "obs"), (b, "sim")):
        check_blocks(len(unit), name)
    rng = check_random_state(random_state)
    counts = (
        block_weights(obs, None, block_length, "obs"),
        block_weights(sim, weights, block_length, "sim"),
    )

    def score(parts: tuple[Any, Any]) -> float:
        return float(metric(*parts))

    value = score((with_weights(a, counts[0]), with_weights(b, counts[1])))
    draws = np.empty(n_resamples)
    for r in range(n_resamples):
        draws[r] = or_undefined(score, _without_difference((a, b), counts, rng))
    if np.isnan(draws).mean() > 0.5 and not np.isnan(value):
        raise ValueError(
            "The score is undefined in most shuffles: too few blocks hold what it needs (rain, "
            "events). Give more sequences, or a lower threshold."
        )
    draws = draws[~np.isnan(draws)]
    if draws.size == 0 or np.isnan(value):
        nan = float("nan")
        return PermutationResult(value, nan, nan, nan, nan, min(len(a), len(b)))
    low, expected, high = np.quantile(draws, [(1 - confidence) / 2, 0.5, (1 + confidence) / 2])
    # Equal tails, since scores are skewed: a deficit ends at 1 and has no end below. Rounding
    # must not tell equal scores apart.
    near = 1e-12 * max(abs(value), float(np.abs(draws).max()))
    tails = np.count_nonzero(draws <= value + near), np.count_nonzero(draws >= value - near)
    p_value = min(1.0, 2.0 * (int(min(tails)) + 1) / (draws.size + 1))
    return PermutationResult(
        value, float(expected), float(low), float(high), p_value, min(len(a), len(b))
    )


def _without_difference(
    samples: tuple[np.ndarray, np.ndarray],
    weights: tuple[np.ndarray | None, np.ndarray | None],
    rng: np.random.RandomState,
) -> tuple[Any, Any]:
    """Two samples like those given, but of one distribution."""
    weighted = [i for i, w in enumerate(weights) if w is not None and np.ptp(w) > 0]
    if not weighted:
        pool, n = np.concatenate(samples), len(samples[0])
        order = rng.permutation(len(pool))
        parts = pool[order[:n]], pool[order[n:]]
        return with_weights(parts[0], weights[0]), with_weights(parts[1], weights[1])
    own = weighted[-1]
    pool, w, others = samples[own], np.asarray(weights[own]), weights[1 - own]
    n = len(samples[1 - own]) if others is None else round(effective_sample_size(others))
    plain = pool[rng.choice(len(pool), size=n, p=w / w.sum())]
    chosen = rng.randint(len(pool), size=len(pool))
    drawn = with_weights(pool[chosen], w[chosen])
    return (drawn, plain) if own == 0 else (plain, drawn)
