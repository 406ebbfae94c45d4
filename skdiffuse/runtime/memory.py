"""Work in batches of a size that the memory allows."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["MEMORY_ERRORS", "in_batches"]

MEMORY_ERRORS = (MemoryError, torch.OutOfMemoryError)
# On the CPU torch raises a plain RuntimeError, which only its message tells from others: that of
# c10/core/impl/alloc_cpu.cpp on Linux, and elsewhere.
CPU_MESSAGES = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory: you tried to allocate",
)


def in_batches(draw: Callable[[slice], Tensor], n: int, batch_size: int) -> Tensor:
    """Call `draw` for all samples, in batches that are halved when the memory does not suffice.

    Parameters
    ----------
    draw : callable
        ``draw(samples)`` makes the samples of a slice; the same ones, but for rounding, however
        they are sliced.
    n : int
        Number of samples.
    batch_size : int
        Samples at a time, at first.

    Returns
    -------
    Tensor of shape (n, ...)

    Raises
    ------
    MemoryError
        If the memory does not suffice for a single sample.

    Examples
    --------
    >>> in_batches(lambda samples: torch.arange(5)[samples], 5, batch_size=2)
    tensor([0, 1, 2, 3, 4])
    """
    drawn: list[Tensor] = []
    first = 0
    while first < n:
        try:
            drawn.append(draw(slice(first, min(first + batch_size, n))))
        except (*MEMORY_ERRORS, RuntimeError) as error:
            if not _is_lack_of_memory(error):
                raise
            if batch_size == 1:
                raise MemoryError(
                    "the memory does not suffice for a single sequence; give tile_size, the side "
                    "in cells of the overlapping squares that large fields are then denoised in."
                ) from error
            batch_size = -(-batch_size // 2)
            # Outside the handler, whose traceback holds on to the tensors that were too large.
        else:
            first += batch_size
            continue
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(
            f"Memory did not suffice: batch_size is lowered to {batch_size}, which changes no "
            "result.",
            RuntimeWarning,
            stacklevel=3,
        )
    return torch.cat(drawn)


def _is_lack_of_memory(error: BaseException) -> bool:
    return isinstance(error, MEMORY_ERRORS) or any(told in str(error) for told in CPU_MESSAGES)
