"""A trained model behind pysteps' own calls."""

import datetime
import re
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from skdiffuse import PrecipDiffusion, make_precipitation, write_cube

pysteps = pytest.importorskip("pysteps")
from pysteps.nowcasts import get_method  # noqa: E402
from pysteps.utils import conversion, transformation  # noqa: E402

from skdiffuse.networks.video_unet import PRESETS  # noqa: E402
from skdiffuse.pysteps_plugin import import_skdiffuse  # noqa: E402

ROOT = Path(__file__).parents[1]
OPTIONS = {"n_ens_members": 2, "seed": 3, "n_steps": 2, "method": "replacement"}
KM, MINUTES = 2.0, 5


@pytest.fixture(scope="module")
def rain():
    """Rows from south to north, as most models have them."""
    rain = make_precipitation(12, (16, 16), correlation_length=3.0, random_state=6)
    times = np.datetime64("2020-01-01", "ns") + np.arange(12) * np.timedelta64(MINUTES, "m")
    places = (np.arange(16) + 0.5) * 1e3 * KM
    metres = {"units": "m"}
    return rain.assign_coords(time=times, y=("y", places, metres), x=("x", places, metres))


@pytest.fixture(scope="module")
def model(rain):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
        yield PrecipDiffusion(n_frames=6, max_steps=2, random_state=0, verbose=False).fit(rain)


@pytest.fixture(scope="module")
def truth(model, rain):
    """What the model says of three frames."""
    own = {"n_members": 2, "random_state": 3, "n_steps": 2, "method": "replacement"}
    return model.forecast(rain[:3], 3, **own).values


def metadata(**more):
    begin = datetime.datetime(2020, 1, 1)
    stamps = [begin + k * datetime.timedelta(minutes=MINUTES) for k in range(3)]
    size, end = 1e3 * KM, 16e3 * KM
    return {
        "unit": "mm/h", "transform": None, "threshold": 0.1, "zerovalue": 0.0, "accutime": 5.0,
        "xpixelsize": size, "ypixelsize": size, "cartesian_unit": "m", "yorigin": "upper",
        "x1": 0.0, "x2": end, "y1": 0.0, "y2": end, "timestamps": np.array(stamps), **more,
    }  # fmt: skip


def test_the_forecast_is_the_models_own(model, rain, truth, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    for given in (model, path, str(path)):
        got = get_method("skdiffuse")(rain.values[:3], None, 3, model=given, **OPTIONS)
        assert got.shape == (2, 3, 16, 16)
        np.testing.assert_array_equal(got, truth)


def test_rows_from_the_north_are_turned_and_turned_back(model, rain, truth):
    past = rain.values[:3, ::-1]
    got = get_method("skdiffuse")(past, None, 3, model=model, metadata=metadata(), **OPTIONS)
    np.testing.assert_array_equal(got[:, :, ::-1], truth)
    below = metadata(yorigin="lower")
    got = get_method("skdiffuse")(past[:, ::-1], None, 3, model=model, metadata=below, **OPTIONS)
    np.testing.assert_array_equal(got, truth)


@pytest.mark.parametrize("unit", ["mm/h", "mm", "dBZ"])
def test_decibels_come_back_as_decibels(unit, model, rain):
    past = np.where(rain.values[:3, ::-1] >= 0.1, rain.values[:3, ::-1], 0.0).astype(float)
    plain = metadata()
    expected = get_method("skdiffuse")(past, None, 2, model=model, metadata=plain, **OPTIONS)
    to_unit = {
        "mm/h": lambda field: (field, plain),
        "mm": lambda field: conversion.to_raindepth(field, plain),
        "dBZ": lambda field: conversion.to_reflectivity(field, plain),
    }[unit]
    logged, stated = transformation.dB_transform(*to_unit(past))
    got = get_method("skdiffuse")(logged, None, 2, model=model, metadata=stated, **OPTIONS)
    assert np.isfinite(got).all()
    dry = got == stated["zerovalue"]
    assert ((expected < 0.1) <= (dry | np.isclose(expected, 0.1, rtol=1e-4))).all()
    back, _ = conversion.to_rainrate(got, stated)
    np.testing.assert_allclose(back[~dry], expected[~dry], rtol=2e-3, atol=2e-3)


def test_missing_cells_and_chosen_frames(model, rain):
    past = rain.values[:3].copy()
    past[:, :3, :3] = np.nan
    ask = get_method("skdiffuse")
    every = ask(past, None, 3, model=model, **OPTIONS)
    some = ask(past, np.zeros((2, 16, 16)), [1, 3], model=model, **OPTIONS)
    assert np.isfinite(every).all()
    np.testing.assert_array_equal(some, every[:, [0, 2]])


@pytest.mark.parametrize(
    ("error", "message", "changed"),
    [
        (TypeError, "needs model=", {"model": None}),
        (ValueError, r"must be of shape \(time, y, x\)", {"precip": np.zeros((4, 4))}),
        (ValueError, "whole numbers that rise", {"timesteps": [0.5, 1]}),
        (ValueError, "whole numbers that rise", {"timesteps": [2, 1]}),
        (ValueError, "whole numbers that rise", {"timesteps": 0}),
        (ValueError, "give metadata=", {"precip": np.full((3, 16, 16), -15.0)}),
        (ValueError, "unit 'K'", {"metadata": metadata(unit="K")}),
        (ValueError, "transform 'NQT'", {"metadata": metadata(transform="NQT")}),
        (ValueError, "no 'accutime'", {"metadata": metadata(unit="mm", accutime=None)}),
        (ValueError, "frames 3600 s apart", {"timestep": 60}),
        (ValueError, "cells 1 km apart", {"kmperpixel": 1.0}),
        (ValueError, "cells 4 km apart", {"metadata": metadata(xpixelsize=4e3, ypixelsize=4e3)}),
    ],
)
def test_what_does_not_fit_is_refused(error, message, changed, model, rain):
    options = {"precip": rain.values[:3], "timesteps": 1, "model": model, **OPTIONS, **changed}
    with pytest.raises(error, match=message):
        get_method("skdiffuse")(options.pop("precip"), None, options.pop("timesteps"), **options)


def test_an_external_nowcast_of_the_blending(model, rain, tmp_path):
    """In the first minutes blending trusts the nowcast rather than the numerical forecast."""
    logged, stated = transformation.dB_transform(rain.values[:, ::-1].astype(float), metadata())
    past, driver = logged[:3], logged[8:11]
    nowcast = get_method("skdiffuse")(past, None, 2, model=model, metadata=stated, **OPTIONS)
    # From the frame that was seen last on.
    nowcast = np.concatenate([np.stack([past[-1:]] * 2), nowcast], axis=1)
    blended = pysteps.blending.get_method("steps")(
        past, driver[None], np.zeros((2, 16, 16)), np.zeros((1, 3, 2, 16, 16)), 2, MINUTES,
        stated["timestamps"][-1], 2, precip_nowcast=nowcast, nowcasting_method="external_nowcast",
        n_cascade_levels=3, precip_thr=stated["threshold"], kmperpixel=KM, noise_method=None,
        vel_pert_method=None, outdir_path_skill=str(tmp_path), seed=1,
    )  # fmt: skip
    assert blended.shape == (2, 2, 16, 16)
    assert np.isfinite(blended).all()

    def likeness(field):
        return np.corrcoef(blended[:, 0].ravel(), np.broadcast_to(field, (2, 16, 16)).ravel())[0, 1]

    assert likeness(nowcast[:, 1]) > 0.7 > likeness(driver[1])


def test_every_file_is_an_importer(rain, model, truth, tmp_path):
    path = write_cube(rain[:3], tmp_path / "rain.nc")
    precip, quality, stated = import_skdiffuse(path)
    assert quality is None
    np.testing.assert_array_equal(precip[:, ::-1], rain.values[:3])
    wanted = metadata()
    for key in ("x1", "x2", "y1", "y2", "xpixelsize", "ypixelsize", "yorigin", "accutime"):
        assert stated[key] == wanted[key], key
    assert list(stated["timestamps"]) == list(wanted["timestamps"])
    got = get_method("skdiffuse")(precip, None, 3, model=model, metadata=stated, **OPTIONS)
    np.testing.assert_array_equal(got[:, :, ::-1], truth)
    single, *_ = import_skdiffuse(write_cube(rain[:1], tmp_path / "one.nc"))
    assert single.shape == (16, 16)


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the checkout")
def test_an_installed_package_needs_no_import(tmp_path, monkeypatch):
    """pysteps' own discovery, over an installed distribution with our entry points."""
    from pysteps.io import interface as importers
    from pysteps.nowcasts import interface as nowcasts

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    folder = tmp_path / "skdiffuse-99.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: skdiffuse\nVersion: 99\n")
    (folder / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    assert "skdiffuse" in entry_points(group="pysteps.plugins.importers").names
    monkeypatch.delitem(nowcasts._nowcast_methods, "skdiffuse")
    monkeypatch.setitem(importers._importer_methods, "skdiffuse", None)
    monkeypatch.delitem(importers._importer_methods, "skdiffuse")
    monkeypatch.delitem(sys.modules, "skdiffuse.pysteps_plugin")
    importers.discover_importers()
    assert get_method("skdiffuse").__module__ == "skdiffuse.pysteps_plugin"
    assert pysteps.io.get_method("skdiffuse", "importer").__name__ == "import_skdiffuse"


@pytest.mark.skipif(not (ROOT / "docs").exists(), reason="needs the checkout")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    section = (ROOT / "docs/ecosystem.md").read_text().split("## In pysteps")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    exec("\n".join(blocks), {})
    said = capsys.readouterr().out
    promised = re.findall(r"print\(.*# (\(.*\))", section)
    assert len(promised) == 2
    assert all(said.count(f"\n{shape}\n") + said.startswith(f"{shape}\n") for shape in promised)
