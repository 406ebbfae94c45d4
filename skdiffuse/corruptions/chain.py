"""The one sampler for every corruption: estimate, step back, and so on to the data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from skdiffuse.corruptions.corruption import Corruption
from skdiffuse.diffusion import Denoiser, RandomStreams

__all__ = ["draw_back", "draw_law"]


def draw_law(corruption: Corruption, shape: tuple[int, ...], streams: RandomStreams) -> Tensor:
    """The noisy end of each sample, of shape (n, *shape)."""
    return streams.each(lambda generator: corruption.law(shape, generator))


@torch.no_grad()
def draw_back(
    corruption: Corruption,
    denoiser: Denoiser,
    z: Tensor,
    grid: Tensor,
    streams: RandomStreams,
    callback: Callable[[int, int, Tensor, Tensor], Any] | None = None,
) -> Tensor:
    """Sample data from the noisy end of a corruption.

    Parameters
    ----------
    corruption : Corruption
    denoiser : callable
        ``(z, log_snr) -> x_hat``, as `Corruption.denoiser` makes of a network.
    z : Tensor of shape (n, ...)
        Of `draw_law`, or a corrupted field at ``grid[0]``.
    grid : Tensor of float64, shape (n_steps + 1,)
        Increasing log-SNRs, as from `sampling_grid`, or where the corruption has its own
        `Corruption.levels`, their number; the last step goes on to infinity.
    streams : RandomStreams of length n
    callback : callable, optional
        ``callback(i, n, z, x_hat)`` after each of the ``n = n_steps + 1`` evaluations.

    Returns
    -------
    Tensor of shape (n, ...)
        The data x, still encoded if the corruption encodes.

    Examples
    --------
    >>> from skdiffuse.corruptions import GaussianCorruption
    >>> streams, grid = RandomStreams([0]), torch.linspace(-10, 10, 5)
    >>> z = draw_law(GaussianCorruption(), (2,), streams)
    >>> draw_back(GaussianCorruption(), lambda z, _: torch.ones_like(z), z, grid, streams)
    tensor([[1., 1.]])
    """
    end = torch.tensor(torch.inf, dtype=torch.float64)
    grid = torch.as_tensor(grid, dtype=torch.float64, device="cpu")
    levels = [*corruption.levels(grid), end]
    shape = tuple(z.shape[1:])

    def chance(generator: torch.Generator) -> Tensor:
        return corruption.step_noise(shape, generator)

    for i, (level, cleaner) in enumerate(pairwise(levels)):
        x_hat = denoiser(z, level.to(z.device))
        if callback is not None:
            callback(i, len(grid), z, x_hat)
        noise = streams.each(chance).to(z.device)
        z = corruption.step_back(z, x_hat, level, cleaner, noise)
    return z
