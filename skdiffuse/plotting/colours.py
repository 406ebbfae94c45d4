"""Colours for rain, bias and models that everyone can tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, to_hex

RAIN_LEVELS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Rain rates in mm/h where the colour changes: about three a decade."""

MODEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of simulations (Okabe and Ito's palette); observations are black."""

OBSERVED_COLOUR = "#000000"
MISSING_COLOUR = "#DDDDDD"

# Pale cyan over blue to a dark purple, as (lightness, chroma, hue in degrees) in OKLab.
_RAIN_ANCHORS = ((0.94, 0.045, 205), (0.76, 0.105, 235), (0.55, 0.15, 268), (0.26, 0.12, 318))


def _oklab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """Convert OKLab (n, 3) to sRGB in [0, 1] (Ottosson 2020)."""
    cone = lab @ np.array(
        [[1, 1, 1], [0.3963377774, -0.1055613458, -0.0894841775],
         [0.2158037573, -0.0638541728, -1.2914855480]]
    )  # fmt: skip
    linear = cone**3 @ np.array(
        [[4.0767416621, -1.2684380046, -0.0041960863],
         [-3.3077115913, 2.6097574011, -0.7034186147],
         [0.2309699292, -0.3413193965, 1.7076147010]]
    )  # fmt: skip
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def rain_colormap(n: int = 256) -> Colormap:
    """Return a colour map for rain: pale for drizzle, dark for downpours, white for none.

    Neighbouring colours are equally far apart in OKLab (perceptually uniform) and lightness
    falls throughout, so that order survives colour blindness and black-and-white print. Values
    under the range are white (dry), missing ones light grey.

    Parameters
    ----------
    n : int, default=256
        Number of colours.

    Examples
    --------
    >>> from skdiffuse.plotting import rain_colormap
    >>> rain_colormap(16).N
    16
    """
    lightness, chroma, hue = np.array(_RAIN_ANCHORS).T
    fine = np.linspace(0, len(lightness) - 1, 1024)
    at = np.arange(len(lightness))
    L, C = np.interp(fine, at, lightness), np.interp(fine, at, chroma)
    h = np.radians(np.interp(fine, at, hue))
    lab = np.column_stack([L, C * np.cos(h), C * np.sin(h)])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))])
    even = np.linspace(0, length[-1], n)
    lab = np.column_stack([np.interp(even, length, lab[:, c]) for c in range(3)])
    colours = ListedColormap([to_hex(c) for c in _oklab_to_srgb(lab)], name="rain")
    return colours.with_extremes(under="white", bad=MISSING_COLOUR, over="#1b0a1f")


def rain_norm(levels: Sequence[float] = RAIN_LEVELS) -> BoundaryNorm:
    """Return the norm that steps through `levels` (mm/h), for use with `rain_colormap`.

    Examples
    --------
    >>> from skdiffuse.plotting import rain_colormap, rain_norm
    >>> norm = rain_norm()
    >>> [float(c) for c in rain_colormap(norm.Ncmap)(norm(0.0))]  # dry is white
    [1.0, 1.0, 1.0, 1.0]

    Heavy rain alone:

    >>> from skdiffuse.plotting import RAIN_LEVELS
    >>> rain_norm(RAIN_LEVELS[5:]).boundaries.tolist()
    [5.0, 10.0, 20.0, 50.0, 100.0]
    """
    return BoundaryNorm(levels, ncolors=256, extend="max")


def model_colours(names: Iterable[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return one colour a name: the one given, or the palette's in the order of the names."""
    names = list(names)
    palette = {name: MODEL_COLOURS[i % len(MODEL_COLOURS)] for i, name in enumerate(names)}
    return palette if given is None else {name: given.get(name, palette[name]) for name in names}
