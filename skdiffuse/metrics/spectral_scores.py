"""How far two spectra are apart, and how much power one lacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from skdiffuse.cubes.layout import ordered
from skdiffuse.metrics.arrays import check_same_grid, check_same_units
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.metrics.readings import more_or_less
from skdiffuse.metrics.score import Score, Statistic, register
from skdiffuse.metrics.spectra import (
    PowerSpectrum,
    SpectrumKind,
    last_whole_ring,
    spatial_psd,
    temporal_psd,
)


def _both_spectra(
    obs: Any, sim: Any, kind: SpectrumKind, weights: Any, options: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of both without their mean (k = 0), up to the last whole ring."""
    check_same_units(obs, sim)
    if kind == "spatial":
        if np.shape(obs)[-2:] != np.shape(sim)[-2:]:
            raise ValueError(
                "obs and sim need fields of one size to compare spatial spectra; got "
                f"{np.shape(obs)[-2:]} and {np.shape(sim)[-2:]}."
            )
        check_same_grid(obs, sim)
        last = last_whole_ring(*np.shape(obs)[-2:])
        P, Q = spatial_psd(obs, **options).P, spatial_psd(sim, weights=weights, **options).P
    elif kind == "temporal":
        obs, sim = ordered(obs, name="obs"), ordered(sim, name="sim")
        lengths = [np.shape(X)[-3] for X in (obs, sim) if np.ndim(X) >= 3]
        options = {"n_frames": min(lengths, default=None), **options}
        P, Q = temporal_psd(obs, **options).P, temporal_psd(sim, weights=weights, **options).P
        last = len(P) - 1
    else:
        raise ValueError(f"kind must be 'spatial' or 'temporal'; got {kind!r}.")
    if last < 1:
        raise ValueError(f"The {kind} spectrum has no wave: more than one cell or frame is needed.")
    return P[1 : last + 1], Q[1 : last + 1]


def _distance_in_db(P: np.ndarray, Q: np.ndarray) -> float:
    """Log-spectral distance of two spectra; NaN where no wave number has power in both."""
    known = (P > 0) & (Q > 0)
    if not known.any():
        return float("nan")
    if (P[~known] != Q[~known]).any():
        return float("inf")
    return float(np.sqrt(np.mean((10 * np.log10(Q[known] / P[known])) ** 2)))


def _missing_power(P: np.ndarray, Q: np.ndarray, above: float = 0.5) -> float:
    """Share of the power of P from a wave number on that Q lacks; NaN where P has none."""
    start = max(0, int(np.ceil(above * len(P))) - 1)
    power = P[start:].sum()
    return float(1 - Q[start:].sum() / power) if power > 0 else float("nan")


@samples_by_name("sim")
def log_spectral_distance(
    obs: Any, sim: Any, *, kind: SpectrumKind = "spatial", weights: Any = None, **options: Any
) -> float:
    """Return the log-spectral distance of two ensembles of fields, in decibels.

    ``sqrt(mean over k of (10 log10(P_sim(k) / P_obs(k)))^2)`` for k = 1 to the last whole
    ring; spectra are averaged over samples before the logarithm. 0 is perfect, 3 dB is about a
    factor of two at each scale.

    Parameters
    ----------
    obs, sim : array-like of shape (..., y, x) or (..., time, y, x)
        Rain rate in mm/h.
    kind : {"spatial", "temporal"}, default="spatial"
        Which spectrum to compare.
    weights : array-like of shape (n,), default=None
        What each sequence of `sim` counts. By default the coordinate ``weight`` of a DataArray,
        where it carries one, and else all alike; so in any case for `obs`.
    **options
        Passed to `spatial_psd` or `temporal_psd`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import log_spectral_distance
    >>> rain = np.random.default_rng(0).exponential(size=(20, 16, 16))
    >>> round(log_spectral_distance(rain, np.sqrt(10) * rain), 6)
    10.0
    """
    P, Q = _both_spectra(obs, sim, kind, weights, options)
    distance = _distance_in_db(P, Q)
    if np.isnan(distance):
        raise ValueError("obs or sim has no power at any wave number (all dry or constant).")
    return distance


@samples_by_name("sim")
def power_deficit(
    obs: Any,
    sim: Any,
    *,
    kind: SpectrumKind = "spatial",
    above: float = 0.5,
    weights: Any = None,
    **options: Any,
) -> float:
    """Return the share of fine-scale power that a simulation lacks.

    ``1 - sum_k P_sim(k) / sum_k P_obs(k)`` over wave numbers from `above` times the Nyquist wave
    number to the Nyquist wave number: 0 is perfect, 0.3 says 30 % of the power is lost (smooth
    fields), negative values say that there is too much (noise).

    Parameters
    ----------
    obs, sim : array-like of shape (..., y, x) or (..., time, y, x)
        Rain rate in mm/h.
    kind : {"spatial", "temporal"}, default="spatial"
        Which spectrum to compare.
    above : float, default=0.5
        Lowest wave number, as a share of the Nyquist wave number; 0 takes all but the mean.
    weights : array-like of shape (n,), default=None
        As for `log_spectral_distance`.
    **options
        Passed to `spatial_psd` or `temporal_psd`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import power_deficit
    >>> rain = np.random.default_rng(0).exponential(size=(20, 16, 16))
    >>> round(power_deficit(rain, np.sqrt(0.7) * rain), 6)
    0.3
    """
    if not 0 <= above <= 1:
        raise ValueError(f"above must lie between 0 and 1; got {above}.")
    P, Q = _both_spectra(obs, sim, kind, weights, options)
    deficit = _missing_power(P, Q, above)
    if np.isnan(deficit):
        raise ValueError("obs has no power at these wave numbers (all dry or constant).")
    return deficit


def _power_sums(
    X: np.ndarray, psd: Callable[..., PowerSpectrum], axes: tuple[int, ...], last: int
) -> np.ndarray | None:
    """Sums of the power of whole frames (or series), and their number; below, of all of them.

    Of all of which anything is known: what is missing altogether is not dry.
    """
    if last < 1:
        return None
    gaps = np.isnan(X)
    whole, known = ~gaps.any(axis=axes), ~gaps.all(axis=axes)
    rows = np.zeros((2, last + 1))
    for row, n, missing in zip(rows, (whole.sum(), known.sum()), ("drop", "zero"), strict=True):
        if n:
            row[:] = [*psd(X, missing=missing).P[1 : last + 1] * n, n]
        if whole.all():
            rows[1] = rows[0]
            break
    return rows


def _spatial_sums(X: np.ndarray) -> np.ndarray | None:
    return _power_sums(X, spatial_psd, (1, 2), last_whole_ring(*X.shape[1:]))


def _temporal_sums(X: np.ndarray) -> np.ndarray | None:
    return _power_sums(X, temporal_psd, (0,), len(X) // 2)


def _whole_or_all(tables: list[np.ndarray]) -> list[np.ndarray]:
    """Take the sums of whole frames; where a sample has none, dry stands in for what misses."""
    known = [table for table in tables if table[:, 1, -1].any()]
    row = 0 if all(table[:, 0, -1].any() for table in known) else 1
    return [table[:, row] for table in tables]


def _mean_spectrum(sums: np.ndarray, n: float = 0) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[:-1] / sums[-1]


def _factor(v: float) -> str:
    return f"power is off by a factor of about {10 ** (v / 10):.2f} at each scale"


def _deficit(where: str) -> Callable[[float], str]:
    return lambda v: f"{where} {more_or_less(-v, 'too much power', 'of the power is missing')}"


def _register_both(
    kind: SpectrumKind,
    prefix: str,
    sums: Callable[[np.ndarray], np.ndarray | None],
    scales: str,
    detail: str,
    where: str,
) -> None:
    statistic = Statistic(f"{kind} spectrum", sums, _whole_or_all, _mean_spectrum)
    register(
        Score(
            f"{prefix}log_spectral_distance", partial(log_spectral_distance, kind=kind), scales,
            unit="dB", statistic=statistic, formula=_distance_in_db, reading=_factor,
            public="log_spectral_distance",
        )
    )  # fmt: skip
    register(
        Score(
            f"{prefix}power_deficit", partial(power_deficit, kind=kind), detail,
            direction="none", statistic=statistic, formula=_missing_power,
            reading=_deficit(where), public="power_deficit",
        )
    )  # fmt: skip


_register_both(
    "spatial", "", _spatial_sums, "Spatial scales", "Fine detail in space", "at fine scales"
)
_register_both(
    "temporal", "temporal_", _temporal_sums, "Time scales", "Fast changes in time",
    "in fast changes",
)  # fmt: skip
