"""Parts of a domain, and coarser grids."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import cf_xarray  # noqa: F401  (registers the .cf accessor)
import numpy as np
import xarray as xr

from skdiffuse.cubes.interval_bounds import keep_bounds
from skdiffuse.cubes.layout import ordered

_EARTH_RADIUS = 6371.229  # km, as in the Met Office Unified Model


def lat_lon(cube: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude of every cell, in degrees.

    Taken from 2-D or 1-D coordinates, or computed where the grid has a rotated pole.

    Parameters
    ----------
    cube : DataArray
        Last two dimensions y and x.

    Returns
    -------
    latitude : ndarray of shape (y, x)
    longitude : ndarray of shape (y, x)
        Longitudes in [-180, 180).

    Raises
    ------
    ValueError
        If the cube has neither coordinates nor a rotated pole.
    """
    cube = ordered(cube, ("y", "x"), "cube")
    y, x = cube.dims[-2:]
    stated = cube.cf.coordinates
    for lat_name in stated.get("latitude", []):
        for lon_name in stated.get("longitude", []):
            lat, lon = cube[lat_name], cube[lon_name]
            if set(lat.dims) | set(lon.dims) == {y, x} and lat.dims and lon.dims:
                lat, lon = xr.broadcast(lat, lon)
                latitude, longitude = (c.transpose(y, x).values for c in (lat, lon))
                return latitude.astype(np.float64), _wrap(longitude.astype(np.float64))
    pole = _rotated_pole(cube)
    if pole is not None and y in cube.coords and x in cube.coords:
        rlat, rlon = np.meshgrid(cube[y].values, cube[x].values, indexing="ij")
        return unrotate(rlat, rlon, *pole)
    raise ValueError(
        "the cube has no latitudes and longitudes, and no grid mapping with a rotated pole to "
        "compute them from: add them as 2-D coordinates, or select by .isel()."
    )


def _wrap(longitude: np.ndarray) -> np.ndarray:
    return (longitude + 180.0) % 360.0 - 180.0


def _rotated_pole(cube: xr.DataArray) -> tuple[float, float] | None:
    for coord in cube.coords.values():
        if coord.attrs.get("grid_mapping_name") == "rotated_latitude_longitude":
            return (
                float(coord.attrs["grid_north_pole_latitude"]),
                float(coord.attrs["grid_north_pole_longitude"]),
            )
    return None


def unrotate(
    grid_latitude: np.ndarray,
    grid_longitude: np.ndarray,
    pole_latitude: float,
    pole_longitude: float,
) -> tuple[np.ndarray, np.ndarray]:
    """True latitude and longitude of points given on a grid with a rotated pole, in degrees.

    CF conventions, appendix F (rotated_latitude_longitude, north_pole_grid_longitude 0).

    Examples
    --------
    >>> lat, lon = unrotate(0.0, 0.0, 37.5, 177.5)  # the centre of UKCP18's domain
    >>> round(float(lat), 6), round(float(lon), 6)
    (52.5, -2.5)
    """
    phi, lam = np.deg2rad(grid_latitude), np.deg2rad(grid_longitude)
    pole = np.deg2rad(pole_latitude)
    # Cartesian coordinates about the rotated axis, tilted back.
    a, b, c = np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)
    lat = np.arcsin(np.clip(np.cos(pole) * a + np.sin(pole) * c, -1, 1))
    lon = np.arctan2(b, np.sin(pole) * a - np.cos(pole) * c)
    return np.rad2deg(lat), _wrap(np.rad2deg(lon) + pole_longitude + 180.0)


def crop(
    cube: xr.DataArray,
    *,
    lat: tuple[float, float] | None = None,
    lon: tuple[float, float] | None = None,
    centre: tuple[float, float] | None = None,
    size: int | tuple[int, int] | None = None,
    polygon: Sequence[tuple[float, float]] | None = None,
) -> xr.DataArray:
    """A part of the domain, by a box, a centre or a polygon in latitude and longitude.

    Parameters
    ----------
    cube : DataArray
        Last two dimensions y and x; any grid with latitudes and longitudes, see
        :func:`lat_lon`.
    lat, lon : (float, float), optional
        A box, degrees. The smallest block of cells that holds all cells in it is kept.
    centre : (lat, lon), optional
        Centre, degrees, of a block of ``size`` cells.
    size : int or (int, int), optional
        Cells in y and x.
    polygon : sequence of (lat, lon), optional
        Corners, degrees; cells whose centre lies outside become NaN, and the smallest block
        around the others is kept.

    Returns
    -------
    DataArray
        A view of the cube; masked, and so copied or lazy, for a polygon.

    Raises
    ------
    ValueError
        If not exactly one of the three is given, or it does not lie within the domain.

    Examples
    --------
    >>> rain = xr.DataArray(
    ...     np.zeros((1, 10, 20)),
    ...     {
    ...         "lat": ("lat", np.arange(50.0, 60.0), {"units": "degrees_north"}),
    ...         "lon": ("lon", np.arange(350.0, 370.0), {"units": "degrees_east"}),
    ...     },
    ...     ("time", "lat", "lon"),
    ... )
    >>> crop(rain, lat=(52, 55), lon=(-3, 2)).shape
    (1, 4, 6)
    >>> crop(rain, centre=(55, 0), size=4).shape
    (1, 4, 4)
    """
    cube = ordered(cube, ("y", "x"), "cube")
    box = lat is not None or lon is not None
    if box + (centre is not None) + (polygon is not None) != 1:
        raise ValueError("give one of: lat and lon; centre and size; polygon.")
    if centre is not None:
        if size is None:
            raise ValueError("centre needs size, the number of cells in y and x.")
        return cube.isel(block_around(cube, centre, size))
    latitude, longitude = lat_lon(cube)
    if polygon is not None:
        inside = _in_polygon(latitude, longitude, np.asarray(polygon, dtype=np.float64))
        what = "polygon"
    else:
        what = f"box lat={lat}, lon={lon}"
        inside = np.ones(latitude.shape, dtype=bool)
        if lat is not None:
            inside &= (latitude >= min(lat)) & (latitude <= max(lat))
        if lon is not None:
            # The box runs eastwards from the first longitude, across 180 degrees if it must.
            width = lon[1] - lon[0]
            inside &= (longitude - lon[0]) % 360 <= (360 if width >= 360 else width % 360)
    if not inside.any():
        raise ValueError(
            f"no cell of the domain lies in the {what}: it spans latitudes "
            f"{latitude.min():.2f} to {latitude.max():.2f} and longitudes "
            f"{longitude.min():.2f} to {longitude.max():.2f}."
        )
    rows, columns = (np.flatnonzero(inside.any(axis=a)) for a in (1, 0))
    y, x = cube.dims[-2:]
    part = {y: slice(rows[0], rows[-1] + 1), x: slice(columns[0], columns[-1] + 1)}
    cropped = cube.isel(part)
    if polygon is not None:
        masked = cropped.where(xr.DataArray(inside, dims=(y, x)).isel(part))
        cropped = keep_bounds(masked, cropped)
    return cropped


def block_around(
    cube: xr.DataArray, centre: tuple[float, float], size: int | tuple[int, int]
) -> dict[Hashable, slice]:
    """Slices of y and x that hold ``size`` cells around a point (lat, lon).

    Raises
    ------
    ValueError
        If the block reaches beyond the domain.
    """
    sizes = tuple(size) if isinstance(size, Iterable) else (size, size)
    latitude, longitude = lat_lon(cube)
    distance = _great_circle(latitude, longitude, *centre)
    nearest = np.unravel_index(np.argmin(distance), distance.shape)
    part: dict[Hashable, slice] = {}
    for axis, (dim, n, at) in enumerate(zip(cube.dims[-2:], sizes, nearest, strict=True)):
        # An even number of cells has its centre on an edge: the one nearer to the point.
        start = int(at) - n // 2
        if n % 2 == 0:
            step = [0, 0]
            step[axis] = 1
            after = tuple(np.clip(np.add(nearest, step), 0, np.subtract(distance.shape, 1)))
            before = tuple(np.clip(np.subtract(nearest, step), 0, np.subtract(distance.shape, 1)))
            if distance[after] < distance[before]:
                start += 1
        if start < 0 or start + n > cube.sizes[dim]:
            raise ValueError(
                f"{n} cells around {centre} reach beyond the domain in {dim!r} (cells {start} to "
                f"{start + n} of {cube.sizes[dim]})."
            )
        part[dim] = slice(start, start + n)
    return part


def _great_circle(
    latitude: np.ndarray, longitude: np.ndarray, lat: float, lon: float
) -> np.ndarray:
    """Distance in km from a point (haversine formula)."""
    phi, other = np.deg2rad(latitude), np.deg2rad(lat)
    half_chord = (
        np.sin((phi - other) / 2) ** 2
        + np.cos(phi) * np.cos(other) * np.sin(np.deg2rad(longitude - lon) / 2) ** 2
    )
    return 2 * _EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(half_chord, 1.0)))


def _in_polygon(latitude: np.ndarray, longitude: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Even-odd rule, with straight edges in latitude and longitude."""
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError("polygon must be at least three corners (lat, lon).")
    # Longitudes relative to the first corner, so that nothing is cut at 180 degrees.
    x, y = _wrap(longitude - corners[0, 1]), latitude
    cx, cy = _wrap(corners[:, 1] - corners[0, 1]), corners[:, 0]
    inside = np.zeros(latitude.shape, dtype=bool)
    for x0, y0, x1, y1 in zip(cx, cy, np.roll(cx, -1), np.roll(cy, -1), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        inside ^= crosses & (x < at)
    return inside


def coarsen(cube: xr.DataArray, factor: int, *, min_valid: float = 0.5) -> xr.DataArray:
    """Area mean over blocks of ``factor`` x ``factor`` cells, so that the water is conserved.

    On a grid in degrees cells are weighted with the cosine of their (grid) latitude, which is
    their area.

    Parameters
    ----------
    cube : DataArray
        Last two dimensions y and x; cells left over at the far edges are dropped.
    factor : int
    min_valid : float, default=0.5
        Share of a block, by area, that must not be missing for it to have a value.

    Returns
    -------
    DataArray
        Coordinates of cells are averaged likewise; lazy if the cube is.

    Raises
    ------
    ValueError
        If a block is larger than the domain.

    Examples
    --------
    >>> fine = xr.DataArray(np.arange(16.0).reshape(1, 4, 4), dims=("time", "y", "x"))
    >>> coarsen(fine, 2).values
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]])
    """
    cube = ordered(cube, ("y", "x"), "cube")
    y, x = cube.dims[-2:]
    if not (int(factor) == factor and 1 <= factor <= min(cube.sizes[y], cube.sizes[x])):
        raise ValueError(
            f"factor must be a whole number from 1 to the size of the domain "
            f"({cube.sizes[y]} x {cube.sizes[x]}); got {factor!r}."
        )
    if factor == 1:
        return cube
    blocks = {y: int(factor), x: int(factor)}
    area = _cell_area(cube)
    valid = cube.notnull()
    weight = (area * valid).coarsen(blocks, boundary="trim").sum()
    total = (cube.fillna(0) * area).coarsen(blocks, boundary="trim").sum()
    whole = (area * xr.ones_like(cube[x], dtype=np.float32)).coarsen(blocks, boundary="trim").sum()
    mean = (total / weight).where(weight >= min_valid * whole)
    mean = mean.transpose(*cube.dims).astype(cube.dtype if cube.dtype.kind == "f" else np.float32)
    spatial = [n for n, c in cube.coords.items() if {y, x} & set(c.dims)]
    centres = {}
    for name in spatial:
        window = {dim: blocks[dim] for dim in cube[name].dims if dim in blocks}
        if cube[name].dtype.kind in "fiu":
            mean_coord = cube[name].variable.coarsen(window, np.mean, boundary="trim")
            centres[name] = (mean_coord.dims, mean_coord.data, cube[name].attrs)
    mean = mean.drop_vars([n for n in spatial if n in mean.coords]).assign_coords(centres)
    mean.attrs = dict(cube.attrs)
    mean.name = cube.name
    return keep_bounds(mean, cube)


def _cell_area(cube: xr.DataArray) -> xr.DataArray:
    """Relative area of the rows of cells: the cosine of latitude, or one."""
    y = cube.dims[-2]
    degrees = y in cube.coords and str(cube[y].attrs.get("units", "")).startswith("degree")
    row = np.cos(np.deg2rad(cube[y].values)) if degrees else np.ones(cube.sizes[y])
    return xr.DataArray(row.astype(np.float32), dims=(y,))
