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

from skdiffuse.diffusion.parameterizations import sigma

__all__ = ["NoiseSchedule", "TruncatedCosineSchedule", "sampling_grid"]


class NoiseSchedule(ABC):
    """Interface of a schedule; see the module's docstring.

    Subclasses give `log_snr`, `time` and `density`; everything else follows from these.

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
    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR, the inverse of `log_snr`, in float64."""

    @abstractmethod
    def density(self, log_snr: Tensor | float) -> Tensor:
        """Density of the log-SNR for uniform time, ``-dt/dlog_snr``, in float64."""

    def g2(self, t: Tensor | float) -> Tensor:
        """Squared diffusion coefficient of the forward SDE, ``-sigma^2 dlog_snr/dt``.

        The SDE ``dz = drift(t) z dt + g dW`` has the marginals of the schedule
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
        t = _times(t)
        u = self._t0 + self._span * t
        complement = self._one_minus_t1 + self._span * (1 - t)
        half_pi = math.pi / 2
        return 2 * (torch.log(torch.sin(half_pi * complement)) - torch.log(torch.sin(half_pi * u)))

    def time(self, log_snr: Tensor | float) -> Tensor:
        u = 2 / math.pi * torch.atan(torch.exp(-0.5 * _float64(log_snr)))
        return (u - self._t0) / self._span

    def density(self, log_snr: Tensor | float) -> Tensor:
        return 1 / (2 * math.pi * self._span * torch.cosh(0.5 * _float64(log_snr)))


SPACINGS = ("time", "log_snr", "angle", "edm")


def sampling_grid(
    schedule: NoiseSchedule, n_steps: int, spacing: str = "angle", *, rho: float = 7.0
) -> Tensor:
    """Log-SNRs from noise to data at which a sampler evaluates the denoiser.

    Parameters
    ----------
    schedule : NoiseSchedule
        Gives the ends of the grid and, for ``spacing="time"``, the spacing.
    n_steps : int
        Number of steps; the grid has n_steps + 1 points.
    spacing : {"time", "log_snr", "angle", "edm"}
        What is uniform: the schedule's time; the log-SNR; the angle ``atan(sigma / alpha)``;
        ``(sigma / alpha)^(1 / rho)`` (Karras et al. 2022, eq. 5).
    rho : float
        Exponent of the EDM spacing.

    Returns
    -------
    Tensor of float64, shape (n_steps + 1,)
        Strictly increasing from ``schedule.log_snr_min`` to ``schedule.log_snr_max``.

    Examples
    --------
    >>> sampling_grid(TruncatedCosineSchedule(), 4, "log_snr")
    tensor([-20., -10.,   0.,  10.,  20.], dtype=torch.float64)
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps}.")
    low, high = schedule.log_snr_min, schedule.log_snr_max
    u = torch.arange(n_steps + 1, dtype=torch.float64) / n_steps
    match spacing:
        case "time":
            grid = schedule.log_snr(1 - u)
        case "log_snr":
            grid = low + (high - low) * u
        case "angle":
            grid = TruncatedCosineSchedule(low, high).log_snr(1 - u)
        case "edm":
            noisiest, cleanest = math.exp(-0.5 * low / rho), math.exp(-0.5 * high / rho)
            grid = -2 * rho * torch.log(noisiest + (cleanest - noisiest) * u)
        case _:
            raise ValueError(f"spacing must be one of {SPACINGS}, got {spacing!r}.")
    grid[0], grid[-1] = low, high
    return grid


def _times(t: Tensor | float) -> Tensor:
    t = _float64(t)
    if ((t < 0) | (t > 1)).any():
        raise ValueError(f"t must lie in [0, 1], got {t.min():.6g} to {t.max():.6g}.")
    return t


def _float64(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)
