"""Motion of rain between frames, and rain carried along by it."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

__all__ = ["advect", "motion"]

# Width of the window in which the motion is taken for the same, as a part of the field.
WINDOW = 1 / 8
# How much a place without a gradient of its own follows the motion of the whole.
RIDGE = 0.05
ITERATIONS = 5


def motion(frames: np.ndarray) -> np.ndarray:
    """Displacement per frame that best explains the last frames by the ones before.

    The displacement of the whole field comes from the peak of the cross-correlation; what differs
    from it from place to place from the optical-flow equation in Gaussian windows, iterated.

    Parameters
    ----------
    frames : ndarray of shape (time, y, x)
        Any element-wise transform of rain; no NaN.

    Returns
    -------
    ndarray of shape (2, y, x)
        Cells per frame along y and x. 0 with fewer than two frames, or nothing in them.

    References
    ----------
    Lucas and Kanade, "An Iterative Image Registration Technique" (1981).

    Examples
    --------
    >>> y, x = np.mgrid[:32, :32]
    >>> frames = np.stack([np.exp(-((y - 12) ** 2 + (x - 10 - 2 * t) ** 2) / 20) for t in (0, 1)])
    >>> motion(frames)[:, 12, 12].round(1) + 0.0
    array([0., 2.])
    """
    field = frames.shape[1:]
    flow = np.zeros((2, *field))
    if len(frames) < 2 or not all(np.ptp(frame) > 0 for frame in frames[-2:]):
        return flow
    pairs = [pair for pair in itertools.pairwise(frames) if np.ptp(pair[0]) > 0]
    flow += _shift_of_the_whole(pairs)[:, None, None]
    window = [max(1.0, WINDOW * n) for n in field]
    # As far as the search for the whole looks.
    limit = max(field) / 4
    for _ in range(ITERATIONS):
        products = np.zeros((5, *field))
        for before, after in pairs:
            moved = advect(before, flow)
            gradient = np.stack(np.gradient(0.5 * (moved + after)))
            change = after - moved
            terms = [gradient[0] ** 2, gradient[0] * gradient[1], gradient[1] ** 2]
            terms += [-gradient[0] * change, -gradient[1] * change]
            products += np.stack([gaussian_filter(term, window) for term in terms])
        yy, yx, xx, by, bx = products
        ridge = RIDGE * (yy + xx).max() + np.finfo(float).tiny
        determinant = (yy + ridge) * (xx + ridge) - yx**2
        flow[0] += ((xx + ridge) * by - yx * bx) / determinant
        flow[1] += ((yy + ridge) * bx - yx * by) / determinant
        flow = flow.clip(-limit, limit)
    return flow


def advect(field: np.ndarray, flow: np.ndarray, steps: float = 1.0) -> np.ndarray:
    """Carry a field along by a steady motion, looking back from where it arrives.

    Parameters
    ----------
    field : ndarray of shape (y, x)
    flow : ndarray of shape (2, y, x)
        Cells per step.
    steps : float, default=1.0

    Returns
    -------
    ndarray of shape (y, x)
        What comes from outside is like the nearest cell inside.

    References
    ----------
    Germann and Zawadzki, "Scale-Dependence of the Predictability of Precipitation from Continental
    Radar Images. Part I" (2002): the semi-Lagrangian backward scheme.

    Examples
    --------
    >>> advect(np.array([[1.0, 0.0, 0.0]]), np.stack([np.zeros((1, 3)), np.ones((1, 3))]))
    array([[1., 1., 0.]])
    """
    grid = np.stack(np.meshgrid(*map(np.arange, field.shape), indexing="ij")).astype(float)
    arrival = grid
    # One step at a time, each by the motion half-way, found by iteration.
    n = max(1, int(np.ceil(abs(steps))))
    for _ in range(n):
        back = np.zeros_like(grid)
        for _ in range(3):
            middle = arrival - 0.5 * back
            back = (steps / n) * np.stack(
                [map_coordinates(part, middle, order=1, mode="nearest") for part in flow]
            )
        arrival = arrival - back
    return map_coordinates(field, arrival, order=1, mode="nearest")


def _shift_of_the_whole(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Peak of the summed cross-correlation, to a part of a cell."""
    field = pairs[0][0].shape
    size = [2 * n for n in field]
    total = np.zeros(size)
    for before, after in pairs:
        spectra = [np.fft.fft2(frame - frame.mean(), s=size) for frame in (before, after)]
        total += np.fft.ifft2(np.conj(spectra[0]) * spectra[1]).real
    reach = [max(1, n // 4) for n in field]
    lags = [np.r_[-r - 1 : r + 2] for r in reach]
    near = total[np.ix_(*lags)]
    inner = near[1:-1, 1:-1]
    peak = np.add(np.unravel_index(inner.argmax(), inner.shape), 1)
    shift = []
    for axis, at in enumerate(peak):
        line = near.take(peak[1 - axis], axis=1 - axis)
        low, middle, high = line[at - 1 : at + 2]
        curvature = low - 2 * middle + high
        part = 0.5 * (low - high) / curvature if curvature < 0 else 0.0
        shift.append(lags[axis][at] + np.clip(part, -0.5, 0.5))
    return np.array(shift)
