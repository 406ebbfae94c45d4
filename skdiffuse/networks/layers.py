"""Building blocks of the video U-Net.

Every block works on frames folded into the batch, ``(batch * frames, channels, y, x)`` in
channels-last memory, so that convolutions, norms and attention all run without a copy: a
convolution in space sees frames as independent pictures, a convolution in time sees the same memory
as pictures of ``frames`` rows and ``y * x`` columns, and attention in time sees it as sequences.
Linear maps are convolutions of one cell, which no library computes slower than a matrix product.
"""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdiffuse.networks.edges import Edges, SpatialConvolution

__all__ = [
    "Attention",
    "LogSNREmbedding",
    "ResidualBlock",
    "TemporalConvolution",
    "channel_norm",
    "zero_initialised",
]

Module = TypeVar("Module", bound=nn.Module)


# Fused kernels of GPUs count heads in 16 bits.
MOST_HEADS = 2**15


def zero_initialised(module: Module) -> Module:
    """A module with zeros for all its parameters."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def channel_norm(x: Tensor) -> Tensor:
    """Layer norm over the channels of each cell, without weights: the layer after has its own.

    The statistics are those of one cell, so that the result does not depend on the field's size or
    on what it rains elsewhere, as it would with group norm.
    """
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


class LogSNREmbedding(nn.Module):
    """Fourier features of the log-SNR, then a small perceptron: ``(n,) -> (n, channels)``."""

    frequencies: Tensor

    def __init__(self, channels: int, n_frequencies: int = 16) -> None:
        super().__init__()
        # Wavelengths from 80 (the whole range of log-SNRs, [-20, 20], and beyond) down to 2:
        # the best denoiser changes smoothly over a unit of log-SNR and no faster.
        wavelengths = torch.logspace(math.log10(80.0), math.log10(2.0), n_frequencies)
        self.register_buffer("frequencies", 2 * math.pi / wavelengths, persistent=False)
        self.perceptron = nn.Sequential(
            nn.Linear(2 * n_frequencies, channels), nn.SiLU(), nn.Linear(channels, channels)
        )

    def forward(self, log_snr: Tensor) -> Tensor:
        angle = log_snr.to(self.frequencies)[:, None] * self.frequencies
        return self.perceptron(torch.cat([angle.sin(), angle.cos()], dim=1))


class TemporalConvolution(nn.Module):
    """Convolution over three neighbouring frames that is the identity at the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = zero_initialised(
            nn.Conv2d(channels, channels, kernel_size=(3, 1), padding=(1, 0))
        )
        nn.init.dirac_(self.convolution.weight)

    def forward(self, x: Tensor, n_frames: int) -> Tensor:
        folded, channels, height, width = x.shape
        # (batch * t, c, y, x) and (batch, c, t, y * x) are the same channels-last memory.
        rows = x.permute(0, 2, 3, 1).reshape(-1, n_frames, height * width, channels)
        mixed = self.convolution(rows.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return mixed.reshape(folded, height, width, channels).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention along one axis, ``"time"`` or ``"space"``, zero-initialised and residual."""

    def __init__(self, channels: int, axis: str, head_channels: int = 32) -> None:
        super().__init__()
        self.axis = axis
        self.n_heads = max(1, channels // head_channels)
        while channels % self.n_heads:
            self.n_heads -= 1
        self.project_in = nn.Conv2d(channels, 3 * channels, 1)
        self.project_out = zero_initialised(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, n_frames: int) -> Tensor:
        folded, channels, height, width = x.shape
        cells, heads = height * width, self.n_heads
        projected = self.project_in(channel_norm(x)).permute(0, 2, 3, 1)
        # Channels are ordered (head, 3, d), so that every head of every cell is at an equal
        # distance from the next and attention in time runs on the memory as it is.
        if self.axis == "time":
            sequences = projected.reshape(-1, n_frames, cells * heads, 3, channels // heads)
        else:
            sequences = projected.reshape(folded, cells, heads, 3, channels // heads)
        # (sequence, head, position, d)
        query, key, value = sequences.permute(3, 0, 2, 1, 4)
        parts = zip(*(t.split(MOST_HEADS, dim=1) for t in (query, key, value)), strict=True)
        of_parts = [F.scaled_dot_product_attention(*part) for part in parts]
        attended = of_parts[0] if len(of_parts) == 1 else torch.cat(of_parts, dim=1)
        attended = attended.permute(0, 2, 1, 3).reshape(folded, height, width, channels)
        return x + self.project_out(attended.permute(0, 3, 1, 2))


class ResidualBlock(nn.Module):
    """Norm, convolution in space, noise-level modulation, mixing in time, convolution in space.

    The last convolution is zero-initialised: at the start of training each block is the identity
    (or, where the number of channels changes, a linear map of its input).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        embedding_channels: int,
        edges: Edges = ("zero", "zero"),
    ) -> None:
        super().__init__()
        self.convolution_in = SpatialConvolution(channels_in, channels_out, edges=edges)
        self.modulation = zero_initialised(nn.Linear(embedding_channels, 2 * channels_out))
        self.in_time = TemporalConvolution(channels_out)
        self.convolution_out = zero_initialised(
            SpatialConvolution(channels_out, channels_out, edges=edges)
        )
        self.shortcut = (
            nn.Identity()
            if channels_in == channels_out
            else nn.Conv2d(channels_in, channels_out, 1)
        )

    def forward(self, x: Tensor, embedding: Tensor, n_frames: int) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.convolution_in(F.silu(channel_norm(x)))
        h = F.silu(torch.addcmul(shift, channel_norm(h), 1 + scale))
        h = self.convolution_out(self.in_time(h, n_frames))
        return self.shortcut(x) + h
