"""Ending in good order when a batch system says that it will kill."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self, TypeAlias

__all__ = ["Termination"]

# What `signal.signal` gives.
Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | None


class Termination:
    """Takes note of SIGTERM while it is entered, so that work can be brought to a checkpoint first.

    Outside of the main thread, where Python handles no signals, it notes nothing.

    Attributes
    ----------
    is_asked_for : bool

    Examples
    --------
    >>> import signal
    >>> with Termination() as termination:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     termination.is_asked_for
    True
    """

    def __init__(self) -> None:
        self.is_asked_for = False
        self._before: Handler = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_asked_for = True
