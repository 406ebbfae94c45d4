"""Whether fields made from noisy windows are as strong as those windows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import torch
from torch import Tensor

from skdiffuse.diffusion import (
    AdamsStep,
    Denoiser,
    TruncatedCosineSchedule,
    VDenoiser,
    diffuse,
    run_sampler,
    sampling_grid,
)
from skdiffuse.networks.spectral import spectral_transform, wave_numbers
from skdiffuse.runtime.memory import in_batches

__all__ = ["paired_start_error"]

# Storms are decided below, fine structure above. Fewer steps move power by some percent.
START, N_STEPS = -6.0, 16


def paired_start_error(
    predict_v: Denoiser,
    latent: Tensor,
    noise: Tensor,
    *,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
) -> float:
    """Mean over bands of waves of the absolute log-ratio of power, made over real.

    The sampler starts at ``alpha x + sigma eps`` of windows x at log-SNR -6. What it ends with is
    compared with the same windows, so that their differences cancel: 0 where each scale is as
    strong as in them, .7 where half or twice the power is typical. The v-loss hardly tells these
    apart, for most of it is noise that nobody can predict.

    Parameters
    ----------
    predict_v : callable
        ``(z, log_snr) -> v``.
    latent : Tensor of shape (n, frames, y, x)
        Windows; NaN counts as 0 on both sides.
    noise : Tensor, shape of latent
    batch_size : int, default=16
    device : torch.device or str, default="cpu"

    Examples
    --------
    A denoiser that knows nothing but the mean gives fields without any power:

    >>> import torch
    >>> from skdiffuse.diffusion import alpha, sigma
    >>> def mean_only(z, log_snr):
    ...     return alpha(log_snr) / sigma(log_snr) * z
    >>> x = torch.randn(8, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> paired_start_error(mean_only, x, torch.zeros_like(x)) > 5
    True
    """
    known = torch.isfinite(latent)
    x = torch.where(known, latent, 0.0)
    schedule = TruncatedCosineSchedule(START, 20.0)
    grid = sampling_grid(schedule, N_STEPS)

    def made(part: slice) -> Tensor:
        log_snr = torch.full((len(x[part]),), START, dtype=torch.float64)
        z = diffuse(x[part], noise[part], log_snr).to(device)
        return run_sampler(VDenoiser(predict_v), z, grid, AdamsStep()).cpu()

    with torch.no_grad():
        found = in_batches(made, len(x), batch_size)
    real, got = (_power(torch.where(known, each, 0.0)) for each in (x, found))
    ratios = [
        torch.log(got[band].sum() / real[band].sum())
        for band in _bands(latent.shape[1:])
        if real[band].sum() > 0
    ]
    return float(torch.stack(ratios).abs().mean()) if ratios else 0.0


def _power(field: Tensor) -> Tensor:
    return spectral_transform(field.double()).square().mean(0)


def _bands(shape: torch.Size) -> Iterator[Tensor]:
    """Modes (frames, y, x) of the constant, of less than two half waves, of 2 to 4, 4 to 8..."""
    y, x = (wave_numbers(n, periodic=False) * max(shape[1:]) / n for n in shape[1:])
    radius = (y[:, None] ** 2 + x**2).sqrt().expand(shape)
    yield radius == 0
    for k in count():
        inside = (radius >= 2**k) & (radius < 2 ** (k + 1))
        if not inside.any():
            return
        yield inside
