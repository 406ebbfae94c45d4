"""Training objectives."""

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.parameterizations import alpha, diffuse, like, sigma

__all__ = ["v_loss"]


def v_loss(
    network: Denoiser, x: Tensor, log_snr: Tensor, noise: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Mean squared error of v over the known cells of each sample.

    ``||v - v_hat||^2 / D`` with ``v = alpha eps - sigma x`` (Salimans and Ho 2022, eq. 9 ff.). With
    log-SNRs drawn from a cosine schedule this is a likelihood bound weighted by
    ``w(log_snr) = 2 exp(-log_snr / 2) / (pi (t1 - t0))``, decreasing in the log-SNR.

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
    if mask is None:
        z = diffuse(x, noise, log_snr)
        v = like(alpha(log_snr), x) * noise - like(sigma(log_snr), x) * x
        return (network(z, log_snr) - v).square().flatten(1).mean(1)
    x = torch.where(mask, x, 0)
    z = torch.where(mask, diffuse(x, noise, log_snr), noise)
    v = like(alpha(log_snr), x) * noise - like(sigma(log_snr), x) * x
    error = torch.where(mask, network(z, log_snr) - v, 0).square()
    known = mask.flatten(1).sum(1).clamp(min=1)
    return error.flatten(1).sum(1) / known
