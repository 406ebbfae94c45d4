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
    orography: np.ndarray | None = None,
    diurnal: float = 0.0,
    seasonal: float = 0.0,
    n_gaps: int = 0,
    missing_sector: float = 0.0,
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
    orography : array-like of shape (y, x), optional
        Factor, positive, by which it rains more heavily in each cell: ``wet_mean`` times it.
    diurnal : float, default=0.0
        Amplitude, in [0, 1), of the daily cycle of the wet fraction, see
        :func:`diurnal_factor`; ``wet_fraction * (1 + diurnal)`` may not exceed 1.
    seasonal : float, default=0.0
        Amplitude, in [0, 1), of the yearly cycle of the intensity, see :func:`seasonal_factor`.
    n_gaps : int, default=0
        Interruptions of the time axis, of one to six steps each: rain goes on, unobserved.
    missing_sector : float, default=0.0
        Share of the directions, seen from a radar at the centre of the domain, in which it
        sees nothing (NaN); beyond its range, the largest circle in the domain, it sees nothing
        either if this is above 0.
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
        Of float32, in mm/h, with CF attributes and times.

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
        shape=shape,
        wet_fraction=wet_fraction,
        wet_mean=wet_mean,
        kappa=kappa,
        tail_index=tail_index,
        correlation_length=correlation_length,
        slope=slope,
        lifetime=lifetime,
        advection=advection,
        periodic=periodic,
    )
    for name, amplitude in (("diurnal", diurnal), ("seasonal", seasonal)):
        if not 0 <= amplitude < 1:
            raise ValueError(f"{name} must be in [0, 1); got {amplitude!r}.")
    if wet_fraction * (1 + diurnal) > 1:
        raise ValueError(
            f"wet_fraction * (1 + diurnal) is {wet_fraction * (1 + diurnal)}, above 1."
        )
    rng = _generator(random_state)
    observed = _observed_steps(n_frames, n_gaps, rng)
    times = _times(start, observed[-1] + 1, time_step, calendar)[observed]
    wet = wet_fraction * diurnal_factor(times.values, diurnal) if diurnal else None
    intensity = seasonal_factor(times.values, seasonal) if seasonal else None
    values = np.empty((n_frames, *law.shape), dtype=np.float32)
    i = 0
    for step, latent in enumerate(law.draw_latent(rng)):
        if step == observed[i]:
            values[i] = law.from_latent(latent, None if wet is None else wet[i])
            i += 1
            if i == n_frames:
                break
    if intensity is not None:
        values *= intensity[:, None, None].astype(np.float32)
    if orography is not None:
        values *= _positive_field(orography, law.shape)
    if missing_sector:
        values[:, _unseen(law.shape, missing_sector, rng)] = np.nan
    return xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={
            "time": times,
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


def diurnal_factor(times: np.ndarray, amplitude: float) -> np.ndarray:
    """1 + amplitude * cos of the hour, highest at 16 h.

    Examples
    --------
    >>> diurnal_factor(np.array(["2000-01-01T16", "2000-01-01T04"], dtype="M8[ns]"), 0.5)
    array([1.5, 0.5])
    """
    index = xr.DataArray(times, dims="time").dt
    hour = index.hour.values + index.minute.values / 60 + index.second.values / 3600
    return 1 + amplitude * np.cos(2 * np.pi * (hour - 16) / 24)


def seasonal_factor(times: np.ndarray, amplitude: float) -> np.ndarray:
    """1 + amplitude * cos of the day of the year, highest in the middle of the year.

    Examples
    --------
    >>> import cftime
    >>> days = [cftime.Datetime360Day(2000, 7, 1), cftime.Datetime360Day(2000, 1, 1)]
    >>> seasonal_factor(np.array(days), 0.5)
    array([1.5, 0.5])
    """
    index = xr.DataArray(times, dims="time").dt
    share = (index.dayofyear.values - 1) / index.days_in_year.values
    return 1 - amplitude * np.cos(2 * np.pi * share)


def _observed_steps(n_frames: int, n_gaps: int, rng: np.random.Generator) -> np.ndarray:
    """Steps that are kept: gaps of one to six steps at distinct places."""
    if n_gaps == 0:
        return np.arange(n_frames)
    if not 0 < n_gaps < n_frames:
        raise ValueError(f"n_gaps must be from 0 to n_frames - 1={n_frames - 1}; got {n_gaps!r}.")
    skipped = np.zeros(n_frames, dtype=int)
    places = rng.choice(n_frames - 1, size=n_gaps, replace=False) + 1
    skipped[places] = rng.integers(1, 7, size=n_gaps)
    return np.arange(n_frames) + np.cumsum(skipped)


def _positive_field(orography: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    field = np.asarray(orography, dtype=np.float32)
    if field.shape != shape or not np.all(field > 0) or not np.all(np.isfinite(field)):
        raise ValueError(
            f"orography must be a positive factor for each of the {shape} cells; got shape "
            f"{field.shape}, from {np.min(field, initial=np.inf):g}."
        )
    return field


def _unseen(shape: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """Cells that a radar at the centre does not see: beyond its range or behind an obstacle."""
    if not 0 < share < 1:
        raise ValueError(f"missing_sector must be in [0, 1); got {share!r}.")
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    distance = np.hypot(y[:, None], x[None, :])
    angle = np.arctan2(y[:, None], x[None, :]) / (2 * np.pi) + rng.uniform()
    return (distance > min(shape) / 2) | (angle % 1.0 < share)


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


def _generator(
    random_state: int | np.random.RandomState | np.random.Generator | None,
) -> np.random.Generator:
    if isinstance(random_state, np.random.RandomState):
        # One draw makes successive calls with the same RandomState differ, as in scikit-learn.
        return np.random.default_rng(random_state.randint(2**31 - 1))
    return np.random.default_rng(random_state)
