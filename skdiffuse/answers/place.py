"""The rain of one place: series, totals, and how likely it is that they exceed something."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.stats import norm

from skdiffuse.metrics.weights import weights_of
from skdiffuse.runtime.durations import in_hours

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PlaceForecast"]


@dataclass(frozen=True, eq=False)
class PlaceForecast:
    """An ensemble of rain of one place, such as `point_forecast` and `basin_forecast` give.

    Parameters
    ----------
    series : DataArray of shape (realization, time)
        Rain in mm/h; NaN where nothing is known. Weights of members, where they do not count
        alike, are the coordinate ``weight``.
    step : float
        Hours from one frame to the next.
    name : str
        Of the place, for tables and pictures.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.answers import point_forecast
    >>> rain = np.zeros((10, 6, 4, 4))
    >>> rain[:6, 3:] = 2.0
    >>> here = point_forecast(rain, cell=(1, 2), step="1h")
    >>> float(here.will_it_rain("3h")), float(here.will_it_rain("4h"))
    (0.0, 0.6)
    >>> here.totals("6h").values.ravel()
    array([6., 6., 6., 6., 6., 6., 0., 0., 0., 0.])
    """

    series: xr.DataArray
    step: float
    name: str = "here"

    def totals(self, duration: Any = None) -> xr.DataArray:
        """How much falls, in mm.

        Parameters
        ----------
        duration : str, number of hours or timedelta, default=None
            A whole number of frames; None: all of them.

        Returns
        -------
        DataArray of shape (realization, time)
            Of every stretch of that length, at the time of its last frame.

        Raises
        ------
        ValueError
            If the duration is no whole number of frames, or longer than the forecast.
        """
        n = (
            self.series.sizes[self._time]
            if duration is None
            else self._frames(duration, "duration")
        )
        windows = np.lib.stride_tricks.sliding_window_view(self.series.values, n, axis=-1)
        # Summed window by window: differences of running sums would leave rounding for rain.
        found = self.series.isel({self._time: slice(n - 1, None)}).copy(
            data=windows.sum(axis=-1) * self.step
        )
        found.attrs = {"units": "mm", "long_name": f"total over {n * self.step:g} h"}
        return found.rename("total")

    def exceedance(
        self,
        thresholds: float | Sequence[float],
        duration: Any = None,
        *,
        within: Any = None,
        confidence: float = 0.95,
    ) -> xr.DataArray:
        """How likely it is that at least so much falls.

        Parameters
        ----------
        thresholds : float or sequence of float
            In mm over `duration`, or in mm/h where there is none.
        duration : str, number of hours or timedelta, default=None
            None: rates of single frames.
        within : str, number of hours or timedelta, default=None
            Any stretch of that length that lies within the first so many hours counts. None: each
            by itself.
        confidence : float, default=0.95
            Of the intervals.

        Returns
        -------
        DataArray of shape ([threshold,] [time])
            Probabilities, as time goes on or of all of it. Coordinates ``low`` and ``high`` are
            Wilson's intervals for as many members as there are; they say how far a probability may
            be from that of endless members, and not how good the forecast is. Weights count as in
            Korn and Graubard (1998): by the variance of the weighted mean.

        Raises
        ------
        ValueError
            If a threshold is not above 0, or a duration does not fit.
        """
        wanted = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
        if wanted.ndim != 1 or not (np.isfinite(wanted).all() and (wanted > 0).all()):
            raise ValueError(
                f"thresholds={thresholds!r} must be above 0: "
                + ("mm/h." if duration is None else f"mm over {duration}.")
            )
        if not 0 < confidence < 1:
            raise ValueError(f"confidence={confidence!r} must lie between 0 and 1.")
        amounts = self.series if duration is None else self.totals(duration)
        levels = xr.DataArray(wanted, {"threshold": wanted}, "threshold")
        over = (amounts >= levels).where(amounts.notnull()).transpose("threshold", ...)
        if within is not None:
            length = 1 if duration is None else self._frames(duration, "duration")
            n = self._frames(within, "within") - length + 1
            if n < 1:
                raise ValueError(f"within={within!r} is shorter than duration={duration!r}.")
            first = over.isel({self._time: slice(n)})
            # What is missing might have exceeded, unless something else has.
            hit = first.max(self._time)
            over = hit.where((hit == 1) | first.notnull().all(self._time))
        found = self._share(over, confidence)
        unit = "mm/h" if duration is None else "mm"
        found.threshold.attrs["units"] = unit
        found.attrs = {
            "long_name": f"probability of at least so many {unit}"
            + ("" if duration is None else f" in {in_hours(duration, 'duration'):g} h")
            + ("" if within is None else f" within {in_hours(within, 'within'):g} h"),
            "units": "1",
            "confidence": confidence,
            "n_members": self.n_members,
        }
        return found.isel(threshold=0) if np.ndim(thresholds) == 0 else found

    def will_it_rain(
        self, within: Any = None, *, threshold: float = 0.1, confidence: float = 0.95
    ) -> xr.DataArray:
        """How likely it is that it rains here.

        Parameters
        ----------
        within : str, number of hours or timedelta, default=None
            From the start of the forecast; None: in all of it.
        threshold : float, default=0.1
            Rate in mm/h that counts as rain.
        confidence : float, default=0.95
            Of the interval, coordinates ``low`` and ``high``.

        Returns
        -------
        DataArray without dimensions
        """
        everything = self.step * self.series.sizes[self._time]
        within = everything if within is None else within
        return self.exceedance(threshold, within=within, confidence=confidence)

    def quantiles(self, levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> xr.DataArray:
        """Return the quantiles of the members.

        Parameters
        ----------
        levels : sequence of float

        Returns
        -------
        DataArray of shape (quantile, time)
            In mm/h. Members that count alike are interpolated, others are not.
        """
        at = np.asarray(levels, dtype=np.float64)
        if at.ndim != 1 or at.size == 0 or not ((at >= 0) & (at <= 1)).all():
            raise ValueError(f"levels={levels!r} must be numbers from 0 to 1.")
        values, w = self.series.values, weights_of(self.series)
        rows = np.full((at.size, values.shape[1]), np.nan)
        known = np.isfinite(values)
        for k in np.flatnonzero(known.any(axis=0)):
            x = values[known[:, k], k]
            if w is None:
                rows[:, k] = np.quantile(x, at)
            else:
                rows[:, k] = np.quantile(x, at, weights=w[known[:, k]], method="inverted_cdf")
        return xr.DataArray(
            rows,
            {"quantile": at, **_along(self.series, self._time)},
            ("quantile", self._time),
            "quantiles",
            {"units": "mm h-1", "long_name": "quantiles of the members"},
        )

    def mean(self) -> xr.DataArray:
        """Mean of the members, weighted where they do not count alike.

        Returns
        -------
        DataArray of shape (time,)
            In mm/h.
        """
        w = weights_of(self.series)
        if w is None:
            found = self.series.mean("realization")
        else:
            found = self.series.weighted(xr.DataArray(w, dims="realization")).mean("realization")
        return found.rename("mean").assign_attrs(units="mm h-1", long_name="mean of the members")

    def to_dataframe(
        self,
        thresholds: Sequence[float] = (0.1, 1.0, 5.0),
        levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
        *,
        members: bool = False,
    ) -> pd.DataFrame:
        """A table with a row for each frame.

        Parameters
        ----------
        thresholds : sequence of float
            Rates in mm/h, of whose probabilities there is a column each, with intervals.
        levels : sequence of float
            Quantiles.
        members : bool, default=False
            Whether each member has a column.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        columns: dict[str, Any] = {"mean": self.mean().values}
        for level, row in zip(levels, self.quantiles(levels).values, strict=True):
            columns[f"q{100 * level:g}"] = row
        chances = self.exceedance(list(thresholds))
        for k, threshold in enumerate(thresholds):
            one = chances.isel(threshold=k)
            title = f"p>={threshold:g}"
            columns[title] = one.values
            columns[f"{title} low"], columns[f"{title} high"] = one.low.values, one.high.values
        if members:
            for k, row in enumerate(self.series.values):
                columns[f"member {k}"] = row
        time = self.series.coords.get(self._time)
        index = np.arange(self.series.sizes[self._time]) if time is None else time.values
        return pd.DataFrame(columns, index=pd.Index(index, name=self._time))

    def to_csv(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write the table to a file.

        Parameters
        ----------
        path : str or Path
        **options
            Of `to_dataframe`.
        """
        self.to_dataframe(**options).to_csv(path)

    @property
    def n_members(self) -> int:
        """Number of members."""
        return int(self.series.sizes["realization"])

    @property
    def _time(self) -> str:
        return str(self.series.dims[-1])

    def _frames(self, duration: Any, name: str) -> int:
        hours, n = in_hours(duration, name), self.series.sizes[self._time]
        frames = hours / self.step
        if abs(frames - round(frames)) > 0.01 or round(frames) < 1:
            raise ValueError(
                f"{name}={duration!r} is no whole number of frames of {60 * self.step:g} min."
            )
        if round(frames) > n:
            raise ValueError(
                f"{name}={duration!r} is longer than the forecast, which has {n} frames of "
                f"{60 * self.step:g} min."
            )
        return round(frames)

    def _share(self, over: xr.DataArray, confidence: float) -> xr.DataArray:
        """Weighted share of the members, with Wilson's interval."""
        w = weights_of(self.series)
        weight = xr.DataArray(np.ones(self.n_members) if w is None else w, dims="realization")
        weight = weight * over.notnull()
        total = weight.sum("realization")
        share = ((weight * over.fillna(0)).sum("realization") / total).where(total > 0)
        variance = (weight**2 * (over.fillna(0) - share) ** 2).sum("realization") / total**2
        kish = total**2 / (weight**2).sum("realization")
        # Nothing varies where all members agree: then as many count as their weights say.
        n = (share * (1 - share) / variance.where(variance > 0)).fillna(kish)
        z2 = float(norm.isf((1 - confidence) / 2)) ** 2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
        low, high = (middle - half).clip(0, 1), (middle + half).clip(0, 1)
        share = share.drop_vars("weight", errors="ignore")
        return share.rename("probability").assign_coords(
            low=(share.dims, low.transpose(*share.dims).values),
            high=(share.dims, high.transpose(*share.dims).values),
        )


def _along(series: xr.DataArray, dim: str) -> dict[str, xr.DataArray]:
    return {str(n): c for n, c in series.coords.items() if set(c.dims) <= {dim}}
