"""Arguments of the verbs, checked before anything is drawn."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_scalar

from skdiffuse.cubes import align_like
from skdiffuse.runtime.array_types import ArrayOrDataArray

__all__ = ["check_number", "checked_mask", "checked_sizes"]


def checked_sizes(shape: Any, names: tuple[str, ...]) -> list[int]:
    """Sizes of what is to be generated, as many as there are names."""
    try:
        sizes = tuple(shape)
    except TypeError:
        sizes = ()
    fits = len(sizes) == len(names) and all(
        isinstance(size, Integral) and int(size) >= 1 for size in sizes
    )
    if not fits:
        raise ValueError(
            f"shape={shape!r} must hold {len(names)} integers of at least 1, ({', '.join(names)})."
        )
    return [int(size) for size in sizes]


def check_number(n_samples: int | None, name: str) -> None:
    """A number of realizations, or None for one without a dimension of its own."""
    if n_samples is not None:
        check_scalar(n_samples, name, Integral, min_val=1)


def checked_mask(mask: ArrayOrDataArray, X: ArrayOrDataArray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask in the layout of a cube of X."""
    values = np.asarray(mask)
    if values.dtype.kind != "b":
        raise ValueError(f"mask must be boolean, True where X is known; got dtype {values.dtype}.")
    return align_like(mask, X, "mask").reshape(shape)
