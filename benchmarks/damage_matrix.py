"""Broken files and what becomes of them: a right cube or a clear error, nothing between.

Each case damages one small true dataset in one way and says what must come of it: the original
rain (possibly after a remedy named by the error), or an error whose message names the cause.
An opened cube counts as right only if every value equals the original; an error counts as clear
only if it is a deliberate one (not an exception from the depths of a library) and its message
holds the words expected. What opens with other values or places, or although an error was due,
is counted by itself: wrong without a word.

    python benchmarks/damage_matrix.py

prints every case and ends with one JSON line.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path

import dask.array as da
import netCDF4
import numpy as np
import pandas as pd
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from skdiffuse.cubes import open_cube, reading, validate_cube, write_cube

HOURS, NY, NX = 6, 5, 7
CASES: list[tuple[str, Callable, str | None, dict]] = []
Folder = Path


def rain() -> np.ndarray:
    """The truth, mm/h: dry, light and heavy cells and a missing one."""
    rng = np.random.default_rng(0)
    values = np.maximum(rng.normal(0, 4, (HOURS, NY, NX)), 0).round(1).astype(np.float32)
    values[2, 1, 3] = np.nan
    return values


def dataset(
    values: np.ndarray | None = None,
    units: str | None = "mm h-1",
    calendar: str = "360_day",
    **attrs,
) -> xr.Dataset:
    """An hourly CF dataset of it on a small latitude-longitude grid."""
    times = xr.date_range(
        "2000-02-28T21", periods=HOURS, freq="h", calendar=calendar, use_cftime=True
    )
    if units is not None:
        attrs["units"] = units
    return xr.Dataset(
        {"pr": (("time", "lat", "lon"), rain() if values is None else values, attrs)},
        {
            "time": ("time", times, {"standard_name": "time", "axis": "T"}),
            "lat": ("lat", 50 + 0.5 * np.arange(NY), {"units": "degrees_north"}),
            "lon": ("lon", -3 + 0.5 * np.arange(NX), {"units": "degrees_east"}),
        },
        {"Conventions": "CF-1.8"},
    )


def case(name: str, error: str | None = None, **options) -> Callable:
    """Register a case: ``error`` is what the message must hold, None that it must open right."""

    def register(make: Callable) -> Callable:
        CASES.append((name, make, error, options))
        return make

    return register


def save(data: xr.Dataset, folder: Folder, name: str = "rain.nc", **encoding) -> Path:
    path = folder / name
    data.to_netcdf(path, **encoding)
    return path


def cases_of_units() -> None:
    rates = {
        "mm h-1": 1, "mm/h": 1, "mm hr-1": 1, "mm h**-1": 1, "kg m-2 s-1": 3600, "kg/m2/s": 3600,
        "kg m**-2 s**-1": 3600, "m s-1": 3.6e6, "mm/day": 1 / 24, "mm s-1": 3600, "cm/h": 10,
        "mm/5min": 12, "inch/h": 25.4, "KG M-2 S-1": 3600,
    }  # fmt: skip
    for units, factor in rates.items():
        case(f"rate in {units}")(
            lambda f, u=units, c=factor: save(dataset((rain() / c).astype("f8"), u), f)
        )
    case("units missing", "no units.*units=")(lambda f: save(dataset(units=None), f))
    case("units missing, stated by the user", units="mm/h")(lambda f: save(dataset(units=None), f))
    for units in ("", "1", "K", "unknown", "mm month-1", "m", "mm", "kg m-2"):
        amount = units in ("m", "mm", "kg m-2")
        message = "interval=" if amount else "not known as units"
        case(f"units {units!r}, no interval", message)(lambda f, u=units: save(dataset(units=u), f))
    case("wrong units, corrected by the user", units="mm h-1")(
        lambda f: save(dataset(units="K"), f)
    )
    case("amount with interval", interval="1h")(lambda f: save(dataset(rain() / 1000, "m"), f))
    case("amount with a bad interval", "interval must be", interval="now")(
        lambda f: save(dataset(units="mm"), f)
    )

    @case("amount with time bounds")
    def _(folder):
        data = dataset(rain() / 2, "mm")
        start = data.time.values - np.timedelta64(30, "m").astype(object)
        data["time_bnds"] = (("time", "bnds"), np.stack([start, data.time.values], 1))
        data.time.attrs["bounds"] = "time_bnds"
        return save(data, folder)

    # In CF that is the spacing of what was summed, not the length of the sum.
    @case("amount with an interval in cell_methods", "interval='1h'.*spacing of what was summed")
    def _(folder):
        data = dataset(rain() / 4, "mm", cell_methods="time: sum (interval: 15 minutes)")
        return save(data, folder)

    @case("running total", running_total=True)
    def _(folder):
        values = np.nan_to_num(rain())
        total = dataset(np.cumsum(values, 0), "mm")
        before = total.time.values[0] - np.timedelta64(1, "h").astype(object)
        return save(total.assign_coords(forecast_reference_time=((), before)), folder)

    case("reflectivity without a relation", r"z_r=\(200, 1.6\)")(
        lambda f: save(dataset(units="dBZ"), f)
    )

    @case("reflectivity with a relation", z_r=(200, 1.6))
    def _(folder):
        with np.errstate(divide="ignore"):
            dbz = 10 * np.log10(200 * rain().astype("f8") ** 1.6)
        return save(dataset(dbz, "dBZ"), folder)


def cases_of_times() -> None:
    for calendar in ("standard", "noleap", "360_day", "julian", "all_leap"):
        case(f"calendar {calendar}")(lambda f, c=calendar: save(dataset(calendar=c), f))

    def with_raw_times(folder, values, **attrs):
        path = save(dataset().drop_vars("time"), folder)
        with netCDF4.Dataset(path, "a") as file:
            time = file.createVariable("time", np.asarray(values).dtype, ("time",))
            time[:] = np.asarray(values)
            time.setncatts(attrs)
        return path

    hours = np.arange(HOURS, dtype="f8")
    since = "hours since 2000-01-01"
    case("no calendar (standard by CF)")(lambda f: with_raw_times(f, hours, units=since))
    case("unknown calendar", "calendar|decoded|opened")(
        lambda f: with_raw_times(f, hours, units=since, calendar="lunar")
    )
    case("times without units", "could not be decoded")(lambda f: with_raw_times(f, hours))
    case("times with broken units", "could not be decoded|cannot be opened")(
        lambda f: with_raw_times(f, hours, units="hours from now", axis="T")
    )
    case("times as text", "could not be decoded")(
        lambda f: dataset().assign_coords(time=[f"{h:02d}:00" for h in range(HOURS)])
    )
    case("no times at all", "no times.*assign_coords")(
        lambda f: save(dataset().drop_vars("time"), f)
    )
    case("repeated times", "repeated at position 3")(
        lambda f: with_raw_times(f, [0.0, 1, 2, 2, 3, 4], units=since)
    )
    case("unsorted times", "out of order at position 2")(
        lambda f: with_raw_times(f, [0.0, 2, 1, 3, 4, 5], units=since)
    )
    case("missing time", "NaT|missing|decode")(
        lambda f: with_raw_times(f, [0.0, 1, np.nan, 3, 4, 5], units=since)
    )
    case("mixed steps", "mixed", n_frames=2)(
        lambda f: with_raw_times(f, [0.0, 1, 4, 8, 9, 14], units=since)
    )
    case("a gap in time", n_frames=3)(
        lambda f: with_raw_times(f, [0.0, 1, 2, 30, 31, 32], units=since)
    )
    case("too many gaps", "no 4 consecutive frames", n_frames=4)(
        lambda f: with_raw_times(f, [0.0, 1, 2, 30, 31, 32], units=since)
    )
    case("time named differently")(lambda f: save(dataset().rename(time="t"), f))
    case("dates of the year 2500")(
        lambda f: with_raw_times(f, hours, units="days since 2500-01-01", calendar="standard")
    )

    @case("scalar time", first_only=True)
    def _(folder):
        return save(dataset().isel(time=0), folder)

    @case("field without any time", "no time axis")
    def _(folder):
        return save(dataset().isel(time=0, drop=True), folder)

    @case("forecast steps with valid times")
    def _(folder):
        data = dataset(calendar="standard")
        valid = pd.date_range("2000-01-01T01", periods=HOURS, freq="h")
        data = data.drop_vars("time").rename(time="step")
        return data.assign_coords(
            step=np.arange(1, HOURS + 1) * np.timedelta64(1, "h"),
            valid_time=("step", valid),
            time=np.datetime64("2000-01-01", "ns"),
        )


def cases_of_axes() -> None:
    case("axes swapped to (lat, lon, time)")(
        lambda f: save(dataset().transpose("lat", "lon", "time"), f)
    )
    case("axes swapped to (lon, lat, time)")(
        lambda f: save(dataset().transpose("lon", "lat", "time"), f)
    )
    case("descending latitude", flip_y=True)(
        lambda f: save(dataset().isel(lat=slice(None, None, -1)), f)
    )
    case("unsorted latitude", "sortby")(lambda f: save(dataset().isel(lat=[0, 2, 1, 3, 4]), f))
    case("latitude with NaN", "missing somewhere")(
        lambda f: save(dataset().assign_coords(lat=[50.0, np.nan, 51, 52, 53]), f)
    )
    case("no spatial coordinates")(lambda f: save(dataset().drop_vars(["lat", "lon"]), f))
    case("unknown dimension names", "no y or x axis.*rename")(
        lambda f: save(dataset().drop_vars(["lat", "lon"]).rename(lat="u", lon="v"), f)
    )

    @case("unknown dimension names with CF axis attributes")
    def _(folder):
        data = dataset().rename(lat="u", lon="v")
        data.u.attrs, data.v.attrs = {"axis": "Y"}, {"axis": "X"}
        return save(data, folder)

    @case("two-dimensional latitudes on unknown dimensions")
    def _(folder):
        data = dataset()
        lat, lon = xr.broadcast(data.lat, data.lon)
        data = data.drop_vars(["lat", "lon"]).rename(lat="u", lon="v")
        for name, values in (("lat", lat), ("lon", lon)):
            data = data.assign_coords({name: (("u", "v"), values.values, values.attrs)})
        return save(data, folder)

    case("dimension of size 1 too many")(lambda f: save(dataset().expand_dims(height=[10.0]), f))
    case("dimension of size 2 too many", "dimension 'height' of size 2.*isel")(
        lambda f: save(xr.concat([dataset()] * 2, "height"), f)
    )
    case("members, one chosen", member=3)(
        lambda f: save(xr.concat([dataset()] * 2, "member").assign_coords(member=[1, 3]), f)
    )
    case("member that is not there", r"not among the members \[1, 3\]", member=2)(
        lambda f: save(xr.concat([dataset()] * 2, "member").assign_coords(member=[1, 3]), f)
    )
    case("member asked of data without", "no dimension of members", member=1)(
        lambda f: save(dataset(), f)
    )
    case("time series without a field", "no precipitation|no y or x")(
        lambda f: save(dataset().isel(lat=0, lon=0), f)
    )


def cases_of_variables() -> None:
    case("other variables beside")(lambda f: save(dataset().assign(tas=dataset().pr + 270), f))
    case("precipitation by standard_name only")(
        lambda f: save(dataset(standard_name="precipitation_flux").rename(pr="var228"), f)
    )
    case("two candidates", "say variable=")(lambda f: save(dataset().assign(tp=dataset().pr), f))
    case("two candidates, one chosen", variable="tp")(
        lambda f: save(dataset().assign(tp=dataset().pr, pr=dataset().pr * 2), f)
    )
    case("variable that is not there", r"'snow' is not in the data.*\['pr'\]", variable="snow")(
        lambda f: save(dataset(), f)
    )
    case("no precipitation", r"no precipitation is found.*\['tas'\]")(
        lambda f: save(dataset().rename(pr="tas"), f)
    )
    case("no variables", "no precipitation is found")(lambda f: save(dataset().drop_vars("pr"), f))


def cases_of_values() -> None:
    case("integer packing")(
        lambda f: save(
            dataset(), f,
            encoding={"pr": {"dtype": "i2", "scale_factor": 0.1, "_FillValue": -32768}},
        )
    )  # fmt: skip
    case("missing_value instead of _FillValue")(lambda f: raw_fill(f, 1e20, "missing_value"))
    case("fill value of the netCDF library, unmasked")(
        lambda f: raw_fill(f, netCDF4.default_fillvals["f4"], None)
    )
    case("fill value 1e20, unmasked", "fill value left unmasked")(lambda f: raw_fill(f, 1e20, None))
    case("fill value -999, unmasked", "negative precipitation.*-999")(
        lambda f: raw_fill(f, -999.0, None)
    )
    case("huge values", "no rain rate")(lambda f: save(dataset(rain() * 1e6), f))
    case("infinite values", "infinite")(
        lambda f: save(dataset(np.where(rain() > 5, np.inf, rain())), f)
    )
    case("negative values", "negative precipitation.*clip")(lambda f: save(dataset(rain() - 1), f))
    case("missing everywhere", "missing everywhere")(lambda f: save(dataset(rain() * np.nan), f))
    case("dry everywhere", all_dry=True)(lambda f: save(dataset(np.zeros_like(rain())), f))
    case("complex values", "complex64, not real numbers")(
        lambda f: dataset(rain().astype(np.complex64))
    )
    case("text values", "not real numbers")(lambda f: save(dataset(rain().astype("U5")), f))
    case("booleans", "bool, not real numbers")(lambda f: dataset(rain() > 0))
    case("float16")(lambda f: dataset(rain().astype("f2"), "mm h-1").astype("f4").round(1))
    case("float64")(lambda f: save(dataset(rain().astype("f8")), f))
    case("big-endian")(lambda f: save(dataset(rain().astype(">f4")), f))
    case("integers", whole=True)(lambda f: save(dataset(np.nan_to_num(rain()).astype("i4")), f))

    @case("read-only arrays")
    def _(folder):
        values = rain()
        values.flags.writeable = False
        return dataset(values)

    case("no frames", "is empty")(lambda f: save(dataset().isel(time=slice(0)), f))
    case("no frames in NetCDF 3", "is empty")(
        lambda f: save(dataset().isel(time=slice(0)), f, format="NETCDF3_CLASSIC")
    )
    case("no rows", "is empty")(lambda f: save(dataset().isel(lat=slice(0)), f))


def raw_fill(folder: Folder, fill: float, attribute: str | None) -> Path:
    values = np.where(np.isnan(rain()), np.float32(fill), rain()).astype("f4")
    path = save(dataset(values), folder, encoding={"pr": {"_FillValue": None}})
    if attribute:
        with netCDF4.Dataset(path, "a") as file:
            file["pr"].setncattr(attribute, np.float32(fill))
    return path


def cases_of_files() -> None:
    case("NetCDF 3")(lambda f: save(dataset(), f, format="NETCDF3_CLASSIC"))
    case("NetCDF 3 with 64-bit offsets")(lambda f: save(dataset(), f, format="NETCDF3_64BIT"))
    case("NetCDF 4 classic")(lambda f: save(dataset(), f, format="NETCDF4_CLASSIC"))
    case("wrong suffix .txt")(lambda f: save(dataset(), f, "rain.txt"))
    case("wrong suffix .grib")(lambda f: save(dataset(), f, "rain.grib"))
    case("no suffix")(lambda f: save(dataset(), f, "rain"))
    case("blanks and accents in the name")(lambda f: save(dataset(), f, "pluie d'été.nc"))
    case("brackets in the name")(lambda f: save(dataset(), f, "rain[1].nc"))
    case("Zarr store")(lambda f: (dataset().to_zarr(f / "r.zarr", zarr_format=2), f / "r.zarr")[1])
    case("path as str")(lambda f: str(save(dataset(), f)))
    case("no such file", "there is no file")(lambda f: f / "nowhere.nc")
    case("no such folder", "no folder")(lambda f: f / "nowhere" / "rain.nc")
    case("pattern without match", "no file matches")(lambda f: f / "*.nc")
    case("empty list", "list of files is empty")(lambda f: [])
    case("folder", "is a folder.*pattern")(lambda f: f)
    case("neither path nor data", "source must be")(lambda f: 3)
    case("empty file", r"is empty \(0 bytes\)")(lambda f: written(f, b""))
    case("text file", "neither NetCDF")(lambda f: written(f, b"time,rain\n0,1.5\n"))
    case("web page saved as NetCDF", "neither NetCDF")(lambda f: written(f, b"<!DOCTYPE html>"))

    for share in (0.1, 0.5, 0.97):

        @case(f"NetCDF 4 cut at {share:.0%}", "damaged or incomplete|cannot be read")
        def _(folder, share=share):
            content = save(dataset(), folder).read_bytes()
            return written(folder, content[: int(len(content) * share)])

    for share in (0.01, 0.5, 0.97):

        @case(f"NetCDF 3 cut at {share:.0%}", "damaged or incomplete|neither NetCDF")
        def _(folder, share=share):
            content = save(dataset(), folder, format="NETCDF3_CLASSIC").read_bytes()
            return written(folder, content[: int(len(content) * share)])

    @case("damaged bytes under a checksum", "damaged or incomplete")
    def _(folder):
        sums = {name: {"fletcher32": True} for name in ("pr", "time", "lat", "lon")}
        path = save(dataset(), folder, encoding=sums)
        content = path.read_bytes()
        latitudes = dataset().lat.values.tobytes()
        assert latitudes in content
        content = content.replace(latitudes, latitudes[::-1])
        return written(folder, content)

    @case("file without permission", "Permission denied.*rain.nc", as_nobody=True)
    def _(folder):
        path = save(dataset(), folder)
        path.chmod(0)
        return path

    case("read-only file")(lambda f: _read_only(save(dataset(), f)))

    def halves(folder, change=lambda data: data):
        data = dataset()
        paths = [
            save(data.isel(time=slice(0, 3)), folder, "b.nc"),
            save(change(data.isel(time=slice(3, 6))), folder, "a.nc"),
        ]
        return paths

    case("two files, names against times")(lambda f: (halves(f), f / "*.nc")[1])
    case("list of two files")(lambda f: halves(f)[::-1])
    case("two files on different grids", "sizes|one grid")(
        lambda f: halves(f, lambda d: d.isel(lat=slice(1, None)))
    )
    case("two files in different units", "units")(
        lambda f: halves(f, lambda d: d.pr.assign_attrs(units="mm/day").to_dataset())
    )
    case("two files of different calendars", "calendar|decoded|compare")(
        lambda f: halves(f, lambda d: dataset(calendar="noleap").isel(time=slice(3, 6)))
    )
    case("the same file twice", "repeated")(lambda f: [save(dataset(), f)] * 2)
    case("second file damaged", "damaged|empty")(
        lambda f: [save(dataset(), f), written(f, b"\x89HDF\r\n\x1a\n" + bytes(50), "b.nc")]
    )


def _read_only(path: Path) -> Path:
    path.chmod(0o444)
    return path


def written(folder: Folder, content: bytes, name: str = "broken.nc") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# Amounts, and the units and names of services.


def totals_of_days() -> np.ndarray:
    """Totals that count anew after midnight: the cube begins at 21 UTC."""
    values = np.nan_to_num(rain())
    return np.concatenate([np.cumsum(values[:4], 0), np.cumsum(values[4:], 0)])


def with_bounds(data: xr.Dataset, starts: list[int], ends: list[int]) -> xr.Dataset:
    """Time bounds in hours from the first time."""
    first, hour = data.time.values[0], np.timedelta64(1, "h").astype(object)
    pairs = [[first + a * hour, first + b * hour] for a, b in zip(starts, ends, strict=True)]
    data["time_bnds"] = (("time", "bnds"), np.array(pairs))
    data.time.attrs["bounds"] = "time_bnds"
    return data


def cases_of_amounts() -> None:
    accum = {"GRIB_stepType": "accum", "long_name": "Total precipitation"}
    hourly = lambda f: save(dataset(rain() / 1000, "m", **accum), f)  # noqa: E731
    case("ERA5 amounts of one hour", interval="1h")(hourly)
    case("ERA5 amounts, nothing stated", "interval='1h'.*running_total=True.*'1D'")(hourly)
    case("hourly amounts said to run on", "two times in succession", running_total=True)(hourly)
    case("hourly amounts said to run for days", "but they fall", running_total="1D")(hourly)
    case("interval and running total", "give one of them", interval="1h", running_total=True)(
        hourly
    )
    daily_reset = lambda f: save(dataset(totals_of_days() / 1000, "m"), f)  # noqa: E731
    case("totals of days", first_missing=True, running_total="1D")(daily_reset)
    case("totals of days, found by their fall", first_missing=True, running_total=True)(daily_reset)
    case("totals of days of seven hours", "running_total must be", running_total="7h")(daily_reset)
    case("one total of an unknown run", "one time alone", running_total=True)(
        lambda f: save(dataset(rain(), "mm").isel(time=[0]), f)
    )

    @case("time bounds that share their beginning", no_gaps=True)
    def _(folder):
        values = np.nan_to_num(rain())
        buckets = np.concatenate([np.cumsum(values[i : i + 3], 0) for i in (0, 3)])
        return save(with_bounds(dataset(buckets, "mm"), [-1] * 3 + [2] * 3, list(range(6))), folder)

    case("time bounds of no length", "not longer than 0")(
        lambda f: save(with_bounds(dataset(rain(), "mm"), list(range(6)), list(range(6))), f)
    )
    case("daily sums, hourly samples in cell_methods", "spacing of what was summed")(
        lambda f: save(dataset(rain(), "mm", cell_methods="time: sum (interval: 1 hr)"), f)
    )
    case("monthly samples in cell_methods", "spacing of what was summed")(
        lambda f: save(dataset(rain(), "mm", cell_methods="time: sum (interval: 1 mon)"), f)
    )
    case("monthly samples of a rate")(
        lambda f: save(dataset(cell_methods="time: mean (interval: 1 mon)"), f)
    )
    case("sums of months in February of 30 days", interval="month", first_only=True)(
        lambda f: save(dataset(rain() * 720, "mm").isel(time=[0]), f)
    )

    @case("WRF: RAINC and RAINNC since the start", no_gaps=True)
    def _(folder):
        totals = np.cumsum(np.nan_to_num(rain()), 0).astype("f8")
        texts = [f"2000-01-01_{hour:02d}:00:00".encode() for hour in range(1, HOURS + 1)]
        dims = ("Time", "south_north", "west_east")
        data = xr.Dataset(
            {name: (dims, totals / 2, {"units": "mm"}) for name in ("RAINC", "RAINNC")},
            attrs={"SIMULATION_START_DATE": "2000-01-01_00:00:00"},
        )
        data["Times"] = ("Time", np.array(texts))
        return save(data, folder)

    case("WRF without its start", "SIMULATION_START_DATE")(
        lambda f: dataset().pr.rename(time="Time").rename("RAINNC").to_dataset()
    )


def cases_of_services() -> None:
    rates = {
        "[mm/hr]": 1, "mm/hr": 1, "mm hour-1": 1, "kg m-2 h-1": 1, "kg/(m^2*s)": 3600,
        "kgm-2s-1": 3600, "mm h\u207b\u00b9": 1, "mm (24h)-1": 1 / 24, "l m-2 h-1": 1,
        "0.1 mm/h": 0.1, "m of water equivalent per day": 1000 / 24,
        "kg m^{-2} s^{-1}": 3600, "mm/(15 min)": 4,
    }  # fmt: skip
    for units, factor in rates.items():
        case(f"rate in {units}")(
            lambda f, u=units, c=factor: save(dataset((rain() / c).astype("f8"), u), f)
        )
    case("sum of no unit", "units='mm/5min'")(lambda f: save(dataset(units="sum 5min"), f))
    case("sum of no unit, stated", units="mm/5min")(
        lambda f: save(dataset(rain() / 12, "sum 5min"), f)
    )
    for units in ("mm min h-1", "mm/hr/hr", "(mm/h", "mm//h"):
        case(f"units {units!r}", "not known as units")(lambda f, u=units: save(dataset(units=u), f))
    for name in ("precipitation_surface", "surface_precipitation_average", "APCP_surface"):
        case(f"variable {name}")(lambda f, n=name: save(dataset().rename(pr=n), f))
    case("GRIB parameter unknown", "tables lack.*opens the file itself")(
        lambda f: save(dataset().rename(pr="unknown"), f)
    )
    case("noise of -1e-20", all_dry=True)(lambda f: save(dataset(np.full_like(rain(), -1e-20)), f))
    case("codes -3 and -1", "negative precipitation.*-3")(
        lambda f: save(dataset(np.where(rain() > 0, rain(), -3)), f)
    )


# Joined files, missing values, places, forecasts, groups and foreign formats.


def with_and_without_dask(name: str, error: str | None = None, **options) -> Callable:
    """A case that is opened lazily and in memory."""

    def register(make: Callable) -> Callable:
        case(name, error, **options)(make)
        return case(f"{name}, without dask", error, no_dask=True, **options)(make)

    return register


def halves(folder: Folder, change=lambda data: data, before=lambda data: data) -> list[Path]:
    """The truth in two files, of which the second is changed."""
    data = dataset().assign_coords(crs=((), 0, {"grid_mapping_name": "mercator", "radius": 1.0}))
    data.pr.attrs["grid_mapping"] = "crs"
    return [
        save(before(data.isel(time=slice(0, 3))), folder, "a.nc"),
        save(change(data.isel(time=slice(3, 6))), folder, "b.nc"),
    ]


def stored(folder: Folder, dtype: str, hole: int, scale: float | None = 0.1, **attrs) -> Path:
    """The truth as whole numbers, with ``hole`` where it is missing."""
    numbers = np.where(np.isnan(rain()), hole, np.round(np.nan_to_num(rain()) * 10))
    path = save(dataset(numbers.astype(dtype)), folder, encoding={"pr": {"_FillValue": None}})
    with netCDF4.Dataset(path, "a") as file:
        if scale is not None:
            attrs = {"scale_factor": np.float32(scale)} | attrs
        file["pr"].setncatts(attrs)
    return path


def cases_of_joined_files() -> None:
    with_and_without_dask("two files of one grid")(halves)
    with_and_without_dask("coordinates rounded in one of them")(
        lambda f: halves(f, lambda d: d.assign_coords(lat=d.lat.astype("f4")))
    )
    for name, change in {
        "of another place": lambda d: d.assign_coords(lon=d.lon + 40),
        "shifted by a fifth of a cell": lambda d: d.assign_coords(lon=d.lon + 0.1),
        "with its rows reversed": lambda d: d.isel(lat=slice(None, None, -1)),
        "with its columns reversed": lambda d: d.isel(lon=slice(None, None, -1)),
        "of another projection": lambda d: d.assign_coords(
            crs=((), 0, {"grid_mapping_name": "mercator", "radius": 2.0})
        ),
        "without a coordinate": lambda d: d.drop_vars("lat"),
    }.items():
        with_and_without_dask(f"two files, one {name}", "do not lie on one grid")(
            lambda f, c=change: halves(f, c)
        )
    with_and_without_dask("two files of two members", "realization is 2 instead of 1")(
        lambda f: halves(
            f, lambda d: d.assign_coords(realization=2), lambda d: d.assign_coords(realization=1)
        )
    )
    with_and_without_dask("two files, one of maxima", "cell_methods")(
        lambda f: halves(
            f,
            lambda d: d.assign(pr=d.pr.assign_attrs(cell_methods="time: maximum")),
            lambda d: d.assign(pr=d.pr.assign_attrs(cell_methods="time: mean")),
        )
    )
    with_and_without_dask("two files of different calendars, no leap years", "calendar")(
        lambda f: halves(f, lambda d: dataset(calendar="noleap").isel(time=slice(3, 6)))
    )

    @with_and_without_dask("two files of the calendars standard and gregorian")
    def _(folder):
        for part, calendar in enumerate(("standard", "gregorian")):
            data = dataset().isel(time=slice(3 * part, 3 * part + 3)).drop_vars("time")
            with netCDF4.Dataset(save(data, folder, f"{part}.nc"), "a") as file:
                time = file.createVariable("time", "f8", ("time",))
                time[:] = np.arange(3) + 3 * part
                time.setncatts({"units": "hours since 2000-01-01", "calendar": calendar})
        return folder / "*.nc"

    @with_and_without_dask("whole numbers first, packed ones second")
    def _(folder):
        first = dataset(np.nan_to_num(rain()).round().astype("i2")).isel(time=slice(0, 3))
        packing = {"dtype": "i2", "scale_factor": 0.1, "_FillValue": -1}
        second = dataset().isel(time=slice(3, 6))
        save(first, folder, "a.nc")
        save(second, folder, "b.nc", encoding={"pr": packing})
        return folder / "*.nc"

    CASES[-1][3]["first_half_whole"] = CASES[-2][3]["first_half_whole"] = True


def cases_of_missing_values() -> None:
    i2 = lambda *numbers: np.array(numbers, "i2")  # noqa: E731
    for name, (dtype, hole, attrs) in {
        "valid_range": ("i2", 32767, {"valid_range": i2(0, 1000)}),
        "valid_max": ("i2", 32767, {"valid_max": np.int16(1000)}),
        "valid_min": ("i2", -1, {"valid_min": np.int16(0)}),
        "valid_range in mm/h": ("i2", 32767, {"valid_range": np.array([0.0, 100.0])}),
        "flag_values": (
            "i2", 32000,
            {"flag_values": i2(0, 32000), "flag_meanings": "no_rain outside_coverage"},
        ),
        "two missing_values": ("i2", -2, {"missing_value": i2(-1, -2)}),
        "unsigned bytes": ("i1", -1, {"_Unsigned": "true", "valid_max": np.int8(-56)}),
        "nothing said, never written": ("u2", 65535, {}),
    }.items():  # fmt: skip
        with_and_without_dask(f"not data by {name}")(
            lambda f, d=dtype, h=hole, a=attrs: stored(f, d, h, **a)
        )
        case(f"not data by {name}, opened undecoded")(
            lambda f, d=dtype, h=hole, a=attrs: xr.open_dataset(
                stored(f, d, h, **a), mask_and_scale=False
            )
        )
    case("not data by valid_max of floats")(
        lambda f: save(dataset(np.where(np.isnan(rain()), 999, rain()), valid_max=500.0), f)
    )
    case("floats with a scale_factor", r"remove them with \.attrs\.pop")(
        lambda f: dataset(scale_factor=0.1)
    )


def cases_of_places() -> None:
    greenwich = np.append(np.arange(357, 360), np.arange(4)).astype(float)
    across = lambda: dataset().assign_coords(  # noqa: E731
        lon=("lon", greenwich, {"units": "degrees_east"})
    )
    counted_on = {"lon": np.arange(-3.0, 4)}
    with_and_without_dask("a region across Greenwich", coords=counted_on)(
        lambda f: save(across(), f)
    )
    with_and_without_dask("the same, sorted and torn", coords=counted_on)(
        lambda f: save(across().sortby("lon"), f)
    )
    case("across 180 degrees", coords={"lon": np.arange(177.0, 184)})(
        lambda f: save(
            dataset().assign_coords(lon=np.append(range(177, 180), range(-180, -176))), f
        )
    )
    case("columns left out", r"leaves cells out.*\.isel\(lon=")(
        lambda f: save(dataset().assign_coords(lon=[0.0, 1, 2, 3, 50, 51, 52]), f)
    )
    case("rows that repeat", r"\.drop_duplicates\('lat'\)")(
        lambda f: save(dataset().assign_coords(lat=[50.0, 51, 51, 52, 53]), f)
    )

    def composite(folder, name="a.h5", hour=0, **corner):
        """An ODIM composite of the frame of an hour, of which a corner is stated."""
        path = folder / name
        pixels = np.where(np.isnan(rain()[hour]), 255, np.round(np.nan_to_num(rain()[hour]) * 10))
        with netCDF4.Dataset(path, "w") as file:
            file.Conventions = "ODIM_H5/V2_3"
            clock = {"date": "20000228", "time": f"{12 + hour:02d}0000"}
            file.createGroup("what").setncatts({"object": "COMP", **clock})
            file.createGroup("where").setncatts(
                {"projdef": "+proj=merc +R=6371000", "xscale": 1000.0, "yscale": 1000.0,
                 "LL_lon": 0.0, "LL_lat": 0.0, **corner}
            )  # fmt: skip
            group = file.createGroup("dataset1")
            end = {"date": "20000228", "time": f"{11 + hour:02d}5951"}
            group.createGroup("what").setncatts(
                {f"{edge}{key}": value for edge in ("start", "end") for key, value in end.items()}
            )
            data = group.createGroup("data1")
            data.createGroup("what").setncatts(
                {"quantity": "RATE", "gain": 0.1, "offset": 0.0, "nodata": 255.0, "undetect": 0.0}
            )
            data.createDimension("y", NY)
            data.createDimension("x", NX)
            data.createVariable("data", "u1", ("y", "x"))[:] = pixels
        return path

    case(
        "ODIM composite, its place and nominal time", first_only=True,
        coords={"x": 500 + 1000.0 * np.arange(NX), "y": 500 + 1000.0 * np.arange(NY)[::-1],
                "time": np.array(["2000-02-28T12"], "M8[ns]")},
    )(composite)  # fmt: skip
    degrees = float(np.rad2deg(250_000 / 6_371_000))
    case(
        "ODIM composite in another place", first_only=True,
        coords={"x": 250_500 + 1000.0 * np.arange(NX)},
    )(lambda f: composite(f, LL_lon=degrees))  # fmt: skip
    case("ODIM composites of two places", "do not lie on one grid")(
        lambda f: [composite(f), composite(f, "b.h5", hour=1, LL_lon=degrees)]
    )


def cases_of_forecasts() -> None:
    def runs(every: int) -> xr.Dataset:
        """Two forecasts of three hours."""
        values = np.stack([rain()[0:3], rain()[every : every + 3]])
        data = dataset().isel(time=slice(0, 2), drop=True)
        data["pr"] = (("time", "step", "lat", "lon"), values, {"units": "mm h-1"})
        begins = np.datetime64("2000-01-01", "ns") + np.array([0, every]) * np.timedelta64(1, "h")
        data = data.assign_coords(time=begins, step=np.arange(1, 4) * np.timedelta64(1, "h"))
        return data.assign_coords(valid_time=data.time + data.step)

    with_and_without_dask("forecasts in a row")(lambda f: save(runs(3), f))
    case("forecasts in a row, their valid times left out")(
        lambda f: runs(3).drop_vars("valid_time")
    )
    case("forecasts that overlap", r"\.isel\(time=0\).*\.isel\(step=slice\(0, 2\)\)")(
        lambda f: save(runs(2), f)
    )

    @with_and_without_dask("ERA5, its last months preliminary")
    def _(folder):
        final, preliminary = rain(), rain()
        final[4:], preliminary[:4] = np.nan, np.nan
        data = dataset().drop_vars("pr").assign_coords(expver=[1, 5])
        values = np.stack([final, preliminary], axis=1)
        data["pr"] = (("time", "expver", "lat", "lon"), values, {"units": "mm h-1"})
        return save(data, folder)

    @case("a scalar time beside a start_time", first_only=True)
    def _(folder):
        data = dataset(calendar="standard").isel(time=0, drop=True)
        begin = np.datetime64("2000-01-01", "ns")
        return save(data.assign(time=begin + np.timedelta64(1, "h"), start_time=begin), folder)

    @case("times that jitter by a second", n_frames=HOURS)
    def _(folder):
        seconds = 60 * np.arange(HOURS) + np.array([0, 1, -1, 1, 0, -1])
        times = np.datetime64("2000-01-01", "ns") + seconds * np.timedelta64(1, "s")
        return save(dataset().assign_coords(time=times), folder)


def cases_of_bounds() -> None:
    def hourly(folder):
        data = with_bounds(dataset(np.nan_to_num(rain())), list(range(-1, 5)), list(range(6)))
        return open_cube(save(data, folder, "source.nc"))

    for name, mean in {
        "coarsen": lambda c: c.coarsen(time=3).mean(),
        "resample": lambda c: c.resample(time="3h").mean(),
        "rolling": lambda c: c.rolling(time=3).mean().isel(time=slice(2, None, 3)),
    }.items():
        case(f"means of three hours by {name}, written", bounds=None, three_hours=True)(
            lambda f, m=mean: write_cube(m(hourly(f)), f / "means.nc")
        )
    case("hours, written", bounds=[-1.0, 0.0], no_gaps=True)(
        lambda f: write_cube(hourly(f), f / "hours.nc")
    )


def cases_of_groups_and_formats() -> None:
    def grouped(folder, *groups):
        path = folder / "groups.nc"
        dataset().drop_vars("pr").to_netcdf(path)
        for at, group in enumerate(groups):
            data = (dataset() + 100 * at).drop_vars(["time", "lat", "lon"])
            data.pr.attrs["units"] = "mm h-1"
            data.to_netcdf(path, group=group, mode="a")
        return path

    with_and_without_dask("rain in a group")(lambda f: grouped(f, "science/radar"))
    case("rain in two groups", r"variable= one of \['/early/pr', '/late/pr'\]")(
        lambda f: grouped(f, "early", "late")
    )
    case("rain in two groups, one chosen", variable="/early/pr")(
        lambda f: grouped(f, "early", "late")
    )
    grid = b"ncols 2\nnrows 1\nxllcorner 0\nyllcorner 0\ncellsize 1\nNODATA_value -1\n0 12\n"
    case("RADOLAN ASCII", "ESRI ASCII grid.*rioxarray.*tenths")(lambda f: written(f, grid))
    case("RADOLAN ASCII, compressed", "ESRI ASCII grid.*rioxarray")(
        lambda f: written(f, gzip.compress(grid))
    )
    case("RADOLAN binary", "wradlib")(lambda f: written(f, b"RW010650100000814BY1620130VS 3SW"))
    case("GeoTIFF", "GeoTIFF.*rioxarray")(lambda f: written(f, b"II*\x00" + bytes(40)))
    case("NetCDF, compressed", None)(
        lambda f: written(f, gzip.compress(save(dataset(), f).read_bytes()))
    )
    case("zip archive", "unpack it first")(lambda f: written(f, b"PK\x03\x04" + bytes(40)))


def cases_of_written_cubes() -> None:
    plain = lambda: xr.DataArray(rain(), dims=("time", "y", "x"))  # noqa: E731
    case("written without times")(lambda f: write_cube(plain(), f / "a.nc"))
    case("written with numbers for times")(
        lambda f: write_cube(plain().assign_coords(time=np.arange(HOURS)), f / "a.nc")
    )
    case("written with names of no meaning")(
        lambda f: write_cube(plain().rename(time="a", y="b", x="c"), f / "a.nc")
    )
    case("written lazy and unnamed", cube_name="precipitation_rate")(
        lambda f: write_cube(
            xr.DataArray(da.from_array(rain()), dims=("time", "y", "x")), f / "a.nc"
        )
    )
    case("times out of order, written", r"out of order.*sortby")(
        lambda f: write_cube(plain().assign_coords(time=[0, 2, 1, 3, 4, 5]), f / "a.nc")
    )


for register_cases in (
    cases_of_joined_files, cases_of_missing_values, cases_of_places, cases_of_forecasts,
    cases_of_bounds, cases_of_groups_and_formats, cases_of_written_cubes,
):  # fmt: skip
    register_cases()

for register_cases in (
    cases_of_units, cases_of_times, cases_of_axes, cases_of_variables, cases_of_values,
    cases_of_files, cases_of_amounts, cases_of_services,
):  # fmt: skip
    register_cases()

# "silent_wrong" opened, with wrong values or labels or although an error was due: without a word.
VERDICTS = ("opened_right", "clear_errors", "unclear", "silent_wrong")
CLEAR = (ValueError, TypeError, FileNotFoundError, PermissionError, ImportError)


def expected_values(options: dict) -> np.ndarray:
    truth = rain()
    if options.get("first_only"):
        return truth[:1]
    if options.get("all_dry"):
        return np.zeros_like(truth)
    if options.get("first_half_whole"):
        return np.concatenate([np.nan_to_num(truth[:3]).round(), truth[3:]])
    if options.get("three_hours"):
        return np.nan_to_num(truth).reshape(2, 3, NY, NX).mean(1)
    if options.get("flip_y"):
        return truth[:, ::-1]
    if options.get("whole"):
        return np.trunc(np.nan_to_num(truth))
    if options.get("first_missing"):
        return np.concatenate([np.full_like(truth[:1], np.nan), np.nan_to_num(truth[1:])])
    if options.get("running_total") or options.get("no_gaps"):
        return np.nan_to_num(truth)
    return truth


@contextmanager
def as_nobody(folder: Path):
    """Without the superuser's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    folder.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def outcome(make: Callable, error: str | None, options: dict, folder: Path) -> tuple[str, str]:
    """One of the VERDICTS, and a line about it."""
    given = {
        key: options[key]
        for key in ("variable", "units", "interval", "running_total", "z_r", "member")
        if key in options
    }
    lazily = reading.has_dask
    try:
        source = make(folder)
        if options.get("no_dask"):
            reading.has_dask = lambda: False
        with as_nobody(folder) if options.get("as_nobody") else nullcontext():
            cube = open_cube(source, **given)
        validate_cube(cube.compute(), n_frames=options.get("n_frames", 1))
        values = cube.values
    except CLEAR as raised:
        text = " ".join(str(raised).split())
        deliberate = error is not None and re.search(error, text) is not None
        return ("clear_errors" if deliberate else "unclear"), f"{type(raised).__name__}: {text}"
    except Exception as raised:
        return "unclear", f"{type(raised).__name__}: {raised}"
    finally:
        reading.has_dask = lazily
    if error is not None:
        return "silent_wrong", f"opened, although an error ({error}) was due"
    right = (
        cube.attrs["units"] == "mm h-1"
        and _labels_are_right(cube, options)
        and values.shape == expected_values(options).shape
        and np.allclose(values, expected_values(options), rtol=2e-6, atol=2e-6, equal_nan=True)
    )
    return ("opened_right" if right else "silent_wrong"), f"opened {dict(cube.sizes)}"


def _labels_are_right(cube: xr.DataArray, options: dict) -> bool:
    """Whether coordinates, name and interval bounds are those that a case states."""
    places = all(
        cube[name].shape == expected.shape
        and (
            np.array_equal(cube[name], expected)
            if expected.dtype.kind == "M"
            else np.allclose(cube[name], expected, atol=1e-6)
        )
        for name, expected in options.get("coords", {}).items()
    )
    bounds = cube[cube.dims[-3]].attrs.get("bounds_offset_hours")
    return (
        places
        and options.get("cube_name", cube.name) == cube.name
        and options.get("bounds", bounds) == bounds
    )


def main() -> dict[str, int]:
    counts = {"cases": len(CASES), **dict.fromkeys(VERDICTS, 0)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make, error, options in CASES:
            with tempfile.TemporaryDirectory() as folder:
                verdict, line = outcome(make, error, options, Path(folder))
            counts[verdict] += 1
            print(f"{verdict:12s} | {name:45s} | {line[:180]}")
    return counts


if __name__ == "__main__":
    print(json.dumps(main()))
