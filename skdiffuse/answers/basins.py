"""The rain of an area: means over the cells of a basin, by how much of each lies in it."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import xarray as xr

from skdiffuse.answers.ensembles import as_ensemble, step_of
from skdiffuse.answers.mesh import Mesh, Polygon
from skdiffuse.answers.outlines import polygons_of
from skdiffuse.answers.place import PlaceForecast
from skdiffuse.cubes.alignment import align_like
from skdiffuse.cubes.regions import lat_lon

__all__ = ["basin_forecast"]

# Of a basin's area; a mean over less of it would be that of another place.
_LEAST_KNOWN = 0.5


def basin_forecast(
    forecast: Any,
    basin: Any,
    *,
    coordinates: Literal["lat_lon", "grid"] = "lat_lon",
    step: Any = None,
    name: str = "basin",
) -> PlaceForecast:
    """The mean rain over a basin: of an ensemble of `PrecipDiffusion` or of any other model.

    Parameters
    ----------
    forecast : DataArray or ndarray of shape (members, time, y, x), or (time, y, x)
        Rain in mm/h, such as `forecast`, `sample` and `simulate` return.
    basin : array, DataArray, dict, geometry, str or Path
        A mask of shape (y, x), of bools or of shares from 0 to 1; corners (lat, lon) of a polygon,
        of shape (n, 2); GeoJSON; a geometry of shapely or a table of geopandas; a file of GeoJSON,
        or one that geopandas reads, such as a shapefile, whose areas are taken together.
    coordinates : {"lat_lon", "grid"}, default="lat_lon"
        Whether a polygon is in degrees or, corners (y, x), in positions along the grid's axes.
    step : str, number of hours or timedelta, default=None
        From one frame to the next, where the times do not tell.
    name : str, default="basin"
        For tables and pictures.

    Returns
    -------
    PlaceForecast
        Means weighted by the areas of cells, and the share of each that lies in the basin; NaN
        where less than half of the basin is known.

    Raises
    ------
    ImportError
        If a file needs geopandas.
    ValueError
        If the basin lies outside the grid, is of another shape, or is empty.

    Warns
    -----
    UserWarning
        If a part of the basin lies outside the grid.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.answers import basin_forecast
    >>> rain = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> mask = np.eye(4, dtype=bool)
    >>> float(basin_forecast(rain, mask, step="1h").series[0, 0])
    7.5
    """
    if coordinates not in ("lat_lon", "grid"):
        raise ValueError(f"coordinates={coordinates!r} must be 'lat_lon' or 'grid'.")
    ensemble = as_ensemble(forecast)
    mask = _mask(basin, ensemble)
    if mask is None:
        mesh = _mesh(ensemble, coordinates)
        weight = _covered(mesh, polygons_of(basin, positions=coordinates == "grid")) * mesh.areas()
    else:
        weight = mask * _areas(ensemble)
    rows, columns = (np.flatnonzero(weight.any(axis=axis)) for axis in (1, 0))
    block = tuple(slice(k[0], k[-1] + 1) for k in (rows, columns))
    dims = ensemble.dims[-2:]
    part = ensemble.isel(dict(zip(dims, block, strict=True))).load()
    w = xr.DataArray(weight[block], dims=dims)
    known = (w * part.notnull()).sum(dims)
    series = ((w * part.fillna(0)).sum(dims) / known).where(known >= _LEAST_KNOWN * w.sum())
    series = series.transpose(*ensemble.dims[:2])
    series.attrs = {"units": "mm h-1", "cell_methods": "area: mean"}
    return PlaceForecast(series.rename(ensemble.name), step_of(series, step), name)


def _mask(basin: Any, ensemble: xr.DataArray) -> np.ndarray | None:
    """A mask in the order of the cells; None where a basin is none."""
    named = isinstance(basin, xr.DataArray)
    if not named and not (
        isinstance(basin, np.ndarray)
        and (basin.dtype.kind == "b" or basin.shape == ensemble.shape[-2:])
    ):
        return None
    if named:
        basin = align_like(basin, ensemble[0, 0].drop_vars("weight", errors="ignore"), "basin")
    shares = np.asarray(basin, dtype=np.float64)
    if shares.shape != ensemble.shape[-2:]:
        raise ValueError(
            f"basin is a mask of shape {shares.shape}, and the cells are {ensemble.shape[-2:]}."
        )
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError("basin is a mask, which holds True and False, or shares from 0 to 1.")
    if not shares.any():
        raise ValueError("basin is a mask that holds no cell.")
    return shares


def _mesh(ensemble: xr.DataArray, coordinates: str) -> Mesh:
    if min(ensemble.shape[-2:]) < 2:
        raise ValueError(f"a grid of {ensemble.shape[-2:]} cells does not tell how large they are.")
    if coordinates == "lat_lon":
        try:
            return Mesh.of_places(*lat_lon(ensemble))
        except ValueError as error:
            raise ValueError(
                f"basin is in degrees, and {error} Or give a mask, or coordinates='grid'."
            ) from error
    return Mesh.of_positions(*(_positions(ensemble, str(dim)) for dim in ensemble.dims[-2:]))


def _positions(ensemble: xr.DataArray, dim: str) -> np.ndarray:
    coord = ensemble.coords.get(dim)
    if coord is None or coord.dtype.kind not in "fiu":
        raise ValueError(f"forecast has no positions along {dim!r}: give a mask of the cells.")
    values: np.ndarray = coord.values.astype(np.float64)
    return values


def _areas(ensemble: xr.DataArray) -> np.ndarray:
    """Relative areas of the cells, as far as coordinates tell."""
    for coordinates in ("lat_lon", "grid"):
        try:
            return _mesh(ensemble, coordinates).areas()
        except ValueError:
            continue
    return np.ones(ensemble.shape[-2:])


def _covered(mesh: Mesh, polygons: list[Polygon]) -> np.ndarray:
    shares = [mesh.share(polygon) for polygon in polygons]
    # Areas that touch or overlap are taken together.
    found: np.ndarray = np.minimum(sum(shares), 1.0)
    if not found.any():
        for polygon in polygons:
            if (cell := mesh.cell_of(polygon)) is not None:
                found[cell] = 1.0
    if not found.any():
        raise ValueError(f"basin lies outside the grid, {_said(mesh)}.")
    if any(mesh.reaches_beyond(polygon) for polygon in polygons):
        wanted = sum(mesh.area_of(polygon) for polygon in polygons)
        share = 1 - float((found * mesh.areas()).sum()) / wanted
        if share > 0.01:
            warnings.warn(
                f"{100 * share:.0f} % of the basin lie outside the grid, {_said(mesh)}: the mean "
                "is that of the rest.",
                UserWarning,
                stacklevel=3,
            )
    return found


def _said(mesh: Mesh) -> str:
    shift = mesh.meridian or 0.0
    north, east = (
        f"{values.min() + by:.5g} to {values.max() + by:.5g}"
        for values, by in ((mesh.north, 0.0), (mesh.east, shift))
    )
    names = ("y", "x") if mesh.meridian is None else ("latitudes", "longitudes")
    return f"which spans {names[0]} {north} and {names[1]} {east}"
