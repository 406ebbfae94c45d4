"""Rain as one sees it: frames side by side, and animations."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter, writers
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from skdiffuse.cubes import ordered
from skdiffuse.metrics.arrays import to_numpy
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.plotting._files import write_whole
from skdiffuse.plotting._samples import get_figure, named
from skdiffuse.plotting.colours import RAIN_LEVELS, rain_colormap, rain_norm
from skdiffuse.plotting.maps import draw_field


def _checked(sequences: Any) -> dict[str, Any]:
    sequences = named(sequences, "")
    sequences = {name: ordered(X, name=f"sequence {name!r}") for name, X in sequences.items()}
    for name, sequence in sequences.items():
        if np.ndim(sequence) != 3:
            raise ValueError(
                f"sequence {name!r} must have shape (time, y, x); got {np.shape(sequence)}. "
                "Choose one sample, e.g. sim[0]."
            )
    return {
        name: seq if hasattr(seq, "dims") else to_numpy(seq, f"sequence {name!r}")
        for name, seq in sequences.items()
    }


def _time_labels(sequences: dict[str, Any], labels: Any, n: int) -> list[str]:
    if labels is not None:
        labels = [str(label) for label in labels]
        if len(labels) < n:
            raise ValueError(f"labels must name all {n} frames; got {len(labels)}.")
        return labels
    for sequence in sequences.values():
        time = getattr(sequence, "dims", ("",))[0]
        if time in getattr(sequence, "coords", {}) and len(sequence) == n:
            return [str(t)[:16].replace("T", " ") for t in np.asarray(sequence[time])]
    return [f"frame {i + 1}" for i in range(n)]


def _rain_bar(figure: Any, axes: Any, levels: Any, **options: Any) -> None:
    norm = rain_norm(levels)
    bar = figure.colorbar(
        ScalarMappable(norm, rain_colormap()), ax=axes, ticks=levels, spacing="uniform", **options
    )
    bar.ax.minorticks_off()
    bar.set_ticklabels([f"{level:g}" for level in levels])
    bar.set_label("rain rate (mm/h)")


class FramesDisplay:
    """Sequences of rain fields as rows of frames under one rain colour scale.

    Dry is white, missing light grey; the colour steps are about logarithmic in mm/h.

    Parameters
    ----------
    sequences : dict of str to array-like of shape (time, y, x)
        Rain rate in mm/h by name; one row each.
    frames : sequence of int, default=None
        Which frames to show; by default up to six, evenly spaced.
    labels : sequence of str, default=None
        Names of all frames (times, lead times); by default the time coordinate or numbers.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_sequences, n_shown)
        One a frame.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import FramesDisplay
    >>> rain = np.random.default_rng(0).gamma(0.2, size=(2, 8, 16, 16))
    >>> FramesDisplay({"observed": rain[0], "model": rain[1]}, frames=[0, 4]).plot().axes_.shape
    (2, 2)
    """

    def __init__(self, sequences: Any, frames: Any = None, labels: Any = None):
        self.sequences = sequences
        self.frames = frames
        self.labels = labels

    @classmethod
    @samples_by_name("sim", axes=("time", "y", "x"))
    def from_samples(
        cls, obs: Any, sim: Any, *, n_samples: int = 2, frames: Any = None, labels: Any = None
    ) -> Self:
        """Show sequences of `sim` under the first of `obs`.

        Parameters
        ----------
        obs, sim : array-like of shape (time, y, x) or (n, time, y, x), sim also dict of them
            Rain rate in mm/h.
        n_samples : int, default=2
            Samples to show of each simulation that has several.
        frames, labels
            As for the class.
        """
        rows = {"observed": obs if np.ndim(obs) == 3 else obs[0]}
        for name, cube in named(sim).items():
            if np.ndim(cube) == 3:
                rows[name] = cube
            elif len(cube) == 1 or n_samples == 1:
                rows[name] = cube[0]
            else:
                for i in range(min(n_samples, len(cube))):
                    rows[f"{name} {i + 1}"] = cube[i]
        return cls(rows, frames, labels).plot()

    def plot(self, figure: Any = None, *, levels: Any = RAIN_LEVELS) -> Self:
        """Draw the frames in `figure` (or a new one) and return self."""
        sequences = _checked(self.sequences)
        n = max(len(s) for s in sequences.values())
        shown = self.frames
        if shown is None:
            shown = np.unique(np.linspace(0, n - 1, min(n, 6)).round().astype(int))
        names = _time_labels(sequences, self.labels, n)
        ny, nx = np.shape(next(iter(sequences.values())))[-2:]
        if figure is None:
            width = 1.75
            figure = get_figure(
                (
                    width * len(shown) + 1.2,
                    max((width * ny / nx + 0.12) * len(sequences) + 0.4, 2.6),
                )
            )
        axes = figure.subplots(len(sequences), len(shown), squeeze=False)
        style = {"cmap": rain_colormap(), "norm": rain_norm(levels)}
        for r, (name, sequence) in enumerate(sequences.items()):
            for c, t in enumerate(shown):
                if t < len(sequence):
                    draw_field(axes[r, c], sequence[t], **style)
                else:
                    axes[r, c].set(xticks=[], yticks=[], frame_on=False)
                if r == 0:
                    axes[r, c].set_title(names[t], fontsize="small")
            axes[r, 0].set_ylabel(name, fontsize="medium")
        _rain_bar(figure, axes, levels, shrink=0.95, aspect=30, pad=0.015)
        self.axes_, self.figure_ = axes, figure
        return self


@overload
def animate(
    sequences: Any,
    path: None = None,
    *,
    labels: Any = None,
    frame_ms: int = 400,
    levels: Any = RAIN_LEVELS,
    dpi: int = 80,
) -> bytes: ...


@overload
def animate(
    sequences: Any,
    path: str | os.PathLike[str],
    *,
    labels: Any = None,
    frame_ms: int = 400,
    levels: Any = RAIN_LEVELS,
    dpi: int = 80,
) -> Path: ...


def animate(
    sequences: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    labels: Any = None,
    frame_ms: int = 400,
    levels: Any = RAIN_LEVELS,
    dpi: int = 80,
) -> bytes | Path:
    """Animate named sequences side by side under one rain colour scale.

    Parameters
    ----------
    sequences : dict of str to array-like of shape (time, y, x)
        Rain rate in mm/h by name. A shorter one goes blank at its end.
    path : path-like, default=None
        File to write: ``.gif``, ``.html`` (a self-contained player) or ``.mp4`` (needs ffmpeg).
        By default nothing is written and the GIF is returned.
    labels : sequence of str, default=None
        Names of the frames; by default the time coordinate or numbers.
    frame_ms : int, default=400
        Time each frame is shown, in milliseconds.
    levels : sequence of float
        Rain rates in mm/h where the colour changes.
    dpi : int, default=80
        Dots per inch.

    Returns
    -------
    bytes or Path
        The GIF, or the path written.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import animate
    >>> animate({"rain": np.zeros((2, 8, 8))})[:6]
    b'GIF89a'
    """
    suffix = ".gif" if path is None else Path(path).suffix.lower()
    if suffix not in (".gif", ".html", ".mp4"):
        raise ValueError(f"path must end in .gif, .html or .mp4; got {str(path)!r}.")
    if suffix == ".mp4" and not writers.is_available("ffmpeg"):
        raise RuntimeError(
            f"{str(path)!r} needs the program ffmpeg, which is not installed: install it, or write "
            ".gif or .html."
        )
    sequences = _checked(sequences)
    n = max(len(s) for s in sequences.values())
    names = _time_labels(sequences, labels, n)
    ny, nx = np.shape(next(iter(sequences.values())))[-2:]
    width = 3.0
    figure = Figure(
        figsize=(width * len(sequences) + 0.9, width * ny / nx + 0.75), layout="constrained"
    )
    axes = figure.subplots(1, len(sequences), squeeze=False)[0]
    style = {"cmap": rain_colormap(), "norm": rain_norm(levels)}
    images = []
    for ax, (name, sequence) in zip(axes, sequences.items(), strict=True):
        images.append(draw_field(ax, sequence[0], **style))
        ax.set_title(name, fontsize="medium")
    _rain_bar(figure, list(axes), levels, shrink=0.95)
    heading = figure.suptitle(names[0], fontsize="medium")
    # The layout is settled once: axes that move from frame to frame make a picture shiver.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")

    def draw(t: int) -> Iterable[Artist]:
        for image, sequence in zip(images, sequences.values(), strict=True):
            if t < len(sequence):
                values = np.asarray(sequence[t], dtype=np.float64)
                flip = hasattr(sequence, "dims") and _runs_down(sequence)
                image.set_data(np.ma.masked_invalid(values[:, ::-1] if flip else values))
            else:
                image.set_data(np.ma.masked_all(image.get_array().shape))
        heading.set_text(names[t])
        return images

    film = FuncAnimation(figure, draw, frames=n, interval=frame_ms, blit=False)
    if suffix == ".html":
        return write_whole(path, film.to_jshtml(default_mode="loop").encode())
    writer: PillowWriter | str = "ffmpeg"
    if suffix == ".gif":
        # It divides by the rate, and a fraction will do.
        writer = PillowWriter(fps=1000 / frame_ms)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"film{suffix}"
        film.save(file, writer=writer, dpi=dpi)
        data = file.read_bytes()
    if path is None:
        return data
    return write_whole(path, data)


def _runs_down(sequence: Any) -> bool:
    """Whether the x coordinate of a DataArray decreases."""
    x = sequence.dims[-1]
    if not all(d in sequence.coords for d in sequence.dims[-2:]):
        return False
    values = np.asarray(sequence[x])
    return values.size > 1 and values.dtype.kind in "fiu" and bool(values[-1] < values[0])
