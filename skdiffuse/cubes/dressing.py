"""The one way back from plain arrays to the user's type of cube."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Literal

import numpy as np
import xarray as xr

from skdiffuse.cubes.interval_bounds import bounds_of, with_bounds
from skdiffuse.cubes.metadata import GridMetadata
from skdiffuse.cubes.time_axis import (
    BOUNDS_OFFSET,
    extend_times,
    is_time_like,
    refine_times,
    seconds_to_timedelta,
)

ENSEMBLE_DIM = "realization"


def dress(
    values: np.ndarray,
    template: GridMetadata | None,
    *,
    time: Literal["same", "continued", "refined", "elapsed"] = "same",
    factor: int = 1,
    space_factor: int = 1,
    first: int = 0,
    history: str | None = None,
) -> np.ndarray | xr.DataArray:
    """Give results the dimensions, coordinates and attributes of the cube they came from.

    Parameters
    ----------
    values : ndarray
        Of the template's dimensions, or with an ensemble in front of them. With
        ``time="elapsed"``: (time, y, x) or (realization, time, y, x).
    template : GridMetadata or None
        ``Cube.template`` of the input. None: numpy came in, and ``values`` go back as they are.
    time : {"same", "continued", "refined", "elapsed"}, default="same"
        The times of the result: those of the template; the steps that follow its last one
        (with ``lead_time``); the template's with ``factor - 1`` more between each two; or, for
        fields of no date, the time since the first frame.
    factor : int, default=1
        For ``time="refined"``: steps for each step of the template.
    space_factor : int, default=1
        Cells in y and in x for each of the template's.
    first : int, default=0
        Number of the first realization.
    history : str, optional
        Line to put in front of the ``history`` attribute.

    Returns
    -------
    ndarray or DataArray
        ``values`` themselves, not a copy, with ``units`` "mm h-1".

    Raises
    ------
    ValueError
        If the shape of ``values`` does not fit the template and ``time``.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from skdiffuse.cubes import validate_cube
    >>> times = np.array(["2000-01-01T00", "2000-01-01T01"], dtype="datetime64[ns]")
    >>> rain = xr.DataArray(np.ones((2, 4, 4)), dims=("time", "y", "x"), coords={"time": times})
    >>> template = validate_cube(rain).template
    >>> forecast = dress(np.ones((5, 3, 4, 4)), template, time="continued")
    >>> forecast.dims, str(forecast.time.values[0])[:16]
    (('realization', 'time', 'y', 'x'), '2000-01-01T02:00')
    """
    if template is None:
        return values
    dims = template.dims[-3:] if time == "elapsed" else template.dims
    if values.ndim not in (len(dims), len(dims) + 1):
        raise ValueError(
            f"values of shape {values.shape} do not fit the dimensions {dims}, with or without "
            f"a leading {ENSEMBLE_DIM!r}."
        )
    ensemble: tuple[str, ...] = ()
    if values.ndim > len(dims):
        # A cube made of members keeps its own member dimension apart from the new one.
        ensemble = (ENSEMBLE_DIM if ENSEMBLE_DIM not in dims else f"{ENSEMBLE_DIM}_2",)
    sizes: dict[Hashable, int] = dict(zip((*ensemble, *dims), values.shape, strict=True))

    coords = dict(_time_coords(template, sizes[dims[-3]], time, factor))
    coords.update(_spatial_coords(template, sizes, space_factor))
    if time != "elapsed" and len(dims) == 4:
        coords.update(_coords_along(template, {dims[0]}))
    if ensemble:
        coords.pop(ensemble[0], None)
        coords[ensemble[0]] = xr.Variable(
            ensemble, first + np.arange(values.shape[0]), {"standard_name": "realization"}
        )
    for name, coord in coords.items():
        for dim, size in coord.sizes.items():
            if sizes[dim] != size:
                raise ValueError(
                    f"values of shape {values.shape} do not fit coordinate {name!r} with "
                    f"{size} values along {dim!r} (time={time!r}, factor={factor})."
                )
    attrs = {**template.attrs, "units": "mm h-1"}
    if history:
        attrs["history"] = "\n".join([history, *filter(None, [attrs.get("history")])])
    result = xr.DataArray(values, coords, (*ensemble, *dims), name=template.name, attrs=attrs)
    return with_bounds(result, bounds_of(result))


def _coords_along(template: GridMetadata, allowed: set[str]) -> dict[str, xr.Variable]:
    """Coordinates with at least one dimension, all of them among those allowed."""
    coords = template.coords.coords.items()
    return {str(n): c.variable for n, c in coords if c.dims and set(c.dims) <= allowed}


def _time_coords(
    template: GridMetadata, n_times: int, time: str, factor: int
) -> dict[str, xr.Variable]:
    dim = template.dims[-3]
    if time == "same":
        allowed = set(template.dims)
        return {n: v for n, v in _coords_along(template, allowed).items() if dim in v.dims}
    step = template.time_step
    if time == "elapsed":
        if step is None:
            return {}
        elapsed = np.arange(n_times) * seconds_to_timedelta(step)
        return {dim: xr.Variable(dim, elapsed, {"long_name": "time since the first frame"})}
    if dim not in template.coords.coords:
        return {}
    known = template.coords[dim]
    if time == "refined":
        # What lies between the times of means is a mean over no interval that is known.
        attrs = {k: v for k, v in known.attrs.items() if k != BOUNDS_OFFSET}
        return {dim: xr.Variable(dim, refine_times(known.values, factor), attrs)}
    if time != "continued":
        raise ValueError(f"time must be 'same', 'continued', 'refined' or 'elapsed'; got {time!r}.")
    if step is None:
        if is_time_like(known.values) or known.dtype.kind not in "fiu":
            return {}
        step = float(known.values[-1] - known.values[-2]) if known.size > 1 else 1.0
        return {dim: xr.Variable(dim, extend_times(known.values, n_times, step), known.attrs)}
    lead = np.arange(1, n_times + 1) * seconds_to_timedelta(step)
    return {
        dim: xr.Variable(dim, extend_times(known.values, n_times, step), known.attrs),
        "lead_time": xr.Variable(dim, lead, {"standard_name": "forecast_period"}),
        "forecast_reference_time": xr.Variable(
            (), known.values[-1], {"standard_name": "forecast_reference_time"}
        ),
    }


def _spatial_coords(
    template: GridMetadata, sizes: Mapping[Hashable, int], space_factor: int
) -> dict[str, xr.Variable]:
    y, x = template.dims[-2:]
    spatial = {str(n): c.variable for n, c in template.spatial_coords.coords.items()}
    if space_factor != 1:
        spatial = {n: _refine_cells(v, space_factor) for n, v in spatial.items()}
    known = {dim: v.sizes[dim] for v in spatial.values() for dim in v.dims}
    if all(known.get(dim, sizes[dim]) == sizes[dim] for dim in (y, x)):
        return spatial
    # A field of another size lies nowhere in particular: only the spacing carries over.
    distances = {}
    for dim in (y, x):
        if dim in spatial and spatial[dim].size > 1 and spatial[dim].dtype.kind in "fiu":
            centres = spatial[dim].values.astype(np.float64)
            spacing = (centres[-1] - centres[0]) / (centres.size - 1)
            attrs = {"long_name": f"distance in {dim} from the first cell"}
            attrs.update({k: v for k, v in spatial[dim].attrs.items() if k in ("units", "axis")})
            distances[dim] = xr.Variable(dim, np.arange(sizes[dim]) * spacing, attrs)
    return distances


def _refine_cells(coord: xr.Variable, factor: int) -> xr.Variable:
    """Centres of the cells that arise when each cell is cut in ``factor`` along each side."""
    if coord.dtype.kind not in "fiu":
        return coord
    values = coord.values.astype(np.float64)
    for axis in range(values.ndim):
        n = values.shape[axis]
        if n == 1:
            # One cell tells nothing about its width.
            values = np.repeat(values, factor, axis=axis)
            continue
        position = (np.arange(n * factor) + 0.5) / factor - 0.5
        left = np.clip(np.floor(position).astype(int), 0, n - 2)
        weight = (position - left).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        low, high = np.take(values, left, axis), np.take(values, left + 1, axis)
        values = low + weight * (high - low)
    return xr.Variable(
        coord.dims, values.astype(np.result_type(coord.dtype, np.float32)), coord.attrs
    )
