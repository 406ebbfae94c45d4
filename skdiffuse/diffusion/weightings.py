"""Weightings w(log_snr) of the likelihood bound (Kingma and Gao 2023, table 1).

An objective with a weighting that does not increase in the log-SNR is the ELBO of data with noise
added (their theorem 1); `Weighting.monotone` says which do. Constant factors are as in the table.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from skdiffuse.diffusion.schedules import NoiseSchedule

__all__ = [
    "Weighting",
    "edm_weighting",
    "elbo_weighting",
    "eps_weighting",
    "min_snr_weighting",
    "sigmoid_weighting",
    "v_weighting",
]


class Weighting:
    """A weighting of the likelihood bound.

    Parameters
    ----------
    function : callable
        ``log_snr -> w``, float64 to float64.
    name : str
        Shown by ``repr``.
    monotone : bool
        Whether w is nowhere increasing in the log-SNR.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], name: str, monotone: bool):
        self._function = function
        self.name = name
        self.monotone = monotone

    def __call__(self, log_snr: Tensor | float) -> Tensor:
        return self._function(torch.as_tensor(log_snr, dtype=torch.float64))

    def __repr__(self) -> str:
        return f"Weighting({self.name!r}, monotone={self.monotone})"


def elbo_weighting() -> Weighting:
    """Return w = 1: the likelihood bound itself (Kingma et al. 2021).

    Examples
    --------
    >>> elbo_weighting()
    Weighting('elbo', monotone=True)
    """
    return Weighting(torch.ones_like, "elbo", True)


def eps_weighting(schedule: NoiseSchedule) -> Weighting:
    """Return w = p: the plain squared error of eps for log-SNRs of a schedule (Ho et al. 2020).

    Also called "simple". For the cosine schedule w is ``sech(log_snr / 2)`` times a constant.
    """
    return Weighting(schedule.density, "eps", _decreases(schedule.density, schedule))


def v_weighting(schedule: NoiseSchedule) -> Weighting:
    """Return w = p (1 + exp(-log_snr)): the plain squared error of v for log-SNRs of a schedule.

    For the cosine schedule ``exp(-log_snr / 2) / (pi (t1 - t0))``, decreasing. (The dissertation's
    eq. 2.89 has another factor: its loss has no 1/2, for which w is twice this.)
    """

    def weight(log_snr: Tensor) -> Tensor:
        return schedule.density(log_snr) * (1 + torch.exp(-log_snr))

    return Weighting(weight, "v", _decreases(weight, schedule))


def min_snr_weighting(schedule: NoiseSchedule, gamma: float = 5.0) -> Weighting:
    """Return w = p min(1, gamma / SNR) (Hang et al. 2023): SNR clipped at gamma in the error of x.

    Parameters
    ----------
    schedule : NoiseSchedule
        Schedule of the training it was defined with.
    gamma : float
        Largest weight of the squared error of x.
    """

    def weight(log_snr: Tensor) -> Tensor:
        return schedule.density(log_snr) * (gamma * torch.exp(-log_snr)).clamp(max=1)

    return Weighting(weight, "min-SNR", _decreases(weight, schedule))


def sigmoid_weighting(bias: float = 2.0) -> Weighting:
    """Return w = sigmoid(bias - log_snr) (Kingma and Gao 2023; bias 2 is theirs for images).

    Parameters
    ----------
    bias : float
        Log-SNR at which w has fallen to 1/2.
    """
    return Weighting(lambda log_snr: torch.sigmoid(bias - log_snr), "sigmoid", True)


def edm_weighting(data_std: float = 0.5) -> Weighting:
    """Return w = N(log_snr; 2.4, 2.4^2) (exp(-log_snr) + s^2) (Karras et al. 2022).

    Not monotone. Up to the constant ``2 / s^2``, the objective of EDM.

    Parameters
    ----------
    data_std : float
        The s of the formula, the standard deviation of the data.
    """

    def weight(log_snr: Tensor) -> Tensor:
        density = torch.exp(-0.5 * ((log_snr - 2.4) / 2.4) ** 2) / (math.sqrt(2 * math.pi) * 2.4)
        return density * (torch.exp(-log_snr) + data_std**2)

    return Weighting(weight, "edm", False)


def _decreases(function: Callable[[Tensor], Tensor], schedule: NoiseSchedule) -> bool:
    log_snr = torch.linspace(schedule.log_snr_min, schedule.log_snr_max, 2001, dtype=torch.float64)
    values = function(log_snr)
    return bool((values.diff() <= 1e-12 * values.max()).all())
