"""The optimum that a learnt transform is after."""

from __future__ import annotations

import numpy as np

__all__ = ["water_filling"]


def water_filling(probability: np.ndarray, width: np.ndarray, min_gradient: float) -> np.ndarray:
    r"""Find the slopes that minimise :math:`-\sum p \log h'` under a floor and a fixed total rise.

    :math:`h' = \max(c/(1+c),\ p/(\nu\,\Delta u))`, with :math:`\nu` such that
    :math:`\sum h' \Delta u = \sum \Delta u`: the rise goes where the probability is, and the floor
    everywhere else.

    Parameters
    ----------
    probability : ndarray of shape (n,)
        Probability of each bin that counts in the loss; 0 for masked bins.
    width : ndarray of shape (n,)
        Width of each bin; the total is 2 for the network's range [-1, 1].
    min_gradient : float
        :math:`c`, at least 0.

    Returns
    -------
    ndarray of shape (n,)
        :math:`h'` in each bin; 1 is a straight line.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import water_filling
    >>> water_filling(np.array([0.8, 0.2, 0.0]), np.array([0.5, 0.5, 1.0]), 0.25)
    array([2.88, 0.72, 0.2 ])
    """
    probability, width = np.asarray(probability, float), np.asarray(width, float)
    floor = min_gradient / (1.0 + min_gradient)
    density = probability / width
    order = np.argsort(density)[::-1]
    # With the k densest bins above the water line, they share what the floor leaves of the rise.
    mass = np.cumsum(probability[order])
    left = width.sum() - floor * (width.sum() - np.cumsum(width[order]))
    nu = mass / left
    above = density[order] > floor * nu
    if not above.any():
        return np.ones_like(density)
    level = nu[np.flatnonzero(above)[-1]]
    return np.maximum(floor, density / level)
