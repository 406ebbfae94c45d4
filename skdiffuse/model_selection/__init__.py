"""Splits of cubes that do not leak."""

from skdiffuse.model_selection.leakage import check_leakage
from skdiffuse.model_selection.splitters import BlockSplit, EventSplit, SeasonSplit

__all__ = ["BlockSplit", "EventSplit", "SeasonSplit", "check_leakage"]
