"""Power by scale, in space and in time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import fft
from scipy.signal import get_window
from scipy.sparse import csr_array

from skdiffuse.metrics.arrays import blocks, check_ndim, check_whole, whole_series
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.metrics.weights import weighted_sum

Missing = Literal["drop", "zero"]
SpectrumKind = Literal["spatial", "temporal"]
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
    position = 0
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
                # A frame of which nothing is known is not dry: it is left out in any case.
                usable = ~(bad.all if missing == "zero" else bad.any)(axis=(1, 2))
                chunk, places = chunk[usable], places[usable]
                chunk = np.where(bad[usable], chunk.dtype.type(0), chunk)
            if len(chunk):
                yield chunk, places


def _refuse_none(count: float) -> None:
    if count == 0:
        raise ValueError(
            "X has no frame without missing values: crop to a valid region or use missing='zero'."
        )


@samples_by_name()
def spatial_psd(
    X: Any,
    *,
    statistic: Literal["sum", "mean"] = "sum",
    window: str | None = None,
    missing: Missing = "drop",
    average: bool = True,
    weights: Any = None,
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
        Leave out frames with missing values, or count missing cells of the others as dry. Frames
        of which nothing is known are left out in any case.
    average : bool, default=True
        Average the spectra of all frames (before any logarithm), or return one a frame.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike. One spectrum a
        frame has no use for them.

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

        def sums(part: Any) -> np.ndarray:
            """Power of each ring, and the number of frames."""
            total, zero, count = np.zeros((ny, nx // 2 + 1)), 0.0, 0
            for frames, _ in _frames(part, missing):
                p, z = power(frames)
                total += p.sum(axis=0, dtype=np.float64)
                zero += z.sum()
                count += len(frames)
            P = rings @ _folded(total).ravel()
            P[0] += zero
            return np.append(P, count)

        *total, count = weighted_sum(sums, X, weights, item_ndim=2)
        _refuse_none(count)
        return PowerSpectrum(k, np.array(total) / divisor / count)
    if weights is not None:
        raise ValueError("weights have no use with average=False: each frame has its spectrum.")
    P, count = np.full((int(np.prod(np.shape(X)[:-2])), k.size), np.nan), 0
    for frames, places in _frames(X, missing):
        count += len(frames)
        p, z = power(frames)
        for place, modes_of_frame in zip(places, _folded(p), strict=True):
            P[place] = rings @ modes_of_frame.ravel()
        P[places, 0] += z
    _refuse_none(count)
    P /= divisor
    return PowerSpectrum(k, P.reshape((*np.shape(X)[:-2], k.size)))


@samples_by_name(axes=("time", "y", "x"))
def temporal_psd(
    X: Any,
    *,
    n_frames: int | None = None,
    window: str | None = None,
    missing: Missing = "drop",
    weights: Any = None,
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
        Leave out the cells of a window that have missing values, or count missing frames of
        the others as dry. Cells of which nothing is known are left out in any case.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

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
    n = T if n_frames is None else check_whole(n_frames, "n_frames")
    if not 1 <= n <= T:
        raise ValueError(f"n_frames must lie between 1 and the {T} frames of X; got {n_frames}.")
    taper = 1.0
    if window is not None:
        taper = get_window(window, n)
        taper = (taper / np.sqrt(np.mean(taper**2)))[:, None]

    def sums(part: Any) -> np.ndarray:
        """Power of each number of waves, that of the means set aside, and the number of series."""
        total, zero, count = np.zeros(n // 2 + 1), 0.0, 0
        for sequence in (s for block in whole_series(part) for s in block):
            for start in range(0, T - n + 1, n):
                series = sequence[start : start + n].reshape(n, -1).astype(np.float64)
                bad = np.isnan(series)
                if bad.any():
                    usable = ~(bad.all if missing == "zero" else bad.any)(axis=0)
                    series = np.where(bad, 0.0, series)[:, usable]
                if window is not None:
                    mean = series.mean(axis=0)
                    zero += np.sum(mean**2)
                    series = (series - mean) * taper
                F = fft.rfft(series, axis=0)
                total += np.sum(F.real**2 + F.imag**2, axis=1)
                count += series.shape[1]
        return np.array([*total, zero, count])

    *power, zero, count = weighted_sum(sums, X, weights, item_ndim=3)
    total = np.array(power)
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

    Examples
    --------
    >>> from skdiffuse.metrics.spectra import last_whole_ring
    >>> last_whole_ring(64, 48), last_whole_ring(65, 48)
    (31, 32)
    """
    longest = max(ny, nx)
    return max((longest - 1) // 2, min(1, longest - 1))
