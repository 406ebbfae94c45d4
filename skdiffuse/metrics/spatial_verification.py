"""Scores that forgive rain in nearly the right place."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from skdiffuse.metrics.arrays import (
    check_same_cases,
    check_same_grid,
    lazy_or_numpy,
    paired_blocks,
    place_of,
)
from skdiffuse.metrics.by_name import cases_by_name
from skdiffuse.metrics.score import Score, Statistic, register
from skdiffuse.metrics.weights import refuse_weights


def _window_sums(x: np.ndarray, width: int, axis: int) -> np.ndarray:
    """Sums of `width` neighbours along an axis, by doubling: about 2 log2(width) additions."""
    x = np.moveaxis(x, axis, 0)
    n = len(x) - width + 1
    total: np.ndarray | None = None
    offset, w = 0, 1
    while 2 * w <= width:
        if width & w:
            piece = x[offset : offset + n]
            total = piece if total is None else total + piece
            offset += w
        x = x[:-w] + x[w:]
        w *= 2
    # The highest binary digit of the width is always a one.
    piece = x[offset : offset + n]
    return np.moveaxis(piece if total is None else total + piece, 0, axis)


def _neighbourhood_counts(events: np.ndarray, scale: int, padding: str, most: int) -> np.ndarray:
    """Number of events (each up to `most`) in the square of side `scale` around each cell."""
    dtype = np.uint16 if scale * scale * most < 2**16 else np.uint32
    before = scale // 2
    if padding == "zero":
        ny, nx = events.shape
        padded = np.zeros((ny + scale - 1, nx + scale - 1), dtype=dtype)
        padded[before : before + ny, before : before + nx] = events
    else:
        padded = events.astype(dtype)
    return _window_sums(_window_sums(padded, scale, 0), scale, 1).astype(np.float64).ravel()


def fss_sums(
    a: np.ndarray, b: np.ndarray, levels: np.ndarray, sides: np.ndarray, padding: str = "zero"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two sums over cells that the fractions skill score is made of.

    ``FSS = 1 - sum(misses) / sum(squares)`` over any frames: sums may be added before the ratio.

    Parameters
    ----------
    a : ndarray of shape (..., y, x)
        Observed frames in mm/h; NaN is no event.
    b : ndarray of shape (m, n_forecasts..., ..., y, x)
        Members of forecasts in mm/h.
    levels : ndarray of shape (n_levels,)
        Thresholds in mm/h.
    sides : ndarray of int of shape (n_sides,)
        Sides of the neighbourhood in cells.
    padding : {"zero", "valid"}, default="zero"
        As for `fss`.

    Returns
    -------
    misses, squares : ndarray of shape (n_forecasts, n_frames, n_levels, n_sides)
        Sums of squared differences of the fractions, and of the sums of their squares.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics.spatial_verification import fss_sums
    >>> obs, sim = np.zeros((2, 4, 4))
    >>> obs[1, 1] = sim[1, 2] = 2.0
    >>> misses, squares = fss_sums(obs, sim[None], np.array([1.0]), np.array([1]))
    >>> misses.item(), squares.item()
    (2.0, 2.0)
    """
    m, (ny, nx) = len(b), a.shape[-2:]
    a = a.reshape(-1, ny, nx)
    b = b.reshape(m, -1, len(a), ny, nx)
    misses = np.empty((b.shape[1], len(a), levels.size, sides.size))
    total = np.empty_like(misses)
    for f, seen in enumerate(a):
        dry = np.isnan(seen)
        for t, level in enumerate(levels):
            observed = seen >= seen.dtype.type(level)
            # The truth is counted once for all forecasts that have nothing missing.
            known = [_neighbourhood_counts(observed, int(s), padding, 1) for s in sides]
            squares = [p @ p for p in known]
            for e in range(b.shape[1]):
                made = b[:, e, f]
                forecast = made >= made.dtype.type(level)
                bad = np.isnan(made).any(axis=0)
                events = forecast[0] if m == 1 else forecast.sum(axis=0, dtype=np.uint32)
                if dry.any():
                    events = np.where(dry, 0, events)
                if bad.any():
                    events = np.where(bad, 0, events)
                for s, side in enumerate(sides):
                    p, pp = known[s], squares[s]
                    if bad.any():
                        p = _neighbourhood_counts(observed & ~bad, int(side), padding, 1)
                        pp = p @ p
                    q = _neighbourhood_counts(events, int(side), padding, m)
                    # Sums of whole numbers: exact until they exceed 2^53.
                    both = m * m * pp + q @ q
                    total[e, f, t, s] = both
                    misses[e, f, t, s] = both - 2 * m * (p @ q)
    return misses, total


def fss_of_sums(misses: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the score of sums of `fss_sums`, added up as wanted; NaN where there is no event."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(1 - np.divide(misses, squares), 0.0, 1.0)


@cases_by_name("sim", "member_axis", axes=("y", "x"), members=False)
def fss(
    obs: Any,
    sim: Any,
    *,
    thresholds: Any = 1.0,
    scales: Any = 5,
    member_axis: int | None = None,
    padding: Literal["zero", "valid"] = "zero",
    average: bool = True,
) -> float | np.ndarray:
    """Return the fractions skill score for each threshold and neighbourhood scale.

    ``FSS = 1 - sum (p_sim - p_obs)^2 / (sum p_sim^2 + sum p_obs^2)``, where p is the share of
    cells with at least `threshold` mm/h in the square of `scale` x `scale` cells around a cell
    (Roberts and Lean 2008, MWR 136, 78). Sums run over all frames before the ratio is taken. With
    `member_axis`, p_sim is averaged over the members first: the probabilistic FSS of the
    ensemble (Schwartz et al. 2010, WAF 25, 263; Necker et al. 2024, QJRMS 150, 4457).

    Parameters
    ----------
    obs : array-like of shape (..., y, x)
        Rain rate in mm/h. Cells missing in `obs` or `sim` count as no event in both.
    sim : array-like of shape (..., y, x)
        Rain rate in mm/h, of the shape of `obs`. It may have further leading dimensions (several
        forecasts of the same truth, each compared with it), and has `member_axis` where given.
    thresholds : float or array-like, default=1.0
        Rates in mm/h that make an event (``>=``).
    scales : int or array-like, default=5
        Sides of the neighbourhood in cells; an even one reaches one cell further to the front.
    member_axis : int, default=None
        Axis of the members in `sim`, for the probabilistic score.
    padding : {"zero", "valid"}, default="zero"
        Count cells outside the domain as dry, or use only neighbourhoods that lie inside.
    average : bool, default=True
        Pool all frames, or return one score a frame of `sim`.

    Returns
    -------
    float or ndarray
        In [0, 1], 1 for perfect, NaN where neither has an event. Shape: frames (where not pooled),
        then thresholds, then scales; a scalar threshold or scale leaves no dimension.

    Raises
    ------
    ValueError
        Where shapes disagree or a scale is not a positive whole number within the domain.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import fss
    >>> obs, sim = np.zeros((2, 16, 16))
    >>> obs[8, 8] = sim[8, 10] = 2.0
    >>> fss(obs, sim, thresholds=1.0, scales=[1, 3, 9]).round(3)
    array([0.   , 0.333, 0.778])
    """
    refuse_weights(obs=obs, sim=sim)
    check_same_grid(obs, sim)
    check_same_cases(obs, sim)
    a, b = lazy_or_numpy(obs, "obs"), lazy_or_numpy(sim, "sim")
    if member_axis is None:
        b = b[None]
    else:
        b = np.moveaxis(b, place_of(member_axis, "member_axis", b, "sim"), 0)
    if b.shape[b.ndim - a.ndim :] != a.shape or b.ndim <= a.ndim:
        raise ValueError(
            f"sim must end in the shape of obs, {a.shape}, beside its member axis; got "
            f"{b.shape[1:]} with member_axis={member_axis}."
        )
    if padding not in ("zero", "valid"):
        raise ValueError(f"padding must be 'zero' or 'valid'; got {padding!r}.")
    levels, sides = np.asarray(thresholds, dtype=np.float64), np.asarray(scales)
    ny, nx = a.shape[-2:]
    if sides.dtype.kind not in "iu" or np.any(sides < 1):
        raise ValueError(f"scales must be positive whole numbers of cells; got {scales!r}.")
    if padding == "valid" and np.any(sides > min(ny, nx)):
        raise ValueError(f"scales must fit into the {ny} x {nx} domain; got {scales!r}.")

    frames, extra = b.shape[1:-2], b.shape[1 : b.ndim - a.ndim]
    misses = np.empty((*extra, *a.shape[:-2], levels.size, sides.size))
    total = np.empty_like(misses)
    for part, seen, made in paired_blocks(a, b, item_ndim=2):
        found = fss_sums(seen, made, levels.ravel(), sides.ravel(), padding)
        where = (slice(None),) * len(extra) + ((part,) if a.ndim > 2 else ())
        shape = (*extra, *seen.shape[:-2], levels.size, sides.size)
        misses[where], total[where] = (f.reshape(shape) for f in found)
    if average:
        every = tuple(range(len(frames)))
        misses, total, frames = misses.sum(axis=every), total.sum(axis=every), ()
    score = fss_of_sums(misses, total).reshape((*frames, *levels.shape, *sides.shape))
    return score.item() if score.ndim == 0 else score


def _ensemble_fss(obs: Any, ens: Any, threshold: float, scale: int) -> float:
    return float(fss(obs, ens, thresholds=threshold, scales=scale, member_axis=0))


def _case_of_fss(y: np.ndarray, x: np.ndarray, threshold: float, scale: int) -> np.ndarray:
    sums = fss_sums(y, x, np.array([threshold]), np.array([scale]))
    return np.array([part.sum() for part in sums])


register(
    Score(
        "fss", _ensemble_fss, "Place of rain of {threshold:g} mm/h (FSS)", kind="ensemble",
        perfect=1, direction="greater", statistic=Statistic("sums of the FSS", _case_of_fss),
        formula=lambda sums: float(fss_of_sums(*sums)),
        reading=lambda v, threshold, scale: (
            f"rain of {threshold:g} mm/h is {'' if v >= 0.5 else 'not '}placed usefully within "
            f"{scale} cells (0.5 or more is useful)"
        ),
        parameters={"threshold": 1.0, "scale": 5}, row="fss of {threshold:g} mm/h",
    )
)  # fmt: skip
