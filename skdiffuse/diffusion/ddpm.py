"""The discrete-time DDPM: a chain of T noise levels cut out of a continuous schedule.

Whatever the chain shares with the continuous model is that of its neighbours: levels are those of a
`NoiseSchedule`, targets those of `parameterizations`, steps are an `AncestralStep`, variances those
of `variances`, and the ends of the bound those of `likelihood`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from skdiffuse.diffusion.classic_schedules import LinearBetaSchedule
from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.likelihood import Elbo, prior_divergence, reconstruction_loss
from skdiffuse.diffusion.objectives import latent_and_v, step_divergence
from skdiffuse.diffusion.parameterizations import convert, diffuse, like
from skdiffuse.diffusion.random import RandomStreams
from skdiffuse.diffusion.samplers import run_sampler
from skdiffuse.diffusion.schedules import (
    LinearLogSNRSchedule,
    NoiseSchedule,
    TruncatedCosineSchedule,
    sampling_grid,
)
from skdiffuse.diffusion.stochastic_steps import AncestralStep
from skdiffuse.diffusion.variances import (
    InterpolatedVariance,
    LowerVariance,
    ReverseVariance,
    UpperVariance,
    as_reverse_variance,
    between,
    posterior_coefficients,
)

__all__ = ["DDPM"]

CHAIN_SCHEDULES: dict[str, Callable[[], NoiseSchedule]] = {
    "linear": LinearBetaSchedule,
    "cosine": TruncatedCosineSchedule,
    "log_snr": LinearLogSNRSchedule,
}
TARGETS = ("x", "eps", "v")
OBJECTIVES = ("simple", "variational", "hybrid")

# ``(z, log_snr) -> prediction``, or a pair of the prediction and the fraction of a learnt variance.
ChainNetwork = Callable[[Tensor, Tensor], "Tensor | tuple[Tensor, Tensor]"]


class DDPM:
    r"""Denoising diffusion in T discrete steps, by the choices of its six steps of design.

    The latents ``z_0, ..., z_T`` have the log-SNRs of a schedule at the times t / T; z_0 is the
    data but for the smallest noise, and its decoder ``N(x; z_0 / alpha_0, sigma_0^2 / alpha_0^2)``
    stands for a step to infinite log-SNR, which has no variance. The continuous model is the limit
    of many steps.

    Parameters
    ----------
    n_steps : int, default=1000
        T.
    schedule : {"linear", "cosine", "log_snr"} or NoiseSchedule, default="cosine"
        Linear betas (Ho et al. 2020) as their continuous limit has them, whatever T; a cosine
        (Nichol and Dhariwal 2021); or a log-SNR linear in time (Kingma et al. 2021).
    parameterization : {"x", "eps", "v"}, default="eps"
        What the network predicts.
    variance : {"lower", "upper", "learnt"} or ReverseVariance, default="lower"
        Of the reverse step: of ``q(z_s | z_t, x)``, of the forward step, or learnt as a fraction of
        the way between their logarithms. For "learnt" the network returns a pair, its prediction
        and that fraction (of the same shape, usually a sigmoid).

    Attributes
    ----------
    log_snrs : Tensor of float64, shape (T + 1,)
        Strictly decreasing; ``log_snrs[t]`` is that of z_t.

    References
    ----------
    Ho, Jain and Abbeel (2020), "Denoising diffusion probabilistic models". Turner et al. (2024),
    "Denoising diffusion probabilistic models in six simple steps".

    Examples
    --------
    >>> chain = DDPM(4, "log_snr", "x")
    >>> chain.log_snrs
    tensor([ 20.,  10.,   0., -10., -20.], dtype=torch.float64)
    >>> x, noise = torch.ones(2, 3), torch.zeros(2, 3)
    >>> chain.loss(lambda z, log_snr: 0 * z, x, torch.tensor([1, 4]), noise)
    tensor([1., 1.])
    >>> chain.sample(lambda z, log_snr: 0 * z + 2.0, (3,), RandomStreams([0]))
    tensor([[2., 2., 2.]])
    """

    def __init__(
        self,
        n_steps: int = 1000,
        schedule: str | NoiseSchedule = "cosine",
        parameterization: str = "eps",
        variance: str | ReverseVariance = "lower",
    ):
        if n_steps < 1:
            raise ValueError(f"n_steps must be at least 1, got {n_steps}.")
        if parameterization not in TARGETS:
            raise ValueError(
                f"parameterization must be one of {TARGETS}, got {parameterization!r}."
            )
        if isinstance(schedule, str):
            if schedule not in CHAIN_SCHEDULES:
                raise ValueError(
                    f"schedule must be one of {tuple(CHAIN_SCHEDULES)} or a NoiseSchedule, got "
                    f"{schedule!r}."
                )
            schedule = CHAIN_SCHEDULES[schedule]()
        known = isinstance(variance, ReverseVariance) or variance in ("lower", "upper", "learnt")
        if not known:
            raise ValueError(
                "variance must be 'lower', 'upper', 'learnt' or a ReverseVariance, got "
                f"{variance!r}."
            )
        self.n_steps = int(n_steps)
        self.schedule = schedule
        self.parameterization = parameterization
        self.variance = variance
        self.log_snrs = sampling_grid(schedule, self.n_steps, "time").flip(0)

    def loss(
        self,
        network: ChainNetwork,
        x: Tensor,
        step: Tensor,
        noise: Tensor,
        objective: str = "simple",
        *,
        variational_weight: float = 1e-3,
    ) -> Tensor:
        """Loss of the reverse step from z_t to z_{t - 1}, per cell of each sample.

        Parameters
        ----------
        network : callable
            ``(z, log_snr)`` to the prediction, or to a pair where the variance is learnt. One
            network serves all steps: it is told the log-SNR, of shape (n,), and not t.
        x, noise : Tensor of shape (n, ...)
            Data and standard normal noise.
        step : Tensor of int64, shape (n,)
            The t of each sample, from 1 to T; see `draw_steps`.
        objective : {"simple", "variational", "hybrid"}
            Squared error of what is predicted (Ho et al. 2020, eq. 14); T times the
            Kullback-Leibler divergence of the step, whose mean over uniform t is the diffusion term
            of the bound, in nats per cell; or the first plus `variational_weight` times the second,
            from which only the variance learns (Nichol and Dhariwal 2021, eq. 16).
        variational_weight : float
            Of "hybrid".

        Returns
        -------
        Tensor of shape (n,)
        """
        if objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {OBJECTIVES}, got {objective!r}.")
        learnt = self.variance == "learnt"
        if learnt and objective == "simple":
            raise ValueError(
                "objective='simple' teaches a learnt variance nothing; use 'hybrid' or "
                "'variational'."
            )
        if objective == "hybrid" and not learnt:
            raise ValueError(
                "objective='hybrid' is for variance='learnt'; a fixed variance has 'simple' and "
                "'variational'."
            )
        if not ((step >= 1) & (step <= self.n_steps)).all():
            raise ValueError(
                f"step must lie from 1 to n_steps={self.n_steps}, got {int(step.min())} to "
                f"{int(step.max())}."
            )
        log_snr = self.log_snrs[step.cpu()].to(x.device)
        z, v = latent_and_v(x, log_snr, noise)
        prediction, fraction = _parts(network(z, log_snr), learnt)
        source = self.parameterization
        if objective != "variational":
            target = {"x": x, "eps": noise, "v": v}[source]
            simple = _mean((prediction - target).square())
            if objective == "simple":
                return simple
        x_hat = convert(prediction, z, log_snr, source=source, target="x")
        if objective == "hybrid":
            x_hat = x_hat.detach()
        divergence = self.n_steps * _mean(self._divergence(x, x_hat, step.cpu(), fraction))
        return (
            divergence if objective == "variational" else simple + variational_weight * divergence
        )

    def draw_steps(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Uniform steps t from 1 to T for n samples, int64, shape (n,)."""
        return torch.randint(1, self.n_steps + 1, (n,), generator=generator)

    def denoiser(self, network: ChainNetwork) -> Denoiser:
        """The network as a denoiser ``(z, log_snr) -> x_hat``, for any sampler of this package."""
        return _Reverse(self, network)

    def sample(
        self,
        network: ChainNetwork,
        shape: Sequence[int],
        streams: RandomStreams,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw data by the T reverse steps and the decoder's mean.

        Parameters
        ----------
        network : callable
        shape : sequence of int
            Of one sample.
        streams : RandomStreams
            One for each sample.
        dtype : torch.dtype
            Of the latents, float32 or float64.

        Returns
        -------
        Tensor of shape (n, *shape)
        """
        reverse = _Reverse(self, network)
        step = AncestralStep(self._reverse_variance(reverse))
        z = streams.normal(tuple(shape), dtype)
        return run_sampler(reverse, z, self.log_snrs.flip(0), step, streams=streams)

    @torch.no_grad()
    def elbo(
        self, network: ChainNetwork, x: Tensor, streams: RandomStreams, *, n_noise: int = 4
    ) -> Elbo:
        """Evidence lower bound of the log-density of data, summed over all T steps.

        Parameters
        ----------
        network : callable
        x : Tensor of shape (n, ...)
            Data.
        streams : RandomStreams of length n
            Noise.
        n_noise : int
            Draws of noise at each step; the network is evaluated ``n_steps * n_noise`` times.

        Returns
        -------
        Elbo
            As that of the continuous model, `skdiffuse.diffusion.elbo`, to which it falls with T.
        """
        reverse = _Reverse(self, network)
        variance = self._reverse_variance(reverse)
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        spread = torch.zeros_like(total)
        for t in range(1, self.n_steps + 1):
            at, towards = self.log_snrs[t], self.log_snrs[t - 1]
            _, c_x, std = posterior_coefficients(at, towards)
            draws = []
            for _ in range(n_noise):
                z = diffuse(x, streams.normal(x.shape[1:], dtype=x.dtype).to(x.device), at)
                x_hat = reverse(z, at.to(x.device))
                of_step = torch.as_tensor(variance(z, x_hat, at, towards), dtype=torch.float64)
                cells = step_divergence((x - x_hat).double(), c_x, std, of_step.to(x.device))
                draws.append(cells.flatten(1).sum(1))
            stacked = torch.stack(draws)
            total += stacked.mean(0)
            spread += stacked.var(0) / n_noise if n_noise > 1 else math.nan
        everywhere = torch.ones_like(x, dtype=torch.bool)
        return Elbo(
            prior_divergence(x, everywhere, float(self.log_snrs[-1])),
            total,
            reconstruction_loss(x, everywhere, None, float(self.log_snrs[0])),
            spread.sqrt(),
        )

    @cached_property
    def _coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c_x, std and the logarithms of both variances of the step from each t; none for t = 0."""
        rows = [(math.nan,) * 4]
        nothing = torch.empty(0)
        for t in range(1, self.n_steps + 1):
            at, towards = self.log_snrs[t], self.log_snrs[t - 1]
            _, c_x, std = posterior_coefficients(at, towards)
            upper = UpperVariance()(nothing, nothing, at, towards)
            rows.append((c_x, std, 2 * math.log(std), math.log(upper)))
        c_x, std, lower, upper = torch.tensor(rows, dtype=torch.float64).T
        return c_x, std, lower, upper

    def _divergence(
        self, x: Tensor, x_hat: Tensor, step: Tensor, fraction: Tensor | None
    ) -> Tensor:
        c_x, std, lower, upper = (like(each[step], x) for each in self._coefficients)
        if fraction is not None:
            variance = between(lower, upper, fraction)
        elif self.variance in ("lower", LowerVariance()):
            variance = std**2
        elif self.variance in ("upper", UpperVariance()):
            variance = torch.exp(upper)
        else:
            raise ValueError(
                "objective='variational' needs variance='lower', 'upper' or 'learnt'; one that is "
                "measured with a finished network, as here, has nothing to be trained."
            )
        return step_divergence(x - x_hat, c_x, std, variance)

    def _reverse_variance(self, reverse: _Reverse) -> ReverseVariance:
        if self.variance == "learnt":
            return InterpolatedVariance(reverse.fraction)
        return as_reverse_variance(self.variance)

    def __repr__(self) -> str:
        return (
            f"DDPM({self.n_steps}, {self.schedule!r}, {self.parameterization!r}, {self.variance!r})"
        )


class _Reverse:
    """A chain's network as a denoiser, which keeps the fraction found on the way for the step."""

    def __init__(self, chain: DDPM, network: ChainNetwork):
        self.chain = chain
        self.network = network
        self._found: tuple[Tensor, Tensor] | None = None

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        prediction, fraction = _parts(self.network(z, log_snr), self.chain.variance == "learnt")
        self._found = None if fraction is None else (z, fraction)
        return convert(prediction, z, log_snr, source=self.chain.parameterization, target="x")

    def fraction(self, z: Tensor, log_snr: Tensor) -> Tensor:
        if self._found is None or self._found[0] is not z:
            self(z, log_snr)
        assert self._found is not None
        return self._found[1]


def _parts(out: Tensor | tuple[Tensor, Tensor], learnt: bool) -> tuple[Tensor, Tensor | None]:
    """Prediction and, where it is learnt, the fraction of the variance."""
    if isinstance(out, Tensor) == learnt:
        got = "one tensor" if learnt else "a pair"
        wanted = "a pair, prediction and fraction," if learnt else "one tensor, its prediction,"
        raise TypeError(f"network must return {wanted} for this variance; it returned {got}.")
    return (out, None) if isinstance(out, Tensor) else out


def _mean(cells: Tensor) -> Tensor:
    return cells.flatten(1).mean(1)
