"""From the noisy end of a model's corruption to latents, whatever corruption that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from skdiffuse.corruptions import Corruption, draw_back, require
from skdiffuse.diffusion import (
    AdamsStep,
    AncestralStep,
    ClampedDenoiser,
    Denoiser,
    RandomStreams,
    Step,
    run_sampler,
)
from skdiffuse.estimator.rain_model import RainModel

__all__ = ["goes_back", "refuse_step"]


def refuse_step(corruption: Corruption, step: Step) -> None:
    """Refuse a step rule that the corruption's way back is not made of.

    The default and ancestral sampling stand for its own step where they cannot be taken as such.
    """
    if isinstance(step, AncestralStep) or step == AdamsStep():
        return
    require(corruption, "sde" if step.stochastic else "ode", f"sampler={step!r}")


def goes_back(
    model: RainModel,
    denoiser: Denoiser,
    z: Tensor,
    grid: Tensor,
    step: Step,
    streams: RandomStreams,
    callback: Callable[..., Any] | None = None,
) -> Tensor:
    """Latents sampled from the noisy end.

    Parameters
    ----------
    model : RainModel
    denoiser : callable
        ``(z, log_snr) -> x_hat``.
    z : Tensor
        Noisy end, at ``grid[0]``.
    grid : Tensor
    step : Step
        Where it is no solver of the corruption's, this makes its own steps.
    streams : RandomStreams
    callback : callable, optional
        See `run_sampler`.
    """
    corruption = model.corruption
    if "cells" in corruption.capabilities:
        denoiser = ClampedDenoiser(denoiser, *model.latent.bounds)
    if ("sde" if step.stochastic else "ode") in corruption.capabilities:
        x = run_sampler(denoiser, z, grid, step, streams=streams, callback=callback)
    else:
        x = draw_back(corruption, denoiser, z, grid, streams, callback)
    return corruption.decode(x)
