import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score

from skdiffuse.cubes import validate_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.model_selection import BlockSplit, EventSplit, SeasonSplit, check_leakage

CALENDARS = ["standard", "noleap", "360_day"]


def cube(n, freq="6h", calendar="360_day", start="1980-12-01"):
    times = xr.date_range(start, periods=n, freq=freq, calendar=calendar, use_cftime=True)
    values = np.arange(n, dtype="f4")[:, None, None] + np.arange(2.0, dtype="f4")
    return xr.DataArray(values, {"time": times}, ("time", "y", "x"))


def season(dates):
    return (dates.dt.year + (dates.dt.month == 12)) * 4 + dates.dt.month % 12 // 3


def test_every_fifth_season_as_in_the_dissertation():
    """60 years, 240 seasons: 48 of them, 12 of each kind, no two of one year."""
    parts = [cube(20 * 360, "1D", start=f"{year}-12-01") for year in (1980, 2020, 2060)]
    rain = xr.concat(parts, "time")
    train, test = next(SeasonSplit(n_splits=1).split(rain))
    numbers = np.unique(season(rain.time[test]))
    assert numbers.size == 48
    assert np.unique(numbers % 4, return_counts=True)[1].tolist() == [12] * 4
    assert np.unique(numbers // 4).size == 48
    assert test.size == 48 * 90
    # Whole seasons, in training as well, except for the guard of a day on either side.
    assert np.unique(season(rain.time[train])).size == 192
    assert not set(season(rain.time[train]).values) & set(numbers)
    first_test = rain.time[test[0]].item()
    assert (first_test.year, first_test.month, first_test.day) == (1981, 12, 1)


def splitters(draw):
    kind = draw(st.sampled_from([SeasonSplit, BlockSplit, EventSplit]))
    guard = draw(st.sampled_from(["0h", "6h", "2D", 30.0]))
    n_splits = draw(st.integers(2, 4))
    if kind is SeasonSplit:
        return SeasonSplit(n_splits, every=draw(st.integers(n_splits, 5)), guard=guard)
    if kind is BlockSplit:
        return BlockSplit(n_splits, block=draw(st.sampled_from([None, "20D", 480])), guard=guard)
    return EventSplit(n_splits, guard=guard)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_folds_and_windows_never_meet(data):
    """Test sets partition what they test with; guards hold; windows stay on their side."""
    calendar = data.draw(st.sampled_from(CALENDARS))
    rain = cube(5 * 360, "1D", calendar)
    keep = np.ones(rain.sizes["time"], dtype=bool)
    for start in data.draw(st.lists(st.integers(0, 1790), max_size=5)):
        keep[start : start + 20] = False
    rain = rain[keep]
    dry = np.arange(rain.sizes["time"]) % 15 < 5
    rain = rain.where(~xr.DataArray(dry, dims="time"), 0.0)
    splitter = splitters(data.draw)
    guard = {"0h": 0, "6h": 0.25, "2D": 2, 30.0: 1.25}[splitter.guard]
    days = np.array([(t - rain.time.values[0]).days for t in rain.time.values])
    n_frames = data.draw(st.integers(1, 8))
    seen = np.zeros(len(rain), dtype=int)
    splits = list(splitter.split(rain))
    assert len(splits) == splitter.get_n_splits(rain)
    for train, test in splits:
        seen[test] += 1
        distance = np.abs(days[train][:, None] - days[test][None, :]).min()
        assert distance > guard
        learnt, asked = (
            {
                day
                for _, a in part_cube.window_starts(n_frames)
                for day in days[part][a : a + n_frames]
            }
            for part in (train, test)
            for part_cube in [validate_cube(rain[part])]
        )
        assert not learnt & asked
    assert seen.max() == 1
    if not isinstance(splitter, SeasonSplit) or splitter.every == splitter.n_splits:
        assert seen.min() == 1


def test_events_are_never_cut():
    rain = cube(200, "1h") * 0
    spells = [(3, 9), (20, 24), (26, 31), (60, 80), (120, 121)]
    for a, b in spells:
        rain[a:b] = 2.0
    # 24 to 26 is too short a pause: these two are one event.
    for _, test in EventSplit(2).split(rain):
        for a, b in [(3, 9), (20, 31), (60, 80), (120, 121)]:
            inside = np.isin(np.arange(a, b), test)
            assert inside.all() or not inside.any()
    with pytest.raises(ValueError, match="no events"):
        next(EventSplit(2).split(rain * 0))


class Mean(BaseEstimator):
    """Just enough of an estimator: how far the test mean is from a shrunken training mean."""

    def __init__(self, shrink=1.0):
        self.shrink = shrink

    def fit(self, X, y=None):
        assert isinstance(X, xr.DataArray)
        self.mean_ = float(X.mean()) * self.shrink
        return self

    def score(self, X, y=None):
        return -abs(float(X.mean()) - self.mean_)


@pytest.mark.parametrize("splitter", [SeasonSplit(3, every=4), BlockSplit(3, block="30D")])
def test_with_scikit_learn(splitter):
    rain = cube(720, "1D")
    scores = cross_val_score(Mean(), rain, cv=splitter)
    by_hand = [Mean().fit(rain[a]).score(rain[b]) for a, b in splitter.split(rain)]
    np.testing.assert_allclose(scores, by_hand)
    search = GridSearchCV(Mean(), {"shrink": [0.1, 1.0]}, cv=splitter).fit(rain)
    assert search.n_splits_ == 3
    assert "guard" in repr(splitter)


def test_sequences_with_dates_as_groups():
    X = np.zeros((400, 5, 2, 2))
    begins = cube(400, "1D").time.values
    train, test = next(SeasonSplit(1, every=2).split(X, groups=begins))
    assert test.tolist() == list(range(90, 180)) + list(range(270, 360))
    assert train.max() == 399


def test_length_of_sequences_adds_to_the_guard():
    begins = cube(100, "1D").time.values
    X = xr.DataArray(
        np.zeros((100, 49, 1, 1)),
        {"begin": begins, "time": np.arange(49) * np.timedelta64(1, "h")},
        ("begin", "time", "y", "x"),
    )
    (_, _), (train, test) = BlockSplit(2, guard="12h").split(X)
    assert test[0] - train[-1] == 3


@pytest.mark.parametrize(
    ("X", "groups", "error", "message"),
    [
        (np.zeros((10, 2, 2)), None, TypeError, "numpy series"),
        (np.zeros((10, 2, 2)), cube(10).time.values, TypeError, "numpy series"),
        (np.zeros((10, 3, 2, 2)), None, TypeError, "no dates"),
        (np.zeros((10, 3, 2, 2)), np.arange(10), TypeError, "must be datetime64"),
        (np.zeros((10, 3, 2, 2)), cube(9).time.values, ValueError, "9 dates for 10"),
        (cube(10)[::-1], None, ValueError, "ascending"),
        (cube(10), None, ValueError, "nothing to t"),
    ],
)
def test_bad_input(X, groups, error, message):
    for splitter in (SeasonSplit(2, every=2), BlockSplit(2, guard="30D")):
        with pytest.raises(error, match=message):
            list(splitter.split(X, groups=groups))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SeasonSplit(6),
        lambda: SeasonSplit(0),
        lambda: SeasonSplit(1, every=1),
        lambda: BlockSplit(1),
        lambda: EventSplit(1),
    ],
)
def test_bad_parameters(make):
    with pytest.raises(ValueError, match=r"must be"):
        make()


@pytest.mark.parametrize("guard", ["soon", -1, None])
def test_bad_guard(guard):
    with pytest.raises(ValueError, match="guard must be a duration"):
        next(BlockSplit(2, guard=guard).split(cube(10)))


def test_leakage():
    rain = make_precipitation(300, (8, 8), calendar="360_day", random_state=0)
    for train, test in BlockSplit(3).split(rain):
        check_leakage(rain[train], rain[test])
    with pytest.raises(ValueError, match=r"test frame 0 .* 5 h from a training frame"):
        check_leakage(rain[:100], rain[104:])
    # Without dates, and shuffled: the values themselves give it away.
    sequences = rain.values.reshape(30, 10, 8, 8)
    check_leakage(sequences[:20], sequences[20:])
    with pytest.raises(ValueError, match=r"test frame \(0, 0\).* value by value"):
        check_leakage(sequences[:20], sequences[19:])
    # Dry frames are all the same and prove nothing.
    check_leakage(np.zeros((5, 8, 8)), np.zeros((5, 8, 8)))


def test_different_calendars_are_not_compared():
    with pytest.raises(ValueError, match="different calendars"):
        check_leakage(cube(10), cube(10, calendar="noleap"))
