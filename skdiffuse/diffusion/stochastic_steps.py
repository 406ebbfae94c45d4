"""Step rules of the reverse Markov chain and the reverse SDE."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.parameterizations import NoiseLevel
from skdiffuse.diffusion.random import RandomStreams
from skdiffuse.diffusion.variances import (
    ReverseVariance,
    as_reverse_variance,
    posterior_coefficients,
)

__all__ = ["AncestralStep", "DDIMStep", "DPMSolverStep", "EDMStep", "fresh_noise"]


@dataclass(frozen=True)
class AncestralStep:
    """Ancestral sampling: z_s drawn around ``E[z_s | z_t, x = x_hat]`` (Ho et al. 2020, alg. 2).

    Parameters
    ----------
    variance : {"lower", "upper"} or ReverseVariance
        Variance of the noise added: that of ``q(z_s | z_t, x)``, that of the forward transition, or
        any other, such as an `AnalyticVariance`.

    Notes
    -----
    With Su's ``sigma = beta_t`` in eq. (4.10) of "Topics on diffusion generative models" the mean
    would change too and the first steps are NaN; DDPM's choice of the upper variance keeps the mean
    of the posterior, as here.
    """

    variance: str | ReverseVariance = "lower"
    evaluations: int = field(default=1, init=False)
    stochastic: bool = field(default=True, init=False)
    remembers: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "variance", as_reverse_variance(self.variance))

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: None,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Tensor, None]:
        x_hat = denoiser(z, log_snr)
        c_z, c_x, _ = posterior_coefficients(log_snr, log_snr_next)
        variance = as_reverse_variance(self.variance)
        noise = variance.noise(fresh_noise(streams, z), z, x_hat, log_snr, log_snr_next)
        return c_z * z + c_x * x_hat + noise, x_hat, None


@dataclass(frozen=True)
class DDIMStep:
    """DDIM (Song, Meng and Ermon 2021, eqs. 12 and 16).

    Parameters
    ----------
    eta : float
        Noise added, as a fraction of the posterior's standard deviation. 0 is deterministic, a
        first-order step of the probability-flow ODE that is exact for constant x_hat; 1 is
        ancestral sampling with the lower variance.
    """

    eta: float = 0.0
    evaluations: int = field(default=1, init=False)
    remembers: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], got {self.eta}.")

    @property
    def stochastic(self) -> bool:
        return self.eta != 0

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: None,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Tensor, None]:
        x_hat = denoiser(z, log_snr)
        if self.eta == 0:
            return rotate(z, x_hat, log_snr, log_snr_next), x_hat, None
        t, s = NoiseLevel.at(log_snr), NoiseLevel.at(log_snr_next)
        std = self.eta * posterior_coefficients(log_snr, log_snr_next)[2]
        # sqrt(sigma_s^2 - std^2) with std <= sigma_s by the range of eta
        kept = s.sigma * math.sqrt(max(1 - (std / s.sigma) ** 2, 0.0)) / t.sigma
        z = kept * z + (s.alpha - t.alpha * kept) * x_hat + std * fresh_noise(streams, z)
        return z, x_hat, None


@dataclass(frozen=True)
class DPMSolverStep:
    r"""DPM-Solver++ and its family of SDEs between the ODE and the reverse SDE.

    The exact solution of
    :math:`dz = [f z - \frac{1 + \eta^2}{2} g^2 \nabla \log q]\,dt + \eta g\,d\bar W`
    for x_hat constant over a step (order 1) or linear in the log-SNR through the step before
    (order 2, "2M").

    Parameters
    ----------
    eta : float
        0 is the probability-flow ODE, 1 the reverse SDE; larger values are valid too.
    order : {1, 2}
        Order 1 with eta 0 is DDIM, with eta 1 ancestral sampling with the lower variance.

    Notes
    -----
    Lu et al. (2022), "DPM-Solver++", algorithm 2 and eq. (SDE-DPM-Solver++ 2M). The family is eqs.
    (6.10)-(6.17) of Su's "Topics on diffusion generative models"; the noise may exceed g.
    """

    eta: float = 0.0
    order: int = 2
    evaluations: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        if self.eta < 0:
            raise ValueError(f"eta must not be negative, got {self.eta}.")
        if self.order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, got {self.order}.")

    @property
    def stochastic(self) -> bool:
        return self.eta != 0

    @property
    def remembers(self) -> bool:
        return self.order > 1

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: tuple[Tensor, float] | None,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, float]]:
        x_hat = denoiser(z, log_snr)
        t, s = NoiseLevel.at(log_snr), NoiseLevel.at(log_snr_next)
        h = s.log_snr - t.log_snr
        if h <= 0 and self.eta > 0:
            raise ValueError("A stochastic step goes towards higher log-SNR.")
        target = x_hat
        if self.order == 2 and memory is not None:
            x_hat_before, h_before = memory
            target = x_hat + (0.5 * h / h_before) * (x_hat - x_hat_before)
        decay = self.eta**2 * h
        z = (s.sigma / t.sigma * math.exp(-decay / 2)) * z
        z = z - (s.alpha * math.expm1(-(h + decay) / 2)) * target
        if self.eta:
            z = z + (s.sigma * math.sqrt(-math.expm1(-decay))) * fresh_noise(streams, z)
        return z, x_hat, (x_hat, h)


@dataclass(frozen=True)
class EDMStep:
    """Heun's method in sigma / alpha with churn (Karras et al. 2022, algorithm 2).

    Before a step the noise ``sigma / alpha`` is raised by the factor 1 + churn with fresh noise.

    Parameters
    ----------
    churn : float
        The gamma of the paper, ``S_churn / n_steps``, at most sqrt(2) - 1. 0 is deterministic.
    noise_min, noise_max : float
        Range of sigma / alpha where noise is added (S_tmin, S_tmax).
    noise_scale : float
        Factor of the noise added (S_noise).
    """

    churn: float = 0.0
    noise_min: float = 0.0
    noise_max: float = math.inf
    noise_scale: float = 1.0
    evaluations: int = field(default=2, init=False)
    remembers: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.churn <= math.sqrt(2) - 1:
            raise ValueError(f"churn must lie in [0, sqrt(2) - 1], got {self.churn}.")

    @property
    def stochastic(self) -> bool:
        return self.churn != 0

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: None,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Tensor, None]:
        ratio = math.exp(-0.5 * float(log_snr))
        if self.churn and self.noise_min <= ratio <= self.noise_max:
            z, log_snr = self._churn(z, log_snr, ratio, streams)
        t, s = NoiseLevel.at(log_snr), NoiseLevel.at(log_snr_next)
        x_hat = denoiser(z, log_snr)
        ahead = rotate(z, x_hat, log_snr, log_snr_next)
        # d(z / alpha) / d(sigma / alpha) is eps_hat; the Euler step is `ahead`
        change = t.eps(z, x_hat) - s.eps(ahead, denoiser(ahead, log_snr_next))
        half_step = 0.5 * (s.alpha * t.sigma / t.alpha - s.sigma)
        return ahead + half_step * change, x_hat, None

    def _churn(
        self, z: Tensor, log_snr: Tensor, ratio: float, streams: RandomStreams | None
    ) -> tuple[Tensor, Tensor]:
        raised = log_snr - 2 * math.log1p(self.churn)
        t, up = NoiseLevel.at(log_snr), NoiseLevel.at(raised)
        added = ratio * math.sqrt(self.churn * (2 + self.churn)) * self.noise_scale
        return (up.alpha / t.alpha) * z + (up.alpha * added) * fresh_noise(streams, z), raised


def rotate(
    z: Tensor, x_hat: Tensor, log_snr: Tensor | float, log_snr_next: Tensor | float
) -> Tensor:
    """Step of the probability-flow ODE for constant x_hat: ``cos(d) z - sin(d) v``, d the angle.

    Written with z and x_hat: the division of x_hat by sigma in v cancels.
    """
    t, s = NoiseLevel.at(log_snr), NoiseLevel.at(log_snr_next)
    kept = s.sigma / t.sigma
    return kept * z + (s.alpha - t.alpha * kept) * x_hat


def fresh_noise(streams: RandomStreams | None, z: Tensor) -> Tensor:
    """Noise of the shape and on the device of z.

    Raises
    ------
    ValueError
        If there are no streams to draw it from.
    """
    if streams is None:
        raise ValueError(
            "streams is None, and the step draws noise: pass RandomStreams(seeds), one seed per "
            "sample."
        )
    return streams.normal(z.shape[1:], dtype=z.dtype).to(z.device)
