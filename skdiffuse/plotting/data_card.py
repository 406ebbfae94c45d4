"""What an evaluation page says of the data that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skdiffuse.metrics import wet_fraction
from skdiffuse.metrics.arrays import calendar, to_numpy
from skdiffuse.metrics.weights import weighted_values
from skdiffuse.plotting._samples import percent
from skdiffuse.plotting.html_report import HtmlReport


def add_data_card(page: HtmlReport, cubes: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Add a table of shapes, periods and first statistics of some cubes, by name.

    `weights` are those of the sequences of some of them.
    """
    page.heading("Data card")
    rows = []
    for name, cube in cubes.items():
        values = to_numpy(cube, name)
        shape = " x ".join(str(s) for s in np.shape(cube))
        missing = float(np.mean(np.isnan(values)))
        attributes = getattr(cube, "attrs", {})
        period = "-"
        for c in getattr(cube, "coords", {}):
            t = np.asarray(cube[c]).ravel()
            if t.size and (t.dtype.kind == "M" or hasattr(t[0], "calendar")):
                period = f"{str(t.min())[:16]} to {str(t.max())[:16]} ({calendar(cube)})"
                break
        rows.append(
            [
                name,
                shape,
                str(attributes.get("units", "mm/h (assumed)")),
                period,
                percent(missing),
                f"{_mean(values, weights.get(name)):.3g}",
                percent(wet_fraction(values, weights=weights.get(name))),
                f"{float(np.nanmax(values)):.3g}",
            ]
        )
    header = ["", "shape", "units", "period", "missing", "mean mm/h", "wet (0.1 mm/h)", "max mm/h"]
    page.table(rows, header=header)


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    if weights is None:
        return float(np.nanmean(values, dtype=np.float64))
    found, w = weighted_values(values, weights)
    return float(np.average(found.astype(np.float64), weights=w))
