"""Pictures of the rain of one place: how it may go on, and how likely it is that much falls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from matplotlib.figure import Figure

from skdiffuse.answers import PlaceForecast
from skdiffuse.plotting._samples import draw_band, tidy
from skdiffuse.plotting.colours import MODEL_COLOURS, OBSERVED_COLOUR

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


class PlaceForecastDisplay:
    """A fan of what the rain of a place may do, beside bars of how likely totals are.

    Parameters
    ----------
    hours : ndarray of shape (n,)
        Ends of the frames, in hours from the start of the forecast.
    fan : ndarray of shape (5, n)
        Quantiles 5, 25, 50, 75 and 95 % of the members, in mm/h.
    thresholds, probabilities, low, high : ndarray of shape (k,)
        Totals in mm, and how likely it is that at least so much falls, with intervals.
    title : str, default=""
    event : str, default=""
        What the totals are of, in words.
    observed : ndarray of shape (n,) or None, default=None
        What came true, in mm/h.

    Attributes
    ----------
    axes_ : ndarray of Axes, shape (2,)
        The fan and the bars.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.answers import point_forecast
    >>> from skdiffuse.plotting import PlaceForecastDisplay
    >>> rain = np.random.default_rng(0).gamma(0.5, size=(20, 6, 4, 4))
    >>> here = point_forecast(rain, cell=(1, 1), step="1h", name="mill")
    >>> PlaceForecastDisplay.from_forecast(here, thresholds=[1, 5], duration="3h").event
    'in the first 3 h'
    """

    def __init__(
        self,
        hours: np.ndarray,
        fan: np.ndarray,
        thresholds: np.ndarray,
        probabilities: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        title: str = "",
        event: str = "",
        observed: np.ndarray | None = None,
    ):
        self.hours = hours
        self.fan = fan
        self.thresholds = thresholds
        self.probabilities = probabilities
        self.low = low
        self.high = high
        self.title = title
        self.event = event
        self.observed = observed

    @classmethod
    def from_forecast(
        cls,
        place: PlaceForecast,
        *,
        thresholds: Sequence[float] = (0.1, 1.0, 2.0, 5.0, 10.0),
        duration: Any = None,
        observed: Any = None,
        confidence: float = 0.95,
        axes: Any = None,
    ) -> Self:
        """Draw what `point_forecast` or `basin_forecast` found.

        Parameters
        ----------
        place : PlaceForecast
        thresholds : sequence of float
            Totals in mm.
        duration : str, number of hours or timedelta, default=None
            From the start of the forecast, of which totals are; None: all of it.
        observed : PlaceForecast or array-like of shape (n,), default=None
            What came true, in mm/h.
        confidence : float, default=0.95
            Of the intervals of probabilities.
        axes : sequence of two Axes, default=None
            None: a new figure.
        """
        everything = place.step * place.series.shape[-1]
        span = everything if duration is None else duration
        chances = place.exceedance(list(thresholds), span, within=span, confidence=confidence)
        length = place.totals(span).attrs["long_name"].removeprefix("total over ")
        if isinstance(observed, PlaceForecast):
            observed = observed.series[0]
        if observed is not None:
            observed = np.asarray(observed, dtype=np.float64)
            if observed.shape != place.series.shape[-1:]:
                raise ValueError(
                    f"observed has shape {observed.shape}, and the forecast "
                    f"{place.series.shape[-1]} frames."
                )
        shown = cls(
            place.step * np.arange(1, place.series.shape[-1] + 1),
            place.quantiles(_LEVELS).values,
            chances.threshold.values,
            chances.values,
            chances.low.values,
            chances.high.values,
            f"{place.name}, {place.n_members} members",
            f"in the first {length}",
            observed,
        )
        return shown.plot(axes)

    def plot(self, axes: Any = None) -> Self:
        """Draw the picture in two `axes` (or a new figure) and return self."""
        if axes is None:
            figure = Figure(figsize=(8.4, 3.4), layout="constrained")
            axes = figure.subplots(1, 2, width_ratios=(3, 2))
        left, right = axes = np.asarray(axes)
        colour = MODEL_COLOURS[0]
        draw_band(left, self.hours, self.fan[0], self.fan[4], colour)
        draw_band(left, self.hours, self.fan[1], self.fan[3], colour)
        left.plot(self.hours, self.fan[2], color=colour, lw=1.8, label="median, 50 % and 90 %")
        if self.observed is not None:
            left.plot(
                self.hours,
                self.observed,
                "o-",
                ms=3,
                lw=1.2,
                color=OBSERVED_COLOUR,
                label="observed",
            )
        left.set(xlabel="hours from now", ylabel="rain (mm/h)", title=self.title)
        left.set_ylim(bottom=0)
        left.set_xlim(0, self.hours[-1])
        left.legend(frameon=False, fontsize="small")
        at = np.arange(self.thresholds.size)
        p = np.nan_to_num(self.probabilities)
        whiskers = np.clip([p - self.low, self.high - p], 0, None)
        right.bar(at, 100 * p, color=colour, alpha=0.55, width=0.7)
        right.errorbar(at, 100 * p, 100 * whiskers, fmt="none", ecolor="#333333", capsize=3, lw=1)
        right.set_xticks(at, [f"{value:g}" for value in self.thresholds])
        right.set(
            xlabel="at least so many mm", ylabel="probability (%)", ylim=(0, 103), title=self.event
        )
        for ax in axes:
            tidy(ax)
        self.axes_, self.figure_ = axes, left.figure
        return self
