r"""The encoding model: diffusion of what a trained encoder makes of the data.

.. math:: z = \alpha\, F(x) + \sigma\, \epsilon

(Su, eq. 11.17). F is learnt first, as one half of an autoencoder, and then held (two stages, as in
Rombach et al. (2022), "Latent diffusion models"). Its element-wise case is
`skdiffuse.preprocessing.LearntMonotoneTransform`, which is learnt jointly with the network (eq.
11.18), has an inverse and a Jacobian in closed form and keeps every cell; here cells are saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdiffuse.corruptions.gaussian import GaussianCorruption

__all__ = ["EncodedCorruption", "SpatialAutoencoder"]

# Cells of the training windows that are kept to learn from, and frames in a step.
MOST_CELLS = 2**25
FRAMES_IN_A_STEP = 16
LEARNING_RATE = 2e-3


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

    def encode(self, field: Tensor) -> Tensor:
        """Encode fields, from (n, frames, y, x) to (n, frames, y / factor, x / factor)."""
        one = field.flatten(0, 1)[:, None]
        code = F.avg_pool2d(one, self.factor) + self.shrink(F.pixel_unshuffle(one, self.factor))
        return ((code - self.centre) / self.scale).reshape(*field.shape[:2], *code.shape[-2:])

    def decode(self, code: Tensor) -> Tensor:
        """Decode codes to fields."""
        one = code.flatten(0, 1)[:, None] * self.scale + self.centre
        smooth = F.interpolate(one, scale_factor=self.factor, mode="bilinear")
        field = smooth + F.pixel_shuffle(self.grow(one), self.factor)
        return field.reshape(*code.shape[:2], *field.shape[-2:])

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
            centre, scale = codes.mean(), codes.std().clamp(min=1e-6)
            self.centre.copy_(centre)
            self.scale.copy_(scale)


@dataclass(frozen=True)
class EncodedCorruption(GaussianCorruption):
    """Gaussian diffusion of the codes of a spatial autoencoder.

    Parameters
    ----------
    factor : {2, 4, 8}, default=2
        Cells along each side that become one: 4, 16 or 64 times fewer are diffused. Fields must be
        multiples of it.
    width : int, default=32
        Channels of the autoencoder.
    n_steps : int, default=500
        Training steps of the autoencoder, before the network's.

    Notes
    -----
    A cell of a code is no cell of rain and an autoencoder no bijection: cells cannot be known,
    guided to or scored.

    Examples
    --------
    >>> fields = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> encoded = EncodedCorruption(n_steps=1).fit([fields])
    >>> encoded.encode(fields).shape
    torch.Size([2, 3, 4, 4])
    """

    factor: int = 2
    width: int = 32
    n_steps: int = 500
    autoencoder: SpatialAutoencoder | None = field(default=None, repr=False, compare=False)

    capabilities = frozenset({"expectation", "ode", "sde", "skip", "any_shape"})

    def __post_init__(self) -> None:
        if self.factor not in (2, 4, 8):
            raise ValueError(f"factor={self.factor!r} must be 2, 4 or 8.")
        for name in ("width", "n_steps"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at least 1.")

    def fit(self, latents: Iterable[Tensor], seed: int = 0) -> Self:
        kept: list[Tensor] = []
        for batch in latents:
            kept.append(batch)
            if sum(each.numel() for each in kept) >= MOST_CELLS:
                break
        fields = torch.cat(kept)
        self.shape(tuple(fields.shape[1:]))
        autoencoder = self._new(seed)
        with torch.enable_grad():
            autoencoder.learn(fields, self.n_steps, seed)
        return replace(self, autoencoder=autoencoder.requires_grad_(False).eval())

    def tensors(self) -> dict[str, Tensor]:
        if self.autoencoder is None:
            return {}
        return {name: each.cpu() for name, each in self.autoencoder.state_dict().items()}

    def with_tensors(self, tensors: dict[str, Tensor]) -> Self:
        if not tensors:
            return self
        autoencoder = self._new(0)
        autoencoder.load_state_dict(tensors)
        return replace(self, autoencoder=autoencoder.requires_grad_(False).eval())

    def encode(self, latent: Tensor) -> Tensor:
        known = torch.isfinite(latent)
        codes = self._fitted(latent).encode(torch.where(known, latent, 0))
        # A code with unknown cells in its block says something else than one without.
        whole = F.avg_pool2d(known.double(), self.factor) == 1
        return torch.where(whole, codes, torch.nan)

    def decode(self, x: Tensor) -> Tensor:
        return self._fitted(x).decode(x)

    def shape(self, window: tuple[int, ...]) -> tuple[int, ...]:
        *lead, rows, columns = window
        if rows % self.factor or columns % self.factor:
            raise ValueError(
                f"{self!r} encodes fields whose sides are multiples of {self.factor}, not "
                f"{rows} x {columns}: set crop_size or shape to one, or choose another factor."
            )
        return (*lead, rows // self.factor, columns // self.factor)

    def _new(self, seed: int) -> SpatialAutoencoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SpatialAutoencoder(self.factor, self.width)

    def _fitted(self, like: Tensor) -> SpatialAutoencoder:
        if self.autoencoder is None:
            raise ValueError(f"{self!r} has no autoencoder before fit(latents); fit it first.")
        return self.autoencoder.to(like.device)
