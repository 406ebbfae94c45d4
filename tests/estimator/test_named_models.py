"""Models by name: where they are found, their cards, and what the cards refuse."""

import json
import os
import socket
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from skdiffuse import ModelCard, PrecipDiffusion, SamplerSettings, list_models, make_precipitation
from skdiffuse.cli import main
from skdiffuse.networks.video_unet import PRESETS

SAID = {"title": "t", "data": "d", "region": "r", "licence": "CC0"}


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        # Those of the package are "tiny" ones.
        patch.setitem(PRESETS, "small", {"width": 8, "multipliers": (1,)})
        model = PrecipDiffusion(
            network="small",
            n_frames=2,
            max_steps=1,
            sampler=SamplerSettings(n_steps=1),
            random_state=0,
            verbose=False,
        )
        yield model.fit(make_precipitation(8, (8, 8), random_state=0))


@pytest.fixture
def folder(model, tmp_path, monkeypatch):
    monkeypatch.delenv("SKDIFFUSE_WEIGHTS", raising=False)
    model.save(tmp_path / "mine.safetensors", card={**SAID, "scores": {"crps": 0.1}})
    return tmp_path


def edited(folder, **changes):
    path = folder / "mine.card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def hourly(n, minutes=60, cell=4000.0, attrs=()):
    """Rain on a grid of 4 km, north up, an hour apart unless told otherwise."""
    return xr.DataArray(
        np.ones((n, 64, 64), np.float32),
        dims=("time", "y", "x"),
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(minutes, "m"),
            "y": ("y", np.arange(64)[::-1] * cell, {"units": "m"}),
            "x": ("x", np.arange(64) * cell, {"units": "m"}),
        },
        attrs={"units": "mm h-1", "standard_name": "lwe_precipitation_rate"} | dict(attrs),
    )


def test_a_card_tells_of_the_model(folder, model):
    card = PrecipDiffusion.load("skdiffuse/mine", folder=folder).card_
    assert card.window == (2, 8, 8)
    assert card.time_step == 3600.0
    assert card.cell == (2200.0, 2200.0)
    assert card.training == {"version": card.training["version"], "steps": 1}
    assert card.scores == {"crps": 0.1}
    assert model.card_ is None


def test_the_same_model_by_name_and_by_path(folder, model):
    named = PrecipDiffusion.load("skdiffuse/mine", folder=folder)
    by_path = PrecipDiffusion.load(folder / "mine.safetensors")
    expected = model.sample(2, random_state=3).values
    for each in (named, by_path):
        np.testing.assert_array_equal(each.sample(2, random_state=3).values, expected)
    assert by_path.card_ is None


def test_a_folder_of_the_users_own_goes_first(folder, monkeypatch):
    monkeypatch.setenv("SKDIFFUSE_WEIGHTS", str(folder))
    os.rename(folder / "mine.safetensors", folder / "synthetic.safetensors")
    os.rename(folder / "mine.card.json", folder / "synthetic.card.json")
    assert PrecipDiffusion.load("skdiffuse/synthetic").card_.window == (2, 8, 8)
    monkeypatch.delenv("SKDIFFUSE_WEIGHTS")
    assert list_models()["synthetic"].window == (10, 64, 64)
    assert list_models(folder)["synthetic"].window == (2, 8, 8)


def test_no_network_is_asked(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("went out"))
    assert PrecipDiffusion.load("skdiffuse/hourly_4km_small").n_iter_ == 2640


def test_every_model_of_the_package_has_a_card():
    found = list_models()
    names = {"synthetic", "era5", "hourly_4km", "hourly_4km_small", "five_minutes_2km"}
    assert names <= set(found)
    for name in names:
        card = found[name]
        assert all((card.data, card.region, card.licence, card.training, card.scores, card.limits))
        model = PrecipDiffusion.load(f"skdiffuse/{name}")
        assert model.card_ == card


def test_a_model_that_is_saved_again_keeps_its_card(folder):
    model = PrecipDiffusion.load("skdiffuse/mine", folder=folder)
    model.save(folder / "again.safetensors")
    assert list_models(folder)["again"] == model.card_
    # And one that is trained on other rain does not.
    model.set_params(max_steps=1).fit(make_precipitation(8, (8, 8), random_state=1))
    assert model.card_ is None


def test_weights_without_a_card(folder):
    (folder / "mine.card.json").unlink()
    with pytest.warns(UserWarning, match=r"mine.safetensors has no card, .* save\(path, card="):
        assert PrecipDiffusion.load("skdiffuse/mine", folder=folder).card_ is None
    assert list_models(folder)["mine"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"mine.card.json is no JSON \(.*\): write it anew"),
        ("[]", "holds list, not an object"),
        (json.dumps(SAID), r"lacks \['window'\]"),
        (json.dumps({"window": [2, 8, 8]}), r"lacks \['title', 'data', 'region', 'licence'\]"),
        (json.dumps({**SAID, "window": [2, 8]}), "has window=.*three whole numbers"),
        (json.dumps({**SAID, "window": [2, 8, 8], "step": 1}), r"has \['step'\], which no card"),
        (json.dumps({**SAID, "window": [2, 8, 8], "time_step": "1 h"}), "has time_step='1 h'"),
        (json.dumps({**SAID, "window": [2, 8, 8], "cell": 4.0}), "has cell=4.0, .* two numbers"),
    ],
)
def test_a_card_that_cannot_be_read(folder, text, message):
    (folder / "mine.card.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        PrecipDiffusion.load("skdiffuse/mine", folder=folder)
    with pytest.warns(UserWarning, match=message):
        assert list_models(folder)["mine"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": [10, 64, 64]}, r"says window=\(10, 64, 64\), and .* have \(2, 8, 8\)"),
        ({"time_step": 300.0}, r"says time_step=300.0, and .* have 3600.0"),
        ({"cell": [2200.0, 4000.0]}, r"says cell=\(2200.0, 4000.0\).*another model"),
    ],
)
def test_a_card_of_another_model(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        PrecipDiffusion.load("skdiffuse/mine", folder=edited(folder, **changes))


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (3, r"card=3 must be a dict"),
        ({"title": "t"}, r"card lacks \['data', 'region', 'licence'\]"),
        ({**SAID, "author": "me"}, r"card has \['author'\], which no card has"),
        ({**SAID, "scores": {"x": object()}}, "card holds what JSON cannot"),
    ],
)
def test_a_card_that_says_too_little(model, card, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        model.save(tmp_path / "x.safetensors", card=card)
    assert not list(tmp_path.iterdir())


def test_names_that_are_none(folder):
    with pytest.raises(FileNotFoundError, match=r"no model 'mime'; .* \(do you mean 'mine'\?\)"):
        PrecipDiffusion.load("skdiffuse/mime", folder=folder)
    with pytest.raises(FileNotFoundError, match="folder='nowhere' is no folder"):
        PrecipDiffusion.load("skdiffuse/mine", folder="nowhere")
    with pytest.raises(ValueError, match=r"folder=.* is where names are looked for"):
        PrecipDiffusion.load(folder / "mine.safetensors", folder=folder)


class TestAskedAboutOtherRain:
    """A model of the package, asked about what its card says it does not know."""

    @pytest.fixture
    def model(self):
        model = PrecipDiffusion.load("skdiffuse/hourly_4km")
        return model.set_params(verbose=False, device="cpu", sampler__n_steps=1)

    @pytest.mark.parametrize(
        ("rain", "message"),
        [
            (hourly(4, minutes=5), "frames 300 s apart.*needs the 3600 s.*resample"),
            (hourly(4, cell=2000.0), "cells 2 km apart along 'y'.*needs the 4 km.*regrid X"),
            (
                hourly(4, attrs={"standard_name": "snowfall_flux"}),
                r"X holds snowfall \(standard_name 'snowfall_flux'\), .* knows precipitation.*"
                r"assign_attrs\(standard_name=''\)",
            ),
            (hourly(4, attrs={"cell_methods": "time: maximum"}), "X holds a maximum over time"),
            (hourly(4, attrs={"units": "K", "standard_name": "air_temperature"}), "units 'K'"),
            (hourly(4, attrs={"units": "mm/5min"}), "units 'mm/5min', not mm/h"),
        ],
    )
    def test_refuses(self, model, rain, message):
        with pytest.raises(ValueError, match=message):
            model.forecast(rain, 2)

    def test_a_single_frame_that_is_a_mean_of_five_minutes(self, model):
        rain = hourly(1)
        rain.time.attrs["bounds_offset_hours"] = (-1 / 12, 0.0)
        with pytest.raises(ValueError, match="frames 300 s apart"):
            model.forecast(rain, 2)

    def test_what_it_knows_it_answers(self, model):
        assert model.forecast(hourly(4), 2, method="amortised").shape == (1, 2, 64, 64)


def test_a_card_speaks_for_a_model_that_does_not_know_its_step(model, tmp_path):
    """Trained on plain arrays: only the card can tell."""
    silent = PrecipDiffusion(**model.get_params(deep=False))
    silent._take(replace_template(model))
    silent.save(tmp_path / "silent.safetensors", card={**SAID, "time_step": 3600.0})
    named = PrecipDiffusion.load("skdiffuse/silent", folder=tmp_path)
    rain = hourly(4, minutes=5)[:, :8, :8]
    with pytest.raises(ValueError, match="frames 300 s apart"):
        named.forecast(rain, 1)
    assert silent.forecast(rain, 1).shape == (1, 1, 8, 8)
    # NumPy says nothing of itself.
    assert named.forecast(rain.values, 1).shape == (1, 1, 8, 8)


def replace_template(model):
    from skdiffuse.estimator.learning import Learnt

    silent = replace(model.model_, template=None)
    return Learnt(silent, model.history_, model.n_iter_, model.n_skipped_)


def test_the_command_lists_them(folder, capsys):
    assert main(["models", "--folder", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "skdiffuse/mine" in said
    assert "every 1 h, cells of 4 km; 10 frames of 64 x 64" in said
    assert "ratio to the rain learnt" not in said
    assert main(["models", "era5"]) == 0
    assert "ratio to the rain learnt" in capsys.readouterr().out
    assert main(["models", "era"]) == 1
    assert "do you mean 'era5'?" in capsys.readouterr().err
    (folder / "mine.card.json").write_text("{")
    assert main(["models", "--folder", str(folder)]) == 0
    captured = capsys.readouterr()
    assert "no card" in captured.out
    assert "is no JSON" in captured.err


def test_cards_are_read_as_they_were_written():
    card = ModelCard("t", "d", "r", "l", (2, 8, 8), 300.0, (-1.0, 1.0), scores={"a": [1, 2]})
    assert ModelCard.from_json(card.to_json()) == card
