"""Scorers: what `cross_val_score` and `GridSearchCV` call with a fitted model and held-out rain."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from skdiffuse.metrics.arrays import to_numpy
from skdiffuse.metrics.score import (
    REGISTRY,
    Kind,
    Score,
    chosen_scores,
    find_score,
    goodness,
    score_of_function,
)
from skdiffuse.metrics.sequences import windows
from skdiffuse.metrics.weights import carries_weights, takes_weights
from skdiffuse.runtime.array_types import RandomStateLike

Metric = Callable[..., float]
Metrics = Metric | Score | str | Mapping[str, Any]
Task = Literal["sample", "forecast", "interpolation"]


class _Scorer:
    """Draws from a model once, then applies one metric, or several as a dictionary."""

    kind: Kind = "ensemble"
    random_state: RandomStateLike

    def __init__(self, metric: Metrics, greater_is_better: bool | None):
        self.parts: dict[str, _Scorer] | None = None
        if isinstance(metric, Mapping):
            self.parts = {
                name: self._part(part, greater_is_better) for name, part in metric.items()
            }
            return
        known = None
        if greater_is_better is None and not isinstance(metric, (str, Score)):
            known = score_of_function(metric, self.kind)
            if known is not None and known.kind == self.kind and not hasattr(metric, "func"):
                metric = known
        if isinstance(metric, (str, Score)):
            (score,) = chosen_scores([metric], self.kind)
            # Not the entry itself: what it reads like need not be picklable.
            self.function, self.parameters = score.function, dict(score.parameters)
            self.direction, self.perfect = score.direction, score.perfect
        elif callable(metric):
            self.function, self.parameters = metric, {}
            self.direction, self.perfect = ("greater" if greater_is_better else "less"), 0.0
            if known is not None:
                self.direction, self.perfect = known.direction, known.perfect
        else:
            raise TypeError(
                f"metric must be a function, a Score, a name or a dictionary; got {metric!r}."
            )

    def _part(self, metric: Any, greater_is_better: bool | None) -> _Scorer:
        part = object.__new__(type(self))
        _Scorer.__init__(part, metric, greater_is_better)
        return part

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> Any:
        """Return the score of a fitted model on held-out rain `X`; higher is better."""
        return self._apply(*self._draw(estimator, X))

    def _apply(self, obs: Any, sim: Any) -> Any:
        if self.parts is not None:
            return {name: part._apply(obs, sim) for name, part in self.parts.items()}
        weighted = any(carries_weights(X) for X in (obs, sim))
        if weighted and not takes_weights(self.function):
            raise ValueError(
                f"{getattr(self.function, '__name__', self.function)} takes no weights, and the "
                "sequences carry some, the coordinate 'weight'. Give it a parameter weights, or "
                "sample without rare=."
            )
        value = float(self.function(obs, sim, **self.parameters))
        return goodness(value, self.direction, self.perfect)

    def _draw(self, estimator: Any, X: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def _call(self, estimator: Any, method: str, *args: Any, **options: Any) -> np.ndarray:
        """Call a method of a model, with the random state where it takes one."""
        function = getattr(estimator, method, None)
        if function is None:
            raise TypeError(
                f"{type(estimator).__name__} has no method {method!r}. A scikit-learn Pipeline "
                "hides it: use skdiffuse.DiffusionPipeline."
            )
        parameters = inspect.signature(function).parameters.values()
        named = any(p.name == "random_state" or p.kind is p.VAR_KEYWORD for p in parameters)
        if named:
            options["random_state"] = self.random_state
        return function(*args, **options)


class _SampleScorer(_Scorer):
    kind = "sample"

    def __init__(
        self,
        metric: Metrics,
        greater_is_better: bool | None,
        n_samples: int,
        random_state: RandomStateLike,
        options: dict[str, Any],
    ):
        super().__init__(metric, greater_is_better)
        self.n_samples, self.random_state, self.options = n_samples, random_state, options

    def _draw(self, estimator: Any, X: Any) -> tuple[Any, Any]:
        drawn = self._call(estimator, "sample", self.n_samples, **self.options)
        if self.options.get("rare") and not carries_weights(drawn):
            raise ValueError(
                f"rare={self.options['rare']!r} draws rare weather more often, and NumPy arrays "
                "cannot say how often: fit the model on a DataArray, whose samples carry weights."
            )
        return X, drawn


class _ForecastScorer(_Scorer):
    def __init__(
        self,
        metric: Metrics,
        greater_is_better: bool | None,
        n_past: int,
        horizon: int,
        n_members: int,
        random_state: RandomStateLike,
        options: dict[str, Any],
    ):
        super().__init__(metric, greater_is_better)
        self.n_past, self.horizon, self.n_members = n_past, horizon, n_members
        self.random_state, self.options = random_state, options

    def _draw(self, estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
        truth, members = [], []
        for window in windows(X, self.n_past + self.horizon):
            past, future = window[..., : self.n_past, :, :], window[..., self.n_past :, :, :]
            drawn = self._call(
                estimator, "forecast", past, self.horizon, n_members=self.n_members, **self.options
            )
            truth.append(_frames(future, 0))
            members.append(_frames(drawn, 1))
        return np.concatenate(truth), np.concatenate(members, axis=1)


class _ImputeScorer(_Scorer):
    def __init__(
        self,
        metric: Metrics,
        greater_is_better: bool | None,
        every: int,
        n_frames: int | None,
        n_members: int,
        random_state: RandomStateLike,
        options: dict[str, Any],
    ):
        super().__init__(metric, greater_is_better)
        self.every, self.n_frames, self.n_members = every, n_frames, n_members
        self.random_state, self.options = random_state, options

    def _draw(self, estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
        truth, members = [], []
        for window in windows(X, self.n_frames):
            hidden = np.arange(window.shape[-3]) % self.every != 0
            hidden[-1] = False  # the last frame is given: interpolation, no forecast
            known = np.broadcast_to(~hidden[:, None, None], window.shape).copy()
            # What is hidden is taken away, not only masked: no model can peep.
            given = (
                window.where(known) if hasattr(window, "dims") else np.where(known, window, np.nan)
            )
            drawn = self._call(
                estimator, "impute", given, known, n_samples=self.n_members, **self.options
            )
            truth.append(_frames(window[..., hidden, :, :], 0))
            members.append(_frames(drawn[..., hidden, :, :], 1))
        return np.concatenate(truth), np.concatenate(members, axis=1)


def _frames(X: Any, leading: int) -> np.ndarray:
    """Flatten all but the members (`leading` of 1) and y, x."""
    X = to_numpy(X)
    return X.reshape(*X.shape[:leading], -1, *X.shape[-2:])


def make_sample_scorer(
    metric: Metrics,
    *,
    n_samples: int = 64,
    greater_is_better: bool | None = None,
    random_state: Any = 0,
    **options: Any,
) -> Callable[..., Any]:
    """Make a scorer that compares samples of a model with held-out rain.

    scikit-learn's `make_scorer` can only call `predict` and its kin. This scorer calls
    ``estimator.sample(n_samples, random_state=...)`` and then ``metric(X, samples)``, in mm/h.

    Parameters
    ----------
    metric : callable, Score, str or dict
        ``metric(obs, sim) -> float``; a `Score`; a name out of `get_scorer_names`, or that of a
        function of `skdiffuse.metrics`; or a dictionary of them, for which the samples are drawn
        once and a dictionary is returned, as `cross_validate` and `GridSearchCV` (with
        ``refit=name``) understand.
    n_samples : int, default=64
        Sequences to draw. With more of them the score varies less.
    greater_is_better : bool, default=None
        Whether a callable metric is better when higher; if not, the score is its negative. By
        default what is known of a function of `skdiffuse.metrics`, and False for others. Names
        and entries bring their own direction.
    random_state : int, RandomState or None, default=0
        Randomness of the samples; an integer gives all folds and candidates the same noise.
    **options
        Passed to ``estimator.sample``, e.g. a number of steps.

    Returns
    -------
    callable
        Picklable ``scorer(estimator, X, y=None) -> float`` (or dict); higher is better.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import make_sample_scorer
    >>> class Drizzle:
    ...     def sample(self, n_samples=1, *, random_state=None):
    ...         return np.full((n_samples, 2, 4, 4), 0.5)
    >>> scorer = make_sample_scorer({"W1": "neg_wasserstein_distance"}, n_samples=3)
    >>> scorer(Drizzle(), np.ones((5, 2, 4, 4)))
    {'W1': -0.5}
    """
    return _SampleScorer(metric, greater_is_better, n_samples, random_state, options)


def make_forecast_scorer(
    metric: Metrics = "neg_crps",
    *,
    n_past: int,
    horizon: int,
    n_members: int = 8,
    greater_is_better: bool | None = None,
    random_state: Any = 0,
    **options: Any,
) -> Callable[..., Any]:
    """Make a scorer that nowcasts inside the fold.

    The first `n_past` frames of each held-out sequence go to
    ``estimator.forecast(past, horizon, n_members=...)``; the metric compares the ensemble with
    the `horizon` frames that followed.

    Parameters
    ----------
    metric : callable, Score, str or dict, default="neg_crps"
        ``metric(obs, ens) -> float`` for obs (frames, y, x) and ens (members, frames, y, x); a
        `Score` of ensembles; a name out of ``get_scorer_names("ensemble")``; or a dictionary of
        them.
    n_past, horizon : int
        Frames given and frames forecast. A series (time, y, x) is cut into windows of both.
    n_members : int, default=8
        Size of the ensembles.
    greater_is_better, random_state, **options
        As for `make_sample_scorer`; options go to ``estimator.forecast``.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import make_forecast_scorer
    >>> class Persistence:
    ...     def forecast(self, X, horizon, *, n_members=1):
    ...         return np.stack([np.repeat(X[:, -1:], horizon, axis=1)] * n_members)
    >>> make_forecast_scorer(n_past=2, horizon=3)(Persistence(), np.ones((5, 5, 4, 4)))
    -0.0
    """
    return _ForecastScorer(
        metric, greater_is_better, n_past, horizon, n_members, random_state, options
    )


def make_interpolation_scorer(
    metric: Metrics = "neg_crps",
    *,
    every: int = 2,
    n_frames: int | None = None,
    n_members: int = 8,
    greater_is_better: bool | None = None,
    random_state: Any = 0,
    **options: Any,
) -> Callable[..., Any]:
    """Make a scorer that hides frames inside the fold and has the model fill them.

    Of each held-out sequence the model is given every `every`-th frame and the last one, by
    ``estimator.impute(X, mask, n_samples=...)``; the metric sees the frames that were hidden.

    Parameters
    ----------
    metric : callable, Score, str or dict, default="neg_crps"
        As for `make_forecast_scorer`.
    every : int, default=2
        Keep one frame in this many.
    n_frames : int, default=None
        Length of the sequences; a series (time, y, x) is cut into windows of it.
    n_members : int, default=8
        Size of the ensembles.
    greater_is_better, random_state, **options
        As for `make_sample_scorer`; options go to ``estimator.impute``.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import make_interpolation_scorer
    >>> class Dry:
    ...     def impute(self, X, mask, n_samples=1):
    ...         return np.stack([np.where(mask, X, 0.0)] * n_samples)
    >>> make_interpolation_scorer()(Dry(), np.ones((5, 5, 4, 4)))
    -1.0
    """
    if every < 2:
        raise ValueError(f"every must be at least 2, so that some frames are hidden; got {every}.")
    return _ImputeScorer(
        metric, greater_is_better, every, n_frames, n_members, random_state, options
    )


def get_scorer_names(kind: Kind = "sample") -> list[str]:
    """Return the names of the scorers, by which higher is better.

    Parameters
    ----------
    kind : {"sample", "ensemble"}, default="sample"
        Those of `make_sample_scorer`, or those of `make_forecast_scorer` and
        `make_interpolation_scorer`. `get_scorer` knows both.

    Examples
    --------
    >>> from skdiffuse.metrics import get_scorer_names
    >>> get_scorer_names()[:2]
    ['neg_absolute_mean_bias', 'neg_absolute_power_deficit']
    """
    if kind not in REGISTRY:
        raise ValueError(f"kind must be 'sample' or 'ensemble'; got {kind!r}.")
    return sorted(score.scorer_name for score in REGISTRY[kind].values())


def get_scorer(name: str, *, task: Task | None = None, **options: Any) -> Callable[..., float]:
    """Return the scorer of a name, ready for ``scoring=``.

    Parameters
    ----------
    name : str
        One of `get_scorer_names`, or of a score or function of `skdiffuse.metrics` that has a
        scorer: ``"neg_crps"``, ``"crps"`` and ``"crps_ensemble"`` are one.
    task : {"sample", "forecast", "interpolation"}, default=None
        What the model is asked to do. By default a forecast where `n_past` or `horizon` is
        given, an interpolation where `every` is; else samples for a score of samples and an
        interpolation for a score of ensembles, which needs no further options.
    **options
        Parameters of the score (``threshold``), and what `make_sample_scorer`,
        `make_forecast_scorer` or `make_interpolation_scorer` takes.

    Examples
    --------
    >>> from skdiffuse.metrics import get_scorer
    >>> scorer = get_scorer("neg_quantile_error", n_samples=16)
    >>> nowcast = get_scorer("neg_brier_score", threshold=5.0, n_past=3, horizon=3)
    """
    makers: dict[Task, Callable[..., Callable[..., Any]]] = {
        "sample": make_sample_scorer,
        "forecast": make_forecast_scorer,
        "interpolation": make_interpolation_scorer,
    }
    if task is None and options.keys() & {"n_past", "horizon"}:
        task = "forecast"
    elif task is None and "every" in options:
        task = "interpolation"
    if task not in (None, *makers):
        raise ValueError(f"task must be one of {', '.join(makers)}; got {task!r}.")
    kind = task and ("sample" if task == "sample" else "ensemble")
    score = find_score(name, kind)
    task = task or ("sample" if score.kind == "sample" else "interpolation")
    own = {key: options.pop(key) for key in score.parameters if key in options}
    return makers[task](score.at(**own), **options)
