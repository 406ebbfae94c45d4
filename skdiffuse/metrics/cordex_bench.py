"""The precipitation diagnostics of CORDEX-ML-Bench, in its names and dimensions."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from skdiffuse.cubes.layout import ordered
from skdiffuse.metrics.arrays import check_same_grid, valid_values
from skdiffuse.metrics.intensity import wasserstein_distance

Season = Literal["winter", "spring", "summer", "autumn"]
_MONTHS = {"winter": "DJF", "spring": "MAM", "summer": "JJA", "autumn": "SON"}
_HOURS = 24.0


def cordex_indices(
    X: Any, *, season: Season | None = None, threshold: float = 1.0, level: float = 0.98
) -> xr.Dataset:
    """Return the indices of daily precipitation that CORDEX-ML-Bench compares, cell by cell.

    Hourly and other short steps are summed to days first. By its names: ``mean`` and
    ``quantile`` in mm/day, ``rx1day`` (mean over years of the largest day) and ``sdii`` (mean of
    wet days) in mm/day, ``cdd`` and ``cwd`` (mean over years of the longest dry and wet spell) in
    days, ``lag1_corr`` (correlation of a day with the day before) and ``interannual_var``
    (standard deviation of annual means) in mm/day.

    Parameters
    ----------
    X : DataArray of shape (..., time, y, x)
        Rain rate in mm/h with times; members may come first.
    season : {"winter", "spring", "summer", "autumn"}, default=None
        Days to look at; None takes all. As in the benchmark, days of a season follow each other
        across the rest of the year in spells and correlations.
    threshold : float, default=1.0
        In mm/day, from which a day is wet.
    level : float, default=0.98
        Probability of the quantile.

    Returns
    -------
    Dataset
        One variable an index, with the dimensions of `X` but that of time.

    Raises
    ------
    ValueError
        Where `X` has no times, days are incomplete, or the season has none.

    References
    ----------
    The benchmark's repository, WCRP-CORDEX/ml-benchmark, folder evaluation.

    Examples
    --------
    >>> from skdiffuse.datasets import make_precipitation
    >>> from skdiffuse.metrics import cordex_indices
    >>> rain = make_precipitation(48 * 24, (4, 4), random_state=0)
    >>> sorted(cordex_indices(rain))[:4]
    ['cdd', 'cwd', 'interannual_var', 'lag1_corr']
    """
    days = _of_season(daily_amounts(X, "X"), season)
    time = _time_of(days)
    wet = days >= threshold
    years = days[time].dt.year
    found = {
        "mean": days.mean(time),
        "quantile": days.quantile(level, time).drop_vars("quantile"),
        "rx1day": days.groupby(years).max().mean("year"),
        "sdii": days.where(wet).mean(time),
        "cdd": _longest_spell(~wet & days.notnull(), years),
        "cwd": _longest_spell(wet, years),
        "lag1_corr": xr.corr(days, days.shift({time: 1}), dim=time),
        "interannual_var": days.groupby(years).mean().std("year"),
    }
    units = dict.fromkeys(found, "mm day-1") | {"cdd": "day", "cwd": "day", "lag1_corr": "1"}
    return xr.Dataset({n: da.assign_attrs(units=units[n]) for n, da in found.items()})


def cordex_diagnostics(
    obs: Any, sim: Any, *, season: Season | None = None, threshold: float = 1.0, level: float = 0.98
) -> xr.Dataset:
    """Compare daily precipitation with a reference by the diagnostics of CORDEX-ML-Bench.

    Maps ``bias_<index>`` (simulated less observed) and ``ratio_<index>`` of each index of
    `cordex_indices`, ``rmse`` over time in each cell where the days are the same,
    ``wasserstein_distance`` of all values, and ``PSD_x0`` (observed) and ``PSD_x1`` (simulated)
    with their ``ralsd``: power of the Fourier transform averaged over rings of one index, and the
    root mean square difference of both in decibels.

    Parameters
    ----------
    obs, sim : DataArray of shape (time, y, x)
        Rain rate in mm/h with times, on one grid. Score members one by one.
    season, threshold, level
        As for `cordex_indices`.

    Returns
    -------
    Dataset
        With the attribute ``season``; dimensions of the grid, and ``wavenumber``.

    Raises
    ------
    ValueError
        Where the grids differ, or as for `cordex_indices`.

    See Also
    --------
    skdiffuse.cubes.cordex_prediction : A file as the benchmark takes it.

    Notes
    -----
    The benchmark's spectrum stays as it is, so that numbers may be compared with its tables: it
    counts rings in steps of the index, also where fields are not square, and is not that of
    `spatial_psd`.

    Examples
    --------
    >>> from skdiffuse.datasets import make_precipitation
    >>> from skdiffuse.metrics import cordex_diagnostics
    >>> obs, sim = (make_precipitation(20 * 24, (8, 8), random_state=i) for i in (0, 1))
    >>> found = cordex_diagnostics(obs, sim)
    >>> found["bias_rx1day"].dims, found["PSD_x0"].dims
    (('y', 'x'), ('wavenumber',))
    """
    check_same_grid(obs, sim)
    days = []
    for X, name in ((obs, "obs"), (sim, "sim")):
        if np.ndim(X) != 3:
            raise ValueError(
                f"{name} must have shape (time, y, x); got {np.shape(X)}. Compare members one by "
                f"one, {name}[0]."
            )
        days.append(_of_season(daily_amounts(X, name), season))
    options: dict[str, Any] = {"season": season, "threshold": threshold, "level": level}
    a, b = cordex_indices(obs, **options), cordex_indices(sim, **options)
    # The grid is the same, and its labels may differ by rounding.
    b = b.assign_coords({dim: a[dim] for dim in a.dims if dim in a.coords})
    found: dict[str, Any] = {f"bias_{name}": b[name] - a[name] for name in a}
    found |= {f"ratio_{name}": b[name] / a[name] for name in a}
    x0, x1 = days
    time = _time_of(x0)
    if x0.sizes[time] == x1.sizes[_time_of(x1)] and np.array_equal(x0[time], x1[_time_of(x1)]):
        found["rmse"] = ((x1.values - x0) ** 2).mean(time) ** 0.5
    found["wasserstein_distance"] = wasserstein_distance(x0.values, x1.values)
    powers = [_ring_power(x.values) for x in days]
    for name, power in zip(("PSD_x0", "PSD_x1"), powers, strict=True):
        found[name] = ("wavenumber", power)
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * np.log10(powers[0] / powers[1])
    found["ralsd"] = float(np.sqrt(np.mean(decibels[np.isfinite(decibels)] ** 2)))
    return xr.Dataset(found, attrs={"season": season or "all"})


def daily_amounts(X: Any, name: str = "X") -> xr.DataArray:
    """Return amounts in mm of whole days of a rate in mm/h with times.

    Examples
    --------
    >>> from skdiffuse.datasets import make_precipitation
    >>> from skdiffuse.metrics.cordex_bench import daily_amounts
    >>> daily_amounts(make_precipitation(72, (2, 2), random_state=0)).shape
    (3, 2, 2)
    """
    X = ordered(X, name=name)
    if not isinstance(X, xr.DataArray) or X.dims[-3] not in X.coords:
        raise ValueError(
            f"{name} must be a DataArray (..., time, y, x) with times: indices are of days and "
            "years."
        )
    valid_values(X, name)
    time = _time_of(X)
    if X[time].dtype.kind != "M" and not hasattr(X[time].values.flat[0], "calendar"):
        raise ValueError(f"{name} has no dates along {time!r}, of which days could be told.")
    steps = np.diff(X[time].values[:2])
    hours = steps[0] / np.timedelta64(1, "h") if X[time].dtype.kind == "M" else None
    if hours is None and len(steps):
        hours = steps[0].total_seconds() / 3600
    if not hours or hours > _HOURS or _HOURS % hours:
        raise ValueError(f"{name} has frames {hours} hours apart, of which no days can be made.")
    if hours == _HOURS:
        return X * _HOURS
    parts = int(_HOURS / hours)
    floor = X[time].dt.floor("1D")
    counts = np.unique(floor.values, return_counts=True)[1]
    if np.any(counts != parts):
        raise ValueError(
            f"{name} has {int(np.sum(counts != parts))} days of other than {parts} frames: select "
            "whole days."
        )
    # A day with a missing hour has no amount.
    whole = X.notnull().coarsen({time: parts}).sum() == parts
    days = (X.coarsen({time: parts}).mean() * _HOURS).where(whole)
    return days.assign_coords({time: floor[::parts].values})


def _time_of(X: xr.DataArray) -> Any:
    return X.dims[-3]


def _of_season(days: xr.DataArray, season: str | None) -> xr.DataArray:
    if season is None:
        return days
    if season not in get_args(Season):
        raise ValueError(f"season must be one of {get_args(Season)} or None; got {season!r}.")
    time = _time_of(days)
    chosen = days.isel({time: np.flatnonzero(days[time].dt.season == _MONTHS[season])})
    if chosen.sizes[time] == 0:
        raise ValueError(f"There is no day of {season!r} in the data.")
    return chosen


def _longest_spell(inside: xr.DataArray, years: xr.DataArray) -> xr.DataArray:
    """Mean over years of the longest run of days."""
    time = years.dims[0]
    longest = []
    for _, year in inside.groupby(years):
        run = np.zeros(year.isel({time: 0}).shape, dtype=np.int64)
        best = run.copy()
        for day in range(year.sizes[time]):
            run = np.where(year.isel({time: day}).values, run + 1, 0)
            best = np.maximum(best, run)
        longest.append(best)
    like = inside.isel({time: 0}, drop=True)
    return like.copy(data=np.mean(longest, axis=0))


def _ring_power(days: np.ndarray) -> np.ndarray:
    """The benchmark's spectrum: rings of whole index distances from the middle, averaged."""
    fields = np.fft.fftshift(np.fft.fft2(np.nan_to_num(days)), axes=(-2, -1))
    power = (np.abs(fields) ** 2).mean(axis=0)
    y, x = np.indices(power.shape)
    middle = [(n - 1) / 2 for n in power.shape]
    ring = np.hypot(y - middle[0], x - middle[1]).astype(np.int64).ravel()
    return np.bincount(ring, power.ravel()) / np.maximum(np.bincount(ring), 1)
