"""What a score is: one entry from which its scorer, its row on a page and its title follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

Kind = Literal["sample", "ensemble"]
Direction = Literal["greater", "less", "none"]


def _as_it_is(mean: np.ndarray, n: float) -> np.ndarray:
    return mean


@dataclass(frozen=True)
class Statistic:
    """What a score needs of the data, so small that resampling it costs nothing.

    Parameters
    ----------
    name : str
        What it is.
    of : callable
        ``of(sequence) -> ndarray`` for a sequence (time, y, x); of an ensemble score
        ``of(truth, members, **parameters) -> ndarray`` for a case (time, y, x) and its members
        (m, time, y, x). Sums and counts: what may be averaged over sequences. None where the
        shape leaves nothing to compute (a temporal spectrum of one frame).
    settle : callable, default=None
        ``settle(tables) -> tables`` decides once for all samples what their resamples must agree
        on; a table holds the statistics of a sample's sequences along its first axis.
    finish : callable, default=None
        ``finish(mean, n)`` makes what the formula takes of the mean over sequences; n is the
        number of cells in the smallest sample, where weights count sequences several times as
        often. By default the mean as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import Statistic
    >>> largest = Statistic("largest rate", lambda X: np.array([np.nanmax(X)]))
    >>> largest.finish(largest.of(np.ones((2, 3, 3))), 18)
    array([1.])
    """

    name: str
    of: Callable[..., np.ndarray | None]
    settle: Callable[[list[np.ndarray]], list[np.ndarray]] = list
    finish: Callable[[np.ndarray, float], Any] = _as_it_is


@dataclass(frozen=True)
class Score:
    """One score: its function, how sure it can be, and how it is read.

    `scorecard`, `forecast_scorecard`, `make_sample_scorer`, `make_forecast_scorer`,
    `make_interpolation_scorer` and `skdiffuse.plotting.evaluation_report` take such entries
    beside the names of the scores they know: a score of your own needs nothing else.

    Parameters
    ----------
    name : str
        Name, from which that of the scorer follows.
    function : callable
        ``function(obs, sim, **parameters) -> float`` for cubes (n, time, y, x) in mm/h; of an
        ensemble score `sim` has its members first, (m, n, time, y, x). Scorers of forecasts give
        frames in one dimension, (n, y, x). A function that heeds weights has a parameter
        ``weights``, and else takes those of a DataArray's coordinate ``weight``.
    title : str
        As a person would say it; may show parameters.
    reading : callable
        ``reading(value, **parameters) -> str``, what a value says in plain words.
    kind : {"sample", "ensemble"}, default="sample"
        Whether samples that belong to no case are scored, or forecasts that each have a truth.
    unit : str, default="1"
        Unit, "1" for none.
    perfect : float, default=0
        Value of a perfect simulation; NaN where there is none.
    direction : {"greater", "less", "none"}, default="less"
        What is better; "none" where a score has a sign and errs to both sides of `perfect`.
    statistic : Statistic, default=None
        What `formula` needs of each sequence or case. Without it whole sequences are resampled
        and `function` is called each time: right, but slow.
    formula : callable, default=None
        ``formula(obs, sim) -> float`` of two finished statistics; of an ensemble score
        ``formula(statistic) -> float``. NaN where it is undefined.
    parameters : dict, default={}
        Of `function`, of an ensemble statistic and of `reading`.
    row : str, default=""
        Name in a scorecard, which may show parameters: ``"brier of {threshold:g} mm/h"``; by
        default `name`.
    public : str, default=""
        Name of the function of `skdiffuse.metrics` that it is about; by default `name`.
    in_card : bool, default=True
        Whether a scorecard has it without being asked.
    thresholds : {"each", "largest"}, default="each"
        Which of a scorecard's thresholds a score with the parameter ``threshold`` is about.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import Score, scorecard
    >>> def largest_ratio(obs, sim):
    ...     return float(np.nanmax(sim) / np.nanmax(obs))
    >>> mine = Score("largest_ratio", largest_ratio, "Largest rate", perfect=1, direction="none",
    ...              reading=lambda v: f"the largest rate is {v:.2g} times that observed")
    >>> rain = np.random.default_rng(0).gamma(0.3, size=(30, 4, 8, 8))
    >>> entry, = scorecard(rain, {"model": 4 * rain}, scores=[mine], n_resamples=40)
    >>> entry.value, entry.reading
    (4.0, 'the largest rate is 4 times that observed')
    >>> mine.scorer_name
    'neg_absolute_largest_ratio'
    """

    name: str
    function: Callable[..., float]
    title: str
    reading: Callable[..., str]
    kind: Kind = "sample"
    unit: str = "1"
    perfect: float = 0.0
    direction: Direction = "less"
    statistic: Statistic | None = None
    formula: Callable[..., float] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    row: str = ""
    public: str = ""
    in_card: bool = True
    thresholds: Literal["each", "largest"] = "each"

    def __post_init__(self) -> None:
        for name, known in (
            ("kind", ("sample", "ensemble")),
            ("direction", ("greater", "less", "none")),
            ("thresholds", ("each", "largest")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}; got {getattr(self, name)!r}.")
        if (self.statistic is None) != (self.formula is None):
            raise ValueError(
                f"Score {self.name!r} has one of statistic and formula: give both, or neither."
            )
        if self.direction == "none" and not np.isfinite(self.perfect):
            raise ValueError(
                f"Score {self.name!r} has direction 'none', which needs a finite perfect value to "
                f"be near to; got {self.perfect}."
            )

    @property
    def label(self) -> str:
        """Name in a scorecard, with the values of its parameters."""
        return (self.row or self.name).format(**self.parameters)

    @property
    def heading(self) -> str:
        """Title with the values of its parameters."""
        return self.title.format(**self.parameters)

    @property
    def scorer_name(self) -> str:
        """Name of the scorer, by which higher is better: ``neg_`` where less is."""
        sign = {"greater": "", "less": "neg_", "none": "neg_absolute_"}[self.direction]
        return sign + self.name

    def __call__(self, obs: Any, sim: Any) -> float:
        """Return the score, by its function."""
        return float(self.function(obs, sim, **self.parameters))

    def of_means(self, *means: np.ndarray, n: float) -> float:
        """Return the score by its formula, of one mean of the statistic a sample.

        `n` is the number of cells in the smallest sample, as for `Statistic.finish`.
        """
        if self.statistic is None or self.formula is None:
            raise ValueError(
                f"Score {self.name!r} has no statistic to take means of: call it with the samples."
            )
        return float(self.formula(*(self.statistic.finish(mean, n) for mean in means)))

    def at(self, **parameters: Any) -> Score:
        """Return the same score with other values of some parameters."""
        unknown = set(parameters) - set(self.parameters)
        if unknown:
            raise ValueError(
                f"Score {self.name!r} has no parameter {sorted(unknown)}; it has "
                f"{sorted(self.parameters)}."
            )
        return replace(self, parameters={**self.parameters, **parameters})

    def loss(self, value: float) -> float:
        """Return how far a value is from perfect: less is better, whatever the direction."""
        if np.isfinite(self.perfect):
            return abs(value - self.perfect)
        return -value if self.direction == "greater" else value

    def say(self, value: float) -> str:
        """Return what a value says, in plain words."""
        return self.reading(value, **self.parameters) if np.isfinite(value) else "undefined"


def goodness(value: float, direction: Direction, perfect: float) -> float:
    """Return a value so that higher is better; one that errs to both sides by its distance."""
    if direction == "none":
        return -abs(value - perfect)
    return value if direction == "greater" else -value


REGISTRY: dict[Kind, dict[str, Score]] = {"sample": {}, "ensemble": {}}
"""The scores of this package by kind and name, each registered beside its function."""


def _place(function: Any) -> tuple[str, str]:
    """Where a function was written."""
    function = getattr(function, "func", function)
    return function.__module__, function.__qualname__


def register(score: Score) -> Score:
    """Make a score known to scorecards, scorers and pages by its name."""
    table = REGISTRY[score.kind]
    known = table.get(score.name)
    # A module that is loaded again brings its own scores again.
    if known is not None and _place(known.function) != _place(score.function):
        raise ValueError(f"There is a {score.kind} score {score.name!r} already.")
    table[score.name] = score
    return score


def get_scores(kind: Kind = "sample") -> list[Score]:
    """Return the scores that a scorecard has without being asked, in its order.

    Parameters
    ----------
    kind : {"sample", "ensemble"}, default="sample"
        Those of `scorecard`, or those of `forecast_scorecard`.

    Examples
    --------
    >>> from skdiffuse.metrics import get_scores
    >>> [score.name for score in get_scores()][:3]
    ['mean_bias', 'map_error', 'wet_fraction_bias']
    """
    if kind not in REGISTRY:
        raise ValueError(f"kind must be 'sample' or 'ensemble'; got {kind!r}.")
    return [score for score in REGISTRY[kind].values() if score.in_card]


def find_score(name: str, kind: Kind | None = None) -> Score:
    """Return the registered score of a name: its own, its function's or its scorer's.

    Of a name that both kinds have, the score of samples is meant.
    """
    tables = [REGISTRY[kind]] if kind else list(REGISTRY.values())
    for names in (lambda s: (s.name, s.scorer_name), lambda s: (s.public,)):
        for table in tables:
            for score in table.values():
                if name in names(score):
                    return score
    known = sorted({s.scorer_name for table in tables for s in table.values()})
    raise ValueError(f"Unknown metric {name!r}; known are {', '.join(known)}.")


def score_of_function(function: Any, kind: Kind) -> Score | None:
    """Return the registered score that a function of this package is for; None for others.

    Options bound by `functools.partial` do not matter; scores of `kind` come first.
    """
    function = getattr(function, "func", function)
    if not str(getattr(function, "__module__", "")).startswith("skdiffuse.metrics."):
        return None
    for table in (REGISTRY[kind], *REGISTRY.values()):
        for score in table.values():
            if function.__name__ == (score.public or score.name):
                return score
    return None


def chosen_scores(scores: Iterable[Score | str] | None, kind: Kind) -> list[Score]:
    """Return the scores asked for, by entry or by name; those of a scorecard for None.

    Raises
    ------
    ValueError, TypeError
        Where a name is unknown, a score is of the other kind, or it is no score at all.
    """
    if scores is None:
        return list(get_scores(kind))
    found = []
    for score in scores:
        if isinstance(score, str):
            score = find_score(score, kind)
        if not isinstance(score, Score):
            raise TypeError(f"scores must hold Score entries or names; got {score!r}.")
        if score.kind != kind:
            raise ValueError(
                f"Score {score.name!r} is of kind {score.kind!r}, and here scores of kind {kind!r} "
                f"are computed: use {'forecast_scorecard' if kind == 'sample' else 'scorecard'}."
            )
        found.append(score)
    if not found:
        raise ValueError("scores is empty: give at least one score, or None for the usual ones.")
    return found


def split_by_kind(
    scores: Iterable[Score | str] | None,
) -> tuple[list[Score] | None, list[Score] | None]:
    """Return the scores of samples and those of ensembles among some; None where there are none.

    A name that both kinds have stands for both.
    """
    if scores is None:
        return None, None
    found: dict[Kind, list[Any]] = {"sample": [], "ensemble": []}
    for score in scores:
        if isinstance(score, str):
            first = find_score(score)
            found[first.kind].append(first)
            if first.kind == "sample" and score in REGISTRY["ensemble"]:
                found["ensemble"].append(REGISTRY["ensemble"][score])
        else:
            found[getattr(score, "kind", "sample")].append(score)
    return (
        chosen_scores(found["sample"], "sample") if found["sample"] else None,
        chosen_scores(found["ensemble"], "ensemble") if found["ensemble"] else None,
    )
