"""Arguments of the verbs, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
import xarray as xr

from skdiffuse.cubes import (
    Cubes,
    GridMetadata,
    align_grid,
    align_like,
    are_several,
    ordered,
    validate_cubes,
)
from skdiffuse.cubes.alignment import label_places
from skdiffuse.estimator.constraints import (
    Constraint,
    InvalidParameterError,
    check_all,
    flag,
    function,
    jobs,
    number,
    one_of,
    path,
    random_state,
    whole_number,
)
from skdiffuse.estimator.measured_errors import MEASURED
from skdiffuse.estimator.weather import Storm, WeatherLaw
from skdiffuse.runtime.array_types import ArrayOrDataArray
from skdiffuse.runtime.outputs import try_output

__all__ = [
    "ARGUMENTS",
    "METHOD_OPTIONS",
    "check_arguments",
    "check_number",
    "checked_mask",
    "checked_sizes",
    "checked_storm",
    "checked_validation",
    "fields_in_order",
    "fields_of_cells",
]

_a_count = whole_number(1)

# What an argument may be, in whichever verb it is; X, y, shape, mask, storm and observation are
# checked where they are understood.
ARGUMENTS: dict[str, Constraint] = {
    "n_samples": _a_count,
    "n_members": _a_count,
    "n_frames": _a_count,
    "n_draws": _a_count,
    "horizon": _a_count,
    "factor": _a_count,
    "first": whole_number(0),
    "rare": number(at_least=0, at_most=1),
    "mode": one_of("autoregressive", "composed", "averaged"),
    "n_jobs": jobs,
    "out": path(optional=True),
    "path": path(optional=False),
    "folder": path(optional=True),
    "n_steps": _a_count,
    "batch_size": _a_count,
    "tile_size": whole_number(8, optional=True),
    "random_state": random_state,
    "guidance_weight": number(),
    "log_likelihood": function(optional=True),
    "likelihood_scale": number(),
    "w_r": number(at_least=0, optional=True, finite=False),
    "n_resampling": _a_count,
    "kind": one_of(*MEASURED),
    "n_windows": _a_count,
    "max_steps": _a_count,
    "relative_width": number(above=0, below=1),
}

# Those of the methods themselves.
METHOD_OPTIONS: dict[str, Constraint] = {
    "n_iterations": _a_count,
    "tolerance": number(at_least=0),
    "largest_gain": number(above=0, finite=False),
    "jacobian_error": number(at_least=0),
    "mean_over_batch": flag(),
}


def check_arguments(**given: Any) -> None:
    """Check arguments of a verb by their names.

    Raises
    ------
    InvalidParameterError
        If one is not what it may be; the error names it, what was got and what it must be.
    OSError
        If `out` or `path` is a place where nothing can be written.
    """
    check_all(given, ARGUMENTS)
    for name in {"out", "path"} & given.keys():
        if given[name] is not None:
            try_output(given[name], name)


def checked_sizes(shape: Any, names: tuple[str, ...]) -> list[int]:
    """Sizes of what is to be generated, as many as there are names."""
    try:
        sizes = tuple(shape)
    except TypeError:
        sizes = ()
    if len(sizes) != len(names) or any(_a_count(size) for size in sizes):
        raise InvalidParameterError(
            f"shape={shape!r} must hold {len(names)} integers of at least 1, ({', '.join(names)})."
        )
    return [int(size) for size in sizes]


def check_number(n_samples: int | None, name: str) -> None:
    """A number of realizations, or None for one without a dimension of its own."""
    check_all({name: n_samples}, {name: whole_number(1, optional=True)})


def checked_mask(mask: ArrayOrDataArray, X: ArrayOrDataArray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask in the layout of a cube of X."""
    values = np.asarray(mask)
    if values.dtype.kind != "b":
        raise ValueError(f"mask must be boolean, True where X is known; got dtype {values.dtype}.")
    return align_like(mask, X, "mask").reshape(shape)


def fields_in_order(y: Any) -> Any:
    """What the network is told, whose fields have y and x last if names say so."""
    fields = isinstance(y, xr.DataArray) and y.dtype.kind == "f" and y.ndim > 2
    return ordered(y, ("y", "x"), "y") if fields else y


def fields_of_cells(y: Any, template: GridMetadata | None) -> Any:
    """Named fields in the order of the cells of a cube; refused where they are of other cells."""
    fields = isinstance(y, xr.DataArray) and y.dtype.kind == "f" and y.ndim > 2
    if not fields or template is None:
        return y
    for dim in template.dims[-2:]:
        if dim not in y.indexes or dim not in template.coords.indexes:
            continue
        ours = template.coords.indexes[dim]
        found = label_places(y.indexes[dim], ours)
        if found is None:
            raise ValueError(
                f"y has other labels along {dim!r} than X, whose {len(ours)} run from {ours[0]} to "
                f"{ours[-1]}: give fields on the cells of X, e.g. y.reindex({dim}=X[{dim!r}])."
            )
        y = y.isel({dim: found})
    return y


def checked_validation(validation: Any, X: Any, n_frames: int) -> Cubes:
    """Rain to validate on, one cube or several, its cells in the order of those trained on."""
    first = X[0] if are_several(X) else X

    def align(part: Any, name: str) -> Any:
        return align_grid(first, part, ("time", "y", "x"), ("X", name))[1]

    if are_several(validation):
        aligned = [align(part, f"validation[{k}]") for k, part in enumerate(validation)]
        return validate_cubes(aligned, n_frames=n_frames, name="validation")
    return validate_cubes(align(validation, "validation"), n_frames=n_frames, name="validation")


def checked_storm(
    storm: int | Mapping[str, float] | None, rare: float, weathers: WeatherLaw | None
) -> Storm | None:
    """The weather that is asked for, None for whatever comes."""
    check_arguments(rare=rare)
    if storm is None and rare == 0:
        return None
    if weathers is None:
        raise ValueError(
            f"storm={storm!r} and rare={rare!r} need a model that knows the weather of its "
            'windows: fit with network="tiny" or NetworkSettings(skip="mixture").'
        )
    if storm is None:
        return None
    if rare != 0:
        raise ValueError(
            f"rare={rare!r} chooses among weathers, and storm={storm!r} has chosen: give one."
        )
    n = len(weathers.frequencies)
    if isinstance(storm, Mapping) and "mean" in storm and set(storm) <= {"mean", "unevenness"}:
        for name, value in storm.items():
            check_all({f"storm[{name!r}]": value}, {f"storm[{name!r}]": number(at_least=0)})
        return Storm(weathers.class_of(**storm), float(storm["mean"]))
    if isinstance(storm, Integral) and not isinstance(storm, bool) and 0 <= int(storm) < n:
        return Storm(int(storm))
    raise ValueError(
        f"storm={storm!r} must be a class from 0 to {n - 1}, or a dict with 'mean' in mm/h and, if "
        "you like, 'unevenness'."
    )
