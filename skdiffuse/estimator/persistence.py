"""A fitted model as one safetensors file: arrays as tensors, everything else as JSON."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skdiffuse._version import __version__
from skdiffuse.corruptions import GaussianCorruption
from skdiffuse.cubes import GridMetadata
from skdiffuse.diffusion import KNOWN_COVARIATES
from skdiffuse.estimator.constraints import InvalidParameterError
from skdiffuse.estimator.file_forms import from_json, to_json
from skdiffuse.estimator.finiteness import refuse_broken_weights
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.estimator.learning import Learnt
from skdiffuse.estimator.measured_errors import MeasuredErrors
from skdiffuse.estimator.model_card import ModelCard, card_path
from skdiffuse.estimator.named_models import read_card
from skdiffuse.estimator.network_plan import NetworkPlan
from skdiffuse.estimator.parameters import SHORTCUTS, network_settings
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.weather import WeatherLaw, prior_of, prior_tensors
from skdiffuse.networks import MixturePrior, Told, periodic_axes
from skdiffuse.preprocessing import transformer_from_arrays, transformer_to_arrays
from skdiffuse.runtime.whole_files import write_whole
from skdiffuse.training.checkpoints import flatten, read_tensors, unflatten, write_tensors

__all__ = [
    "FORMAT",
    "NONSENSE",
    "load",
    "made_by_hand",
    "model_of",
    "model_parts",
    "read_kind",
    "refuse_other_format",
    "save",
]

# Increased when a file of an earlier version can no longer be read.
FORMAT = 2
# Classes whose files there are.
KINDS = ("PrecipDiffusion", "TwoStageDiffusion")
# Parameters that mean nothing to whoever uses a model: the fitted transformer is stored in full,
# folders and the device are those of another machine.
_NOT_KEPT = {"transformer": None, "checkpoint_dir": None, "keeping": None, "device": "auto"}

# Larger windows were never trained on.
_MOST_CELLS = 2**31
# What is raised where a file says what no model is; a ValueError that is none of these is ours.
NONSENSE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    RuntimeError,
    TypeError,
    json.JSONDecodeError,
)

# The part of some settings for which an object of a user's own may stand.
_OWN_PART = {"network": "architecture", "sampler": "step"}


def save(
    learnt: Learnt, params: Mapping[str, Any], path: str | Path, said: Mapping[str, Any] | None
) -> None:
    """Write what was learnt and, where there is one, its card; see `PrecipDiffusion.save`."""
    model = learnt.model
    card = model.card
    if said is not None:
        training = {"version": __version__, "steps": learnt.n_iter}
        card = ModelCard.of(model.window, model.template, training, said)
    write_tensors(path, *model_parts(learnt, params))
    if card is not None:
        write_whole(card_path(Path(path)), card.to_json().encode())


def load(path: Path, named: bool, **own: Any) -> tuple[Learnt, dict[str, Any]]:
    """Read what `save` wrote, with the card of a model that was found by its name."""
    learnt, params = model_of(path, *read_kind(path, "PrecipDiffusion"), own)
    if not named:
        return learnt, params
    card = read_card(path)
    if card is None:
        # Past this and the verb, which is a context of its own, to whoever called it.
        warnings.warn(
            f"{path} has no card, so that nothing is known of its data, region and licence: write "
            "one with save(path, card={...}).",
            UserWarning,
            stacklevel=4,
        )
        return learnt, params
    model = learnt.model
    card.check(model.window, model.template, str(card_path(path)))
    return replace(learnt, model=replace(model, card=card)), params


def model_parts(
    learnt: Learnt, params: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON of what was learnt, which `model_of` reads.

    Parameters
    ----------
    learnt : Learnt
    params : mapping
        Parameters of the estimator. A network, sampler or schedule of a user's own is kept by its
        name only, and has to be given again to read the file.

    Raises
    ------
    TypeError
        If the transformer is a user's own, which has no form in a file.
    """
    model = learnt.model
    refuse_broken_weights(model, "The model to be saved")
    transformer_config, transformer_arrays = transformer_to_arrays(model.latent.transformer)
    kept = {**params, **_NOT_KEPT}
    if not isinstance(kept["random_state"], int | np.integer):
        kept["random_state"] = None
    plan = {name: to_json(value) for name, value in vars(model.plan).items()}
    tensors = (
        flatten("network", _weights(model))
        | flatten("prior", {} if model.prior is None else prior_tensors(model.prior))
        | flatten("corruption", model.corruption.tensors())
        | flatten("transformer", {k: torch.as_tensor(v) for k, v in transformer_arrays.items()})
        | flatten("weathers", {} if model.weathers is None else model.weathers.tensors())
        | flatten("errors", {} if model.errors is None else model.errors.tensors())
    )
    return tensors, {
        "format": FORMAT,
        "version": __version__,
        "kind": "PrecipDiffusion",
        "params": {name: _parameter_to_json(value) for name, value in kept.items()},
        "plan": plan,
        "schedule": to_json(model.schedule),
        "corruption": to_json(model.corruption),
        "amortised": model.amortised,
        "transformer": transformer_config,
        "latent": model.latent.numbers,
        "told": asdict(model.told),
        "n_frames": model.n_frames,
        "field_shape": list(model.field_shape),
        "template": None if model.template is None else model.template.to_json(),
        "history": learnt.history,
        "n_iter": learnt.n_iter,
        "n_skipped": learnt.n_skipped,
    }


def read_kind(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON of a file that holds an estimator of a class.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is none, or it holds something else.
    """
    tensors, content = read_tensors(path)
    found = content.get("kind")
    if found in KINDS and found != kind:
        raise ValueError(f"{path} holds a {found}, not a {kind}: read it with {found}.load.")
    if found != kind:
        raise ValueError(f"{path} is no model, but a checkpoint or another file of skdiffuse.")
    return tensors, content


def model_of(
    path: str | Path, tensors: dict[str, Tensor], content: dict[str, Any], own: Mapping[str, Any]
) -> tuple[Learnt, dict[str, Any]]:
    """The model of what `model_parts` gave, and the parameters of its estimator.

    Parameters
    ----------
    path : str or Path
        Named in errors.
    tensors, content : dict
    own : mapping
        ``network``, ``sampler``, ``schedule``, ``corruption``: parameters to take instead of those
        in the file.
    """
    try:
        return _model_of(path, tensors, content, own)
    except InvalidParameterError:
        raise
    except NONSENSE as error:
        if any(each is not None for each in own.values()):
            # What a user's own object says is for the user.
            raise
        raise made_by_hand(path, error) from error


def made_by_hand(path: str | Path, error: Exception) -> ValueError:
    """What is raised of a file that says what no model is.

    A checksum is no signature: whoever makes a file can make it right.
    """
    return ValueError(
        f"{path} is no model that this version of skdiffuse can read: it was damaged or made "
        f"by hand ({type(error).__name__}: {error}). Use a file that save has written."
    )


def _model_of(
    path: str | Path, tensors: dict[str, Tensor], content: dict[str, Any], own: Mapping[str, Any]
) -> tuple[Learnt, dict[str, Any]]:
    """The model that a file describes; nothing larger than its tensors is made of it."""
    refuse_other_format(path, content)
    stored = content["params"]
    params = {
        name: _parameter_from_json(value, name, own.get(name)) for name, value in stored.items()
    }
    arrays = {k: np.asarray(v) for k, v in unflatten("transformer", tensors).items()}
    transformer = transformer_from_arrays(content["transformer"], arrays)
    params["transformer"] = transformer
    network = network_settings(params["network"])
    stored_plan = content["plan"] | {"architecture": network.architecture}
    plan = NetworkPlan(**_with_tuples(stored_plan))
    told = Told(**_with_tuples(content["told"]))
    if plan.n_covariates != told.n_covariates + KNOWN_COVARIATES * content["amortised"]:
        raise ValueError(
            f"{path} was written by skdiffuse {content['version']} with amortised=True, whose "
            "networks were told less of what is known (not what the motion carries along); fit the "
            "model anew, or read it with the version that wrote it."
        )
    weights = unflatten("network", tensors)
    # The weights and the spectrum of the skip are overwritten at once.
    latent = LatentSpace(transformer, **content["latent"])
    corruption = own.get("corruption")
    if corruption is None and "corruption" in content:
        corruption = from_json(content["corruption"], "corruption")
    corruption = GaussianCorruption() if corruption is None else corruption
    corruption = corruption.bound(latent.decode_smoothly, latent.encode)
    corruption = corruption.with_tensors(unflatten("corruption", tensors))
    window = _window(corruption.shape((content["n_frames"], *content["field_shape"])))
    start: MixturePrior | Tensor | None = None
    if plan.skip == "mixture":
        start = prior_of(unflatten("prior", tensors), periodic_axes(plan.edges))
    elif plan.skip is not None:
        start = torch.ones(window, device="meta")
    if isinstance(plan.architecture, str):
        # Before memory is taken for it.
        needed = plan.shapes(start)
        if plan.tells_weather:
            needed = {name: size for name, size in needed.items() if not name.startswith("prior.")}
        _refuse_other_weights(path, network.architecture, needed, weights)
    if start is not None and not isinstance(start, MixturePrior):
        start = torch.ones(window)
    module = plan.build(start, gradient_checkpointing=network.gradient_checkpointing)
    if isinstance(start, MixturePrior) and plan.tells_weather:
        weights |= flatten("prior", start.state_dict())
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{path} holds weights of another network than network={network.architecture!r} "
            f"makes: {error}"
        ) from error
    schedule = own.get("schedule")
    template = content["template"]
    model = RainModel(
        latent,
        module.requires_grad_(False).eval(),
        plan,
        from_json(content["schedule"], "schedule") if schedule is None else schedule,
        told,
        content["amortised"],
        content["n_frames"],
        tuple(content["field_shape"]),
        None if template is None else GridMetadata.from_json(template),
        WeatherLaw.from_tensors(law) if (law := unflatten("weathers", tensors)) else None,
        start if isinstance(start, MixturePrior) else None,
        errors=MeasuredErrors.from_tensors(found)
        if (found := unflatten("errors", tensors))
        else None,
        corruption=corruption,
    )
    refuse_broken_weights(model, f"The model in {path}")
    return Learnt(model, content["history"], content["n_iter"], content["n_skipped"]), params


def refuse_other_format(path: str | Path, content: Mapping[str, Any]) -> None:
    """Refuse a file of a version that this one does not read."""
    if content["format"] != FORMAT:
        newer = content["format"] > FORMAT
        raise ValueError(
            f"{path} was written by skdiffuse {content['version']}, "
            + (
                f"which is newer than this ({__version__}); update skdiffuse."
                if newer
                else f"whose files this version ({__version__}) no longer reads; fit the model "
                "anew, or read it with the version that wrote it."
            )
        )


def _weights(model: RainModel) -> dict[str, Tensor]:
    """Of the network, without the prior that a `MixtureSkip` holds and the file has already."""
    weights: dict[str, Tensor] = model.network.state_dict()
    if not model.plan.tells_weather:
        return weights
    return {name: each for name, each in weights.items() if not name.startswith("prior.")}


def _window(shape: Sequence[int]) -> tuple[int, ...]:
    """Frames, rows and columns that a file gives its windows."""
    if any(not isinstance(n, int) or n < 1 for n in shape) or math.prod(shape) > _MOST_CELLS:
        raise TypeError(f"windows of {list(shape)} cells")
    return tuple(shape)


def _refuse_other_weights(
    path: str | Path,
    architecture: Any,
    needed: Mapping[str, torch.Size],
    weights: Mapping[str, Tensor],
) -> None:
    found = {name: each.shape for name, each in weights.items()}
    different = sorted(
        name for name in needed.keys() | found.keys() if needed.get(name) != found.get(name)
    )
    if different:
        name = different[0]
        raise ValueError(
            f"{path} holds weights of another network than network={architecture!r} makes: "
            f"{len(different)} of them are missing, too many or of another size, such as {name} "
            f"({_size(found.get(name))} there, {_size(needed.get(name))} here). Load it with the "
            "network that it was fitted with."
        )


def _size(shape: torch.Size | None) -> str:
    return "none" if shape is None else " x ".join(map(str, shape)) or "a number"


def _with_tuples(stored: dict[str, Any]) -> dict[str, Any]:
    """Attributes from JSON, which has lists where they are tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}


def _parameter_to_json(value: Any) -> Any:
    if hasattr(value, "get_params"):
        given = value.get_params(deep=False)
        return {"settings": {name: to_json(each) for name, each in given.items()}}
    return to_json(value)


def _parameter_from_json(stored: Any, name: str, own: Any) -> Any:
    """A parameter from its JSON form, or a user's own object in its place."""
    if own is not None and (hasattr(own, "get_params") or name not in _OWN_PART):
        return own
    if isinstance(stored, dict) and "settings" in stored:
        parts = dict(stored["settings"])
        replaced = {} if own is None else {_OWN_PART[name]: own}
        kept = {part: value for part, value in parts.items() if part not in replaced}
        given = {part: from_json(value, name) for part, value in kept.items()}
        return SHORTCUTS[name](None).set_params(**given, **replaced)
    return from_json(stored, name) if own is None else own
