"""The continuous ranked probability score, exact and fast."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, TypeAlias, overload

import numpy as np

from skdiffuse.cubes.alignment import align_cases
from skdiffuse.metrics.arrays import (
    check_same_cases,
    lazy_or_numpy,
    like,
    paired_blocks,
    place_of,
)
from skdiffuse.metrics.score import Score, Statistic, register
from skdiffuse.metrics.weights import refuse_weights
from skdiffuse.runtime.array_types import ArrayOrDataArray

_CHUNK = 2**13  # cells sorted at once: 20 members of float32 stay in a second-level cache
NOTHING_TO_SCORE = "No cell is valid in both obs and ens: there is nothing to score."
_NETWORK_MEMBERS = 64  # from about here a comparison sort beats the network

#: What rates go through before they are scored.
_Chain: TypeAlias = Callable[[np.ndarray], np.ndarray]


@lru_cache(maxsize=64)
def _sorting_network(m: int) -> tuple[tuple[int, int], ...]:
    """Pairs (i, j) whose ordering in turn sorts m values: Batcher's merge exchange.

    Knuth, The Art of Computer Programming 3, section 5.2.2, algorithm M.
    """
    pairs = []
    top = 1 << max(0, (m - 1).bit_length() - 1)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            pairs += [(i, i + d) for i in range(m - d) if i & p == r]
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return tuple(pairs)


def _sort_members(x: np.ndarray) -> None:
    """Sort x of shape (m, n_cells) along its first axis, in place; inf goes last."""
    if len(x) > _NETWORK_MEMBERS:
        x.sort(axis=0)
        return
    low = np.empty_like(x[0])
    for i, j in _sorting_network(len(x)):
        np.minimum(x[i], x[j], out=low)
        np.maximum(x[i], x[j], out=x[j])
        x[i] = low


def check_ensemble(obs: Any, ens: Any, axis: int | str | None) -> tuple[Any, Any]:
    """Return obs and ens (members first) as NumPy or dask arrays whose shapes agree."""
    refuse_weights(obs=obs, ens=ens)
    obs, ens, axis = align_cases(obs, ens, axis)
    check_same_cases(obs, ens, ("obs", "ens"))
    if isinstance(axis, str):
        if axis not in getattr(ens, "dims", ()):
            raise ValueError(
                f"ens has no dimension {axis!r}; it has {getattr(ens, 'dims', np.shape(ens))}."
            )
        axis = ens.dims.index(axis)
    y, x = lazy_or_numpy(obs, "obs"), lazy_or_numpy(ens, "ens")
    if x.ndim == 0:
        raise ValueError("ens must have a member axis; got a scalar.")
    place = place_of(axis, "axis", x, "ens")
    x = np.moveaxis(x, place, 0)
    if x.shape[1:] != y.shape:
        raise ValueError(
            f"ens without its member axis {place} must have the shape of obs, {y.shape}; "
            f"got {x.shape[1:]}."
        )
    if len(x) == 0:
        raise ValueError("ens has no member.")
    return y, x


def _crps_chunk(y: np.ndarray, x: np.ndarray, fair: bool) -> np.ndarray:
    """CRPS of one chunk; x of shape (m, n_cells) is overwritten."""
    m = len(x)
    missing = np.isnan(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        if missing.any():
            count = m - missing.sum(axis=0)
            distance = np.where(missing, 0.0, np.abs(x - y)).sum(axis=0) / count
            x[missing] = np.inf
            _sort_members(x)
            rank = np.arange(m)[:, None]
            x[rank >= count] = 0.0
            # Sum over pairs i < j of |x_i - x_j| = sum over ranks r = 1..m of (2r - m - 1) x_(r).
            spread = np.einsum("ij,ij->j", 2.0 * rank + 1 - count, x)
            return distance - spread / (count * (count - 1.0 if fair else count))
    distance = np.abs(x[0] - y)
    part = np.empty_like(distance)
    for member in x[1:]:
        np.subtract(member, y, out=part)
        np.abs(part, out=part)
        distance += part
    if m == 1:
        return distance
    _sort_members(x)
    # The widest differences first: x_(m) - x_(1) counts m - 1 times, and so inwards.
    spread = np.zeros_like(distance)
    for r in range(m // 2):
        np.subtract(x[m - 1 - r], x[r], out=part)
        part *= m - 1 - 2 * r
        spread += part
    return distance / m - spread / (m * (m - 1.0 if fair else m))


def _crps_cells(
    obs: Any, ens: Any, fair: bool, axis: int | str, chain: _Chain | None, average: bool
) -> float | ArrayOrDataArray:
    y, x = check_ensemble(obs, ens, axis)
    m = len(x)
    if fair and m < 2:
        raise ValueError(
            f"The fair CRPS needs at least 2 members; got {m}. Use fair=False (with one member "
            "it is the absolute error)."
        )
    if not average:
        out = np.empty(y.shape)
        for part, a, b in paired_blocks(y, x):
            out[part] = _crps_block(a, b, fair, chain)
        return like(obs, out, "continuous_ranked_probability_score", "mm h-1")
    total, count = _crps_sums(y, x, fair, chain)
    if count == 0:
        raise ValueError(NOTHING_TO_SCORE)
    return total / count


def _crps_sums(y: Any, x: Any, fair: bool, chain: _Chain | None) -> tuple[float, int]:
    """Sum of the scores of the cells that have one, and their number."""
    total, count = 0.0, 0
    for _, a, b in paired_blocks(y, x):
        score = _crps_block(a, b, fair, chain)
        known = ~np.isnan(score)
        total += float(score.sum(where=known))
        count += int(np.count_nonzero(known))
    return total, count


def _crps_block(y: np.ndarray, x: np.ndarray, fair: bool, chain: _Chain | None) -> np.ndarray:
    out = np.empty(y.shape)
    flat_y, flat_out = y.reshape(-1), out.reshape(-1)
    # Members are flattened one by one: flattening x itself would copy it where axis != 0.
    members = [member.reshape(-1) for member in x]
    dtype = np.result_type(x.dtype, y.dtype)
    for start in range(0, flat_y.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        a = flat_y[part].astype(dtype)
        b = np.stack([member[part] for member in members]).astype(dtype, copy=False)
        if chain is not None:
            a, b = chain(a), chain(b)
        flat_out[part] = _crps_chunk(a, b, fair)
    return out


def mean_of_valid(score: np.ndarray) -> float:
    """Return the mean of a score over valid cells; an error where there is none."""
    valid = score[~np.isnan(score)]
    if valid.size == 0:
        raise ValueError(NOTHING_TO_SCORE)
    return float(valid.mean())


@overload
def crps_ensemble(
    obs: Any, ens: Any, *, fair: bool = True, axis: int | str = 0, average: Literal[True] = True
) -> float: ...


@overload
def crps_ensemble(
    obs: Any, ens: Any, *, fair: bool = True, axis: int | str = 0, average: Literal[False]
) -> ArrayOrDataArray: ...


def crps_ensemble(
    obs: Any, ens: Any, *, fair: bool = True, axis: int | str = 0, average: bool = True
) -> float | ArrayOrDataArray:
    """Return the continuous ranked probability score of an ensemble, in mm/h.

    ``CRPS = mean_i |x_i - y| - sum_{i<j} |x_i - x_j| / D`` with ``D = m (m - 1)`` for the fair
    form, which expects of m members what it would of infinitely many (Ferro 2014, QJRMS 140,
    1917), and ``D = m^2`` for the score of the empirical distribution itself. The pair sum is
    taken over ranks, which is exact whatever ties there are (dry cells). 0 is perfect; the score
    of one member is its absolute error.

    Parameters
    ----------
    obs : array-like of shape S
        Observed rain rate in mm/h; NaN gives NaN.
    ens : array-like of shape S with a member axis
        Ensemble in mm/h. Missing members of a cell are left out there; a cell with none left
        (or one, in the fair form) is NaN.
    fair : bool, default=True
        Remove the bias of a small ensemble.
    axis : int or str, default=0
        Axis of the members in `ens`; of a DataArray also its name.
    average : bool, default=True
        Return the mean over valid cells, or the score of each cell.

    Returns
    -------
    float, ndarray or DataArray of shape S
        The score, in mm/h. Lazy arrays are read block by block.

    Raises
    ------
    ValueError
        Where shapes disagree, no cell is valid, or a fair score is asked of a single member.

    Examples
    --------
    >>> from skdiffuse.metrics import crps_ensemble
    >>> crps_ensemble([0.0, 2.0], [[0.0, 1.0], [1.0, 3.0]], average=False)
    array([0., 0.])
    >>> crps_ensemble([0.0, 2.0], [[0.0, 1.0], [1.0, 3.0]], fair=False)
    0.375
    """
    return _crps_cells(obs, ens, fair, axis, None, average)


@overload
def threshold_weighted_crps(
    obs: Any,
    ens: Any,
    threshold: float,
    *,
    fair: bool = True,
    axis: int | str = 0,
    average: Literal[True] = True,
) -> float: ...


@overload
def threshold_weighted_crps(
    obs: Any,
    ens: Any,
    threshold: float,
    *,
    fair: bool = True,
    axis: int | str = 0,
    average: Literal[False],
) -> ArrayOrDataArray: ...


def threshold_weighted_crps(
    obs: Any,
    ens: Any,
    threshold: float,
    *,
    fair: bool = True,
    axis: int | str = 0,
    average: bool = True,
) -> float | ArrayOrDataArray:
    """Return the CRPS of what falls above a threshold, in mm/h.

    ``twCRPS = integral over r >= threshold of (F(r) - [y <= r])^2 dr``: the CRPS after all values
    are raised to the threshold, ``v(r) = max(r, threshold)`` (Allen, Ginsbourger and Ziegel 2023,
    SIAM/ASA JUQ 11, 906). It stays proper where scoring only the observed extremes is not.

    Parameters
    ----------
    obs, ens, fair, axis, average
        As for `crps_ensemble`.
    threshold : float
        Rain rate in mm/h.

    Examples
    --------
    >>> from skdiffuse.metrics import threshold_weighted_crps
    >>> threshold_weighted_crps([0.0, 7.0], [[1.0, 5.0], [2.0, 6.0]], 5.0, fair=False)
    0.625
    """

    return _crps_cells(obs, ens, fair, axis, partial(_raised, threshold=threshold), average)


def _raised(r: np.ndarray, threshold: float) -> np.ndarray:
    return np.maximum(r, r.dtype.type(threshold))


def ratio(sums: np.ndarray) -> float:
    """Return the mean a sum and a number make; NaN of nothing."""
    return float(sums[0] / sums[1]) if sums[1] > 0 else float("nan")


def _case_of_crps(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.array(_crps_sums(y, x, len(x) > 1, None))


def _case_of_tail(y: np.ndarray, x: np.ndarray, threshold: float) -> np.ndarray:
    return np.array(_crps_sums(y, x, len(x) > 1, partial(_raised, threshold=threshold)))


register(
    Score(
        "crps", crps_ensemble, "Whole distribution (CRPS)", kind="ensemble", unit="mm/h",
        statistic=Statistic("sum of the CRPS", _case_of_crps), formula=ratio,
        reading=lambda v: f"forecasts miss by {v:.3g} mm/h of rain", public="crps_ensemble",
    )
)  # fmt: skip
register(
    Score(
        "threshold_weighted_crps", threshold_weighted_crps,
        "Hard rain (CRPS above {threshold:g} mm/h)", kind="ensemble", unit="mm/h",
        statistic=Statistic("sum of the CRPS of hard rain", _case_of_tail), formula=ratio,
        reading=lambda v, threshold: f"of which {v:.3g} mm/h where it rains hard",
        parameters={"threshold": 5.0}, row="crps above {threshold:g} mm/h", thresholds="largest",
    )
)  # fmt: skip
