"""Splits that keep whole seasons, blocks or events apart, with a guard gap between them."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.model_selection import BaseCrossValidator

from skdiffuse.cubes.time_axis import is_time_like, step_lengths


class _TimeSplit(BaseCrossValidator):
    """Splits of the first axis by the dates along it; says which stretch a date belongs to.

    Subclasses give every date the number of its stretch (:meth:`_stretches`); stretches go to
    folds in turn, and training dates closer to a test date than the guard are left out.
    """

    def __init__(self, n_splits: int, guard: str | float) -> None:
        self.n_splits = n_splits
        self.guard = guard

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of splits; the parameters are ignored."""
        return self.n_splits

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Indices along the first axis of ``X`` to train on and to test with.

        Parameters
        ----------
        X : DataArray of shape (time, y, x), or any cube of n sequences
            A DataArray's dates are those of its first dimension.
        y : ignored
        groups : array-like of shape (n,), optional
            Dates along the first axis (for sequences: when each begins), where ``X`` has none.

        Yields
        ------
        train, test : ndarray of int

        Raises
        ------
        TypeError
            If ``X`` has no dates. Of a numpy series in particular, the parts that are trained
            on would be joined without a trace of the gap between them.
        ValueError
            If a fold is left without training or test data.
        """
        dates = _dates(X, groups)
        seconds = np.concatenate([[0.0], np.cumsum(step_lengths(dates))])
        if np.any(np.diff(seconds) < 0):
            raise ValueError("the dates are not in ascending order: sort X by time first.")
        guard = _seconds(self.guard, "guard") + _duration(X)
        fold = self._stretches(X, dates, seconds) % self._n_folds()
        for k in range(self.n_splits):
            test = fold == self._fold_of_split(k)
            if not test.any():
                raise ValueError(
                    f"split {k} has nothing to test with: there are fewer stretches than folds."
                )
            train = ~test & (_distance(seconds, seconds[test]) > guard)
            if not train.any():
                raise ValueError(
                    f"split {k} has nothing to train on: guard={self.guard!r} is too long for "
                    "the data, or there is only one stretch."
                )
            yield np.flatnonzero(train), np.flatnonzero(test)

    def _n_folds(self) -> int:
        return self.n_splits

    def _fold_of_split(self, k: int) -> int:
        return k

    def _stretches(self, X: Any, dates: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class SeasonSplit(_TimeSplit):
    """Every k-th season is tested with, all others are trained on.

    Seasons are December to February, March to May and so on, of any calendar, and counted
    without regard to which of them the data hold. With the default of every fifth, five being
    coprime with four, each test set has as many winters as springs, summers and autumns and no
    two seasons of one year.

    Parameters
    ----------
    n_splits : int, default=5
        At most ``every``. With 1, there is one test set: the fifth season, the tenth, ...
    every : int, default=5
    guard : str or float, default="1D"
        Training dates within this time of a test date are left out; a duration or hours.

    References
    ----------
    The split of section 4.1.3 of the dissertation on diffusion models of precipitation, to
    which the guard is added.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> times = xr.date_range("1980-12-01", periods=720, calendar="360_day", use_cftime=True)
    >>> rain = xr.DataArray(np.zeros((720, 1, 1)), {"time": times}, ("time", "y", "x"))
    >>> train, test = next(SeasonSplit(n_splits=1).split(rain))
    >>> str(times[test[0]]), test.size, train.size
    ('1981-12-01 00:00:00', 90, 628)
    """

    def __init__(self, n_splits: int = 5, *, every: int = 5, guard: str | float = "1D") -> None:
        super().__init__(n_splits, guard)
        self.every = every
        _check_number(every, "every")
        _check_number(n_splits, "n_splits", 1)
        if n_splits > every:
            raise ValueError(f"n_splits must be from 1 to every={every}; got {n_splits!r}.")

    def _n_folds(self) -> int:
        return self.every

    def _fold_of_split(self, k: int) -> int:
        return self.every - 1 - k

    def _stretches(self, X: Any, dates: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        # Months since the year 0, December counted to the year that follows.
        index = xr.DataArray(dates, dims="time")
        if dates.dtype.kind == "m":
            raise TypeError("SeasonSplit needs dates; X has times since its beginning only.")
        season = (index.dt.year * 12 + index.dt.month).values // 3
        return season - season[0]


class BlockSplit(_TimeSplit):
    """Contiguous blocks of time go to the folds in turn.

    Parameters
    ----------
    n_splits : int, default=5
    block : str, float or None, default=None
        Length of a block, a duration or hours; None: as many equal blocks as splits.
    guard : str or float, default="1D"
        Training dates within this time of a test date are left out; a duration or hours.

    Examples
    --------
    >>> from skdiffuse.datasets import make_precipitation
    >>> rain = make_precipitation(20, (4, 4), random_state=0)
    >>> for train, test in BlockSplit(2, guard="3h").split(rain):
    ...     print(train.min(), train.max(), test.min(), test.max())
    13 19 0 9
    0 6 10 19
    """

    def __init__(
        self, n_splits: int = 5, *, block: str | float | None = None, guard: str | float = "1D"
    ) -> None:
        super().__init__(n_splits, guard)
        self.block = block
        _check_number(n_splits, "n_splits")

    def _stretches(self, X: Any, dates: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        if self.block is None:
            return np.arange(seconds.size) * self.n_splits // seconds.size
        return (seconds // _seconds(self.block, "block")).astype(int)


class EventSplit(_TimeSplit):
    """Whole rain events go to the folds in turn.

    An event ends where it has been dry for a while; the dry frames after it belong to it.

    Parameters
    ----------
    n_splits : int, default=5
    threshold : float, default=0.1
        Rain rate in mm/h from which a cell is wet.
    wet_share : float, default=0.01
        Share of the field that is wet in a frame that belongs to an event.
    separation : str or float, default="6h"
        How long it is dry between two events, a duration or hours.
    guard : str or float, default="1h"
        Training dates within this time of a test date are left out; a duration or hours.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.datasets import make_precipitation
    >>> rain = make_precipitation(40, (4, 4), random_state=0).copy()
    >>> rain[:], rain[2:6], rain[20:25] = 0, 1, 2  # two events of 4 and 5 hours
    >>> train, test = next(EventSplit(2).split(rain))
    >>> print(test.min(), test.max(), train.min())
    0 19 21
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        threshold: float = 0.1,
        wet_share: float = 0.01,
        separation: str | float = "6h",
        guard: str | float = "1h",
    ) -> None:
        super().__init__(n_splits, guard)
        self.threshold = threshold
        self.wet_share = wet_share
        self.separation = separation
        _check_number(n_splits, "n_splits")
        for name, value in (("threshold", threshold), ("wet_share", wet_share)):
            if not (isinstance(value, Real) and float(value) >= 0):
                raise ValueError(f"{name} must be a number of at least 0; got {value!r}.")

    def _stretches(self, X: Any, dates: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        wet = self._is_wet(X)
        events = np.zeros(seconds.size, dtype=int)
        if not wet.any():
            raise ValueError(
                f"no frame has {self.wet_share:.1%} of its cells at or above "
                f"{self.threshold} mm/h, so that there are no events to split by."
            )
        rainy = np.flatnonzero(wet)
        pause = np.diff(seconds[rainy])
        begins = rainy[1:][pause > _seconds(self.separation, "separation")]
        events[begins] = 1
        return np.cumsum(events)

    def _is_wet(self, X: Any) -> np.ndarray:
        array = X if isinstance(X, xr.DataArray) else xr.DataArray(np.asarray(X))
        rest = array.dims[1:]
        valid = array.notnull()
        wet = (array >= self.threshold).sum(rest) / valid.sum(rest).clip(min=1)
        return np.asarray(wet) >= self.wet_share


def _check_number(value: Any, name: str, lowest: int = 2) -> None:
    if not (isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= lowest):
        raise ValueError(f"{name} must be at least {lowest}, a whole number; got {value!r}.")


def _dates(X: Any, groups: Any) -> np.ndarray:
    if groups is not None:
        dates = np.asarray(groups)
    elif isinstance(X, xr.DataArray) and X.dims[0] in X.coords:
        dates = X.coords[X.dims[0]].values
    else:
        raise TypeError(
            "X has no dates along its first axis: give a DataArray with a time coordinate, or "
            "for sequences the dates at which they begin as groups. (A numpy series cannot be "
            "split: its parts would be joined as if there were no gap between them.)"
        )
    if not is_time_like(dates):
        raise TypeError(f"the dates must be datetime64, timedelta64 or cftime; got {dates.dtype}.")
    if isinstance(X, np.ndarray) and X.ndim == 3:
        raise TypeError(
            "a numpy series cannot be split: its parts would be joined as if there were no gap "
            "between them. Give a DataArray with a time coordinate."
        )
    if len(dates) != len(X):
        raise ValueError(f"there are {len(dates)} dates for {len(X)} entries along the first axis.")
    return dates


def _duration(X: Any) -> float:
    """Seconds from the first to the last frame of a sequence, where the cube tells it."""
    if isinstance(X, xr.DataArray) and X.ndim == 4 and X.dims[1] in X.coords:
        times = X.coords[X.dims[1]].values
        if is_time_like(times):
            return float(step_lengths(times).sum())
    return 0.0


def _seconds(duration: str | float, name: str) -> float:
    try:
        if isinstance(duration, str):
            seconds = pd.to_timedelta(duration).total_seconds()
        else:
            seconds = float(duration) * 3600
    except (TypeError, ValueError):
        seconds = np.nan
    if not seconds >= 0:
        raise ValueError(f"{name} must be a duration such as '1D', or hours; got {duration!r}.")
    return seconds


def _distance(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Distance of each point from the nearest target; both in ascending order."""
    after = np.searchsorted(targets, points)
    right = targets[np.minimum(after, targets.size - 1)]
    left = targets[np.maximum(after - 1, 0)]
    return np.minimum(np.abs(points - left), np.abs(points - right))
