"""What each parameter may be, in one table, and the parameters of a model in their full form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator

from skdiffuse.corruptions import CORRUPTIONS, Corruption, require, resolve_corruption
from skdiffuse.diffusion import (
    SPACINGS,
    AdamsStep,
    AncestralStep,
    Coordinate,
    ExponentialAdamsStep,
    HeunStep,
    NoiseSchedule,
    ReverseVariance,
    ShiftedCosineSchedule,
    Step,
)
from skdiffuse.estimator.constraints import (
    Constraint,
    check_all,
    flag,
    jobs,
    number,
    one_of,
    path,
    raises,
    random_state,
    settings,
    whole_number,
)
from skdiffuse.estimator.measured_errors import MEASURED
from skdiffuse.estimator.settings import (
    KeepingSettings,
    NetworkSettings,
    SamplerSettings,
    TrainingSettings,
)
from skdiffuse.estimator.way_back import refuse_step
from skdiffuse.networks import PRESETS, resolve_edges
from skdiffuse.preprocessing import ElementwiseTransformer, resolve_transformer
from skdiffuse.runtime.array_types import RandomStateLike
from skdiffuse.training.processes import Processes

__all__ = [
    "SAMPLERS",
    "SHORTCUTS",
    "Parameters",
    "check_own_objects",
    "check_parameters",
    "device_of",
    "network_settings",
    "usable_device",
]

SAMPLERS: dict[str, Step] = {
    "adams": AdamsStep(),
    "heun": HeunStep(),
    "exponential": ExponentialAdamsStep(),
    "ancestral": AncestralStep("lower"),
}
# The many correlated cells of a sequence show structure at noise levels at which one cell would
# show nothing, so more noise than for a single value is worth training on: shifted by -2.
SCHEDULES: dict[str, NoiseSchedule] = {"cosine": ShiftedCosineSchedule(-2.0, -20.0, 20.0)}

Settings = TypeVar("Settings", NetworkSettings, SamplerSettings, TrainingSettings, KeepingSettings)


def _is_step(value: object) -> bool:
    names = ("__call__", "evaluations", "stochastic", "remembers")
    return not isinstance(value, type) and all(hasattr(value, name) for name in names)


def _makes_networks(value: object) -> bool:
    return callable(value) and not isinstance(value, torch.nn.Module)


_step = one_of(*SAMPLERS, or_else=" or a step rule of skdiffuse.diffusion", accepts=_is_step)
_architecture = one_of(
    *PRESETS, or_else=" or a function that makes a network", accepts=_makes_networks
)
_none = one_of(None)


def _two_counts(value: object) -> None:
    """Complain of what is no pair of counts."""
    wrong = [whole_number(1)(count) for count in value]  # type: ignore[attr-defined]
    if len(wrong) != 2 or any(wrong):
        raise ValueError(value)


CONSTRAINTS: dict[type, dict[str, Constraint]] = {
    NetworkSettings: {
        "architecture": _architecture,
        "edges": raises(
            resolve_edges, "one of ('zero', 'reflect', 'periodic'), or a pair of them for y and x"
        ),
        "geography": flag(optional=True),
        "skip": one_of("mixture", "wiener", None),
        "weathers": raises(_two_counts, "a pair of integers of at least 1"),
        "gradient_checkpointing": flag(),
    },
    SamplerSettings: {
        "step": _step,
        "n_steps": whole_number(1),
        "spacing": one_of(
            *SPACINGS, or_else=" or a Coordinate", accepts=lambda v: isinstance(v, Coordinate)
        ),
        "reverse_variance": one_of(
            None,
            "lower",
            "upper",
            *MEASURED,
            or_else=" or a ReverseVariance",
            accepts=lambda v: isinstance(v, ReverseVariance),
        ),
    },
    TrainingSettings: {
        "learning_rate": number(above=0),
        "learning_rate_schedule": one_of("constant", "cosine"),
        "weight_decay": number(at_least=0),
        "optimizer": one_of("muon", "adamw"),
        "accumulation": whole_number(1),
        "precision": one_of("auto", "float32", "bfloat16", "float16"),
        "compile": flag(),
        "sharded": flag(),
        "max_epochs": whole_number(1),
        "validation_fraction": number(at_least=0, below=1),
        "patience": whole_number(1, optional=True),
        "watch": one_of("loss", "paired_start"),
        "symmetries": flag(),
        "train_transformer": flag(),
    },
    KeepingSettings: {
        "checkpoint_seconds": number(at_least=0),
        "n_checkpoints": whole_number(1),
        "average_snapshots": flag(),
        "log_dir": path(optional=True),
    },
}

FRONT_DOOR: dict[str, Constraint] = {
    # "transformer" is checked by `resolve_transformer`, whose errors say more.
    "n_frames": whole_number(1),
    "crop_size": whole_number(1),
    "network": settings(NetworkSettings, _architecture),
    "schedule": one_of(
        *SCHEDULES, or_else=" or a NoiseSchedule", accepts=lambda v: isinstance(v, NoiseSchedule)
    ),
    "corruption": one_of(
        *CORRUPTIONS, or_else=" or a Corruption", accepts=lambda v: isinstance(v, Corruption)
    ),
    "sampler": settings(SamplerSettings, _step),
    "training": settings(TrainingSettings, _none),
    "keeping": settings(KeepingSettings, _none),
    "amortised": flag(),
    "latent_scaling": one_of("standard", "range"),
    "trace": number(at_least=0),
    "batch_size": whole_number(1),
    "max_steps": whole_number(1, optional=True),
    "max_time": number(above=0, optional=True),
    "checkpoint_dir": path(optional=True),
    "warm_start": flag(),
    "device": raises(lambda v: v == "auto" or torch.device(v), "'auto' or a torch device"),
    "n_jobs": jobs,
    "random_state": random_state,
    "verbose": flag(),
}


def network_settings(value: Any) -> NetworkSettings:
    """Settings of the network, or from an architecture alone; not checked yet."""
    return value if isinstance(value, NetworkSettings) else NetworkSettings(value)


def sampler_settings(value: Any) -> SamplerSettings:
    """Settings of the sampler, or from a step rule alone; not checked yet."""
    return value if isinstance(value, SamplerSettings) else SamplerSettings(value)


def training_settings(value: TrainingSettings | None) -> TrainingSettings:
    """Settings of the training, where they are given."""
    return TrainingSettings() if value is None else value


def keeping_settings(value: KeepingSettings | None) -> KeepingSettings:
    """Settings of what is kept, where they are given."""
    return KeepingSettings() if value is None else value


# From what stands for settings to the settings themselves.
SHORTCUTS: dict[str, Callable[[Any], BaseEstimator]] = {
    "transformer": resolve_transformer,
    "network": network_settings,
    "sampler": sampler_settings,
    "training": training_settings,
    "keeping": keeping_settings,
}


@dataclass(frozen=True)
class Parameters:
    """The parameters of `PrecipDiffusion`, checked and with shortcuts written out."""

    transformer: str | ElementwiseTransformer | None
    n_frames: int
    crop_size: int
    network: NetworkSettings
    schedule: NoiseSchedule
    corruption: Corruption
    sampler: SamplerSettings
    training: TrainingSettings
    keeping: KeepingSettings
    amortised: bool
    latent_scaling: str
    trace: float
    batch_size: int
    max_steps: int | None
    max_time: float | None
    checkpoint_dir: Path | None
    warm_start: bool
    device: str | torch.device
    n_jobs: int | None
    random_state: RandomStateLike
    verbose: bool

    @property
    def step(self) -> Step:
        """The sampler's step rule itself."""
        step, variance = self.sampler.step, self.sampler.reverse_variance
        if variance is not None and self.measured_variance is None:
            return AncestralStep(variance)
        return SAMPLERS[step] if isinstance(step, str) else step

    @property
    def measured_variance(self) -> str | None:
        """Name of the reverse variance that only a fitted model has."""
        variance = self.sampler.reverse_variance
        return variance if isinstance(variance, str) and variance in MEASURED else None


def check_parameters(estimator: BaseEstimator) -> Parameters:
    """Check all parameters of a model, before any data are read, and write shortcuts out.

    Parameters
    ----------
    estimator : PrecipDiffusion

    Raises
    ------
    ValueError
        If a parameter is not what it may be; the error names it and what it may be.
    """
    # Not `get_params`: a subclass may have fewer parameters of its own.
    given = {each.name: getattr(estimator, each.name) for each in fields(Parameters)}
    resolve_transformer(given["transformer"])
    check_all(given, FRONT_DOOR)
    plain = _plain(given)
    schedule, checkpoint_dir = plain["schedule"], plain["checkpoint_dir"]
    parameters = Parameters(
        transformer=plain["transformer"],
        n_frames=plain["n_frames"],
        crop_size=plain["crop_size"],
        network=_checked(network_settings(plain["network"]), "network"),
        schedule=SCHEDULES[schedule] if isinstance(schedule, str) else schedule,
        corruption=resolve_corruption(plain["corruption"]),
        sampler=_checked(sampler_settings(plain["sampler"]), "sampler"),
        training=_checked(training_settings(plain["training"]), "training"),
        keeping=_checked(keeping_settings(plain["keeping"]), "keeping"),
        amortised=plain["amortised"],
        latent_scaling=plain["latent_scaling"],
        trace=plain["trace"],
        batch_size=plain["batch_size"],
        max_steps=plain["max_steps"],
        max_time=plain["max_time"],
        checkpoint_dir=None if checkpoint_dir is None else Path(checkpoint_dir),
        warm_start=plain["warm_start"],
        device=plain["device"],
        n_jobs=plain["n_jobs"],
        random_state=plain["random_state"],
        verbose=plain["verbose"],
    )
    _check_together(parameters)
    return parameters


def check_own_objects(**own: Any) -> None:
    """Check a network, sampler or schedule that is to take the place of a file's; None for none."""
    given = {name: value for name, value in own.items() if value is not None}
    check_all(given, FRONT_DOOR)
    for name in given.keys() & SHORTCUTS.keys():
        _checked(SHORTCUTS[name](given[name]), name)


def device_of(name: str | torch.device) -> torch.device:
    """The device that a parameter `device` means, of several processes for this one."""
    check_all({"device": name}, FRONT_DOOR)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return Processes().device(torch.device(name))


def usable_device(name: str | torch.device) -> torch.device:
    """The same, tried out.

    Raises
    ------
    ValueError
        If this machine has no such device, or nothing can be read back from it.
    """
    device = device_of(name)
    try:
        # Nothing can be read back from "meta".
        torch.zeros(1, device=device).item()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(
            f"device={str(name)!r} cannot be used here ({reason}): it must be there and give "
            "numbers back; use device='auto', a CUDA GPU if there is one, or device='cpu'."
        ) from error
    return device


def _checked(settings: Settings, parameter: str) -> Settings:
    """The same settings, checked, with plain numbers."""
    part = settings.get_params(deep=False)
    [table] = [CONSTRAINTS[kind] for kind in CONSTRAINTS if isinstance(settings, kind)]
    check_all(part, table, f"{parameter}__")
    return type(settings)(**_plain(part))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Python's own numbers in place of NumPy's."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}


def _check_together(parameters: Parameters) -> None:
    refuse_step(parameters.corruption, parameters.step)
    if parameters.amortised:
        require(parameters.corruption, "amortised", "amortised=True")
    training = parameters.training
    sampler = parameters.sampler
    if sampler.reverse_variance is not None and sampler.step != "ancestral":
        raise ValueError(
            f"reverse_variance={sampler.reverse_variance!r} is the noise of ancestral steps, and "
            f"step={sampler.step!r} has none or its own; use step='ancestral', or leave "
            "reverse_variance out."
        )
    if training.sharded and training.compile:
        raise ValueError("sharded=True and compile=True do not go together: set one to False.")
    if training.sharded and parameters.warm_start and parameters.checkpoint_dir is None:
        raise ValueError(
            "warm_start=True goes on from a checkpoint where sharded=True: set checkpoint_dir."
        )
    if parameters.network.geography and training.symmetries:
        raise ValueError(
            "geography=True learns where it rains, symmetries=True mirrors the places: "
            "set one of them to False."
        )
