"""A fitted model as one safetensors file: arrays as tensors, everything else as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator

from skdiffuse._version import __version__
from skdiffuse.cubes import GridMetadata
from skdiffuse.diffusion import ShiftedCosineSchedule
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.networks import Told, build_network
from skdiffuse.preprocessing import transformer_from_arrays, transformer_to_arrays
from skdiffuse.training.checkpoints import flatten, read_tensors, unflatten, write_tensors

__all__ = ["load_model", "save_model"]

# Increased when a file of an earlier version can no longer be read.
FORMAT = 1


def save_model(model: BaseEstimator, path: str | Path) -> None:
    """Write a fitted model, atomically."""
    transformer_config, transformer_arrays = transformer_to_arrays(model.transformer_)
    params = model.get_params(deep=False)
    # The fitted transformer is stored in full; other objects among the parameters are not needed
    # to use the model and have no form in JSON.
    params["transformer"] = None
    params["checkpoint_dir"] = params["log_dir"] = None
    if not isinstance(params["random_state"], int):
        params["random_state"] = None
    write_tensors(
        path,
        flatten("network", model.network_.state_dict())
        | flatten("transformer", {k: torch.as_tensor(v) for k, v in transformer_arrays.items()}),
        {
            "format": FORMAT,
            "version": __version__,
            "kind": "PrecipDiffusion",
            "params": params,
            "network_options": model._network_options,
            "transformer": transformer_config,
            "latent": model.latent_.numbers,
            "told": asdict(model.told_),
            "field_shape": list(model.field_shape_),
            "template": None if model.template_ is None else model.template_.to_json(),
            "history": model.history_,
            "n_iter": model.n_iter_,
            "n_skipped": model.n_skipped_,
        },
    )


def load_model(cls: type[BaseEstimator], path: str | Path) -> BaseEstimator:
    """Read what `save_model` wrote."""
    tensors, content = read_tensors(path)
    if content.get("kind") != "PrecipDiffusion":
        raise ValueError(f"{path} is no model, but a checkpoint or another file of skdiffuse.")
    if content["format"] > FORMAT:
        raise ValueError(
            f"{path} was written by skdiffuse {content['version']}, which is newer than this "
            f"({__version__}); update skdiffuse."
        )
    params = content["params"]
    params["log_snr_range"] = tuple(params["log_snr_range"])
    model = cls(**params)
    arrays = {k: np.asarray(v) for k, v in unflatten("transformer", tensors).items()}
    model.transformer_ = transformer_from_arrays(content["transformer"], arrays)
    model.transformer = model.transformer_
    model.latent_ = LatentSpace(model.transformer_, **content["latent"])
    model.schedule_ = ShiftedCosineSchedule(params["log_snr_shift"], *params["log_snr_range"])
    options = content["network_options"]
    if options["field_shape"] is not None:
        options["field_shape"] = tuple(options["field_shape"])
    model._network_options = options
    with torch.random.fork_rng(devices=[]):
        # The weights and the spectrum of the skip are overwritten at once.
        power = torch.ones(tensors["network.power"].shape) if params["wiener_skip"] else None
        network = build_network(
            params["network"],
            power=power,
            gradient_checkpointing=model.gradient_checkpointing,
            **options,
        )
    network.load_state_dict(unflatten("network", tensors))
    model.network_ = network.requires_grad_(False).eval()
    told = {k: tuple(v) if isinstance(v, list) else v for k, v in content["told"].items()}
    model.told_ = Told(**told)
    model.field_shape_ = tuple(content["field_shape"])
    template = content["template"]
    model.template_ = None if template is None else GridMetadata.from_json(template)
    model.history_ = content["history"]
    model.n_iter_ = content["n_iter"]
    model.n_skipped_ = content["n_skipped"]
    return model
