"""Building blocks of the video U-Net.

Every block works on frames folded into the batch, ``(batch * frames, channels, y, x)`` in
channels-last memory, so that convolutions, norms and linear maps all run without a copy: a
convolution in space sees frames as independent pictures, a convolution in time sees the same memory
as pictures of ``frames`` rows and ``y * x`` columns, and attention in time sees it as sequences.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "Attention",
    "ChannelNorm",
    "LogSNREmbedding",
    "ResidualBlock",
    "TemporalConvolution",
]


def _zero_initialised(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each cell.

    The statistics are those of one cell, so that the result does not depend on the field's size or
    on what it rains elsewhere, as it would with group norm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        normalised = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias)
        return normalised.permute(0, 3, 1, 2)


class LogSNREmbedding(nn.Module):
    """Fourier features of the log-SNR, then a small perceptron: ``(n,) -> (n, channels)``."""

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
        angle = log_snr.to(self.frequencies.dtype)[:, None] * self.frequencies
        return self.perceptron(torch.cat([angle.sin(), angle.cos()], dim=1))


class TemporalConvolution(nn.Module):
    """Convolution over three neighbouring frames, zero-initialised and added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = _zero_initialised(
            nn.Conv2d(channels, channels, kernel_size=(3, 1), padding=(1, 0))
        )

    def forward(self, x: Tensor, n_frames: int) -> Tensor:
        folded, channels, height, width = x.shape
        # (batch * t, c, y, x) and (batch, c, t, y * x) are the same channels-last memory.
        rows = x.permute(0, 2, 3, 1).reshape(-1, n_frames, height * width, channels)
        mixed = self.convolution(rows.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + mixed.reshape(folded, height, width, channels).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention along one axis, ``"time"`` or ``"space"``, zero-initialised and residual."""

    def __init__(self, channels: int, axis: str, head_channels: int = 32) -> None:
        super().__init__()
        self.axis = axis
        self.n_heads = max(1, channels // head_channels)
        self.norm = ChannelNorm(channels)
        self.project_in = nn.Linear(channels, 3 * channels, bias=False)
        self.project_out = _zero_initialised(nn.Linear(channels, channels))

    def forward(self, x: Tensor, n_frames: int) -> Tensor:
        folded, channels, height, width = x.shape
        cells = height * width
        projected = self.project_in(self.norm(x).permute(0, 2, 3, 1))
        if self.axis == "time":
            # (batch, t, cell, ...) -> (batch, cell, head, t, d)
            sequences = projected.reshape(
                -1, n_frames, cells, 3, self.n_heads, channels // self.n_heads
            )
            query, key, value = sequences.permute(3, 0, 2, 4, 1, 5)
        else:
            # (frame, cell, ...) -> (frame, head, cell, d)
            sequences = projected.reshape(folded, cells, 3, self.n_heads, channels // self.n_heads)
            query, key, value = sequences.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        if self.axis == "time":
            attended = attended.permute(0, 3, 1, 2, 4)
        else:
            attended = attended.permute(0, 2, 1, 3)
        attended = self.project_out(attended.reshape(folded, height, width, channels))
        return x + attended.permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Norm, convolution in space, noise-level modulation, mixing in time, convolution in space.

    The last convolution is zero-initialised: at the start of training each block is the identity
    (or, where the number of channels changes, a linear map of its input).
    """

    def __init__(self, channels_in: int, channels_out: int, embedding_channels: int) -> None:
        super().__init__()
        self.norm_in = ChannelNorm(channels_in)
        self.convolution_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm_out = ChannelNorm(channels_out)
        self.modulation = _zero_initialised(nn.Linear(embedding_channels, 2 * channels_out))
        self.in_time = TemporalConvolution(channels_out)
        self.convolution_out = _zero_initialised(
            nn.Conv2d(channels_out, channels_out, 3, padding=1)
        )
        self.shortcut = (
            nn.Identity()
            if channels_in == channels_out
            else nn.Conv2d(channels_in, channels_out, 1)
        )

    def forward(self, x: Tensor, embedding: Tensor, n_frames: int) -> Tensor:
        h = self.convolution_in(F.silu(self.norm_in(x)))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(torch.addcmul(shift, self.norm_out(h), 1 + scale))
        h = self.convolution_out(self.in_time(h, n_frames))
        return self.shortcut(x) + h
