import numpy as np
import pytest

from skdiffuse.baselines import Climatology, Persistence
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
