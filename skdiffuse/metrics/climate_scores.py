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

Tables = dict[Statistic | None, np.ndarray]


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
) -> ScorecardEntry:
    """Make the row of a score out of what resampling gave."""
    reading = score.say(interval.value)
    if p_value > 0.05:
        reading += " (within sampling noise)"
    return ScorecardEntry(
        simulation, score.label, score.unit, interval.value, interval.low, interval.high,
        float(score.perfect), expected, p_value, versus, reading, interval.n, score.heading,
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
        Where grids, calendars or units differ (the message says which), names are repeated, or
        there are fewer than two sequences.

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
    a = _tables(each_sequence(obs, n_frames), needed)
    b = {name: _tables(each_sequence(sim, n_frames), needed) for name, sim in everyone.items()}
    for statistic in a:
        if statistic is not None:
            tables = [of[statistic] for of in (a, *b.values())]
            for of, settled in zip((a, *b.values()), statistic.settle(tables), strict=True):
                of[statistic] = settled
    cells = n_frames * int(np.prod(np.shape(obs)[-2:]))
    smallest = cells * min(
        (len(rows) for of in (a, *b.values()) for rows in of.values()), default=0
    )
    options = {"n_resamples": n_resamples, "random_state": random_state}
    entries = []
    for name in everyone:
        rivals = {rival: b[rival] for rival in baselines} if name in sims else {}
        entries += [
            _entry(name, score, a, b[name], rivals, smallest, options)
            for score in wanted
            if score.statistic in a
        ]
    return entries


def _entry(
    name: str,
    score: Score,
    obs: Tables,
    sim: Tables,
    rivals: dict[str, Tables],
    n: int,
    options: dict[str, Any],
) -> ScorecardEntry:
    statistic = score.statistic
    a, b = obs[statistic], sim[statistic]
    # Without a statistic the rows are the sequences themselves, and no mean of them is scored.
    whole = statistic is None
    resample: Callable[..., BootstrapResult] = bootstrap if whole else bootstrap_means

    def estimate(p: np.ndarray, q: np.ndarray) -> float:
        return score(p, q) if whole else score.of_means(p, q, n=n)

    def of_rows(p: np.ndarray, q: np.ndarray) -> float:
        return score(p, q) if whole else estimate(p.mean(axis=0), q.mean(axis=0))

    def gap(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
        return score.loss(estimate(p, q)) - score.loss(estimate(p, r))

    interval = resample(estimate, a, b, **options)
    test = permutation_test(of_rows, a, b, **options)
    versus = {
        rival: verdict(resample(gap, a, b, theirs[statistic], **options))
        for rival, theirs in rivals.items()
    }
    return entry_of(name, score, interval, versus, test.expected, test.p_value)
