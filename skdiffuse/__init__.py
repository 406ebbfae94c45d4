"""Diffusion models of time-evolving precipitation with a scikit-learn face.

The names below are imported when they are first used, so that metrics, cubes and pictures are at
hand without waiting for torch.
"""

from importlib import import_module

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
    "NetworkSettings": "skdiffuse.estimator.settings",
    "SamplerSettings": "skdiffuse.estimator.settings",
    "TrainingSettings": "skdiffuse.estimator.settings",
    "PrecipDiffusion": "skdiffuse.estimator.precip_diffusion",
    "SeasonSplit": "skdiffuse.model_selection",
    "SqrtTransform": "skdiffuse.preprocessing",
    "dissertation_model": "skdiffuse.presets",
    "make_precipitation": "skdiffuse.datasets",
    "open_cube": "skdiffuse.cubes",
    "write_cube": "skdiffuse.cubes",
}

__all__ = [
    "__version__",
    *_HOMES,
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'skdiffuse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
