"""Synthetic precipitation cubes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from skdiffuse.datasets.precipitation_law import PrecipitationLaw


def make_precipitation(
    n_frames: int = 240,
    shape: tuple[int, int] = (64, 64),
    *,
    wet_fraction: float = 0.2,
    wet_mean: float = 1.0,
    kappa: float = 0.6,
    tail_index: float = 0.12,
    correlation_length: float = 10.0,
    slope: float = 3.5,
    lifetime: float = 8.0,
    advection: tuple[float, float] = (0.5, 2.0),
    periodic: bool = False,
    cell_size: float = 2200.0,
    start: str = "2000-01-01",
    time_step: str = "1h",
    calendar: str = "standard",
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> xr.DataArray:
    """Rain that looks like rain and whose law is known exactly.

    Parameters
    ----------
    n_frames : int, default=240
    shape : (int, int), default=(64, 64)
        Cells in y and x.
    wet_fraction, wet_mean, kappa, tail_index, correlation_length, slope, lifetime, advection, \
periodic
        The law, see :class:`PrecipitationLaw`; ``PrecipitationLaw(...)`` of the same values
        gives the exact quantiles, spectrum and autocorrelation to compare with.
    cell_size : float, default=2200.0
        Width of a cell in m.
    start : str, default="2000-01-01"
        Date of the first frame.
    time_step : str, default="1h"
    calendar : str, default="standard"
        CF calendar, for example "360_day" or "noleap".
    random_state : int, RandomState, Generator or None, default=None
        All of the randomness; None draws fresh entropy.

    Returns
    -------
    DataArray of shape (n_frames, y, x)
        float32, mm/h, with CF attributes and times.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rain = make_precipitation(n_frames=4, shape=(32, 48), random_state=0)
    >>> rain.dims, rain.shape, rain.attrs["units"]
    (('time', 'y', 'x'), (4, 32, 48), 'mm h-1')
    >>> bool((rain >= 0).all())
    True
    """
    if not n_frames >= 1:
        raise ValueError(f"n_frames must be at least 1; got {n_frames!r}.")
    law = PrecipitationLaw(
        shape=tuple(shape),
        wet_fraction=wet_fraction,
        wet_mean=wet_mean,
        kappa=kappa,
        tail_index=tail_index,
        correlation_length=correlation_length,
        slope=slope,
        lifetime=lifetime,
        advection=tuple(advection),
        periodic=periodic,
    )
    values = np.empty((n_frames, *law.shape), dtype=np.float32)
    frames = law.draw(_generator(random_state))
    for frame, out in zip(frames, values, strict=False):
        out[:] = frame
    return xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={
            "time": _times(start, n_frames, time_step, calendar),
            "y": _centres(law.shape[0], cell_size, "y"),
            "x": _centres(law.shape[1], cell_size, "x"),
        },
        name="precipitation_rate",
        attrs={
            "standard_name": "lwe_precipitation_rate",
            "long_name": "synthetic precipitation rate",
            "units": "mm h-1",
        },
    )


def _times(start: str, n_frames: int, time_step: str, calendar: str) -> xr.Variable:
    seconds = pd.to_timedelta(time_step).total_seconds()
    times = xr.date_range(start, periods=n_frames, freq=f"{seconds:g}s", calendar=calendar)
    return xr.Variable("time", times, {"standard_name": "time", "axis": "T"})


def _centres(n: int, cell_size: float, dim: str) -> xr.Variable:
    attrs = {
        "standard_name": f"projection_{dim}_coordinate",
        "axis": dim.upper(),
        "units": "m",
    }
    return xr.Variable(dim, (np.arange(n) + 0.5) * cell_size, attrs)


def _generator(random_state: int | np.random.RandomState | np.random.Generator | None):
    if isinstance(random_state, np.random.RandomState):
        # One draw makes successive calls with the same RandomState differ, as in scikit-learn.
        return np.random.default_rng(random_state.randint(2**31 - 1))
    return np.random.default_rng(random_state)
