"""A validated precipitation cube and the windows that can be cut from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from skdiffuse.cubes.metadata import GridMetadata

#: Place of a window: sequence, first frame, rows and columns.
Tile: TypeAlias = tuple[int, int, slice, slice]

# Heavier than any rain ever measured (about 2,300 mm/h over one minute) by far, and below the
# fill values that files leave unmasked (32767 times a scale, 1e20, 9.97e36).
LARGEST_RATE = 1e5


@dataclass(frozen=True, eq=False)
class Cube:
    """Precipitation in mm/h, checked by :func:`validate_cube`.

    Attributes
    ----------
    values : ndarray or dask array of shape (n, time, y, x)
        As given, neither copied nor converted; NaN where missing.
    is_series : bool
        Whether the user's cube had no leading dimension.
    template : GridMetadata or None
        What :func:`dress` needs to give results back in the user's type; None for numpy.
    breaks : ndarray of bool, shape (time - 1,)
        True where the time step is irregular: no window may span it.
    time_step : float or None
        The regular step in seconds, where the cube has times.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.cubes import validate_cube
    >>> cube = validate_cube(np.zeros((5, 8, 8)))
    >>> cube.window_starts(3)
    array([[0, 0],
           [0, 1],
           [0, 2]])
    >>> cube.window(0, 1, 3).shape
    (3, 8, 8)
    """

    values: Any
    is_series: bool
    template: GridMetadata | None
    breaks: np.ndarray
    time_step: float | None = None
    name: str = "X"

    @property
    def parts(self) -> tuple[Cube]:
        """The cube itself, where there may be several."""
        return (self,)

    @property
    def n_sequences(self) -> int:
        """Number of sequences."""
        return self.values.shape[0]

    @property
    def n_times(self) -> int:
        """Number of frames of each sequence."""
        return self.values.shape[1]

    @property
    def field_shape(self) -> tuple[int, int]:
        """Number of cells in y and x."""
        return tuple(self.values.shape[2:])

    @property
    def is_lazy(self) -> bool:
        """Whether the values are read only when a window is."""
        return hasattr(self.values, "dask")

    def runs(self) -> list[tuple[int, int]]:
        """Return the stretches of frames without a break, as (first, one past the last)."""
        edges = np.flatnonzero(self.breaks) + 1
        return list(zip([0, *edges], [*edges, self.n_times], strict=True))

    def window_starts(self, n_frames: int, stride: int = 1) -> np.ndarray:
        """Where windows of ``n_frames`` frames can start without spanning a break.

        Parameters
        ----------
        n_frames : int
        stride : int, default=1
            Frames from one start to the next within a stretch without a break.

        Returns
        -------
        ndarray of int, shape (k, 2)
            Pairs (sequence, start).
        """
        of_runs = [np.arange(a, b - n_frames + 1, stride) for a, b in self.runs()]
        starts = np.concatenate(of_runs).astype(np.intp)
        sequences = np.repeat(np.arange(self.n_sequences), starts.size)
        return np.column_stack([sequences, np.tile(starts, self.n_sequences)])

    def tiles(self, n_frames: int, shape: tuple[int, int]) -> list[Tile]:
        """Yield windows side by side, without overlap, as arguments of :meth:`window`.

        Parameters
        ----------
        n_frames : int
        shape : tuple of int
            Rows and columns of a window; what is left over at the far edges is left out.

        Returns
        -------
        list of Tile
        """
        rows, columns = (
            [slice(first, first + part) for first in range(0, whole - part + 1, part)]
            for whole, part in zip(self.field_shape, shape, strict=True)
        )
        return [
            (int(sequence), int(start), y, x)
            for sequence, start in self.window_starts(n_frames, stride=n_frames)
            for y in rows
            for x in columns
        ]

    def window(
        self,
        sequence: int,
        start: int,
        n_frames: int,
        y: slice = slice(None),
        x: slice = slice(None),
    ) -> np.ndarray:
        """A writable copy of one window, read now if the cube is lazy.

        Returns
        -------
        ndarray of shape (n_frames, y, x), float32

        Raises
        ------
        ValueError
            If a lazy cube turns out to hold negative, infinite or impossibly large values.
        """
        return self.read(self.values[sequence, start : start + n_frames, y, x])

    def frames(self, first: int = 0) -> np.ndarray:
        """Return the values from frame `first` on, read now if lazy, of their own dtype.

        Parameters
        ----------
        first : int, default=0
            Negative to count from the end.

        Returns
        -------
        ndarray of shape (n, frames, y, x)
            Of a cube in memory its own values, not a copy.

        Raises
        ------
        ValueError
            If a lazy cube turns out to hold what `validate_cube` refuses.
        """
        values = np.asarray(self.values[:, first:])
        if self.is_lazy and not check_values(values, self.name) and first == 0:
            raise missing_everywhere(self.name)
        return values

    def read(self, part: Any) -> np.ndarray:
        """A writable copy of a part of `values`, float32; see :meth:`window`."""
        if self.is_lazy:
            part = np.asarray(part)
            check_values(part, self.name)
        return np.array(part, dtype=np.float32, order="C")

    def stack(self, tiles: list[Tile], n_frames: int) -> np.ndarray:
        """Some of the windows that :meth:`tiles` lists: (n, n_frames, y, x), float32."""
        return np.stack([self.window(n, start, n_frames, y, x) for n, start, y, x in tiles])


def missing_everywhere(name: str) -> ValueError:
    """What to raise where no value is known."""
    return ValueError(f"{name} is missing everywhere: all of its values are NaN.")


def check_values(values: np.ndarray, name: str) -> bool:
    """Refuse what cannot be rain; return whether any value is finite.

    Raises
    ------
    ValueError
        If a value is negative, infinite or larger than ``LARGEST_RATE``.
    """
    if values.size == 0:
        return False
    # fmin and fmax pass over NaN and, unlike nanmin, neither copy nor warn.
    low = float(np.fmin.reduce(values, axis=None))
    high = float(np.fmax.reduce(values, axis=None))
    if np.isnan(low):
        return False
    if np.isinf(low) or np.isinf(high):
        raise ValueError(f"{name} holds infinite values; mark missing cells with NaN.")
    if low < 0:
        raise ValueError(
            f"{name} holds negative precipitation (smallest value {low:g}). Negative values in "
            "data: mark missing cells with NaN, e.g. np.where(X < 0, np.nan, X) or, in xarray, "
            "X.where(X >= 0); and clip packing noise, e.g. X.clip(min=0)."
        )
    if high > LARGEST_RATE:
        raise ValueError(
            f"{name} holds {high:g}, which is no rain rate in mm/h: a fill value left unmasked, "
            "or other units. Mark missing cells with NaN; open_cube converts units."
        )
    return True
