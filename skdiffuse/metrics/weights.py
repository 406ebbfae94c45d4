"""Sequences that do not count alike: their weights, and sums and values that heed them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.cubes.alignment import align_like
from skdiffuse.cubes.layout import has_names, kind_of
from skdiffuse.metrics.arrays import blocks, to_numpy, valid_values

COORDINATE = "weight"
"""Coordinate of a DataArray's first dimension that says what each sequence counts."""

_FRAMES_FIRST = (["time", "case"], ["time", "member"])


def weights_of(X: Any, weights: Any = None, name: str = "X") -> np.ndarray | None:
    """Return what each sequence of `X` counts, by the one rule that all scores follow.

    Weights that are given; else the coordinate ``weight`` of the first dimension, as
    `PrecipDiffusion.sample(rare=...)` leaves it; else None: all count alike. A weight says how many
    sequences of plain sampling one stands for. Whole numbers are repetitions. Weights below 1 in
    the mean, such as shares that add up to 1, are scaled to a mean of 1.

    Parameters
    ----------
    X : array-like of shape (n, ...)
        Sequences.
    weights : array-like of shape (n,), default=None
        Not negative, not all zero. Those of a DataArray go with the sequences of their labels.
    name : str
        What the message calls `X`.

    Returns
    -------
    ndarray of shape (n,) and float64, or None

    Raises
    ------
    ValueError
        Where weights are of another number or of other labels, negative, infinite, missing or all
        zero, or run by their name along another than the first dimension.

    Examples
    --------
    >>> import numpy as np, xarray
    >>> from skdiffuse.metrics.weights import weights_of
    >>> rain = np.zeros((2, 3, 4, 4))
    >>> weights_of(rain), weights_of(rain, [0.75, 0.25])
    (None, array([1.5, 0.5]))
    >>> dims = ("sample", "time", "y", "x")
    >>> weights_of(xarray.DataArray(rain, {"weight": ("sample", [2, 1])}, dims))
    array([2., 1.])
    """
    if weights is None:
        if not carries_weights(X):
            return None
        weights = X.coords[COORDINATE]
        if weights.dims != X.dims[:1]:
            raise ValueError(
                f"Coordinate {COORDINATE!r} of {name} runs along {weights.dims}, and weights are "
                f"of its first dimension, {X.dims[0]!r}: transpose {name}, or drop the coordinate."
            )
    elif has_names(X) and has_names(weights):
        if weights.dims != X.dims[:1]:
            raise ValueError(
                f"weights of {name} run along {weights.dims}, and are of its first dimension, "
                f"{X.dims[0]!r}: transpose {name}, or rename the dimension of the weights."
            )
        weights = align_like(
            weights.drop_vars(COORDINATE, errors="ignore"), X[X.dims[0]], f"weights of {name}"
        )
    elif has_names(X) and [kind_of(X, dim) for dim in X.dims[:2]] in _FRAMES_FIRST:
        raise ValueError(
            f"{name} has the dimensions {X.dims}, and weights are of its first: transpose {name}, "
            "or give them as a DataArray that names theirs."
        )
    w, n = np.asarray(weights, dtype=np.float64), (np.shape(X) or (0,))[0]
    if w.shape != (n,):
        raise ValueError(
            f"weights must hold one number for each of the {n} sequences of {name}; got shape "
            f"{w.shape}."
        )
    if not (np.isfinite(w).all() and (w >= 0).all() and (w > 0).any()):
        raise ValueError(
            f"weights of {name} must be finite, not negative and not all zero; got {w.min():g} to "
            f"{w.max():g} with {np.count_nonzero(~np.isfinite(w))} that are not finite."
        )
    return w / min(1.0, w[w > 0].mean())


def carries_weights(X: Any) -> bool:
    """Whether it is a DataArray with weights of several sequences, and not one of them."""
    return hasattr(X, "dims") and COORDINATE in X.coords and X.coords[COORDINATE].ndim > 0


def sequences_first(X: Any, weights: Any = None, item_ndim: int = 0) -> Any:
    """Bring the dimension that has weights to the front, where names tell which it is.

    Not out of the last `item_ndim`, whose order has a meaning.

    Examples
    --------
    >>> import numpy as np, xarray
    >>> from skdiffuse.metrics.weights import sequences_first
    >>> X = xarray.DataArray(np.zeros((3, 2)), {"weight": ("sample", [2, 1])}, ("time", "sample"))
    >>> sequences_first(X).dims
    ('sample', 'time')
    """
    if weights is None and carries_weights(X):
        weights = X.coords[COORDINATE]
    if not (has_names(X) and has_names(weights)):
        return X
    found = [dim for dim in weights.dims if dim in X.dims[: X.ndim - item_ndim]]
    return X.transpose(found[0], ...) if len(found) == 1 else X


def refuse_weights(**arrays: Any) -> None:
    """Raise where an array carries weights that a score of forecasts has no use for."""
    for name, X in arrays.items():
        if carries_weights(X):
            raise ValueError(
                f"{name} carries the coordinate {COORDINATE!r}, and this score compares forecasts "
                "with what came true, case by case: each counts once. Draw without rare=, or "
                f"take the coordinate away with {name}.drop_vars({COORDINATE!r})."
            )


def takes_weights(function: Callable[..., Any]) -> bool:
    """Return whether a function has the parameter ``weights``."""
    return "weights" in inspect.signature(function).parameters


def effective_sample_size(weights: Any) -> float:
    """Return how many equal weights tell a mean as well, ``(sum w)^2 / sum w^2`` (Kish 1965).

    That is of a mean that has nothing to do with the weights. Rare events drawn more often are
    known better than by so many, what is drawn less often not as well.

    Examples
    --------
    >>> from skdiffuse.metrics import effective_sample_size
    >>> effective_sample_size([1, 1, 1, 1]), effective_sample_size([3, 1, 0])
    (4.0, 1.6)
    """
    w = np.asarray(weights, dtype=np.float64)
    return float(w.sum() ** 2 / np.sum(w**2))


def with_weights(X: np.ndarray, weights: np.ndarray | None) -> Any:
    """Return an array as a DataArray that carries weights; as it is without any."""
    if weights is None:
        return X
    dims = ("sequence", *(f"dim_{i}" for i in range(1, X.ndim)))
    return xr.DataArray(X, {COORDINATE: ("sequence", weights)}, dims)


def weighted_mean(table: Any) -> np.ndarray:
    """Return the mean of an array over its first axis, by the weights that it carries."""
    return np.average(np.asarray(table), axis=0, weights=weights_of(table))


def weighted_sum(
    sums: Callable[[Any], np.ndarray],
    X: Any,
    weights: Any = None,
    name: str = "X",
    item_ndim: int = 0,
) -> np.ndarray:
    """Return sums over a cube in which each sequence counts by its weight.

    Parameters
    ----------
    sums : callable
        ``sums(X) -> ndarray`` of the same shape for any number of sequences: what adds up.
    X : array-like of shape (n, ...)
        Sequences. Lazy arrays are read block by block.
    weights : array-like of shape (n,), default=None
        As for `weights_of`.
    name : str
        What messages call `X`.
    item_ndim : int, default=0
        Dimensions of the least that `sums` takes: 2 for fields, 3 for series of them. What has
        weights has one more.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.weights import weighted_sum
    >>> weighted_sum(lambda X: np.sum(X, axis=0), np.array([[1.0, 2.0], [5.0, 0.0]]), [3, 1])
    array([8., 6.])
    """
    X = sequences_first(X, weights, item_ndim)
    w = weights_of(X, weights, name)
    if w is None:
        return sums(X)
    if np.ndim(X) <= item_ndim:
        raise ValueError(
            f"weights are those of several sequences along the first of {item_ndim + 1} dimensions "
            f"or more; {name} has shape {np.shape(X)}."
        )
    # Sequences of one weight are summed at once: there are as many as classes of weather.
    parts = (
        weight * sums(block[among == weight])
        for block, among in _with_their_weights(X, w, name)
        for weight in np.unique(among[among > 0])
    )
    return sum(parts, start=np.zeros(()))


def _with_their_weights(
    X: Any, w: np.ndarray, name: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    start = 0
    for block in blocks(X, name, item_ndim=np.ndim(X) - 1) if np.ndim(X) > 1 else [to_numpy(X)]:
        yield block, w[start : start + len(block)]
        start += len(block)


def weighted_values(
    X: Any, weights: Any = None, name: str = "X"
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the non-missing values of `X`, flattened, and what each counts (None: all alike).

    Examples
    --------
    >>> from skdiffuse.metrics.weights import weighted_values
    >>> weighted_values([[1.0, float("nan")], [0.5, 0.0]], [2, 1])
    (array([1. , 0.5, 0. ]), array([2., 1., 1.]))
    """
    X = sequences_first(X, weights)
    w = weights_of(X, weights, name)
    if w is None:
        return valid_values(X, name), None
    values, each = [], []
    for block, among in _with_their_weights(X, w, name):
        among = np.broadcast_to(among.reshape(-1, *[1] * (block.ndim - 1)), block.shape)
        counted = ~np.isnan(block) & (among > 0)
        values.append(block[counted])
        each.append(among[counted])
    found = np.concatenate(values)
    if found.size == 0:
        raise ValueError(f"{name} has no valid value: what has a weight is empty or all NaN.")
    return found, np.concatenate(each)


def amount(values: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the number of values, or what they count together."""
    return float(values.size if weights is None else weights.sum())
