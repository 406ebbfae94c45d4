import numpy as np
import pytest

from skdiffuse.baselines import Advection, Climatology, LinearInterpolation, Persistence, Steps
from skdiffuse.baselines._motion import motion
from skdiffuse.datasets import make_precipitation


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(20, (12, 10), random_state=0)


def test_persistence(cube):
    forecast = Persistence().fit(cube).forecast(cube[:5], 3, n_members=2)
    assert forecast.shape == (2, 3, 12, 10)
    np.testing.assert_array_equal(forecast.time, cube.time[5:8])
    for member in forecast.values:
        for frame in member:
            np.testing.assert_array_equal(frame, cube.values[4])


def test_climatology_draws_training_sequences(cube):
    small = cube[:4, :6, :5]
    forecast = Climatology(random_state=0).fit(cube).forecast(small, 3, n_members=6)
    assert forecast.shape == (6, 3, 6, 5)
    windows = np.lib.stride_tricks.sliding_window_view(cube.values, (3, 6, 5)).reshape(-1, 3, 6, 5)
    for member in forecast.values:
        assert (windows == member).all(axis=(1, 2, 3)).any()


def test_climatology_is_reproducible_and_independent_of_the_past(cube):
    climatology = Climatology().fit(cube)
    first = climatology.forecast(cube[:2], 3, n_members=4, random_state=1)
    again = climatology.forecast(cube[5:7], 3, n_members=4, random_state=1)
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(first, axis=0)) > 1


def test_climatology_refuses_what_it_cannot_draw(cube):
    climatology = Climatology().fit(cube[:, :6])
    with pytest.raises(ValueError, match="larger than"):
        climatology.forecast(cube, 2)
    with pytest.raises(ValueError, match="horizon=21 is longer"):
        climatology.forecast(cube[:, :6], 21)


def moving_blob(n_frames, speed, shape=(48, 40), start=(20.0, 10.0), width=4.0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    frames = [
        5
        * np.exp(
            -((y - start[0] - speed[0] * t) ** 2 + (x - start[1] - speed[1] * t) ** 2)
            / 2
            / width**2
        )
        for t in range(n_frames)
    ]
    return np.array(frames, np.float32).clip(0.05) - 0.05


class TestAdvection:
    @pytest.mark.parametrize("speed", [(0.0, 2.0), (-1.5, 0.7), (3.0, 4.0), (0.0, 0.0)])
    def test_a_blob_goes_on_moving(self, speed):
        truth = moving_blob(6, speed)
        forecast = Advection(noise=False).fit(truth).forecast(truth[:3], 3, n_members=2)
        assert forecast.shape == (2, 3, 48, 40)
        persistence = Persistence().fit(truth).forecast(truth[:3], 3)
        for lead in range(3):
            error = np.abs(forecast[0, lead] - truth[3 + lead]).mean()
            if any(speed):
                assert error < 0.2 * np.abs(persistence[0, lead] - truth[3 + lead]).mean()
            else:
                assert error < 0.01

    def test_members_forget(self):
        rain = make_precipitation(9, (48, 48), random_state=0)
        forecast = Advection(random_state=0).fit(rain).forecast(rain[:5], 4, n_members=10)
        values = np.asarray(forecast)
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        spread = values.std(0).mean((1, 2))
        assert spread[3] > spread[0] > 0
        np.testing.assert_array_equal(forecast.time, rain.time[5:9])

    def test_reproducible(self, cube):
        first, again, other = (
            Advection().forecast(cube[:3], 2, n_members=2, random_state=seed) for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    @pytest.mark.parametrize("noise", [True, False])
    def test_dry_missing_and_single_frames(self, noise):
        advection = Advection(noise=noise, random_state=0)
        assert (advection.forecast(np.zeros((3, 9, 7)), 2) == 0).all()
        wet_after_dry = np.zeros((3, 16, 16))
        wet_after_dry[2, 4:8, 4:8] = 2.0
        gappy = moving_blob(3, (0.0, 1.0), (16, 16), (8.0, 8.0))
        gappy[:, :3] = np.nan
        for past in (wet_after_dry, wet_after_dry[2:], gappy, wet_after_dry[::-1]):
            forecast = advection.forecast(past, 3, n_members=2)
            assert np.isfinite(forecast).all()
            # Nothing is wetter than the last frame, whose rates noise gives to other cells.
            assert forecast.min() >= 0 and forecast.max() <= np.nanmax(past[-1]) + 1e-5
            if not noise:
                np.testing.assert_array_equal(forecast[0], forecast[1])
        if not noise:
            one_frame = advection.forecast(wet_after_dry[2:], 2)
            np.testing.assert_allclose(one_frame[0], wet_after_dry[[2, 2]], atol=1e-6)

    def test_motion_is_that_of_pysteps(self):
        pysteps = pytest.importorskip("pysteps")
        pytest.importorskip("cv2")
        from pysteps.motion import get_method

        assert pysteps
        frames = np.log(np.maximum(moving_blob(3, (1.0, 2.0)), 0.1))
        theirs = get_method("LK")(frames)
        ours = motion(frames)
        wet = frames[-1] > np.log(0.5)
        assert ours[1][wet].mean() == pytest.approx(theirs[0][wet].mean(), abs=0.2)
        assert ours[0][wet].mean() == pytest.approx(theirs[1][wet].mean(), abs=0.2)


class TestSteps:
    def test_interface_and_dry_input(self, cube):
        pytest.importorskip("pysteps")
        rain = make_precipitation(4, (48, 48), random_state=0)
        forecast = Steps(random_state=0).fit(rain).forecast(rain[:3], 2, n_members=3)
        assert forecast.shape == (3, 2, 48, 48)
        assert np.isfinite(forecast).all()
        assert (forecast >= 0).all()
        assert (forecast[0] != forecast[1]).any()
        assert (forecast[0] != rain[2].values).any()
        for past in (np.zeros((3, 32, 32)), rain[:1], rain.where(rain.x > rain.x[4])[:3]):
            assert np.isfinite(Steps().forecast(past, 2)).all()

    def test_what_comes_from_outside_is_not_dry(self):
        """A field of the same rain everywhere that moves in from the left stays wet there."""
        pytest.importorskip("pysteps")
        rain = make_precipitation(1, (48, 96), random_state=0, correlation_length=8.0).values[0]
        rain = 2 + 8 * rain / rain.max()
        past = np.stack([rain[:, 32 - 4 * k : 80 - 4 * k] for k in range(3)])
        forecast = Steps(random_state=0).forecast(past, 4, n_members=2)
        assert forecast[..., :12].min() > 0

    def test_without_pysteps(self, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "pysteps", None)
        with pytest.raises(ImportError, match="pip install pysteps"):
            Steps().forecast(np.ones((3, 8, 8)), 1)


def test_linear_interpolation(cube):
    refined = LinearInterpolation().fit(cube).interpolate(cube[:4:2], n_samples=2)
    assert refined.shape == (2, 3, 12, 10)
    np.testing.assert_array_equal(refined.time, cube.time[:3])
    np.testing.assert_allclose(refined[1, 1], 0.5 * (cube[0].values + cube[2].values), rtol=1e-6)
    missing = cube[:4:2].copy()
    missing[1] = np.nan
    np.testing.assert_array_equal(LinearInterpolation().interpolate(missing)[0, 0], cube[0])
