"""How much falls in how long, and how often: depth-duration-frequency curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from sklearn.utils import check_random_state

from skdiffuse.answers.place import PlaceForecast
from skdiffuse.metrics import return_levels
from skdiffuse.metrics.weights import weights_of
from skdiffuse.runtime.durations import in_hours

__all__ = ["depth_duration_frequency"]

_HOURS_A_YEAR = 24 * 365.25


def depth_duration_frequency(
    place: PlaceForecast,
    durations: Sequence[Any],
    periods: Sequence[Any],
    *,
    block: Any = None,
    method: Literal["empirical", "gev"] = "empirical",
    confidence: float = 0.95,
    n_resamples: int = 500,
    random_state: Any = 0,
) -> xr.DataArray:
    """Return the depths that are exceeded once in a period, on average, over some durations.

    The largest total of each block of a series is taken. Events that come at random, once in T
    hours, leave a block of L hours without one with probability ``exp(-L / T)``: the depth of
    period T is that quantile of the maxima.

    Parameters
    ----------
    place : PlaceForecast
        Many sequences, or long ones: `point_forecast` or `basin_forecast` of what `sample` or
        `simulate` made. Weights, such as ``sample(rare=...)`` leaves, are heeded.
    durations : sequence of str, number of hours or timedelta
        Whole numbers of frames, such as ``["1h", "3h", "6h"]``.
    periods : sequence of str, number of years or timedelta
        Return periods, numbers in years; strings such as ``"30d"`` as they say.
    block : str, number of hours or timedelta, default=None
        Series are cut into blocks of that length, as long as a spell of weather or longer, so that
        maxima are independent; what is left over is left out. None: each sequence is one.
    method : {"empirical", "gev"}, default="empirical"
        Weighted quantiles of the maxima, which end where the longest period seen ends and are NaN
        beyond; or a generalised extreme-value law fitted to them, which goes beyond.
    confidence, n_resamples, random_state
        Of the intervals, by the bootstrap of blocks ("gev": see `metrics.return_levels`).

    Returns
    -------
    DataArray of shape (duration, period)
        In mm; ``duration`` in hours, ``period`` in years, intervals as the coordinates ``low`` and
        ``high``.

    Raises
    ------
    ValueError
        If durations, blocks or periods do not fit the series.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.answers import depth_duration_frequency, point_forecast
    >>> rain = np.random.default_rng(0).gamma(0.1, 2.0, size=(400, 24, 1, 1))
    >>> days = point_forecast(rain, cell=(0, 0), step="1h")
    >>> depth = depth_duration_frequency(days, ["1h", "6h"], ["10d", "100d"])
    >>> depth.dims, bool((depth.sel(duration=6) > depth.sel(duration=1)).all())
    (('duration', 'period'), True)
    """
    if method not in ("empirical", "gev"):
        raise ValueError(f"method={method!r} must be 'empirical' or 'gev'.")
    hours = [in_hours(each, "durations") for each in durations]
    years = np.array([_years(each) for each in periods])
    blocks, w = _blocks(place, block)
    length = blocks.shape[1] * place.step / _HOURS_A_YEAR
    # The probability that a block's maximum is above the level of a period.
    above = -np.expm1(-length / years)
    depths = np.empty((3, len(hours), years.size))
    for k, duration in enumerate(hours):
        part = PlaceForecast(xr.DataArray(blocks, dims=("realization", "time")), place.step)
        maxima = part.totals(duration).max("time", skipna=False).values
        known = np.isfinite(maxima)
        x, weight = maxima[known], None if w is None else w[known]
        if x.size < 2:
            raise ValueError(f"{x.size} blocks without a gap are too few for a curve.")
        if method == "gev":
            fit = return_levels(
                x,
                1 / above,
                weights=weight,
                confidence=confidence,
                n_resamples=n_resamples,
                random_state=random_state,
            )
            depths[:, k] = fit.level, fit.low, fit.high
        else:
            depths[:, k] = _quantiles(x, weight, above, confidence, n_resamples, random_state)
    coords = {
        "duration": ("duration", hours, {"units": "h"}),
        "period": ("period", years, {"units": "years"}),
        "low": (("duration", "period"), depths[1]),
        "high": (("duration", "period"), depths[2]),
    }
    attrs = {"units": "mm", "long_name": "depth exceeded once in a period", "method": method}
    return xr.DataArray(depths[0], coords, ("duration", "period"), "depth", attrs)


def _years(period: Any) -> float:
    if isinstance(period, int | float | np.number) and not isinstance(period, bool):
        return in_hours(float(period) * _HOURS_A_YEAR, "periods") / _HOURS_A_YEAR
    return in_hours(period, "periods") / _HOURS_A_YEAR


def _blocks(place: PlaceForecast, block: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Series of equal length, with their weights."""
    values, w = place.series.values, weights_of(place.series)
    if block is None:
        return values, w
    n = round(in_hours(block, "block") / place.step)
    if not 1 <= n <= values.shape[1]:
        raise ValueError(
            f"block={block!r} must be from one to all of the {values.shape[1]} frames of "
            f"{60 * place.step:g} min."
        )
    each = values.shape[1] // n
    cut = values[:, : each * n].reshape(-1, n)
    return cut, None if w is None else np.repeat(w, each)


def _quantiles(
    x: np.ndarray,
    w: np.ndarray | None,
    above: np.ndarray,
    confidence: float,
    n_resamples: int,
    random_state: Any,
) -> np.ndarray:
    """Weighted quantiles and their bootstrap interval; NaN where less than one maximum is above."""
    rng = check_random_state(random_state)
    weight = np.ones(x.size) if w is None else w
    found = np.full((3, above.size), np.nan)
    order = np.argsort(x)
    share = weight[order] / weight.sum()
    # How rare the largest that was seen is.
    seen = above >= share[-1] * (1 - 1e-9)
    if not seen.any():
        return found

    def at(chosen: np.ndarray) -> np.ndarray:
        return np.quantile(
            x[chosen], 1 - above[seen], weights=weight[chosen], method="inverted_cdf"
        )

    found[0, seen] = at(np.arange(x.size))
    draws = np.stack([at(rng.randint(x.size, size=x.size)) for _ in range(n_resamples)])
    tail = (1 - confidence) / 2
    found[1:, seen] = np.quantile(draws, [tail, 1 - tail], axis=0)
    return found
