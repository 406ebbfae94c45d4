"""Pictures of how well a network denoises, and what sampling makes of noisy rain."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from skdiffuse.plotting._samples import dodge, get_figure, plain_number, tidy


class DenoisingDisplay:
    """Error of a network over that of its closed form, and the paired start, against the log-SNR.

    Parameters
    ----------
    report : DenoisingReport
        What ``skdiffuse.denoising_report`` gave, or anything with its attributes.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (2,)
        Denoising, paired start.
    figure_ : Figure
        Figure of the picture.

    See Also
    --------
    skdiffuse.denoising_report : The numbers.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from skdiffuse.plotting import DenoisingDisplay
    >>> ratio = SimpleNamespace(value=np.array([[0.9], [0.6]]), standard_error=np.full((2, 1), 0.1))
    >>> shown = DenoisingDisplay(SimpleNamespace(
    ...     log_snrs=np.array([-8.0, 0.0]), bands=("all",), error_ratio=ratio, paired=None)).plot()
    >>> shown.axes_[0].get_xlabel()
    'log-SNR'
    """

    def __init__(self, report: Any):
        self.report = report

    def plot(self, axes: Any = None) -> DenoisingDisplay:
        """Draw the two panels.

        Parameters
        ----------
        axes : pair of Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        DenoisingDisplay
        """
        if axes is None:
            axes = get_figure((12.0, 4.4)).subplots(1, 2)
        self.axes_ = np.asarray(axes, dtype=object)
        if self.axes_.shape != (2,):
            raise ValueError(f"axes: got shape {self.axes_.shape}; give a pair of axes.")
        self.figure_ = self.axes_[0].figure
        self._draw_denoising(self.axes_[0])
        self._draw_paired(self.axes_[1])
        return self

    def _draw_denoising(self, ax: Any) -> None:
        report = self.report
        has_skip = report.error_ratio is not None
        shown = report.error_ratio if has_skip else report.error
        colours = _band_colours(report.bands)
        for k, (band, colour) in enumerate(colours.items()):
            style = {"color": colour, "lw": 2.4 if band == "all" else 1.3, "label": _in_words(band)}
            self._draw(ax, report.log_snrs, shown, k, len(colours), **style)
        if has_skip:
            ax.axhline(1.0, color="#888888", linewidth=1, linestyle=":", zorder=1)
        ax.set_yscale("log")
        ax.set_ylabel("error of the network / of its skip" if has_skip else "error per cell")
        ax.set_title("Denoising: below 1 it has learnt" if has_skip else "Denoising")
        ax.legend(frameon=False, fontsize="small", loc="best")
        self._finish(ax)

    def _draw_paired(self, ax: Any) -> None:
        report = self.report
        if report.paired is None:
            ax.set_axis_off()
            return
        colours = _band_colours(report.bands)
        curves = {"mean rain": {"color": "#000000", "lw": 2.4}}
        curves["wet share"] = {"color": "#888888", "lw": 1.8, "linestyle": "--"}
        for band in report.bands[2:]:
            curves[f"power {band}"] = {"color": colours[band], "lw": 1.3}
        curves["quantile 0.999"] = {"color": "#D55E00", "lw": 1.3, "linestyle": ":"}
        curves = {n: style for n, style in curves.items() if n in report.statistics}
        for k, (name, style) in enumerate(curves.items()):
            kind, _, band = name.partition("power ")
            label = kind or f"power of {_in_words(band)}"
            at = report.statistics.index(name)
            self._draw(
                ax, report.paired_log_snrs, report.paired, k, len(curves), at, label=label, **style
            )
        ax.axhline(1.0, color="#888888", linewidth=1, linestyle=":", zorder=1)
        ax.set_ylabel("sampled / real")
        ax.set_title("Sampling from noisy windows: 1 is right")
        ax.set_ylim(bottom=0)
        # Beside the panel: curves of a weak model fill it.
        ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
        self._finish(ax)

    def _draw(
        self, ax: Any, x: Any, estimate: Any, index: int, count: int, at: Any = None, **style: Any
    ) -> None:
        """One curve with error bars, a little to the side of its neighbours."""
        column = index if at is None else at
        value, error = estimate.value[:, column], estimate.standard_error[:, column]
        x = np.asarray(x) + dodge(index, count, 0.06)
        ax.errorbar(x, value, error, marker="o", ms=3, elinewidth=0.9, **style)

    def _finish(self, ax: Any) -> None:
        tidy(ax)
        ax.set_xlabel("log-SNR")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if ax.get_yscale() == "log":
            ticks = [digits * 10.0**n for n in range(-4, 3) for digits in (1, 1.5, 2, 3, 5, 7)]
            ax.yaxis.set_major_locator(FixedLocator(ticks))
            ax.yaxis.set_major_formatter(FuncFormatter(plain_number))
            ax.yaxis.set_minor_formatter(NullFormatter())


def _band_colours(bands: Any) -> dict[str, Any]:
    """Black for all, then from dark to light the finer the waves."""
    from matplotlib import colormaps

    finer = [band for band in bands if band != "all"]
    shades = colormaps["viridis"](np.linspace(0.0, 0.88, max(len(finer), 2)))
    shade = dict(zip(finer, shades, strict=False))
    return {band: "#000000" if band == "all" else shade[band] for band in bands}


def _in_words(band: str) -> str:
    words = {"all": "all", "mean": "mean of the window", "1": "1 wave"}
    return words.get(band, f"{band} waves")
