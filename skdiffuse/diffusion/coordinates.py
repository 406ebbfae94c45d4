"""Coordinates of the log-SNR axis: what a sampling grid is uniform in and a solver polynomial in.

A coordinate is a strictly increasing function of the log-SNR with its inverse. In the angle, a
solver is most accurate for data of unit variance in every direction. Correlated data are far from
it: sequences of rain have eigenvalues of their covariance from 1e-4 to 1e4, and the direction with
variance s is decided at log-SNR ``-log s``; `TaperedLogSNR` resolves that whole range.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["Angle", "Coordinate", "EDMSigma", "LogSNR", "TaperedLogSNR"]


class Coordinate(ABC):
    """A strictly increasing function of the log-SNR."""

    @abstractmethod
    def __call__(self, log_snr: Tensor) -> Tensor:
        """Coordinate of a log-SNR, in float64."""

    @abstractmethod
    def inverse(self, value: Tensor) -> Tensor:
        """Log-SNR of a coordinate, in float64."""

    def grid(self, n_steps: int, log_snr_min: float, log_snr_max: float) -> Tensor:
        """Return n_steps + 1 log-SNRs from log_snr_min to log_snr_max, uniform in the coordinate.

        Parameters
        ----------
        n_steps : int
            Number of steps.
        log_snr_min, log_snr_max : float
            Ends of the grid.

        Returns
        -------
        Tensor of float64, shape (n_steps + 1,)
            Strictly increasing.
        """
        if n_steps < 1:
            raise ValueError(f"n_steps must be at least 1, got {n_steps}.")
        if not log_snr_min < log_snr_max:
            raise ValueError(
                f"log_snr_min must be below log_snr_max, got {log_snr_min} and {log_snr_max}."
            )
        ends = torch.tensor([log_snr_min, log_snr_max], dtype=torch.float64)
        first, last = self(ends)
        u = torch.arange(n_steps + 1, dtype=torch.float64) / n_steps
        grid = self.inverse(first + (last - first) * u)
        grid[0], grid[-1] = ends
        return grid


@dataclass(frozen=True)
class LogSNR(Coordinate):
    """The log-SNR itself.

    Examples
    --------
    >>> LogSNR().grid(2, -20.0, 20.0)
    tensor([-20.,   0.,  20.], dtype=torch.float64)
    """

    def __call__(self, log_snr: Tensor) -> Tensor:
        return log_snr

    def inverse(self, value: Tensor) -> Tensor:
        return value


@dataclass(frozen=True)
class Angle(Coordinate):
    """The angle ``pi/4 - atan(sigma / alpha)``, in which the cosine schedule is uniform.

    Examples
    --------
    >>> Angle().grid(4, -20.0, 20.0)
    tensor([-20.0000,  -1.7626,   0.0000,   1.7626,  20.0000], dtype=torch.float64)
    """

    def __call__(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.tanh(log_snr / 4))

    def inverse(self, value: Tensor) -> Tensor:
        return 4 * torch.atanh(torch.tan(value))


@dataclass(frozen=True)
class EDMSigma(Coordinate):
    """``-(sigma / alpha)^(1 / rho)`` (Karras et al. 2022, eq. 5).

    Parameters
    ----------
    rho : float
        Exponent; larger puts more points at high log-SNR.
    """

    rho: float = 7.0

    def __call__(self, log_snr: Tensor) -> Tensor:
        return -torch.exp(-log_snr / (2 * self.rho))

    def inverse(self, value: Tensor) -> Tensor:
        return -2 * self.rho * torch.log(-value)


@dataclass(frozen=True)
class TaperedLogSNR(Coordinate):
    r"""Log-SNR between two ends, fading into an exponential outside them.

    .. math:: q(\lambda) = 2\,\mathrm{softplus}\!\left(\frac{\lambda - c + L}{2}\right)
              - 2\,\mathrm{softplus}\!\left(\frac{\lambda - c - L}{2}\right), \quad
              q' = \mathrm{sigmoid}\!\left(\frac{\lambda - c + L}{2}\right)
              - \mathrm{sigmoid}\!\left(\frac{\lambda - c - L}{2}\right)

    The slope is 1 for log-SNRs within L of c and falls as ``exp(-|lambda - c| / 2)`` beyond, like
    that of the angle. The posterior mean of a Gaussian depends on the log-SNR and the variance s
    of a direction through ``log_snr + log s`` alone, so a constant slope serves every s in
    ``[exp(-c - L), exp(-c + L)]`` alike; outside the range it is a polynomial in alpha / sigma (or
    its inverse), for which the exponential tail is right.

    Parameters
    ----------
    half_width : float
        L; the default spans the eigenvalues of the covariance of unit-variance sequences of rain.
    centre : float
        The c of the formula.

    Examples
    --------
    >>> TaperedLogSNR().grid(4, -20.0, 20.0)
    tensor([-20.0000,  -5.7105,  -0.9957,   3.7200,  20.0000], dtype=torch.float64)
    """

    half_width: float = 9.0
    centre: float = -1.0

    def __post_init__(self) -> None:
        if not self.half_width > 0:
            raise ValueError(f"half_width must be positive, got {self.half_width}.")

    def __call__(self, log_snr: Tensor) -> Tensor:
        x = log_snr - self.centre
        left, right = x + self.half_width, x - self.half_width
        return 2 * (logsigmoid(-right / 2) - logsigmoid(-left / 2))

    def inverse(self, value: Tensor) -> Tensor:
        # e^(x/2) = (e^(q/2) - 1) / (e^(L/2) - e^(q/2 - L/2))
        rest = self.half_width - value / 2
        x = 2 * (torch.log(torch.expm1(value / 2)) - torch.log(-torch.expm1(-rest)))
        return self.centre - self.half_width + x


COORDINATES = {
    "log_snr": LogSNR,
    "angle": Angle,
    "edm": EDMSigma,
    "tapered": TaperedLogSNR,
}


def as_coordinate(coordinate: Coordinate | str, name: str) -> Coordinate:
    """Coordinate given by itself or by name."""
    if isinstance(coordinate, Coordinate):
        return coordinate
    if coordinate not in COORDINATES:
        raise ValueError(
            f"{name} must be a Coordinate or one of {tuple(COORDINATES)}, got {coordinate!r}."
        )
    return COORDINATES[coordinate]()
