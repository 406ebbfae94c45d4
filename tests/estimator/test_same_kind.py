"""A model asked about another kind of rain than it was trained on."""

import warnings

import numpy as np
import pytest
import xarray as xr

from skdiffuse import PrecipDiffusion, SamplerSettings, denoising_report, make_precipitation
from skdiffuse.networks.video_unet import PRESETS

OPTIONS = {
    "n_frames": 2,
    "max_steps": 1,
    "sampler": SamplerSettings(n_steps=1),
    "random_state": 0,
    "verbose": False,
}


@pytest.fixture(scope="module")
def rain():
    return make_precipitation(8, (8, 8), random_state=0)


@pytest.fixture(scope="module", params=["fitted", "loaded"])
def model(rain, request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
        model = PrecipDiffusion(**OPTIONS).fit(rain)
        if request.param == "loaded":
            path = tmp_path_factory.mktemp("model") / "model.safetensors"
            model.save(path)
            model = PrecipDiffusion.load(path)
        yield model


def moved(rain, *, minutes=60, scale=1.0, shift=0.0):
    times = rain.time.values[0] + np.arange(rain.sizes["time"]) * np.timedelta64(minutes, "m")
    x = (rain.x.values * scale + shift, rain.x.attrs)
    y = (rain.y.values * scale, rain.y.attrs)
    return rain.assign_coords(time=times, y=("y", *y), x=("x", *x))


ASK = {
    "impute": lambda model, rain: model.impute(rain[:2]),
    "forecast": lambda model, rain: model.forecast(rain[:2], 1),
    "score_samples": lambda model, rain: model.score_samples(rain[:2]),
    "denoising_loss": lambda model, rain: model.denoising_loss(rain[:2]),
    "denoising_report": lambda model, rain: denoising_report(
        model, rain[:4], log_snrs=[0], paired_log_snrs=None
    ),
}


@pytest.mark.parametrize("verb", ASK)
@pytest.mark.parametrize("minutes", [10, 24 * 60])
def test_another_time_step(verb, minutes, model, rain):
    message = (
        rf"X has frames {60 * minutes} s apart, and the model needs the 3600 s of the rain that it "
        r"was trained on: .* X\.drop_vars\(\['time'\]\)"
    )
    with pytest.raises(ValueError, match=message):
        ASK[verb](model, moved(rain, minutes=minutes))


@pytest.mark.parametrize("verb", ASK)
def test_another_spacing(verb, model, rain):
    message = (
        r"X has cells 11 km apart along 'y', and the model needs the 2\.2 km of the rain that it "
        r"was trained on: .* X\.drop_vars\(\['y'\]\)"
    )
    with pytest.raises(ValueError, match=message):
        ASK[verb](model, moved(rain, scale=5.0))


def test_the_ways_out_that_are_named(model, rain):
    daily, coarse = moved(rain, minutes=24 * 60), moved(rain, scale=5.0)
    expected = model.forecast(rain[:2], 1).values
    for asked in (daily.drop_vars(["time"]), coarse.drop_vars(["y"]).drop_vars(["x"])):
        np.testing.assert_array_equal(model.forecast(asked[:2], 1).values, expected)
    np.testing.assert_array_equal(model.forecast(daily.values[:2], 1), expected)
    ten_minutes = moved(rain, minutes=10).isel(time=[0] * 12 + [1] * 12)
    ten_minutes = ten_minutes.assign_coords(
        time=rain.time.values[0] + np.arange(24) * np.timedelta64(10, "m")
    )
    hourly = ten_minutes.resample(time="1h").mean()
    assert model.forecast(hourly, 1).sizes["time"] == 1


def test_a_mirrored_field(model, rain):
    south_first = rain.isel(y=slice(None, None, -1))
    with pytest.raises(ValueError, match=r"mirrored; turn it with X\.isel\(y=slice\(None, None, -"):
        model.forecast(south_first[:2], 1)
    turned = south_first.isel(y=slice(None, None, -1))
    assert model.forecast(turned[:2], 1).sizes["time"] == 1


def test_another_place(model, rain):
    elsewhere = moved(rain, shift=1e6)
    with pytest.raises(ValueError, match=r"where it rains around .* network__geography=False"):
        model.forecast(elsewhere[:2], 1)
    anywhere = PrecipDiffusion(**OPTIONS).set_params(network__geography=False).fit(rain)
    assert anywhere.forecast(elsewhere[:2], 1).sizes["time"] == 1
    # Of fields of another size the network knows no places.
    assert model.forecast(elsewhere[:2, :6], 1).shape[-2:] == (6, 8)


def radar(rain, latitude, longitude):
    """A field around a radar, with positions from it in metres: the same for every radar."""
    y, x = (rain[d].values - rain[d].values.mean() for d in ("y", "x"))
    north = latitude + y[:, None] / 111_200 + 0 * x
    east = longitude + 0 * y[:, None] + x / 111_200 / np.cos(np.radians(latitude))
    attrs = {"units": "m"}
    return rain.assign_coords(
        y=("y", y, attrs),
        x=("x", x, attrs),
        latitude=(("y", "x"), north),
        longitude=(("y", "x"), east),
        crs=(
            (),
            0,
            {
                "grid_mapping_name": "azimuthal_equidistant",
                "longitude_of_projection_origin": longitude,
                "latitude_of_projection_origin": latitude,
            },
        ),
    ).assign_attrs(rain.attrs | {"grid_mapping": "crs"})


def test_another_radar(rain, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
        PrecipDiffusion(**OPTIONS).fit(radar(rain, 51.0, 359.9)).save(tmp_path / "model")
        model = PrecipDiffusion.load(tmp_path / "model")
    assert model.forecast(radar(rain, 51.0, -0.1)[:2].drop_vars("crs"), 1).sizes["time"] == 1
    with pytest.raises(ValueError, match=r"middle of X is 53 N 5\.2 E, .* around 51 N -0\.1 E"):
        model.forecast(radar(rain, 53.0, 5.2)[:2], 1)
    message = "longitude_of_projection_origin 5.2, and the model has learnt where it rains on one w"
    with pytest.raises(ValueError, match=message):
        model.forecast(radar(rain, 51.0, 5.2)[:2].drop_vars(["latitude", "longitude"]), 1)
    left_out = ["y", "x", "latitude", "longitude", "crs"]
    assert model.forecast(radar(rain, 53.0, 5.2)[:2].drop_vars(left_out), 1).sizes["time"] == 1


def test_kilometres_and_float32_are_the_same_kind(model, rain):
    in_km = moved(rain).assign_coords(
        {d: (d, (rain[d].values / 1e3).astype(np.float32), {"units": "km"}) for d in ("y", "x")}
    )
    assert model.forecast(in_km[:2], 1).sizes["time"] == 1


def test_degrees_are_compared_with_metres(model, rain):
    """2.2 km are .02 degrees, and not .25."""
    for step, fits in ((0.0198, True), (0.25, False)):
        y = (
            "y",
            step * np.arange(8.0)[:: 1 if rain.y[1] > rain.y[0] else -1],
            {"units": "degrees_north"},
        )
        x = ("x", step * np.arange(8.0), {"units": "degrees_east"})
        degrees = rain.assign_coords(y=y, x=x)
        if fits:
            assert model.forecast(degrees[:2], 1).sizes["time"] == 1
        else:
            with pytest.raises(ValueError, match=r"X has cells 27\.8 km apart along 'y'"):
                model.forecast(degrees[:2], 1)


def test_finer_frames_and_cells_are_made_of_coarser(model, rain):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.interpolate(rain[:5:2], factor=2).sizes["time"] == 5
        coarse = rain[:2].coarsen(y=2, x=2).mean()
        assert model.downscale(coarse, 2).shape == (1, 2, 8, 8)
    with pytest.warns(UserWarning, match="3600 s apart, as in training: with factor=2") as caught:
        model.interpolate(rain[:2], factor=2)
    assert [each.filename for each in caught] == [__file__]
    with pytest.warns(UserWarning, match=r"2\.2 km apart along 'y', as in training") as caught:
        model.downscale(rain[:2], 2)
    assert [each.filename for each in caught] == [__file__]
    with pytest.raises(ValueError, match="86400 s apart, and the model needs factor=2 times the 3"):
        model.interpolate(moved(rain, minutes=24 * 60)[:2], factor=2)
    with pytest.raises(ValueError, match=r"11 km apart .* needs factor=2 times the 2\.2 km"):
        model.downscale(moved(rain, scale=5.0)[:2], 2)


def test_validation_of_another_kind(rain):
    with pytest.raises(ValueError, match="validation has frames 600 s apart, and the model needs"):
        PrecipDiffusion(**OPTIONS).fit(rain, validation=moved(rain, minutes=10))


def test_going_on_with_another_kind(rain):
    model = PrecipDiffusion(**OPTIONS, warm_start=True).fit(rain)
    with pytest.raises(ValueError, match="600 s apart"):
        model.set_params(max_steps=2).fit(moved(rain, minutes=10))


def numbered(rain, numbers):
    return rain[: len(numbers)].assign_coords(time=np.asarray(numbers))


def test_plain_numbers_go_on_as_plain_numbers(model, rain):
    """The training step is in seconds, and nobody knows what 5 is in."""
    alone = model.forecast(numbered(rain, [5]), 2)
    assert "time" not in alone.coords
    np.testing.assert_array_equal(alone.lead_time, np.array([1, 2]) * np.timedelta64(1, "h"))
    assert model.forecast(numbered(rain, [5, 6]), 2).time.values.tolist() == [7, 8]


def test_numbers_are_a_kind_as_well(rain, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
        PrecipDiffusion(**OPTIONS).fit(numbered(rain, 10 * np.arange(8))).save(tmp_path / "model")
        model = PrecipDiffusion.load(tmp_path / "model")
        assert model.forecast(numbered(rain, [5]), 2).time.values.tolist() == [15, 25]
        with pytest.raises(
            ValueError, match="X has frames 60 apart, and the model needs the 10 of"
        ):
            model.forecast(numbered(rain, [0, 60]), 1)
        # What has dates is not compared with what has none.
        assert isinstance(model.forecast(rain[:2], 1), xr.DataArray)
