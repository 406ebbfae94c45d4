"""Does a model make rain, or recall it?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import check_same_grid, check_whole, to_numpy
from skdiffuse.metrics.by_name import samples_by_name


class NearestDistance(NamedTuple):
    """Distance of each sample to the nearest training sequence.

    Attributes
    ----------
    distance : ndarray of shape (n_samples,)
        Root mean square difference of ``log(1 + r)``.
    index : ndarray of shape (n_samples,)
        Which training sequence is nearest.
    """

    distance: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # hides the method of tuples


@samples_by_name("train", axes=("time", "y", "x"))
def nearest_training_distance(sim: Any, train: Any, *, chunk: int = 256) -> NearestDistance:
    """Find the training sequence nearest to each sample, which tells whether the model copies.

    Compare the distances with those of held-out observations,
    ``nearest_training_distance(held_out, train)``: a model that copies comes far nearer to its
    training data than new rain does. The root mean square difference of ``log(1 + r)`` over all
    cells is used, so that one downpour does not decide it; nearly dry sequences are near to
    nearly dry ones in any case.

    Parameters
    ----------
    sim : array-like of shape (n_samples, time, y, x)
        Samples, or held-out observations, in mm/h. Missing cells count as dry; a sequence of
        which nothing is known has the distance NaN, and is nearest to none.
    train : array-like of shape (n_train, time, y, x)
        Training sequences in mm/h.
    chunk : int, default=256
        Training sequences compared at once, which bounds the memory.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import nearest_training_distance
    >>> train = np.random.default_rng(0).gamma(0.5, size=(20, 2, 8, 8))
    >>> found = nearest_training_distance(train[[7, 3]], train)
    >>> found.index, found.distance.round(6)
    (array([7, 3]), array([0., 0.]))
    """
    chunk = check_whole(chunk, "chunk")
    check_same_grid(sim, train, ("sim", "train"))
    if np.shape(sim)[1:] != np.shape(train)[1:]:
        raise ValueError(
            f"sim and train need sequences of one shape; got {np.shape(sim)[1:]} and "
            f"{np.shape(train)[1:]}."
        )

    def flat(X: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
        X = to_numpy(X, name).reshape(len(X), -1)
        rates = np.log1p(np.maximum(np.nan_to_num(X), 0)).astype(np.float64)
        return rates, np.isnan(X).all(axis=1)

    a, unknown = flat(sim, "sim")
    best = np.full(len(a), np.inf)
    index = np.zeros(len(a), dtype=np.intp)
    norm = np.einsum("ij,ij->i", a, a)
    for start in range(0, len(train), chunk):
        b, missing = flat(train[start : start + chunk], "train")
        # |a - b|^2 by one matrix product; the winner is measured again, without cancellation.
        squared = norm[:, None] - 2 * a @ b.T + np.einsum("ij,ij->i", b, b)
        squared[:, missing] = np.inf
        here = squared.argmin(axis=1)
        distance = np.sqrt(np.mean((a - b[here]) ** 2, axis=1))
        distance[missing[here]] = np.inf
        nearer = distance < best
        best[nearer], index[nearer] = distance[nearer], here[nearer] + start
    best[unknown | np.isinf(best)] = np.nan
    return NearestDistance(best, index)
