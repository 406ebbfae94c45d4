"""A small network of how far a finished denoiser is off, cell by cell."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["VarianceHead"]

_N_CENTRES = 9


class VarianceHead(nn.Module):
    """Logarithm of an expected square, relative to its mean over all cells of the noise level.

    It reads what the denoiser has said, so that a step of the sampler costs no second evaluation of
    it: the latent, x_hat and the noise that follows from both, through three convolutions whose
    channels the log-SNR scales and shifts. A new head returns 0.

    Parameters
    ----------
    width : int, default=16
        Channels; 9,300 weights with 16.

    Examples
    --------
    >>> head = VarianceHead()
    >>> field = torch.ones(2, 4, 8, 8)
    >>> bool((head(field, field, field, torch.zeros(2, dtype=torch.float64)) == 0).all())
    True
    >>> sum(weight.numel() for weight in head.parameters())
    9313
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, width, 3, padding=1)
        self.second = nn.Conv3d(width, width, 3, padding=1)
        self.last = nn.Conv3d(width, 1, 3, padding=1)
        self.levels = nn.Linear(_N_CENTRES, 4 * width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.register_buffer("centres", torch.linspace(-20.0, 20.0, _N_CENTRES), persistent=False)

    def forward(self, z: Tensor, x_hat: Tensor, eps_hat: Tensor, log_snr: Tensor) -> Tensor:
        """Logarithm of the ratio, of the shape of z.

        Parameters
        ----------
        z, x_hat, eps_hat : Tensor of shape (n, frames, y, x)
            Latent and what the denoiser makes of it.
        log_snr : Tensor of shape () or (n,)
        """
        centres: Tensor = self.centres  # type: ignore[assignment]
        distance = (log_snr.to(centres).reshape(-1, 1) - centres) / 5
        scale1, shift1, scale2, shift2 = (
            part[:, :, None, None, None]
            for part in self.levels(torch.exp(-0.5 * distance.square())).chunk(4, dim=1)
        )
        hidden = self.first(torch.stack([z, x_hat, eps_hat], dim=1).to(centres))
        hidden = nn.functional.silu(hidden * (1 + scale1) + shift1)
        hidden = nn.functional.silu(self.second(hidden) * (1 + scale2) + shift2)
        # A ratio between exp(-6) and exp(6): no cell that training never saw explodes.
        return 6 * torch.tanh(self.last(hidden)[:, 0] / 6)
