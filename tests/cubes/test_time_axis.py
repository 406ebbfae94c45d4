from datetime import timedelta

import cftime
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse.cubes.time_axis import (
    calendar_of,
    extend_times,
    find_breaks,
    refine_times,
    refuse_mixed_steps,
    step_lengths,
)

HOUR = 3600.0
calendars = st.sampled_from(["standard", "noleap", "360_day", "datetime64"])


def hourly(calendar, hours):
    if calendar == "datetime64":
        return np.datetime64("2000-02-27", "ns") + np.array(hours) * np.timedelta64(1, "h")
    start = cftime.datetime(2000, 2, 27, calendar=calendar)
    return np.array([start + timedelta(hours=int(h)) for h in hours])


@given(calendars, st.sets(st.integers(0, 60), min_size=1).map(sorted))
def test_breaks_are_where_hours_are_missing(calendar, hours):
    times = hourly(calendar, hours)
    np.testing.assert_allclose(step_lengths(times), np.diff(hours) * HOUR)
    breaks, step = find_breaks(times)
    if len(hours) == 1:
        assert step is None
    else:
        np.testing.assert_array_equal(breaks, np.diff(hours) * HOUR != step)


def test_360_day_february_has_thirty_days():
    times = np.array([cftime.Datetime360Day(2000, 2, d) for d in (28, 29, 30)])
    breaks, step = find_breaks(np.append(times, cftime.Datetime360Day(2000, 3, 1)))
    assert not breaks.any()
    assert step == 86400


def test_real_february_29_is_a_gap_in_noleap_but_not_in_standard():
    noleap = np.array([cftime.DatetimeNoLeap(2000, 2, 27), cftime.DatetimeNoLeap(2000, 2, 28)])
    noleap = np.append(noleap, cftime.DatetimeNoLeap(2000, 3, 1))
    assert not find_breaks(noleap)[0].any()
    standard = np.array(["2000-02-27", "2000-02-28", "2000-03-01"], dtype="datetime64[ns]")
    np.testing.assert_array_equal(find_breaks(standard)[0], [False, True])


@pytest.mark.parametrize(
    ("hours", "message"), [([0, 1, 1, 2], "repeated"), ([0, 2, 1, 3], "out of order")]
)
def test_bad_order(hours, message):
    with pytest.raises(ValueError, match=message):
        find_breaks(hourly("360_day", hours))


def test_missing_time():
    with pytest.raises(ValueError, match="NaT"):
        find_breaks(np.array(["2000-01-01", "NaT"], dtype="datetime64[ns]"))


def test_jitter_of_a_radar_clock_is_no_break():
    seconds = np.array([0, 300, 601, 899, 1200])
    times = np.datetime64("2016-09-28T12:00", "ns") + seconds * np.timedelta64(1, "s")
    assert not find_breaks(times)[0].any()


def test_mixed_steps_are_refused_and_gaps_are_not():
    refuse_mixed_steps(hourly("360_day", [0, 1, 2, 10, 11]))
    with pytest.raises(ValueError, match="mixed"):
        refuse_mixed_steps(hourly("360_day", [0, 3, 6, 9, 10]))
    with pytest.raises(ValueError, match="mixed"):
        refuse_mixed_steps(hourly("360_day", [0, 1, 3, 6, 10]))


@given(calendars, st.integers(1, 40), st.integers(1, 30))
def test_extending_is_slicing_a_longer_axis(calendar, n, more):
    longer = hourly(calendar, range(n + more))
    np.testing.assert_array_equal(extend_times(longer[:n], more, HOUR), longer[n:])


@given(calendars, st.integers(2, 20), st.integers(1, 6))
def test_refining_and_thinning_is_the_identity(calendar, n, factor):
    times = hourly(calendar, range(n))
    fine = refine_times(times, factor)
    assert fine.size == (n - 1) * factor + 1
    np.testing.assert_array_equal(fine[::factor], times)
    np.testing.assert_allclose(step_lengths(fine), HOUR / factor)


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_calendar(calendar):
    assert calendar_of(hourly(calendar, [0, 1])) == calendar
    assert calendar_of(np.arange(3)) is None
