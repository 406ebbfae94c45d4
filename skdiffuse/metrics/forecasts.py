"""All scores of some ensemble forecasts at once, each with how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics._arrays import check_same_cases, to_numpy
from skdiffuse.metrics.climate_scores import ScorecardEntry, verdict
from skdiffuse.metrics.crps import crps_ensemble, threshold_weighted_crps
from skdiffuse.metrics.ensemble import energy_score
from skdiffuse.metrics.spatial_verification import _count_block
from skdiffuse.metrics.uncertainty import bootstrap_means


class _Score(NamedTuple):
    """A score of the means of a few numbers of each case."""

    name: str
    unit: str
    perfect: float
    function: Callable[[np.ndarray], float]
    reading: Callable[[float], str]


def _ratio(sums: np.ndarray) -> float:
    return float(sums[0] / sums[1]) if sums[1] > 0 else float("nan")


def _scores(thresholds: tuple[float, ...], scale: int) -> list[_Score]:
    def rain(v: float) -> str:
        return f"{abs(100 * v):.3g} % too {'much' if v > 0 else 'little'} rain in the mean"

    def spread(v: float) -> str:
        if abs(v - 1) < 0.05:
            return "the spread is that of the error"
        return f"the spread is {'too small' if v < 1 else 'too large'}: {v:.2f} of the error"

    scores = [
        _Score("crps", "mm/h", 0, _ratio, lambda v: f"forecasts miss by {v:.3g} mm/h of rain"),
        _Score(
            f"crps above {max(thresholds):g} mm/h", "mm/h", 0, _ratio,
            lambda v: f"of which {v:.3g} mm/h where it rains hard",
        ),
        _Score(
            "energy_score", "mm/h", 0, _ratio,
            lambda v: f"whole fields are missed by {v:.3g} mm/h (root mean square)",
        ),
        _Score("mean_bias", "1", 0, lambda s: _ratio(s) - 1, rain),
        _Score("spread_skill", "1", 1, lambda s: float(np.sqrt(_ratio(s))), spread),
    ]  # fmt: skip
    for level in thresholds:
        scores.append(
            _Score(
                f"brier of {level:g} mm/h", "1", 0, _ratio,
                lambda v, level=level: (
                    f"probabilities of {level:g} mm/h are off by {np.sqrt(max(v, 0)):.2f} (rms)"
                ),
            )
        )  # fmt: skip
        scores.append(
            _Score(
                f"fss of {level:g} mm/h", "1", 1, lambda s: 1 - _ratio(s),
                lambda v, level=level: (
                    f"rain of {level:g} mm/h is {'' if v >= 0.5 else 'not '}placed usefully within "
                    f"{scale} cells (0.5 or more is useful)"
                ),
            )
        )  # fmt: skip
    return scores


def _statistics(
    truth: np.ndarray, members: np.ndarray, thresholds: tuple[float, ...], scale: int
) -> list[np.ndarray]:
    """Numerator and denominator of each score for one case, in the order of `_scores`."""
    m = len(members)
    fair = m > 1
    known = ~np.isnan(truth) & ~np.isnan(members).any(axis=0)
    cells = int(known.sum())
    y = np.where(known, truth, np.nan)

    def total(score: np.ndarray) -> list[float]:
        score = np.asarray(score)
        return [float(np.nansum(score)), int(np.count_nonzero(~np.isnan(score)))]

    mean = members.mean(axis=0, dtype=np.float64)
    squared = (mean - y)[known] ** 2
    found = [
        total(crps_ensemble(y, members, fair=fair, average=False)),
        total(threshold_weighted_crps(y, members, max(thresholds), fair=fair, average=False)),
        total(energy_score(y, members, fair=fair, average=False)),
        [mean[known].sum(), y[known].sum(dtype=np.float64)],
        [
            members[:, known].var(axis=0, ddof=1, dtype=np.float64).sum() * (m + 1) / m
            if m > 1
            else np.nan,
            squared.sum(),
        ],
    ]
    misses, squares = _count_block(
        y, np.where(known, members, np.nan), np.array(thresholds), np.array([scale]), "zero"
    )
    for k, level in enumerate(thresholds):
        p = (members >= members.dtype.type(level)).mean(axis=0)[known]
        brier = (p - (y[known] >= y.dtype.type(level))) ** 2
        if fair:
            brier = brier - p * (1 - p) / (m - 1)
        found.append([brier.sum(), cells])
        found.append([misses[0, :, k, 0].sum(), squares[0, :, k, 0].sum()])
    return found


def forecast_scorecard(
    obs: Any,
    ensembles: Mapping[str, Any],
    *,
    baselines: Mapping[str, Any] | None = None,
    thresholds: Any = (0.1, 1.0, 5.0),
    scale: int = 5,
    n_resamples: int = 300,
    random_state: Any = 0,
) -> list[ScorecardEntry]:
    """Score ensemble forecasts (or interpolations) of the same cases, with intervals.

    Cases are the units that are resampled, the same for all forecasts. Fair scores are used where
    there are two members or more, so that ensembles of different sizes compare; a single forecast
    has the CRPS of its absolute error.

    Parameters
    ----------
    obs : array-like of shape (n, time, y, x)
        What came true in each case, in mm/h.
    ensembles : dict of str to array-like of shape (n_members, n, time, y, x)
        Forecasts by name, in mm/h. Lazy arrays are read case by case.
    baselines : dict of str to array-like, default=None
        Forecasts that `ensembles` are compared with, such as persistence.
    thresholds : sequence of float, default=(0.1, 1.0, 5.0)
        Rates in mm/h of the Brier and fractions skill scores; the largest is the threshold of
        the threshold-weighted CRPS.
    scale : int, default=5
        Side of the neighbourhood of the fractions skill score, in cells.
    n_resamples, random_state
        Of the bootstrap.

    Returns
    -------
    list of ScorecardEntry
        One a score and forecast. `expected` and `p_value` are NaN: a forecast has no value that
        sampling noise alone would give it.

    Raises
    ------
    ValueError
        Where shapes, grids, times, calendars or units differ, names are repeated, or there are
        fewer than two cases.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import forecast_scorecard
    >>> rng = np.random.default_rng(0)
    >>> rain = rng.gamma(0.5, size=(12, 2, 8, 8))
    >>> near = rain * rng.lognormal(0, 0.3, size=(6, *rain.shape))
    >>> card = forecast_scorecard(
    ...     rain, {"near": near}, baselines={"dry": 0 * near[:1]}, n_resamples=50
    ... )
    >>> card[0].score, card[0].versus
    ('crps', {'dry': 'better'})
    """
    baselines = dict(baselines or {})
    everyone = {**ensembles, **baselines}
    if not ensembles:
        raise ValueError("ensembles is empty: give at least one named forecast.")
    if len(everyone) < len(ensembles) + len(baselines):
        raise ValueError("Names must differ between ensembles and baselines.")
    thresholds = tuple(float(t) for t in np.atleast_1d(thresholds))
    if np.ndim(obs) != 4:
        raise ValueError(f"obs must have shape (n, time, y, x); got {np.shape(obs)}.")
    for name, ens in everyone.items():
        check_same_cases(obs, ens, ("obs", name))
        if np.shape(ens)[1:] != np.shape(obs):
            raise ValueError(
                f"{name} must have shape (n_members, *{np.shape(obs)}); got {np.shape(ens)}."
            )
    scores = _scores(thresholds, int(scale))
    tables = {name: np.empty((len(obs), len(scores), 2)) for name in everyone}
    for i in range(len(obs)):
        truth = to_numpy(obs[i], "obs")
        for name, ens in everyone.items():
            tables[name][i] = _statistics(truth, to_numpy(ens[:, i], name), thresholds, int(scale))
    options = {"paired": True, "n_resamples": n_resamples, "random_state": random_state}
    entries = []
    for name in everyone:
        for s, score in enumerate(scores):
            ours = tables[name][:, s]
            interval = bootstrap_means(score.function, ours, **options)
            versus = {}
            for rival in baselines if name in ensembles else ():
                theirs = tables[rival][:, s]
                versus[rival] = verdict(bootstrap_means(_gap(score), ours, theirs, **options))
            known = np.isfinite(interval.value)
            entries.append(
                ScorecardEntry(
                    name, score.name, score.unit, interval.value, interval.low, interval.high,
                    float(score.perfect), float("nan"), float("nan"), versus,
                    score.reading(interval.value) if known else "undefined", interval.n,
                )
            )  # fmt: skip
    return entries


def _gap(score: _Score) -> Callable[[np.ndarray, np.ndarray], float]:
    """Difference of the distances from perfect."""

    def gap(ours: np.ndarray, theirs: np.ndarray) -> float:
        return abs(score.function(ours) - score.perfect) - abs(
            score.function(theirs) - score.perfect
        )

    return gap
