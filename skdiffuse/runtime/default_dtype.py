"""Single precision, whatever a user's torch makes new tensors of."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["single_precision"]

_lock = threading.Lock()
# What the first of several threads found, and how many are within: torch has one default for all.
_found: list[torch.dtype] = []
_within = 0


@contextmanager
def single_precision() -> Iterator[None]:
    """New tensors are float32 in here, and afterwards what they were before.

    Networks are float32, and what is drawn and told along them has to be; a notebook that has
    called ``torch.set_default_dtype(torch.float64)`` for work of its own gets the same rain. Of
    several threads the last one puts it back.

    Examples
    --------
    >>> import torch
    >>> with single_precision():
    ...     torch.get_default_dtype()
    torch.float32
    """
    global _within
    is_within = False
    # Begun within `try`: Ctrl-C may come at any moment.
    try:
        with _lock:
            if not _within:
                _found[:] = [torch.get_default_dtype()]
                torch.set_default_dtype(torch.float32)
            _within += 1
            is_within = True
        yield
    finally:
        if is_within:
            with _lock:
                _within -= 1
                if not _within:
                    torch.set_default_dtype(_found[0])
