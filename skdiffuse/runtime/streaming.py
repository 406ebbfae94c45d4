"""Results that go to disk part by part, so that memory holds few parts at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

__all__ = ["spans", "streamed"]


def spans(n: int, size: int) -> list[tuple[int, int]]:
    """Cut n things into consecutive parts of a size, as (first, one past the last).

    Examples
    --------
    >>> spans(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(first, min(first + size, n)) for first in range(0, n, size)]


def streamed(
    parts: Iterator[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    axis: int,
    dressed: Callable[[np.ndarray], np.ndarray | xr.DataArray],
    out: str | Path,
    write: Callable[[xr.DataArray, str | Path], Path],
) -> xr.DataArray:
    """Write a result to a file part by part, so that memory holds few parts at a time.

    Parameters
    ----------
    parts : iterator of ndarray
        Consecutive parts of the result, float32.
    shapes : sequence of tuple of int
        Their shapes.
    axis : int
        Along which the parts follow each other.
    dressed : callable
        Gives the whole, a lazy array, its coordinates.
    out : str or Path
        NetCDF, or Zarr where it ends in ``.zarr``. Appears when it is complete.
    write : callable
        ``write(cube, out)`` writes a lazy cube and returns its path.

    Returns
    -------
    DataArray
        Of the file, opened lazily.

    Raises
    ------
    ImportError
        Without dask (``pip install "skdiffuse[lazy]"``).
    """
    try:
        import dask
        import dask.array
        from dask.delayed import delayed
    except ImportError as error:
        raise ImportError(
            'out writes while it generates, which needs dask: pip install "skdiffuse[lazy]".'
        ) from error

    @delayed(pure=False)
    def following(previous: np.ndarray | None) -> np.ndarray:
        return next(parts)

    lazy, previous = [], None
    for shape in shapes:
        # Each part waits for the one before: that is what brings them into order.
        previous = following(previous)
        lazy.append(dask.array.from_delayed(previous, shape, np.float32))
    cube = dressed(dask.array.concatenate(lazy, axis=axis))
    if not isinstance(cube, xr.DataArray):
        dims: tuple[str, ...] = ("realization", "sequence", "time", "y", "x")
        dims = dims if cube.ndim == len(dims) else (dims[0], *dims[2:])
        cube = xr.DataArray(cube, dims=dims, name="precipitation_rate")
    if cube.name in (None, cube.data.name):
        # xarray takes the key of a dask array for the name of one that nobody named.
        cube = cube.rename("precipitation_rate")
    with dask.config.set(scheduler="synchronous"):
        path = write(cube, out)
    written = xr.open_dataset(
        path,
        engine="zarr" if path.suffix == ".zarr" else "netcdf4",
        chunks={},
        decode_timedelta=True,
    )
    return written[cube.name]
