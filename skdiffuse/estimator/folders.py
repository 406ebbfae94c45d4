"""Where a training keeps its checkpoints and logs, tried before it begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn.base import clone

from skdiffuse.cubes import Cubes
from skdiffuse.estimator.file_forms import to_json
from skdiffuse.estimator.fitting import fingerprint
from skdiffuse.estimator.parameters import Parameters
from skdiffuse.runtime.outputs import try_folder

__all__ = ["folder_of_clone", "in_own_folders", "try_folders"]

# Parameters that say where and how a training runs, and not which one it is.
_ELSEWHERE = ("checkpoint_dir", "device", "keeping", "n_jobs", "verbose", "warm_start")


def try_folders(parameters: Parameters) -> None:
    """Raise where checkpoints or logs could not be written.

    Raises
    ------
    OSError
    """
    places = {
        "checkpoint_dir": parameters.checkpoint_dir,
        "keeping__log_dir": parameters.keeping.log_dir,
    }
    for name, place in places.items():
        if place is not None:
            try_folder(place, name)


def in_own_folders(parameters: Parameters, params: Mapping[str, Any], cube: Cubes) -> Parameters:
    """The same parameters, with folders within theirs that no other training has.

    Parameters
    ----------
    parameters : Parameters
    params : mapping
        The estimator's own, nested ones included.
    cube : Cube or SeveralCubes
        Of the training.
    """
    own = folder_of_clone(params, cube)
    if parameters.checkpoint_dir is not None:
        parameters = replace(parameters, checkpoint_dir=parameters.checkpoint_dir / own)
    if parameters.keeping.log_dir is not None:
        keeping = clone(parameters.keeping).set_params(
            log_dir=Path(parameters.keeping.log_dir) / own
        )
        parameters = replace(parameters, keeping=keeping)
    return parameters


def folder_of_clone(params: Mapping[str, Any], cube: Cubes) -> str:
    """Name of a folder that follows from the parameters and the data of a training."""
    said = {
        name: to_json(value)
        for name, value in sorted(params.items())
        if name.partition("__")[0] not in _ELSEWHERE
    }
    text = json.dumps([said, "; ".join(fingerprint(part) for part in cube.parts)])
    return f"clone-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
