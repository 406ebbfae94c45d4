"""What is done to the latent of known cells besides guidance: replacement and going back."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from skdiffuse.diffusion.observations import Observation
from skdiffuse.diffusion.parameterizations import NoiseLevel, diffuse
from skdiffuse.diffusion.random import RandomStreams
from skdiffuse.diffusion.samplers import Step

__all__ = ["ReplaceKnown", "ResampledStep"]


class ReplaceKnown:
    """Hook after a step that sets known cells to ``alpha x_k + sigma eps`` with new noise.

    Guided denoisers return known cells as they are, so that a sampler keeps their latents on a path
    to them by itself; this is the replacement as published.

    Parameters
    ----------
    observation : Observation
        What it pins is replaced.
    streams : RandomStreams
        Noise.

    References
    ----------
    Song et al., "Score-Based Generative Modeling through SDEs" (2021), appendix I.2.

    Examples
    --------
    >>> from skdiffuse.diffusion import KnownCells
    >>> replace = ReplaceKnown(KnownCells(torch.tensor([[2.0, torch.nan]])), RandomStreams([0]))
    >>> replace(torch.zeros(1, 2), torch.tensor(40.0))
    tensor([[2., 0.]])
    """

    def __init__(self, observation: Observation, streams: RandomStreams):
        self.observation = observation
        self.streams = streams

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        noise = self.streams.normal(z.shape[1:], dtype=z.dtype).to(z.device)
        noisy = diffuse(self.observation.pin(z), noise, log_snr)
        return torch.where(self.observation.pinned(z), noisy, z)


@dataclass(frozen=True)
class ResampledStep:
    """A step that is gone back and repeated, so that the rest comes to terms with what is known.

    Parameters
    ----------
    step : Step
        What is repeated.
    n_times : int
        How often the step is done in all, at least 1; the cost is so many times as high.

    References
    ----------
    Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models" (2022),
    algorithm 1, with jumps of one step.

    Examples
    --------
    >>> from skdiffuse.diffusion import AncestralStep
    >>> ResampledStep(AncestralStep(), 10).evaluations
    10
    """

    step: Step
    n_times: int
    stochastic: bool = field(default=True, init=False)

    def __post_init__(self):
        if self.n_times < 1:
            raise ValueError(f"n_times={self.n_times!r} must be at least 1.")

    @property
    def evaluations(self) -> int:
        return self.n_times * self.step.evaluations

    def __call__(self, denoiser, z, log_snr, log_snr_next, memory, streams):
        t, s = NoiseLevel.at(log_snr), NoiseLevel.at(log_snr_next)
        std = t.sigma * math.sqrt(-math.expm1(t.log_snr - s.log_snr))
        z_next, x_hat, remembered = self.step(denoiser, z, log_snr, log_snr_next, memory, streams)
        for _ in range(self.n_times - 1):
            noise = streams.normal(z.shape[1:], dtype=z.dtype).to(z.device)
            back = (t.alpha / s.alpha) * z_next + std * noise
            z_next, x_hat, remembered = self.step(
                denoiser, back, log_snr, log_snr_next, memory, streams
            )
        return z_next, x_hat, remembered
