"""What `controlled.py` compares: how each variant is made, and what is put in another's place."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor

from skdiffuse import PrecipDiffusion, SamplerSettings
from skdiffuse.corruptions import GaussianCorruption
from skdiffuse.diffusion import (
    Denoiser,
    ShiftedCosineSchedule,
    TruncatedCosineSchedule,
    alpha,
    sigma,
)
from skdiffuse.networks import MixturePrior, MixtureSkip
from skdiffuse.preprocessing import DryCellTransform, LearntMonotoneTransform, SqrtTransform
from skdiffuse.presets import dissertation_model

__all__ = ["SAMPLERS", "STUDIES", "WIDTHS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """A model, and what of the library is another while it is trained and sampled."""

    make: Callable[..., PrecipDiffusion]
    changed: Callable[[], AbstractContextManager] = nullcontext


def dissertation(transform: object) -> Variant:
    def make(**options: object) -> PrecipDiffusion:
        changes = {"network__architecture": options.pop("architecture"), "latent_scaling": "range"}
        sampler = SamplerSettings("adams", n_steps=32)
        return dissertation_model(transform, sampler=sampler, **changes, **options)

    return Variant(make)


def ours(
    transformer: object = "sqrt",
    changed: Callable[[], AbstractContextManager] = nullcontext,
    **changes: object,
) -> Variant:
    def make(**options: object) -> PrecipDiffusion:
        architecture = options.pop("architecture")
        model = PrecipDiffusion(transformer, **options)
        return model.set_params(network__architecture=architecture, **changes)

    return Variant(make, changed)


def loss_of(what: str) -> Callable[[], AbstractContextManager]:
    """The squared error of the noise, or of x, in the place of that of v."""
    of_v = GaussianCorruption.loss
    factor = {"noise": alpha, "x": sigma}[what]

    def loss(
        self: GaussianCorruption, network: Denoiser, x: Tensor, log_snr: Tensor, noise: Tensor
    ) -> Tensor:
        return factor(log_snr).square() * of_v(self, network, x, log_snr, noise)

    return lambda: patch.object(GaussianCorruption, "loss", loss)


class WholeAddition(MixtureSkip):
    """The network adds to the v of the mixture at its own size, whatever can be known."""

    def forward(
        self,
        z: Tensor,
        log_snr: Tensor,
        covariates: Tensor | None = None,
        labels: Tensor | None = None,
        weather: Tensor | None = None,
    ) -> Tensor:
        denoised = self.prior.denoise(z, log_snr.reshape(-1), weather)
        shown = torch.stack([z, denoised.x], dim=2)
        addition, *gains = self.network(
            shown, log_snr.reshape(-1), covariates, labels, weather
        ).unbind(2)
        given = [z, denoised.x, *(() if covariates is None else covariates.to(z.dtype).unbind(2))]
        return denoised.v + addition + sum(g * x for g, x in zip(gains, given, strict=True))


def whole_addition() -> AbstractContextManager:
    return patch("skdiffuse.networks.building.MixtureSkip", WholeAddition)


def all_modes_alike() -> AbstractContextManager:
    """No weight on what the filter knows of each mode: U = 1."""

    def unknown(self: MixturePrior, shape: torch.Size, log_snr: Tensor, *_: object) -> Tensor:
        return torch.ones(len(log_snr), *shape)

    return patch.object(MixturePrior, "unknown", unknown)


STUDIES: dict[str, dict[str, Variant]] = {
    "reproduction": {
        "none": dissertation(None),
        "sqrt": dissertation("sqrt"),
        "learnt": dissertation("learnt"),
        "learnt, variance held": dissertation(
            LearntMonotoneTransform(form="dissertation", hold_variance=True)
        ),
    },
    "ablation": {
        "default": ours(),
        "no skip": ours(network__skip=None),
        "linear filter as skip, no weather": ours(network__skip="wiener"),
        "one class of weather": ours(network__weathers=(1, 1)),
        "addition at its own size": ours(changed=whole_addition),
        "all modes alike": ours(changed=all_modes_alike),
        "AdamW": ours(training__optimizer="adamw"),
        "loss of the noise": ours(changed=loss_of("noise")),
        "loss of x": ours(changed=loss_of("x")),
        "noise levels of the dissertation": ours(schedule=TruncatedCosineSchedule(-30.0, 30.0)),
        "noise levels not shifted": ours(schedule=ShiftedCosineSchedule(0.0, -20.0, 20.0)),
        "no transform": ours(None),
        "learnt": ours("learnt"),
        "learnt, variance held": ours(LearntMonotoneTransform(hold_variance=True)),
        "dry cells drawn": ours(DryCellTransform(SqrtTransform(), "censored")),
        "no trace": ours(trace=0.0),
        "no geography": ours(network__geography=False),
    },
}
# Of the trained default alone: what sampling does, without another training.
SAMPLERS = {
    "Adams, 8 steps": SamplerSettings("adams", n_steps=8),
    "Adams, 16 steps": SamplerSettings("adams", n_steps=16),
    "Heun, 32 steps": SamplerSettings("heun", n_steps=32),
    "ancestral, 128 steps": SamplerSettings("ancestral", n_steps=128),
}
# Averages of the same training over another share of it.
WIDTHS = {"average over a fifth of the width": 0.02, "average twice as wide": 0.2}
