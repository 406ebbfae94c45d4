"""Ending in good order when a batch system says that it will kill, or a user presses Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self, TypeAlias

__all__ = ["HeldInterrupt", "Termination"]

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


class HeldInterrupt:
    """Holds Ctrl-C back while it is entered: what must not be half done is done first.

    Outside of the main thread it holds nothing.

    Examples
    --------
    >>> import signal
    >>> done = []
    >>> try:
    ...     with HeldInterrupt():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("all of it")
    ... except KeyboardInterrupt:
    ...     print(done)
    ['all of it']
    """

    def __init__(self) -> None:
        self._before: Handler = None
        self._held: tuple[int, FrameType | None] | None = None

    def __enter__(self) -> Self:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and callable(signal.getsignal(signal.SIGINT)):
            self._before = signal.signal(signal.SIGINT, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        if callable(self._before):
            signal.signal(signal.SIGINT, self._before)
            if self._held is not None:
                self._before(*self._held)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._held = number, frame
