"""Schedules of the literature given by betas or sigmas rather than by the log-SNR."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skdiffuse.diffusion.schedules import NoiseSchedule, checked_time, float64

__all__ = [
    "DiscreteBetaSchedule",
    "EDMSigmaSchedule",
    "EDMTrainingSchedule",
    "LinearBetaSchedule",
    "VarianceExplodingSchedule",
]


class LinearBetaSchedule(NoiseSchedule):
    """Continuous limit of DDPM's linear betas (Song et al. 2021, eq. 32).

    ``alpha^2 = exp(-b)``, ``b(u) = beta_min u + (beta_max - beta_min) u^2 / 2``. The log-SNR is
    infinite at u = 0, so time runs over ``u in [u0, 1]`` with u0 at log_snr_max.

    Parameters
    ----------
    beta_min, beta_max : float
        Rate of the forward SDE at u = 0 and 1; 0.1 and 20 are T times the betas of DDPM.
    log_snr_max : float
        Log-SNR at t = 0.

    Examples
    --------
    >>> schedule = LinearBetaSchedule()
    >>> f"{schedule.log_snr_min:.4f}", schedule.log_snr(1.0)
    ('-10.0500', tensor(-10.0500, dtype=torch.float64))
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0, log_snr_max: float = 20.0):
        if not 0 < beta_min <= beta_max:
            raise ValueError(f"need 0 < beta_min <= beta_max, got {beta_min} and {beta_max}.")
        self.beta_min = float(beta_min)
        self.beta_max = float(beta_max)
        total = (self.beta_min + self.beta_max) / 2
        super().__init__(-math.log(math.expm1(total)), log_snr_max)
        self._u0 = float(self._u_of(float64(log_snr_max)))

    def log_snr(self, t: Tensor | float) -> Tensor:
        u = self._u0 + (1 - self._u0) * checked_time(t)
        b = self.beta_min * u + 0.5 * (self.beta_max - self.beta_min) * u**2
        return -torch.log(torch.expm1(b))

    def _time(self, log_snr: Tensor) -> Tensor:
        return (self._u_of(log_snr) - self._u0) / (1 - self._u0)

    def density(self, log_snr: Tensor | float) -> Tensor:
        log_snr = float64(log_snr)
        rate = self.beta_min + (self.beta_max - self.beta_min) * self._u_of(log_snr)
        return torch.sigmoid(-log_snr) / (rate * (1 - self._u0))

    def _u_of(self, log_snr: Tensor) -> Tensor:
        b = -logsigmoid(log_snr)
        slope = self.beta_max - self.beta_min
        return 2 * b / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * b))


class DiscreteBetaSchedule(NoiseSchedule):
    """DDPM's chain of T steps, ``z_i = sqrt(1 - beta_i) z_{i-1} + sqrt(beta_i) eps``.

    The log-SNRs of the chain are ``log_snrs[i - 1]``, i = 1..T. As a continuous schedule, t = 0 is
    i = 1, t = 1 is i = T, and the log-SNR is interpolated linearly in between.

    Parameters
    ----------
    betas : Tensor of shape (T,), optional
        Variances; by default linear from 1e-4 to 0.02 over 1000 steps (Ho et al. 2020).

    Attributes
    ----------
    log_snrs : Tensor of float64, shape (T,)
        Strictly decreasing.

    Examples
    --------
    >>> schedule = DiscreteBetaSchedule()
    >>> torch.sigmoid(schedule.log_snrs[[0, 99, 999]])  # alpha^2, Ho's alpha-bar
    tensor([9.9990e-01, 8.9702e-01, 4.0358e-05], dtype=torch.float64)
    """

    def __init__(self, betas: Tensor | None = None):
        if betas is None:
            betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
        self.betas = float64(betas)
        inside = (self.betas > 0) & (self.betas < 1)
        if self.betas.ndim != 1 or len(self.betas) < 2 or not inside.all():
            raise ValueError("betas must be 1-D, at least 2, each strictly between 0 and 1.")
        minus_log_alpha2 = -torch.log1p(-self.betas).cumsum(0)
        self.log_snrs = -torch.log(torch.expm1(minus_log_alpha2))
        super().__init__(float(self.log_snrs[-1]), float(self.log_snrs[0]))

    def log_snr(self, t: Tensor | float) -> Tensor:
        position = checked_time(t) * (len(self.log_snrs) - 1)
        i = position.floor().clamp(max=len(self.log_snrs) - 2).long()
        fraction = position - i
        return (1 - fraction) * self.log_snrs[i] + fraction * self.log_snrs[i + 1]

    def _time(self, log_snr: Tensor) -> Tensor:
        i = self._interval(log_snr)
        fraction = (self.log_snrs[i] - log_snr) / (self.log_snrs[i] - self.log_snrs[i + 1])
        return (i + fraction) / (len(self.log_snrs) - 1)

    def density(self, log_snr: Tensor | float) -> Tensor:
        i = self._interval(float64(log_snr))
        return 1 / ((self.log_snrs[i] - self.log_snrs[i + 1]) * (len(self.log_snrs) - 1))

    def _interval(self, log_snr: Tensor) -> Tensor:
        i = torch.searchsorted(-self.log_snrs, (-log_snr).contiguous(), right=True) - 1
        return i.clamp(0, len(self.log_snrs) - 2)


class _VarianceExploding(NoiseSchedule):
    """Schedules of ``y = x + sigma eps``, which is z / alpha in variance-preserving terms."""

    def alpha(self, t: Tensor | float) -> Tensor:
        """1: the signal is not scaled."""
        return torch.ones_like(self.log_snr(t))

    def sigma(self, t: Tensor | float) -> Tensor:
        """Standard deviation of the noise, ``exp(-log_snr / 2)``."""
        return torch.exp(-0.5 * self.log_snr(t))

    def g2(self, t: Tensor | float) -> Tensor:
        """Squared diffusion coefficient, ``d sigma^2 / dt``."""
        log_snr = self.log_snr(t)
        return torch.exp(-log_snr) / self.density(log_snr)

    def drift(self, t: Tensor | float) -> Tensor:
        """0: the forward SDE has no drift."""
        return torch.zeros_like(self.log_snr(t))


class EDMSigmaSchedule(_VarianceExploding):
    """Sigmas with ``sigma^(1/rho)`` linear in time (Karras et al. 2022, eq. 5).

    Latents of samplers stay variance preserving; only `alpha`, `sigma`, `drift` and `g2` of this
    class speak of ``y = z / alpha = x + sigma eps``.

    Parameters
    ----------
    sigma_min, sigma_max : float
        Standard deviations of the noise at t = 0 and 1.
    rho : float
        Exponent.

    Examples
    --------
    >>> EDMSigmaSchedule().sigma(torch.tensor([0.0, 0.5, 1.0]))
    tensor([2.0000e-03, 2.51...e+00, 8.0000e+01], dtype=torch.float64)
    """

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0):
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"need 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}.")
        super().__init__(-2 * math.log(sigma_max), -2 * math.log(sigma_min))
        self.rho = float(rho)
        self._low = sigma_min ** (1 / rho)
        self._high = sigma_max ** (1 / rho)

    def log_snr(self, t: Tensor | float) -> Tensor:
        t = checked_time(t)
        return -2 * self.rho * torch.log(self._low * (1 - t) + self._high * t)

    def _time(self, log_snr: Tensor) -> Tensor:
        root = torch.exp(-log_snr / (2 * self.rho))
        return (root - self._low) / (self._high - self._low)

    def density(self, log_snr: Tensor | float) -> Tensor:
        root = torch.exp(-float64(log_snr) / (2 * self.rho))
        return root / (2 * self.rho * (self._high - self._low))


class VarianceExplodingSchedule(_VarianceExploding):
    """Sigmas in geometric progression (Song and Ermon 2019; Song et al. 2021, eq. 30).

    The log-SNR is linear in time.

    Parameters
    ----------
    sigma_min, sigma_max : float
        Standard deviations of the noise at t = 0 and 1.

    Examples
    --------
    >>> VarianceExplodingSchedule(0.1, 40.0).sigma(0.5)
    tensor(2., dtype=torch.float64)
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0):
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"need 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}.")
        super().__init__(-2 * math.log(sigma_max), -2 * math.log(sigma_min))

    def log_snr(self, t: Tensor | float) -> Tensor:
        t = checked_time(t)
        return self.log_snr_max * (1 - t) + self.log_snr_min * t

    def _time(self, log_snr: Tensor) -> Tensor:
        return (self.log_snr_max - log_snr) / (self.log_snr_max - self.log_snr_min)

    def density(self, log_snr: Tensor | float) -> Tensor:
        return torch.full_like(float64(log_snr), 1 / (self.log_snr_max - self.log_snr_min))


class EDMTrainingSchedule(NoiseSchedule):
    """Normally distributed log-SNR, truncated: ``log sigma ~ N(-1.2, 1.2^2)`` in EDM's training.

    Karras et al. (2022), table 1; the log-SNR ``-2 log sigma`` is then N(2.4, 2.4^2) (Kingma and
    Gao 2023, table 1).

    Parameters
    ----------
    mean, std : float
        Of the log-SNR before truncation.
    log_snr_min, log_snr_max : float
        Log-SNR at t = 1 and at t = 0.

    Examples
    --------
    >>> EDMTrainingSchedule(log_snr_min=-9.6, log_snr_max=14.4).log_snr(0.5)
    tensor(2.4000, dtype=torch.float64)
    """

    def __init__(
        self,
        mean: float = 2.4,
        std: float = 2.4,
        log_snr_min: float = -10.0,
        log_snr_max: float = 14.0,
    ):
        super().__init__(log_snr_min, log_snr_max)
        self.mean = float(mean)
        self.std = float(std)
        self._above = float(self._survival(float64(log_snr_max)))
        self._span = float(self._survival(float64(log_snr_min))) - self._above

    def log_snr(self, t: Tensor | float) -> Tensor:
        probability = self._above + self._span * checked_time(t)
        log_snr = self.mean - self.std * torch.special.ndtri(probability)
        return log_snr.clamp(self.log_snr_min, self.log_snr_max)

    def _time(self, log_snr: Tensor) -> Tensor:
        return (self._survival(log_snr) - self._above) / self._span

    def density(self, log_snr: Tensor | float) -> Tensor:
        score = (float64(log_snr) - self.mean) / self.std
        return torch.exp(-0.5 * score**2) / (math.sqrt(2 * math.pi) * self.std * self._span)

    def _survival(self, log_snr: Tensor) -> Tensor:
        return torch.special.ndtr((self.mean - log_snr) / self.std)
