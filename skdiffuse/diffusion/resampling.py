"""What is done to the latent of known cells besides guidance: replacement and going back."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.observations import Observation
from skdiffuse.diffusion.ode_steps import RungeKuttaStep
from skdiffuse.diffusion.parameterizations import NoiseLevel, diffuse
from skdiffuse.diffusion.random import RandomStreams
from skdiffuse.diffusion.samplers import Step
from skdiffuse.diffusion.stochastic_steps import fresh_noise

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
        How often the step is done in all, at least 1; the cost is so many times that of `rule`.

    Notes
    -----
    Going back adds fresh noise, so that a repeat starts on another path than the steps before. A
    rule that remembers those (`AdamsStep`, `DPMSolverStep` of order 2) would mix the paths, and
    begun anew at every repeat it would be of first order, with errors that add up. For `n_times`
    above 1 a third-order Runge-Kutta step, which goes by nothing but its own latent, stands in for
    it; noise comes from going back. With 10 repeats of 32 `AdamsStep` the exact error of the
    covariance of Gaussian data is 0.02 %, where it was 12 % with the memory of other paths and
    25 % without any.

    References
    ----------
    Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models" (2022),
    algorithm 1, with jumps of one step.

    Examples
    --------
    >>> from skdiffuse.diffusion import AdamsStep, AncestralStep
    >>> ResampledStep(AncestralStep(), 10).evaluations
    10
    >>> ResampledStep(AdamsStep(), 10).evaluations
    30
    """

    step: Step
    n_times: int
    stochastic: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if self.n_times < 1:
            raise ValueError(f"n_times={self.n_times!r} must be at least 1.")

    @property
    def rule(self) -> Step:
        """What is done `n_times`."""
        if self.n_times > 1 and self.step.remembers:
            return RungeKuttaStep("kutta3")
        return self.step

    @property
    def evaluations(self) -> int:
        return self.n_times * self.rule.evaluations

    @property
    def remembers(self) -> bool:
        return self.rule.remembers

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: Any,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Tensor, Any]:
        rule = self.rule
        z_next, x_hat, memory = rule(denoiser, z, log_snr, log_snr_next, memory, streams)
        t, s = NoiseLevel.at(log_snr), NoiseLevel.at(log_snr_next)
        std = t.sigma * math.sqrt(-math.expm1(t.log_snr - s.log_snr))
        for _ in range(self.n_times - 1):
            noise = fresh_noise(streams, z)
            back = (t.alpha / s.alpha) * z_next + std * noise
            z_next, x_hat, memory = rule(denoiser, back, log_snr, log_snr_next, None, streams)
        return z_next, x_hat, memory
