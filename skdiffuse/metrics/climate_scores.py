"""All unconditional scores of some simulations at once, each with how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from skdiffuse.cubes.alignment import align_grid
from skdiffuse.metrics.arrays import check_same_grid, check_whole
from skdiffuse.metrics.permutation import permutation_test
from skdiffuse.metrics.score import Score, Statistic, chosen_scores
from skdiffuse.metrics.sequences import each_sequence
from skdiffuse.metrics.uncertainty import BootstrapResult, bootstrap, bootstrap_means
from skdiffuse.metrics.weights import (
    effective_sample_size,
    takes_weights,
    weighted_mean,
    weights_of,
    with_weights,
)

Tables = dict[Statistic | None, np.ndarray]
# The same, as DataArrays where the sequences have weights.
Samples = dict[Statistic | None, Any]


class ScorecardEntry(NamedTuple):
    """One score of one simulation.

    Attributes
    ----------
    simulation, score, unit : str
        Whose, which, and its unit ("1" for none).
    value, low, high : float
        The score and its 95 % interval by block bootstrap.
    perfect : float
        The value of a perfect simulation.
    expected : float
        The value that sampling noise alone leads to, by permutation.
    p_value : float
        Probability of a value as far from `expected` if the distributions were equal.
    versus : dict of str to str
        "better", "worse", "no clear difference" or "undefined", by name of the baseline.
    reading : str
        What it says, in plain words.
    n : int
        Number of independent sequences in the smaller sample.
    title : str
        The score as a person would say it.
    n_eff : float
        Effective number of sequences in the smaller sample, ``(sum w)^2 / sum w^2``: that of
        equal weights that would tell a mean as well.
    """

    simulation: str
    score: str
    unit: str
    value: float
    low: float
    high: float
    perfect: float
    expected: float
    p_value: float
    versus: dict[str, str]
    reading: str
    n: int
    title: str = ""
    n_eff: float = float("nan")


def verdict(gap: BootstrapResult) -> str:
    """Say in words what the interval of a difference of losses allows to say."""
    if not np.isfinite(gap.value):
        return "undefined"
    return "better" if gap.high < 0 else "worse" if gap.low > 0 else "no clear difference"


def entry_of(
    simulation: str,
    score: Score,
    interval: BootstrapResult,
    versus: dict[str, str],
    expected: float = float("nan"),
    p_value: float = float("nan"),
    n_eff: float | None = None,
) -> ScorecardEntry:
    """Make the row of a score out of what resampling gave."""
    reading = score.say(interval.value)
    if p_value > 0.05:
        reading += " (within sampling noise)"
    return ScorecardEntry(
        simulation, score.label, score.unit, interval.value, interval.low, interval.high,
        float(score.perfect), expected, p_value, versus, reading, interval.n, score.heading,
        float(interval.n) if n_eff is None else n_eff,
    )  # fmt: skip


def _tables(sequences: Iterable[np.ndarray], statistics: Iterable[Statistic | None]) -> Tables:
    """What the scores need of each sequence, a row each; None stands for the sequences."""
    rows: dict[Statistic | None, list[np.ndarray]] = {statistic: [] for statistic in statistics}
    number = 0
    for X in sequences:
        number += 1
        for statistic, found in rows.items():
            row = X if statistic is None else statistic.of(X)
            if row is not None:
                found.append(row)
    return {s: np.array(found) for s, found in rows.items() if len(found) == number}


def scorecard(
    obs: Any,
    sims: Mapping[str, Any],
    *,
    baselines: Mapping[str, Any] | None = None,
    scores: Iterable[Score | str] | None = None,
    n_frames: int | None = None,
    n_resamples: int = 300,
    random_state: Any = 0,
    weights: Mapping[str, Any] | None = None,
) -> list[ScorecardEntry]:
    """Score simulations against observations, with intervals and against baselines.

    Sequences are the units that are resampled. Of each, what the scores need (its histogram,
    map and spectra) is computed once; a score is a function of the means over sequences, and
    its value that of the function of its name. One differs: quantile_error reads quantiles off
    fine bins (64 a decade), which changes it by about a per cent of its value, and stops where
    ten values lie beyond.

    Parameters
    ----------
    obs : array-like of shape (n, time, y, x) or (time, y, x)
        Observed rain rate in mm/h.
    sims : dict of str to array-like
        Simulations by name, of any number of sequences on the grid of `obs`.
    baselines : dict of str to array-like, default=None
        Simulations that `sims` are compared with; they are scored as well.
    scores : sequence of Score or str, default=None
        Scores to compute, in this order: entries of your own, and names of those of this
        package. By default `get_scores`.
    n_frames : int, default=None
        Frames a sequence, into which series (time, y, x) are cut; by default as many as the
        shortest sequence given has, or 12 where all are series.
    n_resamples : int, default=300
        Resamples for intervals and tests.
    random_state : int, RandomState or None, default=0
        Randomness of the resampling.
    weights : dict of str to array-like of shape (n,), default=None
        What each sequence of some of the simulations and baselines counts, by their names. By
        default the coordinate ``weight`` of a DataArray (n, time, y, x) that carries one, as
        `PrecipDiffusion.sample(rare=...)` leaves it, and else all alike; so in any case for `obs`.
        Sequences are resampled together with their weights, and `permutation_test` says what the
        noise column then is.

    Returns
    -------
    list of ScorecardEntry
        One a score and simulation: by default mean_bias, map_error, wet_fraction_bias,
        jensen_shannon_divergence, perkins_skill_score, quantile_error, and the log-spectral
        distance and power deficit in space and in time. A score that these shapes leave nothing
        to compute for (in time, of single frames) is left out.

    Raises
    ------
    ValueError
        Where grids, calendars or units differ (the message says which), names are repeated, there
        are fewer than two sequences, or a score of your own takes no weights and some are there.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import scorecard
    >>> rain = np.random.default_rng(0).gamma(0.3, size=(2, 30, 4, 8, 8))
    >>> card = scorecard(rain[0], {"model": 2 * rain[1]}, n_resamples=100)
    >>> card[0].score, card[0].p_value < 0.05
    ('mean_bias', True)
    """
    baselines = dict(baselines or {})
    if not sims:
        raise ValueError("sims is empty: give at least one named simulation.")
    twice = set(sims) & set(baselines)
    if twice:
        raise ValueError(f"Names must differ between sims and baselines; repeated: {sorted(twice)}")
    everyone = {**sims, **baselines}
    if n_frames is not None:
        check_whole(n_frames, "n_frames")
    for name, sim in everyone.items():
        obs, everyone[name] = align_grid(obs, sim, ("time", "y", "x"), ("obs", name))
        check_same_grid(obs, everyone[name], ("obs", name))
    if n_frames is None:
        lengths = [np.shape(X)[1] for X in (obs, *everyone.values()) if np.ndim(X) == 4]
        shortest = min(np.shape(X)[-3] for X in (obs, *everyone.values()))
        n_frames = min(lengths) if lengths else min(12, shortest)
    wanted = chosen_scores(scores, "sample")
    needed = dict.fromkeys(score.statistic for score in wanted)
    w, each = _weights(obs, everyone, weights or {})
    if w is not None or any(v is not None for v in each.values()):
        _refuse_without_weights(wanted)
    a = _tables(each_sequence(obs, n_frames), needed)
    b = {name: _tables(each_sequence(sim, n_frames), needed) for name, sim in everyone.items()}
    for statistic in a:
        if statistic is not None:
            tables = [of[statistic] for of in (a, *b.values())]
            for of, settled in zip((a, *b.values()), statistic.settle(tables), strict=True):
                of[statistic] = settled
    cells = n_frames * int(np.prod(np.shape(obs)[-2:]))
    pairs = [(a, w), *((b[name], each[name]) for name in everyone)]
    smallest = cells * min(
        (
            len(rows) if v is None else v.sum() * (1 + 1e-12)
            for of, v in pairs
            for rows in of.values()
        ),
        default=0,
    )
    samples = {
        name: {s: with_weights(rows, each[name]) for s, rows in b[name].items()}
        for name in everyone
    }
    truth = {s: with_weights(rows, w) for s, rows in a.items()}
    options = {"n_resamples": n_resamples, "random_state": random_state}
    entries = []
    for name in everyone:
        rivals = {rival: samples[rival] for rival in baselines} if name in sims else {}
        entries += [
            _entry(name, score, truth, samples[name], rivals, smallest, options)
            for score in wanted
            if score.statistic in a
        ]
    return entries


def _entry(
    name: str,
    score: Score,
    obs: Samples,
    sim: Samples,
    rivals: dict[str, Samples],
    n: float,
    options: dict[str, Any],
) -> ScorecardEntry:
    statistic = score.statistic
    a, b = obs[statistic], sim[statistic]
    # Without a statistic the rows are the sequences themselves, and no mean of them is scored.
    whole = statistic is None

    def resample(function: Callable[..., float], *tables: Any) -> BootstrapResult:
        if whole:
            return bootstrap(function, *tables, **options)
        return bootstrap_means(function, *tables, weights=[*map(weights_of, tables)], **options)

    def estimate(p: Any, q: Any) -> float:
        return score(p, q) if whole else score.of_means(p, q, n=n)

    def of_rows(p: Any, q: Any) -> float:
        return score(p, q) if whole else estimate(weighted_mean(p), weighted_mean(q))

    def gap(p: Any, q: Any, r: Any) -> float:
        return score.loss(estimate(p, q)) - score.loss(estimate(p, r))

    interval = resample(estimate, a, b)
    test = permutation_test(of_rows, a, b, **options)
    versus = {
        rival: verdict(resample(gap, a, b, theirs[statistic])) for rival, theirs in rivals.items()
    }
    n_eff = min(effective_sample_size(_ones_or(weights_of(X), len(X))) for X in (a, b))
    return entry_of(name, score, interval, versus, test.expected, test.p_value, n_eff)


def _ones_or(weights: np.ndarray | None, n: int) -> np.ndarray:
    return np.ones(n) if weights is None else weights


def _weights(
    obs: Any, sims: Mapping[str, Any], weights: Mapping[str, Any]
) -> tuple[np.ndarray | None, dict[str, np.ndarray | None]]:
    """Weights of the observations and of each simulation."""
    unknown = set(weights) - set(sims)
    if unknown:
        raise ValueError(
            f"weights are given for {sorted(unknown)}, but the simulations are {sorted(sims)}."
        )
    of_obs = weights_of(obs, None, "obs")
    each = {name: weights_of(sim, weights.get(name), name) for name, sim in sims.items()}
    for name, X, w in (("obs", obs, of_obs), *((name, sims[name], each[name]) for name in sims)):
        if w is not None and np.ndim(X) != 4:
            raise ValueError(
                f"{name} has weights, which are those of sequences (n, time, y, x); got shape "
                f"{np.shape(X)}."
            )
    return of_obs, each


def _refuse_without_weights(scores: Iterable[Score]) -> None:
    for score in scores:
        if score.statistic is None and not takes_weights(score.function):
            raise ValueError(
                f"Score {score.name!r} takes no weights, and some sequences have weights: give it "
                "a statistic, or its function a parameter weights; or leave the score out."
            )
