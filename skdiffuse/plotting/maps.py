"""Maps of where it rains too much or too little."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap

from skdiffuse.cubes import ordered
from skdiffuse.metrics import mean_normalised_bias
from skdiffuse.plotting._samples import (
    FromEstimator,
    get_figure,
    named,
    percent,
    weighted_cubes,
)
from skdiffuse.plotting.coastlines import draw_coastlines
from skdiffuse.plotting.colours import MISSING_COLOUR

_STEPS = np.array([0.1, 0.2, 0.35, 0.5, 0.75, 1.0])


def draw_field(ax: Any, field: Any, **style: Any) -> Any:
    """Draw one field (y, x) in its own coordinates where it has 1-D ones; return the image.

    North is up: rows run upwards where the y coordinate increases, downwards otherwise. A field
    that tells its latitudes and longitudes gets coastlines where cartopy has them.
    """
    field = ordered(field, ("y", "x"), "field")
    values = np.ma.masked_invalid(np.asarray(field, dtype=np.float64))
    origin, extent = "upper", None
    if hasattr(field, "dims") and all(d in field.coords for d in field.dims):
        y, x = (np.asarray(field[d]) for d in field.dims)
        if min(y.size, x.size) > 1 and y.dtype.kind in "fiu" and x.dtype.kind in "fiu":
            origin = "lower" if y[-1] > y[0] else "upper"
            dx, dy = abs(x[1] - x[0]) / 2, abs(y[1] - y[0]) / 2
            extent = (x.min() - dx, x.max() + dx, y.min() - dy, y.max() + dy)
            if x[-1] < x[0]:
                values = values[:, ::-1]
    image = ax.imshow(values, origin=origin, extent=extent, interpolation="nearest", **style)
    if extent is not None:
        draw_coastlines(ax, field)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color="#999999", linewidth=0.6)
    return image


class BiasMapDisplay(FromEstimator):
    """Maps of the mean-normalised bias, one a simulation, on one colour scale.

    Parameters
    ----------
    bias : dict of str to array-like of shape (y, x)
        ``mean(sim) / mean(obs) - 1`` by name of the simulation.

    Attributes
    ----------
    axes_ : ndarray of Axes
        One a simulation.
    figure_ : Figure
        Figure of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import BiasMapDisplay
    >>> rain = np.random.default_rng(0).gamma(0.2, size=(2, 8, 6, 16, 16))
    >>> BiasMapDisplay.from_samples(rain[0], {"first": rain[1], "second": rain[0]}).axes_.shape
    (2,)
    """

    def __init__(self, bias: dict[str, Any]):
        self.bias = bias

    @classmethod
    def from_samples(cls, obs: Any, sim: Any, *, weights: Any = None, ax: Any = None) -> Self:
        """Map the bias of `sim` (a cube, or a dictionary of them) against `obs`.

        Parameters
        ----------
        obs, sim : array-like of shape (..., y, x), sim also dict of str to array-like
            Rain rate in mm/h on one grid.
        weights : array-like of shape (n,) or dict of str to them, default=None
            What each sequence of a simulation counts. By default the coordinate ``weight`` of a
            DataArray that carries one, and else all alike; so in any case for `obs`.
        ax : Axes or sequence of Axes, default=None
            One a simulation; by default a new figure.
        """
        sims = named(sim)
        cubes, each = weighted_cubes(weights, obs, sims)
        return cls({n: mean_normalised_bias(obs, cubes[n], weights=each[n]) for n in sims}).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the maps in `ax` (one a simulation) or a new figure, and return self."""
        if ax is None:
            first = np.shape(next(iter(self.bias.values())))
            figure = get_figure((3.3 * len(self.bias) + 1.0, 3.3 * first[0] / first[1] + 0.6))
            axes = figure.subplots(1, len(self.bias), squeeze=False)[0]
        else:
            axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
            if len(axes) != len(self.bias):
                raise ValueError(
                    f"ax must hold one Axes a simulation: {len(self.bias)}; got {len(axes)}."
                )
        # Brown is too dry and blue-green too wet: told apart under every colour blindness.
        # The step around zero is white, which the map's own middle is only nearly.
        edges = np.concatenate([-_STEPS[::-1], _STEPS])
        shades = colormaps["BrBG"](np.linspace(0.04, 0.96, edges.size - 1))
        shades[_STEPS.size - 1] = 1.0
        colours = ListedColormap(shades).with_extremes(bad=MISSING_COLOUR, over="#00201a")
        norm = BoundaryNorm(edges, colours.N)
        for axis, (name, bias) in zip(axes, self.bias.items(), strict=True):
            image = draw_field(axis, bias, cmap=colours, norm=norm)
            size = np.asarray(bias)
            size = np.abs(size[~np.isnan(size)])
            note = f"mean absolute bias {percent(size.mean())}" if size.size else "no rain"
            axis.set_title(f"{name}\n{note}", fontsize="medium")
        self.axes_, self.figure_ = axes, axes[0].figure
        bar = self.figure_.colorbar(image, ax=list(axes), shrink=0.9, ticks=edges, extend="max")
        bar.ax.set_yticklabels([f"{100 * e:+.0f} %" for e in edges], fontsize="small")
        bar.set_label("mean-normalised bias")
        return self
