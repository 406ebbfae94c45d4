"""Structure, amplitude and location: how a forecast of a region errs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from skdiffuse.metrics.arrays import check_same_cases, check_same_grid, to_numpy
from skdiffuse.metrics.by_name import cases_by_name


class SAL(NamedTuple):
    """The three components; all are 0 for a perfect forecast.

    Attributes
    ----------
    structure : float
        In [-2, 2]; positive where objects are too large or too flat.
    amplitude : float
        In [-2, 2]; positive where there is too much rain.
    location : float
        In [0, 2]; how far the rain is misplaced.
    """

    structure: float
    amplitude: float
    location: float


def _relative(sim: float, obs: float) -> float:
    return 2 * (sim - obs) / (sim + obs) if sim + obs > 0 else 0.0


def _objects(field: np.ndarray, threshold: float) -> tuple[np.ndarray, float, float]:
    """Centre of mass, weighted scaled volume and scatter of the objects of one field."""
    labels, n = ndimage.label(field >= threshold)
    which = np.arange(1, n + 1)
    mass = ndimage.sum_labels(field, labels, which)
    volume = mass / ndimage.maximum(field, labels, which)
    centre = np.array(ndimage.center_of_mass(field))
    centres = np.array(ndimage.center_of_mass(field, labels, which))
    away = np.hypot(*(centres - centre).T)
    return centre, float(mass @ volume / mass.sum()), float(mass @ away / mass.sum())


@cases_by_name("sim", members=False, axes=("y", "x"))
def sal(obs: Any, sim: Any, *, threshold: float | None = None) -> SAL:
    """Return structure, amplitude and location errors of one forecast field.

    With D the domain mean, ``A = (D_sim - D_obs) / ((D_sim + D_obs)/2)``; S the same difference
    of the mass-weighted volume of objects, each scaled by its maximum; and L the distance of the
    centres of mass over the longest distance d in the domain, plus twice the difference of the
    mass-weighted scatter of objects around it over d. Objects are connected cells of at least
    the threshold (Wernli et al. 2008, MWR 136, 4470).

    Parameters
    ----------
    obs, sim : array-like of shape (y, x)
        Rain rate in mm/h; cells missing in either count as dry in both.
    threshold : float, default=None
        Rate in mm/h that bounds objects; by default each field's 95 % quantile of its wet cells
        (at least 0.1 mm/h) over 15, as Wernli, Hofmann and Zimmer (2009, WAF 24, 1472) do.

    Returns
    -------
    SAL
        ``(structure, amplitude, location)``; all NaN where a field has no object.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import sal
    >>> obs = np.zeros((32, 32))
    >>> obs[10:14, 10:14] = 2.0
    >>> s = sal(obs, np.roll(obs, 8, axis=1))
    >>> abs(s.structure) < 1e-12, s.amplitude, round(s.location, 3)
    (True, 0.0, 0.177)
    """
    check_same_grid(obs, sim)
    check_same_cases(obs, sim)
    a, b = (to_numpy(X, n).astype(np.float64) for X, n in ((obs, "obs"), (sim, "sim")))
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"obs and sim must be single fields (y, x); got {a.shape} and {b.shape}.")
    missing = np.isnan(a) | np.isnan(b)
    a, b = np.where(missing, 0.0, a), np.where(missing, 0.0, b)
    if not (np.any(a >= 0.1) and np.any(b >= 0.1)):
        return SAL(float("nan"), float("nan"), float("nan"))
    bounds = [
        float(np.quantile(f[f >= 0.1], 0.95)) / 15 if threshold is None else float(threshold)
        for f in (a, b)
    ]
    if not all(np.any(f >= t) for f, t in zip((a, b), bounds, strict=True)):
        return SAL(float("nan"), float("nan"), float("nan"))
    centre_a, volume_a, scatter_a = _objects(a, bounds[0])
    centre_b, volume_b, scatter_b = _objects(b, bounds[1])
    longest = np.hypot(*a.shape)
    location = np.hypot(*(centre_b - centre_a)) / longest
    location += 2 * abs(scatter_b - scatter_a) / longest
    return SAL(
        float(_relative(volume_b, volume_a)),
        float(_relative(b.mean(), a.mean())),
        float(location),
    )
