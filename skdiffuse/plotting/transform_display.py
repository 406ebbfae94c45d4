"""Pictures of what transforms do with rain."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from skdiffuse.plotting._samples import get_figure, named, plain_number, tidy
from skdiffuse.plotting.colours import model_colours


class TransformDisplay:
    """Curve, slope, use of the latent range, and noise amplification of transforms of rain.

    Parameters
    ----------
    reports : dict of str to TransformReport
        What ``skdiffuse.preprocessing.transform_report`` gave, by name. All of the same bands.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (2, 2)
        Curve, slope; latent range by band, effect of latent noise.
    figure_ : Figure
        Figure of the picture.

    See Also
    --------
    skdiffuse.preprocessing.transform_report : The numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting.transform_display import TransformDisplay
    >>> from skdiffuse.preprocessing import IdentityTransform, SqrtTransform
    >>> rain = np.random.default_rng(0).gamma(0.2, 2.0, size=(10, 20, 20))
    >>> shown = TransformDisplay.from_estimator(
    ...     {"none": IdentityTransform(), "square root": SqrtTransform()}, rain)
    >>> shown.axes_[0, 0].get_xlabel()
    'rain rate (mm/h)'
    """

    def __init__(self, reports: dict[str, Any]):
        self.reports = reports

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, **options: Any) -> TransformDisplay:
        """Report on fitted transforms and draw.

        Parameters
        ----------
        estimator : fitted transformer, or dict of str to fitted transformer
            A fitted model with a ``transformer_``, such as ``PrecipDiffusion``, will do as well.
        X : ndarray or DataArray
            Rain in mm/h.
        **options
            Passed to ``transform_report``: bands, noise, noise_unit, random_state.

        Returns
        -------
        display : TransformDisplay
            With the picture drawn.
        """
        # Imported late: it brings torch, which no other picture needs.
        from skdiffuse.preprocessing import transform_report

        reports = {
            name: transform_report(getattr(each, "transformer_", each), X, **options)
            for name, each in named(estimator, "transform").items()
        }
        return cls(reports).plot()

    def plot(self, axes: Any = None) -> TransformDisplay:
        """Draw the four panels.

        Parameters
        ----------
        axes : array of Axes of shape (2, 2), default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TransformDisplay
        """
        if axes is None:
            axes = get_figure((11.0, 7.5)).subplots(2, 2)
        self.axes_ = np.asarray(axes, dtype=object)
        if self.axes_.shape != (2, 2):
            raise ValueError(f"axes: got shape {self.axes_.shape}; give 2 x 2 axes.")
        self.figure_ = self.axes_[0, 0].figure
        colours = model_colours(self.reports)
        curve, slope = self.axes_[0]
        self._draw_curves(curve, slope, colours)
        self._draw_bands(self.axes_[1, 0], colours)
        self._draw_noise(self.axes_[1, 1], colours)
        return self

    def _draw_curves(self, curve: Any, slope: Any, colours: dict[str, str]) -> None:
        for name, report in self.reports.items():
            largest = report.band_edges[-1]
            whole = np.interp(largest, report.rate, report.latent)
            curve.plot(report.rate, report.latent / whole, color=colours[name], label=name)
            slope.plot(report.rate, report.slope * largest / whole, color=colours[name])
        for ax in (curve, slope):
            tidy(ax)
            ax.set_xscale("log")
            ax.axvline(largest, color="#888888", linewidth=0.8, linestyle=":")
            ax.set_xlabel("rain rate (mm/h)")
            ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
        curve.annotate(
            "largest rate",
            (largest, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            color="#666666",
            fontsize="small",
        )
        curve.set_ylabel("latent (share of its range)")
        curve.set_ylim(-0.03, 1.4)
        curve.set_title("Curve")
        curve.legend(frameon=False)
        slope.set_yscale("log")
        slope.axhline(1.0, color="#888888", linewidth=0.8, linestyle=":")
        slope.yaxis.set_major_formatter(FuncFormatter(plain_number))
        slope.yaxis.set_minor_formatter(NullFormatter())
        slope.set_ylabel("slope (straight line = 1)")
        slope.set_title("Slope")

    def _draw_bands(self, ax: Any, colours: dict[str, str]) -> None:
        first = next(iter(self.reports.values()))
        n, place = len(self.reports), np.arange(first.rain_share.size)
        width = 0.8 / n
        for k, (name, report) in enumerate(self.reports.items()):
            at = place + (k - (n - 1) / 2) * width
            ax.bar(at, 100 * report.latent_share, width * 0.92, color=colours[name])
        ax.plot(place, 100 * first.rain_share, "kD", markersize=5, label="share of the cells")
        labels = [
            f"{plain_number(float(f'{a:.3g}'))} to\n{plain_number(float(f'{b:.3g}'))}"
            for a, b in zip(first.band_edges[:-1], first.band_edges[1:], strict=True)
        ]
        tidy(ax)
        ax.grid(False, axis="x")
        ax.set_xticks(place, labels)
        ax.set_xlabel("rain rate (mm/h)")
        ax.set_ylabel("share of the latent range (%)")
        ax.set_title("Latent range given to each band")
        ax.legend(frameon=False)

    def _draw_noise(self, ax: Any, colours: dict[str, str]) -> None:
        """The three effects of latent noise as columns of numbers, bars by their logarithm."""
        first = next(iter(self.reports.values()))
        names = list(self.reports)
        place = np.arange(len(names))[::-1]
        ratio = np.array([self.reports[name].mean_ratio for name in names])
        ax.barh(place, ratio, height=0.5, color=[colours[n] for n in names])
        ax.axvline(1.0, color="#444444", linewidth=0.9, linestyle=":")
        for y, name in zip(place, names, strict=True):
            report = self.reports[name]
            text = (
                f"{report.mean_ratio:.3g}   (trace rain in {100 * report.trace_share:.0f} % of dry "
                f"cells; largest rate × {report.overshoot:.3g})"
            )
            ax.annotate(
                text,
                (0.0, y + 0.27),
                xytext=(2, 0),
                textcoords="offset points",
                va="bottom",
                fontsize="small",
            )
        tidy(ax)
        ax.grid(False, axis="y")
        ax.set_yticks(place, names)
        ax.set_ylim(-0.6, len(names) - 0.2)
        ax.set_xlim(0.0, max(1.05 * ratio.max(), 2.0))
        ax.set_xlabel("mean rain after noise / before (1 = unharmed)")
        unit = {"range": "on a range of 2", "std": "standard deviations"}[first.noise_unit]
        ax.set_title(f"Effect of latent noise of {first.noise:g} {unit}")
