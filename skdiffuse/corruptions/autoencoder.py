"""An autoencoder of fields that keeps the variance of its codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SpatialAutoencoder"]

FRAMES_IN_A_STEP = 16
LEARNING_RATE = 2e-3
FRAMES_OF_REFERENCE, CELLS_OF_REFERENCE = 64, 2**18
LEAST_SCALE = 1e-6


class SpatialAutoencoder(nn.Module):
    """Fields to codes of `factor**2` times fewer cells and back, frame by frame.

    Starts as what can be said without learning: block means, and bilinear interpolation. Both
    halves then add what convolutions find. A code is one field, so that any network for fields
    learns it.

    Parameters
    ----------
    factor : {2, 4, 8}
        Cells along each side of a code's cell.
    width : int
        Channels.

    Examples
    --------
    >>> autoencoder = SpatialAutoencoder(factor=2, width=8)
    >>> code = autoencoder.encode(torch.ones(1, 3, 8, 8))
    >>> code.shape, autoencoder.decode(code).shape
    (torch.Size([1, 3, 4, 4]), torch.Size([1, 3, 8, 8]))
    """

    centre: Tensor
    scale: Tensor
    reference: Tensor | None

    def __init__(self, factor: int = 2, width: int = 32) -> None:
        super().__init__()
        self.factor = factor
        cells = factor**2

        def stack(channels_in: int, channels_out: int) -> nn.Sequential:
            last = nn.Conv2d(width, channels_out, 3, padding=1)
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
            first = nn.Conv2d(channels_in, width, 3, padding=1)
            middle = nn.Conv2d(width, width, 3, padding=1)
            return nn.Sequential(first, nn.SiLU(), middle, nn.SiLU(), last)

        self.shrink = stack(cells, 1)
        self.grow = stack(1, cells)
        # So that codes have mean 0 and variance 1, whatever was learnt.
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        # Frames by which it stays so while the encoder is trained together with a network.
        self.register_buffer("reference", None)
        # Of what is decoded, in a training together; 1 is the variance of the latent.
        self.log_variance = nn.Parameter(torch.zeros(()))

    def encode(self, field: Tensor) -> Tensor:
        """Encode fields, from (n, frames, y, x) to (n, frames, y / factor, x / factor)."""
        code = self._code(field.flatten(0, 1)[:, None])
        centre, scale = self.units()
        return ((code - centre) / scale).reshape(*field.shape[:2], *code.shape[-2:])

    def decode(self, code: Tensor) -> Tensor:
        """Decode codes to fields."""
        centre, scale = self.units()
        one = code.flatten(0, 1)[:, None] * scale + centre
        smooth = F.interpolate(one, scale_factor=self.factor, mode="bilinear")
        field = smooth + F.pixel_shuffle(self.grow(one), self.factor)
        return field.reshape(*code.shape[:2], *field.shape[-2:])

    def units(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of what is encoded; of the reference, while there is one."""
        if self.reference is None:
            return self.centre, self.scale
        codes = self._code(self.reference)
        return codes.mean(), codes.std().clamp(min=LEAST_SCALE)

    def hold(self, fields: Tensor) -> None:
        """Keep mean and variance of codes by frames of these fields from now on.

        From the wettest on at even ranks, so that a dry climate has its rain among them.
        """
        frames = torch.nan_to_num(fields.flatten(0, 1))[:, None]
        most = min(FRAMES_OF_REFERENCE, max(1, CELLS_OF_REFERENCE // frames[0].numel()))
        ranked = frames.flatten(1).mean(1).argsort(descending=True)
        self.reference = frames[ranked[:: -(-len(frames) // most)]]

    @torch.no_grad()
    def settle(self) -> None:
        """Take mean and variance as they are, and forget the reference."""
        centre, scale = self.units()
        self.centre.copy_(centre)
        self.scale.copy_(scale)
        self.reference = None

    def _code(self, frames: Tensor) -> Tensor:
        shrunk = self.shrink(F.pixel_unshuffle(frames, self.factor))
        return F.avg_pool2d(frames, self.factor) + shrunk

    def learn(self, fields: Tensor, n_steps: int, seed: int) -> None:
        """Minimise the squared error of what is decoded, over known cells.

        Parameters
        ----------
        fields : Tensor of shape (n, frames, y, x)
            NaN where missing.
        n_steps : int
        seed : int
        """
        frames = fields.flatten(0, 1)[:, None]
        known = torch.isfinite(frames)
        frames = torch.where(known, frames, 0)
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(self.parameters(), LEARNING_RATE)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
        for _ in range(n_steps):
            chosen = torch.randint(len(frames), (FRAMES_IN_A_STEP,), generator=generator)
            target, there = frames[chosen], known[chosen]
            error = torch.where(there, self.decode(self.encode(target)) - target, 0)
            loss = error.square().sum() / there.sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
        with torch.no_grad():
            codes = self.encode(frames[: 64 * FRAMES_IN_A_STEP])
            # One after the other: `encode` goes by both.
            centre, scale = codes.mean(), codes.std().clamp(min=LEAST_SCALE)
            self.centre.copy_(centre)
            self.scale.copy_(scale)
