"""What a network is told besides rain: labels and covariates, in the form that it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["Told"]


@dataclass(frozen=True)
class Told:
    """How labels and covariates are given to a network.

    Attributes
    ----------
    n_labels : int
        Classes 0 to ``n_labels - 1``; 0 where there are none.
    means, stds : tuple of float
        Of each field, which is given with mean 0 and variance 1, and after all of them a field of
        ones that says that they are given.
    """

    n_labels: int = 0
    means: tuple[float, ...] = ()
    stds: tuple[float, ...] = ()

    @property
    def n_covariates(self) -> int:
        """Fields that the network is given."""
        return len(self.means) + 1 if self.means else 0

    def covariates(self, fields: np.ndarray) -> Tensor:
        """Return the fields of shape (..., frames, c, y, x) as the network is given them."""
        fields = np.asarray(fields, dtype=np.float32)
        scale = np.array([self.means, self.stds], np.float32)[:, :, None, None]
        # What is missing is given as what is usual.
        scaled = np.nan_to_num((fields - scale[0]) / scale[1])
        given = np.ones_like(scaled[..., :1, :, :])
        return torch.from_numpy(np.concatenate([scaled, given], axis=-3))

    def asked(self, y: ArrayLike, n: int, shape: tuple[int, int, int]) -> dict[str, Tensor]:
        """What n generated sequences are asked to go with, as arguments of the network.

        Parameters
        ----------
        y : int, array of int of shape (n,), or array of float
            Class, or fields of shape (frames, y, x), (frames, c, y, x), or (n, ...) of either.
        n : int
        shape : tuple of int
            Frames, rows and columns.

        Raises
        ------
        ValueError
            If `y` is not what the model was fitted with.
        """
        values = np.asarray(y)
        if self.n_labels:
            wrong = values.dtype.kind not in "iu" or values.shape not in ((), (n,))
            if wrong or (values < 0).any() or (values >= self.n_labels).any():
                raise ValueError(
                    f"y must be a class from 0 to {self.n_labels - 1}, or one for each of the {n} "
                    f"sequences; got {y!r}."
                )
            return {"labels": torch.from_numpy(np.broadcast_to(values, (n,)).astype(np.int64))}
        if not self.means:
            raise ValueError("y cannot be asked for: the model was fitted without, as fit(X).")
        c = len(self.means)
        frames, *field = shape
        if c == 1 and values.shape in ((frames, *field), (n, frames, *field)):
            values = values[..., None, :, :]
        if values.shape not in ((frames, c, *field), (n, frames, c, *field)):
            raise ValueError(
                f"y must hold the {c} fields that the model was fitted with, of shape "
                f"{(frames, c, *field)} or {(n, frames, c, *field)}; got {np.shape(y)}."
            )
        told = self.covariates(values)
        return {"covariates": told.expand(n, *told.shape[-4:])}
