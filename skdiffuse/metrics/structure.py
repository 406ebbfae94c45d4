"""Shape in the spectrum: preferred directions, and what lead times have in common by scale."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import fft

from skdiffuse.metrics.arrays import blocks, check_ndim, check_whole, frames_with_next
from skdiffuse.metrics.by_name import samples_by_name
from skdiffuse.metrics.spectra import PowerSpectrum, _folded, _rings
from skdiffuse.metrics.weights import weighted_sum


class Anisotropy(NamedTuple):
    """Elongation of rain patterns.

    Attributes
    ----------
    ratio : float
        Length over width of the typical pattern; 1 where no direction is preferred.
    orientation : float
        Direction of the long axis in degrees from the x axis towards increasing rows, in
        [0, 180); of no meaning where the ratio is near 1.
    """

    ratio: float
    orientation: float


@samples_by_name()
def anisotropy(X: Any, *, weights: Any = None) -> Anisotropy:
    """Measure how elongated rain patterns are, and along which direction.

    From the tensor of inertia of the power spectrum, ``M = sum P(f) f f^T / sum P(f)`` over modes
    up to half the Nyquist frequency without the mean: patterns are long where frequencies are
    low, so the ratio is the root of the ratio of the eigenvalues of M and the long axis its
    eigenvector of the smaller one (Weger et al. 1992, JGR 97, for such tensors of cloud fields).

    Parameters
    ----------
    X : array-like of shape (..., y, x)
        Rain rate in mm/h on square cells. Frames with missing values are left out.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> from skdiffuse.metrics import anisotropy
    >>> noise = np.random.default_rng(0).normal(size=(50, 32, 32))
    >>> bands = gaussian_filter(noise, (0, 2, 6), mode="wrap")
    >>> a = anisotropy(bands)
    >>> 2.0 < a.ratio < 4.0, bool(min(a.orientation, 180 - a.orientation) < 5)
    (True, True)
    """
    check_ndim(X, 2, "X")
    ny, nx = np.shape(X)[-2:]

    def power(part: Any) -> np.ndarray:
        P, count = np.zeros((ny, nx)), 0
        for block in blocks(part, item_ndim=2):
            for frame in block.reshape(-1, ny, nx):
                if not np.isnan(frame).any():
                    P += np.abs(fft.fft2(frame.astype(np.float64))) ** 2
                    count += 1
        return np.append(P, count)

    *powers, count = weighted_sum(power, X, weights, item_ndim=2)
    P = np.reshape(powers, (ny, nx))
    if count == 0:
        raise ValueError("X has no frame without missing values: crop to a valid region.")
    fy, fx = np.meshgrid(fft.fftfreq(ny), fft.fftfreq(nx), indexing="ij")
    P = np.where((np.hypot(fy, fx) <= 0.25) & (np.hypot(fy, fx) > 0), P, 0.0)
    if not P.sum() > 0:
        return Anisotropy(float("nan"), float("nan"))
    xx, yy, xy = ((P * u * v).sum() / P.sum() for u, v in ((fx, fx), (fy, fy), (fx, fy)))
    values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
    if values[0] <= 0:
        return Anisotropy(float("inf"), float(np.degrees(np.arctan2(*vectors[::-1, 0])) % 180))
    return Anisotropy(
        float(np.sqrt(values[1] / values[0])),
        float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])) % 180),
    )


@samples_by_name(axes=("time", "y", "x"))
def coherence(X: Any, lag: int = 1, *, weights: Any = None) -> PowerSpectrum:
    """Return how far frames some steps apart agree in phase, by scale.

    ``C(k) = |sum F_t conj(F_{t+lag})| / sqrt(sum |F_t|^2 sum |F_{t+lag}|^2)``, the modulus of the
    cross-spectrum over the geometric mean of the spectra; sums run over the modes of ring k, the
    modulus is taken for each pair of modes over all pairs of frames first. 1 where patterns of
    this scale persist (or all move alike), about ``1/sqrt(pairs)`` where they are forgotten.

    Parameters
    ----------
    X : array-like of shape (..., time, y, x)
        Rain rate in mm/h. Pairs with missing values are left out.
    lag : int, default=1
        Frames between the two.
    weights : array-like of shape (n,), default=None
        What each sequence (entry of the first dimension) counts; by default the coordinate
        ``weight`` of a DataArray that carries one, and else all alike.

    Returns
    -------
    PowerSpectrum
        ``k, P`` with the coherence in [0, 1] as P; NaN where there is no power.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import coherence
    >>> still = np.random.default_rng(0).gamma(1.0, size=(1, 8, 8)) * np.ones((5, 1, 1))
    >>> bool(np.allclose(coherence(still).P, 1))
    True
    """
    check_ndim(X, 3, "X")
    lag = check_whole(lag, "lag")
    T, ny, nx = np.shape(X)[-3:]
    if not 1 <= lag < T:
        raise ValueError(f"lag must lie between 1 and {T - 1}; got {lag}.")

    def spectra(part: Any) -> np.ndarray:
        """Cross-spectrum and both spectra, and the number of pairs in each of their modes."""
        sums = np.zeros((4, ny, nx // 2 + 1), dtype=complex)
        for stretches, beginning in frames_with_next(part, lag):
            for S in stretches:
                F = fft.rfft2(S.astype(np.float64))
                for t in range(min(beginning, len(S) - lag)):
                    a, b = F[t], F[t + lag]
                    if np.isfinite(a[0, 0]) and np.isfinite(b[0, 0]):
                        sums[0] += a * np.conj(b)
                        sums[1] += np.abs(a) ** 2
                        sums[2] += np.abs(b) ** 2
                        sums[3] += 1
        return sums

    cross, first, second, pairs = weighted_sum(spectra, X, weights, item_ndim=3)
    if not pairs.any():
        raise ValueError("X has no pair of frames without missing values.")
    rings = _rings(ny, nx)
    together, one, other = (
        rings @ _folded(p).ravel() for p in (np.abs(cross), first.real, second.real)
    )
    with np.errstate(invalid="ignore"):
        return PowerSpectrum(np.arange(len(one)), together / np.sqrt(one * other))
