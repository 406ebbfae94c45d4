"""Rain as CORDEX-ML-Bench takes it: names, dimensions, units and attributes of its templates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.cubes.layout import kind_of, ordered

_GRIDS = {"ALPS": ("y", "x"), "NZ": ("lat", "lon"), "SA": ("lat", "lon")}
_MEMBERS = 10
_ATTRIBUTES = {"project_id": "CORDEX", "activity_id": "ML-Benchmark"}
_HOURS = 24.0


def cordex_prediction(
    rain: xr.DataArray,
    domain: str,
    *,
    template: xr.Dataset | None = None,
    tasmax: xr.DataArray | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Return daily rain as a data set for CORDEX-ML-Bench, ready for ``to_netcdf``.

    ``pr`` in mm per day with the dimensions (time, y, x) in the Alps and (time, lat, lon) in New
    Zealand and South Africa, and ``member`` before them where there are several. The benchmark's
    files are named ``Predictions_pr_tasmax_<GCM>_<period>.nc`` and hold maximum temperature as
    well, which this library does not make: give it as `tasmax`.

    Parameters
    ----------
    rain : DataArray of shape (time, y, x) or (member, time, y, x)
        Daily rain rate in mm/h, with times.
    domain : {"ALPS", "NZ", "SA"}
        Which of the benchmark's domains it is.
    template : Dataset, default=None
        The benchmark's ``pr_<domain>.nc``, opened: its coordinates and the attributes of its
        ``pr`` are taken over.
    tasmax : DataArray, default=None
        Maximum temperature in K, of the same shape and order.
    attributes : dict, default=None
        Of the file: the benchmark asks for ``institution_id``, ``esd_method_id``,
        ``training_experiment``, ``evaluation_experiment`` and others; ``project_id`` and
        ``activity_id`` are set.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        Where the domain is unknown, frames are not days, or the template has another grid.

    Warns
    -----
    UserWarning
        Of another number of members than the 10 that the benchmark asks of generative models.

    References
    ----------
    The benchmark's repository, WCRP-CORDEX/ml-benchmark, folders submission and
    format_predictions.

    Examples
    --------
    >>> from skdiffuse.cubes import cordex_prediction
    >>> days = xr.date_range("1981-01-01", periods=3)
    >>> rain = xr.DataArray(np.ones((10, 3, 4, 5)), {"time": days},
    ...                     ("realization", "time", "latitude", "longitude"))
    >>> made = cordex_prediction(rain, "NZ", attributes={"institution_id": "XYZ"})
    >>> made["pr"].dims, float(made["pr"].max()), made.attrs["activity_id"]
    (('member', 'time', 'lat', 'lon'), 24.0, 'ML-Benchmark')
    """
    if domain not in _GRIDS:
        raise ValueError(f"domain must be one of {tuple(_GRIDS)}; got {domain!r}.")
    found = {"pr": _HOURS * _arranged(rain, domain, "rain")}
    found["pr"].attrs = {"units": "mm day-1", "standard_name": "precipitation_flux"}
    if tasmax is not None:
        found["tasmax"] = _arranged(tasmax, domain, "tasmax")
        found["tasmax"].attrs = {"units": "K", "standard_name": "air_temperature"}
    if found["pr"].sizes.get("member", 1) not in (1, _MEMBERS):
        warnings.warn(
            f"rain has {found['pr'].sizes['member']} members; the benchmark asks for {_MEMBERS} "
            "of generative models.",
            stacklevel=2,
        )
    if template is not None:
        found = {name: _like(X, template, domain) for name, X in found.items()}
        found["pr"].attrs = dict(template["pr"].attrs)
    made = xr.Dataset({name: X.astype(np.float32) for name, X in found.items()})
    return made.assign_attrs({**_ATTRIBUTES, **(attributes or {})})


def _arranged(X: xr.DataArray, domain: str, name: str) -> xr.DataArray:
    """An array with the benchmark's dimensions, members first, and daily times."""
    X = ordered(X, name=name)
    if X.ndim not in (3, 4):
        raise ValueError(
            f"{name} must have shape (time, y, x) or (member, time, y, x); got {X.shape}."
        )
    time = X.dims[-3]
    if time not in X.coords or kind_of(X, time) != "time":
        raise ValueError(f"{name} must have times along {time!r}: the benchmark's files have.")
    steps = np.unique(np.diff(X[time].values))
    lengths = {s / np.timedelta64(1, "D") if X[time].dtype.kind == "M" else s.days for s in steps}
    if any(length < 1 or length % 1 for length in lengths):
        raise ValueError(f"{name} must be daily; its frames are {min(lengths):g} days apart.")
    names = dict(zip(X.dims[-3:], ("time", *_GRIDS[domain]), strict=True))
    if X.ndim == 4:
        names[X.dims[0]] = "member"
    kept = X.drop_vars([c for c in X.coords if c not in X.dims])
    return kept.rename({a: b for a, b in names.items() if a != b})


def _like(X: xr.DataArray, template: xr.Dataset, domain: str) -> xr.DataArray:
    """An array on the coordinates of a template."""
    grid = _GRIDS[domain]
    shape = tuple(template.sizes.get(dim, 0) for dim in grid)
    mine = tuple(X.sizes[dim] for dim in grid)
    if shape != mine:
        raise ValueError(
            f"template has a grid of {shape} cells along {grid}, and rain one of {mine}: regrid "
            "rain, or give the template of its domain."
        )
    places = {c: v for c, v in template.coords.items() if set(v.dims) <= set(grid)}
    return X.assign_coords(places)
