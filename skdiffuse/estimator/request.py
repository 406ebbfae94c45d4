"""What is asked of the sampler, checked once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from skdiffuse.corruptions import Corruption, require
from skdiffuse.diffusion import (
    CONDITIONING_METHODS,
    ArealMean,
    Coordinate,
    KnownCells,
    Observation,
    Step,
)
from skdiffuse.estimator.arguments import METHOD_OPTIONS, check_arguments, fields_in_order
from skdiffuse.estimator.constraints import check_all
from skdiffuse.estimator.parameters import Parameters, usable_device
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.runtime.array_types import RandomStateLike
from skdiffuse.runtime.seeds import integer_seed

__all__ = ["GENERAL_OPTIONS", "METHODS", "SamplingRequest", "is_told_in_full"]

METHODS = ("amortised", "restoration", *CONDITIONING_METHODS)
# What the request itself gives to the methods.
_GIVEN = ("denoiser", "observation", "spread", "w_r")


@dataclass(frozen=True)
class SamplingRequest:
    """How sequences are to be drawn: everything but what is known of them.

    Attributes
    ----------
    step : Step
    n_steps : int
    spacing : str or Coordinate
    batch_size : int
    tile_size : int or None
    seed : int
        From which those of all sequences follow.
    device : torch.device
    verbose : bool
    method : str
        How what is known is told to the rest, where something is.
    w_r : float or None
        Its weight; None is the method's own.
    n_resampling : int
        How often each step is repeated.
    method_options : mapping
        Further options of the method.
    y : int, array or None
        Class or fields that the network is told.
    guidance_weight : float
    log_likelihood : callable or None
    likelihood_scale : float
    measured_variance : str or None
        Reverse variance, of those that the model has measured; None: the step's own.
    """

    step: Step
    n_steps: int
    spacing: str | Coordinate
    batch_size: int
    tile_size: int | None
    seed: int
    device: torch.device
    verbose: bool
    method: str = "reconstruction"
    w_r: float | None = None
    n_resampling: int = 1
    method_options: Mapping[str, Any] = field(default_factory=dict)
    y: ArrayLike | None = None
    guidance_weight: float = 0.0
    log_likelihood: Callable[[Tensor], Tensor] | None = None
    likelihood_scale: float = 1.0
    measured_variance: str | None = None

    @property
    def changes_the_weather(self) -> bool:
        """Whether something is asked for, so that weather is no longer as frequent as in training.

        By how much is unknown: it is then left to the network.
        """
        return self.y is not None or self.log_likelihood is not None

    @classmethod
    def of(
        cls,
        parameters: Parameters,
        *,
        n_steps: int | None = None,
        batch_size: int | None = None,
        tile_size: int | None = None,
        random_state: RandomStateLike = None,
        y: ArrayLike | None = None,
        guidance_weight: float = 0.0,
        log_likelihood: Callable[[Tensor], Tensor] | None = None,
        likelihood_scale: float = 1.0,
    ) -> SamplingRequest:
        """A request for whatever comes, checked; None stands for the model's own.

        Raises
        ------
        ValueError, TypeError
            If an option is not what it may be, or would be ignored.
        """
        n_steps = parameters.sampler.n_steps if n_steps is None else n_steps
        batch_size = parameters.batch_size if batch_size is None else batch_size
        check_arguments(
            n_steps=n_steps,
            batch_size=batch_size,
            tile_size=tile_size,
            random_state=random_state,
            guidance_weight=guidance_weight,
            log_likelihood=log_likelihood,
            likelihood_scale=likelihood_scale,
        )
        if y is None and guidance_weight != 0:
            raise ValueError(
                f"guidance_weight={guidance_weight!r} exaggerates y, and y is not given; give y, "
                "or leave guidance_weight out."
            )
        if log_likelihood is None and likelihood_scale != 1:
            raise ValueError(
                f"likelihood_scale={likelihood_scale!r} multiplies log_likelihood, which is not "
                "given; give log_likelihood, or leave likelihood_scale out."
            )
        return cls(
            parameters.step,
            n_steps,
            parameters.sampler.spacing,
            batch_size,
            tile_size,
            integer_seed(parameters.random_state if random_state is None else random_state),
            usable_device(parameters.device),
            parameters.verbose,
            y=fields_in_order(y),
            guidance_weight=guidance_weight,
            log_likelihood=log_likelihood,
            likelihood_scale=likelihood_scale,
            measured_variance=parameters.measured_variance,
        )

    def conditioned(
        self,
        model: RainModel,
        observation: Observation | None,
        /,
        *,
        method: str | None,
        w_r: float | None,
        n_resampling: int = 1,
        **method_options: Any,
    ) -> SamplingRequest:
        """The same request where something is known, with how that is told to the rest, checked.

        Parameters
        ----------
        model : RainModel
        observation : Observation or None
            What is known; None: known cells, which are not yet at hand.
        method, w_r, n_resampling, **method_options
            See `PrecipDiffusion.condition`.

        Raises
        ------
        ValueError, TypeError
            If the method is unknown, or an option is, or would be ignored.
        """
        check_arguments(w_r=w_r, n_resampling=n_resampling)
        if method is None:
            guides = "gradient" in model.corruption.capabilities
            method = "reconstruction" if guides else "replacement"
        if not isinstance(method, str) or method not in METHODS:
            raise ValueError(f"method={method!r} is unknown; choose one of {list(METHODS)}.")
        if method == "amortised" and not model.amortised:
            raise ValueError(
                "method='amortised' needs a network that was trained to be told what is known: "
                "fit with amortised=True, or choose another method."
            )
        _refuse_method(model.corruption, observation, method, w_r, n_resampling)
        taken = _options_of(method, observation)
        given = dict(method_options, **({} if w_r is None else {"w_r": w_r}))
        ignored = sorted(set(given) - set(taken))
        if ignored:
            raise TypeError(
                f"method={method!r} does not take {', '.join(ignored)}; it takes "
                f"{', '.join(sorted(taken)) or 'no options'}."
            )
        check_all(method_options, METHOD_OPTIONS)
        return replace(
            self, method=method, w_r=w_r, n_resampling=n_resampling, method_options=method_options
        )


def _refuse_method(
    corruption: Corruption,
    observation: Observation | None,
    method: str,
    w_r: float | None,
    n_resampling: int,
) -> None:
    """Refuse what the corruption cannot do, by name."""
    if w_r is not None:
        require(corruption, "gradient", f"w_r={w_r!r}")
    if n_resampling != 1:
        require(corruption, "sde", f"n_resampling={n_resampling!r}")
    needs = {"replacement": "cells", "amortised": "amortised", "restoration": "restoration"}
    require(corruption, needs.get(method, "gradient"), f"method={method!r}")
    exact = isinstance(observation, ArealMean) and not bool(observation.error_variance.any())
    if method == "restoration" and not exact:
        raise ValueError(
            "method='restoration' begins at a coarse field, such as downscale knows and an "
            "ArealMean without error; choose method='replacement' for what else is known."
        )


def is_told_in_full(observation: Observation | None) -> bool:
    """Whether nothing is left to guidance once the network knows the known cells."""
    if observation is None:
        return True
    return isinstance(observation, KnownCells) and not bool(observation.error_variance.any())


def _options_of(method: str, observation: Observation | None) -> list[str]:
    """Options that a method takes, ``w_r`` among them."""
    if method == "restoration":
        return []
    if method == "amortised":
        if is_told_in_full(observation):
            return []
        method = "reconstruction"
    names = list(inspect.signature(CONDITIONING_METHODS[method]).parameters)
    return [n for n in names if n not in _GIVEN] + ["w_r"] * ("w_r" in names)


# Options that say nothing of what is known.
GENERAL_OPTIONS = (
    "n_steps",
    "batch_size",
    "tile_size",
    "random_state",
    "y",
    "guidance_weight",
    "log_likelihood",
    "likelihood_scale",
)
