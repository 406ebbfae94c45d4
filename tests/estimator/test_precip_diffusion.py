import dataclasses
import os
import pickle

import cftime
import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skdiffuse import NetworkSettings, PrecipDiffusion, SamplerSettings, TrainingSettings
from skdiffuse.cubes import open_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.preprocessing import LearntMonotoneTransform, SqrtTransform

pytestmark = pytest.mark.usefixtures("global_generators_stay_untouched")

OPTIONS = {
    "n_frames": 4,
    "max_steps": 3,
    "sampler": SamplerSettings(n_steps=3),
    "random_state": 0,
    "verbose": False,
}


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(24, (16, 16), random_state=0)


@pytest.fixture(scope="module")
def model(cube):
    return PrecipDiffusion(**OPTIONS).fit(cube)


def check_rain(rain):
    values = np.asarray(rain)
    assert np.isfinite(values).all()
    assert (values >= 0).all()


class TestSample:
    def test_rain_with_coordinates(self, model, cube):
        rain = model.sample(3)
        check_rain(rain)
        assert not ((rain > 0) & (rain < 0.01)).any()
        assert rain.dims == ("realization", "time", "y", "x")
        assert rain.shape == (3, 4, 16, 16)
        assert rain.attrs["units"] == "mm h-1"
        np.testing.assert_array_equal(rain.x, cube.x)
        assert rain.time.values[1] == np.timedelta64(1, "h")

    def test_numpy_in_numpy_out(self, cube):
        model = PrecipDiffusion(**OPTIONS).fit(cube.values)
        assert isinstance(model.sample(1), np.ndarray)

    def test_same_random_state_same_bits(self, model):
        first, again = model.sample(2, random_state=3), model.sample(2, random_state=3)
        np.testing.assert_array_equal(first, again)
        assert (model.sample(2, random_state=4) != first).any()
        np.testing.assert_array_equal(model.sample(2), model.sample(2))

    def test_batches_and_number_change_nothing(self, model):
        together = model.sample(5, random_state=1)
        apart = model.sample(5, random_state=1, batch_size=2)
        np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(model.sample(2, random_state=1), together[:2], atol=1e-4)

    def test_any_size(self, model):
        rain = model.sample(1, shape=(20, 27))
        assert rain.shape == (1, 4, 20, 27)
        # A field of another size lies nowhere in particular.
        assert rain.x[0] == 0

    @pytest.mark.parametrize("sampler", ["adams", "heun", "exponential", "ancestral"])
    def test_samplers(self, model, sampler):
        check_rain(clone_fitted(model, sampler=sampler).sample(1))

    def test_without_weather_there_is_no_law(self, model):
        other = clone_fitted(model, sampler="exponential")
        other.model_ = dataclasses.replace(other.model_, prior=None)
        with pytest.raises(ValueError, match="network__skip='mixture', or use sampler='adams'"):
            other.sample(1)

    def test_the_law_of_the_weather_changes_the_way_and_not_the_end(self, model):
        other = clone_fitted(model, sampler="exponential")
        for shape in (None, (20, 27)):
            ours, plain = (
                one.sample(1, shape=shape, n_steps=64, random_state=1) for one in (other, model)
            )
            np.testing.assert_allclose(ours, plain, atol=0.02 * float(plain.max()))


def clone_fitted(model, **params):
    other = pickle.loads(pickle.dumps(model))
    return other.set_params(**params)


class TestImpute:
    def test_known_values_come_back_to_the_bit(self, model, cube):
        past = cube[:4]
        mask = np.random.default_rng(0).random(past.shape) < 0.5
        filled = model.impute(past, mask, w_r=1e6, n_samples=2)
        check_rain(filled)
        assert filled.shape == (2, *past.shape)
        for member in filled.values:
            assert member[mask].tobytes() == past.values[mask].tobytes()
        assert (filled[0] != filled[1]).any()
        xr.testing.assert_equal(filled.time.drop_vars("time"), past.time.drop_vars("time"))

    @pytest.mark.parametrize("w_r", [0, 1, 1e3, 1e6, 1e9])
    def test_any_weight(self, model, cube, w_r):
        mask = np.arange(4) % 2 == 0
        check_rain(model.impute(cube[:4], mask[:, None, None], w_r=w_r))

    def test_missing_values_are_filled_by_default(self, model, cube):
        gappy = cube[:4].copy()
        gappy[1:3, 4:9, 4:9] = np.nan
        filled = model.impute(gappy, n_samples=None)
        assert filled.dims == gappy.dims
        check_rain(filled)
        assert filled.where(gappy.notnull()).equals(gappy.astype(filled.dtype))

    @pytest.mark.parametrize("length", [1, 3, 4, 5, 11])
    def test_any_length(self, model, cube, length):
        mask = np.zeros(length, bool)
        mask[0] = True
        filled = model.impute(cube[:length], mask[:, None, None])
        assert filled.shape == (1, length, 16, 16)
        check_rain(filled)

    def test_sequences_are_independent(self, model, cube):
        pair = np.stack([cube.values[:4], cube.values[8:12]])
        mask = np.array([True, True, False, False])[:, None, None]
        filled = model.impute(pair, mask)
        assert filled.shape == (1, 2, 4, 16, 16)
        alone = model.impute(pair[:1], mask)
        np.testing.assert_allclose(filled[:, :1], alone, rtol=1e-4, atol=1e-4)

    def test_everything_known_and_float64(self, model):
        rain = np.random.default_rng(0).gamma(1.0, size=(4, 16, 16))
        filled = model.impute(rain, n_samples=None)
        assert filled.dtype == np.float64
        np.testing.assert_array_equal(filled, rain)

    def test_windows_stop_at_gaps(self, model, cube):
        two_days = xr.concat([cube[:3], cube[10:14]], "time")
        mask = np.arange(7) % 2 == 0
        filled = model.impute(two_days, mask[:, None, None])
        check_rain(filled)
        np.testing.assert_array_equal(filled.time, two_days.time)

    def test_wrong_masks(self, model, cube):
        with pytest.raises(ValueError, match=r"mask of shape \(3, 16, 16\) does not fit X"):
            model.impute(cube[:4], np.ones((3, 16, 16), bool))
        with pytest.raises(ValueError, match="mask must be boolean"):
            model.impute(cube[:4], np.ones((4, 16, 16)))
        with pytest.raises(ValueError, match="w_r"):
            model.impute(cube[:4], w_r=-1.0)


class TestForecastAndInterpolate:
    @pytest.mark.parametrize(("past", "horizon"), [(2, 2), (1, 3), (9, 1), (3, 7)])
    def test_forecast(self, model, cube, past, horizon):
        forecast = model.forecast(cube[:past], horizon, n_members=2)
        assert forecast.dims == ("realization", "time", "y", "x")
        assert forecast.shape == (2, horizon, 16, 16)
        check_rain(forecast)
        np.testing.assert_array_equal(forecast.time, cube.time[past : past + horizon])
        assert forecast.lead_time.values[0] == np.timedelta64(1, "h")

    def test_members_differ_and_are_reproducible(self, model, cube):
        past = cube[int(cube.mean(("y", "x")).argmax()) - 1 :][:2]
        first, again = (model.forecast(past, 2, n_members=2, random_state=1) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert (first[0] != first[1]).any()

    def test_only_frames_after_the_last_gap_count(self, model, cube):
        gappy = xr.concat([cube[:3], cube[10:12]], "time")
        np.testing.assert_array_equal(
            model.forecast(gappy, 2, random_state=0), model.forecast(cube[10:12], 2, random_state=0)
        )

    @pytest.mark.parametrize("horizon", [0, -1])
    def test_horizon_must_be_positive(self, model, cube, horizon):
        with pytest.raises(ValueError, match=f"horizon={horizon} must be an integer of at least 1"):
            model.forecast(cube[:2], horizon)

    def test_past_must_not_be_missing(self, model):
        past = np.ones((5, 16, 16))
        past[-2:] = np.nan
        with pytest.raises(ValueError, match="missing in all of its last 2 frames"):
            model.forecast(past, 2)

    def test_interpolate(self, model, cube):
        coarse = cube[:6:2]
        fine = model.interpolate(coarse, 2, n_samples=None)
        np.testing.assert_array_equal(fine.time, cube.time[:5])
        np.testing.assert_array_equal(fine[::2], coarse)
        check_rain(fine)

    def test_interpolate_refuses_gaps(self, model, cube):
        with pytest.raises(ValueError, match="gaps in time"):
            model.interpolate(xr.concat([cube[:3], cube[10:12]], "time"))


class TestFit:
    def test_reproducible(self, cube, model):
        again = PrecipDiffusion(**OPTIONS).fit(cube)
        for a, b in zip(model.network_.parameters(), again.network_.parameters(), strict=True):
            assert torch.equal(a, b)
        other = PrecipDiffusion(**{**OPTIONS, "random_state": 1}).fit(cube)
        assert not torch.equal(next(other.network_.parameters()), next(model.network_.parameters()))

    def test_parameters_are_stored_untouched(self):
        transformer = SqrtTransform()
        model = PrecipDiffusion(transformer, n_frames=4)
        assert model.get_params(deep=False)["transformer"] is transformer
        copy = clone(model)
        assert copy.transformer is not transformer
        assert not hasattr(copy, "network_")

    def test_unfitted(self, cube):
        model = PrecipDiffusion()
        for call in (
            model.sample,
            lambda: model.impute(cube),
            lambda: model.forecast(cube, 1),
            lambda: model.interpolate(cube),
            lambda: model.denoising_loss(cube),
            lambda: model.save("nowhere"),
        ):
            with pytest.raises(NotFittedError):
                call()

    @pytest.mark.parametrize(
        ("rain", "message"),
        [
            (np.ones((3, 8, 8)), "3 frame"),
            (np.full((8, 8, 8), np.nan), "missing everywhere"),
            (-np.ones((8, 8, 8)), "negative precipitation"),
            (np.full((8, 8, 8), np.inf), "infinite"),
            (np.ones((8, 8)), "must be of shape"),
        ],
    )
    def test_bad_rain(self, rain, message):
        with pytest.raises(ValueError, match=message):
            PrecipDiffusion(**OPTIONS).fit(rain)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n_frames", 0),
            ("network", "huge"),
            ("sampler", "euler"),
            ("latent_scaling", "none"),
            ("transformer", "cuberoot?"),
            ("max_time", 0),
            ("training__learning_rate", -1.0),
            ("batch_size", 0),
        ],
    )
    def test_bad_parameters(self, cube, name, value):
        with pytest.raises(ValueError, match=name):
            PrecipDiffusion(**OPTIONS).set_params(**{name: value}).fit(cube)

    def test_geography_needs_whole_fields(self, cube):
        with pytest.raises(ValueError, match=r"geography=True .* crop_size to at least 16"):
            PrecipDiffusion(**OPTIONS, crop_size=8, network=NetworkSettings(geography=True)).fit(
                cube
            )

    @pytest.mark.parametrize(
        "rain",
        [
            np.zeros((6, 8, 8)),
            np.ones((4, 9, 13), np.float16),
            np.ones((5, 8, 8), np.int32),
            np.where(np.arange(512).reshape(8, 8, 8) % 3 == 0, np.nan, 1.0),
        ],
        ids=["all dry", "non-square float16", "integers", "gaps everywhere"],
    )
    def test_ordinary_rain(self, rain):
        rain.setflags(write=False)
        model = PrecipDiffusion(**OPTIONS).fit(rain)
        check_rain(model.sample(1))

    def test_lazy_cube_is_like_a_loaded_one(self, cube, model):
        pytest.importorskip("dask")
        lazy = PrecipDiffusion(**OPTIONS).fit(cube.chunk({"time": 5}))
        np.testing.assert_array_equal(lazy.sample(1), model.sample(1))

    def test_calendar_of_360_days(self):
        cube = make_precipitation(8, (8, 8), calendar="360_day", start="2000-02-29", random_state=0)
        model = PrecipDiffusion(**OPTIONS).fit(cube)
        forecast = model.forecast(cube, 30)
        assert isinstance(forecast.time.values[0], cftime.Datetime360Day)
        assert forecast.time.values[-1].strftime("%m-%d") in ("02-30", "03-01")

    def test_range_scaling_caps_at_the_largest_rate(self, cube):
        model = PrecipDiffusion(**OPTIONS, latent_scaling="range").fit(cube)
        low, high = model.latent_.bounds
        assert low == pytest.approx(-1)
        assert high == pytest.approx(1)
        assert model.sample(4).max() <= cube.max()

    def test_crops(self, cube):
        model = PrecipDiffusion(**OPTIONS, crop_size=8).fit(cube)
        assert model.sample(1).shape == (1, 4, 8, 8)
        assert model.forecast(cube[:2], 2).shape == (1, 2, 16, 16)


class TestInterruption:
    def test_warm_start_in_a_new_process_ends_with_the_same_bits(self, cube, model, tmp_path):
        options = {**OPTIONS, "checkpoint_dir": tmp_path, "warm_start": True}
        PrecipDiffusion(**{**options, "max_steps": 2}).fit(cube)
        resumed = PrecipDiffusion(**options).fit(cube)
        assert resumed.n_iter_ == 3
        np.testing.assert_array_equal(resumed.sample(1), model.sample(1))

    def test_warm_start_of_the_same_object(self, cube, model):
        first = PrecipDiffusion(**{**OPTIONS, "max_steps": 2, "warm_start": True}).fit(cube)
        first.set_params(max_steps=3).fit(cube)
        np.testing.assert_array_equal(first.sample(1), model.sample(1))

    def test_ctrl_c_keeps_what_was_learnt(self, cube, model, tmp_path, monkeypatch):
        from skdiffuse.training import Trainer

        one_step = Trainer._one_step

        def interrupted(self):
            if self.step == 2:
                raise KeyboardInterrupt
            return one_step(self)

        options = {**OPTIONS, "checkpoint_dir": tmp_path, "warm_start": True}
        stopped = PrecipDiffusion(**options)
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_one_step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                stopped.fit(cube)
        assert stopped.n_iter_ == 2
        check_rain(stopped.sample(1))
        np.testing.assert_array_equal(
            PrecipDiffusion(**options).fit(cube).sample(1), model.sample(1)
        )

    def test_full_disk(self, cube, model, tmp_path, monkeypatch):
        options = {**OPTIONS, "checkpoint_dir": tmp_path, "warm_start": True}
        PrecipDiffusion(**{**options, "max_steps": 2}).fit(cube)

        def disk_is_full(descriptor):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", disk_is_full)
            with pytest.raises(OSError, match="No space left"):
                PrecipDiffusion(**options).fit(cube)
        np.testing.assert_array_equal(
            PrecipDiffusion(**options).fit(cube).sample(1), model.sample(1)
        )


class TestKeeping:
    def test_save_and_load(self, model, cube, tmp_path):
        model.save(tmp_path / "model.safetensors")
        back = PrecipDiffusion.load(tmp_path / "model.safetensors")
        xr.testing.assert_identical(back.sample(2, random_state=1), model.sample(2, random_state=1))
        xr.testing.assert_identical(
            back.forecast(cube[:2], 1, random_state=1), model.forecast(cube[:2], 1, random_state=1)
        )
        assert back.history_ == model.history_

    def test_pickle(self, model):
        back = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(back.sample(1), model.sample(1))

    def test_foreign_files(self, tmp_path):
        (tmp_path / "x").write_bytes(b"not a model")
        with pytest.raises(ValueError, match="truncated or not a safetensors file"):
            PrecipDiffusion.load(tmp_path / "x")
        with pytest.raises(FileNotFoundError):
            PrecipDiffusion.load(tmp_path / "absent")


def test_denoising_loss_of_an_untrained_model_is_that_of_the_mean_predictor(cube):
    """At unit variance E|v|^2 = alpha^2 + sigma^2 = 1, and the network starts at v_hat = 0."""
    options = {
        **OPTIONS,
        "max_steps": 1,
        "training": TrainingSettings(learning_rate=1e-12),
        "network": NetworkSettings(skip=None),
    }
    model = PrecipDiffusion(**options).fit(cube)
    assert model.denoising_loss(cube, n_draws=200) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("skip", ["wiener", "mixture"])
def test_training_improves_on_the_linear_filter(skip):
    """On frames that were not trained on."""
    rain = make_precipitation(250, (16, 16), random_state=0)
    untrained = {"training": TrainingSettings(learning_rate=1e-12), "max_steps": 1}
    filtered = PrecipDiffusion(
        **{**OPTIONS, **untrained, "network": NetworkSettings(skip="wiener")}
    )
    linear = filtered.fit(rain[:200]).denoising_loss(rain[200:], n_draws=10)
    trained = PrecipDiffusion(**{**OPTIONS, "max_steps": 80}, network=NetworkSettings(skip=skip))
    assert linear < 0.6
    assert trained.fit(rain[:200]).denoising_loss(rain[200:], n_draws=10) < 0.9 * linear


def test_real_rain(real_data):
    rain = open_cube(real_data / "mrms_qpe01h_west_4km_20160920-22.nc")
    model = PrecipDiffusion(**OPTIONS, crop_size=16).fit(rain)
    forecast = model.forecast(rain[40:42, 100:132, 200:240], 2)
    check_rain(forecast)
    assert forecast.shape == (1, 2, 32, 40)
    assert "lat" in forecast.coords


class TestJointTraining:
    """The learnt transform trained together with the network."""

    OPTIONS = OPTIONS | {"transformer": LearntMonotoneTransform(max_iter=50, mask_below=0.1)}

    def test_transform_moves_and_is_frozen(self, cube):
        fixed = PrecipDiffusion(
            **self.OPTIONS, training=TrainingSettings(train_transformer=False)
        ).fit(cube)
        joint = PrecipDiffusion(**self.OPTIONS).fit(cube)
        # The start of the one is the other: same seed, same fit.
        assert joint.latent_.centre == fixed.latent_.centre
        assert joint.latent_.scale == fixed.latent_.scale
        assert np.abs(joint.transformer_.raw2_ - fixed.transformer_.raw2_).max() > 1e-5
        assert joint.latent_.transformer is joint.transformer_
        curve = joint._preparation.trainer.averaged.curve
        rates = torch.tensor([[0.0, 0.02, 0.5, 3.0, 40.0]])
        np.testing.assert_allclose(
            joint.transformer_.transform(rates), curve(rates)[0].detach(), rtol=1e-4
        )
        assert "stretch_loss" in joint.history_[0]
        assert "stretch_loss" not in fixed.history_[0]
        check_rain(joint.sample(1))

    def test_by_name_and_reproducible(self, cube):
        options = {**OPTIONS, "transformer": "learnt", "max_steps": 1, "latent_scaling": "range"}
        first, again = (PrecipDiffusion(**options).fit(cube) for _ in range(2))
        np.testing.assert_array_equal(first.sample(1), again.sample(1))
        low, high = first.latent_.bounds
        assert (low, high) == (pytest.approx(-1), pytest.approx(1))

    def test_resumed_training_ends_with_the_same_bits(self, cube, tmp_path):
        straight = PrecipDiffusion(**self.OPTIONS).fit(cube)
        options = {**self.OPTIONS, "checkpoint_dir": tmp_path, "warm_start": True}
        PrecipDiffusion(**{**options, "max_steps": 2}).fit(cube)
        resumed = PrecipDiffusion(**options).fit(cube)
        assert resumed.n_iter_ == 3
        np.testing.assert_array_equal(resumed.transformer_.raw1_, straight.transformer_.raw1_)
        np.testing.assert_array_equal(resumed.sample(1), straight.sample(1))

    def test_saved_as_frozen(self, cube, tmp_path):
        model = PrecipDiffusion(**self.OPTIONS).fit(cube)
        model.save(tmp_path / "m")
        back = PrecipDiffusion.load(tmp_path / "m")
        np.testing.assert_array_equal(
            back.sample(1, random_state=1), model.sample(1, random_state=1)
        )


@pytest.fixture(scope="module")
def known(cube):
    rain = cube[:4]
    mask = np.random.default_rng(0).random(rain.shape) < 0.5
    return rain, rain.copy(data=mask)


class TestMasksByName:
    """On square fields nothing but names and labels can tell a mask's layout."""

    def test_layout_changes_nothing(self, model, known):
        rain, mask = known
        expected = model.impute(rain, mask.values, random_state=1)
        for laid_out in (
            mask.transpose("x", "time", "y"),
            mask.isel(y=slice(None, None, -1)),
            mask.sortby("time", ascending=False).transpose("y", "x", "time"),
        ):
            xr.testing.assert_identical(model.impute(rain, laid_out, random_state=1), expected)

    def test_frames_known_as_a_whole(self, model, known):
        rain, _ = known
        whole = xr.DataArray([True, False, False, True], dims="time", coords={"time": rain.time})
        expected = model.impute(rain, whole.values[:, None, None], random_state=1)
        xr.testing.assert_identical(model.impute(rain, whole, random_state=1), expected)

    def test_other_places_are_refused(self, model, known):
        rain, mask = known
        with pytest.raises(ValueError, match="mask"):
            model.impute(rain, mask.assign_coords(x=mask.x + 1000.0))
        with pytest.raises(ValueError, match="mask"):
            model.impute(rain, mask.rename(x="column"))
