"""Words for numbers, which the readings of scores share."""

from __future__ import annotations


def per_cent(value: float) -> str:
    """Return the size of a share as a percentage."""
    value = abs(100 * value)
    return f"{value:.0f} %" if value >= 9.5 else f"{value:.1f} %"


def more_or_less(value: float, more: str, less: str) -> str:
    """Return the size of a share with what its sign means."""
    return f"{per_cent(value)} {more if value > 0 else less}"
