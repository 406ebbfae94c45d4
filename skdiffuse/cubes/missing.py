"""The ways in which CF files say that a number is not a measurement.

``_FillValue`` and ``missing_value`` are decoded by xarray. What it leaves alone is done here:
``valid_range`` with ``valid_min`` and ``valid_max``, flags, integers that nobody wrote, and
variables that were opened without decoding. CF conventions 2.5.1 and 3.5; NetCDF User Guide,
appendix A.
"""

from __future__ import annotations

import re
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

_ENCODED = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
_RANGE = ("valid_range", "valid_min", "valid_max")
_FLAGS = ("flag_values", "flag_meanings", "flag_masks")
_NOT_MEASURED = re.compile(
    r"no_?data|missing|fill|invalid|outside|mask|coverage|not_(measured|observed|available|seen)"
)

# What the netCDF library writes to floats where nothing was written, whatever _FillValue says.
_NETCDF_FILL = (9.9692e36, 9.9693e36)


def mask_not_data(array: xr.DataArray) -> xr.DataArray:
    """The array with NaN wherever its attributes say that a cell holds no measurement.

    Parameters
    ----------
    array : DataArray
        As xarray opens it, lazy or not; real numbers.

    Returns
    -------
    DataArray
        Without the attributes that were followed. Integers become floats where a cell may be
        missing.

    Raises
    ------
    ValueError
        If floats carry a ``scale_factor`` or ``add_offset``, so that it cannot be told whether
        they were multiplied by it.

    Examples
    --------
    >>> rain = xr.DataArray([0.5, 400.0], dims="x", attrs={"valid_max": 300.0})
    >>> mask_not_data(rain).values
    array([0.5, nan])
    """
    array = _decoded(array)
    packing = _Packing(array)
    bounds = _valid_bounds(array, packing)
    attrs = {k: v for k, v in array.attrs.items() if k not in (*_RANGE, *_FLAGS)}
    valid: xr.DataArray | None = None
    if bounds is not None:
        (low, below), (high, above) = bounds
        valid = (array >= low - below) & (array <= high + above)
    for value in [*_flagged(array, packing), *_never_written(array, packing)]:
        other = abs(array - value) > packing.tolerance(value)
        valid = other if valid is None else valid & other
    if array.dtype.kind == "f":
        written = (array < _NETCDF_FILL[0]) | (array > _NETCDF_FILL[1])
        valid = written if valid is None else valid & written
    if valid is not None:
        encoding = array.encoding
        array = array.where(valid)
        array.encoding = encoding
    array.attrs = attrs
    return array


class _Packing:
    """How numbers in a file become those of the array: type, factor and offset."""

    def __init__(self, array: xr.DataArray) -> None:
        encoding = array.encoding
        self.from_file = "dtype" in encoding
        self.dtype = np.dtype(encoding.get("dtype", array.dtype))
        if str(encoding.get("_Unsigned", "")).lower() == "true" and self.dtype.kind == "i":
            self.dtype = np.dtype(f"{self.dtype.byteorder}u{self.dtype.itemsize}")
        self.scale = float(encoding.get("scale_factor", 1.0))
        self.offset = float(encoding.get("add_offset", 0.0))
        self.is_packed = self.dtype.kind in "iu" and {"scale_factor", "add_offset"} & set(encoding)

    def unpack(self, value: Any) -> float:
        """A number of an attribute in the units of the array.

        It is in those of the file, unless it is of a floating type and the file is not.
        """
        number = np.asarray(value)
        if not self.is_packed or number.dtype.kind == "f":
            return float(number)
        if self.dtype.kind == "u" and number.dtype.kind == "i" and number < 0:
            number = number.astype(f"i{self.dtype.itemsize}").view(f"u{self.dtype.itemsize}")
        return float(number) * self.scale + self.offset

    def tolerance(self, value: float) -> float:
        """Half a step of the packing, or the rounding of a 32-bit number."""
        if self.is_packed:
            return 0.5 * abs(self.scale)
        return max(1e-6 * abs(value), 1e-12) if np.isfinite(value) else 0.0


def _decoded(array: xr.DataArray) -> xr.DataArray:
    """Decode what was opened with ``mask_and_scale=False``, or by a library that leaves it so."""
    left = {"scale_factor", "add_offset"} & set(array.attrs)
    if left and array.dtype.kind == "f":
        neutral = {"scale_factor": 1.0, "add_offset": 0.0}
        if any(float(array.attrs[key]) != neutral[key] for key in left):
            raise ValueError(
                f"variable {array.name!r} holds floating numbers and the attribute(s) "
                f"{sorted(left)}: whether they were applied cannot be told. If they were, remove "
                f"them with .attrs.pop({sorted(left)[0]!r}); if not, apply them first."
            )
        array = array.copy(deep=False)
        array.attrs = {k: v for k, v in array.attrs.items() if k not in left}
    if not set(_ENCODED) & set(array.attrs):
        return array
    stored = array.variable
    decoded = xr.conventions.decode_cf_variable(
        str(array.name), stored, decode_times=False, decode_timedelta=False
    )
    result = xr.DataArray(decoded, array.coords, name=array.name)
    result.encoding = {**decoded.encoding, "dtype": stored.dtype}
    return result


def _valid_bounds(
    array: xr.DataArray, packing: _Packing
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Lowest and highest valid value, each with its tolerance."""
    stated: list[Any] = [None, None]
    if np.size(array.attrs.get("valid_range", ())) == 2:
        stated = list(np.ravel(array.attrs["valid_range"]))
    for at, key in enumerate(("valid_min", "valid_max")):
        if np.size(array.attrs.get(key, ())) == 1:
            stated[at] = np.ravel(array.attrs[key])[0]
    if stated == [None, None] or any(isinstance(value, (str, bytes)) for value in stated):
        return None
    unpackable = array.dtype.kind != "f" or packing.from_file
    if not unpackable and any(isinstance(value, np.integer) for value in stated):
        # Of the integer type of a file, and this array no longer knows how that was unpacked.
        return None
    low, high = (
        default if value is None else packing.unpack(value)
        for value, default in zip(stated, (-np.inf, np.inf), strict=True)
    )
    if low > high:
        low, high = high, low
    return (low, packing.tolerance(low)), (high, packing.tolerance(high))


def _flagged(array: xr.DataArray, packing: _Packing) -> list[float]:
    """Values that stand for something else than a measurement; a zero that means dry stays."""
    flags = np.ravel(array.attrs.get("flag_values", ()))
    meanings = str(array.attrs.get("flag_meanings", "")).lower().split()
    meanings += [""] * (len(flags) - len(meanings))
    found = []
    for flag, meaning in zip(flags, meanings, strict=False):
        value = packing.unpack(flag)
        if value != 0 or _NOT_MEASURED.search(meaning):
            found.append(value)
    return found


def _never_written(array: xr.DataArray, packing: _Packing) -> list[float]:
    """The netCDF library's own fill value of an integer type, where the file names no other."""
    dtype, encoding = packing.dtype, array.encoding
    named = any(encoding.get(key) is not None for key in ("_FillValue", "missing_value"))
    if not packing.from_file or named or dtype.kind not in "iu" or dtype.itemsize == 1:
        return []
    fill = netCDF4.default_fillvals.get(f"{dtype.kind}{dtype.itemsize}")
    return [] if fill is None else [packing.unpack(np.asarray(fill).astype(dtype))]
