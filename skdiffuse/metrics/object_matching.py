"""Which storm is which? Objects of two fields, matched as a forecaster would."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from skdiffuse.metrics.arrays import check_same_cases, check_same_grid, check_whole, to_numpy
from skdiffuse.metrics.by_name import cases_by_name
from skdiffuse.metrics.crps import ratio
from skdiffuse.metrics.score import Score, Statistic, register

# What each likeness counts: those of MODE that are on by default.
_WEIGHTS = {"centroid": 2.0, "boundary": 4.0, "angle": 1.0, "area": 1.0, "overlap": 2.0}


class RainObject(NamedTuple):
    """One connected area of rain.

    Attributes
    ----------
    cells : ndarray of shape (area, 2)
        Rows and columns that belong to it.
    centre : tuple of float
        Row and column of its centroid.
    area : int
        In cells.
    angle : float
        Direction of its long axis in degrees, in (-90, 90]: 0 along x, 90 along y.
    aspect : float
        Width over length, 1 for a round one.
    intensity : float
        Median rain rate in mm/h.

    Examples
    --------
    A storm of 3 x 8 cells:

    >>> import numpy as np
    >>> from skdiffuse.metrics import RainObject, match_objects
    >>> field = np.zeros((20, 20))
    >>> field[4:7, 5:13] = 2.0
    >>> (storm,) = match_objects(field, field, radius=0).observed
    >>> isinstance(storm, RainObject), storm.area, storm.centre, storm.intensity
    (True, 24, (5.0, 8.5), 2.0)
    """

    cells: np.ndarray
    centre: tuple[float, float]
    area: int
    angle: float
    aspect: float
    intensity: float


class ObjectMatch(NamedTuple):
    """Objects of two fields, and how much each looks like each.

    Attributes
    ----------
    observed, simulated : list of RainObject
        Objects of the fields, the largest first.
    interest : ndarray of shape (n_observed, n_simulated)
        In [0, 1]: 1 for the same object.
    min_interest : float
        From which interest on two objects are taken for the same.
    """

    observed: list[RainObject]
    simulated: list[RainObject]
    interest: np.ndarray
    min_interest: float

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Observed and simulated objects that match, as numbers in the lists.

        A storm that the other field holds in parts has a pair for each.
        """
        found = np.argwhere(self.interest >= self.min_interest)
        return [(int(i), int(j)) for i, j in found]

    @property
    def hits(self) -> int:
        """Observed objects that match some simulated one."""
        return len({i for i, _ in self.pairs})

    @property
    def misses(self) -> int:
        """Observed objects that match none."""
        return len(self.observed) - self.hits

    @property
    def false_alarms(self) -> int:
        """Simulated objects that match none."""
        return len(self.simulated) - len({j for _, j in self.pairs})

    @property
    def csi(self) -> float:
        """Critical success index of objects; NaN where there are none."""
        n = len(self.observed) + self.false_alarms
        return self.hits / n if n else float("nan")

    @property
    def median_of_maximum_interest(self) -> float:
        """How well the fields match: the median of each object's best interest, in both fields.

        0 where only one field has any objects, NaN where neither has.
        """
        if not self.observed and not self.simulated:
            return float("nan")
        if not self.observed or not self.simulated:
            return 0.0
        return float(
            np.median(np.concatenate([self.interest.max(axis=1), self.interest.max(axis=0)]))
        )


@cases_by_name("sim", members=False, axes=("y", "x"))
def match_objects(
    obs: Any,
    sim: Any,
    *,
    threshold: float = 1.0,
    radius: int = 1,
    min_area: int = 4,
    reach: float | None = None,
    min_interest: float = 0.7,
) -> ObjectMatch:
    r"""Find objects in two fields and match them by likeness, as MODE does.

    Fields are smoothed with a disc; connected cells of at least the threshold (edges and corners)
    are objects, which keep their own rain. The interest in a pair is the weighted mean of how
    alike two objects are, each likeness in [0, 1]: distance of centroids (weight 2; 1 up to a
    tenth of `reach`, from there falling to 0 at `reach`) and of boundaries (4; from 1 at 0 to 0
    at two thirds of `reach`), angle of the long axes (1; 1 up to 30 degrees, 0 at 90; counts the
    less the rounder either is, ``((1 - a)^2 (1 - b)^2 / ((1 + a^2) (1 + b^2)))^0.3`` for aspects
    a and b), ratio of areas (1; 1 from 0.8 on) and overlap as a share of the smaller area (2; 1
    from a quarter on). Weights and shapes are those that MODE has by default, without its merging
    within a field (Davis, Brown and Bullock 2006, MWR 134, 1772; Davis et al. 2009, WAF 24, 1252).

    Parameters
    ----------
    obs, sim : array-like of shape (y, x)
        Rain rate in mm/h; cells missing in either count as dry in both.
    threshold : float, default=1.0
        Rate in mm/h of the smoothed field that bounds objects.
    radius : int, default=1
        Of the disc in cells; 0 does not smooth.
    min_area : int, default=4
        Cells that an object has at least.
    reach : float, default=None
        Distance in cells at which two objects have nothing to do with each other; by default half
        the longer side of the field.
    min_interest : float, default=0.7
        From which interest on two objects match.

    Returns
    -------
    ObjectMatch
        ``(observed, simulated, interest, min_interest)``, with ``pairs``, ``hits``, ``misses``,
        ``false_alarms``, ``csi`` and ``median_of_maximum_interest``.

    See Also
    --------
    sal : Errors of all the rain together.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import match_objects
    >>> obs = np.zeros((40, 40))
    >>> obs[5:10, 5:15], obs[30:36, 28:34] = 4.0, 3.0
    >>> sim = np.roll(obs, 3, axis=1)
    >>> sim[28:] = 0.0  # the second storm is missed
    >>> match = match_objects(obs, sim)
    >>> match.hits, match.misses, match.false_alarms, match.pairs
    (1, 1, 0, [(0, 0)])
    """
    check_same_grid(obs, sim)
    check_same_cases(obs, sim)
    a, b = (to_numpy(X, n).astype(np.float64) for X, n in ((obs, "obs"), (sim, "sim")))
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"obs and sim must be single fields (y, x); got {a.shape} and {b.shape}.")
    check_whole(radius, "radius", 0)
    check_whole(min_area, "min_area")
    reach = max(a.shape) / 2 if reach is None else float(reach)
    if not reach > 0:
        raise ValueError(f"reach={reach!r} must be a positive distance in cells.")
    if not 0 < min_interest <= 1:
        raise ValueError(f"min_interest must lie between 0 and 1; got {min_interest!r}.")
    missing = np.isnan(a) | np.isnan(b)
    fields = [np.where(missing, 0.0, f) for f in (a, b)]
    mine, theirs = (_objects(f, threshold, radius, min_area) for f in fields)
    interest = np.zeros((len(mine), len(theirs)))
    for i, one in enumerate(mine):
        outside = np.ones(a.shape, dtype=bool)
        outside[tuple(one.cells.T)] = False
        away = ndimage.distance_transform_edt(outside)
        for j, other in enumerate(theirs):
            gaps = away[tuple(other.cells.T)]
            interest[i, j] = _interest(one, other, gaps, reach)
    return ObjectMatch(mine, theirs, interest, float(min_interest))


def _objects(field: np.ndarray, threshold: float, radius: int, min_area: int) -> list[RainObject]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = (y**2 + x**2 <= radius**2).astype(np.float64)
    smooth = ndimage.convolve(field, disc / disc.sum(), mode="constant")
    # A sum over the disc is off by rounding where all its cells are at the threshold.
    labels, n = ndimage.label(smooth >= threshold * (1 - 1e-12), structure=np.ones((3, 3)))
    found = [np.argwhere(labels == k) for k in range(1, n + 1)]
    found = sorted((c for c in found if len(c) >= min_area), key=len, reverse=True)
    return [_described(cells, field) for cells in found]


def _described(cells: np.ndarray, field: np.ndarray) -> RainObject:
    centre = cells.mean(axis=0)
    away = cells - centre
    # A cell is a square, and not a point: a twelfth of its side squared.
    spread, axes = np.linalg.eigh(away.T @ away / len(cells) + np.eye(2) / 12)
    rise, run = axes[:, 1]
    angle = float(np.degrees(np.arctan2(rise, run)))
    return RainObject(
        cells,
        (float(centre[0]), float(centre[1])),
        len(cells),
        angle - 180 * np.ceil(angle / 180 - 0.5),
        float(np.sqrt(spread[0] / spread[1])),
        float(np.median(field[tuple(cells.T)])),
    )


def _interest(one: RainObject, other: RainObject, gaps: np.ndarray, reach: float) -> float:
    """Interest in a pair; `gaps` are the distances of the other's cells from the one."""
    centroid = float(np.hypot(*np.subtract(one.centre, other.centre)))
    turned = abs(one.angle - other.angle)
    turned = min(turned, 180 - turned)
    areas = min(one.area, other.area) / max(one.area, other.area)
    overlap = np.count_nonzero(gaps == 0) / min(one.area, other.area)
    likeness = {
        "centroid": np.interp(centroid, [0.1 * reach, reach], [1, 0]),
        "boundary": np.interp(gaps.min(), [0, 2 * reach / 3], [1, 0]),
        "angle": np.interp(turned, [30, 90], [1, 0]),
        "area": np.interp(areas, [0, 0.8], [0, 1]),
        "overlap": np.interp(overlap, [0, 0.1, 0.25], [0, 0.5, 1]),
    }
    a, b = one.aspect, other.aspect
    longish = ((1 - a) ** 2 * (1 - b) ** 2 / ((1 + a**2) * (1 + b**2))) ** 0.3
    weights = {**_WEIGHTS, "angle": _WEIGHTS["angle"] * longish}
    return float(sum(weights[k] * likeness[k] for k in weights) / sum(weights.values()))


def _case(y: np.ndarray, x: np.ndarray, threshold: float) -> np.ndarray:
    """Sum and number of the median of maximum interest of the fields that have objects."""
    y = y.reshape(-1, *y.shape[-2:])
    found = [
        match_objects(field, other, threshold=threshold).median_of_maximum_interest
        for member in x
        for field, other in zip(y, member.reshape(y.shape), strict=True)
    ]
    known = np.array(found)[~np.isnan(found)]
    return np.array([known.sum(), known.size], dtype=np.float64)


def _mean_interest(obs: Any, ens: Any, threshold: float) -> float:
    return ratio(_case(to_numpy(obs, "obs"), to_numpy(ens, "ens"), threshold))


register(
    Score(
        "object_interest", _mean_interest, "Storms of {threshold:g} mm/h found again",
        kind="ensemble", perfect=1, direction="greater", in_card=False, public="match_objects",
        statistic=Statistic("sum of the median of maximum interest", _case), formula=ratio,
        reading=lambda v, threshold: (
            f"a typical storm of {threshold:g} mm/h is {100 * v:.0f} % like its best match"
        ),
        parameters={"threshold": 1.0}, row="object_interest of {threshold:g} mm/h",
    )
)  # fmt: skip
