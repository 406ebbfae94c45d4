"""What a numpy array does not know about itself: the dimensions and coordinates of a cube."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cftime
import numpy as np
import xarray as xr

from skdiffuse.cubes.interval_bounds import bounds_of
from skdiffuse.cubes.time_axis import BOUNDS_OFFSET, calendar_of

# Whole microseconds, which is what cftime dates are made of.
_EPOCH = "microseconds since 1970-01-01"

# How the numbers of one file are stored or distributed, which is not what they are.
_STORAGE = {
    "scale_factor", "add_offset", "missing_value", "valid_range", "valid_min", "valid_max",
    "actual_range", "actual_min", "actual_max", "least_significant_digit", "quantization",
    "quantization_nsd", "quantization_nsb", "number_of_significant_digits", "DIMENSION_LIST",
    "REFERENCE_LIST", "CLASS", "NAME", "DIMENSION_LABELS", "origname", "fullnamepath",
    "CodeMissingValue", "ancillary_variables", "cell_measures", "coordinates",
}  # fmt: skip

# What dask calls an array that nobody named, and xarray takes over.
_DASK_NAME = re.compile(r".+-[0-9a-f]{32}$")


def descriptive(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """The attributes that say what a variable is, without those of how one file holds it.

    Examples
    --------
    >>> descriptive({"long_name": "rain", "_QuantizeGranularBitRoundNumberOfSignificantDigits": 3})
    {'long_name': 'rain'}
    """
    return {
        str(key): value
        for key, value in attrs.items()
        if key not in _STORAGE and not str(key).startswith(("_", "GRIB_"))
    }


def given_name(array: xr.DataArray) -> Hashable | None:
    """The name that somebody gave to an array; None for the key of a dask array."""
    name = array.name
    if isinstance(name, str) and _DASK_NAME.match(name):
        return None
    return None if array.chunks is not None and name == array.data.name else name


@dataclass(frozen=True, eq=False)
class GridMetadata:
    """Dimension names, coordinates and attributes of a cube, without its data.

    Parameters
    ----------
    dims : tuple of str
        The cube's dimension names; the last three are time, y and x.
    coords : xarray.Dataset
        Every coordinate of the cube, scalar ones (grid mapping, member) included.
    name : str or None
        The variable's name.
    attrs : dict
        The variable's attributes.
    time_step : float or None
        The regular step in seconds, where known.
    calendar : str or None
        The CF calendar, where the times are dates.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> rain = xr.DataArray(np.zeros((2, 2, 2)), dims=("time", "y", "x"), name="pr")
    >>> metadata = GridMetadata.of(rain, time_step=3600.0)
    >>> GridMetadata.from_json(metadata.to_json()).dims
    ('time', 'y', 'x')
    """

    dims: tuple[str, ...]
    coords: xr.Dataset = field(default_factory=xr.Dataset)
    name: str | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    time_step: float | None = None
    calendar: str | None = None

    @classmethod
    def of(cls, array: xr.DataArray, *, time_step: float | None = None) -> GridMetadata:
        """The metadata of a DataArray whose last three dimensions are time, y and x."""
        dims = tuple(str(dim) for dim in array.dims)
        calendar = None
        coords = array.coords.to_dataset()
        if dims[-3] in coords:
            calendar = calendar_of(coords[dims[-3]].values)
            coords[dims[-3]].attrs.pop(BOUNDS_OFFSET, None)
            offset = bounds_of(array)
            if offset is not None:
                coords[dims[-3]].attrs[BOUNDS_OFFSET] = offset
        name = given_name(array)
        return cls(
            dims=dims,
            coords=coords,
            name=None if name is None else str(name),
            attrs=descriptive(array.attrs),
            time_step=time_step,
            calendar=calendar,
        )

    @property
    def spatial_coords(self) -> xr.Dataset:
        """The coordinates that depend on y and x alone, and the scalar ones."""
        space = set(self.dims[-2:])
        return self.coords[[n for n, c in self.coords.coords.items() if set(c.dims) <= space]]

    @property
    def field_shape(self) -> tuple[int | None, int | None]:
        """Number of cells in y and x, None where no coordinate tells it."""
        y, x = self.dims[-2:]
        return self.coords.sizes.get(y), self.coords.sizes.get(x)

    def to_json(self) -> str:
        """Everything but what depends on time or sequence, as JSON (floats exact)."""
        time = self.dims[-3]
        content = {
            "dims": self.dims,
            "name": self.name,
            "attrs": _plain(self.attrs),
            "time_step": self.time_step,
            "calendar": self.calendar,
            "time_attrs": _plain(self.coords[time].attrs) if time in self.coords else {},
            "coords": {
                name: {
                    "dims": coord.dims,
                    "dtype": _dtype_name(coord),
                    "data": _encode(coord),
                    "attrs": _plain(coord.attrs),
                }
                for name, coord in self.spatial_coords.coords.items()
            },
        }
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> GridMetadata:
        """The inverse of :meth:`to_json`."""
        content = json.loads(text)
        coords = {
            name: (tuple(c["dims"]), _decode(c["data"], c["dtype"]), c["attrs"])
            for name, c in content["coords"].items()
        }
        return cls(
            dims=tuple(content["dims"]),
            coords=xr.Dataset(coords=coords),
            name=content["name"],
            attrs=content["attrs"],
            time_step=content["time_step"],
            calendar=content["calendar"],
        )


def _plain(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes as JSON values: numpy numbers as numbers, the unknown as text."""
    plain = {}
    for key, value in attrs.items():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, (np.generic, np.ndarray)):
            value = value.tolist()
        elif not isinstance(value, (str, int, float, list, tuple, type(None))):
            value = str(value)
        plain[str(key)] = value
    return plain


def _dtype_name(coord: xr.DataArray) -> str:
    if coord.dtype == object:
        calendar = calendar_of(np.atleast_1d(coord.values))
        return f"cftime:{calendar}" if calendar else "str"
    return coord.dtype.str


def _encode(coord: xr.DataArray) -> Any:
    values = coord.values
    if values.dtype.kind in "mM":
        return values.astype(np.int64).tolist()
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace").tolist()
    if values.dtype == object:
        if calendar_of(np.atleast_1d(values)):
            return np.asarray(cftime.date2num(values, _EPOCH)).tolist()
        return np.vectorize(str, otypes=[object])(values).tolist()
    return values.tolist()


def _decode(data: Any, dtype: str) -> np.ndarray:
    if dtype.startswith("cftime:"):
        calendar = dtype.split(":", 1)[1]
        return cftime.num2date(np.array(data, dtype=np.int64), _EPOCH, calendar)
    if dtype == "str":
        return np.array(data, dtype=object)
    if np.dtype(dtype).kind in "mM":
        return np.array(data, dtype=np.int64).astype(dtype)
    return np.array(data, dtype=dtype)
