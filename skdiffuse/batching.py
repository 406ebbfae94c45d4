"""Work in batches of a size that the memory allows, and results that go to disk as they come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from skdiffuse.cubes import write_cube

__all__ = ["MEMORY_ERRORS", "in_batches", "spans", "streamed"]

MEMORY_ERRORS = (MemoryError, torch.OutOfMemoryError)


def in_batches(draw: Callable[[slice], Tensor], n: int, batch_size: int) -> Tensor:
    """Call `draw` for all samples, in batches that are halved when the memory does not suffice.

    Parameters
    ----------
    draw : callable
        ``draw(samples)`` makes the samples of a slice; the same ones however they are sliced.
    n : int
        Number of samples.
    batch_size : int
        Samples at a time, at first.

    Returns
    -------
    Tensor of shape (n, ...)

    Raises
    ------
    MemoryError
        If the memory does not suffice for a single sample.

    Examples
    --------
    >>> in_batches(lambda samples: torch.arange(5)[samples], 5, batch_size=2)
    tensor([0, 1, 2, 3, 4])
    """
    drawn: list[Tensor] = []
    first = 0
    while first < n:
        try:
            drawn.append(draw(slice(first, min(first + batch_size, n))))
        except (*MEMORY_ERRORS, RuntimeError) as error:
            if not _is_lack_of_memory(error):
                raise
            if batch_size == 1:
                raise MemoryError(
                    "the memory does not suffice for a single sequence; give tile_size, the side "
                    "in cells of the overlapping squares that large fields are then denoised in."
                ) from error
            batch_size = -(-batch_size // 2)
            # Outside the handler, whose traceback holds on to the tensors that were too large.
        else:
            first += batch_size
            continue
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(
            f"Memory did not suffice: batch_size is lowered to {batch_size}, which changes no "
            "result.",
            RuntimeWarning,
            stacklevel=3,
        )
    return torch.cat(drawn)


def spans(n: int, size: int) -> list[tuple[int, int]]:
    """Cut n things into consecutive parts of a size, as (first, one past the last).

    Examples
    --------
    >>> spans(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(first, min(first + size, n)) for first in range(0, n, size)]


def _is_lack_of_memory(error: BaseException) -> bool:
    # On the CPU torch raises a plain RuntimeError, which only its message tells from others.
    return isinstance(error, MEMORY_ERRORS) or "memory" in str(error).lower()


def streamed(
    parts: Iterator[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    axis: int,
    dressed: Callable[[np.ndarray], np.ndarray | xr.DataArray],
    out: str | Path,
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
    except ImportError as error:
        raise ImportError(
            'out writes while it generates, which needs dask: pip install "skdiffuse[lazy]".'
        ) from error

    @dask.delayed(pure=False)
    def following(previous: np.ndarray | None) -> np.ndarray:
        return next(parts)

    lazy, previous = [], None
    for shape in shapes:
        # Each part waits for the one before: that is what brings them into order.
        previous = following(previous)
        lazy.append(dask.array.from_delayed(previous, shape, np.float32))
    cube = dressed(dask.array.concatenate(lazy, axis=axis))
    if not isinstance(cube, xr.DataArray):
        dims = ("realization", "sequence", "time", "y", "x")
        dims = dims if cube.ndim == len(dims) else (dims[0], *dims[2:])
        cube = xr.DataArray(cube, dims=dims, name="precipitation_rate")
    with dask.config.set(scheduler="synchronous"):
        path = write_cube(cube, out)
    written = xr.open_dataset(
        path,
        engine="zarr" if path.suffix == ".zarr" else "netcdf4",
        chunks={},
        decode_timedelta=True,
    )
    return written[cube.name or "precipitation_rate"]
