"""Durations as people write them."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np

__all__ = ["in_hours"]

_HOURS = {"s": 1 / 3600, "min": 1 / 60, "h": 1.0, "d": 24.0}
_SPELT = {"sec": "s", "second": "s", "minute": "min", "hour": "h", "hr": "h", "day": "d"}


def in_hours(duration: Any, name: str) -> float:
    """A duration in hours.

    Parameters
    ----------
    duration : str, number, timedelta or timedelta64
        "5min", "3h", "1 day"; a number is one of hours.
    name : str
        What the error calls it.

    Raises
    ------
    ValueError
        If it is none, or not longer than 0.

    Examples
    --------
    >>> in_hours("30 min", "step"), in_hours("2d", "step"), in_hours(3, "step")
    (0.5, 48.0, 3.0)
    """
    hours = float("nan")
    if isinstance(duration, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)?\s*([a-zA-Z]+?)s?\s*", duration)
        if found:
            unit = found[2].lower()
            hours = float(found[1] or 1) * _HOURS.get(_SPELT.get(unit, unit), float("nan"))
        elif duration.strip().lower().endswith("s"):
            seconds = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s\s*", duration.lower())
            hours = float(seconds[1]) / 3600 if seconds else hours
    elif isinstance(duration, datetime.timedelta):
        hours = duration.total_seconds() / 3600
    elif isinstance(duration, np.timedelta64):
        hours = float(duration / np.timedelta64(1, "s")) / 3600
    elif isinstance(duration, int | float | np.number) and not isinstance(duration, bool):
        hours = float(duration)
    if not 0 < hours < float("inf"):
        raise ValueError(
            f"{name}={duration!r} must be a duration longer than 0, such as '5min', '3h', '1d' or "
            "a number of hours."
        )
    return hours
