"""Classes of intensity: dry, trace, light, moderate, heavy, extreme, and rates within them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

__all__ = [
    "CLASS_NAMES",
    "INTENSITY_EDGES",
    "RatesInClasses",
    "checked_edges",
    "class_names",
    "intensity_classes",
]

#: Lowest rates in mm/h of all classes but the first, which is dry.
INTENSITY_EDGES = (0.01, 0.1, 1.0, 4.0, 16.0)
CLASS_NAMES = ("dry", "trace", "light", "moderate", "heavy", "extreme")

# Bins of a class in which its rates are counted, and counts that each has before any rain is seen.
N_BINS = 32
PRIOR_COUNT = 0.5
# Of the tail's shape: 0 is exponential, 1/2 still has a variance.
LARGEST_SHAPE = 0.5

Rain = TypeVar("Rain")


def intensity_classes(rain: Rain, edges: Sequence[float] = INTENSITY_EDGES) -> Rain:
    """Class of each cell, 0 where it is dry.

    Parameters
    ----------
    rain : ndarray or DataArray
        In mm/h, NaN where missing.
    edges : sequence of float
        Lowest rates of the wet classes in mm/h, increasing and above 0.

    Returns
    -------
    ndarray or DataArray
        Of float32, whole numbers from 0 to ``len(edges)``, NaN where missing.

    Examples
    --------
    >>> intensity_classes(np.array([0.0, 0.01, 0.5, 20.0, np.nan]))
    array([ 0.,  1.,  2.,  5., nan], dtype=float32)
    """
    bounds = checked_edges(edges)
    # Of rates that single precision cannot tell apart all are in one class.
    values = np.asarray(rain, dtype=np.float32)
    found = np.searchsorted(bounds, values, side="right").astype(np.float32)
    found[np.isnan(values)] = np.nan
    copy = getattr(rain, "copy", None) if hasattr(rain, "dims") else None
    return found if copy is None else copy(data=found)  # type: ignore[return-value]


def class_names(edges: Sequence[float] = INTENSITY_EDGES) -> tuple[str, ...]:
    """Return the names of the classes: words where there are six, else their rates in mm/h.

    Examples
    --------
    >>> class_names((0.1, 5))
    ('below 0.1', '0.1 to 5', 'from 5')
    """
    edges = tuple(edges)
    if len(edges) + 1 == len(CLASS_NAMES):
        return CLASS_NAMES
    between = [f"{a:g} to {b:g}" for a, b in pairwise(edges)]
    return (f"below {edges[0]:g}", *between, f"from {edges[-1]:g}")


def checked_edges(edges: Sequence[float]) -> np.ndarray:
    """Edges as a float64 array of what float32 can hold.

    Raises
    ------
    ValueError
        If they are no increasing rates above 0.
    """
    try:
        values = np.asarray(edges, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    right = values.ndim == 1 and values.size > 0 and bool(np.isfinite(values).all())
    if not right or values[0] <= 0 or (np.diff(values) <= 0).any():
        raise ValueError(
            f"edges={edges!r} must be rates in mm/h above 0 that increase, such as "
            f"{INTENSITY_EDGES}: the first is where rain begins."
        )
    return values.astype(np.float32).astype(np.float64)


@dataclass(frozen=True)
class RatesInClasses:
    """How rates are distributed within each wet class, with its bounds exact.

    A histogram on bins of equal ratio between the edges of a class, and a generalised Pareto law
    from the last edge on, without end. Dry cells are an atom: they have the rate 0 and no density.

    Attributes
    ----------
    edges : ndarray of shape (k,)
    shares : ndarray of shape (k - 1, bins)
        Of each bin in its class.
    scale, shape : float
        Of the tail; a shape of 0 is exponential.

    Examples
    --------
    >>> rain = np.random.default_rng(0).exponential(2.0, 10_000)
    >>> law = RatesInClasses.fit(rain, (0.1, 1.0, 4.0))
    >>> classes = intensity_classes(rain, law.edges)
    >>> bool(np.allclose(law.rates(classes, law.levels(rain)), np.where(rain < 0.1, 0, rain)))
    True
    >>> law.rates(np.array([0.0, 2.0, 2.0]), np.array([0.5, 0.0, 1.0])).round(6)
    array([0., 1., 4.])
    """

    edges: np.ndarray
    shares: np.ndarray
    scale: float
    shape: float

    @classmethod
    def fit(cls, rain: np.ndarray, edges: Sequence[float] = INTENSITY_EDGES) -> RatesInClasses:
        """Fit to rain in mm/h of any shape; NaN does not count."""
        bounds = checked_edges(edges)
        values = np.asarray(rain, dtype=np.float32).ravel()
        values = values[np.isfinite(values)].astype(np.float64)
        grids = _grids(bounds)
        counts = np.array([np.histogram(values, grid)[0] for grid in grids], dtype=np.float64)
        # The upper edge of a histogram's last bin belongs to it, and here to the next class.
        counts = counts.reshape(len(grids), N_BINS)
        counts[:, -1] -= [np.count_nonzero(values == edge) for edge in bounds[1:]]
        counts += PRIOR_COUNT
        scale, shape = _tail(values[values >= bounds[-1]] - bounds[-1], float(bounds[-1]))
        return cls(bounds, counts / counts.sum(1, keepdims=True), scale, shape)

    def levels(self, rain: np.ndarray) -> np.ndarray:
        """Share of its class that each rate exceeds, from 0 to 1; 0.5 where dry, NaN kept."""
        values = np.asarray(rain, dtype=np.float64)
        found = np.where(np.isnan(values), np.nan, 0.5)
        classes = intensity_classes(values, tuple(self.edges))
        for k, (grid, upto) in enumerate(self._curves(), start=1):
            here = classes == k
            found[here] = np.interp(values[here], grid, upto)
        here = classes == len(self.edges)
        found[here] = self._tail_level(values[here] - self.edges[-1])
        return found

    def rates(self, classes: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Return rates in mm/h: 0 where dry, within the bounds of the class elsewhere; NaN kept.

        Parameters
        ----------
        classes, levels : ndarray of one shape
            As `intensity_classes` and `levels` give them.
        """
        classes, levels = np.asarray(classes), np.clip(levels, 0.0, 1.0)
        rates = np.where(np.isnan(classes), np.nan, 0.0)
        for k, (grid, upto) in enumerate(self._curves(), start=1):
            here = classes == k
            # An upper edge belongs to the next class, also in single precision.
            highest = np.nextafter(np.float32(grid[-1]), np.float32(0))
            rates[here] = np.minimum(np.interp(levels[here], upto, grid), highest)
        here = classes == len(self.edges)
        rates[here] = self.edges[-1] + self._tail_excess(levels[here])
        return rates

    def log_density(self, rain: np.ndarray) -> np.ndarray:
        """Log-density of each rate within its class, in nats per mm/h; 0 where dry or missing."""
        values = np.asarray(rain, dtype=np.float64)
        classes = intensity_classes(values, tuple(self.edges))
        found = np.zeros(values.shape)
        for k, grid in enumerate(_grids(self.edges), start=1):
            here = classes == k
            bins = np.clip(np.searchsorted(grid, values[here], side="right") - 1, 0, N_BINS - 1)
            found[here] = np.log(self.shares[k - 1, bins] / np.diff(grid)[bins])
        here = classes == len(self.edges)
        excess = (values[here] - self.edges[-1]) / self.scale
        if self.shape > 0:
            found[here] = -(1 / self.shape + 1) * np.log1p(self.shape * excess)
        else:
            found[here] = -excess
        found[here] -= np.log(self.scale)
        return found

    def _curves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        upto = np.concatenate([np.zeros((len(self.shares), 1)), self.shares.cumsum(1)], axis=1)
        upto /= upto[:, -1:]
        return list(zip(_grids(self.edges), upto, strict=True))

    def _tail_level(self, excess: np.ndarray) -> np.ndarray:
        scaled = excess / self.scale
        if self.shape > 0:
            return 1 - (1 + self.shape * scaled) ** (-1 / self.shape)
        return -np.expm1(-scaled)

    def _tail_excess(self, levels: np.ndarray) -> np.ndarray:
        # One in a hundred million is the rarest that is told apart.
        left = np.clip(1 - levels, 1e-8, 1.0)
        if self.shape > 0:
            return self.scale * (left**-self.shape - 1) / self.shape
        return -self.scale * np.log(left)


def _grids(edges: np.ndarray) -> list[np.ndarray]:
    """Bins of each class with an upper edge."""
    grids = [np.geomspace(a, b, N_BINS + 1) for a, b in pairwise(edges)]
    for grid, (a, b) in zip(grids, pairwise(edges), strict=True):
        grid[0], grid[-1] = a, b
    return grids


def _tail(excess: np.ndarray, edge: float) -> tuple[float, float]:
    """Scale and shape of a generalised Pareto law, by probability-weighted moments.

    Hosking & Wallis, "Parameter and quantile estimation for the generalized Pareto distribution"
    (1987), with the shape kept between 0 and 1/2.
    """
    if len(excess) < 20:
        # Too few for a shape: as if so many had been an edge's width above it, on average.
        return (float(excess.sum()) + edge) / (len(excess) + 1), 0.0
    ordered = np.sort(excess)
    n = len(ordered)
    b0 = float(ordered.mean())
    b1 = float((ordered * (n - 1 - np.arange(n))).sum() / (n * (n - 1)))
    if b0 <= 0 or b0 <= 2 * b1:
        return max(b0, 1e-6 * edge), 0.0
    shape = float(np.clip(2 - b0 / (b0 - 2 * b1), 0.0, LARGEST_SHAPE))
    return b0 * (1 - shape), shape
