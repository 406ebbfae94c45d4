"""Thousands of NetCDF files as one lazy dataset, read only for their times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cftime
import netCDF4
import numpy as np
import xarray as xr
from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

from skdiffuse.cubes.grids import Grid, refuse_different_grids
from skdiffuse.cubes.missing import mask_not_data

if TYPE_CHECKING:
    import dask.array as da

TimesAndAttributes: TypeAlias = tuple[np.ndarray, dict[str, Any]]

# Frames of one block: few enough that reading one window of a large domain stays cheap.
_BLOCK_BYTES = 16 * 2**20

_MICROSECONDS = {
    "day": 86_400_000_000, "d": 86_400_000_000,
    "hour": 3_600_000_000, "hr": 3_600_000_000, "h": 3_600_000_000,
    "minute": 60_000_000, "min": 60_000_000,
    "second": 1_000_000, "sec": 1_000_000, "s": 1_000_000,
    "millisecond": 1000, "microsecond": 1,
}  # fmt: skip


def join_netcdf(
    paths: Sequence[Path], first: xr.Dataset, variable: str, time_dim: str
) -> xr.Dataset:
    """Files of one layout joined along time, of which nothing but the times has been read.

    Opening a file with xarray takes about ten milliseconds and ten thousand files minutes;
    here only the first is opened so, and of the others the time variable is read.

    Parameters
    ----------
    paths : sequence of paths
    first : Dataset
        The first of them, opened and decoded.
    variable, time_dim : str
        The variable that is wanted and its time dimension, which must have a coordinate.

    Returns
    -------
    Dataset
        In order of time; the other coordinates are those of ``first``, except for moments (the
        start of a forecast) that differ from file to file, which lie along time.

    Raises
    ------
    ValueError
        If a file cannot be read, or differs in shape, units, statistic, calendar or grid.
    """
    array = mask_not_data(first[variable])
    bounds = first[time_dim].encoding.get("bounds", first[time_dim].attrs.get("bounds"))
    wanted = _layout(paths[0], variable, time_dim)
    scalars = [str(n) for n, c in first[variable].coords.items() if c.ndim == 0]
    moments: dict[str, list[TimesAndAttributes]] = {
        n: [] for n in scalars if first[n].dtype.kind in "MO"
    }
    lengths, times, time_bounds, grids = [], [], [], {}
    for path in paths:
        try:
            with netCDF4.Dataset(path) as file:
                layout = _layout_of(file, variable, time_dim)
                if layout != wanted:
                    difference = _difference(wanted, layout)
                    raise ValueError(f"{str(path)!r} differs from {str(paths[0])!r}: {difference}.")
                times.append(_counted(file[time_dim]))
                names = dict.fromkeys([*map(str, first[variable].coords), *map(str, array.dims)])
                grids[repr(str(path))] = Grid.of_file(file, names, time_dim)
                for name, at in moments.items():
                    if name in file.variables:
                        at.append(_counted(file[name]))
                if bounds in file.variables:
                    pairs, attrs = _counted(file[bounds])
                    # In CF they count as their time does; some libraries write units of their own.
                    time_bounds.append((pairs, times[-1][1] | attrs))
        except (OSError, KeyError, IndexError) as error:
            raise ValueError(
                f"{str(path)!r} cannot be joined with {str(paths[0])!r}; it may be damaged, or "
                f"hold other variables: {error}"
            ) from error
        lengths.append(times[-1][0].size)
    refuse_different_grids(grids)
    begins = [float(values.flat[0]) if values.size else 0.0 for values in _since_one_date(times)]
    order = sorted(range(len(paths)), key=begins.__getitem__)
    decoded = _decode([times[i] for i in order], time_dim)
    joined = first.drop_dims(time_dim)
    for key, coord in first[variable].coords.items():
        if time_dim not in coord.dims:
            joined = joined.assign_coords({key: coord})
    joined[time_dim] = (time_dim, decoded, {**first[time_dim].attrs})
    if len(time_bounds) == len(paths):
        pairs = _decode([time_bounds[i] for i in order], str(bounds))
        joined = joined.assign_coords({bounds: ((time_dim, "bnds"), pairs)})
        joined[time_dim].attrs["bounds"] = bounds
    for name in scalars:
        joined = _one_or_along_time(joined, name, moments.get(name), times, order, time_dim)
    values = _blocks([paths[i] for i in order], [lengths[i] for i in order], array, time_dim)
    dims = (time_dim, *(d for d in array.dims if d != time_dim))
    joined[variable] = (dims, values, array.attrs)
    return joined


def _counted(var: Any) -> TimesAndAttributes:
    """Times as numbers, with the attributes that say what they count."""
    attrs = {n: getattr(var, n) for n in ("units", "calendar") if hasattr(var, n)}
    return np.asarray(var[...]), attrs


def _one_or_along_time(
    joined: xr.Dataset,
    name: str,
    moments: list[TimesAndAttributes] | None,
    times: list[TimesAndAttributes],
    order: list[int],
    time_dim: str,
) -> xr.Dataset:
    """Put a moment that is not the same in all files along time."""
    if moments is None or len(moments) != len(times):
        return joined
    each = [np.full(times[i][0].shape, moments[i][0].item()) for i in order]
    along = _decode([(at, moments[i][1]) for at, i in zip(each, order, strict=True)], name)
    if (along == along[0]).all():
        return joined
    return joined.assign_coords({name: (time_dim, along, joined[name].attrs)})


def _layout(path: Path, variable: str, time_dim: str) -> dict[str, Any]:
    with netCDF4.Dataset(path) as file:
        return _layout_of(file, variable, time_dim)


def _layout_of(file: netCDF4.Dataset, variable: str, time_dim: str) -> dict[str, Any]:
    var = file[variable]
    sizes = dict(zip(var.dimensions, var.shape, strict=True))
    sizes.pop(time_dim, None)
    return {
        "dimensions": var.dimensions,
        "sizes": sizes,
        "units": getattr(var, "units", None),
        "cell_methods": getattr(var, "cell_methods", None),
    }


def _difference(wanted: dict[str, Any], got: dict[str, Any]) -> str:
    return "; ".join(
        f"{key} {got[key]} instead of {wanted[key]}" for key in wanted if got[key] != wanted[key]
    )


def _decode(parts: list[TimesAndAttributes], time_dim: str) -> np.ndarray:
    """Decoded times of all files at once, whatever date each of them counts from."""
    calendars = {_calendar(attrs) for _, attrs in parts}
    if len(calendars) > 1 and not _is_modern(parts, calendars):
        raise ValueError(f"the files have different calendars: {sorted(calendars)}.")
    values = np.concatenate(_since_one_date(parts))
    attrs = {"units": _units(parts[0]), "calendar": _calendar(parts[0][1])}
    if len({attrs.get("units") for _, attrs in parts}) > 1:
        attrs["units"] = f"microseconds since {attrs['units'].split(' since ')[1]}"
    raw = xr.Dataset(
        {
            "values": (
                ("t", "bnds")[: values.ndim],
                values,
                attrs | {"calendar": _calendar(parts[0][1])},
            )
        }
    )
    try:
        return xr.decode_cf(raw)["values"].values
    except (ValueError, OverflowError) as error:
        raise ValueError(f"the times {time_dim!r} cannot be decoded: {error}") from error


def _calendar(attrs: dict[str, Any]) -> str:
    name = str(attrs.get("calendar", "standard")).lower()
    return {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}.get(name, name)


def _is_modern(parts: list[TimesAndAttributes], calendars: set[str]) -> bool:
    """Whether dates follow the Gregorian reform, after which two calendars are one."""
    if calendars != {"standard", "proleptic_gregorian"}:
        return False
    return all(
        cftime.num2date(0, _units(part), _calendar(part[1])).year > 1582
        and (part[0].size == 0 or part[0].min() >= 0)
        for part in parts
    )


def _units(part: TimesAndAttributes) -> str:
    return str(part[1].get("units", ""))


def _since_one_date(parts: list[TimesAndAttributes]) -> list[np.ndarray]:
    """Times of all files counted from the date of the first: as they are, or in microseconds.

    Decoding each file by itself would take longer than reading it.
    """
    if len({_units(part) for part in parts}) == 1:
        return [values for values, _ in parts]
    calendar = _calendar(parts[0][1])
    counted, first = [], None
    for values, attrs in parts:
        units = str(attrs.get("units", ""))
        try:
            epoch = cftime.num2date(0, units, calendar)
            length = _MICROSECONDS[units.split(" since ")[0].strip().lower().rstrip("s") or "s"]
        except (ValueError, KeyError) as error:
            raise ValueError(f"times in {units!r} cannot be decoded: {error}") from error
        first = epoch if first is None else first
        offset = round((epoch - first).total_seconds() * 1e6)
        if values.dtype.kind == "f":
            counted.append(np.round(values * length).astype(np.int64) + offset)
        else:
            counted.append(values.astype(np.int64) * length + offset)
    return counted


def _blocks(paths: list[Path], lengths: list[int], array: xr.DataArray, time_dim: str) -> da.Array:
    """A dask array whose blocks are read from the files when they are needed."""
    import dask.array as da

    shape = [size for dim, size in array.sizes.items() if dim != time_dim]
    per_block = max(1, _BLOCK_BYTES // (array.dtype.itemsize * int(np.prod(shape))))
    pieces = [
        (path, start, min(start + per_block, length))
        for path, length in zip(paths, lengths, strict=True)
        for start in range(0, length, per_block)
    ]
    name = array.name
    # Integers of one file may be packed, or have missing cells, in another.
    dtype = np.result_type(array.dtype, np.float32)

    def read(block_info: dict[None, dict[str, Any]]) -> np.ndarray:
        path, start, stop = pieces[block_info[None]["chunk-location"][0]]
        try:
            # xarray locks reading but not opening, and the netCDF library is not thread-safe: two
            # blocks that are opened at once crash the process. So its lock is held throughout.
            with (
                NETCDF4_PYTHON_LOCK,
                xr.open_dataset(path, engine="netcdf4", decode_times=False, lock=False) as file,
            ):
                # Each file has its own packing and its own ways of saying "not data".
                part = mask_not_data(file[name].isel({time_dim: slice(start, stop)}))
                return part.transpose(time_dim, ...).values.astype(dtype, copy=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"{str(path)!r} cannot be read; it may be damaged, or have been moved since it "
                f"was opened: {error}"
            ) from error

    return da.map_blocks(
        read,
        chunks=(tuple(stop - start for _, start, stop in pieces), *((n,) for n in shape)),
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(shape)), dtype=dtype),
    )
