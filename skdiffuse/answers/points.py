"""The rain at a point."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.answers.ensembles import as_ensemble, step_of
from skdiffuse.answers.mesh import Mesh
from skdiffuse.answers.place import PlaceForecast
from skdiffuse.cubes.regions import lat_lon

__all__ = ["point_forecast"]

_RADIUS_KM = 6371.229


def point_forecast(
    forecast: Any,
    *,
    lat: float | None = None,
    lon: float | None = None,
    y: float | None = None,
    x: float | None = None,
    cell: tuple[int, int] | None = None,
    step: Any = None,
    name: str | None = None,
) -> PlaceForecast:
    """The rain of one cell: of an ensemble of `PrecipDiffusion` or of any other model.

    Parameters
    ----------
    forecast : DataArray or ndarray of shape (members, time, y, x), or (time, y, x)
        Rain in mm/h, such as `forecast`, `sample` and `simulate` return.
    lat, lon : float
        Degrees; on any grid that knows its latitudes and longitudes, curvilinear ones too.
    y, x : float
        Or positions along the grid's own axes, in their units.
    cell : tuple of int
        Or row and column.
    step : str, number of hours or timedelta, default=None
        From one frame to the next, where the times do not tell.
    name : str, default=None
        Of the place; None: where it is.

    Returns
    -------
    PlaceForecast

    Raises
    ------
    ValueError
        If not exactly one place is given, or it lies outside the grid.

    Examples
    --------
    >>> from skdiffuse import make_precipitation
    >>> from skdiffuse.answers import point_forecast
    >>> rain = make_precipitation(6, (8, 8), random_state=0)
    >>> point_forecast(rain, y=4400.0, x=2300.0).series.sizes["time"]
    6
    """
    ensemble = as_ensemble(forecast)
    pairs = {"lat and lon": (lat, lon), "y and x": (y, x), "cell": (cell, cell)}
    given = [k for k, pair in pairs.items() if any(each is not None for each in pair)]
    if len(given) != 1 or None in pairs[given[0]]:
        raise ValueError(
            f"give one place: lat and lon, or y and x, or cell; got {given or 'none'}"
            + (", of which a half is missing." if len(given) == 1 else ".")
        )
    if cell is not None:
        row, column = _whole(cell, ensemble)
        said = f"cell {row}, {column}"
    elif lat is not None and lon is not None:
        row, column = _nearest(ensemble, float(lat), float(lon))
        said = f"{lat:g} N, {lon:g} E"
    else:
        assert y is not None and x is not None
        dims = [str(dim) for dim in ensemble.dims[-2:]]
        row, column = _along(ensemble, dims[0], float(y)), _along(ensemble, dims[1], float(x))
        said = f"{dims[0]} {y:g}, {dims[1]} {x:g}"
    series = ensemble.isel({ensemble.dims[-2]: row, ensemble.dims[-1]: column}).load()
    return PlaceForecast(series, step_of(series, step), said if name is None else name)


def _whole(cell: Any, ensemble: xr.DataArray) -> tuple[int, int]:
    try:
        row, column = (int(k) for k in cell)
        fits = (row, column) == tuple(cell)
    except (TypeError, ValueError):
        fits, row, column = False, 0, 0
    rows, columns = ensemble.shape[-2:]
    if not fits or not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(
            f"cell={cell!r} must be a row and a column of the {rows} x {columns} cells."
        )
    return row, column


def _nearest(ensemble: xr.DataArray, lat: float, lon: float) -> tuple[int, int]:
    try:
        south, east = lat_lon(ensemble)
    except ValueError as error:
        raise ValueError(
            f"lat={lat:g} and lon={lon:g} cannot be found: {error} Or give y and x, or cell."
        ) from error
    phi = np.deg2rad(south)
    half = np.sin((phi - np.deg2rad(lat)) / 2) ** 2 + np.cos(phi) * np.cos(np.deg2rad(lat)) * (
        np.sin(np.deg2rad(east - lon) / 2) ** 2
    )
    away = 2 * _RADIUS_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0)))
    row, column = (int(k) for k in np.unravel_index(np.nanargmin(away), away.shape))
    if min(south.shape) > 1 and not Mesh.of_places(south, east).holds(lat, lon, (row, column)):
        raise ValueError(
            f"lat={lat:g}, lon={lon:g} lies outside the grid, {away[row, column]:.3g} km from its "
            f"nearest cell: it spans latitudes {np.nanmin(south):.2f} to {np.nanmax(south):.2f} "
            f"and longitudes {np.nanmin(east):.2f} to {np.nanmax(east):.2f}."
        )
    return row, column


def _along(ensemble: xr.DataArray, dim: str, at: float) -> int:
    coord = ensemble.coords.get(dim)
    if coord is None or coord.dtype.kind not in "fiu":
        raise ValueError(f"forecast has no positions along {dim!r}: give cell=(row, column).")
    values = coord.values.astype(np.float64)
    nearest = int(np.argmin(np.abs(values - at)))
    cell = np.abs(np.diff(values)).max() if values.size > 1 else np.inf
    if not abs(values[nearest] - at) <= 0.5 * cell * (1 + 1e-6):
        raise ValueError(
            f"{at:g} lies outside the grid, which runs from {values[0]:g} to {values[-1]:g} along "
            f"{dim!r}."
        )
    return nearest
