"""Pictures of how often it rains how hard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
from matplotlib.ticker import FuncFormatter

from skdiffuse.metrics import (
    IntensityHistogram,
    QuantileRatios,
    intensity_edges,
    intensity_histogram,
    quantile_ratios,
)
from skdiffuse.metrics.intensity import rate_counts
from skdiffuse.metrics.quantiles import fine_counts, quantiles_of_counts
from skdiffuse.metrics.uncertainty import bootstrap_means
from skdiffuse.plotting._samples import (
    FromEstimator,
    draw_band,
    finite_positive,
    get_axes,
    named,
    percent,
    plain_number,
    tidy,
    weighted_cubes,
    weighted_units,
)
from skdiffuse.plotting.colours import OBSERVED_COLOUR, model_colours


def _counts(
    units: tuple[Any, np.ndarray | None], count: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray | None]:
    """A row of counts for each sequence with a valid cell, and its weight."""
    sequences, w = units
    valid = [i for i, X in enumerate(sequences) if not np.isnan(X).all()]
    return np.array([count(sequences[i]) for i in valid]), None if w is None else w[valid]


class IntensityHistogramDisplay(FromEstimator):
    """Density of rain rate on logarithmic axes, the share of dry cells in the legend.

    Parameters
    ----------
    observed : IntensityHistogram
        Distribution of the observations.
    simulated : dict of str to IntensityHistogram
        Distributions of the simulations by name.
    intervals : dict of str to ndarray of shape (2, n_bins), default=None
        Lowest and highest believable densities by name, "observed" included.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import IntensityHistogramDisplay
    >>> rain = np.random.default_rng(0).gamma(0.2, size=(2, 8, 3, 16, 16))
    >>> display = IntensityHistogramDisplay.from_samples(rain[0], {"model": rain[1]})
    >>> display.ax_.get_xlabel()
    'rain rate (mm/h)'
    """

    def __init__(
        self,
        observed: IntensityHistogram,
        simulated: dict[str, IntensityHistogram],
        intervals: dict[str, np.ndarray] | None = None,
    ):
        self.observed = observed
        self.simulated = simulated
        self.intervals = intervals

    @classmethod
    def from_samples(
        cls,
        obs: Any,
        sim: Any,
        *,
        bins: Any = None,
        confidence: float | None = 0.95,
        block_length: int | None = None,
        weights: Any = None,
        ax: Any = None,
    ) -> Self:
        """Compare the rain rates of `sim` (a cube, or a dictionary of them) with `obs`.

        Parameters
        ----------
        obs, sim : array-like, sim also dict of str to array-like
            Rain rate in mm/h.
        bins : array-like, default=None
            Bin edges in mm/h; by default 8 a decade from 0.1 mm/h to beyond the maximum.
        confidence : float or None, default=0.95
            Level of the shaded intervals, from resampling sequences (n, time, y, x); None draws
            none.
        block_length : int, default=None
            Frames of the blocks a series (time, y, x) is resampled in; by default it has no
            interval.
        weights : array-like of shape (n,) or dict of str to them, default=None
            What each sequence of a simulation counts. By default the coordinate ``weight`` of a
            DataArray that carries one, and else all alike; so in any case for `obs`.
        ax : Axes, default=None
            Axes to draw in; by default a new figure.
        """
        sims = named(sim)
        cubes, each = weighted_cubes(weights, obs, sims)
        if bins is None:
            bins = intensity_edges(0.1, 1000.0)
        intervals = {}
        for name, cube in cubes.items() if confidence else ():
            counts, w = _counts(
                weighted_units(cube, each[name], block_length),
                partial(rate_counts, edges=np.asarray(bins)),
            )
            if len(counts) > 1:
                widths = np.diff(bins)
                b = bootstrap_means(
                    lambda c, widths=widths: c[1:] / c.sum() / widths, counts, weights=[w],
                    confidence=confidence, n_resamples=200, random_state=0,
                )  # fmt: skip
                intervals[name] = np.array([b.low, b.high])
        display = cls(
            intensity_histogram(obs, bins),
            {name: intensity_histogram(cubes[name], bins, weights=each[name]) for name in sims},
            intervals,
        )
        return display.plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax)
        colours = {"observed": OBSERVED_COLOUR, **model_colours(self.simulated)}
        highest, intervals = 1.0, self.intervals or {}
        for name, h in {"observed": self.observed, **self.simulated}.items():
            filled = np.flatnonzero(h.density)
            if filled.size:
                highest = max(highest, h.edges[filled[-1] + 1])
            ax.stairs(
                np.where(h.density > 0, h.density, np.nan),
                h.edges,
                color=colours[name],
                linewidth=2.2 if name == "observed" else 1.5,
                label=f"{name} ({percent(h.dry_mass)} below {plain_number(h.edges[0])} mm/h)",
            )
            if name in intervals:
                low, high = intervals[name]
                # What a resample may lack altogether has no lower end on a logarithmic axis.
                floor = h.density[filled].min() / 3 if filled.size else 1.0
                ax.stairs(
                    np.where(h.density > 0, high, np.nan), h.edges,
                    baseline=np.where(h.density > 0, np.maximum(low, floor), np.nan),
                    fill=True, color=colours[name], alpha=0.15, linewidth=0,
                )  # fmt: skip
        wet = any(h.density.any() for h in (self.observed, *self.simulated.values()))
        ax.set(
            xscale="log",
            # A logarithmic axis cannot be drawn of an all-dry cube.
            yscale="log" if wet else "linear",
            xlim=(self.observed.edges[0], highest * 1.1),
            xlabel="rain rate (mm/h)",
            ylabel="probability density (per mm/h)",
        )
        ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
        tidy(ax)
        ax.legend(frameon=False, fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self


class QuantileQuantileDisplay(FromEstimator):
    """Simulated against observed quantiles of rain rate, out to the extremes.

    Parameters
    ----------
    quantiles : dict of str to QuantileRatios
        Quantiles of each simulation beside those of the observations.
    intervals : dict of str to ndarray of shape (2, n_levels), default=None
        Lowest and highest believable ratio of simulated to observed quantile, by name.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import QuantileQuantileDisplay
    >>> rain = np.random.default_rng(0).gamma(0.2, size=(2, 8, 3, 16, 16))
    >>> QuantileQuantileDisplay.from_samples(rain[0], rain[1]).ax_.get_ylabel()
    'simulated quantile (mm/h)'
    """

    def __init__(
        self,
        quantiles: dict[str, QuantileRatios],
        intervals: dict[str, np.ndarray] | None = None,
    ):
        self.quantiles = quantiles
        self.intervals = intervals

    @classmethod
    def from_samples(
        cls,
        obs: Any,
        sim: Any,
        *,
        levels: Any = None,
        confidence: float | None = 0.95,
        block_length: int | None = None,
        weights: Any = None,
        ax: Any = None,
    ) -> Self:
        """Compare the quantiles of `sim` (a cube, or a dictionary of them) with those of `obs`.

        Parameters
        ----------
        obs, sim : array-like, sim also dict of str to array-like
            Rain rate in mm/h.
        levels : array-like, default=None
            Probabilities; by default `metrics.extreme_quantile_levels` of the smaller sample.
        confidence, block_length, weights, ax
            As for `IntensityHistogramDisplay.from_samples`. The shade is the interval of the
            ratio of both quantiles: where it misses the diagonal, the difference is sure.
        """
        found, intervals = {}, {}
        sims = named(sim)
        cubes, each = weighted_cubes(weights, obs, sims)

        def counted(cube: Any, w: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
            units = weighted_units(cube, w, block_length) if confidence else ((), None)
            return _counts(units, fine_counts)

        truth, w_truth = counted(cubes["observed"], each["observed"])
        for name in sims:
            cube = cubes[name]
            q = found[name] = quantile_ratios(obs, cube, levels, weights=each[name])
            counts, w = counted(cube, each[name])
            if min(len(truth), len(counts)) < 2 or q.levels.size == 0:
                continue

            def log_ratio(a: np.ndarray, b: np.ndarray, at: np.ndarray = q.levels) -> np.ndarray:
                return np.log(quantiles_of_counts(b, at) / quantiles_of_counts(a, at))

            b = bootstrap_means(
                log_ratio, truth, counts, weights=[w_truth, w],
                confidence=confidence, n_resamples=200, random_state=0,
            )  # fmt: skip
            # Bins of 4 % place the interval around the exact ratio.
            with np.errstate(invalid="ignore", divide="ignore"):
                centre = np.log(q.ratio) - b.value
            intervals[name] = np.exp([b.low + centre, b.high + centre])
        return cls(found, intervals).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax, (4.8, 4.4))
        intervals = self.intervals or {}
        shown = finite_positive(*(v for q in self.quantiles.values() for v in (q.obs, q.sim)))
        low, high = (shown.min(), shown.max()) if shown.size else (0.1, 1.0)
        low = max(low, 0.01) / 1.3
        high = max(high, 10 * low) * 1.3
        ax.plot([low, high], [low, high], color="#888888", linewidth=1, zorder=1)
        for (name, colour), marker in zip(
            model_colours(self.quantiles).items(), "os^Dvs" * len(self.quantiles), strict=False
        ):
            q = self.quantiles[name]
            ax.plot(
                q.obs, q.sim, marker, ms=4, color=colour, label=name, alpha=0.85, mew=0, zorder=3
            )
            if name in intervals:
                bottom, top = intervals[name] * q.obs
                draw_band(ax, q.obs, bottom, top, colour)
        reference = max(self.quantiles.values(), key=lambda q: q.levels.size, default=None)
        if reference is not None:
            for level in (0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999):
                at = np.flatnonzero(np.isclose(reference.levels, level, rtol=0, atol=1e-9))
                if at.size and low < reference.obs[at[0]] < high:
                    x = reference.obs[at[0]]
                    ax.axvline(x, color="#CCCCCC", linewidth=0.7, zorder=0)
                    ax.text(
                        x, 0.015, f" {100 * level:g} %", transform=ax.get_xaxis_transform(),
                        rotation=90, fontsize="x-small", color="#666666", ha="right",
                    )  # fmt: skip
        ax.set(
            xscale="log",
            yscale="log",
            xlim=(low, high),
            ylim=(low, high),
            aspect="equal",
            xlabel="observed quantile (mm/h)",
            ylabel="simulated quantile (mm/h)",
        )
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(FuncFormatter(plain_number))
        tidy(ax)
        ax.grid(False, axis="x")
        ax.legend(frameon=False, fontsize="small", loc="upper left")
        self.ax_, self.figure_ = ax, ax.figure
        return self
