"""Posterior means in closed form for corruptions other than Gaussian, to test against.

As an exact denoiser plugs in wherever a network does, these show what a corruption's sampler does
by itself. `ScaleMixtureDenoiser` is also what takes the place of the Gaussian's closed-form skip
where the noise is Student-t.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skdiffuse.corruptions.cold import BlurCorruption
from skdiffuse.corruptions.cosine_basis import cosine_basis, damping
from skdiffuse.corruptions.student_t import StudentTCorruption
from skdiffuse.diffusion import GaussianDenoiser, GaussianMixtureDenoiser, alpha, sigma

__all__ = ["GaussianBlurDenoiser", "ScaleMixtureDenoiser"]

# Of the logarithm of the precision, on which the integrand is smooth: far more than enough.
N_NODES = 96
WIDEST = 12.0


class GaussianBlurDenoiser:
    r"""Posterior mean of Gaussian fields that are blurred, with noise.

    In the cosine basis, with the damping d of each cosine and its variance P,

    .. math:: \hat x_k = \frac{d_k P_k}{d_k^2 P_k + (s \sigma)^2} z_k

    Parameters
    ----------
    corruption : BlurCorruption
        With noise, in latent units.
    power : Tensor of shape (y, x)
        Variance of each cosine; the data have mean 0.

    Examples
    --------
    >>> denoiser = GaussianBlurDenoiser(BlurCorruption(), torch.ones(4, 4))
    >>> denoiser(torch.ones(1, 1, 4, 4), torch.tensor(torch.inf))[0, 0, 0]
    tensor([1., 1., 1., 1.])
    """

    def __init__(self, corruption: BlurCorruption, power: Tensor) -> None:
        if not corruption.noise_level:
            raise ValueError(f"{corruption!r} must have noise: without it the inverse is no mean.")
        self.corruption = corruption
        self.power = power.double()

    def gain(self, log_snr: Tensor | float) -> tuple[Tensor, Tensor]:
        """Damping of each cosine, and the factor that makes its estimate of z."""
        rows, columns = self.power.shape
        width = self.corruption.width_at(torch.as_tensor(log_snr))
        kept = damping(rows, width)[:, None] * damping(columns, width)
        noise = self.corruption.noise_std(torch.as_tensor(log_snr))
        return kept, kept * self.power / (kept**2 * self.power + noise**2)

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        rows, columns = (cosine_basis(n) for n in self.power.shape)
        spectrum = rows @ z.double() @ columns.T
        return (rows.T @ (self.gain(log_snr)[1] * spectrum) @ columns).to(z)


class ScaleMixtureDenoiser:
    r"""Posterior mean under coupled Student-t noise, from that under Gaussian noise.

    .. math:: E[x | z] = \int E[x | z, g]\, p(g | z)\, dg, \qquad p(g | z) \propto p(g)\, p(z | g)

    where given g the noise is Gaussian at the log-SNR ``log_snr + log(g / s^2)``. One-dimensional
    quadrature over log g.

    Parameters
    ----------
    corruption : StudentTCorruption
        Coupled.
    gaussian : GaussianDenoiser or GaussianMixtureDenoiser
        Closed form of the data, with ``log_density``.

    Examples
    --------
    >>> one = GaussianDenoiser(torch.zeros(1), torch.ones(1, 1))
    >>> heavy = ScaleMixtureDenoiser(StudentTCorruption(nu=3.0), one)
    >>> z = torch.tensor([[1.0], [10.0]])
    >>> heavy(z, torch.tensor(0.0)).round(decimals=2)  # far off is taken for noise
    tensor([[0.9300],
            [0.2900]])
    """

    def __init__(
        self, corruption: StudentTCorruption, gaussian: GaussianDenoiser | GaussianMixtureDenoiser
    ) -> None:
        if not corruption.coupled:
            raise ValueError(f"{corruption!r} has a scale for each cell; set coupled=True.")
        self.corruption = corruption
        self.gaussian = gaussian

    def __call__(self, z: Tensor, log_snr: Tensor | float) -> Tensor:
        return self._moments(z, log_snr)[0].reshape(z.shape).to(z.dtype)

    def log_density(self, z: Tensor, log_snr: Tensor | float) -> Tensor:
        """``log q(z)`` in nats, float64, shape (n,)."""
        return self._moments(z, log_snr)[1]

    def _moments(self, z: Tensor, log_snr: Tensor | float) -> tuple[Tensor, Tensor]:
        if math.isinf(self.corruption.nu):
            return self.gaussian(z, log_snr), self.gaussian.log_density(z, log_snr)
        half = self.corruption.nu / 2
        log_g = torch.linspace(-WIDEST, WIDEST / 2, N_NODES, dtype=torch.float64)
        prior = half * math.log(half) - math.lgamma(half) + half * (log_g - log_g.exp())
        # z / c has unit variance: c^2 = alpha^2 + (sigma s)^2 / g. A row for each node and sample.
        level = torch.as_tensor(log_snr, dtype=torch.float64).expand(len(z))
        shifted = level + log_g[:, None] - 2 * math.log(self.corruption.scale)
        noise = (sigma(level) * self.corruption.scale) ** 2 * torch.exp(-log_g[:, None])
        c = torch.sqrt(alpha(level) ** 2 + noise)
        cells = z.double().flatten(1)
        rows = (cells / c[:, :, None]).flatten(0, 1)
        means = self.gaussian(rows, shifted.flatten()).reshape(N_NODES, *cells.shape)
        density = self.gaussian.log_density(rows, shifted.flatten()).reshape(c.shape)
        joint = prior[:, None] + density - cells.shape[1] * torch.log(c)
        mean = (torch.softmax(joint, 0)[:, :, None] * means).sum(0)
        return mean, torch.logsumexp(joint, 0) + torch.log(log_g[1] - log_g[0])
