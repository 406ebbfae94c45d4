"""The mathematics of diffusion: schedules, denoisers, objectives, samplers and likelihoods."""

from skdiffuse.diffusion.adaptive import (
    integrate_adaptive,
)
from skdiffuse.diffusion.amortised import (
    KNOWN_COVARIATES,
    AmortisedDenoiser,
    known_as_covariates,
)
from skdiffuse.diffusion.class_guidance import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    SimilarityGuidance,
)
from skdiffuse.diffusion.classic_schedules import (
    DiscreteBetaSchedule,
    EDMSigmaSchedule,
    EDMTrainingSchedule,
    LinearBetaSchedule,
    VarianceExplodingSchedule,
)
from skdiffuse.diffusion.conditioning import (
    CONDITIONING_METHODS,
    condition,
)
from skdiffuse.diffusion.coordinates import (
    Angle,
    Coordinate,
    EDMSigma,
    LogSNR,
    TaperedLogSNR,
)
from skdiffuse.diffusion.ddpm import (
    DDPM,
)
from skdiffuse.diffusion.denoisers import (
    ClampedDenoiser,
    Denoiser,
    EDMDenoiser,
    NetworkDenoiser,
    VDenoiser,
)
from skdiffuse.diffusion.exact import (
    ExactReverseCovariance,
    GaussianDenoiser,
    GaussianMixtureDenoiser,
)
from skdiffuse.diffusion.exponential_steps import ExponentialAdamsStep, GaussianLaw
from skdiffuse.diffusion.guidance import (
    HoGuidance,
    MomentMatching,
    ObservationGuidance,
    PiGDM,
    ReconstructionGuidance,
    Replacement,
)
from skdiffuse.diffusion.likelihood import (
    Elbo,
    bits_per_dim,
    decode,
    elbo,
    encode,
    flow_log_density,
)
from skdiffuse.diffusion.measurements import (
    ArealMean,
    Gauges,
    KnownCells,
    TemporalMean,
)
from skdiffuse.diffusion.motion import (
    carried_along,
    steady_motion,
)
from skdiffuse.diffusion.objectives import (
    discrete_loss,
    interpolated_variance_loss,
    npr_loss,
    sn_loss,
    v_loss,
    weighted_loss,
)
from skdiffuse.diffusion.observations import (
    DecodedObservation,
    FunctionObservation,
    JointObservation,
    Observation,
)
from skdiffuse.diffusion.ode_steps import (
    AdamsBashforthStep,
    AdamsStep,
    HeunStep,
    RungeKuttaStep,
)
from skdiffuse.diffusion.parameterizations import (
    PARAMETERIZATIONS,
    NoiseLevel,
    alpha,
    convert,
    diffuse,
    sigma,
)
from skdiffuse.diffusion.random import (
    RandomStreams,
)
from skdiffuse.diffusion.resampling import (
    ReplaceKnown,
    ResampledStep,
)
from skdiffuse.diffusion.samplers import (
    Step,
    Trajectory,
    integrate,
    run_sampler,
)
from skdiffuse.diffusion.schedules import (
    SPACINGS,
    LinearLogSNRSchedule,
    NoiseSchedule,
    ShiftedCosineSchedule,
    TruncatedCosineSchedule,
    sampling_grid,
)
from skdiffuse.diffusion.stochastic_steps import (
    AncestralStep,
    DDIMStep,
    DPMSolverStep,
    EDMStep,
)
from skdiffuse.diffusion.variances import (
    AnalyticVariance,
    InterpolatedVariance,
    LearntVariance,
    LowerVariance,
    PosteriorVariance,
    ReverseVariance,
    UpperVariance,
    posterior_variance_from_data,
    posterior_variance_from_noise,
    posterior_variance_from_residual,
)
from skdiffuse.diffusion.weightings import (
    Weighting,
    edm_weighting,
    elbo_weighting,
    eps_weighting,
    min_snr_weighting,
    sigmoid_weighting,
    v_weighting,
)
from skdiffuse.diffusion.windows import (
    WindowedNetwork,
    window_starts,
)

__all__ = [
    "CONDITIONING_METHODS",
    "DDPM",
    "KNOWN_COVARIATES",
    "PARAMETERIZATIONS",
    "SPACINGS",
    "AdamsBashforthStep",
    "AdamsStep",
    "AmortisedDenoiser",
    "AnalyticVariance",
    "AncestralStep",
    "Angle",
    "ArealMean",
    "ClampedDenoiser",
    "ClassifierFreeGuidance",
    "ClassifierGuidance",
    "Coordinate",
    "DDIMStep",
    "DPMSolverStep",
    "DecodedObservation",
    "Denoiser",
    "DiscreteBetaSchedule",
    "EDMDenoiser",
    "EDMSigma",
    "EDMSigmaSchedule",
    "EDMStep",
    "EDMTrainingSchedule",
    "Elbo",
    "ExactReverseCovariance",
    "ExponentialAdamsStep",
    "FunctionObservation",
    "Gauges",
    "GaussianDenoiser",
    "GaussianLaw",
    "GaussianMixtureDenoiser",
    "HeunStep",
    "HoGuidance",
    "InterpolatedVariance",
    "JointObservation",
    "KnownCells",
    "LearntVariance",
    "LinearBetaSchedule",
    "LinearLogSNRSchedule",
    "LogSNR",
    "LowerVariance",
    "MomentMatching",
    "NetworkDenoiser",
    "NoiseLevel",
    "NoiseSchedule",
    "Observation",
    "ObservationGuidance",
    "PiGDM",
    "PosteriorVariance",
    "RandomStreams",
    "ReconstructionGuidance",
    "ReplaceKnown",
    "Replacement",
    "ResampledStep",
    "ReverseVariance",
    "RungeKuttaStep",
    "ShiftedCosineSchedule",
    "SimilarityGuidance",
    "Step",
    "TaperedLogSNR",
    "TemporalMean",
    "Trajectory",
    "TruncatedCosineSchedule",
    "UpperVariance",
    "VDenoiser",
    "VarianceExplodingSchedule",
    "Weighting",
    "WindowedNetwork",
    "alpha",
    "bits_per_dim",
    "carried_along",
    "condition",
    "convert",
    "decode",
    "diffuse",
    "discrete_loss",
    "edm_weighting",
    "elbo",
    "elbo_weighting",
    "encode",
    "eps_weighting",
    "flow_log_density",
    "integrate",
    "integrate_adaptive",
    "interpolated_variance_loss",
    "known_as_covariates",
    "min_snr_weighting",
    "npr_loss",
    "posterior_variance_from_data",
    "posterior_variance_from_noise",
    "posterior_variance_from_residual",
    "run_sampler",
    "sampling_grid",
    "sigma",
    "sigmoid_weighting",
    "sn_loss",
    "steady_motion",
    "v_loss",
    "v_weighting",
    "weighted_loss",
    "window_starts",
]
