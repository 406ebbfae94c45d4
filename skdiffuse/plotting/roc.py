"""Pictures of whether forecasts tell events from non-events."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skdiffuse.metrics import RocCurve, roc_curve
from skdiffuse.metrics.arrays import to_numpy
from skdiffuse.metrics.by_name import cases_by_name
from skdiffuse.metrics.probabilities import counts_by_probability, roc_of_counts
from skdiffuse.metrics.uncertainty import bootstrap_means
from skdiffuse.plotting._samples import get_axes, named, tidy
from skdiffuse.plotting.colours import model_colours


class RocDisplay:
    """Hit rate against false-alarm rate, as the probability that triggers a warning falls.

    Parameters
    ----------
    curves : dict of str to RocCurve
        Curves by name.
    event : str, default=""
        What is forecast, for the title.
    areas : dict of str to (float, float), default=None
        Interval of the area under each curve, by name.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import RocDisplay
    >>> rain = np.random.default_rng(0).gamma(0.5, size=(6, 10, 8, 8))
    >>> RocDisplay.from_samples(rain[0], rain[1:], threshold=1.0).ax_.get_ylabel()
    'hit rate'
    """

    def __init__(
        self,
        curves: dict[str, RocCurve],
        event: str = "",
        areas: dict[str, tuple[float, float]] | None = None,
    ):
        self.curves = curves
        self.event = event
        self.areas = areas

    @classmethod
    @cases_by_name("ens", "axis", axes=("time", "y", "x"))
    def from_samples(
        cls,
        obs: Any,
        ens: Any,
        *,
        threshold: float,
        axis: int = 0,
        confidence: float | None = 0.95,
        n_resamples: int = 200,
        ax: Any = None,
    ) -> Self:
        """Compare forecasts of "at least `threshold` mm/h" with `obs`.

        Parameters
        ----------
        obs, ens, axis, confidence, ax
            As for `RankHistogramDisplay.from_samples`; the interval is that of the area, in the
            legend.
        threshold : float
            Rate in mm/h.
        n_resamples : int, default=200
            Resamples of the cases.
        """
        curves, areas = {}, {}
        truth = to_numpy(obs, "obs")
        for name, e in named(ens, "ensemble").items():
            curves[name] = roc_curve(obs, e, threshold, axis=axis)
            if confidence is None or truth.ndim == 0 or len(truth) < 2:
                continue
            members = np.moveaxis(to_numpy(e, name), axis, 0)
            cases = []
            for i, y in enumerate(truth):
                if np.isfinite(y).any() and np.isfinite(members[:, i]).any():
                    cases.append(counts_by_probability(y, members[:, i], threshold))
            levels = np.unique(np.concatenate([level for level, _, _ in cases]))
            table = np.zeros((len(cases), 2, levels.size))
            for row, (level, hits, count) in zip(table, cases, strict=True):
                row[:, np.searchsorted(levels, level)] = hits, count
            if len(table) > 1:
                b = bootstrap_means(
                    lambda s: roc_of_counts(*s).area, table, confidence=confidence,
                    n_resamples=n_resamples, random_state=0,
                )  # fmt: skip
                areas[name] = (b.low, min(b.high, 1.0))
        return cls(curves, f"at least {threshold:g} mm/h", areas).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax, (4.6, 4.4))
        ax.plot([0, 1], [0, 1], color="#888888", linewidth=1, zorder=1)
        areas = self.areas or {}
        for name, colour in model_colours(self.curves).items():
            curve = self.curves[name]
            label = f"{name} (area {curve.area:.3f}"
            if name in areas:
                label += ", {:.3f} to {:.3f}".format(*areas[name])
            ax.plot(
                curve.false_alarm_rate, curve.hit_rate, "o-", ms=3, color=colour, lw=1.5,
                label=label + ")",
            )  # fmt: skip
        ax.set(
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
            aspect="equal",
            xlabel="false-alarm rate",
            ylabel="hit rate",
            title=self.event,
        )
        tidy(ax)
        ax.legend(frameon=False, fontsize="small", loc="lower right")
        self.ax_, self.figure_ = ax, ax.figure
        return self
