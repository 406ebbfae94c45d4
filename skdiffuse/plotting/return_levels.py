"""Pictures of what rain is exceeded once in a long while."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from skdiffuse.metrics import ReturnLevels, return_levels
from skdiffuse.metrics.weights import weighted_values
from skdiffuse.plotting._samples import (
    draw_band,
    get_axes,
    named,
    plain_number,
    tidy,
    weighted_cubes,
)
from skdiffuse.plotting.colours import OBSERVED_COLOUR, model_colours


class ReturnLevelDisplay:
    """Return levels with intervals, and the largest values seen where theory would put them.

    Parameters
    ----------
    observed : ReturnLevels
        Of the observations.
    simulated : dict of str to ReturnLevels
        Of the simulations by name.
    seen : dict of str to (ndarray, ndarray)
        Return period and rate of the largest values of each, "observed" included.
    unit : str, default="blocks"
        What a period is counted in.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import ReturnLevelDisplay
    >>> maxima = np.random.default_rng(0).gumbel(20, 5, size=(2, 60))
    >>> shown = ReturnLevelDisplay.from_samples(
    ...     maxima[0], {"model": maxima[1]}, n_resamples=20, unit="years"
    ... )
    >>> shown.ax_.get_xlabel()
    'return period (years)'
    """

    def __init__(
        self,
        observed: ReturnLevels,
        simulated: dict[str, ReturnLevels],
        seen: dict[str, tuple[np.ndarray, np.ndarray]],
        unit: str = "blocks",
    ):
        self.observed = observed
        self.simulated = simulated
        self.seen = seen
        self.unit = unit

    @classmethod
    def from_samples(
        cls,
        obs: Any,
        sim: Any,
        *,
        method: Literal["gev", "pot"] = "gev",
        per_block: int | None = None,
        periods: Any = None,
        unit: str = "blocks",
        weights: Any = None,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Fit the tails of `obs` and of `sim`, an array or a dictionary of them.

        Parameters
        ----------
        obs, sim : array-like, sim also dict of str to array-like
            Block maxima (``gev``) or independent values (``pot``), in mm/h.
        method, per_block
            As for `metrics.return_levels`.
        periods : array-like, default=None
            Return periods in blocks; by default from 2 to three times the blocks seen.
        unit : str, default="blocks"
            What a block is, in words: "years".
        weights : array-like of shape (n,) or dict of str to them, default=None
            What each maximum or value of a simulation counts. By default the coordinate
            ``weight`` of a DataArray that carries one, and else all alike; so in any case for
            `obs`.
        ax : Axes, default=None
            Axes to draw in; by default a new figure.
        **options
            Passed to `metrics.return_levels`.
        """
        cubes, each = weighted_cubes(weights, obs, named(sim))
        values: dict[str, Any] = {}
        counts: dict[str, Any] = {}
        for name, X in cubes.items():
            v, w = weighted_values(X, each[name], name)
            order = np.argsort(v, kind="stable")[::-1]
            values[name], counts[name] = v[order], None if w is None else w[order]
        # How many values are as large as the r-th largest, it among them.
        rank = {
            n: np.cumsum(np.ones(v.size) if counts[n] is None else counts[n])
            for n, v in values.items()
        }
        blocks = {name: r[-1] / (per_block or 1) for name, r in rank.items()}
        if periods is None:
            periods = np.geomspace(2, max(10, 3 * max(blocks.values())), 24)
        options = {"random_state": 0, **options}
        fits = {
            name: return_levels(
                v, periods, method=method, per_block=per_block, weights=counts[name], **options
            )
            for name, v in values.items()
        }
        seen = {}
        for name, v in values.items():
            # Weibull's plotting position: the r-th largest of n is exceeded (n + 1)/r times rarer.
            period = (blocks[name] + 1 / (per_block or 1)) / rank[name]
            shown = period >= np.min(periods)
            seen[name] = period[shown], v[shown]
        return cls(fits.pop("observed"), fits, seen, unit).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax)
        colours = {"observed": OBSERVED_COLOUR, **model_colours(self.simulated)}
        for name, fit in {"observed": self.observed, **self.simulated}.items():
            draw_band(ax, fit.period, fit.low, fit.high, colours[name])
            ax.plot(
                fit.period, fit.level, color=colours[name],
                label=f"{name} (shape {fit.shape:+.2f})",
                lw=2.2 if name == "observed" else 1.5,
            )  # fmt: skip
            ax.plot(*self.seen[name], "o", ms=3, mew=0, alpha=0.7, color=colours[name])
        ax.set(
            xscale="log",
            xlabel=f"return period ({self.unit})",
            ylabel="return level (mm/h)",
        )
        levels = np.concatenate([f.level for f in (self.observed, *self.simulated.values())])
        if levels.min() > 0 and levels.max() > 20 * levels.min():
            # A heavy tail: on a linear axis only its far end could be read.
            ax.set(yscale="log", ylim=(levels.min() / 2, 3 * levels.max()))
            ax.yaxis.set_major_formatter(FuncFormatter(plain_number))
        else:
            ax.set_ylim(bottom=0)
        ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
        ax.xaxis.set_minor_formatter(NullFormatter())
        tidy(ax)
        ax.legend(frameon=False, fontsize="small", loc="upper left")
        self.ax_, self.figure_ = ax, ax.figure
        return self
