"""Pictures of how far ahead, and on which scales, forecasts are worth something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from skdiffuse.metrics import crps_ensemble
from skdiffuse.metrics.arrays import check_same_cases, to_numpy
from skdiffuse.metrics.by_name import cases_by_name
from skdiffuse.metrics.spatial_verification import fss_of_sums, fss_sums
from skdiffuse.metrics.uncertainty import bootstrap_means
from skdiffuse.metrics.weights import refuse_weights
from skdiffuse.plotting._samples import dodge, draw_bars, get_axes, named, plain_number, tidy
from skdiffuse.plotting.colours import model_colours

_DASHES = ("-", "--", ":", "-.")


class Curve(NamedTuple):
    """A curve with its interval, NaN where there is none.

    Attributes
    ----------
    value, low, high : ndarray of any one shape
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def curve_of_cases(
    function: Callable[..., np.ndarray], table: np.ndarray, confidence: float | None
) -> Curve:
    """Return a function of the mean over cases, with an interval where there are several."""
    if confidence is None or len(table) < 2:
        value = np.asarray(function(table.mean(axis=0)))
        return Curve(value, np.full(value.shape, np.nan), np.full(value.shape, np.nan))
    b = bootstrap_means(
        function, table, paired=True, confidence=confidence, n_resamples=200, random_state=0
    )
    return Curve(*map(np.asarray, (b.value, b.low, b.high)))


def _cases(obs: Any, ens: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Truth (n, time, y, x) and ensembles (m, n, time, y, x); one case gets its dimension."""
    for name, e in ens.items():
        refuse_weights(**{"obs": obs, name: e})
        check_same_cases(obs, e, ("obs", name))
    truth = to_numpy(obs, "obs")
    if truth.ndim not in (3, 4):
        raise ValueError(f"obs must have shape (time, y, x) or (n, time, y, x); got {truth.shape}.")
    found = {}
    for name, e in ens.items():
        e = to_numpy(e, name)
        if e.shape[1:] != truth.shape:
            raise ValueError(f"{name} must have shape (n_members, *{truth.shape}); got {e.shape}.")
        found[name] = e if truth.ndim == 4 else e[:, None]
    return (truth if truth.ndim == 4 else truth[None]), found


class LeadTimeDisplay:
    """CRPS against lead time, with intervals from resampling the cases.

    Parameters
    ----------
    lead : ndarray of shape (n_times,)
        Lead times.
    curves : dict of str to Curve of shape (n_times,)
        Scores by name.
    unit : str, default="frames"
        Unit of the lead times.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import LeadTimeDisplay
    >>> rain = np.random.default_rng(0).gamma(0.5, size=(5, 6, 3, 8, 8))
    >>> LeadTimeDisplay.from_samples(rain[0], {"model": rain[1:]}).ax_.get_xlabel()
    'lead time (frames)'
    """

    def __init__(self, lead: np.ndarray, curves: dict[str, Curve], unit: str = "frames"):
        self.lead = lead
        self.curves = curves
        self.unit = unit

    @classmethod
    @cases_by_name("ens", axes=("time", "y", "x"))
    def from_samples(
        cls,
        obs: Any,
        ens: Any,
        *,
        lead: Any = None,
        unit: str = "frames",
        confidence: float | None = 0.95,
        ax: Any = None,
    ) -> Self:
        """Score forecasts at each lead time.

        Parameters
        ----------
        obs : array-like of shape (n, time, y, x) or (time, y, x)
            What came true, in mm/h.
        ens : array-like of shape (n_members, n, time, y, x) or dict of them
            Forecasts; one of a single member is scored by its absolute error, which is its CRPS.
        lead : array-like of shape (n_times,), default=None
            Lead times; by default 1, 2, ... frames.
        unit : str, default="frames"
            Unit of the lead times.
        confidence : float or None, default=0.95
            Level of the shaded intervals, which need at least two cases; None draws none.
        ax : Axes, default=None
            Axes to draw in; by default a new figure.
        """
        truth, ensembles = _cases(obs, named(ens, "ensemble"))
        lead = np.arange(1, truth.shape[1] + 1) if lead is None else np.asarray(lead)
        if lead.shape != truth.shape[1:2]:
            raise ValueError(
                f"lead must have one value for each of {truth.shape[1]} times; got {lead.shape}."
            )
        curves = {}
        for name, e in ensembles.items():
            score = crps_ensemble(truth, e, fair=len(e) > 1, average=False)
            known = ~np.isnan(score)
            table = np.stack([np.where(known, score, 0).sum((2, 3)), known.sum((2, 3))], axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                curves[name] = curve_of_cases(lambda s: s[0] / s[1], table, confidence)
        return cls(lead, curves, unit).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax)
        gap = np.diff(self.lead).min() if len(self.lead) > 1 else 1
        for i, (name, colour) in enumerate(model_colours(self.curves).items()):
            curve = self.curves[name]
            at = self.lead + dodge(i, len(self.curves), 0.05 * gap)
            draw_bars(ax, at, curve.low, curve.high, colour)
            ax.plot(at, curve.value, "o-", ms=4, color=colour, lw=1.6, label=name)
        top = max(np.nanmax([*c.value, *c.high, 1e-6], initial=1e-6) for c in self.curves.values())
        ax.set(ylim=(0, 1.08 * top), xlabel=f"lead time ({self.unit})", ylabel="CRPS (mm/h)")
        if np.issubdtype(np.asarray(self.lead).dtype, np.integer):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(ax)
        ax.legend(frameon=False, fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self


class FSSDisplay:
    """Fractions skill score against neighbourhood scale, one line a threshold and model.

    Parameters
    ----------
    scales : ndarray of shape (n_scales,)
        Sides of the neighbourhood, in cells.
    thresholds : sequence of float
        Rates in mm/h.
    curves : dict of str to Curve of shape (n_thresholds, n_scales)
        Scores by name.
    useful : dict of float to float
        From which skill on a forecast is called useful, by threshold: ``0.5 + f/2``, halfway
        between a random forecast of the observed frequency f and a perfect one (Roberts and Lean
        2008).
    cell_km : float or None, default=None
        Side of a cell, for a second labelling of the scales.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import FSSDisplay
    >>> rain = np.random.default_rng(0).gamma(0.5, size=(5, 6, 3, 16, 16))
    >>> FSSDisplay.from_samples(rain[0], {"model": rain[1:]}).ax_.get_ylabel()
    'fractions skill score'
    """

    def __init__(
        self,
        scales: np.ndarray,
        thresholds: Any,
        curves: dict[str, Curve],
        useful: dict[float, float],
        cell_km: float | None = None,
    ):
        self.scales = scales
        self.thresholds = thresholds
        self.curves = curves
        self.useful = useful
        self.cell_km = cell_km

    @classmethod
    @cases_by_name("ens", axes=("time", "y", "x"))
    def from_samples(
        cls,
        obs: Any,
        ens: Any,
        *,
        thresholds: Any = (0.1, 1.0, 5.0),
        scales: Any = None,
        cell_km: float | None = None,
        confidence: float | None = 0.95,
        ax: Any = None,
    ) -> Self:
        """Score forecasts on each scale, cases and lead times pooled.

        Parameters
        ----------
        obs, ens, confidence, ax
            As for `LeadTimeDisplay.from_samples`. The fraction of an ensemble is the mean over
            its members.
        thresholds : sequence of up to four floats, default=(0.1, 1.0, 5.0)
            Rates in mm/h.
        scales : sequence of int, default=None
            Sides in cells; by default odd ones, about doubling, up to the shorter side.
        cell_km : float, default=None
            Side of a cell, to label scales in km.
        """
        truth, ensembles = _cases(obs, named(ens, "ensemble"))
        levels = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
        if not 1 <= levels.size <= len(_DASHES):
            raise ValueError(f"thresholds must be one to {len(_DASHES)} rates; got {thresholds!r}.")
        if scales is None:
            doubling = 2 ** np.arange(1, 12) + 1
            scales = [1, *doubling[doubling <= min(truth.shape[-2:])]]
        sides = np.asarray(scales, dtype=int)
        curves = {}
        for name, e in ensembles.items():
            table = np.empty((len(truth), 2, levels.size, sides.size))
            for i, y in enumerate(truth):
                parts = fss_sums(y, e[:, i], levels, sides)
                table[i] = [part[0].sum(axis=0) for part in parts]
            curves[name] = curve_of_cases(lambda s: fss_of_sums(*s), table, confidence)
        valid = max(int(np.count_nonzero(~np.isnan(truth))), 1)
        useful = {float(t): 0.5 + int(np.count_nonzero(truth >= t)) / valid / 2 for t in levels}
        return cls(sides, levels, curves, useful, cell_km).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax, (5.8, 4.2))
        colours = model_colours(self.curves)
        width = np.asarray(self.scales) * (self.cell_km or 1.0)
        n = len(self.curves) * len(self.thresholds)
        for i, (name, curve) in enumerate(self.curves.items()):
            for t, dash in zip(range(len(self.thresholds)), _DASHES, strict=False):
                at = width * np.exp(dodge(t * len(self.curves) + i, n, 0.035))
                draw_bars(ax, at, curve.low[t], curve.high[t], colours[name])
                ax.plot(at, curve.value[t], dash, marker="o", ms=3.5, lw=1.5, color=colours[name])
        lowest = min(self.useful.values())
        ax.axhspan(lowest, 1, color="#F2F2F2", zorder=0)
        ax.text(
            0.015, 0.985, "useful", transform=ax.get_yaxis_transform(), ha="left", va="top",
            fontsize="x-small", color="#666666",
        )  # fmt: skip
        ax.set(
            xscale="log",
            xticks=width,
            ylim=(0, 1),
            xlabel=f"side of the neighbourhood ({'km' if self.cell_km else 'cells'})",
            ylabel="fractions skill score",
        )
        ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
        ax.xaxis.set_minor_locator(NullLocator())
        tidy(ax)
        names = [Line2D([], [], color=c, lw=2, label=n) for n, c in colours.items()]
        rates = [
            Line2D([], [], color="#444444", ls=dash, lw=1.5, label=f"{plain_number(t)} mm/h")
            for t, dash in zip(self.thresholds, _DASHES, strict=False)
        ]
        ax.legend(handles=names + rates, frameon=False, fontsize="small", ncols=1,
                  loc="upper left", bbox_to_anchor=(1.0, 1.0))  # fmt: skip
        self.ax_, self.figure_ = ax, ax.figure
        return self
