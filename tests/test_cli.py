import json
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from skdiffuse import PrecipDiffusion
from skdiffuse import demo as demo_module
from skdiffuse.cli import main
from skdiffuse.cubes import open_cube, write_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.demo import run_demo


@pytest.fixture(scope="module")
def rain_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rain.nc"
    write_cube(make_precipitation(60, (16, 16), random_state=0), path)
    return path


@pytest.fixture(scope="module")
def demo(rain_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        # As much of everything as it takes to see that it is there.
        patch.setattr(demo_module, "N_GENERATED", 8)
        patch.setattr(demo_module, "N_MEMBERS", 2)
        return run_demo(rain_file, minutes=0.02, out=out), out


def test_everything_is_written(demo):
    result, out = demo
    page = (out / "report.html").read_text()
    assert len(re.findall(r"data:image/png;base64", page)) >= 6
    assert "data:image/gif;base64" in page
    assert not re.search(r'(src|href)="(?!data:)', page), "the page must stand by itself"
    scores = json.loads((out / "scores.json").read_text())
    assert scores["training_steps"] == result.model.n_iter_ > 0
    assert set(scores["nowcast_crps"]) == {"model", "persistence", "climatology"}
    samples = open_cube(out / "samples.nc")
    np.testing.assert_allclose(samples, result.generated, rtol=1e-6)
    with xr.open_dataset(out / "nowcast.nc", decode_timedelta=True) as nowcast:
        assert "lead_time" in nowcast
    model = PrecipDiffusion.load(out / "model.safetensors")
    assert model.n_iter_ == result.model.n_iter_
    assert list((out / "checkpoints").iterdir())


def test_scores_are_those_of_the_fields(demo):
    """CRPS of a single forecast is the mean absolute error, here computed anew."""
    result, _ = demo
    truth = result.cases[:, 4:]
    last = result.cases[:, 3:4]
    assert result.crps("nowcast")["persistence"].mean() == pytest.approx(
        np.abs(truth - last).mean(), rel=1e-5
    )
    linear = 0.5 * (result.cases[:, 0] + result.cases[:, 2])
    error = np.abs(result.interpolated["linear in time"][0, :, 0] - result.cases[:, 1])
    np.testing.assert_allclose(error, np.abs(linear - result.cases[:, 1]), rtol=1e-5, atol=1e-6)


def test_the_held_out_part_is_the_last_fifth(demo):
    result, _ = demo
    cube = make_precipitation(60, (16, 16), random_state=0).values
    assert len(result.held_out) == 1
    np.testing.assert_allclose(result.held_out[0], cube[48:56], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "absent.nc"], "absent.nc"),
        (["--minutes", "0"], "minutes"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(arguments, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["demo", "--out", str(out), *arguments]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.startswith("skdiffuse demo: ")
    assert "Traceback" not in printed
    assert not out.exists()


def test_short_cube(tmp_path, capsys):
    write_cube(make_precipitation(9, (8, 8), random_state=0), tmp_path / "short.nc")
    assert main(["demo", "--data", str(tmp_path / "short.nc"), "--out", str(tmp_path / "o")]) == 1
    assert "needs at least 16" in capsys.readouterr().err


def test_evaluate(rain_file, demo, tmp_path, capsys):
    out = tmp_path / "report.html"
    samples = str(demo[1] / "samples.nc")
    arguments = ["evaluate", str(rain_file), samples, "--baseline", str(rain_file)]
    assert main([*arguments, "--out", str(out)]) == 0, capsys.readouterr().err
    assert "data:image/png;base64" in out.read_text()
    assert main(["evaluate", "absent.nc", samples, "--out", str(out)]) == 1
    assert "absent.nc" in capsys.readouterr().err


def test_command_line_help_does_not_wait_for_torch():
    code = (
        "import sys; from skdiffuse.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout
