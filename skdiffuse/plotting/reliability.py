"""Pictures of whether an ensemble may be believed."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdiffuse.metrics import ReliabilityCurve, rank_histogram, reliability_curve
from skdiffuse.plotting._samples import get_axes, named, tidy
from skdiffuse.plotting.colours import model_colours


class RankHistogramDisplay:
    """How often the observation takes each rank among the members; flat where reliable.

    Parameters
    ----------
    shares : dict of str to ndarray of shape (n_members + 1,)
        Rank histograms by name.

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

    def __init__(self, shares: dict[str, np.ndarray]):
        self.shares = shares

    @classmethod
    def from_samples(cls, obs: Any, ens: Any, *, axis: int = 0, ax: Any = None):
        """Rank `obs` among the members of `ens`, an ensemble or a dictionary of them."""
        return cls(
            {name: rank_histogram(obs, e, axis=axis) for name, e in named(ens, "ensemble").items()}
        ).plot(ax)

    def plot(self, ax: Any = None):
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax)
        highest = 0.0
        for name, colour in model_colours(self.shares).items():
            share = np.asarray(self.shares[name])
            # Relative to flat, on [0, 1]: ensembles of different sizes compare.
            height = share * share.size
            ax.stairs(height, np.linspace(0, 1, share.size + 1), color=colour, lw=1.8, label=name)
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

    def __init__(self, curves: dict[str, ReliabilityCurve], event: str = ""):
        self.curves = curves
        self.event = event

    @classmethod
    def from_samples(
        cls,
        obs: Any,
        ens: Any,
        *,
        threshold: float,
        n_bins: int = 10,
        axis: int = 0,
        ax: Any = None,
    ):
        """Compare forecasts of "at least `threshold` mm/h" with `obs`."""
        curves = {
            name: reliability_curve(obs, e, threshold, n_bins=n_bins, axis=axis)
            for name, e in named(ens, "ensemble").items()
        }
        return cls(curves, f"at least {threshold:g} mm/h").plot(ax)

    def plot(self, ax: Any = None):
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax, (4.6, 4.4))
        ax.plot([0, 1], [0, 1], color="#888888", linewidth=1, zorder=1)
        for name, colour in model_colours(self.curves).items():
            curve = self.curves[name]
            ax.plot(curve.probability, curve.frequency, color=colour, linewidth=1.5, label=name)
            # Large dots carry many forecasts.
            size = 12 + 90 * np.sqrt(curve.count / curve.count.sum())
            ax.scatter(curve.probability, curve.frequency, s=size, color=colour, linewidths=0)
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
