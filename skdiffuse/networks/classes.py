"""Which class each sequence is said to be of."""

import torch
from torch import Tensor

__all__ = ["checked_classes"]


def checked_classes(name: str, classes: Tensor, n: int, n_classes: int, made_with: str) -> Tensor:
    """Classes of n sequences, -1 where none is said, as they are.

    Raises
    ------
    ValueError
        If there are not n of them, or one does not exist.

    Examples
    --------
    >>> checked_classes("labels", torch.tensor([0, -1]), 2, 3, "n_labels=3")
    tensor([ 0, -1])
    """
    if classes.shape != (n,) or classes.is_floating_point():
        raise ValueError(
            f"{name} must be {n} integers, one for each sequence of z, got "
            f"{classes.dtype} of shape {tuple(classes.shape)}."
        )
    if not torch.compiler.is_compiling() and not bool(
        ((classes >= -1) & (classes < n_classes)).all()
    ):
        raise ValueError(
            f"{name} must lie between -1 (none) and {n_classes - 1}, got {classes.tolist()}; "
            f"{made_with}."
        )
    return classes
