"""The sampling loop, into which every denoiser, grid and step rule plugs.

The loop owns the grid, the callback and the last step; a step rule moves a latent from one log-SNR
to the next.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.random import RandomStreams
from skdiffuse.runtime.double import home_of_double

__all__ = ["Step", "Trajectory", "integrate", "run_sampler"]

Callback = Callable[[int, int, Tensor, Tensor], Any]
AfterStep = Callable[[Tensor, Tensor], Tensor]


class Step(Protocol):
    """Rule that moves a latent from one log-SNR to the next.

    ``evaluations`` is the number of evaluations of the denoiser per step; ``stochastic`` says
    whether the step draws noise, ``remembers`` whether it goes by earlier steps of the same path.
    ``step(denoiser, z, log_snr, log_snr_next, memory, streams)``
    returns the next latent, the x_hat evaluated at the start of the step, and what the rule wants
    to remember: memory is None at the first step and never kept in the rule itself. The log-SNRs
    are 0-D float64 tensors on the CPU.
    """

    @property
    def evaluations(self) -> int: ...

    @property
    def stochastic(self) -> bool: ...

    @property
    def remembers(self) -> bool: ...

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: Any,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Tensor, Any]: ...


def run_sampler(
    denoiser: Denoiser,
    z: Tensor,
    grid: Tensor,
    step: Step,
    *,
    streams: RandomStreams | None = None,
    callback: Callback | None = None,
    after_step: AfterStep | None = None,
) -> Tensor:
    """Sample data from noise.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``.
    z : Tensor of shape (n, ...)
        Standard normal noise, the latent at ``grid[0]``; float32 or float64.
    grid : Tensor of float64, shape (n_steps + 1,)
        Increasing log-SNRs, as from `sampling_grid`, or any sub-sequence of another grid.
    step : Step
        Rule of a step.
    streams : RandomStreams of length n, optional
        Noise of stochastic steps.
    callback : callable, optional
        ``callback(i, n, z, x_hat)`` after the evaluation at grid point i of n = n_steps + 1.
    after_step : callable, optional
        ``after_step(z, log_snr) -> z``, applied to the latent after every step; replacement of
        known cells goes here.

    Returns
    -------
    Tensor of shape (n, ...)
        The posterior mean at the last log-SNR: no noise is added last and no infinite log-SNR is
        needed. The denoiser is evaluated ``n_steps * step.evaluations + 1`` times.

    Examples
    --------
    >>> from skdiffuse.diffusion import (
    ...     AdamsStep, GaussianDenoiser, TruncatedCosineSchedule, sampling_grid
    ... )
    >>> denoiser = GaussianDenoiser(torch.zeros(1), torch.tensor([[4.0]]))
    >>> grid = sampling_grid(TruncatedCosineSchedule(), 31, "tapered")
    >>> run_sampler(denoiser, torch.tensor([[-1.0], [1.0]]), grid, AdamsStep())
    tensor([[-2.00...],
            [ 2.00...]])
    """
    z = integrate(
        denoiser, z, grid, step, streams=streams, callback=callback, after_step=after_step
    )
    with torch.no_grad():
        x_hat = denoiser(z, grid[-1].to(home_of_double(z.device)))
    if callback is not None:
        callback(len(grid) - 1, len(grid), z, x_hat)
    return x_hat


@torch.no_grad()
def integrate(
    denoiser: Denoiser,
    z: Tensor,
    grid: Tensor,
    step: Step,
    *,
    streams: RandomStreams | None = None,
    callback: Callback | None = None,
    after_step: AfterStep | None = None,
) -> Tensor:
    """Carry a latent along a grid of log-SNRs, in either direction, and return the last latent.

    Parameters as in `run_sampler`, which adds the last denoising. Steps of the probability-flow ODE
    may go either way; the callback is not called for the last point.

    Returns
    -------
    Tensor of shape (n, ...)
        Latent at ``grid[-1]``.
    """
    grid = _checked_grid(grid)
    if z.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"z must be float32 or float64, got {z.dtype}: steps add small increments. A denoiser "
            f"may work in less precision inside."
        )
    if step.stochastic:
        _check_streams(streams, z, step)

    def evaluate(z: Tensor, log_snr: Tensor) -> Tensor:
        return denoiser(z, log_snr.to(home_of_double(z.device)))

    memory = None
    for i in range(len(grid) - 1):
        z_next, x_hat, memory = step(evaluate, z, grid[i], grid[i + 1], memory, streams)
        if callback is not None:
            callback(i, len(grid), z, x_hat)
        z = z_next if after_step is None else after_step(z_next, grid[i + 1])
    return z


class Trajectory:
    """Callback that keeps the latents and posterior means of a sampling run.

    Attributes
    ----------
    z, x_hat : list of Tensor
        One entry per grid point, on the CPU.

    Examples
    --------
    >>> from skdiffuse.diffusion import DDIMStep
    >>> trajectory, grid = Trajectory(), torch.tensor([-5.0, 0.0, 5.0])
    >>> denoise = lambda z, log_snr: torch.zeros_like(z)
    >>> x = run_sampler(denoise, torch.ones(1, 2), grid, DDIMStep(), callback=trajectory)
    >>> len(trajectory.x_hat)
    3
    """

    def __init__(self) -> None:
        self.z: list[Tensor] = []
        self.x_hat: list[Tensor] = []

    def __call__(self, i: int, n: int, z: Tensor, x_hat: Tensor) -> None:
        self.z.append(z.cpu())
        self.x_hat.append(x_hat.cpu())


def _checked_grid(grid: Tensor) -> Tensor:
    grid = torch.as_tensor(grid, dtype=torch.float64, device="cpu")
    if grid.ndim != 1 or len(grid) < 2:
        raise ValueError(
            f"grid must be 1-D with at least 2 log-SNRs, got shape {tuple(grid.shape)}."
        )
    if not torch.isfinite(grid).all():
        raise ValueError("grid must hold finite log-SNRs; the last step needs no infinite one.")
    difference = grid.diff()
    if not ((difference > 0).all() or (difference < 0).all()):
        raise ValueError("grid must be strictly monotone; remove repeated log-SNRs.")
    return grid


def _check_streams(streams: RandomStreams | None, z: Tensor, step: Step) -> None:
    if streams is None:
        raise ValueError(
            f"{type(step).__name__} draws noise: pass streams=RandomStreams(seeds), one seed per "
            f"sample."
        )
    if len(streams) != len(z):
        raise ValueError(
            f"streams must hold one stream per sample, got {len(streams)} streams for {len(z)} "
            f"samples."
        )
