"""What every transform of rain shares: validation, array types, chunks, and the latent's limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import numpy as np
import torch
import xarray as xr
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_n_features,
    check_array,
    check_is_fitted,
    validate_data,
)

from skdiffuse.preprocessing._output import LabelledOutput
from skdiffuse.runtime.array_types import RandomStateLike

__all__ = ["PHYSICAL_LIMIT", "ElementwiseTransformer", "finite_values", "own_random_state"]

#: Largest rate (mm/h) that an inverse returns: several times the record for one minute (about
#: 2,300 mm/h), so that it stops overflow of a wild latent and caps no extreme.
PHYSICAL_LIMIT = 1e4

# Large enough to hide the cost of a call into torch, small enough to stay in a core's cache.
_CHUNK = 2**16

# Most values of a lazy cube that a fit reads.
_MOST_READ = 50_000_000

_FLOATS = [np.float64, np.float32, np.float16]

Array = TypeVar("Array", np.ndarray, xr.DataArray, torch.Tensor)


class ElementwiseTransformer(LabelledOutput, TransformerMixin, BaseEstimator):
    r"""Base of the element-wise, strictly increasing transforms of precipitation.

    A subclass gives three functions of a floating tensor: ``_forward`` (:math:`z = h(x)`, rain in
    mm/h to latent), ``_inverse`` and ``_log_derivative`` (:math:`\log h'(x)`), and, when it
    learns from data, ``_fit``. Arrays, cubes and tensors all pass through those same functions.

    Notes
    -----
    - NumPy in, NumPy out; DataArray (lazy too) in, DataArray out; tensor in, tensor out. Tensors
      keep their graph and are not checked, so the transform can be used inside a training step.
    - NaN (missing) passes through. The floating dtype is kept; integers become float64.
    - Arithmetic is in float64 for float32 data where a round trip needs it, else in float32.
    - The inverse lies between 0 and :data:`PHYSICAL_LIMIT` mm/h.
    """

    # Subclasses whose round trip is accurate to 1e-6 without double precision say so.
    _exact_in_float32 = False
    # Subclasses that learn nothing from data may be used without a fit.
    _stateless = True

    # -- for subclasses -------------------------------------------------------------------------

    def _fit(self, X: Array) -> None:
        """Learn from validated rain."""

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _inverse(self, z: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _log_derivative(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    # -- the public verbs -----------------------------------------------------------------------

    def fit(self, X: Array, y: None = None) -> Self:
        """Check the rain and learn from it whatever the transform has to learn.

        Parameters
        ----------
        X : ndarray, DataArray or Tensor, at least 2-D
            Rain in mm/h; NaN is missing. Read in full only by transforms that learn from it.
        y : None
            Ignored.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            If a rate is negative or infinite, or `X` has fewer than two dimensions.
        """
        self._check_parameters()
        X = self._validate(X, reset=True)
        if isinstance(X, torch.Tensor):
            _check_rain(X.detach(), self)
        elif isinstance(X, np.ndarray) or X.chunks is None:
            # A lazy cube is checked block by block when it is transformed.
            for chunk in np.nditer(np.asarray(X), ["external_loop", "buffered", "zerosize_ok"]):
                # NumPy's types promise a tuple for a single operand too, which is wrong.
                _check_rain(torch.from_numpy(chunk.copy()), self)  # type: ignore[attr-defined]
        self._fit(X)
        self._remember_names(X)
        return self

    def transform(self, X: Array) -> Array:
        """Rain in mm/h to latent, element by element.

        Parameters
        ----------
        X : ndarray, DataArray or Tensor, at least 2-D
            Rain in mm/h; NaN is missing.

        Returns
        -------
        same type, shape and dtype as `X`
            Unscaled latent; of the type that `set_output` asks for, if it does.
        """
        latent = _relabel(self._apply(X, "_forward", _check_rain), None)
        if isinstance(latent, torch.Tensor):
            return latent
        return self._labelled(latent, X, self.get_feature_names_out)

    def fit_transform(self, X: Array, y: None = None) -> Array:
        """`fit`, then `transform`.

        Parameters
        ----------
        X : ndarray, DataArray or Tensor, at least 2-D
            Rain in mm/h; NaN is missing.
        y : None
            Ignored.

        Returns
        -------
        as of `transform`
        """
        return self.fit(X).transform(X)

    def inverse_transform(self, X: Array) -> Array:
        """Latent to rain in mm/h, element by element; never negative.

        Parameters
        ----------
        X : ndarray, DataArray or Tensor, at least 2-D
            Latent, any finite value; NaN is missing.

        Returns
        -------
        same type, shape and dtype as `X`
            Rain between 0 and :data:`PHYSICAL_LIMIT` mm/h.
        """
        return _relabel(self._apply(X, "_bounded_inverse", _check_finite), "mm h-1")

    def derivative(self, X: Array) -> Array:
        """Slope h'(x) at every element, in latent units per mm/h.

        Parameters
        ----------
        X : ndarray, DataArray or Tensor, at least 2-D
            Rain in mm/h.

        Returns
        -------
        same type, shape and dtype as `X`
            Infinite at zero rain where the transform is vertical there (square root).
        """
        return _relabel(self._apply(X, "_derivative", _check_rain), None)

    def log_jacobian(self, X: Array) -> Array:
        r"""Logarithm of the slope, :math:`\log h'(x)`, at every element.

        The Jacobian of an element-wise map is diagonal: the sum of this array over the elements of
        a sequence is its log-determinant, and :math:`\log p(x) = \log p(h(x)) + \sum \log h'(x)`
        is a density per mm/h, comparable between transforms.

        Parameters
        ----------
        X : ndarray, DataArray or Tensor, at least 2-D
            Rain in mm/h.

        Returns
        -------
        same type, shape and dtype as `X`
            NaN where `X` is missing.
        """
        return _relabel(self._apply(X, "_log_derivative", _check_rain), None)

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> np.ndarray:
        """Return the names of the columns of 2-D data: those that came in.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names to use where `fit` saw none.

        Returns
        -------
        ndarray of str
        """
        return _check_feature_names_in(self, input_features)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        tags.requires_fit = not self._stateless
        return tags

    # -- machinery ------------------------------------------------------------------------------

    def _bounded_inverse(self, z: torch.Tensor) -> torch.Tensor:
        return self._inverse(z).clamp(0.0, PHYSICAL_LIMIT)

    def _derivative(self, x: torch.Tensor) -> torch.Tensor:
        return self._log_derivative(x).exp()

    def _function(
        self, name: str, X: np.ndarray | torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """The function of a tensor by that name, asked for once an array, which is `X`."""
        return getattr(self, name)

    def _check_parameters(self) -> None:
        """Raise ValueError for parameters out of range."""

    def _validate(self, X: Array, *, reset: bool) -> Array:
        if isinstance(X, torch.Tensor):
            return X if X.is_floating_point() else X.to(torch.get_default_dtype())
        if isinstance(X, xr.DataArray):
            if X.ndim < 2:
                raise ValueError(
                    f"X: expected at least 2 dimensions, such as (time, y, x); got {X.dims}. "
                    "Add one with X.expand_dims('time')."
                )
            if X.ndim == 2:
                _check_n_features(self, X, reset=reset)
            return X if X.dtype in _FLOATS else X.astype(np.float64)
        options = {"dtype": _FLOATS, "ensure_all_finite": False}
        shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
        if len(shape) > 2:
            return check_array(X, allow_nd=True, input_name="X", estimator=self, **options)
        return validate_data(self, X, reset=reset, **options)

    def _apply(self, X: Array, name: str, check: Callable[[torch.Tensor, object], None]) -> Array:
        if not self._stateless:
            check_is_fitted(self)
        self._check_parameters()
        X = self._validate(X, reset=False)
        if isinstance(X, torch.Tensor):
            return self._function(name, X)(X.to(self._working_dtype(X))).to(X.dtype)

        def over_array(array: np.ndarray) -> np.ndarray:
            function = self._function(name, array)

            def checked(chunk: torch.Tensor) -> torch.Tensor:
                check(chunk, self)
                with torch.no_grad():
                    return function(chunk)

            return _map_chunks(array, checked, exact=self._exact_in_float32)

        if isinstance(X, xr.DataArray):
            return xr.apply_ufunc(
                over_array, X, dask="parallelized", output_dtypes=[X.dtype], keep_attrs=True
            )
        return over_array(X)

    def _working_dtype(self, x: torch.Tensor) -> torch.dtype:
        if x.dtype == torch.float64:
            return torch.float64
        # Apple's GPUs have no double precision.
        half = x.dtype in (torch.float16, torch.bfloat16)
        single = half or self._exact_in_float32 or x.device.type == "mps"
        return torch.float32 if single else torch.float64


def finite_values(
    X: Array, limit: int, rng: np.random.RandomState, above: float = -np.inf
) -> np.ndarray:
    """Up to `limit` finite values of `X` larger than `above`, drawn without replacement.

    Parameters
    ----------
    X : ndarray, DataArray or Tensor
        Rain in mm/h. A lazy DataArray is read, only every k-th step of its first dimension where
        all of it would be more than 50 million values.
    limit : int
        Largest number of values returned.
    rng : RandomState
        Draws the values where there are more than `limit`.
    above : float
        Values up to this one are left out.

    Returns
    -------
    values : ndarray of shape (n,), float64, sorted
    """
    if isinstance(X, torch.Tensor):
        return finite_values(X.detach().cpu().numpy(), limit, rng, above)
    if isinstance(X, xr.DataArray) and X.chunks is not None and X.size > _MOST_READ:
        X = X[:: -(-X.size // _MOST_READ)]
    values = np.asarray(X).reshape(-1)
    values = values[np.isfinite(values) & (values > above)]
    if values.size > limit:
        values = values[rng.choice(values.size, limit, replace=False)]
    return np.sort(values.astype(np.float64))


def own_random_state(random_state: RandomStateLike) -> np.random.RandomState:
    """scikit-learn's ``check_random_state``, except that None never means the global generator."""
    return np.random.RandomState() if random_state is None else check_random_state(random_state)


def _map_chunks(
    X: np.ndarray, function: Callable[[torch.Tensor], torch.Tensor], exact: bool
) -> np.ndarray:
    """`function` of a tensor over the elements of `X`: one new array, whatever X's memory order."""
    working = np.float64 if X.dtype == np.float64 or not (exact or X.dtype == np.float16) else "f4"
    iterator = np.nditer(
        [X, None],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=[["readonly"], ["writeonly", "allocate"]],
        op_dtypes=[working, X.dtype],
        casting="same_kind",
        buffersize=_CHUNK,
    )
    with iterator:
        # Overflow in a cast to float16 (a slope at zero rain) is the right answer, infinity.
        with np.errstate(over="ignore"):
            for source, target in iterator:
                # A copy in cache: torch must not be handed memory that may be read-only.
                target[...] = function(torch.from_numpy(source.copy())).numpy()
        return iterator.operands[1]


def _check_finite(x: torch.Tensor, owner: object) -> None:
    low, high = _range(x)
    if math.isinf(low) or math.isinf(high):
        raise ValueError(
            f"X contains infinity; {type(owner).__name__} takes finite values and NaN "
            "(missing). Replace infinite cells by NaN."
        )


def _check_rain(x: torch.Tensor, owner: object) -> None:
    low, _ = _range(x)
    if low < 0:
        raise ValueError(
            f"Negative values in data passed to {type(owner).__name__}: rain in mm/h is at least "
            f"0, X has {low:.6g}. Set packing noise to 0 with X.clip(min=0) and mark missing "
            "cells with NaN."
        )
    _check_finite(x, owner)


def _range(x: torch.Tensor) -> tuple[float, float]:
    """Least and largest value beside NaN, in one pass where there is none."""
    if x.numel() == 0:
        return 0.0, 0.0
    low, high = (bound.item() for bound in torch.aminmax(x))
    if math.isnan(low):
        known = x[~x.isnan()]
        return _range(known)
    return low, high


def _relabel(X: Array, units: str | None) -> Array:
    """Give a DataArray the units of what it now holds."""
    if isinstance(X, xr.DataArray):
        dropped = {"units", "standard_name", "valid_min", "valid_max", "valid_range"}
        attributes = {k: v for k, v in X.attrs.items() if k not in dropped}
        X.attrs = attributes | ({} if units is None else {"units": units})
    return X
