"""What accompanies a cube, or several: labels or fields of their frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from skdiffuse.cubes import Cube, Cubes, are_several
from skdiffuse.networks import Told
from skdiffuse.runtime.array_types import ArrayOrDataArray

__all__ = ["Companions", "companions_of"]

# Share of the training windows that are told nothing, from which the network learns to go without.
TOLD_NOTHING = 0.15


@dataclass(frozen=True)
class Companions:
    """Classes or fields that belong to the frames of a cube, or of several.

    Attributes
    ----------
    told : Told
    labels : sequence of ndarray of int, shape (time,), or None
        Of each sequence.
    fields : sequence of array of shape (time, c, y, x), or None
        Of each sequence.
    """

    told: Told
    labels: np.ndarray | list[np.ndarray] | None = None
    fields: np.ndarray | list[np.ndarray] | None = None

    def of_window(
        self,
        place: tuple[int, int, int, int],
        n_frames: int,
        crop_shape: tuple[int, int],
        random: np.random.Generator,
    ) -> dict[str, Tensor]:
        """What belongs to a window, or nothing, as chance decides.

        Parameters
        ----------
        place : tuple of int
            Sequence, first frame, first row and first column.
        n_frames : int
        crop_shape : tuple of int
        random : numpy.random.Generator

        Returns
        -------
        dict
            ``labels`` of shape (), that of the middle frame, or ``covariates`` of shape
            (frames, c + 1, y, x); -1, or zeros, for nothing.
        """
        sequence, start, top, left = place
        nothing = random.random() < TOLD_NOTHING
        if self.labels is not None:
            label = self.labels[sequence][start + n_frames // 2]
            return {"labels": torch.tensor(-1 if nothing else int(label))}
        if self.fields is None:
            return {}
        rows, columns = crop_shape
        window = self.fields[sequence][
            start : start + n_frames, :, top : top + rows, left : left + columns
        ]
        covariates = self.told.covariates(np.asarray(window))
        return {"covariates": torch.zeros_like(covariates) if nothing else covariates}


def companions_of(
    y: Any,
    X: ArrayOrDataArray | Sequence[ArrayOrDataArray],
    cube: Cubes,
) -> Companions | None:
    """Check and align what `fit` is given beside the rain.

    Parameters
    ----------
    y : None, array of int, array of float, or a list of them
        Classes of shape (n,) or (n, time), for a series (time,), or one class for all; or fields of
        the shape of `X`, or with a further dimension before the last two. A DataArray may have its
        dimensions in any order, and must have the coordinates of `X`. For several cubes: one
        entry for each.
    X : ndarray or DataArray, or a list of them
    cube : Cube or SeveralCubes
        `X`, checked.

    Raises
    ------
    ValueError
        If `y` does not fit `X`.
    """
    if y is None:
        return None
    if isinstance(cube, Cube) and not are_several(X):
        found = _checked(y, X, cube, "y")
        told = _told([found])
        return Companions(told, found) if told.n_labels else Companions(told, fields=found)
    if not hasattr(y, "__len__") or len(y) != len(X):
        got = len(y) if hasattr(y, "__len__") else repr(y)
        raise ValueError(
            f"y must have one entry for each of the {len(X)} cubes of X, a class or an array; "
            f"got {got}."
        )
    each = [
        _checked(of_part, part_of_X, part, f"y[{k}]")
        for k, (of_part, part_of_X, part) in enumerate(zip(y, X, cube.parts, strict=True))
    ]
    kinds = {None if array.ndim == 2 else array.shape[2] for array in each}
    if len(kinds) > 1:
        raise ValueError(
            "y must tell the same of all cubes: classes of each, or as many fields of each; got "
            + ", ".join(f"{_kind(array)} for X[{k}]" for k, array in enumerate(each))
            + "."
        )
    told = _told(each)
    sequences = [sequence for array in each for sequence in array]
    return Companions(told, sequences) if told.n_labels else Companions(told, fields=sequences)


def _checked(y: Any, X: Any, cube: Cube, name: str) -> np.ndarray:
    """Classes of shape (n, time), or fields of shape (n, time, c, y, x)."""
    y = _aligned(y, X, name)
    kind = np.dtype(y.dtype).kind
    n, n_times = cube.n_sequences, cube.n_times
    if kind in "iu":
        labels = np.asarray(y)
        if labels.ndim == 0:
            labels = np.full((n, n_times), labels)
        elif cube.is_series and labels.shape == (n_times,):
            labels = labels[None]
        elif not cube.is_series and labels.shape == (n,):
            labels = np.repeat(labels[:, None], n_times, axis=1)
        if labels.shape != (n, n_times):
            wanted = f"({n_times},)" if cube.is_series else f"({n},) or ({n}, {n_times})"
            raise ValueError(f"{name} of classes must have the shape {wanted}; got {labels.shape}.")
        if labels.min() < 0:
            raise ValueError(f"{name} must hold classes from 0 up; got {labels.min()}.")
        return labels
    if kind != "f":
        raise ValueError(
            f"{name} must hold integers (classes) or floats (fields); got dtype {y.dtype}. Number "
            "classes by np.unique(y, return_inverse=True)[1]."
        )
    lead = (n_times,) if cube.is_series else (n, n_times)
    field = cube.field_shape
    fields = y[..., None, :, :] if y.shape == (*lead, *field) else y
    if fields.ndim != len(lead) + 3 or (*fields.shape[:-3], *fields.shape[-2:]) != (*lead, *field):
        raise ValueError(
            f"{name} of fields must have the shape {(*lead, *field)} of {cube.name}, or "
            f"{(*lead, 'c', *field)}; got {y.shape}."
        )
    return fields[None] if cube.is_series else fields


def _told(each: Sequence[np.ndarray]) -> Told:
    """How many classes there are, or which scale the fields of all cubes have together."""
    if each[0].ndim == 2:
        return Told(n_labels=int(max(labels.max() for labels in each)) + 1)
    moments = [_moments(fields) for fields in each]
    if len(each) == 1:
        [(means, stds)] = moments
    else:
        cells = [float(np.prod(fields.shape)) for fields in each]
        mean, std = (np.stack(part) for part in zip(*moments, strict=True))
        means = np.average(mean, axis=0, weights=cells)
        stds = np.sqrt(np.average(std**2 + (mean - means) ** 2, axis=0, weights=cells))
    stds = np.where(stds > 0, stds, 1.0)
    return Told(means=tuple(means.tolist()), stds=tuple(stds.tolist()))


def _moments(fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = tuple(a for a in range(5) if a != 2)
    # Some frames tell the scale of a lazy array as well.
    some = np.asarray(fields[:, :: max(1, fields.shape[1] // 50)], dtype=np.float64)
    return np.nanmean(some, axis=axes), np.nanstd(some, axis=axes)


def _kind(array: np.ndarray) -> str:
    return "classes" if array.ndim == 2 else f"{array.shape[2]} field(s)"


def _is_array(y: object) -> TypeGuard[np.ndarray]:
    """Whether something goes for an array, lazy or not."""
    return hasattr(y, "dtype") and hasattr(y, "shape")


def _aligned(y: ArrayLike | xr.DataArray, X: ArrayOrDataArray, name: str) -> np.ndarray:
    """A bare array in the order of X's dimensions."""
    if not isinstance(y, xr.DataArray):
        return y if _is_array(y) else np.asarray(y)
    if isinstance(X, xr.DataArray):
        try:
            xr.align(X, y, join="exact", copy=False)
        except ValueError as error:
            raise ValueError(f"{name} does not have the coordinates of X: {error}") from error
        shared = [dim for dim in X.dims if dim in y.dims]
        others = [dim for dim in y.dims if dim not in X.dims]
        order = [*shared[:-2], *others, *shared[-2:]] if len(shared) > 2 else shared
        y = y.transpose(*order)
    return y.data
