"""Pictures of whether the spread of an ensemble tells its error."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from skdiffuse.metrics import SpreadSkill, spread_skill
from skdiffuse.metrics.arrays import to_numpy
from skdiffuse.metrics.by_name import cases_by_name
from skdiffuse.plotting._samples import get_axes, named, plain_number, tidy
from skdiffuse.plotting.colours import model_colours


class SpreadSkillDisplay:
    """Error of the ensemble mean against spread; on the diagonal where spread tells the error.

    Parameters
    ----------
    binned : dict of str to SpreadSkill
        Spread and error of cells sorted by spread, by name.
    overall : dict of str to SpreadSkill
        Of all cells together, for the legend.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import SpreadSkillDisplay
    >>> rain = np.random.default_rng(0).gamma(0.5, size=(6, 10, 8, 8))
    >>> SpreadSkillDisplay.from_samples(rain[0], rain[1:]).ax_.get_xlabel()
    'ensemble spread (mm/h)'
    """

    def __init__(self, binned: dict[str, SpreadSkill], overall: dict[str, SpreadSkill]):
        self.binned = binned
        self.overall = overall

    @classmethod
    @cases_by_name("ens", "axis", axes=("time", "y", "x"))
    def from_samples(
        cls,
        obs: Any,
        ens: Any,
        *,
        n_bins: int = 12,
        axis: int = 0,
        colours: dict[str, str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Compare spread with error in `n_bins` classes of cells, equally filled.

        Parameters
        ----------
        obs, ens, axis, colours, ax
            As for `RankHistogramDisplay.from_samples`; ensembles have two members or more.
        n_bins : int, default=12
            Classes of the cells that have any spread: where all members are dry there is none.
        """
        several = named(ens, "ensemble")
        overall = {n: spread_skill(obs, e, axis=axis) for n, e in several.items()}
        binned = {}
        for name, e in several.items():
            members = np.moveaxis(to_numpy(e, name), axis, 0)
            spread = np.ptp(members, axis=0) > 0
            truth = np.where(spread, to_numpy(obs, "obs"), np.nan)
            if np.isfinite(truth).any():
                binned[name] = spread_skill(truth, members, n_bins=n_bins)
        return cls(binned, overall).plot(ax, colours=colours)

    def plot(self, ax: Any = None, *, colours: dict[str, str] | None = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax, (4.6, 4.4))
        shown = np.array([v for b in self.binned.values() for v in (*b.spread, *b.error)])
        shown = shown[np.isfinite(shown) & (shown > 0.01)]
        low, high = (shown.min() / 1.3, shown.max() * 1.3) if shown.size else (0.1, 10.0)
        ax.plot([low, high], [low, high], color="#888888", linewidth=1, zorder=1)
        for name, colour in model_colours(self.overall, colours).items():
            if name not in self.binned:
                continue
            b = self.binned[name]
            known = np.asarray(b.spread) > 0.01
            ax.plot(
                b.spread[known], b.error[known], "o-", ms=4, color=colour, lw=1.5,
                label=f"{name} (overall spread / error {self.overall[name].ratio:.2f})",
            )  # fmt: skip
        ax.set(
            xscale="log",
            yscale="log",
            xlim=(low, high),
            ylim=(low, high),
            aspect="equal",
            xlabel="ensemble spread (mm/h)",
            ylabel="error of the ensemble mean (mm/h)",
        )
        for each in (ax.xaxis, ax.yaxis):
            each.set_major_formatter(FuncFormatter(plain_number))
            each.set_minor_formatter(NullFormatter())
        tidy(ax)
        if self.binned:
            ax.legend(frameon=False, fontsize="small", loc="upper left")
        self.ax_, self.figure_ = ax, ax.figure
        return self
