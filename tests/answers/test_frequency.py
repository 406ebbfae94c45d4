"""Depth-duration-frequency curves beside laws that are known and counts of events."""

import numpy as np
import pytest
import xarray as xr

from skdiffuse.answers import PlaceForecast, depth_duration_frequency

HOURS = 24 * 365.25


def place(values, weights=None, step=1.0):
    coords = {} if weights is None else {"weight": ("realization", weights)}
    return PlaceForecast(xr.DataArray(values, coords, ("realization", "time")), step)


def showers(n, frames, rate, scale, seed):
    """Showers of one frame at random, with exponential depths."""
    rng = np.random.default_rng(seed)
    return rng.exponential(scale, (n, frames)) * (rng.random((n, frames)) < rate)


def test_depths_of_a_known_law():
    """Showers of more than z come with rate exp(-z / scale) times theirs."""
    rate, scale = 0.01, 5.0
    found = depth_duration_frequency(
        place(showers(3000, 240, rate, scale, 0)), ["1h"], ["50d", "500d"], n_resamples=100
    )
    for k, days in enumerate((50, 500)):
        depth = scale * np.log(24 * days * rate)
        assert float(found[0, k]) == pytest.approx(depth, rel=0.08)
        assert float(found.low[0, k]) < depth < float(found.high[0, k])


def test_a_long_series_is_cut_into_blocks():
    values = showers(2, 12_000, 0.01, 5.0, 1)
    cut = values[:, : 50 * 240].reshape(-1, 240)
    options = {"n_resamples": 20}
    found = depth_duration_frequency(place(values), ["3h"], ["60d"], block="10d", **options)
    expected = depth_duration_frequency(place(cut), ["3h"], ["60d"], **options)
    np.testing.assert_array_equal(found.values, expected.values)


def test_maxima_by_hand():
    values = showers(40, 48, 0.2, 3.0, 2)
    found = depth_duration_frequency(place(values, step=0.5), ["1h", "6h"], ["8d"], n_resamples=5)
    above = 1 - np.exp(-24 / (8 * 24))
    for k, n in enumerate((2, 12)):
        maxima = sorted(max(0.5 * row[j : j + n].sum() for j in range(49 - n)) for row in values)
        at = int(np.ceil((1 - above) * 40)) - 1
        assert float(found[k, 0]) == pytest.approx(maxima[at])


def test_weights_undo_what_was_drawn_too_often():
    plain = showers(4000, 24, 0.02, 5.0, 3)
    wet = plain.max(1) > 0
    # Wet sequences five times as often as dry ones.
    rng = np.random.default_rng(4)
    chosen = np.r_[np.flatnonzero(wet), rng.choice(np.flatnonzero(~wet), int((~wet).sum() / 5))]
    weights = np.where(wet[chosen], 1.0, 5.0)
    options = {"durations": ["1h", "3h"], "periods": ["20d", "200d"], "n_resamples": 50}
    found = depth_duration_frequency(place(plain[chosen], weights), **options)
    expected = depth_duration_frequency(place(plain), **options)
    np.testing.assert_allclose(found.values, expected.values, rtol=0.02)
    biased = depth_duration_frequency(place(plain[chosen]), **options)
    assert (biased.values > 1.1 * expected.values).any()


def test_longer_stretches_and_rarer_events_are_deeper():
    found = depth_duration_frequency(
        place(showers(300, 72, 0.1, 3.0, 5)), ["1h", "3h", "12h", "48h"], ["5d", "30d", "300d"],
        n_resamples=10,
    )  # fmt: skip
    assert (found.diff("duration") >= 0).all() and (found.diff("period") >= 0).all()
    assert (found.low <= found).all() and (found <= found.high).all()


def test_beyond_what_was_seen():
    values = showers(100, 240, 0.01, 5.0, 6)
    # 1000 days in all.
    empirical = depth_duration_frequency(place(values), ["1h"], ["100d", "5000d"], n_resamples=5)
    assert np.isfinite(empirical[0, 0]) and np.isnan(empirical[0, 1])
    fitted = depth_duration_frequency(
        place(values), ["1h"], ["100d", "5000d"], method="gev", n_resamples=20
    )
    # The law of these showers: 5 mm times the logarithm of their number.
    assert float(fitted[0, 1]) == pytest.approx(5 * np.log(5000 * 24 * 0.01), rel=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"durations": ["90min"]}, "duration=1.5 is no whole number of frames"),
        ({"durations": ["2d"]}, "duration=48.0 is longer than the forecast"),
        ({"periods": [0]}, "periods=0.0 must be a duration"),
        ({"block": "3d"}, "block='3d' must be from one to all of the 24 frames"),
        ({"method": "gumbel"}, "method='gumbel' must be 'empirical' or 'gev'"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        depth_duration_frequency(
            place(showers(30, 24, 0.1, 3.0, 7)), **({"durations": ["1h"], "periods": [1]} | options)
        )
