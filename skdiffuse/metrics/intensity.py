"""How often it rains how hard: the distribution of rain rates, dry mass apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import TRACE, blocks, check_same_units
from skdiffuse.metrics.bias import relative_bias
from skdiffuse.metrics.readings import more_or_less, per_cent
from skdiffuse.metrics.score import Score, Statistic, register
from skdiffuse.metrics.weights import weighted_sum, weighted_values

_WET = 0.1  # mm/h


class IntensityHistogram(NamedTuple):
    """Distribution of rain rate: an atom of dry cells and a density of wet ones.

    Attributes
    ----------
    dry_mass : float
        Share of valid cells below the first edge.
    density : ndarray of shape (n_bins,)
        Probability per mm/h; ``dry_mass + sum(density * diff(edges)) == 1``.
    edges : ndarray of shape (n_bins + 1,)
        Bin edges in mm/h.
    n : int or float
        Number of valid cells counted, or what they count by their weights.
    """

    dry_mass: float
    density: np.ndarray
    edges: np.ndarray
    n: float

    @property
    def mass(self) -> np.ndarray:
        """Probabilities of dry and of each wet bin, summing to one."""
        return np.concatenate([[self.dry_mass], self.density * np.diff(self.edges)])


def intensity_edges(
    lowest: float = TRACE, highest: float = 1000.0, per_decade: int = 8
) -> np.ndarray:
    """Return logarithmically spaced bin edges in mm/h.

    Examples
    --------
    >>> from skdiffuse.metrics import intensity_edges
    >>> intensity_edges(0.1, 10, per_decade=2).round(2)
    array([ 0.1 ,  0.32,  1.  ,  3.16, 10.  ])
    """
    if not 0 < lowest < highest:
        raise ValueError(f"Need 0 < lowest < highest; got lowest={lowest}, highest={highest}.")
    n = max(1, round(np.log10(highest / lowest) * per_decade))
    return np.geomspace(lowest, highest, n + 1)


def rate_counts(X: Any, edges: np.ndarray, weights: Any = None) -> np.ndarray:
    """Return the number of dry cells and of those in each bin, shape (n_bins + 1,).

    What `intensity_histogram` is made of; counts of several cubes may be added.

    Parameters
    ----------
    X : array-like of any shape
        Rain rate in mm/h; NaN is ignored.
    edges : ndarray of shape (n_bins + 1,)
        Increasing positive bin edges in mm/h; rates beyond the last count in the last bin.
    weights : array-like of shape (n,), default=None
        As for `intensity_histogram`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.intensity import rate_counts
    >>> rate_counts([0, 0, 1.5, 3.0, 9.0], np.array([0.1, 2, 4]))
    array([2, 1, 2])
    """
    return weighted_sum(lambda part: _rate_counts(part, edges), X, weights)


def _rate_counts(X: Any, edges: np.ndarray) -> np.ndarray:
    counts = np.zeros(edges.size, dtype=np.int64)
    for block in blocks(X):
        values = block[~np.isnan(block)]
        # Only wet cells are searched for: most of a rain cube is dry.
        wet = values[values >= edges[0]].astype(np.float64)
        place = np.searchsorted(edges[:-1], wet, side="right")
        counts += np.bincount(place, minlength=edges.size)
        counts[0] += values.size - wet.size
    return counts


def shares(counts: np.ndarray, n: float = 0) -> np.ndarray:
    """Return counts as shares of their sum; NaN where there are none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return counts / np.sum(counts)


def intensity_histogram(X: Any, bins: Any = None, *, weights: Any = None) -> IntensityHistogram:
    """Estimate the distribution of rain rate in a cube.

    Cells below the first edge are dry and counted apart, since no density describes an atom;
    rates beyond the last edge are counted in the last bin, so that no rain is lost.

    Parameters
    ----------
    X : array-like of any shape
        Rain rate in mm/h; NaN is ignored. Lazy arrays are read block by block.
    bins : array-like of shape (n_bins + 1,), default=None
        Increasing positive bin edges in mm/h; by default 8 a decade from 0.01 to 1000 mm/h.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

    Returns
    -------
    IntensityHistogram
        ``(dry_mass, density, edges, n)``.

    Raises
    ------
    ValueError
        Where `bins` do not increase, or `X` has no valid value.

    Examples
    --------
    >>> from skdiffuse.metrics import intensity_histogram
    >>> h = intensity_histogram([0, 0, 1.5, 3.0], bins=[0.1, 2, 4])
    >>> h.dry_mass, h.density * [1.9, 2], h.n
    (0.5, array([0.25, 0.25]), 4)
    """
    edges = intensity_edges() if bins is None else np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or edges.size < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError(f"bins must be at least two strictly increasing edges; got {bins!r}.")
    counts = rate_counts(X, edges, weights)
    n = counts.sum().item()
    if n == 0:
        raise ValueError("X has no valid value: it is empty or all NaN.")
    return IntensityHistogram(float(counts[0] / n), counts[1:] / n / np.diff(edges), edges, n)


def _wet_counts(X: Any, threshold: float = _WET, weights: Any = None) -> np.ndarray:
    """Number of wet cells and of valid ones."""
    return weighted_sum(lambda part: _unweighted_wet_counts(part, threshold), X, weights)


def _unweighted_wet_counts(X: Any, threshold: float) -> np.ndarray:
    wet = valid = 0
    for block in blocks(X):
        # A threshold rounded to the data's own precision counts 0.1 in float32 as 0.1.
        wet += int(np.count_nonzero(block >= block.dtype.type(threshold)))
        valid += int(np.count_nonzero(~np.isnan(block)))
    return np.array([wet, valid], dtype=np.float64)


def _wet_share(counts: np.ndarray, n: float = 0) -> float:
    return float(counts[0] / counts[1]) if counts[1] > 0 else float("nan")


def wet_fraction(X: Any, threshold: float = _WET, *, weights: Any = None) -> float:
    """Return the share of valid cells with rain of at least `threshold` mm/h.

    Weights as for `intensity_histogram`.

    Examples
    --------
    >>> from skdiffuse.metrics import wet_fraction
    >>> wet_fraction([0.0, 0.05, 0.1, float("nan")])
    0.3333333333333333
    """
    counts = _wet_counts(X, threshold, weights)
    if counts[1] == 0:
        raise ValueError("X has no valid value: it is empty or all NaN.")
    return float(counts[0] / counts[1])


def wet_fraction_bias(obs: Any, sim: Any, threshold: float = _WET, *, weights: Any = None) -> float:
    """Return the relative bias of the wet fraction, ``wet(sim) / wet(obs) - 1``.

    Weights as for `jensen_shannon_divergence`.

    Examples
    --------
    >>> from skdiffuse.metrics import wet_fraction_bias
    >>> wet_fraction_bias([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0])
    -0.5
    """
    check_same_units(obs, sim)
    bias = relative_bias(
        wet_fraction(obs, threshold), wet_fraction(sim, threshold, weights=weights)
    )
    if np.isnan(bias):
        raise ValueError(f"obs has no cell with {threshold} mm/h: choose a lower threshold.")
    return bias


def _masses(obs: Any, sim: Any, bins: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    check_same_units(obs, sim)
    return intensity_histogram(obs, bins).mass, intensity_histogram(sim, bins, weights=weights).mass


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    middle = (p + q) / 2
    if np.isnan(middle).any():
        return float("nan")

    def relative_entropy(a: np.ndarray) -> float:
        positive = a > 0
        return np.sum(a[positive] * np.log2(a[positive] / middle[positive]))

    return float(max(0.0, (relative_entropy(p) + relative_entropy(q)) / 2))


def jensen_shannon_divergence(
    obs: Any, sim: Any, bins: Any = None, *, weights: Any = None
) -> float:
    """Return the Jensen-Shannon divergence of two rain-rate distributions, in bits.

    ``JS = H((p + q)/2) - (H(p) + H(q))/2`` over the dry atom and the bins: 0 for equal
    histograms, 1 for disjoint ones (Lin 1991, IEEE Trans. Inf. Theory 37, 145).

    Parameters
    ----------
    obs, sim : array-like
        Rain rate in mm/h, of any shapes; NaN is ignored.
    bins : array-like, default=None
        Bin edges in mm/h, as for `intensity_histogram`.
    weights : array-like of shape (n,), default=None
        What each sequence of `sim` counts. By default the coordinate ``weight`` of a DataArray,
        where it carries one, and else all alike; so in any case for `obs`.

    Examples
    --------
    >>> from skdiffuse.metrics import jensen_shannon_divergence
    >>> jensen_shannon_divergence([0, 0, 1, 2], [0, 0, 1, 2])
    0.0
    >>> jensen_shannon_divergence([0, 0], [1, 2])
    1.0
    """
    return _jensen_shannon(*_masses(obs, sim, bins, weights))


def _common_area(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.minimum(p, q).sum())


def perkins_skill_score(obs: Any, sim: Any, bins: Any = None, *, weights: Any = None) -> float:
    """Return the common area of two rain-rate histograms, ``sum(min(p, q))``: 1 is perfect.

    The dry atom is one of the bins. Perkins et al. 2007, J. Climate 20, 4356. Weights as for
    `jensen_shannon_divergence`.

    Examples
    --------
    >>> from skdiffuse.metrics import perkins_skill_score
    >>> perkins_skill_score([0, 0, 1, 2], [0, 0, 0, 1])
    0.75
    """
    return _common_area(*_masses(obs, sim, bins, weights))


def wasserstein_distance(obs: Any, sim: Any, *, weights: Any = None) -> float:
    """Return the first Wasserstein (earth mover's) distance of the rain rates, in mm/h.

    ``W1 = integral |F_obs(r) - F_sim(r)| dr`` over all valid cells, dry ones included, by the
    exact empirical distribution functions; samples of any sizes and shapes. Weights as for
    `jensen_shannon_divergence`.

    Examples
    --------
    >>> from skdiffuse.metrics import wasserstein_distance
    >>> wasserstein_distance([0.0, 1.0], [0.0, 3.0])
    1.0
    """
    check_same_units(obs, sim)
    a, below_a = _distribution(*weighted_values(obs, name="obs"))
    b, below_b = _distribution(*weighted_values(sim, weights, "sim"))
    points = np.concatenate([a, b])
    points.sort(kind="stable")
    gap = np.diff(points)
    moved = gap > 0
    at, gap = points[:-1][moved], gap[moved]
    F = below_a[np.searchsorted(a, at, side="right")]
    G = below_b[np.searchsorted(b, at, side="right")]
    return float(np.sum(np.abs(F - G) * gap))


def _distribution(values: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Values in order, and the share of none, of the first, of the first two, ..., of all."""
    values = values.astype(np.float64)
    if weights is None:
        return np.sort(values), np.arange(values.size + 1) / values.size
    order = np.argsort(values)
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    return values[order], below / below[-1]


_WET_SHARE = Statistic("wet fraction", _wet_counts, finish=_wet_share)
_RATES = Statistic("rain rates", lambda X: rate_counts(X, intensity_edges()), finish=shares)

register(
    Score(
        "wet_fraction_bias", wet_fraction_bias, "How often it rains", direction="none",
        statistic=_WET_SHARE, formula=relative_bias,
        reading=lambda v: f"it rains {more_or_less(v, 'too often', 'too seldom')}",
    )
)  # fmt: skip
register(
    Score(
        "jensen_shannon_divergence", jensen_shannon_divergence, "Rain rates: Jensen-Shannon",
        unit="bit", statistic=_RATES, formula=_jensen_shannon,
        reading=lambda v: f"rain-rate distributions are {per_cent(v)} of the way to disjoint",
    )
)  # fmt: skip
register(
    Score(
        "perkins_skill_score", perkins_skill_score, "Rain rates: common area", perfect=1,
        direction="greater", statistic=_RATES, formula=_common_area,
        reading=lambda v: f"{100 * v:.1f} % of the rain-rate distribution is shared",
    )
)  # fmt: skip
# The distance needs all values in order: whole sequences are resampled.
register(
    Score(
        "wasserstein_distance", wasserstein_distance, "Rain rates: Wasserstein", unit="mm/h",
        in_card=False, reading=lambda v: f"rain rates are off by {v:.3g} mm/h",
    )
)  # fmt: skip
