"""A cube so small that it fits into a page: one byte a value, and no more values than are seen."""

from __future__ import annotations

import base64
import zlib
from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import TRACE, lazy_or_numpy, to_numpy

MISSING = 255
_LEVELS = 253
_WANTED_FRAMES = 48
"""Members are left out before series become shorter than this."""


class Codes(NamedTuple):
    """Rain as bytes.

    Attributes
    ----------
    codes : ndarray of uint8
        0 for less than `low`, 255 for missing, and 1 to 254 for `low` to `high` in equal ratios.
    low, high : float
        In mm/h.
    """

    codes: np.ndarray
    low: float
    high: float


def quantise(rain: np.ndarray) -> Codes:
    """Return rain in mm/h as bytes, off by half a ratio of neighbouring codes at the most.

    Up to 100 mm/h that is 1.8 %.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting.embedded_cube import quantise
    >>> quantise(np.array([0.0, 0.01, 1.0, 100.0, np.nan])).codes.tolist()
    [0, 1, 127, 254, 255]
    """
    known = rain[np.isfinite(rain)]
    low, high = TRACE, max(float(known.max(initial=0.0)), 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        level = 1 + np.rint(_LEVELS * np.log(rain / low) / np.log(high / low))
    codes = np.where(rain >= low, np.clip(level, 1, 1 + _LEVELS), 0)
    return Codes(np.where(np.isfinite(rain), codes, MISSING).astype(np.uint8), low, high)


def dequantise(codes: Codes) -> np.ndarray:
    """Return the rain in mm/h that a page shows for some codes.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting.embedded_cube import dequantise, quantise
    >>> [round(float(r), 2) for r in dequantise(quantise(np.array([0.004, 3.0, 50.0])))]
    [0.0, 2.96, 50.0]
    """
    ratio = codes.high / codes.low
    rates = codes.low * ratio ** ((np.arange(256) - 1.0) / _LEVELS)
    rates[0], rates[MISSING] = 0.0, np.nan
    return rates[codes.codes]


def thinned(cube: Any, max_values: int, max_side: int) -> tuple[Any, str]:
    """Return as much of a cube (member, time, y, x) as may be shown, and what was left out.

    Parameters
    ----------
    cube : DataArray or array-like of shape (member, time, y, x)
        In mm/h; a lazy one is cut before it is loaded.
    max_values : int
        Values to keep at the most.
    max_side : int
        Cells along the longer side to keep at the most: more are averaged in blocks.

    Returns
    -------
    cube : as given, in memory
    note : str
        Empty where all is shown.
    """
    members, frames, rows, columns = cube.shape
    factor = -(-max(rows, columns) // max_side)
    cells = max(1, rows // factor) * max(1, columns // factor)
    kept_members = int(np.clip(max_values // (cells * min(frames, _WANTED_FRAMES)), 1, members))
    kept_frames = int(np.clip(max_values // (cells * kept_members), 1, frames))
    notes = []
    if kept_members < members:
        notes.append(f"the first {kept_members} of {members} members")
    if kept_frames < frames:
        notes.append(f"the first {kept_frames} of {frames} frames")
    cube = cube[:kept_members, :kept_frames]
    if factor > 1:
        notes.append(f"means over {factor} x {factor} cells")
        cube = _block_means(cube, factor)
    return cube, ", ".join(notes)


def _block_means(cube: Any, factor: int) -> Any:
    """Mean over blocks of the last two dimensions, of what is known in each; a rest is cut."""
    rows, columns = (max(1, n // factor) for n in cube.shape[-2:])
    fy, fx = (min(factor, n) for n in cube.shape[-2:])
    whole = cube[..., : rows * fy, : columns * fx]
    if hasattr(whole, "dims"):
        y, x = whole.dims[-2:]
        return whole.coarsen({y: fy, x: fx}).mean()
    values = to_numpy(whole).reshape(*whole.shape[:-2], rows, fy, columns, fx)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=(-3, -1)) / known.sum(axis=(-3, -1))


def north_up(cube: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Return values with north in the first row and west in the first column, and their places.

    Places are ``{"y": {"name": ..., "values": [...]}, "x": ...}`` where a DataArray has numbers as
    coordinates, and None for what it does not have.
    """
    values = to_numpy(lazy_or_numpy(cube))
    places: dict[str, Any] = {"y": None, "x": None}
    if not hasattr(cube, "dims"):
        return values, places
    for axis, kind in ((-2, "y"), (-1, "x")):
        dim = cube.dims[axis]
        at = np.asarray(cube[dim]) if dim in cube.coords else np.empty(0)
        if at.dtype.kind not in "fiu" or at.size < 1:
            continue
        # Rows are drawn downwards: north first, which is the largest, and west first.
        if at.size > 1 and (at[-1] > at[0]) == (kind == "y"):
            at, values = at[::-1], np.flip(values, axis)
        places[kind] = {"name": str(dim), "values": [float(f"{v:.6g}") for v in at]}
    return values, places


def packed(codes: np.ndarray) -> str:
    """Return bytes as text that a page's script can unpack."""
    return base64.b64encode(zlib.compress(codes.tobytes())).decode()
