"""Scores of the forecast probability that it rains harder than a threshold."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.crps import check_ensemble


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
    count: np.ndarray


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


def _events(
    obs: Any, ens: Any, threshold: float, axis: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Valid cells as (event seen: bool, forecast probability, number of members)."""
    y, x = check_ensemble(obs, ens, axis)
    members = np.zeros(y.shape)
    wet = np.zeros(y.shape)
    for member in x:
        members += ~np.isnan(member)
        wet += member >= member.dtype.type(threshold)
    known = ~np.isnan(y) & (members > 0)
    if not known.any():
        raise ValueError("No cell is valid in both obs and ens: there is nothing to score.")
    seen = y[known] >= y.dtype.type(threshold)
    return seen, wet[known] / members[known], members[known]


def brier_score(obs: Any, ens: Any, threshold: float, *, fair: bool = True, axis: int = 0) -> float:
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
    axis : int, default=0
        Axis of the members in `ens`.

    Examples
    --------
    >>> from skdiffuse.metrics import brier_score
    >>> brier_score([0.0, 2.0], [[0.0, 0.0], [0.0, 2.0]], 1.0, fair=False)
    0.125
    """
    seen, p, m = _events(obs, ens, threshold, axis)
    score = (p - seen) ** 2
    if fair:
        if np.any(m < 2):
            if np.shape(ens)[axis] < 2:
                raise ValueError("The fair Brier score needs at least 2 members; use fair=False.")
            seen, p, m, score = (v[m > 1] for v in (seen, p, m, score))
        score = score - p * (1 - p) / (m - 1)
    return float(score.mean())


def brier_decomposition(obs: Any, ens: Any, threshold: float, *, axis: int = 0) -> Any:
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
    seen, p, _ = _events(obs, ens, threshold, axis)
    level, group, count = np.unique(p, return_inverse=True, return_counts=True)
    frequency = np.bincount(group, weights=seen) / count
    climate = seen.mean()
    share = count / seen.size
    return BrierDecomposition(
        float(np.sum(share * (level - frequency) ** 2)),
        float(np.sum(share * (frequency - climate) ** 2)),
        float(climate * (1 - climate)),
    )


def reliability_curve(
    obs: Any, ens: Any, threshold: float, *, n_bins: int = 10, axis: int = 0
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
    seen, p, _ = _events(obs, ens, threshold, axis)
    # The small shift keeps k/m in the class it starts, whatever its rounding.
    place = np.minimum((p * n_bins + 1e-9).astype(np.int64), n_bins - 1)
    count = np.bincount(place, minlength=n_bins)
    filled = count > 0
    sums = [np.bincount(place, weights=w, minlength=n_bins)[filled] for w in (p, seen)]
    return ReliabilityCurve(sums[0] / count[filled], sums[1] / count[filled], count[filled])


def roc_curve(obs: Any, ens: Any, threshold: float, *, axis: int = 0) -> RocCurve:
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
    seen, p, _ = _events(obs, ens, threshold, axis)
    events = int(seen.sum())
    if events in (0, seen.size):
        raise ValueError(
            f"The event of at least {threshold} mm/h occurred in {events} of {seen.size} cells: "
            "a ROC curve needs both events and non-events. Choose another threshold."
        )
    _, group, count = np.unique(p, return_inverse=True, return_counts=True)
    hits = np.bincount(group, weights=seen)
    hit_rate = np.concatenate([[0.0], np.cumsum(hits[::-1]) / events])
    false_rate = np.concatenate([[0.0], np.cumsum((count - hits)[::-1]) / (seen.size - events)])
    area = float(np.trapezoid(hit_rate, false_rate))
    return RocCurve(false_rate, hit_rate, area)
