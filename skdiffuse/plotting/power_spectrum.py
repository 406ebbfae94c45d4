"""Pictures of power by scale."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from skdiffuse.metrics import PowerSpectrum, spatial_psd, temporal_psd
from skdiffuse.metrics.spectra import last_whole_ring
from skdiffuse.plotting._samples import FromEstimator, get_axes, named, plain_number, tidy
from skdiffuse.plotting.colours import OBSERVED_COLOUR, model_colours


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
        kind: Literal["spatial", "temporal"] = "spatial",
    ):
        self.observed = observed
        self.simulated = simulated
        self.kind = kind

    @classmethod
    def from_samples(
        cls,
        obs: Any,
        sim: Any,
        *,
        kind: Literal["spatial", "temporal"] = "spatial",
        ax: Any = None,
        **options: Any,
    ):
        """Compare the spectra of `sim` (a cube, or a dictionary of them) with that of `obs`.

        Parameters
        ----------
        obs, sim : array-like of shape (..., time, y, x), sim also dict of str to array-like
            Rain rate in mm/h.
        kind : {"spatial", "temporal"}, default="spatial"
            Which spectrum to draw.
        ax : Axes, default=None
            Axes to draw in; by default a new figure.
        **options
            Passed to `metrics.spatial_psd` or `metrics.temporal_psd`.
        """
        sims = named(sim)
        if kind == "spatial":
            spectra = [spatial_psd(X, **options) for X in (obs, *sims.values())]
            last = last_whole_ring(*np.shape(obs)[-2:])
            spectra = [PowerSpectrum(k[: last + 1], P[: last + 1]) for k, P in spectra]
        elif kind == "temporal":
            frames = min(np.shape(X)[-3] for X in (obs, *sims.values()))
            options = {"n_frames": frames, **options}
            spectra = [temporal_psd(X, **options) for X in (obs, *sims.values())]
        else:
            raise ValueError(f"kind must be 'spatial' or 'temporal'; got {kind!r}.")
        return cls(spectra[0], dict(zip(sims, spectra[1:], strict=True)), kind).plot(ax)

    def plot(self, ax: Any = None):
        """Draw the picture in `ax` (or a new figure) and return self."""
        ax = get_axes(ax)
        colours = {"observed": OBSERVED_COLOUR, **model_colours(self.simulated)}
        few = len(self.observed.k) <= 16
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
