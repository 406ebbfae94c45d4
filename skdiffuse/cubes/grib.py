"""What GRIB messages say and cfgrib leaves out: step ranges, and the products of MRMS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.cubes.accumulation import START

_SECONDS = {"s": 1, "m": 60, "h": 3600, "D": 86400}
_STEP = re.compile(r"(?:(\d+)([smhD]?)-)?(\d+)([smhD]?)")

_MRMS_CENTRE, _MRMS_DISCIPLINE, _MRMS_RAIN = 161, 209, 6
# Minutes of the amounts of MRMS by parameter number (its GRIB2 table, category 6).
_MRMS_HOURS = (1, 3, 6, 12, 24, 48, 72)
_MRMS_MINUTES = {
    **{first + i: 60 * h for first in (2, 9, 16, 23, 30, 37) for i, h in enumerate(_MRMS_HOURS)},
    45: 15,
}  # fmt: skip
_MRMS_RATE = 1


@dataclass(frozen=True)
class Header:
    """What one message says of itself, times in seconds since 1970."""

    name: str
    accumulated: bool
    step_range: str
    reference: int
    start: int
    end: int
    mrms: int | None


def grib_options(path: Path, headers: list[Header]) -> dict[str, Any]:
    """Options of cfgrib for a file: which of two totals with one end it shall read.

    Forecast files of NCEP hold the total since the start of the run beside that of the last
    hours. cfgrib would silently read the last of them in the file.

    Raises
    ------
    ValueError
        If the file holds both for several steps.
    """
    by_end: dict[tuple[str, int, int], set[str]] = {}
    for message in headers:
        if message.accumulated:
            key = (message.name, message.reference, message.end)
            by_end.setdefault(key, set()).add(message.step_range)
    options: dict[str, Any] = {"indexpath": ""}
    twofold = [ranges for ranges in by_end.values() if len(ranges) > 1]
    if not twofold:
        return options
    if len({(reference, end) for _, reference, end in by_end}) > 1:
        raise ValueError(
            f"{str(path)!r} holds two totals for one time (step ranges "
            f"{' and '.join(sorted(twofold[0]))}): keep one kind of them, or make a file of each "
            "range, grib_copy FILE '[stepRange].grib', and open those of one kind together."
        )
    shortest = max(twofold[0], key=lambda text: _seconds(text) or (0, 0))
    return {**options, "filter_by_keys": {"stepRange": shortest}}


def with_step_ranges(dataset: xr.Dataset, path: Path, headers: list[Header]) -> xr.Dataset:
    """Say from when on the amounts count, and what the products of MRMS are."""
    numbers = {message.mrms for message in headers}
    if None not in numbers and "unknown" in dataset.data_vars:
        return _from_mrms(dataset, numbers, path)
    amounts = [n for n, v in dataset.data_vars.items() if v.attrs.get("GRIB_stepType") == "accum"]
    if not amounts or "valid_time" not in dataset.coords:
        return dataset
    begins: dict[tuple[int, int], int] = {}
    for message in headers:
        if message.accumulated:
            key = (message.reference, message.end)
            if message.start == message.end != message.reference:
                # One step instead of a range: nothing says when the total began.
                return dataset
            # The totals of a file that holds two kinds have been chosen among by grib_options.
            begins[key] = max(message.start, begins.get(key, message.start))
    valid = dataset["valid_time"]
    references = xr.broadcast(dataset["time"], valid)[0].transpose(*valid.dims)
    keys = zip(_epoch(references).flat, _epoch(valid).flat, strict=True)
    starts = [begins.get((int(a), int(b))) for a, b in keys]
    if any(start is None for start in starts):
        return dataset
    values = np.array(starts, dtype="datetime64[s]").astype("datetime64[ns]").reshape(valid.shape)
    dataset = dataset.assign_coords({START: (valid.dims, values)})
    for name in amounts:
        dataset[name].attrs[START] = START
    return dataset


def _from_mrms(dataset: xr.Dataset, numbers: set[int | None], path: Path) -> xr.Dataset:
    (number, *others) = numbers
    minutes = _MRMS_MINUTES.get(number or 0)
    if others or (minutes is None and number != _MRMS_RATE):
        raise ValueError(
            f"{str(path)!r} holds the MRMS products of numbers {sorted(map(str, numbers))} in "
            "category 6, which are not one of its rates and amounts of rain."
        )
    rain = dataset["unknown"]
    # -3: no coverage, -1: missing.
    rain = rain.where(rain >= 0).assign_attrs(rain.attrs)
    name = "precipitation_rate" if minutes is None else "precipitation_amount"
    rain.attrs.update(units="mm h-1" if minutes is None else "mm", long_name=f"MRMS {name}")
    dataset = dataset.drop_vars("unknown").assign({name: rain})
    if minutes is not None:
        valid = dataset["valid_time"]
        dataset[name].attrs[START] = START
        dataset = dataset.assign_coords(
            {START: (valid.dims, valid.values - np.timedelta64(minutes, "m"))}
        )
    return dataset


def read_headers(path: Path) -> list[Header]:
    """Of all messages, without their values.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    import eccodes

    found: list[Header] = []
    with open(path, "rb") as file:
        while True:
            try:
                handle = eccodes.codes_grib_new_from_file(file, headers_only=True)
                if handle is None:
                    return found
                found.append(_header(handle, eccodes))
                eccodes.codes_release(handle)
            except eccodes.CodesInternalError as error:
                raise ValueError(f"{str(path)!r} is damaged or incomplete: {error}") from error


def _header(handle: Any, eccodes: Any) -> Header:
    number = partial(eccodes.codes_get_long, handle)
    mrms = None
    # Edition 1 has no disciplines.
    if number("centre") == _MRMS_CENTRE and eccodes.codes_is_defined(handle, "discipline"):
        kind = number("discipline"), number("parameterCategory")
        mrms = int(number("parameterNumber")) if kind == (_MRMS_DISCIPLINE, _MRMS_RAIN) else None
    name = str(eccodes.codes_get(handle, "paramId"))
    if not eccodes.codes_is_defined(handle, "stepType") or (
        eccodes.codes_get(handle, "stepType") != "accum"
    ):
        return Header(name, False, "", 0, 0, 0, mrms)
    date, clock = number("dataDate"), number("dataTime")
    day = np.datetime64(f"{date // 10000:04d}-{date // 100 % 100:02d}-{date % 100:02d}", "s")
    reference = int(day.astype(np.int64)) + 3600 * (clock // 100) + 60 * (clock % 100)
    text = eccodes.codes_get(handle, "stepRange", ktype=str)
    edges = _seconds(text)
    if edges is None:
        return Header(name, False, "", 0, 0, 0, mrms)
    return Header(name, True, text, reference, reference + edges[0], reference + edges[1], mrms)


def _seconds(step_range: str) -> tuple[int, int] | None:
    """Start and end of "0-3", "15m-30m" or "6" in seconds, hours where no unit stands.

    None for months and years, which have no one length.
    """
    match = _STEP.fullmatch(step_range)
    if match is None:
        return None
    length = _SECONDS[match[4] or "h"]
    end = int(match[3]) * length
    if match[1] is None:
        return end, end
    return int(match[1]) * (_SECONDS[match[2]] if match[2] else length), end


def _epoch(times: xr.DataArray) -> np.ndarray:
    return times.values.astype("datetime64[s]").astype(np.int64).reshape(-1)
