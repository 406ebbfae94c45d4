"""Forecasts and interpolations that look at nothing but values."""

from __future__ import annotations

from numbers import Integral
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted

from skdiffuse.cubes import dress, validate_cube
from skdiffuse.runtime.array_types import ArrayOrDataArray, RandomStateLike

__all__ = ["Climatology", "LinearInterpolation", "Persistence"]


class Persistence(BaseEstimator):
    """It goes on raining as it does now: the last frame, repeated.

    Examples
    --------
    >>> import numpy as np
    >>> past = np.arange(12.0).reshape(3, 2, 2)
    >>> Persistence().fit(past).forecast(past, horizon=2)[0, :, 0, 0]
    array([8., 8.], dtype=float32)
    """

    def fit(self, X: ArrayOrDataArray, y: None = None) -> Self:
        """Learn nothing, but check `X`, rain of shape (time, y, x) or (n, time, y, x)."""
        validate_cube(X)
        return self

    def forecast(
        self, X: ArrayOrDataArray, horizon: int, *, n_members: int = 1
    ) -> ArrayOrDataArray:
        """Repeat the last frame `horizon` times, alike in all members.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            The past, in mm/h.
        horizon : int
        n_members : int, default=1

        Returns
        -------
        ndarray or DataArray of shape (n_members, ..., horizon, y, x)
        """
        check_scalar(horizon, "horizon", Integral, min_val=1)
        check_scalar(n_members, "n_members", Integral, min_val=1)
        cube = validate_cube(X)
        last = cube.frames(-1).astype(np.float32)
        members = np.repeat(np.repeat(last, horizon, axis=1)[None], n_members, axis=0)
        return dress(members[:, 0] if cube.is_series else members, cube.template, time="continued")

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Climatology(BaseEstimator):
    """It rains as it has rained before: sequences drawn at random from the training cube.

    Parameters
    ----------
    random_state : int, RandomState or None, default=None
        Draws the sequences.

    Examples
    --------
    >>> import numpy as np
    >>> cube = np.ones((10, 8, 8))
    >>> Climatology(random_state=0).fit(cube).forecast(cube[:2], horizon=3, n_members=5).shape
    (5, 3, 8, 8)
    """

    def __init__(self, random_state: RandomStateLike = None) -> None:
        self.random_state = random_state

    def fit(self, X: ArrayOrDataArray, y: None = None) -> Self:
        """Keep the training cube, rain of shape (time, y, x) or (n, time, y, x)."""
        self.cube_ = validate_cube(X)
        return self

    def forecast(
        self,
        X: ArrayOrDataArray,
        horizon: int,
        *,
        n_members: int = 1,
        random_state: RandomStateLike = None,
    ) -> ArrayOrDataArray:
        """Draw sequences of the size of `X`'s fields from the training cube.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            The past, in mm/h; only its size and its coordinates are looked at.
        horizon : int
        n_members : int, default=1
        random_state : int, RandomState or None, default=None
            None: the estimator's own.

        Returns
        -------
        ndarray or DataArray of shape (n_members, ..., horizon, y, x)
        """
        check_is_fitted(self)
        check_scalar(horizon, "horizon", Integral, min_val=1)
        check_scalar(n_members, "n_members", Integral, min_val=1)
        cube = validate_cube(X)
        shape = cube.field_shape
        if any(a > b for a, b in zip(shape, self.cube_.field_shape, strict=True)):
            raise ValueError(
                f"X has fields of {shape} cells, larger than the {self.cube_.field_shape} of the "
                "training cube; give smaller fields."
            )
        starts = self.cube_.window_starts(horizon)
        if not len(starts):
            raise ValueError(f"horizon={horizon} is longer than any stretch of the training cube.")
        random = check_random_state(self.random_state if random_state is None else random_state)

        def window() -> np.ndarray:
            sequence, start = starts[random.randint(len(starts))]
            y, x = (
                slice(corner := random.randint(whole - part + 1), corner + part)
                for whole, part in zip(self.cube_.field_shape, shape, strict=True)
            )
            return self.cube_.window(sequence, start, horizon, y, x)

        members = np.stack([[window() for _ in range(cube.n_sequences)] for _ in range(n_members)])
        return dress(members[:, 0] if cube.is_series else members, cube.template, time="continued")


class LinearInterpolation(BaseEstimator):
    """Between two frames it rains as a mean of both, weighted by the distance in time.

    Examples
    --------
    >>> import numpy as np
    >>> past = np.array([0.0, 4.0]).reshape(2, 1, 1)
    >>> LinearInterpolation().fit(past).interpolate(past, factor=4)[0, :, 0, 0]
    array([0., 1., 2., 3., 4.])
    """

    def fit(self, X: ArrayOrDataArray, y: None = None) -> Self:
        """Learn nothing, but check `X`, rain of shape (time, y, x) or (n, time, y, x)."""
        validate_cube(X)
        return self

    def interpolate(
        self, X: ArrayOrDataArray, factor: int = 2, *, n_samples: int = 1
    ) -> ArrayOrDataArray:
        """Make `factor` steps of each step of `X`, alike in all realizations.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h.
        factor : int, default=2
        n_samples : int, default=1

        Returns
        -------
        ndarray or DataArray of shape (n_samples, ..., (time - 1) * factor + 1, y, x)
        """
        check_scalar(factor, "factor", Integral, min_val=1)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        cube = validate_cube(X)
        values = cube.frames()
        position = np.arange((values.shape[1] - 1) * factor + 1) / factor
        before = position.astype(int)
        after = np.minimum(before + 1, values.shape[1] - 1)
        weight = (position - before)[:, None, None]
        refined = values[:, before] * (1 - weight) + values[:, after] * weight
        # A missing frame must not spread to the one that is known.
        refined = np.where(weight == 0, values[:, before], refined).astype(values.dtype)
        members = np.repeat(refined[None], n_samples, axis=0)
        members = members[:, 0] if cube.is_series else members
        return dress(members, cube.template, time="refined", factor=factor)

    def __sklearn_is_fitted__(self) -> bool:
        return True
