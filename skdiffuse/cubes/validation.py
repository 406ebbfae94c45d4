"""The one check that every cube passes before anything is done with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.cubes.cube import Cube, check_values, missing_everywhere
from skdiffuse.cubes.layout import ordered
from skdiffuse.cubes.metadata import GridMetadata
from skdiffuse.cubes.time_axis import find_breaks, is_time_like, refuse_mixed_steps
from skdiffuse.cubes.units import mm_per_hour

_SHAPES = "(time, y, x) for a series or (n, time, y, x) for sequences"


def validate_cube(X: Any, *, n_frames: int = 1, name: str = "X") -> Cube:
    """Check that ``X`` is precipitation in mm/h over time, y and x.

    Parameters
    ----------
    X : ndarray, dask array or DataArray
        Of shape (time, y, x), or (n, time, y, x) for n sequences; float or integer, mm/h, NaN
        where missing. A dask array stays lazy: its values are checked window by window, as
        they are read.
    n_frames : int, default=1
        Number of consecutive frames that will be needed.
    name : str, default="X"
        What to call the parameter in errors.

    Returns
    -------
    Cube
        Holds ``X``'s own values, not a copy.

    Raises
    ------
    TypeError
        If ``X`` is not an array of real numbers.
    ValueError
        If its shape, units, times or values are not those of a precipitation cube, or no
        ``n_frames`` consecutive frames can be had from it. The message says what to do.

    Examples
    --------
    >>> import numpy as np
    >>> cube = validate_cube(np.ones((10, 16, 16)), n_frames=5)
    >>> cube.n_sequences, cube.n_times, cube.field_shape
    (1, 10, (16, 16))
    >>> validate_cube(-np.ones((10, 16, 16)))
    Traceback (most recent call last):
        ...
    ValueError: X holds negative precipitation (smallest value -1). Negative values in data: ...
    """
    values = _as_array(X, name)
    _check_shape(X, values, name)
    template, breaks, step = None, np.zeros(values.shape[-3] - 1, dtype=bool), None
    if isinstance(X, xr.DataArray):
        check_rate_units(X, name)
        template, breaks, step = _read_dimensions(X, name, n_frames)
    is_series = values.ndim == 3
    cube = Cube(
        values=values[None] if is_series else values,
        is_series=is_series,
        template=template,
        breaks=breaks,
        time_step=step,
        name=name,
    )
    if cube.n_times < n_frames:
        raise ValueError(
            f"{name} has {cube.n_times} frame(s) in time, and n_frames={n_frames} are needed: "
            "give a longer cube or make n_frames smaller."
        )
    longest = max(b - a for a, b in cube.runs())
    if longest < n_frames:
        raise ValueError(
            f"{name} has no {n_frames} consecutive frames: it has {int(breaks.sum())} gap(s) in "
            f"time and the longest stretch without one is {longest} frame(s). Make n_frames "
            f"smaller{_filling(cube)}."
        )
    if not cube.is_lazy and not check_values(cube.values, name):
        raise missing_everywhere(name)
    return cube


def _filling(cube: Cube) -> str:
    """How to fill gaps with frames of NaN, for cubes of dates."""
    if cube.template is None or cube.time_step is None:
        return ""
    dim, step = cube.template.dims[-3], cube.time_step
    times = f"{dim}='{step:g}s'"
    return (
        f", or fill the gaps with NaN frames: X.resample({times}).nearest(tolerance="
        f"datetime.timedelta(seconds={step / 2:g}))"
    )


def _as_array(X: Any, name: str) -> Any:
    if isinstance(X, xr.Dataset):
        raise TypeError(
            f"{name} is a Dataset with variables {list(X.data_vars)}; pass one of them, or "
            "open_cube(dataset), which finds the precipitation and converts its units."
        )
    values = X.data if isinstance(X, xr.DataArray) else X
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.result_type(values, np.float16)), np.nan)
    elif not hasattr(values, "dask"):
        values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise TypeError(
            f"{name} must hold real numbers (mm/h); got dtype {values.dtype}"
            + (f" from {type(X).__name__}." if not isinstance(X, np.ndarray) else ".")
        )
    return values


def _check_shape(X: Any, values: Any, name: str) -> None:
    if values.ndim not in (3, 4):
        hint = ""
        if values.ndim < 3:
            axis = "X.expand_dims('time')" if isinstance(X, xr.DataArray) else "X[None]"
            hint = f" A single field needs a time axis: {axis}."
        raise ValueError(
            f"{name} must be of shape {_SHAPES}; got {values.ndim} dimension(s), shape "
            f"{tuple(values.shape)}.{hint}"
        )
    if 0 in values.shape:
        raise ValueError(f"{name} is empty: shape {tuple(values.shape)}, expected {_SHAPES}.")


def check_rate_units(X: xr.DataArray, name: str) -> None:
    """Refuse a DataArray that says that it is of other units than mm/h.

    Parameters
    ----------
    X : DataArray
    name : str
        How the message calls it.

    Raises
    ------
    ValueError
    """
    units = X.attrs.get("units")
    if units is None:
        return
    try:
        factor = mm_per_hour(str(units))
    except ValueError:
        factor = None
    if factor != 1.0:
        raise ValueError(
            f"{name} has units {units!r}, not mm/h: convert it with "
            f"skdiffuse.cubes.open_cube({name}), or correct {name}.attrs['units']."
        )


def _read_dimensions(
    X: xr.DataArray, name: str, n_frames: int
) -> tuple[GridMetadata, np.ndarray, float | None]:
    time_dim = X.dims[-3]
    for dim in X.dims[-2:] if X.ndim == 3 else (X.dims[0], *X.dims[-2:]):
        named_time = dim == "time" and time_dim != "time"
        if named_time or (dim in X.coords and _is_date_axis(X.coords[dim])):
            rest = [d for d in X.dims if d != dim]
            order = (*rest[:-2], dim, *rest[-2:])
            raise ValueError(
                f"{name} has dimensions {X.dims}, with time in the wrong place: use "
                f"X.transpose{order}."
            )
    right = ordered(X, name=name).dims
    if right != X.dims:
        raise ValueError(
            f"{name} has dimensions {X.dims}, and the last three should be time, y and x: use "
            f"{name}.transpose{right}."
        )
    times = X.coords[time_dim].values if time_dim in X.coords else None
    if times is None or times.dtype.kind not in "mMiufO":
        return GridMetadata.of(X), np.zeros(X.sizes[time_dim] - 1, dtype=bool), None
    breaks, step = find_breaks(times, name=name, dim=time_dim)
    if n_frames > 1:
        refuse_mixed_steps(times, name=name, dim=time_dim)
    if not is_time_like(times):
        return GridMetadata.of(X, number_step=step), breaks, None
    return GridMetadata.of(X, time_step=step), breaks, step


def _is_date_axis(coord: xr.DataArray) -> bool:
    values = coord.values
    return values.dtype.kind == "M" or (values.dtype == object and is_time_like(values))
