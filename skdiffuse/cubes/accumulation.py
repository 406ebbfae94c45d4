"""What an amount is a total over, and the rate that follows.

An amount says nothing without its beginning and end. They are known from the caller, from the
step ranges and reference times of forecasts, or from time bounds; the spacing of the times and
the ``interval`` of ``cell_methods`` (in CF the spacing of what was summed) are no evidence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from skdiffuse.cubes.interval_bounds import with_bounds
from skdiffuse.cubes.rates import difference_totals
from skdiffuse.cubes.time_axis import (
    bounds_offset,
    find_breaks,
    is_time_like,
    seconds_to_timedelta,
    step_lengths,
)

#: Coordinate from when on amounts count, and the attribute of the variables that it belongs to.
START = "accumulation_start"
_END = "accumulation_end"
# Attribute of amounts in mm whose rates are still to be made: what is known of their spans.
_PENDING = "accumulation"
_PERIOD = (
    "running_total must be True, False, or the time after which totals count anew, a day or a part "
    "of it ('1D', '6h'); got {!r}."
)
_MONTH = re.compile(r"(?:1\s*)?(?:mon|month|months)", re.IGNORECASE)


@dataclass(frozen=True)
class Spans:
    """From when to when the amounts of a variable fell, one entry for each time."""

    starts: np.ndarray
    ends: np.ndarray
    running: bool | None = None

    def __post_init__(self) -> None:
        if np.any(_hours_between(self.starts, self.ends) < 0):
            raise ValueError(
                "an amount begins after its end: the time bounds or reference times are wrong; "
                "say how long the amounts fell with interval='1h'."
            )


def stated_hours(interval: str | float, times: np.ndarray) -> float | np.ndarray:
    """Hours of an ``interval`` that the caller states.

    Parameters
    ----------
    interval : str or float
        "1h", "5min", a number of hours, or "month" for the calendar month that holds the time.
    times : ndarray of shape (time,)

    Examples
    --------
    >>> stated_hours("5min", np.zeros(1)) * 60
    5.0
    """
    if isinstance(interval, str) and _MONTH.fullmatch(interval.strip()):
        if not is_time_like(times) or times.dtype.kind == "m":
            raise ValueError(f"interval={interval!r} needs dates, and the times are {times.dtype}.")
        return 24.0 * xr.DataArray(times, dims="t").dt.days_in_month.values
    try:
        if isinstance(interval, str):
            hours = pd.to_timedelta(interval).total_seconds() / 3600
        elif isinstance(interval, bool):
            raise TypeError
        else:
            hours = float(interval)
    except (TypeError, ValueError):
        raise ValueError(
            "interval must be a duration such as '1h', '5min' or 'month', or hours; got "
            f"{interval!r}."
        ) from None
    if not (np.isfinite(hours) and hours > 0):
        raise ValueError(f"interval must be longer than 0; got {interval!r}.")
    return hours


def find_spans(
    array: xr.DataArray,
    dataset: xr.Dataset,
    time_dim: str,
    bounds: xr.DataArray | None,
    running_total: bool | str | None,
) -> Spans | None:
    """Beginnings and ends of amounts, from what file and caller say.

    Returns
    -------
    Spans or None
        None for running totals of unknown beginning, which only the caller can declare.

    Raises
    ------
    ValueError
        If nothing tells. The message names the parameters.
    """
    times = array[time_dim].values
    if isinstance(running_total, str):
        return Spans(_period_starts(times, running_total), times, running=True)
    if not isinstance(running_total, (bool, np.bool_, type(None))):
        raise ValueError(_PERIOD.format(running_total))
    flag = None if running_total is None else bool(running_total)
    if START in array.attrs and START in array.coords:
        starts = np.broadcast_to(array[START].values, times.shape).copy()
        return Spans(starts, times, running=flag)
    if flag:
        reference = _reference_times(array, dataset, time_dim)
        return None if reference is None else Spans(reference, times, running=True)
    if bounds is not None and bounds.size == 2 * times.size:
        pairs = bounds.values.reshape(-1, 2)
        if np.any(_hours_between(pairs[:, 0], pairs[:, 1]) <= 0):
            raise ValueError("the time bounds hold an interval that is not longer than 0.")
        return Spans(pairs[:, 0], pairs[:, 1], running=flag)
    raise ValueError(_question(array))


def prepare_amounts(
    amounts: xr.DataArray,
    original: xr.DataArray,
    dataset: xr.Dataset,
    bounds: xr.DataArray | None,
    *,
    interval: str | float | None,
    running_total: bool | str | None,
) -> xr.DataArray:
    """Rates where the interval is stated; else amounts with their spans, for :func:`rates_of`.

    Running totals go on from file to file, so that rates are made of what has been joined.

    Parameters
    ----------
    amounts : DataArray
        In mm.
    original : DataArray
        The variable as the file has it.
    dataset : Dataset
    bounds : DataArray, optional
    interval, running_total
        As for ``open_cube``.
    """
    time_dim = str(amounts.dims[-3])
    amounts = amounts.assign_attrs(units="mm")
    amounts.attrs.pop(START, None)
    if interval is not None:
        hours = stated_hours(interval, amounts[time_dim].values)
        if running_total:
            raise ValueError(
                f"interval={interval!r} says that each value counts by itself, and "
                f"running_total={running_total!r} that they go on; give one of them."
            )
        return _over(amounts.drop_vars(START, errors="ignore"), hours)
    spans = find_spans(original, dataset, time_dim, bounds, running_total)
    if spans is None:
        return amounts.drop_vars(START, errors="ignore").assign_attrs({_PENDING: "unknown"})
    kept = {START: (time_dim, spans.starts), _END: (time_dim, spans.ends)}
    state = "separate" if spans.running is False else "known"
    return amounts.assign_coords(kept).assign_attrs({_PENDING: state})


def rates_of(amounts: xr.DataArray) -> xr.DataArray:
    """Make mm/h of what :func:`prepare_amounts` left in mm; rates come back as they are."""
    if _PENDING not in amounts.attrs:
        return amounts
    state = amounts.attrs.pop(_PENDING)
    time_dim = str(amounts.dims[-3])
    if state == "unknown":
        if amounts.sizes[time_dim] == 1:
            raise ValueError(
                "running_total=True differences totals, and there is one time alone, of a run "
                "whose start is not known: give more times, or the length of the total with "
                "interval='6h'."
            )
        return _over(*difference_totals(amounts, time_dim))
    spans = Spans(amounts[START].values, amounts[_END].values)
    amounts, hours, begins = _by_spans(
        amounts.drop_vars([START, _END]), time_dim, spans, separate=state == "separate"
    )
    pairs = xr.DataArray(np.stack([begins, spans.ends], axis=-1), dims=(time_dim, "bnds"))
    offset = bounds_offset(amounts[time_dim], pairs)
    known = offset is not None and offset[0] < offset[1]
    return with_bounds(_over(amounts, hours), offset if known else None)


def _over(amounts: xr.DataArray, hours: float | np.ndarray) -> xr.DataArray:
    """Amounts divided by their hours, with the attributes of means."""
    if isinstance(hours, np.ndarray):
        rates = amounts / xr.DataArray(hours, dims=str(amounts.dims[-3]))
    else:
        rates = amounts / hours
    attrs = {**amounts.attrs, "units": "mm h-1"}
    attrs["cell_methods"] = as_mean(attrs.get("cell_methods"))
    return with_bounds(rates.astype(np.float32).assign_attrs(attrs), None)


def as_mean(cell_methods: object) -> str:
    """The ``cell_methods`` of a rate that was a sum over time.

    Examples
    --------
    >>> as_mean("area: mean time: sum (interval: 1 hr)"), as_mean(None)
    ('area: mean time: mean (interval: 1 hr)', 'time: mean')
    """
    text = str(cell_methods or "").strip()
    if not re.search(r"\b(?:\w*time\w*|t):", text):
        return f"{text} time: mean".strip()
    return re.sub(r"(\b(?:\w*time\w*|t):\s*(?:\w+:\s*)*)(?:sum|point)\b", r"\1mean", text)


def _by_spans(
    amounts: xr.DataArray, time_dim: str, spans: Spans, *, separate: bool
) -> tuple[xr.DataArray, float | np.ndarray, np.ndarray]:
    """Amounts that each count from the end of the one before, their hours and beginnings."""
    starts, ends = spans.starts, spans.ends
    shares = np.zeros(ends.size, dtype=bool)
    if not separate:
        # Times that jitter by a second do not begin a new total.
        apart = np.abs(_hours_between(starts[:-1], starts[1:]))
        shares[1:] = apart < 0.01 * _hours_between(ends[:-1], ends[1:])
    begins = starts.copy()
    begins[1:] = np.where(shares[1:], ends[:-1], starts[1:])
    if shares.any():
        amounts, _ = difference_totals(amounts, time_dim, fresh=~shares)
        # The total since the start of a run is not the rain of one step, unless it is the first.
        step = find_breaks(ends, name=f"variable {amounts.name!r}")[1] or 0.0
        opening = ~shares & np.append(shares[1:], False)
        long = opening & (_hours_between(begins, ends) * 3600 > 1.01 * step)
        if long.any():
            amounts = amounts.where(xr.DataArray(~long, dims=time_dim))
            begins[long] = ends[long] - _length_like(ends, step)
    hours = _hours_between(begins, ends)
    # At the start of a run nothing has had time to fall.
    hours = np.where(hours > 0, hours, np.nan)
    if np.ptp(hours) < 1e-6 * hours[0]:
        return amounts, float(hours[0]), begins
    return amounts, hours, begins


def _hours_between(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return step_lengths(np.stack([starts, ends], axis=-1).ravel())[::2] / 3600


def _length_like(times: np.ndarray, seconds: float) -> object:
    if times.dtype.kind == "M":
        return seconds_to_timedelta(seconds)
    return pd.Timedelta(seconds, "s").to_pytimedelta() if times.dtype == object else seconds


def _period_starts(times: np.ndarray, period: str) -> np.ndarray:
    """The last multiple of a period since midnight before each time; midnight ends a day."""
    try:
        seconds = pd.to_timedelta(period).total_seconds()
    except ValueError:
        seconds = 0.0
    if not seconds > 0 or 86400 % seconds:
        raise ValueError(_PERIOD.format(period))
    if not is_time_like(times) or times.dtype.kind == "m":
        raise ValueError(f"running_total={period!r} needs dates, and the times are {times.dtype}.")
    clock = xr.DataArray(times, dims="t").dt
    passed = (clock.hour * 3600 + clock.minute * 60 + clock.second).values % seconds
    # A time within a minute after midnight is a midnight that jitters.
    passed = np.where(passed < 60, passed + seconds, passed)
    if times.dtype == object:
        return np.array([t - _length_like(times, s) for t, s in zip(times, passed, strict=True)])
    return times - (passed * 1e9).astype("timedelta64[ns]")


def reference_name(dataset: xr.Dataset) -> str | None:
    """The variable that says when the runs of forecasts began."""
    for name, variable in dataset.variables.items():
        named = str(name) in ("forecast_reference_time", "reftime", "reference_time")
        if named or variable.attrs.get("standard_name") == "forecast_reference_time":
            return str(name)
    return None


def _reference_times(array: xr.DataArray, dataset: xr.Dataset, time_dim: str) -> np.ndarray | None:
    """When the runs began, one entry for each time."""
    times = array[time_dim].values
    for holder in (array.coords.to_dataset(), dataset):
        name = reference_name(holder)
        values = times if name is None else holder[name].values
        fits = values.dtype.kind == times.dtype.kind and values.shape in ((), (1,), times.shape)
        if name not in (None, time_dim) and fits:
            return np.broadcast_to(values, times.shape).copy()
    return None


def _question(array: xr.DataArray) -> str:
    """What to ask of the caller where nothing says over which time an amount fell."""
    text = (
        f"variable {array.name!r} is an amount of precipitation "
        f"({array.attrs.get('units', 'in units of depth')}), and nothing says over which "
        "interval it fell: give interval='1h' where each value is the amount of one hour (hourly "
        "ERA5), running_total=True where values count from the start of a run (IFS, AROME), or "
        "running_total='1D' where they count anew each day (ERA5-Land)."
    )
    if re.search(r"interval:", str(array.attrs.get("cell_methods", ""))):
        text += (
            f" The interval in cell_methods {array.attrs['cell_methods']!r} is in CF the "
            "spacing of what was summed, not the length of the sum, which time bounds state."
        )
    if "GRIB_stepType" in array.attrs:
        text += " open_cube(path) asks less, as it reads the step ranges of GRIB files itself."
    return text
