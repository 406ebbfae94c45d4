"""Samplers: one loop, and one small object per step rule.

The loop owns the grid, the callback and the last step; a step rule moves a latent from one log-SNR
to the next, given the posterior mean there. Steps are formed as combinations of z and x_hat with
coefficients in float64, so that a clamped x_hat never meets a division by a vanishing sigma.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.random import RandomStreams

__all__ = [
    "AdamsBashforthStep",
    "AncestralStep",
    "DDIMStep",
    "HeunStep",
    "Step",
    "integrate",
    "run_sampler",
]

Callback = Callable[[int, int, Tensor, Tensor], Any]


class Step(Protocol):
    """Rule that moves a latent from one log-SNR to the next.

    ``evaluations`` is the number of evaluations of the denoiser per step, the one at the start of
    the step included; ``stochastic`` says whether the step draws noise. What a rule must remember
    between steps is passed in and out as `memory` (None at the first step), never kept in the rule.
    """

    evaluations: int
    stochastic: bool

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        x_hat: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: Any,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Any]: ...


def run_sampler(
    denoiser: Denoiser,
    z: Tensor,
    grid: Tensor,
    step: Step,
    *,
    streams: RandomStreams | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Sample data from noise.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``.
    z : Tensor of shape (n, ...)
        Standard normal noise, the latent at ``grid[0]``.
    grid : Tensor of float64, shape (n_steps + 1,)
        Increasing log-SNRs, as from `sampling_grid`.
    step : Step
        Rule of a step.
    streams : RandomStreams of length n, optional
        Noise of stochastic steps.
    callback : callable, optional
        ``callback(i, n, z, x_hat)`` after evaluation i of the n = n_steps + 1 grid points.

    Returns
    -------
    Tensor of shape (n, ...)
        The posterior mean at the last log-SNR: no noise is added last and no infinite log-SNR is
        needed. The denoiser is evaluated ``n_steps * step.evaluations + 1`` times.

    Examples
    --------
    >>> from skdiffuse.diffusion import GaussianDenoiser, TruncatedCosineSchedule, sampling_grid
    >>> denoiser = GaussianDenoiser(torch.zeros(1), torch.tensor([[4.0]]))
    >>> grid = sampling_grid(TruncatedCosineSchedule(), 64)
    >>> run_sampler(denoiser, torch.tensor([[-1.0], [1.0]]), grid, HeunStep())
    tensor([[-1.99...],
            [ 1.99...]])
    """
    z = integrate(denoiser, z, grid, step, streams=streams, callback=callback)
    with torch.no_grad():
        x_hat = denoiser(z, grid[-1].to(z.device))
    if callback is not None:
        callback(len(grid) - 1, len(grid), z, x_hat)
    return x_hat


@torch.no_grad()
def integrate(
    denoiser: Denoiser,
    z: Tensor,
    grid: Tensor,
    step: Step,
    *,
    streams: RandomStreams | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Carry a latent along a grid of log-SNRs, in either direction, and return the last latent.

    Parameters and callback as in `run_sampler`, which adds the last denoising; the callback is not
    called for the last point.

    Returns
    -------
    Tensor of shape (n, ...)
        Latent at ``grid[-1]``.
    """
    grid = _checked_grid(grid)
    if step.stochastic:
        if streams is None:
            raise ValueError(
                f"{type(step).__name__} draws noise: pass streams=RandomStreams(seeds), one seed "
                f"per sample."
            )
        if len(streams) != len(z):
            raise ValueError(
                f"streams must hold one stream per sample, got {len(streams)} streams for "
                f"{len(z)} samples."
            )
    on_device = grid.to(z.device)
    memory = None
    for i in range(len(grid) - 1):
        x_hat = denoiser(z, on_device[i])
        if callback is not None:
            callback(i, len(grid), z, x_hat)
        z, memory = step(denoiser, z, x_hat, on_device[i], on_device[i + 1], memory, streams)
    return z


def _checked_grid(grid: Tensor) -> Tensor:
    grid = torch.as_tensor(grid, dtype=torch.float64)
    if grid.ndim != 1 or len(grid) < 2:
        raise ValueError(
            f"grid must be 1-D with at least 2 log-SNRs, got shape {tuple(grid.shape)}."
        )
    if not torch.isfinite(grid).all():
        raise ValueError("grid must hold finite log-SNRs; the last step needs no infinite one.")
    difference = grid.diff()
    if not ((difference > 0).all() or (difference < 0).all()):
        raise ValueError("grid must be strictly monotone; remove repeated log-SNRs.")
    return grid


@dataclass(frozen=True)
class AncestralStep:
    """Ancestral sampling: z_s drawn from ``q(z_s | z_t, x = x_hat)`` (Ho et al. 2020, algorithm 2).

    Parameters
    ----------
    variance : {"lower", "upper"}
        Variance of the noise added: that of the posterior, ``sigma_s^2 (1 - e^d)`` with d the
        (negative) change of log-SNR from s to t; or that of the forward transition,
        ``sigma_t^2 (1 - e^d)``. They bound the optimal variance for unit-variance data.
    """

    variance: str = "lower"
    evaluations = 1
    stochastic = True

    def __post_init__(self):
        if self.variance not in ("lower", "upper"):
            raise ValueError(f"variance must be 'lower' or 'upper', got {self.variance!r}.")

    def __call__(self, denoiser, z, x_hat, log_snr, log_snr_next, memory, streams):
        c_z, c_x, std = posterior_coefficients(float(log_snr), float(log_snr_next))
        if self.variance == "upper":
            std *= _angle(log_snr).sigma / _angle(log_snr_next).sigma
        noise = streams.normal(z.shape[1:], dtype=z.dtype).to(z.device)
        return c_z * z + c_x * x_hat + std * noise, None


@dataclass(frozen=True)
class DDIMStep:
    """DDIM: with eta = 0 a first-order step of the probability-flow ODE in the angle.

    Parameters
    ----------
    eta : float
        Noise added, as a fraction of the posterior's standard deviation: 0 is deterministic, 1 is
        ancestral sampling with the lower variance (Song et al. 2021, eqs. 12 and 16).
    """

    eta: float = 0.0
    evaluations = 1

    @property
    def stochastic(self) -> bool:
        return self.eta != 0

    def __call__(self, denoiser, z, x_hat, log_snr, log_snr_next, memory, streams):
        t, s = _angle(log_snr), _angle(log_snr_next)
        if self.eta == 0:
            kept = s.sigma / t.sigma
            return kept * z + (s.alpha - t.alpha * kept) * x_hat, None
        std = self.eta * posterior_coefficients(float(log_snr), float(log_snr_next))[2]
        kept = math.sqrt(max(s.sigma**2 - std**2, 0.0)) / t.sigma
        noise = streams.normal(z.shape[1:], dtype=z.dtype).to(z.device)
        return kept * z + (s.alpha - t.alpha * kept) * x_hat + std * noise, None


@dataclass(frozen=True)
class AdamsBashforthStep:
    """Two-step Adams-Bashforth of the probability-flow ODE ``dz/dpsi = v``, variable step.

    ``psi = atan(sigma / alpha)`` is the angle. Second order for one evaluation per step; the first
    step is DDIM.
    """

    evaluations = 1
    stochastic = False

    def __call__(self, denoiser, z, x_hat, log_snr, log_snr_next, memory, streams):
        t, s = _angle(log_snr), _angle(log_snr_next)
        v = t.v(z, x_hat)
        h = s.psi - t.psi
        if memory is None:
            kept = s.sigma / t.sigma
            z = kept * z + (s.alpha - t.alpha * kept) * x_hat
        else:
            v_before, h_before = memory
            r = h / h_before
            z = z + h * (1 + r / 2) * v - (h * r / 2) * v_before
        return z, (v, h)


@dataclass(frozen=True)
class HeunStep:
    """Heun's method for the probability-flow ODE ``dz/dpsi = v``: a DDIM step, then trapezoidal.

    Second order, two evaluations per step.
    """

    evaluations = 2
    stochastic = False

    def __call__(self, denoiser, z, x_hat, log_snr, log_snr_next, memory, streams):
        t, s = _angle(log_snr), _angle(log_snr_next)
        h = s.psi - t.psi
        v = t.v(z, x_hat)
        ahead = z + h * v
        v_ahead = s.v(ahead, denoiser(ahead, log_snr_next))
        return z + 0.5 * h * (v + v_ahead), None


def posterior_coefficients(log_snr: float, log_snr_next: float) -> tuple[float, float, float]:
    """Coefficients of z and x and standard deviation of ``q(z_s | z_t, x)``.

    With t the noisier end (`log_snr`) and s the cleaner (`log_snr_next`), d = log_snr_t - log_snr_s
    <= 0: ``c_z = (alpha_s / alpha_t) e^d``, ``c_x = -alpha_s expm1(d)``,
    ``std = sigma_s sqrt(-expm1(d))`` (Kingma et al. 2021, appendix A.3, in stable form).
    """
    t, s = _angle(log_snr), _angle(log_snr_next)
    d = float(log_snr) - float(log_snr_next)
    if d > 0:
        raise ValueError("An ancestral step goes towards higher log-SNR.")
    return (
        s.alpha / t.alpha * math.exp(d),
        -s.alpha * math.expm1(d),
        s.sigma * math.sqrt(-math.expm1(d)),
    )


class _Angle(NamedTuple):
    alpha: float
    sigma: float
    psi: float

    def v(self, z: Tensor, x_hat: Tensor) -> Tensor:
        return (self.alpha / self.sigma) * z - (1 / self.sigma) * x_hat


def _angle(log_snr: Tensor | float) -> _Angle:
    log_snr = float(log_snr)
    psi = math.atan(math.exp(-0.5 * log_snr))
    # sin and cos of an angle near pi/2 would lose alpha
    ratio = math.exp(-abs(log_snr))
    larger, smaller = 1 / math.sqrt(1 + ratio), math.exp(-abs(log_snr) / 2) / math.sqrt(1 + ratio)
    alpha, sigma = (larger, smaller) if log_snr >= 0 else (smaller, larger)
    return _Angle(alpha, sigma, psi)
