"""Series, totals and probabilities of one place, beside loops over members."""

import io

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import binom, binomtest

from skdiffuse.answers import PlaceForecast, point_forecast
from skdiffuse.plotting import PlaceForecastDisplay


def rain(members=7, frames=9, weights=None, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.gamma(0.4, 2.0, size=(members, frames, 3, 4))
    coords = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(frames) * np.timedelta64(30, "m")
    }
    if weights is not None:
        coords["weight"] = ("realization", weights)
    return xr.DataArray(values, coords, ("realization", "time", "y", "x"))


@pytest.fixture
def place():
    return point_forecast(rain(), cell=(1, 2))


def test_totals_are_sums_of_frames(place):
    x = place.series.values
    found = place.totals("2h")
    for k in range(6):
        np.testing.assert_allclose(
            found[:, k], 0.5 * (x[:, k] + x[:, k + 1] + x[:, k + 2] + x[:, k + 3])
        )
    assert found.time.values[0] == place.series.time.values[3]
    assert found.attrs["units"] == "mm"
    np.testing.assert_allclose(place.totals().values[:, 0], 0.5 * x.sum(1))


def test_one_member_of_many_and_one_frame():
    cube = rain(weights=np.arange(1.0, 8.0)).assign_coords(realization=np.arange(7))
    alone = point_forecast(cube[3], cell=(1, 2))
    np.testing.assert_array_equal(alone.series.values, cube.values[3:4, :, 1, 2])
    with pytest.raises(ValueError, match="has one frame, of unknown length"):
        point_forecast(cube[:, :1], cell=(1, 2))
    assert point_forecast(cube[:, :1], cell=(1, 2), step="30min").step == 0.5


def test_a_shower_leaves_nothing_in_later_totals():
    """Differences of running sums would leave rounding, and rain of a millionth."""
    values = np.zeros((1, 6, 1, 1))
    values[0, 0] = 0.1
    values[0, 1] = 0.7
    totals = point_forecast(values, cell=(0, 0), step="1h").totals("2h")
    assert (totals.values[0, 2:] == 0).all()


@pytest.mark.parametrize("duration", [None, "1h"])
@pytest.mark.parametrize("within", [None, "2h"])
def test_probabilities_are_shares_of_members(place, duration, within):
    x = place.series.values
    n = 1 if duration is None else 2
    windows = [
        [row[k : k + n].sum() * (0.5 if duration else 1) for k in range(10 - n)] for row in x
    ]
    found = place.exceedance([0.5, 2.0], duration, within=within)
    for k, threshold in enumerate((0.5, 2.0)):
        over = np.array([[value >= threshold for value in row] for row in windows])
        if within:
            over = over[:, : 4 - n + 1].any(axis=1, keepdims=True)
        counts = over.sum(0)
        np.testing.assert_allclose(np.ravel(found[k]), counts / 7)
        for j, count in enumerate(counts):
            wilson = binomtest(int(count), 7).proportion_ci(0.95, method="wilson")
            assert np.ravel(found[k].low)[j] == pytest.approx(wilson.low, abs=1e-12)
            assert np.ravel(found[k].high)[j] == pytest.approx(wilson.high, abs=1e-12)


def test_will_it_rain(place):
    by_hand = np.mean([(row[:6] >= 0.1).any() for row in place.series.values])
    assert float(place.will_it_rain("3h")) == pytest.approx(by_hand)
    assert place.will_it_rain("3h").dims == ()
    by_hand = np.mean([(row >= 3.0).any() for row in place.series.values])
    assert float(place.will_it_rain(threshold=3.0)) == pytest.approx(by_hand)


def test_weights_are_repetitions():
    """Whole weights: as if members were there several times."""
    weights = [1, 3, 2, 1, 1, 4, 1]
    weighted = point_forecast(rain(weights=weights), cell=(0, 0))
    repeated = point_forecast(
        rain().isel(realization=np.repeat(np.arange(7), weights)), cell=(0, 0)
    )
    for found, expected in (
        (weighted.exceedance([0.5, 2.0]), repeated.exceedance([0.5, 2.0])),
        (weighted.mean(), repeated.mean()),
    ):
        np.testing.assert_allclose(found.values, expected.values)
    levels = [0.1, 0.5, 0.9]
    inverted = np.quantile(repeated.series.values, levels, axis=0, method="inverted_cdf")
    np.testing.assert_allclose(weighted.quantiles(levels).values, inverted)


def test_intervals_of_weighted_members_hold_the_truth():
    """An event of 5 %, which half of the draws come from where it is likely: weighted, 95 %."""
    rng = np.random.default_rng(1)
    held, widths = [], []
    for n_rare in range(20, 41):
        rare = np.arange(60) < n_rare
        series = 2.0 * (
            rare[:, None] & (rng.random((60, int(4000 * binom.pmf(n_rare, 60, 0.5)))) < 0.5)
        )
        weights = ("realization", np.where(rare, 0.1 / 0.5, 0.9 / 0.5))
        dims = ("realization", "time")
        chance = PlaceForecast(xr.DataArray(series, {"weight": weights}, dims), 1.0).exceedance(1.0)
        held.append(((chance.low <= 0.05) & (chance.high >= 0.05)).values)
        widths.append((chance.high - chance.low).values)
    assert 0.93 < np.concatenate(held).mean() < 0.98
    # As many plain members, or as many as Kish's formula counts, would tell less.
    plain = binomtest(3, 60).proportion_ci(0.95, method="wilson")
    assert np.concatenate(widths).mean() < 0.7 * (plain.high - plain.low)


def test_quantiles_and_mean_leave_missing_members_out():
    values = rain().values
    values[2, 3] = np.nan
    values[:, 5] = np.nan
    place = point_forecast(values, cell=(1, 1), step="30min")
    x = values[:, :, 1, 1]
    np.testing.assert_allclose(place.quantiles([0.3])[0, 3], np.nanquantile(x[:, 3], 0.3))
    assert np.isnan(place.quantiles([0.3])[0, 5])
    np.testing.assert_allclose(place.mean()[3], np.nanmean(x[:, 3]))
    chance = place.exceedance(0.5)
    assert float(chance[3]) == pytest.approx(
        np.nanmean(np.where(np.isnan(x[:, 3]), np.nan, x[:, 3] >= 0.5))
    )
    assert np.isnan(chance[5]) and np.isnan(chance.low[5])
    # A member that is missing once has either exceeded elsewhere or is not known.
    hit = place.exceedance(0.5, within="2h")
    first = x[:, :4]
    known = (first >= 0.5).any(1) | np.isfinite(first).all(1)
    assert float(hit) == pytest.approx((first >= 0.5).any(1)[known].mean())


def test_tables(place, tmp_path):
    table = place.to_dataframe([0.5, 2.0], [0.1, 0.5], members=True)
    assert list(table)[:5] == ["mean", "q10", "q50", "p>=0.5", "p>=0.5 low"]
    np.testing.assert_allclose(table["member 3"], place.series.values[3])
    np.testing.assert_allclose(table["p>=2"], (place.series.values >= 2).mean(0))
    assert isinstance(table.index, pd.DatetimeIndex)
    place.to_csv(tmp_path / "here.csv", thresholds=[0.5])
    again = pd.read_csv(tmp_path / "here.csv", index_col="time", parse_dates=True)
    np.testing.assert_allclose(again["q50"], place.quantiles([0.5]).values[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.totals("45min"), "duration='45min' is no whole number of frames of 30 min"),
        (lambda p: p.totals("5h"), "duration='5h' is longer than the forecast, which has 9 frames"),
        (lambda p: p.totals("soon"), "duration='soon' must be a duration longer than 0"),
        (lambda p: p.exceedance(0.0), "above 0: mm/h"),
        (lambda p: p.exceedance([1, np.nan], "1h"), "must be above 0: mm over 1h"),
        (
            lambda p: p.exceedance(1.0, "2h", within="1h"),
            "within='1h' is shorter than duration='2h'",
        ),
        (lambda p: p.exceedance(1.0, confidence=95), "confidence=95 must lie between 0 and 1"),
        (lambda p: p.will_it_rain("3 weeks"), "within='3 weeks' must be a duration"),
        (lambda p: p.quantiles([1.5]), r"levels=\[1.5\] must be numbers from 0 to 1"),
    ],
)
def test_what_is_refused(place, call, message):
    with pytest.raises(ValueError, match=message):
        call(place)


def test_the_picture_shows_the_numbers(place):
    observed = place.series.values[0]
    shown = PlaceForecastDisplay.from_forecast(
        place, thresholds=[1.0, 4.0], duration="3h", observed=observed
    )
    left, right = shown.axes_
    median = left.get_lines()[0]
    np.testing.assert_allclose(median.get_xdata(), 0.5 * np.arange(1, 10))
    np.testing.assert_allclose(median.get_ydata(), np.median(place.series.values, axis=0))
    totals = 0.5 * place.series.values[:, :6].sum(1)
    heights = [bar.get_height() for bar in right.patches]
    np.testing.assert_allclose(heights, [100 * (totals >= t).mean() for t in (1.0, 4.0)])
    shown.figure_.savefig(io.BytesIO(), format="png")
    with pytest.raises(ValueError, match=r"observed has shape \(3,\), and the forecast 9 frames"):
        PlaceForecastDisplay.from_forecast(place, observed=[1, 2, 3])
