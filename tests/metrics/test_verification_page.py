"""The page on verification: what it names exists."""

import re
from pathlib import Path

from skdiffuse import metrics, plotting

PAGE = Path(__file__).resolve().parents[2] / "docs" / "verification.md"


def test_names_exist():
    table = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    names = set(re.findall(r"`([A-Za-z_]+)`", "\n".join(table)))
    assert len(names) > 40
    assert names - {"skdiffuse"} <= {*metrics.__all__, *plotting.__all__}


def test_the_overview_of_scores_is_whole():
    text = PAGE.read_text()
    helpers = {"intensity_edges", "extreme_quantile_levels", "get_scorer", "get_scorer_names",
               "quantiles", "wet_fraction", "roc_curve"}  # fmt: skip
    absent = {n for n in metrics.__all__ if n[0].islower() and f"`{n}" not in text}
    assert absent - helpers - {"make_sample_scorer", "make_forecast_scorer"} == set()
