"""A scikit-learn Pipeline that can generate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skdiffuse.cubes import align_like
from skdiffuse.preprocessing import IdentityTransform

__all__ = ["DiffusionPipeline"]


def _final_step_has(method: str) -> Callable[[Pipeline], bool]:
    def check(pipeline: Pipeline) -> bool:
        # An AttributeError from here becomes the pipeline's own.
        getattr(pipeline.steps[-1][1], method)
        return True

    return check


class DiffusionPipeline(Pipeline):
    """Transformers of rain before a generative model, which then generates in mm/h.

    ``Pipeline`` with the model's verbs: each transforms what goes in and takes the result back
    through the inverse transforms. A verb is there only if the last step has it.

    Parameters
    ----------
    steps : list of (str, object)
        Names and objects: invertible transformers, such as those of ``skdiffuse.preprocessing``,
        and a generative model at the end.
    transform_input, memory, verbose
        As in :class:`sklearn.pipeline.Pipeline`.

    See Also
    --------
    skdiffuse.PrecipDiffusion : Has a parameter `transformer`, simpler for one transform.
    sklearn.pipeline.Pipeline : Fits and scores, and cannot sample.

    Notes
    -----
    ``score_samples`` adds the transforms' log-Jacobians, so that densities are per mm/h and
    comparable between transforms. ``downscale`` and ``condition`` compare means or other operators
    of the rain itself, which do not commute with a nonlinear transform: with one among the steps
    they raise, and the transform belongs into ``PrecipDiffusion(transformer=...)``.
    ``PrecipDiffusion`` as the last step takes for rain what the transforms hand it: no value may be
    negative, and its own threshold of dry cells is one of those values.

    Examples
    --------
    >>> from skdiffuse.pipeline import DiffusionPipeline
    >>> from skdiffuse.preprocessing import SqrtTransform
    >>> from sklearn.neighbors import KernelDensity
    >>> import numpy as np
    >>> rain = np.random.default_rng(0).gamma(0.5, 2.0, size=(50, 4))
    >>> pipeline = DiffusionPipeline([("sqrt", SqrtTransform()), ("kde", KernelDensity())])
    >>> sampled = pipeline.fit(rain).sample(3, random_state=0)
    >>> sampled.shape, bool((sampled >= 0).all())
    ((3, 4), True)
    >>> hasattr(pipeline, "forecast")
    False
    """

    @available_if(_final_step_has("sample"))
    def sample(self, n_samples: int = 1, **options: Any) -> Any:
        """Generate rain with the last step.

        Parameters
        ----------
        n_samples : int, default=1
            Number of sequences.
        **options
            Passed to the last step: random_state and others.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, ...)
            In mm/h, never negative.
        """
        return self._to_rain(self._model().sample(n_samples, **options))

    @available_if(_final_step_has("simulate"))
    def simulate(self, n_frames: int, **options: Any) -> Any:
        """Generate a long series with the last step.

        Parameters
        ----------
        n_frames : int
            Length of the series.
        **options
            Passed to the last step.

        Returns
        -------
        ndarray or DataArray
            In mm/h.
        """
        return self._to_rain(self._model().simulate(n_frames, **options))

    @available_if(_final_step_has("impute"))
    def impute(self, X: Any, mask: Any = None, **options: Any) -> Any:
        """Fill gaps with the last step; known values come back to the bit.

        Parameters
        ----------
        X : ndarray or DataArray
            Rain in mm/h, NaN where unknown.
        mask : ndarray or DataArray of bool, default=None
            True where `X` is known; None is where it is finite. A DataArray goes with a DataArray
            by the names of its dimensions and its labels; other arrays have the shape of `X` or
            broadcast to it.
        **options
            Passed to the last step: n_samples, random_state and others.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, *X.shape), or X.shape
            In mm/h.

        Raises
        ------
        ValueError
            If `mask` does not fit `X` in its shape, dimensions or labels.
        """
        if mask is not None:
            mask = align_like(mask, X, "mask")
        filled = self._to_rain(self._model().impute(self._to_latent(X), mask=mask, **options), X)
        known = np.isfinite(np.asarray(X))
        if mask is not None:
            known = known & mask.astype(bool)
        return _with_values(filled, np.where(known, np.asarray(X), np.asarray(filled)))

    @available_if(_final_step_has("interpolate"))
    def interpolate(self, X: Any, factor: int = 2, **options: Any) -> Any:
        """Generate frames between those of `X` with the last step; those of `X` come back.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h.
        factor : int, default=2
            Time steps made of one.
        **options
            Passed to the last step.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, ..., (time - 1) * factor + 1, y, x)
            In mm/h.
        """
        latent = self._model().interpolate(self._to_latent(X), factor, **options)
        refined = self._to_rain(latent, X)
        values, known = np.array(refined), np.asarray(X)
        frames = values[..., ::factor, :, :]
        frames[...] = np.where(np.isfinite(known), known, frames)
        return _with_values(refined, values)

    @available_if(_final_step_has("forecast"))
    def forecast(self, X: Any, horizon: int, **options: Any) -> Any:
        """Continue `X` with the last step.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            The past, in mm/h.
        horizon : int
            Frames to forecast.
        **options
            Passed to the last step: n_members, random_state and others.

        Returns
        -------
        ndarray or DataArray of shape (n_members, ..., horizon, y, x)
            In mm/h.
        """
        return self._to_rain(self._model().forecast(self._to_latent(X), horizon, **options), X)

    @available_if(_final_step_has("downscale"))
    def downscale(self, X: Any, factor: int, **options: Any) -> Any:
        """Refine in space with the last step; only behind linear steps.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Coarse rain in mm/h.
        factor : int
            Fine cells along a side of a coarse one.
        **options
            Passed to the last step.

        Returns
        -------
        ndarray or DataArray
            In mm/h.

        Raises
        ------
        ValueError
            If a step is not the identity: the latent of a mean is not the mean of latents.
        """
        self._check_linear("downscale")
        return self._to_rain(self._model().downscale(self._to_latent(X), factor, **options), X)

    @available_if(_final_step_has("condition"))
    def condition(self, observation: Any, **options: Any) -> Any:
        """Generate given an observation with the last step; only behind linear steps.

        Parameters
        ----------
        observation : object
            What the last step takes; it speaks of rain in mm/h.
        **options
            Passed to the last step.

        Returns
        -------
        ndarray or DataArray
            In mm/h.

        Raises
        ------
        ValueError
            If a step is not the identity.
        """
        self._check_linear("condition")
        return self._to_rain(self._model().condition(observation, **options))

    @available_if(_final_step_has("score_samples"))
    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density of each sequence in nats per mm/h-cube, Jacobians included.

        Parameters
        ----------
        X : ndarray or DataArray of shape (n, ...)
            Rain in mm/h. A (time, y, x) series that the model scores as one counts as one.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        ValueError
            If a transform is vertical at a dry cell, or the model returns another number of
            scores than there are sequences.
        """
        model = self._model()
        log_jacobian: float | np.ndarray = 0.0
        for transformer in self._transformers():
            log_jacobian = log_jacobian + np.asarray(transformer.log_jacobian(X))
            X = transformer.transform(X)
        scores = np.asarray(model.score_samples(X))
        of_cells = np.nan_to_num(np.broadcast_to(log_jacobian, X.shape), nan=0.0, posinf=np.inf)
        if not np.isfinite(of_cells).all():
            raise ValueError(
                "X has dry cells, where a transform's slope is infinite and no density exists; put "
                "DryCellTransform(transformer, 'jitter', random_state=0) in its place."
            )
        if scores.size == 1:
            return scores + of_cells.sum()
        if scores.shape != X.shape[:1]:
            raise ValueError(
                f"X of shape {X.shape} got {scores.size} scores from the model; give sequences of "
                "the model's length, (n, time, y, x)."
            )
        return scores + of_cells.reshape(len(scores), -1).sum(axis=1)

    @available_if(_final_step_has("score"))
    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Mean of `score_samples` where the model has it, else the model's own score.

        Parameters
        ----------
        X : ndarray or DataArray
            Rain in mm/h.
        y : object, default=None
            Passed to a model that has a score of its own.
        **params
            As in :class:`sklearn.pipeline.Pipeline`.

        Returns
        -------
        float
        """
        if hasattr(self, "score_samples") and not params:
            return float(np.mean(self.score_samples(X)))
        return super().score(X, y, **params)

    def _model(self) -> Any:
        check_is_fitted(self)
        return self.steps[-1][1]

    def _transformers(self) -> list[Any]:
        return [step for _, step in self.steps[:-1] if step is not None and step != "passthrough"]

    def _to_latent(self, X: Any) -> Any:
        for transformer in self._transformers():
            X = transformer.transform(X)
        return X

    def _to_rain(self, latent: Any, like: Any = None) -> Any:
        for transformer in reversed(self._transformers()):
            latent = transformer.inverse_transform(latent)
        if isinstance(latent, xr.DataArray) and isinstance(like, xr.DataArray):
            latent.attrs = like.attrs | latent.attrs
        return latent

    def _check_linear(self, verb: str) -> None:
        bent = [t for t in self._transformers() if not isinstance(t, IdentityTransform)]
        if bent:
            raise ValueError(
                f"{verb} compares means of rain, which do not commute with the step {bent[0]!r}; "
                "give the transform to the model instead, PrecipDiffusion(transformer=...)."
            )


def _with_values(like: Any, values: np.ndarray) -> Any:
    return like.copy(data=values) if isinstance(like, xr.DataArray) else values
