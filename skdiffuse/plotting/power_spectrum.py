"""Pictures of power by scale."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from skdiffuse.metrics import PowerSpectrum, spatial_psd, temporal_psd
from skdiffuse.metrics.arrays import check_same_grid
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.metrics.spectra import SpectrumKind, last_whole_ring
from skdiffuse.metrics.uncertainty import bootstrap_means
from skdiffuse.plotting._samples import (
    FromEstimator,
    draw_band,
    get_axes,
    named,
    plain_number,
    tidy,
    weighted_cubes,
    weighted_units,
)
from skdiffuse.plotting.colours import OBSERVED_COLOUR, model_colours


def _of_each(
    units: tuple[Any, np.ndarray | None], kind: SpectrumKind, options: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Spectrum of each sequence that has one, and its weight."""
    found, which = [], []
    for i, X in enumerate(units[0]):
        try:
            spectrum = (
                spatial_psd(X, **options) if kind == "spatial" else temporal_psd(X, **options)
            )
        except ValueError:  # missing values in all frames
            continue
        found.append(spectrum.P)
        which.append(i)
    return np.array(found), None if units[1] is None else units[1][which]


class PowerSpectrumDisplay(FromEstimator):
    """Power spectra of observations and simulations, in space or in time.

    Parameters
    ----------
    observed : PowerSpectrum
        Spectrum of the observations.
    simulated : dict of str to PowerSpectrum
        Spectra of the simulations by name.
    kind : {"spatial", "temporal"}
        What the wave numbers count: waves across the longest side, or waves in a window.
    intervals : dict of str to ndarray of shape (2, n_waves), default=None
        Lowest and highest believable power by name, "observed" included.

    Attributes
    ----------
    ax_ : Axes
        Axes of the picture.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import PowerSpectrumDisplay
    >>> rain = np.random.default_rng(0).gamma(0.2, size=(2, 8, 6, 16, 16))
    >>> PowerSpectrumDisplay.from_samples(rain[0], rain[1], kind="temporal").ax_.get_xlabel()
    'number of waves in the window'
    """

    def __init__(
        self,
        observed: PowerSpectrum,
        simulated: dict[str, PowerSpectrum],
        kind: SpectrumKind = "spatial",
        intervals: dict[str, np.ndarray] | None = None,
    ):
        self.observed = observed
        self.simulated = simulated
        self.kind = kind
        self.intervals = intervals

    @classmethod
    @samples_by_name("sim", axes=("time", "y", "x"))
    def from_samples(
        cls,
        obs: Any,
        sim: Any,
        *,
        kind: SpectrumKind = "spatial",
        confidence: float | None = 0.95,
        block_length: int | None = None,
        weights: Any = None,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Compare the spectra of `sim` (a cube, or a dictionary of them) with that of `obs`.

        Parameters
        ----------
        obs, sim : array-like of shape (..., time, y, x), sim also dict of str to array-like
            Rain rate in mm/h.
        kind : {"spatial", "temporal"}, default="spatial"
            Which spectrum to draw.
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
        **options
            Passed to `metrics.spatial_psd` or `metrics.temporal_psd`.
        """
        sims = named(sim)
        cubes, each = weighted_cubes(weights, obs, sims)
        if kind == "spatial":
            for name, cube in sims.items():
                check_same_grid(obs, cube, ("obs", name))
            spectra = [spatial_psd(X, weights=each[n], **options) for n, X in cubes.items()]
            last = last_whole_ring(*np.shape(obs)[-2:])
            spectra = [PowerSpectrum(k[: last + 1], P[: last + 1]) for k, P in spectra]
        elif kind == "temporal":
            frames = min(np.shape(X)[-3] for X in (obs, *sims.values()))
            options = {"n_frames": frames, **options}
            spectra = [temporal_psd(X, weights=each[n], **options) for n, X in cubes.items()]
        else:
            raise ValueError(f"kind must be 'spatial' or 'temporal'; got {kind!r}.")
        intervals = {}
        for name, cube in cubes.items() if confidence else ():
            table, w = _of_each(weighted_units(cube, each[name], block_length), kind, options)
            if len(table) > 1:
                b = bootstrap_means(
                    lambda p: p, table[:, : len(spectra[0].k)], weights=[w],
                    confidence=confidence, n_resamples=200, random_state=0,
                )  # fmt: skip
                intervals[name] = np.array([b.low, b.high])
        return cls(spectra[0], dict(zip(sims, spectra[1:], strict=True)), kind, intervals).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax)
        colours = {"observed": OBSERVED_COLOUR, **model_colours(self.simulated)}
        few, intervals = len(self.observed.k) <= 16, self.intervals or {}
        for name, (k, P) in {"observed": self.observed, **self.simulated}.items():
            waves = (k > 0) & (P > 0)
            ax.plot(
                k[waves],
                P[waves],
                marker="o" if few else None,
                ms=3.5,
                color=colours[name],
                linewidth=2.2 if name == "observed" else 1.5,
                label=name,
            )
            if name in intervals:
                low, high = intervals[name][:, waves]
                draw_band(ax, k[waves], np.maximum(low, P[waves] / 100), high, colours[name], 0.15)
        spatial = self.kind == "spatial"
        powerful = any(len(line.get_xdata()) for line in ax.get_lines())
        ax.set(
            # A logarithmic axis cannot be drawn of an all-dry cube.
            xscale="log" if spatial and powerful else "linear",
            yscale="log" if powerful else "linear",
            xlabel="waves across the longest side" if spatial else "number of waves in the window",
            ylabel="power ((mm/h)²)",
        )
        ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
        if not spatial:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        low, high = ax.get_ylim()
        if powerful and high < 30 * low:
            # Less than a decade and a half: say plain numbers where powers of ten would be rare.
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(FuncFormatter(plain_number))
            ax.yaxis.set_minor_formatter(NullFormatter())
        tidy(ax)
        ax.legend(frameon=False, fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self
