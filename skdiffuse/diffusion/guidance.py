"""Conditioning a denoiser on known cells.

Guidance is a denoiser that wraps a denoiser, so that it works with every sampler. It returns the
known values where they are known, which makes any sampler carry ``alpha x_k + sigma eps`` there
(replacement), and corrects the posterior mean elsewhere by what the known cells tell.
"""

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.parameterizations import alpha, like, sigma

__all__ = ["ReconstructionGuidance"]


class ReconstructionGuidance:
    """Denoiser conditioned on known cells by the gradient of their reconstruction error.

    Ho et al. (2022) correct the posterior mean of the unknown cells to ::

        x_hat_u - (w_r alpha / 2) grad_z ||x_k - x_hat_k||^2

    with the squared error SUMMED over the known cells of ONE sequence, so that `w_r` means the same
    at every batch size. With the Jacobian J = d x_hat / d z that is x_hat + w_r alpha J^T r,
    r = x_k - x_hat_k, and by Tweedie's formula C = (sigma^2 / alpha) J is the posterior covariance.
    The exact correction for Gaussian data is C_uk (C_kk + R)^-1 r, so w_r stands for an inverse
    covariance, w_r = sigma^2 / (alpha^2 (C_kk + R)), which no constant can be at all noise levels:
    as it stands the update diverges from w_r of a few hundred.

    Here `w_r` sets the error variance R = sigma^2 / (alpha^2 w_r) of the known cells, and C_kk is
    measured in the direction of r, from the very gradient that is computed anyway:
    C_kk = r^T C r / r^T r. For small `w_r` this is Ho's update; for large `w_r` it is the first
    step of conjugate gradients towards the exact one, and so `w_r` can grow without bound.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``, differentiable in z.
    known : Tensor of shape (n, ...)
        Known values, in the latent's units; what stands in other cells is ignored, NaN included.
    mask : Tensor of bool, shape of `known`
        True where `known` is known.
    w_r : float
        Weight, at least 0. With 0 the known cells are replaced and no gradient is taken.

    References
    ----------
    Ho et al., "Video Diffusion Models" (2022), eq. 7. Herbert (2023), eq. 2.116, which prints
    alpha^2 where alpha is right. His experiments averaged the error over a batch of 327,680 cells,
    so that his w_r = 1e6 is a weight of about 3 on the sum used here, and 1e3 about 0.003.

    Examples
    --------
    Two perfectly correlated cells, one of which is known:

    >>> from skdiffuse.diffusion import GaussianDenoiser
    >>> prior = GaussianDenoiser(torch.zeros(2), torch.ones(2, 2))
    >>> guided = ReconstructionGuidance(
    ...     prior, torch.tensor([[3.0, 0.0]]), torch.tensor([[True, False]]), w_r=1e6)
    >>> guided(torch.zeros(1, 2), torch.tensor(0.0))
    tensor([[3.0000, 3.0000]])
    """

    def __init__(self, denoiser: Denoiser, known: Tensor, mask: Tensor, w_r: float) -> None:
        if not w_r >= 0:
            raise ValueError(f"w_r={w_r!r} must be at least 0.")
        self.denoiser = denoiser
        self.known = torch.where(mask, known, 0.0)
        self.mask = mask
        self.w_r = float(w_r)

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        if self.w_r == 0:
            return torch.where(self.mask, self.known, self.denoiser(z, log_snr))
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            x_hat = self.denoiser(z, log_snr)
            residual = torch.where(self.mask, self.known - x_hat.detach(), 0.0)
            (gradient,) = torch.autograd.grad(x_hat, z, grad_outputs=residual)
        a, s = alpha(log_snr), sigma(log_snr)
        covariance_residual = like(s**2 / a, z) * gradient
        error_variance = like(s**2 / (a**2 * self.w_r), z)
        known_variance = self._known_variance(covariance_residual, residual)
        correction = covariance_residual / (error_variance + known_variance)
        return torch.where(self.mask, self.known, x_hat.detach() + correction)

    def _known_variance(self, covariance_residual: Tensor, residual: Tensor) -> Tensor:
        """r^T C r / r^T r of each sequence.

        A network's Jacobian is only nearly symmetric and positive, so that the quotient can be
        close to zero or negative. It is held so large that the correction of the unknown cells is,
        in the root mean square, no larger than the misfit of the known ones.
        """
        dims = tuple(range(1, residual.ndim))
        squared = residual.square().sum(dims, keepdim=True)
        quotient = (residual * covariance_residual).sum(dims, keepdim=True) / squared
        n_known = self.mask.sum(dims, keepdim=True)
        n_unknown = (~self.mask).sum(dims, keepdim=True)
        moved = torch.where(self.mask, 0.0, covariance_residual).square().sum(dims, keepdim=True)
        least = (moved * n_known / (n_unknown * squared)).sqrt()
        variance = torch.maximum(quotient, least)
        # Nothing known, everything known or no misfit: there is nothing to correct.
        return torch.where(torch.isfinite(variance) & (variance > 0), variance, torch.inf)
