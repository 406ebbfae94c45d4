"""Arguments of the verbs, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import xarray as xr
from sklearn.utils import check_scalar

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
from skdiffuse.estimator.weather import Storm, WeatherLaw
from skdiffuse.runtime.array_types import ArrayOrDataArray

__all__ = [
    "check_number",
    "checked_mask",
    "checked_sizes",
    "checked_storm",
    "checked_validation",
    "fields_in_order",
    "fields_of_cells",
]


def checked_sizes(shape: Any, names: tuple[str, ...]) -> list[int]:
    """Sizes of what is to be generated, as many as there are names."""
    try:
        sizes = tuple(shape)
    except TypeError:
        sizes = ()
    fits = len(sizes) == len(names) and all(
        isinstance(size, Integral) and int(size) >= 1 for size in sizes
    )
    if not fits:
        raise ValueError(
            f"shape={shape!r} must hold {len(names)} integers of at least 1, ({', '.join(names)})."
        )
    return [int(size) for size in sizes]


def check_number(n_samples: int | None, name: str) -> None:
    """A number of realizations, or None for one without a dimension of its own."""
    if n_samples is not None:
        check_scalar(n_samples, name, Integral, min_val=1)


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
    check_scalar(rare, "rare", Real, min_val=0, max_val=1)
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
            check_scalar(value, f"storm[{name!r}]", Real, min_val=0)
        return Storm(weathers.class_of(**storm), float(storm["mean"]))
    if isinstance(storm, Integral) and not isinstance(storm, bool) and 0 <= int(storm) < n:
        return Storm(int(storm))
    raise ValueError(
        f"storm={storm!r} must be a class from 0 to {n - 1}, or a dict with 'mean' in mm/h and, if "
        "you like, 'unevenness'."
    )
