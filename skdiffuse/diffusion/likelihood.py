"""Likelihoods: the evidence lower bound and the probability-flow density."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skdiffuse.diffusion.coordinates import TaperedLogSNR
from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.ode_steps import TABLEAUX, RungeKuttaStep
from skdiffuse.diffusion.parameterizations import NoiseLevel, alpha, convert, diffuse
from skdiffuse.diffusion.random import RandomStreams
from skdiffuse.diffusion.samplers import Step, integrate

__all__ = ["Elbo", "bits_per_dim", "decode", "elbo", "encode", "flow_log_density"]


class Elbo(NamedTuple):
    """Terms of an upper bound of ``-log p(x)``, in nats, float64, shape (n,) each.

    Attributes
    ----------
    prior : Tensor
        ``KL(q(z | x) || N(0, I))`` at the lowest log-SNR.
    diffusion : Tensor
        Half the integral of the mean square error of eps over the log-SNR.
    reconstruction : Tensor
        ``E[-log p(x | z)]`` at the highest log-SNR, for a decoder that takes z / alpha as the mean
        and sigma / alpha as the standard deviation.
    standard_error : Tensor
        Of the bound, from the spread between draws (antithetic pairs) of noise; NaN for one.
    """

    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor
    standard_error: Tensor

    @property
    def bound(self) -> Tensor:
        """Upper bound of ``-log p(x)``, shape (n,)."""
        return self.prior + self.diffusion + self.reconstruction


@torch.no_grad()
def elbo(
    denoiser: Denoiser,
    x: Tensor,
    streams: RandomStreams,
    *,
    log_snr_min: float = -20.0,
    log_snr_max: float = 20.0,
    n_levels: int = 64,
    n_noise: int = 4,
    mask: Tensor | None = None,
    below: Tensor | None = None,
) -> Elbo:
    r"""Evidence lower bound of the log-density of continuous data, integrated over the log-SNR.

    .. math:: -\log p(x) \le \mathrm{KL}_{\lambda_{min}}
              + \tfrac12 \int_{\lambda_{min}}^{\lambda_{max}}
              \mathrm E\|\epsilon - \hat\epsilon\|^2 d\lambda
              + \tfrac D2 (\log 2 \pi e - \lambda_{max})

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``.
    x : Tensor of shape (n, ...)
        Data.
    streams : RandomStreams of length n
        Noise, in antithetic pairs for even `n_noise`.
    log_snr_min, log_snr_max : float
        Range of the integral.
    n_levels : int
        Nodes of the Gauss-Legendre quadrature over the log-SNR.
    n_noise : int
        Draws of noise per node; the denoiser is evaluated n_levels * n_noise times.
    mask : Tensor of bool, shape of `x`, optional
        Cells that count; the others are pure noise to the denoiser, as in `v_loss`, and left out of
        all sums.
    below : Tensor of the shape of `x`, optional
        Where it is finite, the decoder is asked only for the probability to lie below this limit
        and not for a density at `x`: so an atom of the data (a dry cell) has a likelihood.

    Returns
    -------
    Elbo
        Subtract the log-Jacobian of a transform, scale included, for a density in other units.

    Notes
    -----
    Kingma et al. (2021), eq. 17. For an exact denoiser the bound is an equality up to the ends of
    the range. The last term is large and negative (-81.5 nats at D = 6 and log_snr_max = 30); it
    cancels the same in the integral and may not be dropped, as eq. 2.77 of the dissertation does.

    Examples
    --------
    >>> from skdiffuse.diffusion import GaussianDenoiser
    >>> denoiser = GaussianDenoiser(torch.zeros(1), torch.ones(1, 1))
    >>> terms = elbo(denoiser, torch.zeros(1, 1, dtype=torch.float64), RandomStreams([0]))
    >>> terms.bound.shape
    torch.Size([1])
    """
    counted = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    nodes, weights = np.polynomial.legendre.leggauss(n_levels)
    half = 0.5 * (log_snr_max - log_snr_min)
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    variance = torch.zeros_like(total)
    n_pairs = n_noise // 2 if n_noise % 2 == 0 else 0
    for node, weight in zip(nodes, weights, strict=True):
        log_snr = torch.tensor(0.5 * (log_snr_min + log_snr_max) + half * node).to(x.device)
        errors = []
        for i in range(n_noise):
            if n_pairs == 0 or i % 2 == 0:
                eps = streams.normal(x.shape[1:], dtype=x.dtype).to(x.device)
            else:
                eps = -eps
            errors.append(_squared_eps_error(denoiser, x, eps, log_snr, counted))
        draws = torch.stack(errors)
        if n_pairs:
            draws = draws.reshape(n_pairs, 2, -1).mean(1)
        total += 0.5 * half * float(weight) * draws.mean(0)
        spread = draws.var(0) if len(draws) > 1 else math.nan
        variance += (0.5 * half * float(weight)) ** 2 * spread / len(draws)
    prior = prior_divergence(x, counted, log_snr_min)
    reconstruction = reconstruction_loss(x, counted, below, log_snr_max)
    return Elbo(prior, total, reconstruction, variance.sqrt())


def flow_log_density(
    denoiser: Denoiser,
    x: Tensor,
    *,
    log_snr_min: float = -20.0,
    log_snr_max: float = 20.0,
    n_steps: int = 64,
    n_probes: int | None = None,
    streams: RandomStreams | None = None,
) -> Tensor:
    """Log-density of the probability-flow ODE's model, in nats.

    ``log p(x) = log N(z_T; 0, I) + integral of div v dpsi + D log alpha``, along the path from
    ``z = alpha x`` at log_snr_max to the noise (Song et al. 2021, eq. 39, in the angle). Fourth-
    order Runge-Kutta.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``, differentiable in z.
    x : Tensor of shape (n, ...)
        Data.
    log_snr_min, log_snr_max : float
        Ends of the path.
    n_steps : int
        Steps, uniform in `TaperedLogSNR`.
    n_probes : int, optional
        Rademacher probes of Hutchinson's estimate of the divergence, drawn once and kept along the
        path; by default the divergence is exact, with one derivative per cell.
    streams : RandomStreams of length n, optional
        Source of the probes.

    Returns
    -------
    Tensor of float64, shape (n,)

    Examples
    --------
    >>> from skdiffuse.diffusion import GaussianDenoiser
    >>> denoiser = GaussianDenoiser(torch.zeros(1), torch.tensor([[4.0]]))
    >>> flow_log_density(denoiser, torch.zeros(1, 1, dtype=torch.float64))
    tensor([-1.6121], dtype=torch.float64)
    """
    if n_probes is None:
        eye = torch.eye(x[0].numel(), dtype=x.dtype, device=x.device)
        probes = [row.reshape(1, *x.shape[1:]).expand_as(x) for row in eye]
    else:
        if streams is None:
            raise ValueError("n_probes needs streams=RandomStreams(seeds), one seed per sample.")
        draws = [streams.normal(x.shape[1:], dtype=x.dtype).to(x.device) for _ in range(n_probes)]
        probes = [torch.where(draw < 0, -1.0, 1.0).to(x.dtype) / n_probes**0.5 for draw in draws]
    matrix, weights = TABLEAUX["rk4"]
    grid = TaperedLogSNR().grid(n_steps, log_snr_min, log_snr_max).flip(0)
    z = x.detach() * float(alpha(log_snr_max))
    divergence = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    angles = [NoiseLevel.at(g).angle for g in grid]
    for i in range(n_steps):
        h = angles[i + 1] - angles[i]
        slopes: list[Tensor] = []
        rates: list[Tensor] = []
        for row in matrix:
            stage = z + h * sum((c * k for c, k in zip(row, slopes, strict=True)), start=0.0)
            angle = angles[i] + sum(row) * h
            v, rate = _v_and_divergence(denoiser, stage, -2 * math.log(math.tan(angle)), probes)
            slopes.append(v)
            rates.append(rate)
        z = z + h * sum(w * k for w, k in zip(weights, slopes, strict=True))
        divergence += h * sum(w * r for w, r in zip(weights, rates, strict=True))
    d = x[0].numel()
    latent = z.double().flatten(1)
    log_prior = -0.5 * (latent.square().sum(1) + d * math.log(2 * math.pi))
    return log_prior + divergence + d * math.log(float(alpha(log_snr_max)))


def encode(denoiser: Denoiser, x: Tensor, grid: Tensor, step: Step | None = None) -> Tensor:
    """Latent noise of data: the probability-flow ODE from data to noise.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``.
    x : Tensor of shape (n, ...)
        Data.
    grid : Tensor of shape (n_steps + 1,)
        Increasing log-SNRs, as for sampling; run backwards.
    step : Step, optional
        Rule of a deterministic step; Runge-Kutta of order 4 by default.

    Returns
    -------
    Tensor of shape (n, ...)
        Latent at ``grid[0]``, standard normal for data of the model.
    """
    step = RungeKuttaStep("rk4") if step is None else step
    z = x * float(alpha(grid[-1]))
    return integrate(denoiser, z, grid.flip(0), step)


def decode(denoiser: Denoiser, z: Tensor, grid: Tensor, step: Step | None = None) -> Tensor:
    """Data of latent noise: the inverse of `encode`, without the denoising at the end.

    Parameters as in `encode`, with z the latent at ``grid[0]``.

    Returns
    -------
    Tensor of shape (n, ...)
    """
    step = RungeKuttaStep("rk4") if step is None else step
    return integrate(denoiser, z, grid, step) / float(alpha(grid[-1]))


def bits_per_dim(nats: Tensor, n_cells: int, cell_width: float = 1.0) -> Tensor:
    """Return the bits per dimension of a negative log-density.

    Parameters
    ----------
    nats : Tensor
        ``-log p(x)`` of whole samples, in nats.
    n_cells : int
        Cells of a sample.
    cell_width : float
        Width of the bins if the data are rounded: the probability of a bin is the density times
        its width.

    Returns
    -------
    Tensor, shape of nats

    Examples
    --------
    >>> bits_per_dim(torch.tensor(6.9315), 10)
    tensor(1.0000)
    """
    return nats / (n_cells * math.log(2)) - math.log2(cell_width)


def _squared_eps_error(
    denoiser: Denoiser, x: Tensor, eps: Tensor, log_snr: Tensor, counted: Tensor
) -> Tensor:
    z = torch.where(counted, diffuse(x, eps, log_snr), eps)
    eps_hat = convert(denoiser(z, log_snr), z, log_snr, source="x", target="eps")
    error = torch.where(counted, (eps - eps_hat).double(), 0.0)
    return error.flatten(1).square().sum(1)


def prior_divergence(x: Tensor, counted: Tensor, log_snr_min: float) -> Tensor:
    """``KL(q(z | x) || N(0, I))`` over the cells that count, at the lowest log-SNR."""
    alpha2 = alpha(log_snr_min) ** 2
    prior_variance = -logsigmoid(torch.tensor(-log_snr_min, dtype=torch.float64)) - alpha2
    squared = torch.where(counted, x.double(), 0.0).flatten(1).square().sum(1)
    return 0.5 * (float(alpha2) * squared + counted.flatten(1).sum(1) * float(prior_variance))


def reconstruction_loss(
    x: Tensor, counted: Tensor, below: Tensor | None, log_snr_max: float
) -> Tensor:
    """``E[-log p(x | z)]`` with the decoder N(z / alpha, sigma^2 / alpha^2) of each cell."""
    per_cell = torch.full_like(
        x, 0.5 * (math.log(2 * math.pi * math.e) - log_snr_max), dtype=torch.float64
    )
    if below is not None:
        nodes, weights = np.polynomial.hermite_e.hermegauss(32)
        # (limit - z / alpha) / (sigma / alpha) with z = alpha x + sigma eps
        margin = (below - x).double() * math.exp(0.5 * log_snr_max)
        log_probability = sum(
            float(w) * torch.special.log_ndtr(margin - float(eps))
            for eps, w in zip(nodes, weights / weights.sum(), strict=True)
        )
        per_cell = torch.where(torch.isfinite(below), -log_probability, per_cell)
    return torch.where(counted, per_cell, 0.0).flatten(1).sum(1)


def _v_and_divergence(
    denoiser: Denoiser, z: Tensor, level: float, probes: list[Tensor]
) -> tuple[Tensor, Tensor]:
    log_snr = torch.tensor(level, dtype=torch.float64, device=z.device)
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        v = convert(denoiser(z, log_snr), z, log_snr, source="x", target="v")
        divergence = torch.zeros(len(z), dtype=torch.float64, device=z.device)
        for i, probe in enumerate(probes):
            (column,) = torch.autograd.grad(v, z, probe, retain_graph=i + 1 < len(probes))
            divergence += (column * probe).double().flatten(1).sum(1)
    return v.detach(), divergence
