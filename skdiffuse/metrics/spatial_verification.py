"""Scores that forgive rain in nearly the right place."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from skdiffuse.metrics._arrays import check_same_grid, to_numpy


def _neighbourhood_counts(
    events: np.ndarray, scale: int, padding: str, out: np.ndarray | None = None
) -> np.ndarray:
    """Number of events in the square of side `scale` around each cell of (..., y, x)."""
    before = scale // 2
    after = scale - 1 - before
    ny, nx = events.shape[-2:]
    table = np.zeros((*events.shape[:-2], ny + 1, nx + 1), dtype=np.int32)
    np.cumsum(events, axis=-2, dtype=np.int32, out=table[..., 1:, 1:])
    np.cumsum(table[..., 1:, 1:], axis=-1, out=table[..., 1:, 1:])
    return _from_table(table, before, after, padding)


def _from_table(table: np.ndarray, before: int, after: int, padding: str) -> np.ndarray:
    ny, nx = table.shape[-2] - 1, table.shape[-1] - 1
    if padding == "valid":
        y, x = np.arange(before, ny - after), np.arange(before, nx - after)
    else:
        y, x = np.arange(ny), np.arange(nx)
    top, bottom = np.maximum(y - before, 0), np.minimum(y + after, ny - 1) + 1
    left, right = np.maximum(x - before, 0), np.minimum(x + after, nx - 1) + 1
    rows = table[..., bottom, :] - table[..., top, :]
    return rows[..., right] - rows[..., left]


def fss(
    obs: Any,
    sim: Any,
    *,
    thresholds: Any = 1.0,
    scales: Any = 5,
    member_axis: int | None = None,
    padding: Literal["zero", "valid"] = "zero",
    average: bool = True,
) -> Any:
    """Return the fractions skill score for each threshold and neighbourhood scale.

    ``FSS = 1 - sum (p_sim - p_obs)^2 / (sum p_sim^2 + sum p_obs^2)``, where p is the share of
    cells with at least `threshold` mm/h in the square of `scale` x `scale` cells around a cell
    (Roberts and Lean 2008, MWR 136, 78). Sums run over all frames before the ratio is taken. With
    members, p_sim is averaged over them first: the probabilistic FSS of the ensemble (Schwartz et
    al. 2010, WAF 25, 263; pFSS of Necker et al. 2024, QJRMS 150, 4457).

    Parameters
    ----------
    obs : array-like of shape (..., y, x)
        Rain rate in mm/h. Cells missing in `obs` or `sim` count as no event in both.
    sim : array-like of the shape of `obs`, with `member_axis` added where that is given
        Rain rate in mm/h.
    thresholds : float or array-like, default=1.0
        Rates in mm/h that make an event (``>=``).
    scales : int or array-like, default=5
        Sides of the neighbourhood in cells; an even one reaches one cell further to the front.
    member_axis : int, default=None
        Axis of the members in `sim`, for the probabilistic score.
    padding : {"zero", "valid"}, default="zero"
        Count cells outside the domain as dry, or use only neighbourhoods that lie inside.
    average : bool, default=True
        Pool all frames, or return one score a frame.

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
    check_same_grid(obs, sim)
    a, b = to_numpy(obs, "obs"), to_numpy(sim, "sim")
    b = b[None] if member_axis is None else np.moveaxis(b, member_axis, 0)
    if b.shape[1:] != a.shape:
        raise ValueError(
            f"sim must have the shape of obs, {a.shape}, beside its member axis; got "
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

    a, b = a.reshape(-1, ny, nx), b.reshape(len(b), -1, ny, nx)
    misses = np.zeros((len(a), levels.size, sides.size))
    total = np.zeros_like(misses)
    for f in range(len(a)):
        seen, made = a[f], b[:, f]
        bad = np.isnan(seen) | np.isnan(made).any(axis=0)
        for t, level in enumerate(levels.ravel()):
            observed = seen >= seen.dtype.type(level)
            forecast = made >= made.dtype.type(level)
            if bad.any():
                observed &= ~bad
                forecast &= ~bad
            # One table of the members' sum serves all of them: the mean of the fractions is
            # the fraction of the sum.
            events = np.stack([observed * np.int32(len(b)), forecast.sum(axis=0, dtype=np.int32)])
            for s, side in enumerate(sides.ravel()):
                p, q = _neighbourhood_counts(events, int(side), padding).astype(np.float64)
                misses[f, t, s] = np.sum((p - q) ** 2)
                total[f, t, s] = np.sum(p**2) + np.sum(q**2)
    if average:
        misses, total = misses.sum(axis=0), total.sum(axis=0)
    with np.errstate(invalid="ignore"):
        score = 1 - misses / total
    frames = () if average else np.shape(obs)[:-2]
    score = score.reshape(*frames, *levels.shape, *sides.shape)
    return score.item() if score.ndim == 0 else score
