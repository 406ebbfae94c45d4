"""Does a score say more than sampling noise would?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from skdiffuse.metrics.uncertainty import (
    align_units,
    blocks_of,
    check_blocks,
    check_resampling,
    or_undefined,
)


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
) -> PermutationResult:
    """Compare a score with its values under "obs and sim are draws of one distribution".

    The blocks of both are shuffled into two samples of the same sizes again and again. A distance
    (Jensen-Shannon, Wasserstein, quantile error) is never zero in finite samples: `expected` is
    what sampling noise alone makes of it. The p-value counts the data among the shuffles, so that
    it is valid for any number of them (Phipson and Smyth 2010, SAGMB 9, 39).

    Parameters
    ----------
    metric : callable
        ``metric(obs, sim) -> float``.
    obs, sim : array-like of shape (n, ...) and (m, ...)
        Sequences in mm/h, or with `block_length` long series.
    block_length, n_resamples, confidence, random_state
        As for `bootstrap`.

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
    pool = np.concatenate([a, b])

    def score(parts: tuple[np.ndarray, np.ndarray]) -> float:
        return float(metric(*parts))

    value = score((a, b))
    draws = np.empty(n_resamples)
    for r in range(n_resamples):
        order = rng.permutation(len(pool))
        draws[r] = or_undefined(score, (pool[order[: len(a)]], pool[order[len(a) :]]))
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
