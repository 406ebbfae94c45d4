"""Synthetic rain whose law is known exactly.

A stationary Gaussian field g with a stated spectrum, advection and lifetime by scale is turned
into rain cell by cell, R = Q(Phi(g)), where Q is the quantile function of a marginal with an
atom at zero and a heavy tail. Every second-order property of R follows from that of g through
the Hermite expansion of Q(Phi(.)), so that it can be computed instead of estimated.

Sources: spectral AR(1) per wave number, as in STEPS (Seed 2003, J. Appl. Meteorol. 42); wet
marginal: the extended generalised Pareto distribution of Naveau et al. (2016, Water Resour.
Res. 52, eq. 7, G(v) = v^kappa); covariance of a transformed Gaussian field: e.g. Papalexiou
(2018, Adv. Water Resour. 115).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft, special

_HERMITE_TERMS = 256


@dataclass(frozen=True)
class PrecipitationLaw:
    """The law of synthetic rain, to draw from and to compare with.

    Lengths are in cells and durations in time steps.

    Parameters
    ----------
    shape : (int, int), default=(64, 64)
        Cells in y and x.
    wet_fraction : float, default=0.2
        Probability of rain in a cell.
    wet_mean : float, default=1.0
        Mean of the rain where it rains, mm/h.
    kappa : float, default=0.6
        Exponent of light rain: the distribution of wet values starts as r^kappa.
    tail_index : float, default=0.12
        Shape of the generalised Pareto tail, in [0, 0.5); 0 is an exponential tail.
    correlation_length : float, default=10.0
        Scale L of the latent spectrum, proportional to (1 + (k L)^2)^(-slope / 2).
    slope : float, default=3.5
        Slope of the two-dimensional spectral density at small scales.
    lifetime : float, default=8.0
        Correlation time of the largest scales; scale k lives (1 + (k L)^2)^(-1/2) of it.
    advection : (float, float), default=(0.5, 2.0)
        Displacement in y and x from one frame to the next.
    periodic : bool, default=False
        Whether fields repeat at their edges. Otherwise they are cut from a torus that is
        larger by at least four correlation lengths.

    Examples
    --------
    >>> law = PrecipitationLaw(wet_fraction=0.25)
    >>> float(law.quantile(0.75)), round(float(law.mean), 3)
    (0.0, 0.25)
    """

    shape: tuple[int, int] = (64, 64)
    wet_fraction: float = 0.2
    wet_mean: float = 1.0
    kappa: float = 0.6
    tail_index: float = 0.12
    correlation_length: float = 10.0
    slope: float = 3.5
    lifetime: float = 8.0
    advection: tuple[float, float] = (0.5, 2.0)
    periodic: bool = False

    def __post_init__(self) -> None:
        # Lists come from configuration files, and shapes are compared as tuples.
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "advection", tuple(self.advection))
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ValueError(f"shape must be two positive numbers of cells; got {self.shape!r}.")
        if not 0 < self.wet_fraction <= 1:
            raise ValueError(f"wet_fraction must be in (0, 1]; got {self.wet_fraction!r}.")
        if not 0 <= self.tail_index < 0.5:
            raise ValueError(
                "tail_index must be in [0, 0.5), where the variance is finite; got "
                f"{self.tail_index!r}."
            )
        for name in ("wet_mean", "kappa", "correlation_length", "slope", "lifetime"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive; got {getattr(self, name)!r}.")

    # Marginal ---------------------------------------------------------------------------------

    @cached_property
    def scale(self) -> float:
        """Scale sigma of the wet marginal, mm/h, from its mean."""
        xi, kappa = self.tail_index, self.kappa
        if xi == 0:
            return self.wet_mean / (special.digamma(kappa + 1) + np.euler_gamma)
        return self.wet_mean * xi / (kappa * special.beta(kappa, 1 - xi) - 1)

    def _wet_quantile(self, log_survival: np.ndarray) -> np.ndarray:
        """Rain exceeded with probability exp(log_survival) given that it rains."""
        with np.errstate(divide="ignore"):
            tail = -np.expm1(np.log1p(-np.exp(log_survival)) / self.kappa)
            log_tail = np.log(tail)
        if self.tail_index == 0:
            return -self.scale * log_tail
        return self.scale / self.tail_index * np.expm1(-self.tail_index * log_tail)

    def quantile(self, q: np.ndarray | float) -> np.ndarray:
        """Rain in mm/h that is not exceeded with probability ``q`` in [0, 1)."""
        exceed = 1.0 - np.asarray(q, dtype=np.float64)
        wet = exceed < self.wet_fraction
        share = np.where(wet, exceed, self.wet_fraction) / self.wet_fraction
        with np.errstate(divide="ignore"):
            return np.where(wet, self._wet_quantile(np.log(share)), 0.0)

    def cdf(self, rate: np.ndarray | float) -> np.ndarray:
        """Probability that rain does not exceed ``rate`` mm/h."""
        rate = np.asarray(rate, dtype=np.float64)
        scaled = np.maximum(rate, 0) / self.scale
        log_tail = (
            -scaled
            if self.tail_index == 0
            else -np.log1p(self.tail_index * scaled) / self.tail_index
        )
        wet = (-np.expm1(log_tail)) ** self.kappa
        return np.where(rate < 0, 0.0, 1 - self.wet_fraction * (1 - wet))

    @property
    def mean(self) -> float:
        """Mean rain, mm/h."""
        return self.wet_fraction * self.wet_mean

    @cached_property
    def variance(self) -> float:
        """Variance of the rain in a cell, (mm/h)^2."""
        nodes, weights = self._latent_quadrature
        rain = self.from_latent(nodes)
        return float(np.sum(weights * rain**2) - self.mean**2)

    def from_latent(
        self, latent: np.ndarray, wet_fraction: np.ndarray | float | None = None
    ) -> np.ndarray:
        """Rain that a standard normal value stands for: Q(Phi(g)), in mm/h.

        Parameters
        ----------
        latent : ndarray
        wet_fraction : array-like, optional
            Instead of the law's, where it varies; broadcast against ``latent``.
        """
        if wet_fraction is None:
            wet_fraction = self.wet_fraction
        rain = np.zeros_like(latent)
        wet = latent > -special.ndtri(wet_fraction)
        log_exceed = special.log_ndtr(-latent[wet].astype(np.float64))
        log_wet = np.log(wet_fraction)
        if np.ndim(log_wet):
            log_wet = np.broadcast_to(log_wet, latent.shape)[wet]
        # At the threshold itself rounding could make the share exceed one.
        rain[wet] = self._wet_quantile(np.minimum(log_exceed - log_wet, -1e-300))
        return rain

    # Latent field -----------------------------------------------------------------------------

    @cached_property
    def torus(self) -> tuple[int, int]:
        """Size of the periodic domain that is simulated."""
        if self.periodic:
            return self.shape
        margin = int(np.ceil(4 * self.correlation_length))
        return tuple(fft.next_fast_len(n + margin, real=True) for n in self.shape)

    @cached_property
    def _wave_numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Angular wave numbers in y and x, for the half plane of rfft2."""
        ny, nx = self.torus
        ky = 2 * np.pi * np.fft.fftfreq(ny)[:, None]
        kx = 2 * np.pi * np.fft.rfftfreq(nx)[None, :]
        return ky, kx

    @cached_property
    def _spectrum(self) -> np.ndarray:
        """Variance of the latent field per wave of rfft2; over the full plane it sums to 1."""
        ky, kx = self._wave_numbers
        power = (1 + (ky**2 + kx**2) * self.correlation_length**2) ** (-self.slope / 2)
        return power / np.sum(power * self._multiplicity)

    @cached_property
    def _multiplicity(self) -> np.ndarray:
        """How many waves of the full plane each entry of rfft2 stands for."""
        nx = self.torus[1]
        double = np.full(nx // 2 + 1, 2.0)
        double[0] = 1.0
        if nx % 2 == 0:
            double[-1] = 1.0
        return np.broadcast_to(double, (self.torus[0], nx // 2 + 1))

    @cached_property
    def _propagator(self) -> np.ndarray:
        """Complex factor by which each wave goes over to the next frame."""
        ky, kx = self._wave_numbers
        scale = np.sqrt(1 + (ky**2 + kx**2) * self.correlation_length**2)
        # A wave at the Nyquist frequency of a real field cannot move.
        ky = np.where(np.isclose(np.abs(ky), np.pi), 0.0, ky)
        kx = np.where(np.isclose(np.abs(kx), np.pi), 0.0, kx)
        phase = ky * self.advection[0] + kx * self.advection[1]
        return np.exp(-scale / self.lifetime - 1j * phase)

    def latent_correlation(self, lag: int = 0) -> np.ndarray:
        """Correlation of g at frame t with g at t + ``lag`` and every displacement.

        Returns
        -------
        ndarray of shape ``torus``
            Entry (i, j) is for a displacement of i cells in y and j in x, modulo the torus.
        """
        transfer = self._spectrum * self._propagator ** abs(lag)
        correlation = fft.irfft2(transfer, s=self.torus) * np.prod(self.torus)
        if lag < 0:
            correlation = np.roll(correlation[::-1, ::-1], (1, 1), (0, 1))
        return np.clip(correlation, -1.0, 1.0)

    def draw_latent(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield frames of g one after the other, without end, from an exactly stationary start.

        Yields
        ------
        ndarray of shape ``shape``, float32
        """
        ny, nx = self.shape
        amplitude = np.sqrt(self._spectrum * np.prod(self.torus)).astype(np.float32)
        propagate = self._propagator.astype(np.complex64)
        innovate = amplitude * np.sqrt(-np.expm1(2 * np.log(np.abs(self._propagator)))).astype(
            np.float32
        )
        state = amplitude * self._white_waves(rng)
        while True:
            latent = fft.irfft2(state, s=self.torus, norm="ortho")
            yield latent[:ny, :nx]
            state = propagate * state + innovate * self._white_waves(rng)

    def _white_waves(self, rng: np.random.Generator) -> np.ndarray:
        return fft.rfft2(rng.standard_normal(self.torus, dtype=np.float32), norm="ortho")

    # Second-order properties of the rain ------------------------------------------------------

    @cached_property
    def _latent_quadrature(self) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Legendre nodes on the wet half line with standard normal weights."""
        x, w = np.polynomial.legendre.leggauss(24)
        start = max(float(-special.ndtri(self.wet_fraction)), -12.0)
        # The integrand of the variance decays as exp(-(1 - 2 xi) g^2 / 2).
        end = start + 12 / np.sqrt(1 - 2 * self.tail_index)
        edges = np.linspace(0, 1, 401) ** 2 * (end - start) + start
        half = np.diff(edges)[:, None] / 2
        nodes = (edges[:-1, None] + half) + half * x
        weights = half * w * np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
        return nodes.ravel(), weights.ravel()

    @cached_property
    def _hermite_powers(self) -> np.ndarray:
        """Squared coefficients of R = Q(Phi(g)) in normalised Hermite polynomials, from order 1."""
        nodes, weights = self._latent_quadrature
        rain = self.from_latent(nodes)
        # Hermite functions, not polynomials: the latter overflow in the tail.
        envelope = np.exp(-(nodes**2) / 4)
        weighted = weights * rain / envelope
        previous, current = envelope, nodes * envelope
        powers = np.empty(_HERMITE_TERMS)
        for n in range(1, _HERMITE_TERMS + 1):
            powers[n - 1] = np.sum(weighted * current) ** 2
            previous, current = (
                current,
                (nodes * current - np.sqrt(n) * previous) / np.sqrt(n + 1),
            )
        return powers

    def covariance_of(self, latent_correlation: np.ndarray) -> np.ndarray:
        """Covariance of the rain in two cells whose latent values have the given correlation."""
        powers = self._hermite_powers
        # The few per mille of variance in higher orders go to the first one left out.
        powers = np.append(powers, max(self.variance - powers.sum(), 0.0))
        return np.polynomial.polynomial.polyval(latent_correlation, np.concatenate([[0.0], powers]))

    def autocorrelation(self, lags: np.ndarray) -> np.ndarray:
        """Correlation of the rain in a cell with itself ``lags`` frames later."""
        latent = [self.latent_correlation(int(lag))[0, 0] for lag in np.asarray(lags)]
        return self.covariance_of(np.array(latent)) / self.variance

    def power_spectrum(self) -> np.ndarray:
        """Expected periodogram of a frame, ``|fft2(R)|^2 / (n_y n_x)^2``.

        Returns
        -------
        ndarray of shape ``shape``
            In the order of ``numpy.fft.fft2``; its sum is the mean of R^2 (Parseval). For
            fields that are not periodic the leakage at their edges is included.
        """
        ny, nx = self.shape
        covariance = self.covariance_of(self.latent_correlation())
        folded = covariance if self.periodic else _fold(_fold(covariance, ny, 0), nx, 1)
        spectrum = fft.fft2(folded).real / (ny * nx)
        spectrum[0, 0] += self.mean**2
        return spectrum


def _fold(covariance: np.ndarray, n: int, axis: int) -> np.ndarray:
    """Covariance by lag of n cells cut from a larger torus, as the periodogram of n cells sees it.

    Lag r occurs n - |r| times among n cells, and lags r and r - n look the same to the FFT.
    """
    lags = np.arange(n)
    weight = (n - lags) / n
    shape = [-1 if a == axis else 1 for a in range(covariance.ndim)]
    forward = np.take(covariance, lags, axis) * weight.reshape(shape)
    backward = np.take(covariance, lags - n, axis) * (1 - weight).reshape(shape)
    return forward + backward
