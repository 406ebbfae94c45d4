"""Which model the demo asks, and a demo that trains nothing."""

import json

import numpy as np
import pytest

from skdiffuse.cubes import write_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.demo import report as report_module
from skdiffuse.demo import run as demo_module
from skdiffuse.demo.known_models import model_that_knows
from skdiffuse.demo.run import run_demo


def hourly(shape=(40, 40), **options):
    """Rain on the grid of the hourly models: 4 km, northernmost row first."""
    rain = make_precipitation(20, shape, cell_size=4000.0, random_state=1, **options)
    return rain[:, ::-1] if rain.y[1] > rain.y[0] else rain


@pytest.mark.parametrize(
    ("rain", "name"),
    [
        (hourly(), "skdiffuse/hourly_4km_small"),
        (hourly().drop_vars("time"), None),
        (hourly().drop_vars(["y", "x", "lat", "lon"], errors="ignore"), None),
        (hourly((30, 40)), None),
        (hourly(time_step="10min"), None),
        (make_precipitation(20, (40, 40), cell_size=1000.0, random_state=1), None),
        (
            make_precipitation(20, (64, 64), cell_size=2000.0, time_step="5min", random_state=1)[
                :, ::-1
            ],
            "skdiffuse/five_minutes_2km",
        ),
    ],
    ids=["hourly", "no times", "no places", "too small", "other step", "other cells", "5 min"],
)
def test_a_model_is_asked_about_rain_that_it_knows(rain, name):
    found = model_that_knows(rain)
    assert (None if found is None else found[1]) == name


def test_nothing_is_trained_where_a_model_knows_the_rain(tmp_path, monkeypatch):
    for what, n in {
        "N_GENERATED": 3, "N_MEMBERS": 2, "N_CASES": 2, "N_STEPS": 2, "N_STEPS_GUIDED": 1
    }.items():  # fmt: skip
        monkeypatch.setattr(demo_module, what, n)
    # Its pictures are those of any demo.
    for part in ("_generated", "_views", "_interpolated", "_nowcast"):
        monkeypatch.setattr(report_module, part, lambda page, result: None)
    path = write_cube(hourly(), tmp_path / "rain.nc")
    out = tmp_path / "out"
    result = run_demo(path, out=out)
    assert result.name == "skdiffuse/hourly_4km_small"
    assert result.generated.shape == (3, 8, 32, 32) and np.isfinite(result.generated).all()
    written = {file.name for file in out.iterdir()}
    assert written == {"report.html", "scores.json", "samples.nc", "nowcast.nc"}
    assert json.loads((out / "scores.json").read_text())["model"] == result.name
    page = (out / "report.html").read_text()
    assert "nothing was trained" in page and result.model.card_.limits in page
    assert result.earlier_name == "earlier rain"
