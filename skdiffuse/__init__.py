"""Diffusion models of time-evolving precipitation with a scikit-learn face.

The names below are imported when they are first used, so that metrics, cubes and pictures are at
hand without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from skdiffuse._version import __version__

_HOMES = {
    "BoxCoxTransform": "skdiffuse.preprocessing",
    "CubeRootTransform": "skdiffuse.preprocessing",
    "DiffusionPipeline": "skdiffuse.pipeline",
    "DryCellTransform": "skdiffuse.preprocessing",
    "IdentityTransform": "skdiffuse.preprocessing",
    "LearntMonotoneTransform": "skdiffuse.preprocessing",
    "LogTransform": "skdiffuse.preprocessing",
    "NormalScoreTransform": "skdiffuse.preprocessing",
    "KeepingSettings": "skdiffuse.estimator.settings",
    "ModelCard": "skdiffuse.estimator.model_card",
    "NetworkSettings": "skdiffuse.estimator.settings",
    "SamplerSettings": "skdiffuse.estimator.settings",
    "TrainingSettings": "skdiffuse.estimator.settings",
    "PrecipDiffusion": "skdiffuse.estimator.precip_diffusion",
    "SeasonSplit": "skdiffuse.model_selection",
    "SqrtTransform": "skdiffuse.preprocessing",
    "TwoStageDiffusion": "skdiffuse.estimator.two_stage",
    "denoising_report": "skdiffuse.estimator.diagnosis",
    "dissertation_model": "skdiffuse.presets",
    "list_models": "skdiffuse.estimator.named_models",
    "make_precipitation": "skdiffuse.datasets",
    "open_cube": "skdiffuse.cubes",
    "write_cube": "skdiffuse.cubes",
}

__all__ = [
    "BoxCoxTransform",
    "CubeRootTransform",
    "DiffusionPipeline",
    "DryCellTransform",
    "IdentityTransform",
    "KeepingSettings",
    "LearntMonotoneTransform",
    "LogTransform",
    "ModelCard",
    "NetworkSettings",
    "NormalScoreTransform",
    "PrecipDiffusion",
    "SamplerSettings",
    "SeasonSplit",
    "SqrtTransform",
    "TrainingSettings",
    "TwoStageDiffusion",
    "__version__",
    "denoising_report",
    "dissertation_model",
    "list_models",
    "make_precipitation",
    "open_cube",
    "write_cube",
]


if TYPE_CHECKING:
    # Type checkers read imports and a plain `__all__`, not `_HOMES`; a test keeps them alike.
    from skdiffuse.cubes import (
        open_cube,
        write_cube,
    )
    from skdiffuse.datasets import make_precipitation
    from skdiffuse.estimator.diagnosis import denoising_report
    from skdiffuse.estimator.model_card import ModelCard
    from skdiffuse.estimator.named_models import list_models
    from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
    from skdiffuse.estimator.settings import (
        KeepingSettings,
        NetworkSettings,
        SamplerSettings,
        TrainingSettings,
    )
    from skdiffuse.estimator.two_stage import TwoStageDiffusion
    from skdiffuse.model_selection import SeasonSplit
    from skdiffuse.pipeline import DiffusionPipeline
    from skdiffuse.preprocessing import (
        BoxCoxTransform,
        CubeRootTransform,
        DryCellTransform,
        IdentityTransform,
        LearntMonotoneTransform,
        LogTransform,
        NormalScoreTransform,
        SqrtTransform,
    )
    from skdiffuse.presets import dissertation_model
else:
    # Unseen by type checkers, which would take any name for one that this gives.

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module 'skdiffuse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
