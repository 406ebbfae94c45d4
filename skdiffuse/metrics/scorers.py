"""Scorers: what `cross_val_score` and `GridSearchCV` call with a fitted model and held-out rain."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from skdiffuse.metrics._arrays import to_numpy
from skdiffuse.metrics.bias import mean_bias, pattern_correlation
from skdiffuse.metrics.crps import crps_ensemble
from skdiffuse.metrics.ensemble import energy_score, variogram_score
from skdiffuse.metrics.intensity import (
    jensen_shannon_divergence,
    perkins_skill_score,
    wasserstein_distance,
    wet_fraction_bias,
)
from skdiffuse.metrics.quantiles import quantile_error
from skdiffuse.metrics.spatial_verification import fss
from skdiffuse.metrics.spectra import log_spectral_distance, power_deficit

Metric = Callable[..., float]


def absolute_mean_bias(obs: Any, sim: Any) -> float:
    """Return the size of `mean_bias`, for which less is better."""
    return abs(mean_bias(obs, sim))


def absolute_wet_fraction_bias(obs: Any, sim: Any) -> float:
    """Return the size of `wet_fraction_bias`, for which less is better."""
    return abs(wet_fraction_bias(obs, sim))


def absolute_power_deficit(obs: Any, sim: Any) -> float:
    """Return the size of `power_deficit`, for which less is better."""
    return abs(power_deficit(obs, sim))


SAMPLE_METRICS: dict[str, tuple[Metric, bool]] = {
    "neg_jensen_shannon_divergence": (jensen_shannon_divergence, False),
    "perkins_skill_score": (perkins_skill_score, True),
    "neg_wasserstein_distance": (wasserstein_distance, False),
    "neg_quantile_error": (quantile_error, False),
    "neg_absolute_wet_fraction_bias": (absolute_wet_fraction_bias, False),
    "neg_absolute_mean_bias": (absolute_mean_bias, False),
    "pattern_correlation": (pattern_correlation, True),
    "neg_log_spectral_distance": (log_spectral_distance, False),
    "neg_temporal_log_spectral_distance": (
        partial(log_spectral_distance, kind="temporal"),
        False,
    ),
    "neg_absolute_power_deficit": (absolute_power_deficit, False),
}
ENSEMBLE_METRICS: dict[str, tuple[Metric, bool]] = {
    "neg_crps": (crps_ensemble, False),
    "neg_energy_score": (energy_score, False),
    "neg_variogram_score": (variogram_score, False),
    "fss": (partial(fss, member_axis=0), True),
}


class _Scorer:
    """Draws from a model once, then applies one metric, or several as a dictionary."""

    def __init__(
        self, metric: Metric | str | Mapping[str, Any], greater_is_better: bool, table: dict
    ):
        if isinstance(metric, str):
            if metric not in table:
                raise ValueError(f"Unknown metric {metric!r}; known are {', '.join(table)}.")
            metric, greater_is_better = table[metric]
        if isinstance(metric, Mapping):
            metric = {
                name: _Scorer(part, greater_is_better, table) for name, part in metric.items()
            }
        elif not callable(metric):
            raise TypeError(f"metric must be a function, a name or a dictionary; got {metric!r}.")
        self.metric = metric
        self.sign = 1.0 if greater_is_better else -1.0

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> Any:
        """Return the score of a fitted model on held-out rain `X`; higher is better."""
        return self._apply(*self._draw(estimator, X))

    def _apply(self, obs: Any, sim: Any) -> Any:
        if isinstance(self.metric, dict):
            return {name: part._apply(obs, sim) for name, part in self.metric.items()}
        return self.sign * float(self.metric(obs, sim))

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
    def __init__(self, metric, greater_is_better, n_samples, random_state, options):
        super().__init__(metric, greater_is_better, SAMPLE_METRICS)
        self.n_samples, self.random_state, self.options = n_samples, random_state, options

    def _draw(self, estimator, X):
        return X, self._call(estimator, "sample", self.n_samples, **self.options)


class _ForecastScorer(_Scorer):
    def __init__(
        self, metric, greater_is_better, n_past, horizon, n_members, random_state, options
    ):
        super().__init__(metric, greater_is_better, ENSEMBLE_METRICS)
        self.n_past, self.horizon, self.n_members = n_past, horizon, n_members
        self.random_state, self.options = random_state, options

    def _draw(self, estimator, X):
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
        self, metric, greater_is_better, every, n_frames, n_members, random_state, options
    ):
        super().__init__(metric, greater_is_better, ENSEMBLE_METRICS)
        self.every, self.n_frames, self.n_members = every, n_frames, n_members
        self.random_state, self.options = random_state, options

    def _draw(self, estimator, X):
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


def windows(X: Any, n_frames: int | None) -> Iterator[Any]:
    """Yield held-out sequences (n, time, y, x) as they are, a series in windows without gaps."""
    if np.ndim(X) == 4:
        if n_frames is not None and np.shape(X)[1] < n_frames:
            raise ValueError(
                f"X has sequences of {np.shape(X)[1]} frames, but {n_frames} are needed."
            )
        yield X if n_frames is None else X[:, :n_frames]
        return
    if np.ndim(X) != 3:
        raise ValueError(f"X must have shape (time, y, x) or (n, time, y, x); got {np.shape(X)}.")
    n = len(X) if n_frames is None else n_frames
    whole = np.ones(max(len(X) - 1, 0), dtype=bool)
    if hasattr(X, "dims") and X.dims[0] in X.coords:
        steps = np.diff(np.asarray(X[X.dims[0]]))
        whole = steps == np.sort(steps)[len(steps) // 2] if len(steps) else whole
    found, start = False, 0
    while start + n <= len(X):
        gaps = np.flatnonzero(~whole[start : start + n - 1])
        if gaps.size:
            start += int(gaps[-1]) + 1
            continue
        found = True
        yield X[start : start + n]
        start += n
    if not found:
        raise ValueError(f"X has no {n} frames in a row (of {len(X)}) to score.")


def make_sample_scorer(
    metric: Metric | str | Mapping[str, Any],
    *,
    n_samples: int = 64,
    greater_is_better: bool = False,
    random_state: Any = 0,
    **options: Any,
) -> Callable[..., Any]:
    """Make a scorer that compares samples of a model with held-out rain.

    scikit-learn's `make_scorer` can only call `predict` and its kin. This scorer calls
    ``estimator.sample(n_samples, random_state=...)`` and then ``metric(X, samples)``, in mm/h.

    Parameters
    ----------
    metric : callable, str or dict
        ``metric(obs, sim) -> float``; a name out of `get_scorer_names`; or a dictionary of
        them, for which the samples are drawn once and a dictionary is returned, as
        `cross_validate` and `GridSearchCV` (with ``refit=name``) understand.
    n_samples : int, default=64
        Sequences to draw. With more of them the score varies less.
    greater_is_better : bool, default=False
        Whether a callable metric is better when higher; if not, the score is its negative.
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
    metric: Metric | str | Mapping[str, Any] = "neg_crps",
    *,
    n_past: int,
    horizon: int,
    n_members: int = 8,
    greater_is_better: bool = False,
    random_state: Any = 0,
    **options: Any,
) -> Callable[..., Any]:
    """Make a scorer that nowcasts inside the fold.

    The first `n_past` frames of each held-out sequence go to
    ``estimator.forecast(past, horizon, n_members=...)``; the metric compares the ensemble with
    the `horizon` frames that followed.

    Parameters
    ----------
    metric : callable, str or dict, default="neg_crps"
        ``metric(obs, ens) -> float`` for obs (frames, y, x) and ens (members, frames, y, x); a
        name (neg_crps, neg_energy_score, neg_variogram_score, fss); or a dictionary of them.
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
    metric: Metric | str | Mapping[str, Any] = "neg_crps",
    *,
    every: int = 2,
    n_frames: int | None = None,
    n_members: int = 8,
    greater_is_better: bool = False,
    random_state: Any = 0,
    **options: Any,
) -> Callable[..., Any]:
    """Make a scorer that hides frames inside the fold and has the model fill them.

    Of each held-out sequence the model is given every `every`-th frame and the last one, by
    ``estimator.impute(X, mask, n_samples=...)``; the metric sees the frames that were hidden.

    Parameters
    ----------
    metric : callable, str or dict, default="neg_crps"
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


def get_scorer_names() -> list[str]:
    """Return the names that `make_sample_scorer` and `get_scorer` know.

    Examples
    --------
    >>> from skdiffuse.metrics import get_scorer_names
    >>> get_scorer_names()[:2]
    ['neg_absolute_mean_bias', 'neg_absolute_power_deficit']
    """
    return sorted(SAMPLE_METRICS)


def get_scorer(name: str, **options: Any) -> Callable[..., float]:
    """Return the scorer of a name, ready for ``scoring=``.

    Parameters
    ----------
    name : str
        One of `get_scorer_names`.
    **options
        Passed to `make_sample_scorer`.

    Examples
    --------
    >>> from skdiffuse.metrics import get_scorer
    >>> scorer = get_scorer("neg_quantile_error", n_samples=16)
    """
    return make_sample_scorer(name, **options)
