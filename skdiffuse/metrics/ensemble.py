"""Scores of whole ensembles: fields at once, ranks, spread against error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from numbers import Real
from typing import Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np

from skdiffuse.cubes.alignment import align_cases
from skdiffuse.metrics.arrays import check_whole, like, paired_blocks
from skdiffuse.metrics.bias import relative_bias
from skdiffuse.metrics.crps import NOTHING_TO_SCORE, check_ensemble, mean_of_valid, ratio
from skdiffuse.metrics.score import Score, Statistic, register
from skdiffuse.runtime.array_types import ArrayOrDataArray

#: ``score(fields, members, known)``, one number a field.
_FieldScore: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _score_fields(
    obs: Any, ens: Any, axis: int | str, average: bool, name: str, units: str, score: _FieldScore
) -> float | ArrayOrDataArray:
    """Apply ``score(fields, members, known)`` to blocks of fields (n, y, x), gaps set to 0."""
    obs, ens, place = align_cases(obs, ens, axis, ("y", "x"))
    y, x = check_ensemble(obs, ens, place)
    if y.ndim < 2:
        raise ValueError(f"obs must have shape (..., y, x); got {y.shape}.")
    out = np.empty(y.shape[:-2])
    for part, a, b in paired_blocks(y, x, item_ndim=2):
        fields = a.reshape(-1, *a.shape[-2:]).astype(np.float64)
        members = b.reshape(len(b), *fields.shape).astype(np.float64)
        known = ~np.isnan(fields) & ~np.isnan(members).any(axis=0)
        found = score(np.where(known, fields, 0.0), np.where(known, members, 0.0), known)
        if out.ndim:
            out[part] = found.reshape(a.shape[:-2])
        else:
            out[...] = found[0]
    return mean_of_valid(out) if average else like(obs, out, name, units, item_ndim=2)


@overload
def energy_score(
    obs: Any, ens: Any, *, fair: bool = True, axis: int | str = 0, average: Literal[True] = True
) -> float: ...


@overload
def energy_score(
    obs: Any, ens: Any, *, fair: bool = True, axis: int | str = 0, average: Literal[False]
) -> ArrayOrDataArray: ...


def energy_score(
    obs: Any, ens: Any, *, fair: bool = True, axis: int | str = 0, average: bool = True
) -> float | ArrayOrDataArray:
    """Return the energy score of an ensemble of whole fields, in mm/h.

    ``ES = mean_i ||x_i - y|| - sum_{i<j} ||x_i - x_j|| / D`` with D as in `crps_ensemble`, which
    it generalises: the norm is the Euclidean one over the cells of a field, here divided by the
    square root of their number so that fields of different sizes compare (Gneiting and Raftery
    2007, JASA 102, 359).

    Parameters
    ----------
    obs : array-like of shape (..., y, x)
        Observed rain rate in mm/h. Cells missing in `obs` or in any member are left out.
    ens : array-like of the shape of `obs`, with a member axis
        Ensemble in mm/h.
    fair : bool, default=True
        Remove the bias of a small ensemble.
    axis : int or str, default=0
        Axis of the members in `ens`; of a DataArray also its name.
    average : bool, default=True
        Return the mean over fields, or one score a field.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import energy_score
    >>> energy_score(np.zeros((2, 2)), np.ones((3, 2, 2)))
    1.0
    """

    return _score_fields(
        obs, ens, axis, average, "energy_score", "mm h-1", partial(_energy_of_fields, fair=fair)
    )


def _energy_of_fields(y: np.ndarray, x: np.ndarray, known: np.ndarray, fair: bool) -> np.ndarray:
    def norm(difference: np.ndarray) -> np.ndarray:
        return np.sqrt(np.einsum("nyx,nyx->n", difference, difference))

    m = len(x)
    if fair and m < 2:
        raise ValueError(
            f"The fair energy score needs at least 2 members; got {m}. Use fair=False."
        )
    near = sum(norm(member - y) for member in x) / m
    apart = sum(norm(x[i] - x[j]) for i in range(m) for j in range(i))
    cells = known.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (near - apart / (m * (m - 1 if fair else m))) / np.sqrt(cells)


@overload
def variogram_score(
    obs: Any,
    ens: Any,
    *,
    p: float = 0.5,
    max_lag: int = 3,
    axis: int | str = 0,
    average: Literal[True] = True,
) -> float: ...


@overload
def variogram_score(
    obs: Any,
    ens: Any,
    *,
    p: float = 0.5,
    max_lag: int = 3,
    axis: int | str = 0,
    average: Literal[False],
) -> ArrayOrDataArray: ...


def variogram_score(
    obs: Any,
    ens: Any,
    *,
    p: float = 0.5,
    max_lag: int = 3,
    axis: int | str = 0,
    average: bool = True,
) -> float | ArrayOrDataArray:
    """Return the variogram score of an ensemble of fields: whether neighbours are related rightly.

    ``VS = sum_ij w_ij (|y_i - y_j|^p - mean_k |x_ki - x_kj|^p)^2 / sum_ij w_ij`` over all pairs of
    cells at most `max_lag` rows and columns apart, with the inverse of their distance in cells
    as weight (Scheuerer and Hamill 2015, MWR 143, 1321). Sensitive to wrong correlations, which
    the energy score hardly sees; blind to a bias common to all cells.

    Parameters
    ----------
    obs, ens, axis, average
        As for `energy_score`.
    p : float, default=0.5
        Order of the variogram.
    max_lag : int, default=3
        Largest separation in rows and in columns.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import variogram_score
    >>> variogram_score(np.eye(4), np.eye(4)[None])
    0.0
    """
    if not (isinstance(p, Real) and p > 0):
        raise ValueError(f"p must be a positive number; got {p!r}.")
    max_lag = check_whole(max_lag, "max_lag")

    def score(y: np.ndarray, x: np.ndarray, known: np.ndarray) -> np.ndarray:
        ny, nx = y.shape[-2:]
        total, weights = np.zeros(len(y)), np.zeros(len(y))
        for dy in range(min(max_lag, ny - 1) + 1):
            for dx in range(-min(max_lag, nx - 1), min(max_lag, nx - 1) + 1):
                if dy == 0 and dx <= 0:  # each pair once
                    continue
                here = (..., slice(0, ny - dy), slice(max(0, -dx), nx - max(0, dx)))
                there = (..., slice(dy, ny), slice(max(0, dx), nx - max(0, -dx)))
                both = known[here] & known[there]
                seen = np.abs(y[here] - y[there]) ** p
                made = np.mean(np.abs(x[here] - x[there]) ** p, axis=0)
                w = 1.0 / np.hypot(dy, dx)
                total += w * np.sum(np.where(both, (seen - made) ** 2, 0.0), axis=(1, 2))
                weights += w * both.sum(axis=(1, 2))
        with np.errstate(invalid="ignore"):
            return total / weights

    return _score_fields(obs, ens, axis, average, "variogram_score", f"(mm h-1)^{2 * p:g}", score)


def rank_histogram(obs: Any, ens: Any, *, axis: int | str = 0) -> np.ndarray:
    """Return how often the observation takes each rank among the members.

    A reliable ensemble has a flat histogram; a U means too little spread, a dome too much, a
    slope a bias (Hamill 2001, MWR 129, 550). Where the observation equals members (dry cells!)
    its rank is undetermined among them: the count is shared equally between the ranks it might
    have, the expectation of drawing one at random, so that the result is not random.

    Parameters
    ----------
    obs : array-like of shape S
        Observed rain rate in mm/h.
    ens : array-like of shape S with a member axis
        Ensemble in mm/h. Cells missing in `obs` or in any member are left out.
    axis : int or str, default=0
        Axis of the members in `ens`; of a DataArray also its name.

    Returns
    -------
    ndarray of shape (n_members + 1,)
        Share of cells in each rank; sums to 1.

    Examples
    --------
    >>> from skdiffuse.metrics import rank_histogram
    >>> rank_histogram([0.5, 0.0], [[0.0, 0.0], [1.0, 2.0]])
    array([0.25, 0.75, 0.  ])
    """
    y, x = check_ensemble(obs, ens, axis)
    m = len(x)
    pairs = np.zeros((m + 1) ** 2, dtype=np.int64)
    for _, a, b in paired_blocks(y, x):
        known = ~np.isnan(a) & ~np.isnan(b).any(axis=0)
        below = np.zeros(a.shape, dtype=np.int64)
        equal = np.zeros(a.shape, dtype=np.int64)
        for member in b:
            below += member < a
            equal += member == a
        pairs += np.bincount((below * (m + 1) + equal)[known], minlength=(m + 1) ** 2)
    n = int(pairs.sum())
    if n == 0:
        raise ValueError("No cell is valid in obs and in all members: there is nothing to rank.")
    counts = np.zeros(m + 1)
    for pair in np.flatnonzero(pairs):
        low, ties = divmod(int(pair), m + 1)
        counts[low : low + ties + 1] += pairs[pair] / (ties + 1)
    return counts / n


class SpreadSkill(NamedTuple):
    """Spread of an ensemble beside the error of its mean.

    Attributes
    ----------
    spread : float or ndarray of shape (n_bins,)
        Root of the mean ensemble variance, times ``sqrt((m + 1) / m)``, in mm/h.
    error : float or ndarray of shape (n_bins,)
        Root mean square error of the ensemble mean, in mm/h.
    ratio : float or ndarray of shape (n_bins,)
        ``spread / error``: 1 for a reliable ensemble, less where it is overconfident.
    """

    spread: Any
    error: Any
    ratio: Any


def spread_skill(
    obs: Any, ens: Any, *, n_bins: int | None = None, axis: int | str = 0
) -> SpreadSkill:
    """Compare the spread of an ensemble with the error of its mean.

    For a reliable ensemble of m members ``E (mean(x) - y)^2 = (m + 1)/m E var(x)`` with the
    unbiased variance, averaged before the root (Fortin et al. 2014, J. Hydromet. 15, 1708).

    Parameters
    ----------
    obs : array-like of shape S
        Observed rain rate in mm/h.
    ens : array-like of shape S with a member axis
        Ensemble in mm/h. Cells missing in `obs` or in any member are left out.
    n_bins : int, default=None
        Sort cells by spread into this many equally filled bins and return one value a bin.
    axis : int or str, default=0
        Axis of the members in `ens`; of a DataArray also its name.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import spread_skill
    >>> rng = np.random.default_rng(0)
    >>> centre = rng.gamma(2.0, size=100_000)
    >>> obs, ens = rng.normal(centre), rng.normal(centre, size=(5, 100_000))
    >>> round(float(spread_skill(obs, ens).ratio), 1)
    1.0
    """
    if n_bins is not None:
        n_bins = check_whole(n_bins, "n_bins")
    y, x = check_ensemble(obs, ens, axis)
    m = len(x)
    if m < 2:
        raise ValueError(f"An ensemble of {m} has no spread: at least 2 members are needed.")
    if n_bins is None:
        sums = _spread_sums(y, x)
        if sums[2] == 0:
            raise ValueError(NOTHING_TO_SCORE)
        spread, error = np.sqrt(sums[:2] / sums[2])
        return SpreadSkill(spread, error, np.float64(_spread_over_error(sums)))
    parts = [np.empty((2, 0)), *_variance_and_error(y, x)]
    variance, squared = np.concatenate(parts, axis=1)
    if variance.size == 0:
        raise ValueError(NOTHING_TO_SCORE)
    if n_bins > variance.size:
        raise ValueError(
            f"n_bins={n_bins} is more than the {variance.size} cells known in obs and in all "
            "members: give fewer bins."
        )
    bins = np.array_split(np.argsort(variance, kind="stable"), n_bins)
    spread = np.sqrt([variance[part].mean() for part in bins])
    error = np.sqrt([squared[part].mean() for part in bins])
    with np.errstate(divide="ignore", invalid="ignore"):
        return SpreadSkill(spread, error, np.divide(spread, error))


def _variance_and_error(y: Any, x: Any) -> Iterator[np.ndarray]:
    """Yield ensemble variance and squared error of the mean of known cells, (2, n_cells)."""
    m = len(x)
    for _, a, b in paired_blocks(y, x):
        known = ~np.isnan(a) & ~np.isnan(b).any(axis=0)
        b = b[:, known].astype(np.float64)
        yield np.stack([b.var(axis=0, ddof=1) * (m + 1) / m, (b.mean(axis=0) - a[known]) ** 2])


def _spread_sums(y: Any, x: Any) -> np.ndarray:
    """Sums of variance and squared error, and the number of cells; no variance of one member."""
    if len(x) < 2:
        return np.full(3, np.nan)
    return sum(
        (np.append(part.sum(axis=1), part.shape[1]) for part in _variance_and_error(y, x)),
        np.zeros(3),
    )


def _spread_over_error(sums: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.sqrt(np.divide(sums[0], sums[1])))


def _ratio_of_spread(obs: Any, ens: Any) -> float:
    return spread_skill(obs, ens).ratio


def _means_of_known(obs: Any, ens: Any) -> np.ndarray:
    """Sums of the ensemble mean and of the truth over the cells that all have."""
    sums = np.zeros(2)
    for _, a, b in paired_blocks(*check_ensemble(obs, ens, 0)):
        known = ~np.isnan(a) & ~np.isnan(b).any(axis=0)
        mean = b.mean(axis=0, dtype=np.float64)
        sums += mean[known].sum(), a[known].sum(dtype=np.float64)
    return sums


def _bias_of_sums(sums: np.ndarray) -> float:
    return relative_bias(sums[1], sums[0])


def _bias_of_ensemble(obs: Any, ens: Any) -> float:
    return _bias_of_sums(_means_of_known(obs, ens))


def _sum_and_number(scores: ArrayOrDataArray) -> np.ndarray:
    return np.array([np.nansum(scores), np.count_nonzero(~np.isnan(scores))])


def _case_of_energy(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _sum_and_number(energy_score(y, x, fair=len(x) > 1, average=False))


def _case_of_variogram(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _sum_and_number(variogram_score(y, x, average=False))


def _say_bias(v: float) -> str:
    return f"{abs(100 * v):.3g} % too {'much' if v > 0 else 'little'} rain in the mean"


def _say_spread(v: float) -> str:
    if abs(v - 1) < 0.05:
        return "the spread is that of the error"
    return f"the spread is {'too small' if v < 1 else 'too large'}: {v:.2f} of the error"


register(
    Score(
        "energy_score", energy_score, "Whole fields (energy score)", kind="ensemble", unit="mm/h",
        statistic=Statistic("sum of the energy score", _case_of_energy), formula=ratio,
        reading=lambda v: f"whole fields are missed by {v:.3g} mm/h (root mean square)",
    )
)  # fmt: skip
register(
    Score(
        "mean_bias", _bias_of_ensemble, "Mean rain", kind="ensemble", direction="none",
        statistic=Statistic("sums of rain", _means_of_known), formula=_bias_of_sums,
        reading=_say_bias,
    )
)  # fmt: skip
register(
    Score(
        "spread_skill", _ratio_of_spread, "Spread over error", kind="ensemble", perfect=1,
        direction="none", statistic=Statistic("sums of variance and error", _spread_sums),
        formula=_spread_over_error, reading=_say_spread,
    )
)  # fmt: skip
register(
    Score(
        "variogram_score", variogram_score, "Relations between cells (variogram score)",
        kind="ensemble", unit="mm/h", in_card=False, formula=ratio,
        statistic=Statistic("sum of the variogram score", _case_of_variogram),
        reading=lambda v: f"differences between neighbours are off by {v:.3g} (mean square)",
    )
)  # fmt: skip
