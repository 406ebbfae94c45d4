import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiffuse.cubes import CropSampler
from skdiffuse.datasets import make_precipitation


@pytest.fixture(scope="module")
def rain():
    return make_precipitation(
        24, (72, 96), wet_fraction=0.05, correlation_length=5.0, n_gaps=2, random_state=0
    )


def test_tiles_cover_the_domain_once(rain):
    sampler = CropSampler(rain.values, 24, n_frames=6)
    assert len(sampler) == 4 * 3 * 4
    seen = np.zeros(rain.shape, dtype=int)
    for i, (_, t, y, x) in enumerate(sampler.positions):
        seen[t : t + 6, y : y + 24, x : x + 24] += 1
        np.testing.assert_array_equal(sampler[i], rain.values[t : t + 6, y : y + 24, x : x + 24])
    assert np.all(seen == 1)


@pytest.mark.parametrize("wet_bias", [0.0, 0.5, 0.9])
def test_weights_undo_the_preference_exactly(rain, wet_bias):
    """The expectation over draws, computed and not sampled, is the climatology."""
    sampler = CropSampler(rain.values, 24, n_frames=6, wet_bias=wet_bias)
    assert sampler.probabilities.sum() == pytest.approx(1)
    means = np.array([sampler[i].mean(dtype=np.float64) for i in range(len(sampler))])
    weighted = np.sum(sampler.probabilities * sampler.weights * means)
    assert weighted == pytest.approx(rain.values.mean(dtype=np.float64))
    unweighted = np.sum(sampler.probabilities * means)
    assert (unweighted > 1.2 * weighted) == (wet_bias > 0)
    assert sampler.weights.max() <= 1 / (1 - wet_bias) + 1e-9


def test_drawn_means_agree_within_their_error(rain):
    sampler = CropSampler(rain.values, 24, n_frames=6)
    crops, weights = sampler.draw(2000, random_state=1)
    products = weights * crops.mean((1, 2, 3), dtype=np.float64)
    error = products.std() / np.sqrt(2000)
    assert abs(products.mean() - rain.values.mean(dtype=np.float64)) < 3 * error
    again = sampler.draw(3, random_state=1)[0]
    np.testing.assert_array_equal(again, crops[:3])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 5), st.integers(1, 12))
def test_wet_and_valid_shares_are_those_of_the_crops(seed, size, n_frames, stride):
    rng = np.random.default_rng(seed)
    X = np.maximum(rng.normal(size=(2, 6, 9, 11)), 0)
    X[rng.random(X.shape) < 0.1] = np.nan
    sampler = CropSampler(X, size, n_frames, stride=stride, frame_stride=1, min_valid=0.0)
    for i in range(len(sampler)):
        crop = sampler[i]
        assert crop.shape == (n_frames, size, size)
        assert sampler.wet_fraction[i] == pytest.approx(np.mean(crop >= 0.1))
    whole = CropSampler(np.nan_to_num(X), size, n_frames, stride=stride, frame_stride=1)
    assert len(whole) == len(sampler)


def test_missing_data_and_gaps_are_kept_out(rain):
    hidden = rain.copy()
    hidden[:, :24] = np.nan
    sampler = CropSampler(hidden, 24, n_frames=3)
    assert set(sampler.positions[:, 2]) == {24, 48}
    breaks = np.flatnonzero(np.diff(rain.time) > np.timedelta64(1, "h"))
    starts = np.unique(sampler.positions[:, 1])
    assert not any(a <= b < a + 2 for a in starts for b in breaks)
    with pytest.raises(ValueError, match="the best has 50%"):
        CropSampler(hidden[:, :48], 48, n_frames=3)


def test_lazy_and_all_dry():
    X = da.zeros((6, 20, 20), chunks=(1, 20, 20))
    sampler = CropSampler(X, 10, n_frames=3)
    np.testing.assert_allclose(sampler.weights, 1)
    assert sampler.draw(2, random_state=0)[0].max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 100}, "does not fit"),
        ({"size": 8, "wet_bias": 1.0}, "wet_bias"),
        ({"size": 8, "min_valid": 2}, "min_valid"),
        ({"size": 8, "stride": 0}, "stride"),
        ({"size": 8, "n_frames": 100}, "n_frames=100"),
    ],
)
def test_bad_parameters(rain, options, message):
    with pytest.raises(ValueError, match=message):
        CropSampler(rain, **options)
