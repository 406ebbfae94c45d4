"""Named settings of the estimator."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from skdiffuse.diffusion import TruncatedCosineSchedule
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.settings import NetworkSettings, SamplerSettings, TrainingSettings
from skdiffuse.preprocessing import ElementwiseTransformer, LearntMonotoneTransform

__all__ = ["dissertation_model"]

_SETTINGS = {
    "n_frames": 10,
    "crop_size": 64,
    "network": NetworkSettings("base", geography=False, skip=None),
    "schedule": TruncatedCosineSchedule(-30.0, 30.0),
    "sampler": SamplerSettings("ancestral", n_steps=1000, spacing="time"),
    "training": TrainingSettings(optimizer="adamw"),
    "latent_scaling": "range",
    "trace": 0.0,
    "batch_size": 16,
}


def dissertation_model(
    transformer: str | ElementwiseTransformer | None = "sqrt", **changes: Any
) -> PrecipDiffusion:
    """The model of George Herbert's dissertation, unfitted, to be compared with.

    Ten hours of 64 x 64 cells, rain scaled to [-1, 1] by the training maximum, which caps what is
    generated; a U-Net of 36 million parameters that predicts v, without knowledge of place;
    truncated cosine schedule on [-30, 30] (its Figure 2.3) for training and sampling; ancestral
    sampling on steps uniform in time. What it does not state is chosen here: 1000 steps, AdamW as
    `PrecipDiffusion` has it. On a CPU training takes weeks: pass
    ``network__architecture="tiny"`` to try it.

    Parameters
    ----------
    transformer : {None, "sqrt", "learnt"}, default="sqrt"
        Its three models; "learnt" is its own form of the curve with the mask of section 4.3.6,
        trained together with the network. Other transformers are passed on.
    **changes
        Parameters of `PrecipDiffusion` that are to differ, also of its settings.

    Returns
    -------
    PrecipDiffusion

    References
    ----------
    Herbert, "Diffusion Models for Time-Evolving Precipitation Fields" (2023), chapters 2 and 4. Its
    guidance, with the error averaged over the batch, is an option of the core's
    `HoGuidance`.

    Examples
    --------
    >>> dissertation_model(network__architecture="tiny").sampler
    SamplerSettings(n_steps=1000, spacing='time', step='ancestral')
    """
    if isinstance(transformer, str) and transformer == "learnt":
        transformer = LearntMonotoneTransform(form="dissertation")
    settings = {name: clone(value, safe=False) for name, value in _SETTINGS.items()}
    return PrecipDiffusion(transformer, **settings).set_params(**changes)
