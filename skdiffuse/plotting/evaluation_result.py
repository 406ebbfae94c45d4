"""What an evaluation leaves: a page, and its scores as data."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics import ScorecardEntry
from skdiffuse.plotting.html_report import HtmlReport


class Evaluation(NamedTuple):
    """A finished evaluation.

    Attributes
    ----------
    page : HtmlReport
        The page, to be added to or written.
    entries : list of ScorecardEntry
        The scores behind it.
    """

    page: HtmlReport
    entries: list[ScorecardEntry]

    def to_json(self) -> str:
        """Return the scores as JSON."""
        rows = [{k: _plain(v) for k, v in e._asdict().items()} for e in self.entries]
        return json.dumps({"scores": rows}, indent=1)

    def to_csv(self) -> str:
        """Return the scores as CSV, one row a score, simulation and baseline."""
        out = io.StringIO()
        fields = [f for f in ScorecardEntry._fields if f != "versus"]
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*fields, "baseline", "versus_baseline"])
        for entry in self.entries:
            values = [_plain(getattr(entry, f)) for f in fields]
            for rival, verdict in (entry.versus or {"": ""}).items():
                writer.writerow([*values, rival, verdict])
        return out.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
