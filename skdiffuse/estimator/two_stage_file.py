"""Two fitted stages as one safetensors file: the form of each, and the law of rates in classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skdiffuse._version import __version__
from skdiffuse.corruptions import ClassCorruption, RatesInClasses
from skdiffuse.estimator.arguments import ARGUMENTS
from skdiffuse.estimator.constraints import check_all
from skdiffuse.estimator.file_forms import NeedsOwnObjectError
from skdiffuse.estimator.learning import Learnt
from skdiffuse.estimator.parameters import check_own_objects
from skdiffuse.estimator.persistence import (
    FORMAT,
    NONSENSE,
    made_by_hand,
    model_of,
    model_parts,
    read_kind,
    refuse_other_format,
)
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.runtime.array_types import RandomStateLike
from skdiffuse.training.checkpoints import flatten, unflatten, write_tensors

__all__ = ["STAGES", "read_stages", "write_stages"]

STAGES = ("classes", "intensities")
KIND = "TwoStageDiffusion"
OWN = {"network", "sampler", "schedule", "corruption"}


def write_stages(
    path: str | Path,
    stages: Mapping[str, PrecipDiffusion | None],
    rates: RatesInClasses,
    random_state: RandomStateLike,
) -> None:
    """Write both stages, atomically; see `TwoStageDiffusion.save`.

    Parameters
    ----------
    path : str or Path
    stages : mapping of str to PrecipDiffusion or None
        Fitted, by the names of `STAGES`.
    rates : RatesInClasses
    random_state : int, RandomState or None
        Kept if it is a number.
    """
    law = {"edges": rates.edges, "shares": rates.shares}
    tensors = flatten("rates", {name: torch.as_tensor(each) for name, each in law.items()})
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "kind": KIND,
        "random_state": int(random_state) if isinstance(random_state, Integral) else None,
        "rates": {"scale": rates.scale, "shape": rates.shape},
    }
    for name in STAGES:
        stage = stages[name]
        content[name] = None
        if stage is not None:
            learnt = Learnt(stage.model_, stage.history_, stage.n_iter_, stage.n_skipped_)
            parts, content[name] = model_parts(learnt, stage.get_params(deep=False))
            tensors |= flatten(name, parts)
    write_tensors(path, tensors, content)


def read_stages(
    path: str | Path, own: Mapping[str, Mapping[str, Any] | None]
) -> tuple[PrecipDiffusion, PrecipDiffusion | None, RatesInClasses, int | None]:
    """Read what `write_stages` wrote.

    Parameters
    ----------
    path : str or Path
    own : mapping
        By the names of `STAGES`, objects of a user's own to take instead of those in the file.

    Returns
    -------
    first, second, rates, random_state
        Both stages, and as given to `write_stages`.
    """
    check_all({"path": path}, ARGUMENTS)
    for name, given in own.items():
        if not isinstance(given, Mapping | None) or (given and not given.keys() <= OWN):
            raise ValueError(
                f"{name}={given!r} must hold objects by the names {', '.join(sorted(OWN))}."
            )
        check_own_objects(**given or {})
    tensors, content = read_kind(path, KIND)
    try:
        refuse_other_format(path, content)
        first, second = (_stage(path, name, tensors, content[name], own[name]) for name in STAGES)
        rates = _rates(unflatten("rates", tensors), content["rates"])
        if first is None:
            raise TypeError("no first stage")
        _check(first.model_, second and second.model_, rates)
        random_state = content["random_state"]
        if not isinstance(random_state, int | None):
            raise TypeError(f"random_state {random_state!r}")
    except NONSENSE as error:
        raise made_by_hand(path, error) from error
    return first, second, rates, random_state


def _stage(
    path: str | Path,
    name: str,
    tensors: Mapping[str, Tensor],
    content: dict[str, Any] | None,
    own: Mapping[str, Any] | None,
) -> PrecipDiffusion | None:
    if content is None:
        return None
    try:
        learnt, params = model_of(path, unflatten(name, tensors), content, own or {})
        return PrecipDiffusion.of_learnt(learnt, params)
    except NeedsOwnObjectError as error:
        raise ValueError(
            f"the stage {name!r} was made with a {error.parameter} that {path} does not hold, "
            f"{error.name}; give it to load(path, {name}={{{error.parameter!r}: ...}})."
        ) from error


def _rates(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> RatesInClasses:
    edges, shares = (np.asarray(tensors[name], np.float64) for name in ("edges", "shares"))
    return RatesInClasses(edges, shares, float(numbers["scale"]), float(numbers["shape"]))


def _check(first: RainModel, second: RainModel | None, rates: RatesInClasses) -> None:
    """Raise a TypeError where the parts are of no model of two stages."""
    if not isinstance(first.corruption, ClassCorruption):
        raise TypeError("a first stage that diffuses no classes")
    if second is not None and second.n_frames != first.n_frames:
        raise TypeError(f"stages of {first.n_frames} and {second.n_frames} frames")
    expected = RatesInClasses.fit(np.empty(0), first.corruption.edges)
    if not np.array_equal(rates.edges, expected.edges):
        raise TypeError(f"rates between the edges {rates.edges} of {first.corruption!r}")
    if rates.shares.shape != expected.shares.shape:
        raise TypeError(f"shares of shape {rates.shares.shape}")
    if not (rates.shares > 0).all() or not np.allclose(rates.shares.sum(1), 1):
        raise TypeError("shares that are no probabilities")
    if not (0 < rates.scale < math.inf and 0 <= rates.shape < 1):
        raise TypeError(f"a tail of scale {rates.scale} and shape {rates.shape}")
