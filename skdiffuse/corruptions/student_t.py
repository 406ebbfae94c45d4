r"""Heavy-tailed diffusion: Student-t noise in the place of the Gaussian's.

Noise with nu degrees of freedom is Gaussian noise of a random precision g,

.. math:: z = \alpha x + \sigma s\, \epsilon / \sqrt g, \quad g \sim \mathrm{Gamma}(\nu/2, \nu/2),
          \quad s^2 = (\nu - 2) / \nu

with s such that its variance is 1 whatever nu. Schedule, v, preconditioning and the best linear
filter (`WienerSkip`) therefore stay as they are, and so do deterministic step rules, which solve
``dz = alpha' x_hat + sigma' eps_hat`` for noise of any law. One g is kept along the path, so that
given z and x

.. math:: g \sim \mathrm{Gamma}((\nu + d)/2, (\nu + d_1)/2), \quad
          d_1 = |z - \alpha x|^2 / (\sigma s)^2, \qquad
          q(z_s | z, x) = t_{\nu + d}\!\left(c_z z + c_x x,\;
          \frac{\nu + d_1}{\nu + d} (s\,\mathrm{std})^2 I\right)

with the coefficients of the Gaussian posterior. d is the number of cells that share a g: all of a
sequence (``coupled``), whose noise is then loud or quiet as a whole, or one.

A denoiser of many coupled cells can read g off z, and is then one of Gaussian noise at the log-SNR
``log_snr + log(g / s^2)``: with many cells a coupled process is little else than a Gaussian one
with a random schedule.

Source: Pandey et al. (2025), "Heavy-tailed diffusion models", section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import gamma as gamma_law
from torch import Tensor

from skdiffuse.corruptions.corruption import of_each
from skdiffuse.corruptions.gaussian import GaussianCorruption
from skdiffuse.diffusion import Denoiser, alpha, sigma
from skdiffuse.diffusion.variances import posterior_coefficients

__all__ = ["StudentTCorruption"]

# Precisions over which the bound of the density is averaged.
N_PRECISIONS = 4


@dataclass(frozen=True)
class StudentTCorruption(GaussianCorruption):
    """``z = alpha x + sigma eps`` with Student-t noise of unit variance.

    Parameters
    ----------
    nu : float, default=5.0
        Degrees of freedom, above 2; infinite is Gaussian, to the bit.
    coupled : bool, default=True
        Whether all cells of a sequence share one scale of the noise, or each has its own.

    Examples
    --------
    >>> heavy = StudentTCorruption(nu=3.0, coupled=False)
    >>> noise = heavy.noise((100_000,), torch.Generator().manual_seed(0))
    >>> bool((noise.abs() > 6).double().mean() > 1e-3)  # 2e-9 of Gaussian noise
    True
    """

    nu: float = 5.0
    coupled: bool = True

    def __post_init__(self) -> None:
        if not self.nu > 2:
            raise ValueError(
                f"nu={self.nu!r} must be above 2, where the variance of the noise is finite; "
                "math.inf is Gaussian noise."
            )

    @property
    def capabilities(self) -> frozenset[str]:  # type: ignore[override]
        if math.isinf(self.nu):
            return GaussianCorruption.capabilities
        able = {"cells", "expectation", "amortised", "ode", "skip", "learnt_latent", "any_shape"}
        # Cells with precisions of their own have no common log-SNR, by which the bound goes.
        return frozenset(able | ({"likelihood"} if self.coupled else set()))

    @property
    def scale(self) -> float:
        """Return s, by which Student-t noise has unit variance."""
        return 1.0 if math.isinf(self.nu) else math.sqrt((self.nu - 2) / self.nu)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return self.scale * self._student(shape, self.nu, generator)

    def noises(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        if math.isinf(self.nu):
            return super().noises(n, shape, generator)
        return torch.stack([self.noise(shape, generator) for _ in range(n)])

    def step_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard Student-t with the degrees of freedom of the step back, nu + d."""
        return self._student(shape, self.nu + self._sharing(shape), generator)

    def step_back(
        self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor, noise: Tensor
    ) -> Tensor:
        if math.isinf(self.nu) or torch.isinf(log_snr_next):
            return super().step_back(z, x_hat, log_snr, log_snr_next, noise)
        c_z, c_x, std = posterior_coefficients(log_snr, log_snr_next)
        d = self._sharing(tuple(z.shape[1:]))
        off = (z.double() - of_each(alpha(log_snr), z).double() * x_hat.double()) / (
            of_each(sigma(log_snr), z).double() * self.scale
        )
        d_1 = off.square()
        if self.coupled:
            d_1 = d_1.flatten(1).sum(1).reshape(-1, *[1] * (z.ndim - 1))
        louder = ((self.nu + d_1) / (self.nu + d)).sqrt().to(z)
        return c_z * z + c_x * x_hat + std * self.scale * louder * noise

    def gaussian_views(self, denoiser: Denoiser) -> list[Denoiser]:
        """The denoiser as one of Gaussian noise, for each of some equally likely precisions.

        With g drawn first and kept, this is a diffusion with Gaussian noise at the log-SNR
        ``log_snr + log(g / s^2)`` whose denoiser is not told g; its bound of the density is one of
        the whole, averaged over g.
        """
        if math.isinf(self.nu):
            return [denoiser]
        levels = (np.arange(N_PRECISIONS) + 0.5) / N_PRECISIONS
        precisions = gamma_law.ppf(levels, self.nu / 2, scale=2 / self.nu)
        return [_GaussianView(denoiser, math.log(g) - 2 * math.log(self.scale)) for g in precisions]

    def _sharing(self, shape: tuple[int, ...]) -> int:
        """Cells that share a precision."""
        return math.prod(shape) if self.coupled else 1

    def _student(self, shape: tuple[int, ...], nu: float, generator: torch.Generator) -> Tensor:
        normal = torch.randn(shape, generator=generator)
        if math.isinf(nu):
            return normal
        # torch has no gamma distribution that takes a generator.
        seed = int(torch.randint(2**62, (), generator=generator))
        size = (1,) * len(shape) if self.coupled else shape
        precision = np.random.default_rng(seed).gamma(nu / 2, 2 / nu, size)
        return normal / torch.from_numpy(precision).sqrt().to(normal)


class _GaussianView:
    """A denoiser of ``alpha x + sigma eps / c`` as one of variance-preserving Gaussian noise."""

    def __init__(self, denoiser: Denoiser, shift: float) -> None:
        self.denoiser = denoiser
        self.shift = shift

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        own = torch.as_tensor(log_snr, dtype=torch.float64) - self.shift
        return self.denoiser(of_each(alpha(own) / alpha(log_snr), z) * z, own)
