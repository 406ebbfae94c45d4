"""Time axes of any calendar: steps, breaks, and axes made from other axes."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import timedelta

import numpy as np
import xarray as xr

# Radar clocks and float32 "hours since" jitter by less than this share of a step, or by a second
# at either end of it, as long as that is a small part of the step.
_STEP_TOLERANCE = 0.01
_CLOCK_SECONDS = 2.0
_LARGEST_TOLERANCE = 0.1

# Attribute of a time coordinate: from when to when a value counts, in hours from its time.
BOUNDS_OFFSET = "bounds_offset_hours"


def is_time_like(values: np.ndarray) -> bool:
    """Whether an array holds datetime64, timedelta64 or cftime values."""
    values = np.asarray(values)
    if values.dtype.kind in "mM":
        return True
    return values.dtype == object and values.size > 0 and hasattr(values.flat[0], "calendar")


def step_lengths(times: np.ndarray) -> np.ndarray:
    """Lengths of the steps between consecutive times, in seconds.

    Parameters
    ----------
    times : ndarray of shape (n_times,)
        datetime64, timedelta64, cftime objects of one calendar, or plain numbers (taken as
        counts, so that their "seconds" are steps).

    Returns
    -------
    ndarray of shape (n_times - 1,), float64

    Examples
    --------
    >>> import cftime, numpy as np
    >>> date = cftime.Datetime360Day
    >>> step_lengths(np.array([date(2000, 2, 29), date(2000, 3, 1)]))
    array([172800.])
    """
    times = np.asarray(times)
    steps = np.diff(times)
    if times.dtype.kind in "mM":
        return steps / np.timedelta64(1, "s")
    if times.dtype == object:
        return np.array([step.total_seconds() for step in steps], dtype=np.float64)
    return steps.astype(np.float64)


def step_tolerance(step: float) -> float:
    """By how many seconds steps of clocks may differ and be one.

    Examples
    --------
    >>> step_tolerance(3600.0), step_tolerance(60.0), step_tolerance(1.0)
    (36.0, 2.0, 0.1)
    """
    return max(_STEP_TOLERANCE * step, min(_CLOCK_SECONDS, _LARGEST_TOLERANCE * step))


def find_breaks(
    times: np.ndarray, *, name: str = "X", dim: Hashable = "time"
) -> tuple[np.ndarray, float | None]:
    """Where the time axis is interrupted, and its regular step.

    The regular step is the most frequent one (the shorter of two equally frequent ones); a
    step that is longer is a gap, and no window may span it.

    Parameters
    ----------
    times : ndarray of shape (n_times,)
    name : str
        What to call the cube in errors.
    dim : hashable
        What to call its time dimension there.

    Returns
    -------
    breaks : ndarray of bool, shape (n_times - 1,)
    step : float or None
        The regular step in seconds; None for a single time.

    Raises
    ------
    ValueError
        If the times are missing, repeated, or not in ascending order.

    Examples
    --------
    >>> find_breaks(np.array([0, 1, 2, 5, 6]))
    (array([False, False,  True, False]), 1.0)
    """
    times = np.asarray(times)
    if times.dtype.kind in "mM" and np.isnat(times).any():
        raise ValueError(f"{name}: {np.isnat(times).sum()} of its times are missing (NaT).")
    steps = step_lengths(times)
    if steps.size == 0:
        return np.zeros(0, dtype=bool), None
    if np.any(steps <= 0):
        where = int(np.argmax(steps <= 0))
        kind, remedy = "out of order", f"sort them with .sortby({dim!r})"
        if np.unique(times).size < times.size:
            kind = "repeated" if steps[where] == 0 else "repeated and out of order"
            remedy = (
                f"keep each of them once with .sortby({dim!r}).drop_duplicates({dim!r}); where "
                "files overlap, leave one out"
            )
        raise ValueError(
            f"{name}: the times are {kind} at position {where + 1} "
            f"({times[where]} is followed by {times[where + 1]}); {remedy}."
        )
    candidates, counts = np.unique(np.round(steps, 3), return_counts=True)
    step = float(candidates[np.argmax(counts)])
    tolerance = _STEP_TOLERANCE * step
    if is_time_like(times):
        tolerance = step_tolerance(step)
        step = _without_jitter(steps[np.abs(steps - step) <= 2 * tolerance], step)
    # Dates with milliseconds differ from their own step in the last digits.
    return np.abs(steps - step) > tolerance * (1 + 1e-9), step


def _without_jitter(steps: np.ndarray, step: float) -> float:
    """The step of a clock that jitters: whole minutes or seconds, if the mean is near them.

    The most frequent of 299, 301, 299 and 302 seconds is none that times could be counted on with.
    """
    if np.ptp(steps) < 1e-3:
        return step
    mean = float(steps.mean())
    # Jitter at both ends remains in the mean of a few steps.
    for unit in (60.0, 1.0):
        whole = unit * round(mean / unit)
        if whole > 0 and abs(mean - whole) <= min(_CLOCK_SECONDS, 0.02 * mean):
            return whole
    return mean


def refuse_mixed_steps(times: np.ndarray, *, name: str = "X", dim: Hashable = "time") -> None:
    """Raise where the times have no common step: a window would mean different durations.

    Raises
    ------
    ValueError
        If a step is shorter than the most frequent one, or fewer than half are equal to it.
    """
    breaks, step = find_breaks(times, name=name, dim=dim)
    if step is None:
        return
    steps = step_lengths(times)
    if np.any(breaks & (steps < step)) or breaks.mean() > 0.5:
        first, last = _longest_run(steps)
        lengths = ", ".join(f"{s:g}" for s in np.unique(np.round(steps, 3))[:5])
        raise ValueError(
            f"{name}: the time steps are mixed (lengths in seconds: {lengths}); a window of "
            "several frames needs one regular step. Select a part that has one, e.g. with "
            f".isel({dim}=slice({first}, {last}))."
        )


def _longest_run(steps: np.ndarray) -> tuple[int, int]:
    """First frame and one past the last of the longest stretch of equal steps."""
    edges = np.flatnonzero(np.abs(np.diff(steps)) > _STEP_TOLERANCE * steps[:-1]) + 1
    starts, ends = np.append(0, edges), np.append(edges, steps.size)
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest]) + 1


def seconds_to_timedelta(seconds: float) -> np.timedelta64:
    """A timedelta64[ns] of so many seconds."""
    return np.timedelta64(round(seconds * 1e9), "ns")


def extend_times(times: np.ndarray, n_steps: int, step: float) -> np.ndarray:
    """The ``n_steps`` times that follow the last one, of the same kind and calendar.

    Examples
    --------
    >>> extend_times(np.array(["2000-01-01T00"], dtype="datetime64[ns]"), 1, 3600.0)
    array(['2000-01-01T01:00:00.000000000'], dtype='datetime64[ns]')
    """
    times = np.asarray(times)
    counts = np.arange(1, n_steps + 1)
    if times.dtype.kind in "mM":
        unit = np.datetime_data(times.dtype)[0]
        return times[-1] + (counts * seconds_to_timedelta(step)).astype(f"timedelta64[{unit}]")
    if times.dtype == object:
        return np.array([times[-1] + timedelta(seconds=step * int(c)) for c in counts])
    return times[-1] + counts * step


def refine_times(times: np.ndarray, factor: int) -> np.ndarray:
    """Put ``factor - 1`` equally spaced times between each two.

    Returns
    -------
    ndarray of shape ((n_times - 1) * factor + 1,)

    Examples
    --------
    >>> refine_times(np.array([0.0, 1.0, 2.0]), 2)
    array([0. , 0.5, 1. , 1.5, 2. ])
    """
    times = np.asarray(times)
    if times.size < 2:
        return times
    if times.dtype.kind in "mM":
        times = times.astype(f"{times.dtype.name.split('[')[0]}[ns]")
    elif times.dtype.kind in "iu":
        times = times.astype(np.float64)
    between = [times[:-1] + (np.diff(times) * j) / factor for j in range(factor)]
    return np.append(np.stack(between, axis=1).ravel(), times[-1])


def calendar_of(times: np.ndarray) -> str | None:
    """The CF calendar of dates; None for elapsed times and plain numbers.

    Examples
    --------
    >>> calendar_of(np.array(["2000-01-01"], dtype="datetime64[ns]"))
    'proleptic_gregorian'
    """
    times = np.asarray(times)
    if times.dtype.kind == "M":
        return "proleptic_gregorian"
    if times.dtype == object and times.size:
        return getattr(times.flat[0], "calendar", None)
    return None


def bounds_offset(time: xr.DataArray, bounds: xr.DataArray | None) -> list[float] | None:
    """Where time bounds lie in hours from their times, if it is the same for all.

    Examples
    --------
    >>> time = xr.DataArray([3600.0, 7200.0], dims="time")
    >>> bounds = xr.DataArray([[0.0, 3600.0], [3600.0, 7200.0]], dims=("time", "bnds"))
    >>> bounds_offset(time, bounds)
    [-1.0, 0.0]
    """
    if bounds is None or bounds.size != 2 * time.size:
        return None
    pairs, times = bounds.values.reshape(-1, 2), time.values
    offsets = []
    for edge in pairs.T:
        differences = edge - times
        if differences.dtype.kind == "m":
            differences = differences / np.timedelta64(1, "s")
        elif differences.dtype == object:
            differences = np.array([d.total_seconds() for d in differences])
        if np.ptp(differences) > 1e-3:
            return None
        offsets.append(float(differences[0]) / 3600)
    return offsets


def bounds_from_offset(times: np.ndarray, offset: list[float]) -> np.ndarray:
    """The bounds, of shape (n_times, 2), that :func:`bounds_offset` describes."""
    return np.stack([_shift(times, hours * 3600) for hours in offset], axis=-1)


def _shift(times: np.ndarray, seconds: float) -> np.ndarray:
    if times.dtype.kind in "mM":
        return times + seconds_to_timedelta(seconds).astype(
            f"timedelta64[{np.datetime_data(times.dtype)[0]}]"
        )
    if times.dtype == object:
        return times + timedelta(seconds=seconds)
    return times + seconds


def time_units(*dates: np.ndarray) -> str:
    """CF units that hold all of the dates as whole numbers: "hours since 2000-01-01 00:00:00".

    Examples
    --------
    >>> time_units(np.array(["2000-01-01T00:05"], dtype="datetime64[ns]"))
    'minutes since 2000-01-01 00:00:00'
    """
    every = np.concatenate([np.ravel(part) for part in dates])
    first = every.min()
    if every.dtype.kind == "M":
        day = np.datetime64(first, "D").astype(every.dtype)
        text = f"{np.datetime64(first, 'D')} 00:00:00"
    else:
        day = first.replace(hour=0, minute=0, second=0, microsecond=0)
        text = day.isoformat(" ")
    seconds = step_lengths(np.stack([np.full(every.shape, day), every], axis=1).ravel())[::2]
    for unit, length in (("hours", 3600), ("minutes", 60), ("seconds", 1)):
        if np.all(seconds % length == 0):
            return f"{unit} since {text}"
    return f"microseconds since {text}"
