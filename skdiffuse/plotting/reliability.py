"""Pictures of whether an ensemble may be believed."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skdiffuse.metrics import (
    ReliabilityCurve,
    rank_histogram,
    reliability_curve,
)
from skdiffuse.metrics.by_name import cases_by_name
from skdiffuse.metrics.probabilities import probability_classes
from skdiffuse.metrics.uncertainty import bootstrap_means
from skdiffuse.plotting._samples import dodge, draw_bars, get_axes, named, tidy
from skdiffuse.plotting.colours import model_colours


def _by_case(metric: Any, obs: Any, ens: Any, axis: int) -> list[Any]:
    """A metric of each case (first dimension of obs) that has what it needs."""
    members = np.moveaxis(np.asarray(ens), axis, 0)
    found = []
    for i in range(len(obs)):
        try:
            found.append(metric(np.asarray(obs[i]), members[:, i], axis=0))
        except ValueError:  # all missing
            continue
    return found


class RankHistogramDisplay:
    """How often the observation takes each rank among the members; flat where reliable.

    Parameters
    ----------
    shares : dict of str to ndarray of shape (n_members + 1,)
        Rank histograms by name.
    intervals : dict of str to ndarray of shape (2, n_members + 1), default=None
        Lowest and highest believable shares, by name.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import RankHistogramDisplay
    >>> rain = np.random.default_rng(0).gamma(0.5, size=(6, 10, 8, 8))
    >>> RankHistogramDisplay.from_samples(rain[0], rain[1:]).ax_.get_xlabel()
    'rank of the observation'
    """

    def __init__(
        self, shares: dict[str, np.ndarray], intervals: dict[str, np.ndarray] | None = None
    ):
        self.shares = shares
        self.intervals = intervals

    @classmethod
    @cases_by_name("ens", "axis", axes=("time", "y", "x"))
    def from_samples(
        cls,
        obs: Any,
        ens: Any,
        *,
        axis: int = 0,
        confidence: float | None = 0.95,
        colours: dict[str, str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Rank `obs` among the members of `ens`, an ensemble or a dictionary of them.

        Parameters
        ----------
        obs : array-like of shape S
            What came true, in mm/h. The first dimension counts cases, which are resampled.
        ens : array-like of shape S with a member axis, or dict of them
            Ensembles in mm/h.
        axis : int, default=0
            Axis of the members.
        confidence : float or None, default=0.95
            Level of the shaded intervals; None draws none.
        colours : dict of str to colour, default=None
            Colours by name, where models have theirs already in another picture.
        ax : Axes, default=None
            Axes to draw in; by default a new figure.
        """
        shares, intervals = {}, {}
        for name, e in named(ens, "ensemble").items():
            shares[name] = rank_histogram(obs, e, axis=axis)
            table = _by_case(rank_histogram, obs, e, axis) if confidence else []
            if len(table) > 1:
                b = bootstrap_means(
                    lambda p: p, np.array(table), confidence=confidence, n_resamples=200,
                    random_state=0,
                )  # fmt: skip
                intervals[name] = np.array([b.low, b.high])
        return cls(shares, intervals).plot(ax, colours=colours)

    def plot(self, ax: Any = None, *, colours: dict[str, str] | None = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax)
        highest, intervals = 0.0, self.intervals or {}
        for name, colour in model_colours(self.shares, colours).items():
            share = np.asarray(self.shares[name])
            # Relative to flat, on [0, 1]: ensembles of different sizes compare.
            height = share * share.size
            edges = np.linspace(0, 1, share.size + 1)
            ax.stairs(height, edges, color=colour, lw=1.8, label=name)
            if name in intervals:
                low, high = intervals[name] * share.size
                ax.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.18, lw=0)
                highest = max(highest, min(high.max(), 2 * height.max()))
            highest = max(highest, height.max())
        ax.axhline(1, color="#888888", linewidth=1, zorder=0)
        ax.set(
            xlim=(0, 1),
            ylim=(0, 1.15 * max(highest, 1.5)),
            xticks=[0, 1],
            xticklabels=["lowest", "highest"],
            xlabel="rank of the observation",
            ylabel="frequency relative to flat",
        )
        tidy(ax)
        ax.legend(frameon=False, fontsize="small", loc="upper center")
        self.ax_, self.figure_ = ax, ax.figure
        return self


class ReliabilityDisplay:
    """Observed frequency of an event against its forecast probability.

    Parameters
    ----------
    curves : dict of str to ReliabilityCurve
        Curves by name.
    event : str, default=""
        What is forecast, for the title.
    intervals : dict of str to ndarray of shape (2, n_points), default=None
        Lowest and highest believable frequencies, by name.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import ReliabilityDisplay
    >>> rain = np.random.default_rng(0).gamma(0.5, size=(6, 10, 8, 8))
    >>> ReliabilityDisplay.from_samples(rain[0], rain[1:], threshold=1.0).ax_.get_title()
    'at least 1 mm/h'
    """

    def __init__(
        self,
        curves: dict[str, ReliabilityCurve],
        event: str = "",
        intervals: dict[str, np.ndarray] | None = None,
    ):
        self.curves = curves
        self.event = event
        self.intervals = intervals

    @classmethod
    @cases_by_name("ens", "axis", axes=("time", "y", "x"))
    def from_samples(
        cls,
        obs: Any,
        ens: Any,
        *,
        threshold: float,
        n_bins: int = 10,
        axis: int = 0,
        confidence: float | None = 0.95,
        colours: dict[str, str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Compare forecasts of "at least `threshold` mm/h" with `obs`.

        Parameters
        ----------
        obs, ens, axis, confidence, colours, ax
            As for `RankHistogramDisplay.from_samples`.
        threshold : float
            Rate in mm/h.
        n_bins : int, default=10
            Classes of probability.
        """

        def measure(y: Any, x: Any, axis: int) -> ReliabilityCurve:
            return reliability_curve(y, x, threshold, n_bins=n_bins, axis=axis)

        curves, intervals = {}, {}
        for name, e in named(ens, "ensemble").items():
            curves[name] = measure(obs, e, axis)
            if not confidence:
                continue
            cases = _by_case(measure, obs, e, axis)
            if len(cases) > 1:
                intervals[name] = _frequency_interval(curves[name], cases, n_bins, confidence)
        return cls(curves, f"at least {threshold:g} mm/h", intervals).plot(ax, colours=colours)

    def plot(self, ax: Any = None, *, colours: dict[str, str] | None = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax, (4.6, 4.4))
        intervals = self.intervals or {}
        ax.plot([0, 1], [0, 1], color="#888888", linewidth=1, zorder=1)
        for i, (name, colour) in enumerate(model_colours(self.curves, colours).items()):
            curve = self.curves[name]
            ax.plot(curve.probability, curve.frequency, color=colour, linewidth=1.5, label=name)
            # Large dots carry many forecasts.
            size = 12 + 90 * np.sqrt(curve.count / curve.count.sum())
            ax.scatter(curve.probability, curve.frequency, s=size, color=colour, linewidths=0)
            if name in intervals:
                at = curve.probability + dodge(i, len(self.curves), 0.012)
                low, high = intervals[name]
                draw_bars(ax, at, low, high, colour)
        ax.set(
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
            aspect="equal",
            xlabel="forecast probability",
            ylabel="observed frequency",
            title=self.event,
        )
        tidy(ax)
        ax.legend(frameon=False, fontsize="small", loc="upper left")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _frequency_interval(
    curve: ReliabilityCurve, cases: list[ReliabilityCurve], n_bins: int, confidence: float
) -> np.ndarray:
    """Interval of the frequencies of a curve, from the same classes of single cases."""
    table = np.zeros((len(cases), 2, n_bins))
    for i, case in enumerate(cases):
        place = probability_classes(case.probability, n_bins)
        table[i][:, place] = case.frequency * case.count, case.count
    table = table[..., probability_classes(curve.probability, n_bins)]
    with np.errstate(invalid="ignore", divide="ignore"):
        b = bootstrap_means(
            lambda s: s[0] / s[1], table, confidence=confidence, n_resamples=200, random_state=0
        )
    return np.clip([b.low, b.high], 0, 1)
