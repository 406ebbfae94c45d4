"""What a user of `PrecipDiffusion` may ask of two stages, and why they do not have it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

__all__ = ["SaysWhyNot", "refusing"]

Method = TypeVar("Method", bound=Callable[..., Any])

_EXPECTED = "acts on expected rain, which a map of classes does not have: use PrecipDiffusion"
_OF_STAGES = "is each stage's own: set classes__{0} and, if there is one, intensities__{0}"
_TOLD = "is for models that are told something, and both stages are told nothing but each other"
_LEARNT = "is each stage's own: classes_.{0} and, unless it is None, intensities_.{0}"
_WRITTEN = "is not there: write what is returned with its to_netcdf"
_REASONS = {
    **dict.fromkeys(
        ("condition", "downscale", "w_r", "log_likelihood", "likelihood_scale"), _EXPECTED
    ),
    "method": "is not there: known classes are told to the network, which is the only method",
    "simulate": "is not there: forecast(sample(1)[0], horizon) goes on from a drawn window",
    **dict.fromkeys(("batch_size", "tile_size", "sampler", "device", "n_frames"), _OF_STAGES),
    **dict.fromkeys(("y", "guidance_weight"), _TOLD),
    **dict.fromkeys(("storm", "rare"), "needs classes of weather, which no class of cells has"),
    "out": _WRITTEN,
    **dict.fromkeys(("model_", "network_", "history_", "n_iter_", "schedule_"), _LEARNT),
    **dict.fromkeys(("learn_variance", "reaverage", "denoising_loss"), _LEARNT),
}


class SaysWhyNot:
    """An object that says why it has no attribute of `PrecipDiffusion`'s."""

    def __getattr__(self, name: str) -> Any:
        found = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(f"{found}: {why}" if (why := _reason_for(name)) else found)


def refusing(method: Method) -> Method:
    """A verb that says why it has no option of `PrecipDiffusion`'s that it is given."""
    taken = inspect.signature(method).parameters

    @functools.wraps(method)
    def asked(self: object, *args: Any, **options: Any) -> Any:
        for name in options:
            if name not in taken and (reason := _reason_for(name)):
                raise TypeError(f"TwoStageDiffusion.{method.__name__} takes no {name}=: {reason}")
        return method(self, *args, **options)

    return cast(Method, asked)


def _reason_for(name: str) -> str | None:
    """Why there is no such verb, option or attribute; None if nobody would ask."""
    reason = _REASONS.get(name)
    return None if reason is None else f"{name} {reason.format(name)}."
