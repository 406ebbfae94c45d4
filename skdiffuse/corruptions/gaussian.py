"""Today's diffusion as an instance of a corruption."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skdiffuse.corruptions.corruption import CAPABILITIES, Corruption
from skdiffuse.diffusion import Denoiser, convert, diffuse, v_loss
from skdiffuse.diffusion.variances import posterior_coefficients

__all__ = ["GaussianCorruption"]


@dataclass(frozen=True)
class GaussianCorruption(Corruption):
    """``z = alpha x + sigma eps`` with Gaussian noise: hot diffusion.

    Everything in `skdiffuse.diffusion` is about this one; here it is put in the terms of a
    `Corruption`, by the same functions. Source: Su, eqs. 11.6 to 11.10.

    Examples
    --------
    >>> import torch
    >>> corruption = GaussianCorruption()
    >>> x, noise = torch.ones(1, 2), torch.zeros(1, 2)
    >>> corruption.corrupt(x, torch.tensor(torch.inf), noise)
    tensor([[1., 1.]])
    """

    capabilities = frozenset(CAPABILITIES) - {"restoration"}

    def corrupt(self, x: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        return diffuse(x, noise, log_snr)

    def noises(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randn((n, *shape), generator=generator)

    def law(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return self.noise(shape, generator)

    def loss(self, network: Denoiser, x: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        return v_loss(network, x, log_snr, noise, mask=torch.isfinite(x))

    def estimate(self, prediction: Tensor, z: Tensor, log_snr: Tensor) -> Tensor:
        return convert(prediction, z, log_snr, source="v", target="x")

    def step_back(
        self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor, noise: Tensor
    ) -> Tensor:
        if torch.isinf(log_snr_next):
            return x_hat
        c_z, c_x, std = posterior_coefficients(log_snr, log_snr_next)
        return c_z * z + c_x * x_hat + std * noise
