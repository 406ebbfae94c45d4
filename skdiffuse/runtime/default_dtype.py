"""Single precision, whatever a user's torch makes new tensors of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["single_precision"]


@contextmanager
def single_precision() -> Iterator[None]:
    """New tensors are float32 in here, and afterwards what they were before.

    Networks are float32, and what is drawn and told along them has to be; a notebook that has
    called ``torch.set_default_dtype(torch.float64)`` for work of its own gets the same rain.

    Examples
    --------
    >>> import torch
    >>> with single_precision():
    ...     torch.get_default_dtype()
    torch.float32
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
