"""What the diagnosis of a model found: numbers, tables, a picture and a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skdiffuse.plotting.denoising_display import DenoisingDisplay

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DenoisingReport", "Estimate"]

# What is off by less than this is left unsaid, however sure it is.
TOLERATED = 0.05
# And harm that is less than this share of the error at its log-SNR.
HARMLESS = 0.01


class Estimate(NamedTuple):
    """Values and their standard errors over windows."""

    value: np.ndarray
    standard_error: np.ndarray

    @property
    def is_off(self) -> np.ndarray:
        """Where it is more than two standard errors away from 1."""
        return np.abs(self.value - 1) > 2 * self.standard_error


@dataclass(frozen=True, eq=False)
class DenoisingReport:
    """What `denoising_report` found.

    Attributes
    ----------
    n_windows : int
    log_snrs : ndarray of shape (l,)
        Increasing.
    bands : tuple of str, length b
        "all"; "mean", the mean of a window; and bands of waves across the longer side of a window,
        "1" (with everything longer, and changes of the mean in time), "2-3", "4-7" and so on.
    error : Estimate of shape (l, b)
        Mean square error of the network's x_hat per cell, in latent units. Bands add up to "all".
    response : Estimate of shape (l, b)
        ``E[x_hat_k z_k] / E[x_k z_k]``: 1 for a calibrated denoiser, less for one that does not
        react to what it sees.
    calibration : Estimate of shape (l, b)
        ``E[x_k x_hat_k] / E[x_hat_k^2]``: 1 for a calibrated denoiser, less for one that says more
        than it knows.
    skip_error : Estimate of shape (l, b) or None
        Error of the closed form that the network starts from; None if there is none.
    error_ratio : Estimate of shape (l, b) or None
        `error` over `skip_error`.
    excess : Estimate of shape (l, b) or None
        `error` less `skip_error`, on the same noise.
    paired_log_snrs : ndarray of shape (p,) or None
        Where sampling was started; None if it was not.
    statistics : tuple of str, length s
        What was compared: "mean rain", "wet share" (above 0.1 mm/h), "latent variance", and of rain
        in mm/h "power ..." in each band and "quantile ...".
    paired : Estimate of shape (p, s) or None
        Statistics of the rain that came out over those of the windows that went in.
    """

    n_windows: int
    log_snrs: np.ndarray
    bands: tuple[str, ...]
    error: Estimate
    response: Estimate
    calibration: Estimate
    skip_error: Estimate | None = None
    error_ratio: Estimate | None = None
    excess: Estimate | None = None
    paired_log_snrs: np.ndarray | None = None
    statistics: tuple[str, ...] = ()
    paired: Estimate | None = None

    @property
    def skip_beaten_everywhere(self) -> bool:
        """Whether the network's error exceeds its skip's nowhere by more than 2 standard errors.

        Also True of a network that has no skip.
        """
        return not self._worse.any()

    @property
    def verdict(self) -> str:
        """Where the model is weak, in a sentence."""
        found = []
        found += self._of_denoising()
        if self.paired is not None and self.paired_log_snrs is not None:
            found += self._of_paired_start(self.paired, self.paired_log_snrs)
        if not found:
            return f"Nothing weak can be told from {self.n_windows} windows."
        return f"Weak: {'; '.join(found)}."

    def summary(self) -> str:
        """Tables of all ratios by log-SNR, and the verdict."""
        rows = [f"{self.n_windows} windows; bands are waves across the longer side of a window."]
        rows.append("* more than two standard errors away from 1")
        if self.error_ratio is None:
            rows += _table("Error per cell", self.log_snrs, self.bands, self.error, mark=False)
        else:
            title = "Error of the network / of its skip"
            rows += _table(title, self.log_snrs, self.bands, self.error_ratio)
        for title, estimate in [("Response", self.response), ("Calibration", self.calibration)]:
            rows += _table(f"{title} (should be 1)", self.log_snrs, self.bands, estimate)
        if self.paired is not None and self.paired_log_snrs is not None:
            title = "Sampled from noisy windows / those windows (should be 1)"
            short = [s.replace("latent ", "latent\n").replace(" ", "\n") for s in self.statistics]
            rows += _table(title, self.paired_log_snrs, short, self.paired)
        return "\n".join([*rows, "", self.verdict])

    def __str__(self) -> str:
        return self.summary()

    def to_dataframe(self) -> pd.DataFrame:
        """All numbers, one a row: quantity, log_snr, of (band or statistic), value, standard_error.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        denoising = ("error", "skip_error", "error_ratio", "excess", "response", "calibration")
        parts = [(name, self.log_snrs, self.bands) for name in denoising]
        if self.paired_log_snrs is not None:
            parts.append(("paired", self.paired_log_snrs, self.statistics))
        rows = [
            (name, level, of, estimate.value[i, j], estimate.standard_error[i, j])
            for name, levels, columns in parts
            if (estimate := getattr(self, name)) is not None
            for i, level in enumerate(levels)
            for j, of in enumerate(columns)
        ]
        columns = ["quantity", "log_snr", "of", "value", "standard_error"]
        return pd.DataFrame(rows, columns=columns)

    def plot(self, axes: Any = None) -> DenoisingDisplay:
        """Draw error and paired start against the log-SNR.

        Parameters
        ----------
        axes : pair of Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        DenoisingDisplay
        """
        return DenoisingDisplay(self).plot(axes)

    @property
    def _worse(self) -> np.ndarray:
        """At which log-SNRs the network is worse than its skip."""
        if self.excess is None:
            return np.zeros(len(self.log_snrs), dtype=bool)
        return self.excess.value[:, 0] > 2 * self.excess.standard_error[:, 0]

    def _of_denoising(self) -> list[str]:
        """Where the network does harm: all in all, or else in the band where it does most."""
        if self._worse.any():
            return [f"{_spans(self._worse, self.log_snrs)} the network is worse than its skip"]
        if self.excess is None or self.error_ratio is None:
            return []
        sure = self.excess.value > 2 * self.excess.standard_error
        # A band that is all but known may be many times worse without any harm.
        harm = np.where(sure, self.excess.value, 0.0) / self.error.value[:, :1]
        level, band = np.unravel_index(harm.argmax(), harm.shape)
        if harm[level, band] < HARMLESS:
            return []
        name = self.bands[band]
        where = "the mean of windows" if name == "mean" else f"structure of {name} waves"
        return [
            f"at log-SNR {self.log_snrs[level]:g} the network makes "
            f"{self.error_ratio.value[level, band]:.2f} times the error of its skip in {where}"
        ]

    def _of_paired_start(self, paired: Estimate, starts: np.ndarray) -> list[str]:
        """What goes wrong on the way from noise to rain."""
        found = []
        off = paired.is_off & (np.abs(paired.value - 1) > TOLERATED)
        if off[:, 0].any():
            worst = np.flatnonzero(off[:, 0])[0]
            ratio = paired.value[worst, 0]
            found.append(
                f"started at {starts[worst]:g} sampling makes {ratio:.2f} times the mean rain"
            )
        power = [k for k, name in enumerate(self.statistics) if name.startswith("power")][1:]
        weak = [k for k in power if off[-1, k] and paired.value[-1, k] < 1]
        if weak:
            weakest = min(weak, key=lambda k: paired.value[-1, k])
            waves = self.statistics[weakest].removeprefix("power ")
            found.append(
                f"structure above {starts[-1]:g} is too weak, {paired.value[-1, weakest]:.2f} of "
                f"the power at {waves} waves"
            )
        return found


def _spans(where: np.ndarray, levels: np.ndarray) -> str:
    """Neighbouring log-SNRs in words."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(int), [0]])))
    spans = [(levels[a], levels[b - 1]) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    words = [f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in spans]
    return f"at log-SNR {', '.join(words)}"


def _table(
    title: str, levels: np.ndarray, columns: Any, estimate: Estimate, mark: bool = True
) -> list[str]:
    """Lines of numbers by log-SNR; column names may have two lines."""
    names = [(*name.split("\n", 1), "")[:2] for name in columns]
    width = max(8, *(len(part) + 1 for name in names for part in name))
    lines = ["", title]
    heads = [["", *(name[0] for name in names)], ["log-SNR", *(name[1] for name in names)]]
    if not any(heads[1][1:]):
        heads = [["log-SNR", *heads[0][1:]]]
    lines += ["".join([head[0].rjust(7), *(n.rjust(width - 1) + " " for n in head[1:])]).rstrip()
              for head in heads]  # fmt: skip
    for level, values, off in zip(levels, estimate.value, estimate.is_off, strict=True):
        numbers = [
            f"{value:.2f}".rjust(width - 1)
            + ("*" if mark and is_off and f"{value:.2f}" != "1.00" else " ")
            for value, is_off in zip(values, off, strict=True)
        ]
        lines.append(f"{level:7g}{''.join(numbers)}".rstrip())
    return lines
