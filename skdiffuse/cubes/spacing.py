"""How far apart the cells of a grid lie, and where its middle is, as far as coordinates tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from skdiffuse.cubes.metadata import GridMetadata

__all__ = [
    "METRES_PER_DEGREE",
    "Axis",
    "axis_of",
    "middle_place",
    "projection",
    "spacing_in_metres",
]

_METRES = {"m": 1.0, "km": 1e3} | dict.fromkeys(("metre", "metres", "meter", "meters"), 1.0)
_METRES |= dict.fromkeys(("kilometre", "kilometres", "kilometer", "kilometers"), 1e3)
METRES_PER_DEGREE = 6_371_229.0 * np.pi / 180


@dataclass(frozen=True)
class Axis:
    """Evenly spaced positions along y or x.

    Attributes
    ----------
    step : float
        From one to the next, negative where positions fall; in metres, degrees or, if the
        coordinate states neither, its own unit.
    middle : float
    size : int
    unit : {"m", "degrees"} or str
    """

    step: float
    middle: float
    size: int
    unit: str

    def __str__(self) -> str:
        if self.unit == "m" and abs(self.step) >= 1e3:
            return f"{self.step / 1e3:.4g} km"
        return f"{self.step:.4g} {self.unit}".strip()


def axis_of(template: GridMetadata, dim: str) -> Axis | None:
    """The axis of a dimension, where a coordinate of its name has at least two numbers.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> y = xr.Variable("y", [3.0, 2.0, 1.0], {"units": "km"})
    >>> rain = xr.DataArray(np.zeros((1, 3, 2)), dims=("time", "y", "x"), coords={"y": y})
    >>> print(axis_of(GridMetadata.of(rain), "y"))
    -1 km
    """
    coord = template.coords.coords.get(dim)
    if coord is None or coord.dims != (dim,) or coord.size < 2 or coord.dtype.kind not in "fiu":
        return None
    values = coord.values.astype(np.float64)
    units = str(coord.attrs.get("units", ""))
    factor = _METRES.get(units, 1.0)
    unit = "m" if units in _METRES else "degrees" if units.startswith("degree") else units
    step = (values[-1] - values[0]) / (values.size - 1)
    return Axis(factor * step, factor * float(values.mean()), values.size, unit)


def spacing_in_metres(template: GridMetadata) -> tuple[float, float] | None:
    """Distance between neighbours in y and in x in the middle of a field, where it can be told.

    From positions in metres, or from longitudes and latitudes along one dimension or two.
    """
    y, x = (axis_of(template, dim) for dim in template.dims[-2:])
    if y and x and y.unit == x.unit == "m":
        return abs(y.step), abs(x.step)
    if y and x and y.unit == x.unit == "degrees" and abs(y.middle) < 90:
        shrunk = np.cos(np.radians(y.middle))
        return abs(y.step) * METRES_PER_DEGREE, abs(x.step) * METRES_PER_DEGREE * float(shrunk)
    return _spacing_of_places(template)


def _spacing_of_places(template: GridMetadata) -> tuple[float, float] | None:
    latitude, longitude = (_places(template, kind) for kind in ("latitude", "longitude"))
    if latitude is None or longitude is None or min(latitude.shape) < 2:
        return None
    row, column = (n // 2 - 1 for n in latitude.shape)
    south, east = np.radians(latitude.values), np.radians(longitude.values)

    def distance(i: int, j: int) -> float:
        """From the cell in the middle to its neighbour, on a sphere."""
        a = (row, column), (row + i, column + j)
        (p, q), (u, v) = ((south[k], east[k]) for k in a)
        half = np.sin((u - p) / 2) ** 2 + np.cos(p) * np.cos(u) * np.sin((v - q) / 2) ** 2
        return float(2 * np.degrees(np.arcsin(np.sqrt(half))) * METRES_PER_DEGREE)

    return distance(1, 0), distance(0, 1)


def middle_place(template: GridMetadata) -> tuple[float, float] | None:
    """Mean latitude and longitude of a field whose cells state theirs."""
    latitude, longitude = (_places(template, kind) for kind in ("latitude", "longitude"))
    if latitude is None or longitude is None:
        return None
    around = np.exp(1j * np.radians(longitude.values.astype(np.float64))).mean()
    return float(latitude.mean()), float(np.degrees(np.angle(around)))


def projection(template: GridMetadata) -> dict[str, object]:
    """Attributes of the CF grid mapping that say where a projection's origin lies."""
    coord = template.coords.coords.get(template.attrs.get("grid_mapping", ""))
    if coord is None:
        return {}
    telling = ("grid_mapping_name", "origin", "meridian", "parallel", "false_", "pole")
    return {
        str(name): value
        for name, value in coord.attrs.items()
        if any(part in str(name) for part in telling)
    }


def _places(template: GridMetadata, kind: str) -> xr.DataArray | None:
    """Latitudes or longitudes that lie on both dimensions."""
    space = template.dims[-2:]
    for name, coord in template.spatial_coords.coords.items():
        names = (str(name), coord.attrs.get("standard_name"))
        if set(coord.dims) == set(space) and (kind in names or kind[:3] in names):
            return coord.transpose(*space)
    return None
