"""Outlines of basins as people have them: corners, GeoJSON, shapely, shapefiles."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skdiffuse.answers.mesh import Polygon

__all__ = ["polygons_of"]

_JSON = (".geojson", ".json")
_WAY = "corners (lat, lon), GeoJSON, a geometry of shapely or geopandas, or a file of them"


def polygons_of(basin: Any, *, positions: bool = False) -> list[Polygon]:
    """Polygons with their holes.

    Parameters
    ----------
    basin : array-like of shape (n, 2), dict, object with ``__geo_interface__``, str or Path
        Corners (lat, lon), or (y, x); GeoJSON; whatever shapely and geopandas make; a file of
        GeoJSON, or one that geopandas reads.
    positions : bool
        Whether coordinates are along y and x, and are not to be converted.

    Raises
    ------
    ImportError
        If a file needs geopandas and it is not there.
    ValueError
        If there is no polygon in it.
    """
    if isinstance(basin, str | os.PathLike):
        basin = _read(Path(basin))
    if getattr(basin, "crs", None) is not None and not positions:
        basin = basin.to_crs(4326)
    if hasattr(basin, "__geo_interface__"):
        basin = basin.__geo_interface__
    if isinstance(basin, Mapping):
        found = list(_of_geojson(basin))
        if not found:
            raise ValueError(
                f"basin holds no polygon, but {basin.get('type', 'no GeoJSON')!r}: give {_WAY}."
            )
        return found
    return [[_ring(basin, swap=False)]]


def _read(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"basin={str(path)!r}: there is no such file.")
    if path.suffix.lower() in _JSON:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"basin={str(path)!r} is no GeoJSON: {error}.") from error
    try:
        import geopandas
    except ImportError as error:
        raise ImportError(
            f"basin={str(path)!r}: this file needs geopandas (pip install geopandas); GeoJSON "
            "(.geojson) is read without."
        ) from error
    return geopandas.read_file(path)


def _of_geojson(geometry: Mapping[str, Any]) -> Iterator[Polygon]:
    kind = geometry.get("type")
    if kind == "Polygon":
        yield [_ring(ring, swap=True) for ring in geometry["coordinates"]]
    elif kind == "MultiPolygon":
        for part in geometry["coordinates"]:
            yield [_ring(ring, swap=True) for ring in part]
    elif kind == "Feature" and geometry.get("geometry"):
        yield from _of_geojson(geometry["geometry"])
    elif kind in ("FeatureCollection", "GeometryCollection"):
        for part in geometry.get("features") or geometry.get("geometries") or ():
            yield from _of_geojson(part)


def _ring(corners: Any, *, swap: bool) -> np.ndarray:
    """Corners as (north, east); GeoJSON has them the other way round, and heights at times."""
    try:
        ring = np.asarray([tuple(corner)[:2] for corner in corners], dtype=np.float64)
    except (TypeError, ValueError):
        ring = np.empty(0)
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 or not np.isfinite(ring).all():
        raise ValueError(f"basin must be at least three {_WAY}; got {type(corners).__name__}.")
    return ring[:, ::-1] if swap else ring
