"""Coastlines under maps of rain, where there is something to draw them with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import LinearNDInterpolator

_NODES = 24  # a grid's latitudes and longitudes are smooth: so many nodes a side tell them


@lru_cache(maxsize=2)
def natural_earth_coast(resolution: str = "50m") -> tuple[np.ndarray, ...]:
    """Return coastlines as arrays (n_points, 2) of longitude and latitude; none where absent.

    They are those that cartopy has, installed with it or downloaded earlier. Nothing is
    downloaded here: drawing a picture must not wait for a network.
    """
    try:
        from cartopy import config
        from cartopy.io import Downloader
        from cartopy.io.shapereader import Reader
    except ImportError:
        return ()
    place = {
        "config": config, "resolution": resolution, "category": "physical", "name": "coastline",
    }  # fmt: skip
    source = Downloader.from_config(("shapefiles", "natural_earth"))
    for path in (source.pre_downloaded_path(place), source.target_path(place)):
        if path is not None and Path(path).exists():
            lines = []
            for geometry in Reader(str(path)).geometries():
                lines += [np.asarray(g.coords) for g in getattr(geometry, "geoms", [geometry])]
            return tuple(lines)
    return ()


def _lat_lon(field: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Latitude and longitude of each cell of a DataArray (y, x), if it tells them."""
    y, x = field.dims
    found = []
    for standard, names in (("latitude", ("lat", "latitude")), ("longitude", ("lon", "longitude"))):
        for name, coord in field.coords.items():
            known = coord.attrs.get("standard_name") == standard or name in names
            if known and coord.dims and set(coord.dims) <= {y, x}:
                found.append(coord)
                break
    if len(found) < 2:
        return None
    like = field.coords[y] * 0 + field.coords[x] * 0 if {y, x} <= set(field.coords) else None
    if like is None:
        return None
    lat, lon = ((like + c).transpose(y, x).values.astype(np.float64) for c in found)
    return lat, lon


def draw_coastlines(ax: Any, field: Any, lines: tuple[np.ndarray, ...] | None = None) -> int:
    """Draw coastlines in axes whose data coordinates are those of a DataArray (y, x).

    Parameters
    ----------
    ax : Axes
        Axes with the field drawn.
    field : DataArray of shape (y, x)
        With latitudes and longitudes as coordinates, one- or two-dimensional.
    lines : tuple of ndarray of shape (n_points, 2), default=None
        Lines of longitude and latitude; by default cartopy's coastlines, as far as they are
        on this machine.

    Returns
    -------
    int
        Number of lines drawn: 0 where there is no coast, no coordinate, or nothing to draw with.
    """
    if not hasattr(field, "dims") or field.ndim != 2 or min(field.shape) < 2:
        return 0
    lines = natural_earth_coast() if lines is None else lines
    place = _lat_lon(field) if lines else None
    if place is None:
        return 0
    lat, lon = place
    if not (np.isfinite(lat).all() and np.isfinite(lon).all()):
        return 0
    middle = float(np.degrees(np.angle(np.exp(1j * np.radians(lon)).mean())))
    around = (lon - middle + 180) % 360 - 180
    rows, columns = (
        np.unique(np.linspace(0, n - 1, _NODES).round().astype(int)) for n in lat.shape
    )
    node = np.ix_(rows, columns)
    y, x = (np.asarray(field[d], dtype=np.float64) for d in field.dims)
    at = np.stack(np.broadcast_arrays(x[None, columns], y[rows, None]), axis=-1).reshape(-1, 2)
    to_axes = LinearNDInterpolator(np.column_stack([around[node].ravel(), lat[node].ravel()]), at)
    box = around.min(), around.max(), lat.min(), lat.max()
    limits = ax.axis()
    drawn = 0
    for line in lines:
        east = (line[:, 0] - middle + 180) % 360 - 180
        north = line[:, 1]
        if (
            east.max() < box[0] or east.min() > box[1] or north.max() < box[2]
            or north.min() > box[3]
        ):  # fmt: skip
            continue
        points = to_axes(np.column_stack([east, north]))
        if np.isfinite(points).any():
            ax.plot(*points.T, color="#555555", linewidth=0.6, zorder=3)
            drawn += 1
    ax.axis(limits)
    return drawn
