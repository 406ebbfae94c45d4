"""What accompanies a cube: labels or fields of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from skdiffuse.cubes import Cube
from skdiffuse.networks import Told
from skdiffuse.runtime.array_types import ArrayOrDataArray

__all__ = ["Companions", "companions_of"]

# Share of the training windows that are told nothing, from which the network learns to go without.
TOLD_NOTHING = 0.15


@dataclass(frozen=True)
class Companions:
    """Classes or fields that belong to the frames of a cube.

    Attributes
    ----------
    told : Told
    labels : ndarray of int, shape (n, time), or None
    fields : array of shape (n, time, c, y, x), or None
    """

    told: Told
    labels: np.ndarray | None = None
    fields: np.ndarray | None = None

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
            label = self.labels[sequence, start + n_frames // 2]
            return {"labels": torch.tensor(-1 if nothing else int(label))}
        if self.fields is None:
            return {}
        rows, columns = crop_shape
        window = self.fields[
            sequence, start : start + n_frames, :, top : top + rows, left : left + columns
        ]
        covariates = self.told.covariates(np.asarray(window))
        return {"covariates": torch.zeros_like(covariates) if nothing else covariates}


def companions_of(
    y: ArrayLike | xr.DataArray | None, X: ArrayOrDataArray, cube: Cube
) -> Companions | None:
    """Check and align what `fit` is given beside the rain.

    Parameters
    ----------
    y : None, array of int, or array of float
        Classes of shape (n,) or (n, time), for a series (time,); or fields of the shape of `X`,
        or with a further dimension before the last two. A DataArray may have its dimensions in
        any order, and must have the coordinates of `X`.
    X : ndarray or DataArray
    cube : Cube
        `X`, checked.

    Raises
    ------
    ValueError
        If `y` does not fit `X`.
    """
    if y is None:
        return None
    y = _aligned(y, X)
    kind = np.dtype(y.dtype).kind
    n, n_times = cube.n_sequences, cube.n_times
    if kind in "iu":
        labels = np.asarray(y)
        if cube.is_series and labels.shape == (n_times,):
            labels = labels[None]
        elif not cube.is_series and labels.shape == (n,):
            labels = np.repeat(labels[:, None], n_times, axis=1)
        if labels.shape != (n, n_times):
            wanted = f"({n_times},)" if cube.is_series else f"({n},) or ({n}, {n_times})"
            raise ValueError(f"y of classes must have the shape {wanted}; got {labels.shape}.")
        if labels.min() < 0:
            raise ValueError(f"y must hold classes from 0 up; got {labels.min()}.")
        return Companions(Told(n_labels=int(labels.max()) + 1), labels=labels)
    if kind != "f":
        raise ValueError(
            f"y must hold integers (classes) or floats (fields); got dtype {y.dtype}. Number "
            "classes by np.unique(y, return_inverse=True)[1]."
        )
    lead = (n_times,) if cube.is_series else (n, n_times)
    field = cube.field_shape
    fields = y[..., None, :, :] if y.shape == (*lead, *field) else y
    if fields.ndim != len(lead) + 3 or (*fields.shape[:-3], *fields.shape[-2:]) != (*lead, *field):
        raise ValueError(
            f"y of fields must have the shape {(*lead, *field)} of X, or {(*lead, 'c', *field)}; "
            f"got {y.shape}."
        )
    fields = fields[None] if cube.is_series else fields
    axes = tuple(a for a in range(5) if a != 2)
    # Some frames tell the scale of a lazy array as well.
    some = np.asarray(fields[:, :: max(1, n_times // 50)], dtype=np.float64)
    means = np.nanmean(some, axis=axes)
    stds = np.nanstd(some, axis=axes)
    stds = np.where(stds > 0, stds, 1.0)
    return Companions(Told(means=tuple(means.tolist()), stds=tuple(stds.tolist())), fields=fields)


def _is_array(y: object) -> TypeGuard[np.ndarray]:
    """Whether something goes for an array, lazy or not."""
    return hasattr(y, "dtype") and hasattr(y, "shape")


def _aligned(y: ArrayLike | xr.DataArray, X: ArrayOrDataArray) -> np.ndarray:
    """A bare array in the order of X's dimensions."""
    if not isinstance(y, xr.DataArray):
        return y if _is_array(y) else np.asarray(y)
    if isinstance(X, xr.DataArray):
        try:
            xr.align(X, y, join="exact", copy=False)
        except ValueError as error:
            raise ValueError(f"y does not have the coordinates of X: {error}") from error
        shared = [dim for dim in X.dims if dim in y.dims]
        others = [dim for dim in y.dims if dim not in X.dims]
        order = [*shared[:-2], *others, *shared[-2:]] if len(shared) > 2 else shared
        y = y.transpose(*order)
    return y.data
