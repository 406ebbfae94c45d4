"""Noise schedules in continuous log-SNR.

A schedule is a strictly decreasing map from time ``t in [0, 1]`` to the log-SNR, from
``log_snr_max`` (data) at 0 to ``log_snr_min`` (noise) at 1. Its inverse is the survival function of
the log-SNR drawn in training, so the training density is ``p(log_snr) = -dt/dlog_snr``. A schedule
for training and another for sampling may be combined freely: networks and denoisers see log-SNRs
only.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from skdiffuse.diffusion.coordinates import Coordinate, as_coordinate
from skdiffuse.diffusion.parameterizations import alpha, sigma

__all__ = [
    "SPACINGS",
    "LinearLogSNRSchedule",
    "NoiseSchedule",
    "ShiftedCosineSchedule",
    "TruncatedCosineSchedule",
    "sampling_grid",
]


class NoiseSchedule(ABC):
    """Interface of a schedule; see the module's docstring.

    Subclasses give `log_snr`, its inverse and `density`; everything else follows from these.

    Parameters
    ----------
    log_snr_min, log_snr_max : float
        Log-SNR at t = 1 and at t = 0.
    """

    def __init__(self, log_snr_min: float = -20.0, log_snr_max: float = 20.0):
        if not log_snr_min < log_snr_max:
            raise ValueError(
                f"log_snr_min must be below log_snr_max, got {log_snr_min} and {log_snr_max}."
            )
        self.log_snr_min = float(log_snr_min)
        self.log_snr_max = float(log_snr_max)

    @abstractmethod
    def log_snr(self, t: Tensor | float) -> Tensor:
        """Log-SNR at time t in [0, 1], in float64."""

    @abstractmethod
    def _time(self, log_snr: Tensor) -> Tensor:
        """`time` before rounding into [0, 1]."""

    @abstractmethod
    def density(self, log_snr: Tensor | float) -> Tensor:
        """Density of the log-SNR for uniform time, ``-dt/dlog_snr``, in float64."""

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR, the inverse of `log_snr`, in float64; 0 or 1 beyond the ends."""
        return self._time(float64(log_snr)).clamp(0, 1)

    def alpha(self, t: Tensor | float) -> Tensor:
        """Amplitude of the signal at time t."""
        return alpha(self.log_snr(t))

    def sigma(self, t: Tensor | float) -> Tensor:
        """Standard deviation of the noise at time t."""
        return sigma(self.log_snr(t))

    def g2(self, t: Tensor | float) -> Tensor:
        """Squared diffusion coefficient of the forward SDE, ``-sigma^2 dlog_snr/dt``.

        The SDE ``dz = f z dt + g dW``, f given by `drift`, has the marginals of the schedule
        (Kingma and Gao 2023, appendix A; Song et al. 2021, eq. 11).
        """
        log_snr = self.log_snr(t)
        return sigma(log_snr) ** 2 / self.density(log_snr)

    def drift(self, t: Tensor | float) -> Tensor:
        """Coefficient f of the drift ``f z`` of the forward SDE, ``-g^2 / 2``."""
        return -0.5 * self.g2(t)

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n log-SNRs for training, stratified in time.

        One time is drawn in each of n equal strata and the draws are shuffled, so that every draw
        is marginally distributed as `density` and the batch mean of a loss has less variance than
        with independent times.

        Parameters
        ----------
        n : int
            Number of samples in the batch.
        generator : torch.Generator
            Source of randomness, on the CPU.

        Returns
        -------
        Tensor of float64, shape (n,)
        """
        within = torch.rand(n, generator=generator, dtype=torch.float64)
        stratum = torch.randperm(n, generator=generator)
        return self.log_snr((stratum + within) / n)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(log_snr_min={self.log_snr_min}, log_snr_max={self.log_snr_max})"
        )


class TruncatedCosineSchedule(NoiseSchedule):
    """Cosine schedule, ``alpha = cos(pi u / 2)``, truncated to a range of log-SNRs.

    Time runs over ``u in [t0, t1]``, a sub-interval of [0, 1] chosen so that the log-SNR runs over
    exactly [log_snr_min, log_snr_max] (Nichol and Dhariwal 2021, eq. 17, without offset; truncated
    as in Kingma and Gao 2023, appendix D). Uniform time is uniform angle ``atan(sigma / alpha)``.

    Parameters
    ----------
    log_snr_min, log_snr_max : float
        Log-SNR at t = 1 and at t = 0.

    Notes
    -----
    The usual form ``-2 log tan(pi u / 2)`` loses the log-SNR as t -> 1. Here the complement of u,
    ``ubar = 1 - u``, is formed from 1 - t, and
    ``log_snr = 2 [log sin(pi ubar / 2) - log sin(pi u / 2)]`` is exact at both ends.

    Examples
    --------
    >>> schedule = TruncatedCosineSchedule(-20.0, 20.0)
    >>> schedule.log_snr(torch.tensor([0.0, 0.5, 1.0]))
    tensor([ 20.,   0., -20.], dtype=torch.float64)
    >>> schedule.time(0.0)
    tensor(0.5000, dtype=torch.float64)
    """

    def __init__(self, log_snr_min: float = -20.0, log_snr_max: float = 20.0):
        super().__init__(log_snr_min, log_snr_max)
        self._t0 = 2 / math.pi * math.atan(math.exp(-self.log_snr_max / 2))
        self._one_minus_t1 = 2 / math.pi * math.atan(math.exp(self.log_snr_min / 2))
        self._span = 1 - self._t0 - self._one_minus_t1

    def log_snr(self, t: Tensor | float) -> Tensor:
        t = checked_time(t)
        u = self._t0 + self._span * t
        complement = self._one_minus_t1 + self._span * (1 - t)
        half_pi = math.pi / 2
        return 2 * (torch.log(torch.sin(half_pi * complement)) - torch.log(torch.sin(half_pi * u)))

    def _time(self, log_snr: Tensor) -> Tensor:
        u = 2 / math.pi * torch.atan(torch.exp(-0.5 * log_snr))
        return (u - self._t0) / self._span

    def density(self, log_snr: Tensor | float) -> Tensor:
        return 1 / (2 * math.pi * self._span * torch.cosh(0.5 * float64(log_snr)))


class ShiftedCosineSchedule(NoiseSchedule):
    """Truncated cosine schedule with all log-SNRs shifted (Hoogeboom et al. 2023, eq. 3).

    Larger fields average more noise away at a given scale, and data of small variance are lost in
    less noise; shifting the log-SNR restores the effective signal-to-noise ratio.

    Parameters
    ----------
    shift : float
        Added to the log-SNR of the cosine schedule.
    log_snr_min, log_snr_max : float
        Log-SNR at t = 1 and at t = 0, after the shift.

    Examples
    --------
    >>> ShiftedCosineSchedule.for_resolution(128, reference=64).log_snr(0.5)
    tensor(-1.3862, dtype=torch.float64)
    """

    def __init__(self, shift: float, log_snr_min: float = -20.0, log_snr_max: float = 20.0):
        super().__init__(log_snr_min, log_snr_max)
        self.shift = float(shift)
        self._cosine = TruncatedCosineSchedule(log_snr_min - shift, log_snr_max - shift)

    @classmethod
    def for_resolution(
        cls, n_cells: int, reference: int = 64, **limits: float
    ) -> "ShiftedCosineSchedule":
        """Schedule for fields n_cells wide that matches a cosine for fields `reference` wide.

        The shift is ``2 log(reference / n_cells)``.
        """
        return cls(2 * math.log(reference / n_cells), **limits)

    @classmethod
    def for_data_variance(cls, variance: float, **limits: float) -> "ShiftedCosineSchedule":
        """Schedule for data of a given variance that matches a cosine for unit variance.

        The shift is ``-log(variance)``: the effective log-SNR is ``log_snr + log(variance)``.
        """
        return cls(-math.log(variance), **limits)

    def log_snr(self, t: Tensor | float) -> Tensor:
        return self._cosine.log_snr(t) + self.shift

    def _time(self, log_snr: Tensor) -> Tensor:
        return self._cosine.time(log_snr - self.shift)

    def density(self, log_snr: Tensor | float) -> Tensor:
        return self._cosine.density(float64(log_snr) - self.shift)


class LinearLogSNRSchedule(NoiseSchedule):
    """Log-SNR linear in time, from log_snr_max down to log_snr_min (Kingma et al. 2021).

    Parameters
    ----------
    log_snr_min, log_snr_max : float
        Log-SNR at t = 1 and at t = 0.

    Examples
    --------
    >>> LinearLogSNRSchedule(-10.0, 10.0).log_snr(0.25)
    tensor(5., dtype=torch.float64)
    """

    def log_snr(self, t: Tensor | float) -> Tensor:
        t = checked_time(t)
        return self.log_snr_max * (1 - t) + self.log_snr_min * t

    def _time(self, log_snr: Tensor) -> Tensor:
        return (self.log_snr_max - log_snr) / (self.log_snr_max - self.log_snr_min)

    def density(self, log_snr: Tensor | float) -> Tensor:
        return torch.full_like(float64(log_snr), 1 / (self.log_snr_max - self.log_snr_min))


def sampling_grid(
    schedule: NoiseSchedule, n_steps: int, spacing: str | Coordinate = "tapered"
) -> Tensor:
    """Return the log-SNRs from noise to data at which a sampler evaluates the denoiser.

    Parameters
    ----------
    schedule : NoiseSchedule
        Gives the ends of the grid and, for ``spacing="time"``, the spacing.
    n_steps : int
        Number of steps; the grid has n_steps + 1 points.
    spacing : {"tapered", "angle", "log_snr", "edm", "time"} or Coordinate
        What is uniform: a coordinate of the log-SNR, by name or as an object with its own
        parameters, such as ``TaperedLogSNR(half_width=6.0)``, or the schedule's time. "tapered" is
        by far the best for data with strong correlations, as rain has.

    Returns
    -------
    Tensor of float64, shape (n_steps + 1,)
        Strictly increasing from ``schedule.log_snr_min`` to ``schedule.log_snr_max``.

    Examples
    --------
    >>> sampling_grid(TruncatedCosineSchedule(), 4, "log_snr")
    tensor([-20., -10.,   0.,  10.,  20.], dtype=torch.float64)
    >>> from skdiffuse.diffusion import SPACINGS
    >>> for spacing in SPACINGS:
    ...     middle = sampling_grid(TruncatedCosineSchedule(), 4, spacing)[1:-1]
    ...     print(f"{spacing:8}", *[f"{value:6.2f}" for value in middle.tolist()])
    tapered   -5.71  -1.00   3.72
    angle     -1.76   0.00   1.76
    log_snr  -10.00   0.00  10.00
    edm      -16.24 -11.08  -2.82
    time      -1.76   0.00   1.76
    """
    low, high = schedule.log_snr_min, schedule.log_snr_max
    if spacing != "time":
        if isinstance(spacing, str) and spacing not in SPACINGS:
            raise ValueError(f"spacing must be a Coordinate or in {SPACINGS}, got {spacing!r}.")
        return as_coordinate(spacing, "spacing").grid(n_steps, low, high)
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps}.")
    steps_left = torch.arange(n_steps, -1, -1, dtype=torch.float64)
    grid = schedule.log_snr(steps_left / n_steps)
    grid[0], grid[-1] = low, high
    return grid


SPACINGS = ("tapered", "angle", "log_snr", "edm", "time")


def checked_time(t: Tensor | float) -> Tensor:
    """Times in [0, 1] as float64."""
    t = float64(t)
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError(f"t must lie in [0, 1], got {t.min():.6g} to {t.max():.6g}.")
    return t


def float64(value: Tensor | float) -> Tensor:
    """Any number as a float64 tensor."""
    return torch.as_tensor(value, dtype=torch.float64)
