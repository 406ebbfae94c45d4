"""What every score needs of its inputs: plain floating-point arrays, read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

TRACE = 0.01
"""Rain below this rate (mm/h) counts as dry."""

BLOCK_CELLS = 2**22
"""Cells of a lazy array that are in memory at once."""


def to_numpy(X: Any, name: str = "X") -> np.ndarray:
    """Return `X` (array, DataArray, dask array, torch tensor) as a floating-point NumPy array.

    Masked cells become NaN, integers float64 and float16 float32; float32 and float64 stay.
    """
    if hasattr(X, "detach"):
        X = X.detach().cpu()
        X = X.float().numpy() if str(X.dtype) == "torch.bfloat16" else X.numpy()
    if isinstance(X, np.ma.MaskedArray):
        X = X.astype(np.result_type(X.dtype, np.float32)).filled(np.nan)
    X = np.asarray(X)
    if X.dtype.kind in "biu":
        return X.astype(np.float64)
    if X.dtype.kind != "f":
        raise TypeError(
            f"{name} must hold real numbers (rain rates in mm/h); got dtype {X.dtype}. "
            "Convert it with astype(float) first."
        )
    return X.astype(np.float32) if X.dtype.itemsize < 4 else X


def blocks(X: Any, name: str = "X", item_ndim: int = 0) -> Iterator[np.ndarray]:
    """Yield `X` as NumPy blocks of whole items (its last `item_ndim` dimensions).

    An array in memory comes as one block; a lazy one (dask) in slices along its first
    dimension, of about `BLOCK_CELLS` cells, so that no more is ever loaded.
    """
    shape = np.shape(X)
    lazy = hasattr(getattr(X, "data", X), "dask")
    if not lazy or len(shape) <= item_ndim:
        yield to_numpy(X, name)
        return
    rows = max(1, BLOCK_CELLS // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], rows):
        yield to_numpy(X[start : start + rows], name)


def valid_values(X: Any, name: str = "X") -> np.ndarray:
    """Return the non-missing values of `X`, flattened; an error where there are none."""
    values = to_numpy(X, name).ravel()
    values = values[~np.isnan(values)]
    if values.size == 0:
        raise ValueError(f"{name} has no valid value: it is empty or all NaN.")
    return values


def check_ndim(X: Any, minimum: int, name: str) -> None:
    """Raise where `X` has fewer than `minimum` dimensions."""
    if np.ndim(X) < minimum:
        dims = ("y, x", "time, y, x")[minimum - 2]
        raise ValueError(
            f"{name} must have at least {minimum} dimensions (..., {dims}); "
            f"got shape {np.shape(X)}."
        )


def check_same_grid(obs: Any, sim: Any, names: tuple[str, str] = ("obs", "sim")) -> None:
    """Raise unless two cubes share their grid, and their calendar and units where they say.

    Grids are compared in their last two dimensions: size, dimension names and coordinates.
    """
    a, b = names
    check_ndim(obs, 2, a)
    check_ndim(sim, 2, b)
    if np.shape(obs)[-2:] != np.shape(sim)[-2:]:
        raise ValueError(
            f"{a} and {b} lie on different grids: (y, x) is {np.shape(obs)[-2:]} in {a} and "
            f"{np.shape(sim)[-2:]} in {b}. Regrid or crop one of them."
        )
    check_same_units(obs, sim, names)
    if not (hasattr(obs, "dims") and hasattr(sim, "dims")):
        return
    for p, q in zip(obs.dims[-2:], sim.dims[-2:], strict=True):
        if p != q:
            raise ValueError(
                f"{a} and {b} name their grid differently: {p!r} in {a} is {q!r} in {b}. "
                "Rename or transpose one of them."
            )
        if p in obs.coords and p in sim.coords:
            u, v = np.asarray(obs[p]), np.asarray(sim[p])
            if u.dtype.kind in "fiu" and v.dtype.kind in "fiu" and not np.allclose(u, v):
                raise ValueError(
                    f"{a} and {b} lie on different grids: coordinate {p!r} runs "
                    f"{u[0]:g}..{u[-1]:g} in {a} and {v[0]:g}..{v[-1]:g} in {b}. "
                    "Regrid or crop one of them."
                )
    p, q = calendar(obs), calendar(sim)
    if p and q and p != q:
        raise ValueError(
            f"{a} and {b} have different calendars: {p} and {q}. Convert one of them with "
            "xarray's convert_calendar."
        )


def check_same_units(obs: Any, sim: Any, names: tuple[str, str] = ("obs", "sim")) -> None:
    """Raise where both cubes state their units and the statements differ."""
    units = [str(getattr(X, "attrs", {}).get("units", "")) for X in (obs, sim)]
    spelt = [u.replace("/h", " h-1").replace("**", "").replace("^", "") for u in units]
    spelt = [" ".join(u.replace("hr", "h").split()) for u in spelt]
    if all(spelt) and spelt[0] != spelt[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} differ in units: {units[0]!r} and {units[1]!r}. "
            "Convert both to mm h-1."
        )


def calendar(X: Any) -> str | None:
    """Return the calendar of a DataArray's time coordinate; None where there is none."""
    for name in getattr(X, "coords", {}):
        values = np.asarray(X[name]).ravel()
        if values.dtype.kind == "M":
            return "standard"
        if values.size and hasattr(values[0], "calendar"):
            found = str(values[0].calendar)
            return "standard" if found in ("gregorian", "proleptic_gregorian") else found
    return None
