"""What each parameter may be, in one table, and the parameters of a model in their full form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from skdiffuse.diffusion import (
    SPACINGS,
    AdamsStep,
    AncestralStep,
    Coordinate,
    HeunStep,
    NoiseSchedule,
    ShiftedCosineSchedule,
    Step,
)
from skdiffuse.estimator.settings import (
    KeepingSettings,
    NetworkSettings,
    SamplerSettings,
    TrainingSettings,
)
from skdiffuse.networks import PRESETS, resolve_edges
from skdiffuse.preprocessing import ElementwiseTransformer, resolve_transformer
from skdiffuse.runtime.array_types import RandomStateLike
from skdiffuse.training.processes import Processes

__all__ = [
    "SAMPLERS",
    "SHORTCUTS",
    "Parameters",
    "check_parameters",
    "device_of",
    "network_settings",
]

SAMPLERS: dict[str, Step] = {
    "adams": AdamsStep(),
    "heun": HeunStep(),
    "ancestral": AncestralStep("lower"),
}
# The many correlated cells of a sequence show structure at noise levels at which one cell would
# show nothing, so more noise than for a single value is worth training on: shifted by -2.
SCHEDULES: dict[str, NoiseSchedule] = {"cosine": ShiftedCosineSchedule(-2.0, -20.0, 20.0)}

Settings = TypeVar("Settings", NetworkSettings, SamplerSettings, TrainingSettings, KeepingSettings)

# What is wrong with a value, in words that follow "must be"; None if nothing is.
Constraint = Callable[[object], str | None]


class InvalidParameterError(ValueError, TypeError):
    """A parameter is not what it may be: of a wrong type, or out of range."""


def whole_number(at_least: int, *, optional: bool = False) -> Constraint:
    """An integer, no bool."""

    def check(value: object) -> str | None:
        if optional and value is None:
            return None
        is_bool = isinstance(value, bool)
        fits = isinstance(value, Integral) and not is_bool and int(value) >= at_least
        return None if fits else f"an integer of at least {at_least}" + " or None" * optional

    return check


def number(
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    optional: bool = False,
) -> Constraint:
    """A finite number within limits, no bool."""
    limits = [f"of at least {at_least:g}"] * (at_least > -math.inf)
    limits += [f"above {above:g}"] * (above > -math.inf)
    limits += [f"below {below:g}"] * (below < math.inf)

    def check(value: object) -> str | None:
        if optional and value is None:
            return None
        if isinstance(value, Real) and not isinstance(value, bool):
            x = float(value)
            if math.isfinite(x) and at_least <= x < below and x > above:
                return None
        return f"a finite number {' and '.join(limits)}" + " or None" * optional

    return check


def one_of(
    *choices: object, or_else: str = "", accepts: Callable[[object], bool] = lambda _: False
) -> Constraint:
    """One of some names (and None), or an object that `accepts` says will do."""

    def check(value: object) -> str | None:
        named = value is None or isinstance(value, str)
        if (named and value in choices) or (not named and accepts(value)):
            return None
        return f"one of {list(choices)}" + or_else

    return check


def flag(*, optional: bool = False) -> Constraint:
    """True or False, NumPy's as well."""

    def check(value: object) -> str | None:
        if optional and value is None:
            return None
        fits = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
        return None if fits else "True or False" + " or None" * optional

    return check


def raises(function: Callable[[Any], object], wanted: str) -> Constraint:
    """What a function takes without complaint."""

    def check(value: object) -> str | None:
        try:
            function(value)
        except (ValueError, TypeError, RuntimeError):
            return wanted
        return None

    return check


def folder(value: object) -> str | None:
    """A place for files."""
    return None if value is None or isinstance(value, str | Path) else "a path or None"


def settings(kind: type, shortcuts: Constraint) -> Constraint:
    """Settings of a kind, or a shortcut for them."""

    def check(value: object) -> str | None:
        if isinstance(value, kind):
            return None
        wanted = shortcuts(value)
        return wanted and f"{wanted}, or {kind.__name__}(...)"

    return check


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
    },
    TrainingSettings: {
        "learning_rate": number(above=0),
        "learning_rate_schedule": one_of("constant", "cosine"),
        "weight_decay": number(at_least=0),
        "accumulation": whole_number(1),
        "precision": one_of("auto", "float32", "bfloat16", "float16"),
        "compile": flag(),
        "sharded": flag(),
        "max_epochs": whole_number(1),
        "validation_fraction": number(at_least=0, below=1),
        "patience": whole_number(1, optional=True),
        "symmetries": flag(),
        "train_transformer": flag(),
    },
    KeepingSettings: {
        "checkpoint_seconds": number(at_least=0),
        "n_checkpoints": whole_number(1),
        "average_snapshots": flag(),
        "log_dir": folder,
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
    "sampler": settings(SamplerSettings, _step),
    "training": settings(TrainingSettings, _none),
    "keeping": settings(KeepingSettings, _none),
    "amortised": flag(),
    "latent_scaling": one_of("standard", "range"),
    "trace": number(at_least=0),
    "batch_size": whole_number(1),
    "max_steps": whole_number(1, optional=True),
    "max_time": number(above=0, optional=True),
    "checkpoint_dir": folder,
    "warm_start": flag(),
    "device": raises(lambda v: v == "auto" or torch.device(v), "'auto' or a torch device"),
    "n_jobs": raises(lambda v: v is None or effective_n_jobs(v), "an integer but 0, or None"),
    "random_state": raises(check_random_state, "an integer of at least 0, a RandomState or None"),
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
        step = self.sampler.step
        return SAMPLERS[step] if isinstance(step, str) else step


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
    _check_all(given, FRONT_DOOR, "")
    plain = _plain(given)
    schedule, checkpoint_dir = plain["schedule"], plain["checkpoint_dir"]
    parameters = Parameters(
        transformer=plain["transformer"],
        n_frames=plain["n_frames"],
        crop_size=plain["crop_size"],
        network=_checked(network_settings(plain["network"]), "network"),
        schedule=SCHEDULES[schedule] if isinstance(schedule, str) else schedule,
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


def device_of(name: str | torch.device) -> torch.device:
    """The device that a parameter `device` means, of several processes for this one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return Processes().device(torch.device(name))


def _check_all(values: dict[str, Any], table: dict[str, Constraint], prefix: str) -> None:
    for name, constraint in table.items():
        wanted = constraint(values[name])
        if wanted is not None:
            raise InvalidParameterError(f"{prefix}{name}={values[name]!r} must be {wanted}.")


def _checked(settings: Settings, parameter: str) -> Settings:
    """The same settings, checked, with plain numbers."""
    part = settings.get_params(deep=False)
    [table] = [CONSTRAINTS[kind] for kind in CONSTRAINTS if isinstance(settings, kind)]
    _check_all(part, table, f"{parameter}__")
    return type(settings)(**_plain(part))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Python's own numbers in place of NumPy's."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}


def _check_together(parameters: Parameters) -> None:
    training = parameters.training
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
