"""Scores of the forecast probability that it rains harder than a threshold."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import check_whole, paired_blocks
from skdiffuse.metrics.crps import NOTHING_TO_SCORE, check_ensemble, ratio
from skdiffuse.metrics.score import Score, Statistic, register


class BrierDecomposition(NamedTuple):
    """Brier score as ``reliability - resolution + uncertainty``.

    Attributes
    ----------
    reliability : float
        Mean squared distance between forecast probability and observed frequency; 0 is best.
    resolution : float
        How far observed frequencies depart from climate as the forecast varies; high is good.
    uncertainty : float
        ``c (1 - c)`` for the climatological frequency c: no merit of the forecast.
    """

    reliability: float
    resolution: float
    uncertainty: float

    @property
    def score(self) -> float:
        """The Brier score itself."""
        return self.reliability - self.resolution + self.uncertainty


class ReliabilityCurve(NamedTuple):
    """Observed frequency of an event by its forecast probability.

    Attributes
    ----------
    probability : ndarray of shape (n_bins,)
        Mean forecast probability in each bin.
    frequency : ndarray of shape (n_bins,)
        Observed frequency of the event there.
    count : ndarray of shape (n_bins,)
        Number of forecasts.
    """

    probability: np.ndarray
    frequency: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # hides the method of tuples


class RocCurve(NamedTuple):
    """Hit rate against false-alarm rate as the probability that triggers a warning falls.

    Attributes
    ----------
    false_alarm_rate, hit_rate : ndarray of shape (n_points,)
        From (0, 0) to (1, 1).
    area : float
        Area under the curve: 0.5 without skill, 1 for perfect discrimination.
    """

    false_alarm_rate: np.ndarray
    hit_rate: np.ndarray
    area: float


class _Forecasts(NamedTuple):
    """Cells counted by how many of how many members had the event, all a score needs."""

    probability: np.ndarray
    members: np.ndarray
    seen: np.ndarray
    cells: np.ndarray


def _forecasts(obs: Any, ens: Any, threshold: float, axis: int | str) -> _Forecasts:
    found = _counted(obs, ens, threshold, axis)
    if found.cells.size == 0:
        raise ValueError(NOTHING_TO_SCORE)
    return found


def _counted(obs: Any, ens: Any, threshold: float, axis: int | str = 0) -> _Forecasts:
    y, x = check_ensemble(obs, ens, axis)
    m = len(x)
    table = np.zeros((2, (m + 1) ** 2), dtype=np.int64)
    for _, a, b in paired_blocks(y, x):
        members = np.zeros(a.shape, dtype=np.int64)
        wet = np.zeros(a.shape, dtype=np.int64)
        for member in b:
            members += ~np.isnan(member)
            wet += member >= member.dtype.type(threshold)
        known = ~np.isnan(a) & (members > 0)
        seen = known & (a >= a.dtype.type(threshold))
        kind = members * (m + 1) + wet
        table[0] += np.bincount(kind[known], minlength=table.shape[1])
        table[1] += np.bincount(kind[seen], minlength=table.shape[1])
    filled = np.flatnonzero(table[0])
    size, with_event = filled // (m + 1), filled % (m + 1)
    order = np.argsort(with_event / size, kind="stable")
    return _Forecasts(
        (with_event / size)[order], size[order], table[1, filled][order], table[0, filled][order]
    )


def counts_by_probability(
    obs: Any, ens: Any, threshold: float, *, axis: int | str = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count cells by the forecast probability of "at least `threshold` mm/h".

    All that reliability and discrimination need, and additive: counts of several cases may be
    added where the probabilities are equal.

    Parameters
    ----------
    obs, ens, threshold, axis
        As for `brier_score`.

    Returns
    -------
    probability, seen, count : ndarray of shape (n_probabilities,)
        Distinct probabilities in rising order, and how many cells had each: those in which the
        event was seen, and all.

    Examples
    --------
    >>> from skdiffuse.metrics.probabilities import counts_by_probability
    >>> counts_by_probability([0.0, 2.0, 2.0], [[0.0, 0.0, 2.0], [0.0, 2.0, 2.0]], 1.0)
    (array([0. , 0.5, 1. ]), array([0., 1., 1.]), array([1., 1., 1.]))
    """
    f = _forecasts(obs, ens, threshold, axis)
    level, group = np.unique(f.probability, return_inverse=True)
    seen, count = (np.bincount(group, weights=w) for w in (f.seen, f.cells))
    return level, seen, count


def brier_score(
    obs: Any, ens: Any, threshold: float, *, fair: bool = True, axis: int | str = 0
) -> float:
    """Return the Brier score of the event "at least `threshold` mm/h".

    ``BS = mean (p - o)^2`` with p the share of members with the event; the fair form subtracts
    ``p (1 - p) / (m - 1)``, the variance of p in an ensemble of m (Ferro 2014, QJRMS 140, 1917).

    Parameters
    ----------
    obs : array-like of shape S
        Observed rain rate in mm/h; NaN is left out.
    ens : array-like of shape S with a member axis
        Ensemble in mm/h; missing members are left out.
    threshold : float
        Rain rate in mm/h.
    fair : bool, default=True
        Remove the bias of a small ensemble.
    axis : int or str, default=0
        Axis of the members in `ens`; of a DataArray also its name.

    Examples
    --------
    >>> from skdiffuse.metrics import brier_score
    >>> brier_score([0.0, 2.0], [[0.0, 0.0], [0.0, 2.0]], 1.0, fair=False)
    0.125
    """
    f = _forecasts(obs, ens, threshold, axis)
    if fair and not (f.members > 1).any():
        raise ValueError(
            "The fair Brier score needs at least 2 valid members in some cell; use fair=False."
        )
    return ratio(_brier_sums(f, fair))


def _brier_sums(f: _Forecasts, fair: bool) -> np.ndarray:
    """Sum of the scores of the cells that have one, and their number."""
    if fair:
        f = _Forecasts(*(v[f.members > 1] for v in f))
    p = f.probability
    # (p - 1)^2 where the event was seen, p^2 where not.
    total = np.sum(f.seen * (1 - p) ** 2 + (f.cells - f.seen) * p**2)
    if fair:
        total -= np.sum(f.cells * p * (1 - p) / (f.members - 1))
    return np.array([total, f.cells.sum()])


def brier_decomposition(
    obs: Any, ens: Any, threshold: float, *, axis: int | str = 0
) -> BrierDecomposition:
    """Split the (not fair) Brier score into reliability, resolution and uncertainty.

    Cells are grouped by their exact forecast probability, so that the three parts add up
    without a remainder (Murphy 1973, J. Appl. Meteor. 12, 595).

    Parameters
    ----------
    obs, ens, threshold, axis
        As for `brier_score`.

    Returns
    -------
    BrierDecomposition
        ``(reliability, resolution, uncertainty)``, and their sum as ``score``.

    Examples
    --------
    >>> from skdiffuse.metrics import brier_decomposition
    >>> brier_decomposition([0.0, 2.0], [[0.0, 0.0], [0.0, 2.0]], 1.0)
    BrierDecomposition(reliability=0.125, resolution=0.25, uncertainty=0.25)
    """
    level, seen, count = counts_by_probability(obs, ens, threshold, axis=axis)
    frequency = seen / count
    climate = seen.sum() / count.sum()
    share = count / count.sum()
    return BrierDecomposition(
        float(np.sum(share * (level - frequency) ** 2)),
        float(np.sum(share * (frequency - climate) ** 2)),
        float(climate * (1 - climate)),
    )


def probability_classes(probability: np.ndarray, n_bins: int) -> np.ndarray:
    """Return which of `n_bins` equal classes from 0 to 1 each probability is in.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.probabilities import probability_classes
    >>> probability_classes(np.array([0.0, 0.3, 1.0]), 10)
    array([0, 3, 9])
    """
    # The small shift keeps k/m in the class it starts, whatever its rounding.
    return np.minimum((probability * n_bins + 1e-9).astype(np.int64), n_bins - 1)


def reliability_curve(
    obs: Any, ens: Any, threshold: float, *, n_bins: int = 10, axis: int | str = 0
) -> ReliabilityCurve:
    """Return the observed frequency of an event for each class of forecast probability.

    Parameters
    ----------
    obs, ens, threshold, axis
        As for `brier_score`.
    n_bins : int, default=10
        Equal classes of probability from 0 to 1; empty ones are left out.

    Examples
    --------
    >>> from skdiffuse.metrics import reliability_curve
    >>> reliability_curve([0.0, 2.0, 2.0], [[0.0, 0.0, 2.0], [0.0, 2.0, 2.0]], 1.0, n_bins=4)
    ReliabilityCurve(probability=array([0. , 0.5, 1. ]), frequency=array([0., 1., 1.]),
    count=array([1, 1, 1]))
    """
    n_bins = check_whole(n_bins, "n_bins")
    p, seen, cells = counts_by_probability(obs, ens, threshold, axis=axis)
    place = probability_classes(p, n_bins)
    sums = np.array([np.bincount(place, weights=w) for w in (p * cells, seen, cells)])
    sums = sums[:, sums[2] > 0]
    return ReliabilityCurve(sums[0] / sums[2], sums[1] / sums[2], sums[2].astype(np.int64))


def roc_curve(obs: Any, ens: Any, threshold: float, *, axis: int | str = 0) -> RocCurve:
    """Return how well the forecast probability tells events from non-events.

    Parameters
    ----------
    obs, ens, threshold, axis
        As for `brier_score`.

    Returns
    -------
    RocCurve
        ``(false_alarm_rate, hit_rate, area)``.

    Raises
    ------
    ValueError
        Where the event always or never occurred.

    Examples
    --------
    >>> from skdiffuse.metrics import roc_curve
    >>> roc_curve([0.0, 0.0, 2.0], [[0.0, 2.0, 2.0], [0.0, 0.0, 2.0]], 1.0).area
    1.0
    """
    _, hits, count = counts_by_probability(obs, ens, threshold, axis=axis)
    events, cells = int(hits.sum()), int(count.sum())
    if events in (0, cells):
        raise ValueError(
            f"The event of at least {threshold} mm/h occurred in {events} of {cells} cells: "
            "a ROC curve needs both events and non-events. Choose another threshold."
        )
    return roc_of_counts(hits, count)


def roc_of_counts(hits: np.ndarray, count: np.ndarray) -> RocCurve:
    """Return the ROC curve of counted forecasts.

    Parameters
    ----------
    hits, count : array-like of shape (n_probabilities,)
        Cells in which the event was seen, and all cells, by rising forecast probability, as of
        `counts_by_probability`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.probabilities import roc_of_counts
    >>> roc_of_counts(np.array([1, 3]), np.array([4, 4])).area
    0.75
    """
    events = hits.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        hit_rate = np.concatenate([[0.0], np.cumsum(hits[::-1]) / events])
        false_rate = np.concatenate(
            [[0.0], np.cumsum((count - hits)[::-1]) / (count.sum() - events)]
        )
    return RocCurve(false_rate, hit_rate, float(np.trapezoid(hit_rate, false_rate)))


def _roc_area(obs: Any, ens: Any, threshold: float) -> float:
    return roc_curve(obs, ens, threshold).area


def _case_of_brier(y: np.ndarray, x: np.ndarray, threshold: float) -> np.ndarray:
    return _brier_sums(_counted(y, x, threshold), len(x) > 1)


register(
    Score(
        "brier_score", brier_score, "Probability of {threshold:g} mm/h (Brier)", kind="ensemble",
        statistic=Statistic("sum of the Brier score", _case_of_brier), formula=ratio,
        reading=lambda v, threshold: (
            f"probabilities of {threshold:g} mm/h are off by {np.sqrt(max(v, 0)):.2f} (rms)"
        ),
        parameters={"threshold": 1.0}, row="brier of {threshold:g} mm/h",
    )
)  # fmt: skip
# The number of distinct probabilities differs from case to case: whole cases are resampled.
register(
    Score(
        "roc_area", _roc_area, "Telling events of {threshold:g} mm/h (ROC area)", kind="ensemble",
        perfect=1, direction="greater", in_card=False, public="roc_curve",
        reading=lambda v, threshold: (
            f"an event of {threshold:g} mm/h gets the higher probability in {100 * v:.0f} % of "
            "pairs with a non-event"
        ),
        parameters={"threshold": 1.0}, row="roc_area of {threshold:g} mm/h",
    )
)  # fmt: skip
