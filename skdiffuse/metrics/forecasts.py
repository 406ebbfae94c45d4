"""All scores of some ensemble forecasts at once, each with how sure it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from skdiffuse.cubes.alignment import align_cases
from skdiffuse.metrics.arrays import check_same_cases, to_numpy
from skdiffuse.metrics.climate_scores import ScorecardEntry, entry_of, verdict
from skdiffuse.metrics.score import REGISTRY, Score, chosen_scores
from skdiffuse.metrics.uncertainty import BootstrapResult, bootstrap, bootstrap_means
from skdiffuse.metrics.weights import refuse_weights


def _at_thresholds(scores: list[Score], thresholds: tuple[float, ...], scale: int) -> list[Score]:
    """Give the scores of this package their thresholds and scale; others have their own."""

    def every(score: Score) -> bool:
        known = REGISTRY["ensemble"].get(score.name) is score
        return known and "threshold" in score.parameters and score.thresholds == "each"

    found = []
    for several, group in groupby(scores, every):
        alike = list(group)
        for level in thresholds if several else (max(thresholds),):
            for score in alike:
                given = {"threshold": level, "scale": scale}
                if REGISTRY["ensemble"].get(score.name) is not score:
                    given = {}
                found.append(score.at(**{k: v for k, v in given.items() if k in score.parameters}))
    return found


class _Case(NamedTuple):
    """The truth of one case where all members are known, and its members."""

    truth: np.ndarray
    members: np.ndarray


def forecast_scorecard(
    obs: Any,
    ensembles: Mapping[str, Any],
    *,
    baselines: Mapping[str, Any] | None = None,
    scores: Iterable[Score | str] | None = None,
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
    scores : sequence of Score or str, default=None
        Scores to compute, in this order: entries of your own, of kind "ensemble", and names of
        those of this package. By default ``get_scores("ensemble")``.
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
    for name, ens in everyone.items():
        obs, everyone[name], _ = align_cases(obs, ens, 0, ("time", "y", "x"), ("obs", name))
    if np.ndim(obs) != 4:
        raise ValueError(f"obs must have shape (n, time, y, x); got {np.shape(obs)}.")
    for name, ens in everyone.items():
        refuse_weights(**{"obs": obs, name: ens})
        check_same_cases(obs, ens, ("obs", name))
        if np.shape(ens)[1:] != np.shape(obs):
            raise ValueError(
                f"{name} must have shape (n_members, *{np.shape(obs)}); got {np.shape(ens)}."
            )
    wanted = _at_thresholds(chosen_scores(scores, "ensemble"), thresholds, int(scale))
    # Of each case the few numbers a score is made of; where it has none, the case itself.
    rows: dict[str, list[list[Any]]] = {name: [[] for _ in wanted] for name in everyone}
    for i in range(len(obs)):
        truth = to_numpy(obs[i], "obs")
        for name, ens in everyone.items():
            members = to_numpy(ens[:, i], name)
            known = ~np.isnan(truth) & ~np.isnan(members).any(axis=0)
            case = _Case(np.where(known, truth, truth.dtype.type(np.nan)), members)
            for score, found in zip(wanted, rows[name], strict=True):
                of = None if score.statistic is None else score.statistic.of
                found.append(case if of is None else of(*case, **score.parameters))
    options = {"paired": True, "n_resamples": n_resamples, "random_state": random_state}
    entries = []
    for name in everyone:
        for s, score in enumerate(wanted):
            interval = _resampled(score, [rows[name][s]], options)
            versus = {
                rival: verdict(_resampled(score, [rows[name][s], rows[rival][s]], options))
                for rival in (baselines if name in ensembles else ())
            }
            entries.append(entry_of(name, score, interval, versus))
    return entries


def _resampled(score: Score, samples: list[list[Any]], options: dict[str, Any]) -> BootstrapResult:
    """Bootstrap the score of one forecast, or the difference of the losses of two."""

    def compare(*values: float) -> float:
        return values[0] if len(values) == 1 else score.loss(values[0]) - score.loss(values[1])

    if score.statistic is not None:

        def of_means(*means: np.ndarray) -> float:
            return compare(*(score.of_means(mean, n=0) for mean in means))

        return bootstrap_means(of_means, *map(np.array, samples), **options)

    def of_cases(*numbers: np.ndarray) -> float:
        chosen = ([cases[int(i)] for i in n] for n, cases in zip(numbers, samples, strict=True))
        return compare(
            *(
                score(np.stack([c.truth for c in cases]), np.stack([c.members for c in cases], 1))
                for cases in chosen
            )
        )

    return bootstrap(of_cases, *(np.arange(len(s), dtype=np.float64) for s in samples), **options)
