"""Finding out whether training data know the test data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.cubes import validate_cube
from skdiffuse.cubes.alignment import align_labels
from skdiffuse.cubes.time_axis import is_time_like, step_lengths
from skdiffuse.model_selection.splitters import _distance, _seconds


def check_leakage(train: Any, test: Any, *, guard: str | float = "1D") -> None:
    """Raise if a test frame is among the training data or too close to them in time.

    Parameters
    ----------
    train, test : cubes
        Series or sequences. Dates are compared where both have them, values always.
    guard : str or float, default="1D"
        How far apart in time they must be, a duration or hours.

    Raises
    ------
    ValueError
        Naming the first frames that leak.

    Examples
    --------
    >>> from skdiffuse.datasets import make_precipitation
    >>> rain = make_precipitation(100, (8, 8), random_state=0)
    >>> check_leakage(rain[:50], rain[80:])
    >>> check_leakage(rain[:50], rain[49:])
    Traceback (most recent call last):
        ...
    ValueError: leakage: test frame 0 (2000-01-03T01:00:00...) is 0 h from a training frame; ...
    """
    _check_dates(train, test, _seconds(guard, "guard"))
    if isinstance(train, xr.DataArray) and isinstance(test, xr.DataArray):
        # The same frame the other way up is the same frame.
        test = align_labels(test, train, [d for d in train.dims[-2:] if d in test.dims])
    known = {digest for _, digest in _fingerprints(train, "train")}
    for position, digest in _fingerprints(test, "test"):
        if digest in known:
            raise ValueError(
                f"leakage: test frame {position} (sequence, time) is also in the training data, "
                "value by value; split before cutting windows or making copies."
            )


def _check_dates(train: Any, test: Any, guard: float) -> None:
    dates = []
    for cube in (train, test):
        if not (isinstance(cube, xr.DataArray) and cube.ndim >= 3 and cube.dims[-3] in cube.coords):
            return
        values = np.sort(cube.coords[cube.dims[-3]].values)
        # Elapsed times of two cubes have no common origin.
        if values.dtype.kind == "m" or not is_time_like(values):
            return
        dates.append(values)
    try:
        origin = min(dates[0][0], dates[1][0])
    except TypeError as error:
        raise ValueError(f"train and test have dates of different calendars: {error}") from error
    learnt, asked = (
        np.cumsum(step_lengths(np.concatenate([np.array([origin], d.dtype), d]))) for d in dates
    )
    distance = _distance(asked, learnt)
    if np.any(distance <= guard):
        first = int(np.argmax(distance <= guard))
        raise ValueError(
            f"leakage: test frame {first} ({dates[1][first]}) is {distance[first] / 3600:g} h "
            f"from a training frame; they must be more than {guard / 3600:g} h apart. Split with "
            "a guard, e.g. SeasonSplit(guard='1D')."
        )


def _fingerprints(X: Any, name: str) -> Iterator[tuple[tuple[int, int], int]]:
    """Position and hash of every frame that is not constant (dry frames are all the same)."""
    cube = validate_cube(X, name=name)
    for sequence in range(cube.n_sequences):
        for start in range(cube.n_times):
            frame = cube.window(sequence, start, 1)
            low, high = np.fmin.reduce(frame, axis=None), np.fmax.reduce(frame, axis=None)
            if high > low:
                yield (sequence, start), hash(frame.tobytes())
