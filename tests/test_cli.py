import json
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from skdiffuse import PrecipDiffusion
from skdiffuse.cli import main
from skdiffuse.cubes import open_cube, write_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.demo import run as demo_module
from skdiffuse.demo.run import run_demo
from skdiffuse.training import Trainer

pytestmark = pytest.mark.usefixtures("narrow_networks")


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
    assert result.name is None and result.earlier_name == "training rain"
    for picture in ("generated", "views", "nowcast"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


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


@pytest.fixture(scope="module")
def model_file(rain_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    options = ["--frames", "4", "--crop", "16", "--steps", "2", "--amortised"]
    assert main(["fit", str(rain_file), "--out", str(path), *options]) == 0
    return path


def test_fit_and_sample(model_file, tmp_path):
    out = tmp_path / "rain.nc"
    assert main(["sample", str(model_file), "-n", "3", "--steps", "2", "--out", str(out)]) == 0
    model = PrecipDiffusion.load(model_file)
    assert model.amortised
    expected = model.sample(3, n_steps=2, random_state=0)
    with xr.open_dataset(out, decode_timedelta=True) as written:
        np.testing.assert_allclose(written[expected.name], expected, atol=1e-5)
    series = tmp_path / "series.zarr"
    arguments = ["--frames", "7", "--size", "12", "20", "--steps", "2", "--out", str(series)]
    assert main(["sample", str(model_file), *arguments]) == 0
    with xr.open_dataset(series, engine="zarr", decode_timedelta=True) as written:
        assert dict(written.sizes) == {"realization": 1, "time": 7, "y": 12, "x": 20}


def test_files_of_several_places_are_cubes_of_one_model(rain_file, tmp_path):
    """A quoted pattern is one place, joined in time; each argument is another."""
    rain = open_cube(rain_file).load()
    small = rain[:12, :12, :10]
    write_cube(small, tmp_path / "small.nc")
    for k in range(2):
        write_cube(rain[6 * k : 6 * k + 6], tmp_path / f"large_{k}.nc")
    files = [str(tmp_path / name) for name in ("large_?.nc", "small.nc")]
    out = tmp_path / "model"
    options = ["--frames", "4", "--steps", "2", "--out", str(out)]
    assert main(["fit", *files, *options]) == 0
    found = PrecipDiffusion.load(out)
    expected = PrecipDiffusion(n_frames=4, max_steps=2, random_state=0, verbose=False)
    expected.fit([rain[:12], small])
    assert found.field_shape_ == (12, 10)
    np.testing.assert_allclose(
        found.sample(1, n_steps=2, random_state=0), expected.sample(1, n_steps=2), atol=1e-6
    )


def test_impute_and_forecast(model_file, rain_file, tmp_path):
    rain = open_cube(rain_file)[:6].load()
    gappy = rain.copy()
    gappy[2] = np.nan
    write_cube(gappy, tmp_path / "gappy.nc")
    arguments = [str(model_file), str(tmp_path / "gappy.nc"), "--steps", "2", "--out"]
    assert main(["impute", *arguments, str(tmp_path / "filled.nc"), "-n", "2"]) == 0
    filled = open_cube(tmp_path / "filled.nc")
    assert filled.shape == (2, 6, 16, 16)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[1, 3:], rain[3:])
    assert main(["forecast", *arguments, str(tmp_path / "ahead.nc"), "--horizon", "3"]) == 0
    ahead = open_cube(tmp_path / "ahead.nc")
    assert ahead.shape[-3:] == (3, 16, 16)
    step = rain.time.values[1] - rain.time.values[0]
    assert ahead.time.values[0] == rain.time.values[-1] + step


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "absent.nc", "--out", "m"], "absent.nc"),
        (["fit", "{rain}", "--out", "nowhere/m"], "no folder"),
        (["fit", "{rain}", "--out", "m", "--network", "huge", "--steps", "1"], "huge"),
        (["sample", "absent", "--out", "s.nc"], "No such file: absent"),
        (["sample", "{rain}", "--out", "s.nc"], "not a safetensors file"),
        (["sample", "{model}", "--out", "nowhere/s.nc"], "no folder"),
        (["sample", "{model}", "-n", "0", "--out", "s.nc"], "n_samples"),
        (["impute", "{model}", "absent.nc", "--out", "s.nc"], "absent.nc"),
        (["forecast", "{model}", "{rain}", "--horizon", "0", "--out", "s.nc"], "horizon"),
    ],
)
def test_errors_of_tasks_leave_nothing(
    arguments, message, model_file, rain_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    files = {"rain": rain_file, "model": model_file}
    assert main([a.format(**files) for a in arguments]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.startswith(f"skdiffuse {arguments[0]}: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "{rain}", "--out", "{tmp}"], "--out='.*' is a folder; name a file within it"),
        (["fit", "{rain}", "--out", "{rain}/m"], "--out='.*': there is no folder"),
        (["fit", "{rain}", "--out", "m", "--checkpoints", "{rain}"], "--checkpoints=.* is a file"),
        (["fit", "{rain}", "--out", "m", "--seed", "-4"], r"random_state=-4 must .*is --seed here"),
        (["fit", "{rain}", "--out", "m", "--crop", "0"], r"crop_size=0 must .* is --crop here"),
        (["sample", "{model}", "--out", "{tmp}"], "--out='.*' is a folder"),
        (["sample", "{model}", "--out", "s.nc", "--size", "0", "16"], r"\(0, 16\) .*--size here"),
        (["sample", "{model}", "--out", "s.nc", "--seed", "-4"], "must be .*is --seed here"),
        (["sample", "{model}", "--out", "s.nc", "-n", "0"], "n_samples is -n here"),
        (["forecast", "{model}", "{rain}", "--horizon", "1", "--out", "{tmp}"], "is a folder"),
        (["impute", "{model}", "{rain}", "--out", "{tmp}"], "is a folder"),
        (["evaluate", "{rain}", "{rain}", "--out", "{tmp}"], "is a folder"),
        (["demo", "--out", "{rain}"], "--out='.*' is a file|is a file, not a folder"),
    ],
)
def test_outputs_and_options_are_tried_before_any_work(
    arguments, message, model_file, rain_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("trained first"))
    files = {"rain": rain_file, "model": model_file, "tmp": tmp_path}
    assert main([a.format(**files) for a in arguments]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (SystemExit(143), SystemExit)]
)
def test_an_interrupted_training_is_saved(error, status, rain_file, tmp_path, monkeypatch, capsys):
    take_step = Trainer._one_step

    def interrupted(trainer):
        if trainer.step == 3:
            raise error
        return take_step(trainer)

    monkeypatch.setattr(Trainer, "_one_step", interrupted)
    out = tmp_path / "model.safetensors"
    arguments = ["fit", str(rain_file), "--out", str(out), "--frames", "4", "--crop", "16"]
    if status is SystemExit:
        with pytest.raises(SystemExit):
            main(arguments)
    else:
        assert main(arguments) == status
    said = capsys.readouterr().err
    assert f"3 training steps until the interruption; what was learnt so far is in {out}" in said
    assert PrecipDiffusion.load(out).n_iter_ == 3


def test_a_training_that_diverges_is_one_line(rain_file, tmp_path, monkeypatch, capsys):
    def diverged(_):
        raise FloatingPointError("Training has diverged")

    monkeypatch.setattr(Trainer, "_one_step", diverged)
    out = tmp_path / "model.safetensors"
    assert main(["fit", str(rain_file), "--out", str(out), "--crop", "16"]) == 1
    assert "Training has diverged" in capsys.readouterr().err
    assert not out.exists()


def test_crops_are_evaluated_beside_larger_fields(model_file, tmp_path, capsys):
    """Fit, sample, evaluate, as the README has it."""
    larger, crops, page = (str(tmp_path / name) for name in ("rain.nc", "storms.nc", "page.html"))
    write_cube(make_precipitation(12, (40, 36), random_state=0), larger)
    model = str(tmp_path / "model")
    options = ["--frames", "4", "--crop", "16", "--steps", "1"]
    assert main(["fit", larger, "--out", model, *options]) == 0
    assert main(["sample", model, "-n", "12", "--steps", "1", "--out", crops]) == 0
    assert main(["evaluate", larger, crops, "--out", page]) == 0, capsys.readouterr().err
    assert main(["sample", model, "-n", "1", "--steps", "1", "--out", crops]) == 0
    capsys.readouterr()
    assert main(["evaluate", larger, crops, "--out", page]) == 1
    said = capsys.readouterr().err
    assert "block_length" not in said
    assert "sample -n 20" in said and "smaller --frames" in said
    # What it says helps.
    assert main(["sample", model, "-n", "20", "--steps", "1", "--out", crops]) == 0
    assert main(["evaluate", larger, crops, "--out", page, "--frames", "2"]) == 0


def test_another_kind_of_rain(model_file, tmp_path, capsys):
    write_cube(
        make_precipitation(6, (16, 16), time_step="10min", random_state=0), tmp_path / "p.nc"
    )
    out = str(tmp_path / "nowcast.nc")
    arguments = ["forecast", str(model_file), str(tmp_path / "p.nc"), "--horizon", "1"]
    assert main([*arguments, "--out", out]) == 1
    assert "X has frames 600 s apart, and the model needs the 3600 s" in capsys.readouterr().err


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


def test_what_a_file_does_not_state_is_said_by_options(rain_file, tmp_path, capsys):
    """Amounts without an interval: the error names the option, with which rates are right."""
    with xr.open_dataset(rain_file) as given:
        amounts = given.load()
    [name] = [n for n, each in amounts.data_vars.items() if each.ndim == 3]
    rates = amounts[name].values
    amounts[name].attrs = {"units": "mm", "standard_name": "precipitation_amount"}
    keep = [name, *amounts[name].dims]
    amounts = amounts[name].drop_vars([c for c in amounts[name].coords if c not in keep])
    amounts.to_dataset(name=name).to_netcdf(tmp_path / "amounts.nc")
    fit = ["fit", str(tmp_path / "amounts.nc"), "--out", str(tmp_path / "m.safetensors")]
    fit += ["--steps", "1", "--frames", "2", "--crop", "16"]
    assert main(fit) == 1
    assert "interval is --interval here" in capsys.readouterr().err
    assert main([*fit, "--interval", "2h"]) == 0
    model = PrecipDiffusion.load(tmp_path / "m.safetensors")
    half = np.nanmean(np.sqrt(rates / 2))
    assert model.latent_.centre == pytest.approx(half, rel=0.3)


def test_explore_a_file_or_a_model(rain_file, model_file, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["explore", str(rain_file), "--out", str(page)]) == 0
    assert '"shape": [1, 60, 16, 16]' in page.read_text()
    options = ["-n", "2", "--steps", "1", "--out", str(page)]
    assert main(["explore", str(model_file), *options]) == 0, capsys.readouterr().err
    text = page.read_text()
    assert '"shape": [2, 4, 16, 16]' in text and "Rain made by model.safetensors" in text
    assert not re.search(r'(src|href)="(?!data:)', text), "the page must stand by itself"
    page.unlink()
    assert main(["explore", "absent.nc", "--out", str(page)]) == 1
    assert "absent.nc" in capsys.readouterr().err
    assert main(["explore", str(rain_file), "--out", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
