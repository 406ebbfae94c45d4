"""The CRPS in parts: what calibration could still gain, and what it could not."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import paired_blocks
from skdiffuse.metrics.crps import NOTHING_TO_SCORE, check_ensemble
from skdiffuse.metrics.score import Score, Statistic, register


class CRPSDecomposition(NamedTuple):
    """CRPS as ``reliability + potential``, and ``potential = uncertainty - resolution``.

    Attributes
    ----------
    reliability : float
        In mm/h, 0 where each gap between neighbouring members holds the observation as often as
        it should: what calibration could remove. A small ensemble has some even so: its
        distribution function has steps.
    potential : float
        In mm/h, the score that would be left.
    uncertainty : float
        In mm/h, the score of forecasting always the climate of the observations.
    """

    reliability: float
    potential: float
    uncertainty: float

    @property
    def score(self) -> float:
        """The CRPS itself, in mm/h."""
        return self.reliability + self.potential

    @property
    def resolution(self) -> float:
        """In mm/h, how much better than climate a calibrated forecast would be."""
        return self.uncertainty - self.potential


def crps_decomposition(obs: Any, ens: Any, *, axis: int | str = 0) -> CRPSDecomposition:
    r"""Split the (not fair) CRPS into reliability and potential.

    Between the sorted members i and i + 1 the distribution function of the forecast is
    :math:`p_i = i/m`; with the mean lengths :math:`\bar\alpha_i` of that gap below the observation
    and :math:`\bar\beta_i` above it, their sum :math:`\bar g_i` and :math:`\bar o_i =
    \bar\beta_i/\bar g_i`,

    .. math:: \mathrm{CRPS} = \sum_i \bar g_i (\bar o_i - p_i)^2
              + \sum_i \bar g_i \bar o_i (1 - \bar o_i)

    (Hersbach 2000, Wea. Forecasting 15, 559); for observations outside the ensemble
    :math:`\bar o` is how often they are below the lowest member, or not above the highest.

    Parameters
    ----------
    obs : array-like of shape S
        Observed rain rate in mm/h; NaN is left out.
    ens : array-like of shape S with a member axis
        Ensemble in mm/h. A cell with a missing member is left out: its gaps are others.
    axis : int or str, default=0
        Axis of the members in `ens`; of a DataArray also its name.

    Returns
    -------
    CRPSDecomposition
        ``(reliability, potential, uncertainty)``, with ``resolution`` and ``score``.

    Raises
    ------
    ValueError
        Where no cell is valid.

    See Also
    --------
    crps_ensemble : The score itself, also its fair form, which has no such parts.

    Examples
    --------
    >>> from skdiffuse.metrics import crps_decomposition
    >>> parts = crps_decomposition([0.0, 2.0], [[0.0, 1.0], [1.0, 3.0]])
    >>> [round(float(part), 3) for part in (parts.reliability, parts.potential, parts.score)]
    [0.042, 0.333, 0.375]
    """
    y, x = check_ensemble(obs, ens, axis)
    total, known = np.zeros(2 * (len(x) + 1) + 3), []
    for _, a, b in paired_blocks(y, x):
        sums, values = _gaps(a, b)
        total += sums
        known.append(values)
    if total[0] == 0:
        raise ValueError(NOTHING_TO_SCORE)
    reliability, potential = _parts(total)
    values = np.sort(np.concatenate(known).astype(np.float64))
    n = values.size
    # Half the mean difference of two observations: pairs by rank, as for the CRPS.
    uncertainty = float((2 * np.arange(1, n + 1) - n - 1) @ values) / n**2
    return CRPSDecomposition(reliability, potential, uncertainty)


def crps_reliability(obs: Any, ens: Any, *, axis: int | str = 0) -> float:
    """Return what calibration could remove of the CRPS, in mm/h; see `crps_decomposition`.

    Examples
    --------
    >>> from skdiffuse.metrics import crps_reliability
    >>> round(crps_reliability([0.0, 2.0], [[0.0, 1.0], [1.0, 3.0]]), 3)
    0.042
    """
    return crps_decomposition(obs, ens, axis=axis).reliability


def crps_potential(obs: Any, ens: Any, *, axis: int | str = 0) -> float:
    """Return what calibration would leave of the CRPS, in mm/h; see `crps_decomposition`.

    Examples
    --------
    >>> from skdiffuse.metrics import crps_potential
    >>> round(crps_potential([0.0, 2.0], [[0.0, 1.0], [1.0, 3.0]]), 3)
    0.333
    """
    return crps_decomposition(obs, ens, axis=axis).potential


def _gaps(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of cells, those outside below and above, sums of alpha and beta; the observations."""
    y, x = y.reshape(-1), x.reshape(len(x), -1)
    whole = ~(np.isnan(y) | np.isnan(x).any(axis=0))
    y, x = y[whole].astype(np.float64), np.sort(x[:, whole].astype(np.float64), axis=0)
    m = len(x)
    alpha, beta = np.zeros(m + 1), np.zeros(m + 1)
    for i in range(1, m):
        width = x[i] - x[i - 1]
        below = np.clip(y - x[i - 1], 0, width)
        alpha[i], beta[i] = below.sum(), (width - below).sum()
    beta[0] = np.maximum(x[0] - y, 0).sum()
    alpha[m] = np.maximum(y - x[-1], 0).sum()
    outside = np.count_nonzero(y < x[0]), np.count_nonzero(y > x[-1])
    return np.concatenate([[y.size, *outside], alpha, beta]), y


def _parts(sums: np.ndarray) -> tuple[float, float]:
    """Reliability and potential of the sums of `_gaps`."""
    mean = sums / sums[0]
    alpha, beta = np.split(mean[3:], 2)
    m = len(alpha) - 1
    gap = alpha + beta
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(gap > 0, beta / gap, 0.0)
        # Gaps without an end are as long as it takes for their part of the score.
        share[0], share[m] = mean[1], 1 - mean[2]
        gap[0] = beta[0] / mean[1] if mean[1] > 0 else 0.0
        gap[m] = alpha[m] / mean[2] if mean[2] > 0 else 0.0
    expected = np.arange(m + 1) / m
    return float(gap @ (share - expected) ** 2), float(gap @ (share * (1 - share)))


def _case(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _gaps(y, x)[0]


def _part(sums: np.ndarray, which: int) -> float:
    return _parts(sums)[which] if sums[0] > 0 else float("nan")


register(
    Score(
        "crps_reliability", crps_reliability,
        "What calibration could gain (CRPS)", kind="ensemble", unit="mm/h", in_card=False,
        statistic=Statistic("gaps between members", _case), formula=partial(_part, which=0),
        reading=lambda v: f"calibration could remove {v:.3g} mm/h of the CRPS",
    )
)  # fmt: skip
register(
    Score(
        "crps_potential", crps_potential,
        "What calibration could not gain (CRPS)", kind="ensemble", unit="mm/h", in_card=False,
        statistic=Statistic("gaps between members", _case), formula=partial(_part, which=1),
        reading=lambda v: f"a calibrated forecast would still miss by {v:.3g} mm/h",
    )
)  # fmt: skip
