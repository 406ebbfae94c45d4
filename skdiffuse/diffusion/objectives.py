r"""Training objectives.

Kingma and Gao (2023), "Understanding diffusion objectives as the ELBO with simple data
augmentation", eq. 6: every common objective is

.. math:: L_w(x) = \tfrac12 \mathrm E_{\lambda \sim p,\,\epsilon}
          \left[\frac{w(\lambda)}{p(\lambda)} \|\epsilon - \hat\epsilon\|^2\right],

with p the density of the schedule that drew the log-SNR and w a weighting (`weightings`).
"""

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.parameterizations import alpha, convert, diffuse, like, sigma
from skdiffuse.diffusion.schedules import NoiseSchedule
from skdiffuse.diffusion.variances import InterpolatedVariance, posterior_coefficients
from skdiffuse.diffusion.weightings import Weighting

__all__ = [
    "discrete_loss",
    "interpolated_variance_loss",
    "npr_loss",
    "sn_loss",
    "v_loss",
    "weighted_loss",
]


def v_loss(
    network: Denoiser, x: Tensor, log_snr: Tensor, noise: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Mean squared error of v over the known cells of each sample.

    ``||v - v_hat||^2 / D`` with ``v = alpha eps - sigma x`` (Salimans and Ho 2022, eq. 9 ff.). With
    log-SNRs drawn from a cosine schedule this is the likelihood bound weighted by
    ``w = 2 exp(-log_snr / 2) / (pi (t1 - t0))``, which decreases in the log-SNR (Kingma and Gao
    2023, section 4; the dissertation's eq. 2.89 is a quarter of it).

    Parameters
    ----------
    network : callable
        ``(z, log_snr) -> v_hat``.
    x : Tensor of shape (n, ...)
        Data in latent units. Cells outside `mask` may hold anything, NaN included.
    log_snr : Tensor of float64, shape (n,) or ()
        Log-SNR of each sample, as drawn by a schedule.
    noise : Tensor of shape (n, ...)
        Standard normal noise.
    mask : Tensor of bool, shape of x, optional
        True where x is known. The latent is pure noise where it is not: no value is invented there.

    Returns
    -------
    Tensor of shape (n,)
        0 for a sample without a known cell.

    Examples
    --------
    >>> x, noise = torch.ones(2, 3), torch.ones(2, 3)
    >>> v_loss(lambda z, log_snr: torch.zeros_like(z), x, torch.tensor([0.0, 30.0]), noise)
    tensor([0.0000, 1.0000])
    """
    z, v = latent_and_v(x, log_snr, noise, mask)
    return _mean_square(network(z, log_snr) - v, mask)


def weighted_loss(
    network: Denoiser,
    x: Tensor,
    log_snr: Tensor,
    noise: Tensor,
    *,
    weighting: Weighting,
    schedule: NoiseSchedule,
    parameterization: str = "v",
    mask: Tensor | None = None,
) -> Tensor:
    """Likelihood bound of a weighting, per known cell of each sample.

    ``w / (2 p) ||eps - eps_hat||^2 / D``, computed as the error of v, whose weight stays finite at
    both ends: ``(eps - eps_hat)^2 = alpha^2 (v - v_hat)^2``.

    Parameters
    ----------
    network : callable
        ``(z, log_snr) -> prediction``.
    x, log_snr, noise, mask
        As in `v_loss`.
    weighting : Weighting
        The weight w; see `weightings`.
    schedule : NoiseSchedule
        What drew `log_snr`; its density p is divided out, so that the expected loss does not depend
        on it.
    parameterization : {"x", "eps", "v", "score"}
        What the network predicts.

    Returns
    -------
    Tensor of shape (n,)
        Nats per cell, up to the weighting; with `elbo_weighting` and the terms at the ends of the
        range, a bound of ``-log p(x) / D``.
    """
    z, v = latent_and_v(x, log_snr, noise, mask)
    v_hat = convert(network(z, log_snr), z, log_snr, source=parameterization, target="v")
    of_v = weighting(log_snr) * alpha(log_snr) ** 2 / (2 * schedule.density(log_snr))
    return of_v.to(x) * _mean_square(v_hat - v, mask)


def discrete_loss(
    denoiser: Denoiser, x: Tensor, log_snr: Tensor, log_snr_next: Tensor, noise: Tensor
) -> Tensor:
    """Term of the discrete-time bound for the step from `log_snr` to `log_snr_next`, in nats.

    ``KL(q(z_s | z_t, x) || q(z_s | z_t, x = x_hat)) = (e^log_snr_s - e^log_snr_t) ||x - x_hat||^2
    / 2`` (Kingma et al. 2021, eq. 13), summed over cells. The sum over all steps bounds the
    diffusion term of ``-log p(x)`` from above and falls to it as the steps are refined; on a cosine
    grid it stays far above it (thousands of nats at 1000 steps), so evaluate likelihoods with
    `elbo`.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``.
    x, noise : Tensor of shape (n, ...)
        Data and standard normal noise.
    log_snr, log_snr_next : Tensor of shape (n,) or ()
        Noisier and cleaner end of the step.

    Returns
    -------
    Tensor of shape (n,)
    """
    log_snr, log_snr_next = (
        torch.as_tensor(v, dtype=torch.float64) for v in (log_snr, log_snr_next)
    )
    z = diffuse(x, noise, log_snr)
    error = (x - denoiser(z, log_snr)).flatten(1).square().sum(1)
    weight = 0.5 * torch.exp(log_snr) * torch.expm1(log_snr_next - log_snr)
    return weight.to(x) * error


def npr_loss(
    variance_network: Denoiser,
    denoiser: Denoiser,
    x: Tensor,
    log_snr: Tensor,
    noise: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Loss of a network of the noise-prediction residual, ``((eps - eps_hat)^2 - h)^2``.

    Second stage of Bao et al. (2022b), eq. 14: the denoiser is finished and receives no gradient.
    At the optimum ``h = E[(eps - eps_hat)^2 | z]``; see `LearntVariance`. `mask` as in `v_loss`.

    Returns
    -------
    Tensor of shape (n,)
        Mean over the known cells.
    """
    z, _ = latent_and_v(x, log_snr, noise, mask)
    target = (noise - _finished_eps(denoiser, z, log_snr)) ** 2
    return _mean_square(variance_network(z, log_snr) - target, mask)


def sn_loss(
    variance_network: Denoiser,
    x: Tensor,
    log_snr: Tensor,
    noise: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Loss of a network of the squared noise, ``(eps^2 - h)^2`` (Bao et al. 2022b, eq. 11).

    At the optimum ``h = E[eps^2 | z]``; see `LearntVariance`. `mask` as in `v_loss`.

    Returns
    -------
    Tensor of shape (n,)
        Mean over the known cells.
    """
    z, _ = latent_and_v(x, log_snr, noise, mask)
    return _mean_square(variance_network(z, log_snr) - noise**2, mask)


def interpolated_variance_loss(
    fraction: Denoiser,
    denoiser: Denoiser,
    x: Tensor,
    log_snr: Tensor,
    log_snr_next: Tensor,
    noise: Tensor,
) -> Tensor:
    """Loss of the fraction of `InterpolatedVariance`, in nats per cell.

    ``KL(q(z_s | z_t, x) || p(z_s | z_t))`` with the mean of p finished (Nichol and Dhariwal 2021,
    section 3.1: the variance, and only it, learns from the likelihood bound). With the posterior
    variance std^2, the squared error e of x_hat and the variance v of the step it is
    ``((std^2 + c_x^2 e) / v - 1 + log(v / std^2)) / 2``, so that at the optimum v is
    ``std^2 + c_x^2 E[e | z]``, the best variance there is.

    Parameters
    ----------
    fraction : callable
        ``(z, log_snr) -> f``, the network that is trained, of the shape of z.
    denoiser : callable
        ``(z, log_snr) -> x_hat``, finished.
    x, noise : Tensor of shape (n, ...)
        Data and standard normal noise.
    log_snr, log_snr_next : Tensor of shape ()
        Noisier and cleaner end of the step.

    Returns
    -------
    Tensor of shape (n,)
    """
    log_snr, log_snr_next = (
        torch.as_tensor(v, dtype=torch.float64) for v in (log_snr, log_snr_next)
    )
    z = diffuse(x, noise, log_snr)
    with torch.no_grad():
        x_hat = denoiser(z, log_snr)
    _, c_x, std = posterior_coefficients(log_snr, log_snr_next)
    variance = InterpolatedVariance(fraction)(z, x_hat, log_snr, log_snr_next)
    return step_divergence(x - x_hat, c_x, std, variance).flatten(1).mean(1)


def step_divergence(
    error: Tensor, c_x: Tensor | float, std: Tensor | float, variance: Tensor
) -> Tensor:
    """``KL(q(z_s | z_t, x) || p(z_s | z_t))`` of each cell, in nats.

    Parameters
    ----------
    error : Tensor
        x minus the x_hat at which p has its mean.
    c_x, std : float or Tensor
        Of q; see `posterior_coefficients`.
    variance : Tensor
        Of p.
    """
    spread = std**2 + c_x**2 * error.square()
    return 0.5 * (spread / variance - 1 + torch.log(variance / std**2))


def _finished_eps(denoiser: Denoiser, z: Tensor, log_snr: Tensor) -> Tensor:
    with torch.no_grad():
        return convert(denoiser(z, log_snr), z, log_snr, source="x", target="eps")


def latent_and_v(
    x: Tensor, log_snr: Tensor, noise: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Latent of data and the v of both, each from x and noise and so exact at either end."""
    if mask is not None:
        x = torch.where(mask, x, 0)
    z = diffuse(x, noise, log_snr)
    if mask is not None:
        z = torch.where(mask, z, noise)
    return z, like(alpha(log_snr), x) * noise - like(sigma(log_snr), x) * x


def _mean_square(error: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return error.square().flatten(1).mean(1)
    n_known = mask.flatten(1).sum(1).clamp(min=1)
    return torch.where(mask, error, 0).square().flatten(1).sum(1) / n_known
