"""Output of the Weather Research and Forecasting model, which follows conventions of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from skdiffuse.cubes.accumulation import START

_TIME = "Time"
_DATE = "%Y-%m-%d_%H:%M:%S"
# Totals since the start of the simulation, and how often each has passed the bucket's size.
_TOTALS = {"RAINC": "I_RAINC", "RAINSH": None, "RAINNC": "I_RAINNC"}


def from_wrf(dataset: xr.Dataset) -> xr.Dataset:
    """Give WRF output times, positions and a ``precipitation_amount``; leave others alone.

    The total is that of the cumulus schemes (RAINC, RAINSH) and of the grid scale (RAINNC), in
    mm since the start of the simulation, with what its buckets hold (BUCKET_MM).

    Raises
    ------
    ValueError
        If a part of the total, the start of the simulation or the times cannot be told.
    """
    if _TIME not in dataset.dims or "RAINNC" not in dataset.data_vars:
        return dataset
    if _TIME not in dataset.coords:
        dataset = dataset.assign_coords({_TIME: _times(dataset)})
    dataset = _with_fixed_positions(dataset)
    start = dataset.attrs.get("SIMULATION_START_DATE", dataset.attrs.get("START_DATE"))
    if start is None:
        raise ValueError(
            "WRF output whose attribute SIMULATION_START_DATE is missing: since when RAINNC counts "
            "is not known; assign it with .assign_attrs(SIMULATION_START_DATE="
            "'2020-01-01_00:00:00')."
        )
    begin = np.datetime64(pd.to_datetime(str(start), format=_DATE), "ns")
    dataset = dataset.assign_coords({START: (_TIME, np.full(dataset.sizes[_TIME], begin))})
    for name in _TOTALS:
        if name in dataset.data_vars:
            dataset[name] = _unbucketed(dataset, name).assign_attrs(
                {**dataset[name].attrs, "units": "mm", START: START}
            )
    if "precipitation_amount" in dataset.data_vars:
        return dataset
    if "RAINC" not in dataset.data_vars and dataset.attrs.get("CU_PHYSICS") != 0:
        # Grid-scale rain alone is chosen by its name.
        return dataset
    total = dataset["RAINNC"]
    for name in ("RAINC", "RAINSH"):
        total = total + dataset[name] if name in dataset.data_vars else total
    attrs = {"units": "mm", "standard_name": "precipitation_amount", START: START}
    return dataset.assign(precipitation_amount=total.assign_attrs(attrs))


def _times(dataset: xr.Dataset) -> xr.Variable:
    attrs = {"standard_name": "time", "axis": "T"}
    if "Times" in dataset:
        values = np.asarray(dataset["Times"].values)
        if values.ndim == 2:
            # Characters that nobody joined.
            values = np.array([b"".join(row) for row in values.astype("S1")])
        dates = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
        return xr.Variable(_TIME, pd.to_datetime(dates, format=_DATE).values, attrs)
    if "XTIME" in dataset and dataset["XTIME"].dtype.kind == "M":
        return xr.Variable(_TIME, np.atleast_1d(dataset["XTIME"].values), attrs)
    raise ValueError(
        "WRF output without the variable Times and with an XTIME that could not be decoded: give "
        ".assign_coords(Time=...) the dates."
    )


def _with_fixed_positions(dataset: xr.Dataset) -> xr.Dataset:
    """Latitudes and longitudes without the time over which they are repeated."""
    units = {"XLAT": "degrees_north", "XLONG": "degrees_east"}
    for name, unit in units.items():
        if name in dataset.variables:
            place = dataset[name]
            if _TIME in place.dims:
                place = place.isel({_TIME: 0}, drop=True)
            place = place.drop_vars([c for c in place.coords if c != name])
            dataset = dataset.drop_vars(name).assign_coords(
                {name: (place.dims, place.values, {**place.attrs, "units": unit})}
            )
    return dataset.drop_vars("XTIME", errors="ignore")


def _unbucketed(dataset: xr.Dataset, name: str) -> xr.DataArray:
    counter, size = _TOTALS[name], float(dataset.attrs.get("BUCKET_MM", -1.0))
    if counter is None or counter not in dataset or not size > 0:
        return dataset[name]
    return dataset[name] + size * dataset[counter]
