"""Power by scale, in space and in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import fft
from scipy.signal import get_window
from scipy.sparse import csr_array

from skdiffuse.metrics.arrays import blocks, check_ndim, check_same_units, whole_series
from skdiffuse.metrics.readings import more_or_less
from skdiffuse.metrics.score import Score, Statistic, register

Missing = Literal["drop", "zero"]
_CHUNK = 2**17  # cells transformed at once: what stays in a second-level cache


class PowerSpectrum(NamedTuple):
    """Power by wave number; unpacks as ``k, P``.

    Attributes
    ----------
    k : ndarray of shape (n_waves,)
        Whole numbers of waves, from 0 (the mean).
    P : ndarray of shape (..., n_waves)
        Power in (mm/h)^2.
    """

    k: np.ndarray
    P: np.ndarray


@lru_cache(maxsize=8)
def _rings(ny: int, nx: int) -> csr_array:
    """Matrix (n_rings, n_modes) that sums the modes of a folded ``rfft2`` by ring.

    An entry is how often its mode counts in the whole plane: ``rfft2`` stores one of each pair
    of conjugate columns, and `_folded` adds the rows of opposite frequency.
    """
    y, x = fft.fftfreq(ny)[: ny // 2 + 1, None], fft.rfftfreq(nx)[None, :]
    ring = np.rint(max(ny, nx) * np.hypot(y, x)).astype(np.intp).ravel()
    times = np.full((y.size, x.size), 2.0)
    times[:, 0] = 1.0
    if nx % 2 == 0:
        times[:, -1] = 1.0
    return csr_array((times.ravel(), (ring, np.arange(ring.size))))


def _folded(power: np.ndarray) -> np.ndarray:
    """Add the rows of negative frequency to those of positive: (..., ny // 2 + 1, n_columns)."""
    ny = power.shape[-2]
    half = power[..., : ny // 2 + 1, :].astype(np.float64)
    half[..., 1 : ny - ny // 2, :] += power[..., : ny // 2 : -1, :]
    return half


def _frames(X: Any, missing: Missing) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield chunks of usable frames (n, y, x), and where they stand in the cube."""
    found, position = False, 0
    shape = np.shape(X)[-2:]
    step = max(1, _CHUNK // max(1, shape[0] * shape[1]))
    for block in blocks(X, item_ndim=2):
        frames = block.reshape(-1, *shape)
        for start in range(0, len(frames), step):
            chunk = frames[start : start + step]
            places = position + np.arange(len(chunk))
            position += len(chunk)
            bad = np.isnan(chunk)
            if bad.any():
                if missing == "zero":
                    chunk = np.where(bad, chunk.dtype.type(0), chunk)
                else:
                    usable = ~bad.any(axis=(1, 2))
                    chunk, places = chunk[usable], places[usable]
            if len(chunk):
                found = True
                yield chunk, places
    if not found:
        raise ValueError(
            "X has no frame without missing values: crop to a valid region or use missing='zero'."
        )


def spatial_psd(
    X: Any,
    *,
    statistic: Literal["sum", "mean"] = "sum",
    window: str | None = None,
    missing: Missing = "drop",
    average: bool = True,
) -> PowerSpectrum:
    """Return the radially gathered power spectral density of fields.

    With F the discrete Fourier transform of a frame of N cells, the power of one mode is
    ``|F|^2 / N^2`` and

    ``P(k) = sum of the power of all modes with round(L |f|) = k``,

    f being the mode's frequency in cycles per cell and L the longest side in cells: k counts
    waves across the longest side, on non-square grids too. Then ``sum_k P(k) = mean(X^2)``
    (Parseval), which is why the rings beyond the Nyquist wave number L/2, incomplete in the
    corners of the square, are returned as well. White noise rises with k in the sum and is flat
    in the ring mean (``statistic="mean"``); libraries differ on which they mean.

    Parameters
    ----------
    X : array-like of shape (..., y, x)
        Rain rate in mm/h. Lazy arrays are read block by block.
    statistic : {"sum", "mean"}, default="sum"
        Power of a ring, or mean power of its modes.
    window : str, default=None
        A name known to `scipy.signal.get_window` (e.g. "hann") that tapers both sides of a
        field that is not periodic; without it the jump across the border leaks as k^-2. The
        field's mean is set aside first and the taper has unit mean square.
    missing : {"drop", "zero"}, default="drop"
        Leave out frames with missing values, or count missing as dry.
    average : bool, default=True
        Average the spectra of all frames (before any logarithm), or return one a frame.

    Returns
    -------
    PowerSpectrum
        ``k, P``; P has shape (n_waves,), or ``X.shape[:-2] + (n_waves,)`` without averaging
        (there NaN for frames dropped).

    Raises
    ------
    ValueError
        Where no frame is free of missing values, or an argument is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import spatial_psd
    >>> waves = np.sin(2 * np.pi * 3 * np.arange(16) / 16) * np.ones((8, 1))
    >>> k, P = spatial_psd(waves)
    >>> int(k[P.argmax()]), float(P.sum().round(6)), float((waves**2).mean().round(6))
    (3, 0.5, 0.5)
    """
    check_ndim(X, 2, "X")
    if statistic not in ("sum", "mean"):
        raise ValueError(f"statistic must be 'sum' or 'mean'; got {statistic!r}.")
    if missing not in ("drop", "zero"):
        raise ValueError(f"missing must be 'drop' or 'zero'; got {missing!r}.")
    ny, nx = np.shape(X)[-2:]
    rings = _rings(ny, nx)
    modes = rings @ _folded(np.ones((ny, nx // 2 + 1))).ravel()
    taper = None
    if window is not None:
        taper = np.outer(get_window(window, ny), get_window(window, nx))
        taper = taper / np.sqrt(np.mean(taper**2))
    divisor = (ny * nx) ** 2 * (modes if statistic == "mean" else 1.0)

    def power(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Power of each mode of each frame, and the squared sums set aside."""
        if taper is None:
            F = fft.rfft2(frames)
            sums = np.zeros(len(frames))
        else:
            sums = frames.sum(axis=(1, 2), dtype=np.float64)
            F = fft.rfft2((frames - sums[:, None, None] / (ny * nx)) * taper)
        power = F.real**2
        power += F.imag**2
        return power, sums**2

    k = np.arange(modes.size)
    if average:
        total, zero, count = np.zeros((ny, nx // 2 + 1)), 0.0, 0
        for frames, _ in _frames(X, missing):
            p, z = power(frames)
            total += p.sum(axis=0, dtype=np.float64)
            zero += z.sum()
            count += len(frames)
        P = rings @ _folded(total).ravel()
        P[0] += zero
        return PowerSpectrum(k, P / divisor / count)
    P = np.full((int(np.prod(np.shape(X)[:-2])), k.size), np.nan)
    for frames, places in _frames(X, missing):
        p, z = power(frames)
        for place, modes_of_frame in zip(places, _folded(p), strict=True):
            P[place] = rings @ modes_of_frame.ravel()
        P[places, 0] += z
    P /= divisor
    return PowerSpectrum(k, P.reshape((*np.shape(X)[:-2], k.size)))


def temporal_psd(
    X: Any,
    *,
    n_frames: int | None = None,
    window: str | None = None,
    missing: Missing = "drop",
) -> PowerSpectrum:
    """Return the power spectral density in time, averaged over cells and sequences.

    With F the discrete Fourier transform over the T frames of a window,
    ``P(k) = (2 - [k = 0 or 2k = T]) mean |F_k|^2 / T^2``: one-sided, k in waves per window, and
    ``sum_k P(k) = mean(X^2)`` (Parseval).

    Parameters
    ----------
    X : array-like of shape (..., time, y, x)
        Rain rate in mm/h. Lazy arrays are read block by block.
    n_frames : int, default=None
        Length of the windows a sequence is cut into, without overlap and leaving out the
        rest; by default one window of all its frames. Give it to compare sequences of
        different lengths.
    window : str, default=None
        A name known to `scipy.signal.get_window` that tapers each window after its mean is set
        aside; by default none.
    missing : {"drop", "zero"}, default="drop"
        Leave out the cells of a window that have missing values, or count missing as dry.

    Returns
    -------
    PowerSpectrum
        ``k, P``, both of shape (n_frames // 2 + 1,).

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import temporal_psd
    >>> X = np.ones((10, 2, 2)) * (1 + np.cos(2 * np.pi * 2 * np.arange(10) / 10))[:, None, None]
    >>> temporal_psd(X).P.round(6)
    array([1. , 0. , 0.5, 0. , 0. , 0. ])
    """
    check_ndim(X, 3, "X")
    if missing not in ("drop", "zero"):
        raise ValueError(f"missing must be 'drop' or 'zero'; got {missing!r}.")
    T = np.shape(X)[-3]
    n = T if n_frames is None else int(n_frames)
    if not 1 <= n <= T:
        raise ValueError(f"n_frames must lie between 1 and the {T} frames of X; got {n_frames}.")
    taper = 1.0
    if window is not None:
        taper = get_window(window, n)
        taper = (taper / np.sqrt(np.mean(taper**2)))[:, None]
    total, zero, count = np.zeros(n // 2 + 1), 0.0, 0
    for sequence in (s for block in whole_series(X) for s in block):
        for start in range(0, T - n + 1, n):
            series = sequence[start : start + n].reshape(n, -1).astype(np.float64)
            bad = np.isnan(series)
            if bad.any():
                if missing == "zero":
                    series[bad] = 0.0
                else:
                    series = series[:, ~bad.any(axis=0)]
            if window is not None:
                mean = series.mean(axis=0)
                zero += np.sum(mean**2)
                series = (series - mean) * taper
            F = fft.rfft(series, axis=0)
            total += np.sum(F.real**2 + F.imag**2, axis=1)
            count += series.shape[1]
    if count == 0:
        raise ValueError(
            "X has no cell without missing values in any window: use missing='zero' or a "
            "smaller n_frames."
        )
    total[1 : (n + 1) // 2] *= 2
    P = total / n**2 / count
    P[0] += zero / count
    return PowerSpectrum(np.arange(P.size), P)


def last_whole_ring(ny: int, nx: int) -> int:
    """Return the largest wave number whose ring lies within the Nyquist limits of the grid.

    On even grids the ring at L/2 is cut in half: its power drops, in every field.
    """
    longest = max(ny, nx)
    return max((longest - 1) // 2, min(1, longest - 1))


def _both_spectra(obs: Any, sim: Any, kind: str, options: dict) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of both without their mean (k = 0), up to the last whole ring."""
    check_same_units(obs, sim)
    if kind == "spatial":
        if np.shape(obs)[-2:] != np.shape(sim)[-2:]:
            raise ValueError(
                "obs and sim need fields of one size to compare spatial spectra; got "
                f"{np.shape(obs)[-2:]} and {np.shape(sim)[-2:]}."
            )
        last = last_whole_ring(*np.shape(obs)[-2:])
        P, Q = (spatial_psd(X, **options).P for X in (obs, sim))
    elif kind == "temporal":
        lengths = [np.shape(X)[-3] for X in (obs, sim) if np.ndim(X) >= 3]
        options = {"n_frames": min(lengths, default=None), **options}
        P, Q = (temporal_psd(X, **options).P for X in (obs, sim))
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


def log_spectral_distance(
    obs: Any, sim: Any, *, kind: Literal["spatial", "temporal"] = "spatial", **options: Any
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
    P, Q = _both_spectra(obs, sim, kind, options)
    distance = _distance_in_db(P, Q)
    if np.isnan(distance):
        raise ValueError("obs or sim has no power at any wave number (all dry or constant).")
    return distance


def power_deficit(
    obs: Any,
    sim: Any,
    *,
    kind: Literal["spatial", "temporal"] = "spatial",
    above: float = 0.5,
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
    P, Q = _both_spectra(obs, sim, kind, options)
    deficit = _missing_power(P, Q, above)
    if np.isnan(deficit):
        raise ValueError("obs has no power at these wave numbers (all dry or constant).")
    return deficit


def _power_sums(
    X: np.ndarray, psd: Callable[..., PowerSpectrum], whole: np.ndarray, last: int
) -> np.ndarray | None:
    """Sums of the power of whole frames (or series), and their number; below, of all of them."""
    if last < 1:
        return None
    rows = np.zeros((2, last + 1))
    for row, n, missing in zip(rows, (whole.sum(), whole.size), ("drop", "zero"), strict=True):
        if n:
            row[:] = [*psd(X, missing=missing).P[1 : last + 1] * n, n]
        if whole.all():
            rows[1] = rows[0]
            break
    return rows


def _spatial_sums(X: np.ndarray) -> np.ndarray | None:
    whole = ~np.isnan(X).any(axis=(1, 2))
    return _power_sums(X, spatial_psd, whole, last_whole_ring(*X.shape[1:]))


def _temporal_sums(X: np.ndarray) -> np.ndarray | None:
    return _power_sums(X, temporal_psd, ~np.isnan(X).any(axis=0), len(X) // 2)


def _whole_or_all(tables: list[np.ndarray]) -> list[np.ndarray]:
    """Take the sums of whole frames; where a sample has none, dry stands in for what misses."""
    row = 0 if all(table[:, 0, -1].any() for table in tables) else 1
    return [table[:, row] for table in tables]


def _mean_spectrum(sums: np.ndarray, n: int = 0) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[:-1] / sums[-1]


def _factor(v: float) -> str:
    return f"power is off by a factor of about {10 ** (v / 10):.2f} at each scale"


def _deficit(where: str) -> Callable[[float], str]:
    return lambda v: f"{where} {more_or_less(-v, 'too much power', 'of the power is missing')}"


_KINDS = (
    ("", "spatial", _spatial_sums, "Spatial scales", "Fine detail in space", "at fine scales"),
    ("temporal_", "temporal", _temporal_sums, "Time scales", "Fast changes in time",
     "in fast changes"),
)  # fmt: skip
for _prefix, _kind, _sums, _scales, _detail, _where in _KINDS:
    _statistic = Statistic(f"{_kind} spectrum", _sums, _whole_or_all, _mean_spectrum)
    register(
        Score(
            f"{_prefix}log_spectral_distance", partial(log_spectral_distance, kind=_kind), _scales,
            unit="dB", statistic=_statistic, formula=_distance_in_db, reading=_factor,
            public="log_spectral_distance",
        )
    )  # fmt: skip
    register(
        Score(
            f"{_prefix}power_deficit", partial(power_deficit, kind=_kind), _detail,
            direction="none", statistic=_statistic, formula=_missing_power,
            reading=_deficit(_where), public="power_deficit",
        )
    )  # fmt: skip
