"""The mathematics of diffusion: schedules, denoisers, objectives and samplers."""

from skdiffuse.diffusion.denoisers import (
    ClampedDenoiser,
    Denoiser,
    NetworkDenoiser,
    VDenoiser,
)
from skdiffuse.diffusion.exact import GaussianDenoiser, GaussianMixtureDenoiser
from skdiffuse.diffusion.guidance import ReconstructionGuidance
from skdiffuse.diffusion.objectives import v_loss
from skdiffuse.diffusion.parameterizations import alpha, convert, diffuse, sigma
from skdiffuse.diffusion.random import RandomStreams
from skdiffuse.diffusion.samplers import (
    AdamsBashforthStep,
    AncestralStep,
    DDIMStep,
    HeunStep,
    Step,
    integrate,
    run_sampler,
)
from skdiffuse.diffusion.schedules import (
    NoiseSchedule,
    TruncatedCosineSchedule,
    sampling_grid,
)

__all__ = [
    "AdamsBashforthStep",
    "AncestralStep",
    "ClampedDenoiser",
    "DDIMStep",
    "Denoiser",
    "GaussianDenoiser",
    "GaussianMixtureDenoiser",
    "HeunStep",
    "NetworkDenoiser",
    "NoiseSchedule",
    "RandomStreams",
    "ReconstructionGuidance",
    "Step",
    "TruncatedCosineSchedule",
    "VDenoiser",
    "alpha",
    "convert",
    "diffuse",
    "integrate",
    "run_sampler",
    "sampling_grid",
    "sigma",
    "v_loss",
]
