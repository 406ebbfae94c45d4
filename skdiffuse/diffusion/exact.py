"""Exact denoisers: posterior means in closed form, to test everything else against."""

import math

import torch
from torch import Tensor

from skdiffuse.diffusion.parameterizations import alpha, sigma
from skdiffuse.diffusion.variances import ReverseVariance, posterior_coefficients

__all__ = ["ExactReverseCovariance", "GaussianDenoiser", "GaussianMixtureDenoiser"]


class GaussianDenoiser:
    r"""Posterior mean of Gaussian data ``x ~ N(mean, covariance)``.

    .. math:: \hat x = \mu + K (z - \alpha \mu), \quad
              K = \alpha \Sigma (\alpha^2 \Sigma + \sigma^2 I)^{-1}, \quad
              \mathrm{Cov}[x | z] = \Sigma - \alpha K \Sigma

    Parameters
    ----------
    mean : Tensor of shape (D,)
        Mean of the data.
    covariance : Tensor of shape (D, D)
        Covariance of the data.

    Examples
    --------
    >>> denoiser = GaussianDenoiser(torch.zeros(2), 4 * torch.eye(2))
    >>> denoiser(torch.ones(1, 2), torch.tensor(0.0))
    tensor([[1.1314, 1.1314]])
    """

    def __init__(self, mean: Tensor, covariance: Tensor):
        self.mean = torch.as_tensor(mean, dtype=torch.float64)
        self.covariance = torch.as_tensor(covariance, dtype=torch.float64)
        if self.covariance.shape != (self.mean.numel(), self.mean.numel()):
            raise ValueError(
                f"covariance must have shape ({self.mean.numel()}, {self.mean.numel()}) to go with "
                f"the mean, got {tuple(self.covariance.shape)}."
            )
        self._eigenvalues, self._eigenvectors = torch.linalg.eigh(self.covariance)
        if self._eigenvalues[0] < -1e-9 * self._eigenvalues[-1].abs():
            raise ValueError(
                f"covariance must be positive semi-definite, got eigenvalue "
                f"{self._eigenvalues[0]:.3g}."
            )
        self._eigenvalues = self._eigenvalues.clamp(min=0)

    def __call__(self, z: Tensor, log_snr: Tensor | float) -> Tensor:
        a, s = _columns(z, log_snr)
        mean, spectrum, basis = self._on(z)
        anomaly = (z.double().flatten(1) - a * mean) @ basis
        gain = a * spectrum / (a**2 * spectrum + s**2)
        x_hat = mean + (gain * anomaly) @ basis.T
        return x_hat.reshape(z.shape).to(z.dtype)

    def posterior_covariance(self, log_snr: Tensor | float) -> Tensor:
        """``Cov[x | z]``, which does not depend on z, shape (D, D)."""
        a, s = alpha(log_snr), sigma(log_snr)
        remaining = s**2 * self._eigenvalues / (a**2 * self._eigenvalues + s**2)
        return (self._eigenvectors * remaining) @ self._eigenvectors.T

    def log_density(self, z: Tensor, log_snr: Tensor | float) -> Tensor:
        """``log q(z)`` of latents of shape (n, ...), in nats, float64, shape (n,)."""
        a, s = _columns(z, log_snr)
        mean, spectrum, basis = self._on(z)
        anomaly = (z.double().flatten(1) - a * mean) @ basis
        variance = a**2 * spectrum + s**2
        return -0.5 * (anomaly**2 / variance + torch.log(2 * math.pi * variance)).sum(1)

    def _on(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        held = self.mean, self._eigenvalues, self._eigenvectors
        mean, spectrum, basis = (tensor.to(z.device) for tensor in held)
        return mean, spectrum, basis


class ExactReverseCovariance(ReverseVariance):
    """Exact covariance of ``q(z_s | z_t)`` for Gaussian data, ``std^2 I + c_x^2 Cov[x | z]``.

    Ancestral sampling with it makes no error of discretisation, whatever the grid.

    Parameters
    ----------
    denoiser : GaussianDenoiser
        Exact denoiser of the data.
    """

    def __init__(self, denoiser: GaussianDenoiser):
        self.denoiser = denoiser

    def __call__(self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor) -> Tensor:
        """Variances of the cells, the diagonal of the covariance."""
        return torch.diagonal(self._covariance(log_snr, log_snr_next)).reshape(z.shape[1:])

    def noise(
        self, eps: Tensor, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor
    ) -> Tensor:
        factor = torch.linalg.cholesky(self._covariance(log_snr, log_snr_next))
        return (eps.double().flatten(1) @ factor.T).reshape(eps.shape).to(eps.dtype)

    def _covariance(self, log_snr: Tensor, log_snr_next: Tensor) -> Tensor:
        _, c_x, std = posterior_coefficients(log_snr, log_snr_next)
        posterior = self.denoiser.posterior_covariance(log_snr)
        return std**2 * torch.eye(len(posterior), dtype=torch.float64) + c_x**2 * posterior


class GaussianMixtureDenoiser:
    """Posterior mean of a mixture of Gaussians.

    The posterior is a mixture too: the components' posterior means weighted by the probability of
    each component given z.

    Parameters
    ----------
    weights : Tensor of shape (K,)
        Probability of each component; normalised here.
    means : Tensor of shape (K, D)
        Mean of each component.
    covariances : Tensor of shape (K, D, D)
        Covariance of each component.

    Examples
    --------
    >>> denoiser = GaussianMixtureDenoiser(
    ...     torch.tensor([0.5, 0.5]), torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1, 1)
    ... )
    >>> denoiser(torch.tensor([[0.0], [0.5], [9.0]]), torch.tensor(0.0))
    tensor([[0.0000],
            [0.6089],
            [1.0000]])
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor):
        weights = torch.as_tensor(weights, dtype=torch.float64)
        if (weights < 0).any() or not weights.sum() > 0:
            raise ValueError(f"weights must be non-negative with a positive sum, got {weights}.")
        self.log_weights = torch.log(weights / weights.sum())
        self.components = [
            GaussianDenoiser(mean, covariance)
            for mean, covariance in zip(means, covariances, strict=True)
        ]

    def __call__(self, z: Tensor, log_snr: Tensor | float) -> Tensor:
        probability = torch.softmax(self._log_joint(z, log_snr), 0)
        means = torch.stack([c(z.double(), log_snr).flatten(1) for c in self.components])
        x_hat = (probability[:, :, None] * means).sum(0)
        return x_hat.reshape(z.shape).to(z.dtype)

    def posterior_variance(self, z: Tensor, log_snr: Tensor | float) -> Tensor:
        """``Var[x | z]`` of each cell, of the shape of z, float64; it depends on z.

        Within components and between their means. `PosteriorVariance` makes a step of it, the
        conditional variance that networks of the residual or the squared noise estimate.
        """
        probability = torch.softmax(self._log_joint(z, log_snr), 0)[:, :, None]
        means = torch.stack([c(z.double(), log_snr).flatten(1) for c in self.components])
        within = torch.stack(
            [torch.diag(c.posterior_covariance(log_snr)).to(z.device) for c in self.components]
        )[:, None]
        mean = (probability * means).sum(0)
        variance = (probability * (within + (means - mean).square())).sum(0)
        return variance.reshape(z.shape)

    def log_density(self, z: Tensor, log_snr: Tensor | float) -> Tensor:
        """``log q(z)`` of latents of shape (n, ...), in nats, float64, shape (n,)."""
        return torch.logsumexp(self._log_joint(z, log_snr), 0)

    def _log_joint(self, z: Tensor, log_snr: Tensor | float) -> Tensor:
        log_densities = torch.stack([c.log_density(z, log_snr) for c in self.components])
        return self.log_weights.to(z.device)[:, None] + log_densities


def _columns(z: Tensor, log_snr: Tensor | float) -> tuple[Tensor, Tensor]:
    """alpha and sigma as (n, 1) or (1, 1) columns beside z flattened to (n, D)."""
    a, s = (f(log_snr).to(z.device).reshape(-1, 1) for f in (alpha, sigma))
    return a, s
