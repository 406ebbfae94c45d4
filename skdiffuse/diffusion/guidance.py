"""Conditioning a denoiser on known cells.

Guidance is a denoiser that wraps a denoiser, so that it works with every sampler. It returns the
known values where they are known, which makes any sampler carry ``alpha x_k + sigma eps`` there
(replacement), and corrects the posterior mean elsewhere by what the known cells tell.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.parameterizations import alpha, like, sigma

__all__ = ["ReconstructionGuidance"]

LARGEST_GAIN = 4.0


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

    Here `w_r` sets the error variance R = sigma^2 / (alpha^2 w_r) of the known cells, and the
    system (C_kk + R) u = r is solved by conjugate gradients, each iteration of which needs one
    vector-Jacobian product and no matrix. For small `w_r` one iteration is Ho's update; for large
    `w_r` it is the steepest descent with the best step, so that `w_r` can grow without bound, and
    further iterations approach the exact correction, which the bound on their number makes a
    matter of cost.

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
    n_iterations : int, default=1
        Conjugate-gradient iterations, one backward pass of the network each.

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

    def __init__(
        self,
        denoiser: Denoiser,
        known: Tensor,
        mask: Tensor,
        w_r: float,
        n_iterations: int = 1,
    ) -> None:
        if not w_r >= 0:
            raise ValueError(f"w_r={w_r!r} must be at least 0.")
        if n_iterations < 1:
            raise ValueError(f"n_iterations={n_iterations!r} must be at least 1.")
        self.denoiser = denoiser
        self.known = torch.where(mask, known, 0.0)
        self.mask = mask
        self.w_r = float(w_r)
        self.n_iterations = n_iterations

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        if self.w_r == 0:
            return torch.where(self.mask, self.known, self.denoiser(z, log_snr))
        a, s = alpha(log_snr), sigma(log_snr)
        tweedie = like(s**2 / a, z)
        error_variance = like(s**2 / (a**2 * self.w_r), z)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            x_hat = self.denoiser(z, log_snr)

        def covariance_times(direction: Tensor, last: bool) -> Tensor:
            (product,) = torch.autograd.grad(x_hat, z, direction, retain_graph=not last)
            return tweedie * product

        x_hat_value = x_hat.detach()
        residual = torch.where(self.mask, self.known - x_hat_value, 0.0)
        correction = self._solve(covariance_times, residual, error_variance)
        return torch.where(self.mask, self.known, x_hat_value + correction)

    def _solve(
        self,
        covariance_times: Callable[[Tensor, bool], Tensor],
        residual: Tensor,
        error_variance: Tensor,
    ) -> Tensor:
        """C u for the u that solves (C_kk + R) u = r, by conjugate gradients for each sequence."""
        correction = torch.zeros_like(residual)
        direction, squared = residual, _dot(residual, residual)
        for iteration in range(self.n_iterations):
            last = iteration == self.n_iterations - 1
            product = covariance_times(direction, last)
            curvature = self._curvature(product, direction)
            length = squared / (curvature + error_variance * _dot(direction, direction))
            # Nothing known, or no misfit left: there is nothing to correct.
            length = torch.where(torch.isfinite(length), length, 0.0)
            correction = correction + length * product
            if last:
                break
            in_known = torch.where(self.mask, product, 0.0) + error_variance * direction
            residual = residual - length * in_known
            previous, squared = squared, _dot(residual, residual)
            ratio = squared / previous
            direction = residual + torch.where(torch.isfinite(ratio), ratio, 0.0) * direction
        return correction

    def _curvature(self, product: Tensor, direction: Tensor) -> Tensor:
        """d^T C d of each sequence, held positive.

        A network's Jacobian is only nearly symmetric and positive, so that the form can be close
        to zero or negative. It is held so large that the correction of the unknown cells is, in
        the root mean square, no more than `LARGEST_GAIN` times the misfit of the known ones.
        """
        n_known = _dot(self.mask, self.mask)
        n_unknown = self.mask[0].numel() - n_known
        moved = torch.where(self.mask, 0.0, product)
        gain = (_dot(moved, moved) * n_known / n_unknown.clamp(min=1)).sqrt() / LARGEST_GAIN
        return torch.maximum(_dot(direction, product), gain * _dot(direction, direction).sqrt())


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each pair of sequences, shaped to multiply them."""
    return (a * b).sum(tuple(range(1, a.ndim)), keepdim=True)
