"""How files written here say which dimensions are time, y and x, whatever they are called.

Cubes may have any names of dimensions, further dimensions in front, and no times or plain numbers
for times, all of which would leave a reader of other people's files in doubt.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

_VARIABLE, _DIMENSIONS = "skdiffuse_variable", "skdiffuse_dimensions"


def layout_attributes(dims: Sequence[Hashable], name: str) -> dict[str, str | list[str]]:
    """Attributes of a file that :func:`own_variable` and :func:`own_dimensions` read."""
    return {_VARIABLE: name, _DIMENSIONS: [str(dim) for dim in dims]}


def own_variable(dataset: xr.Dataset) -> str | None:
    """The cube of a file that was written here; None of another."""
    name = dataset.attrs.get(_VARIABLE)
    return name if isinstance(name, str) and name in dataset.data_vars else None


def own_dimensions(dataset: xr.Dataset, name: str) -> list[str] | None:
    """The cube's dimensions, the last three of which are time, y and x; None of another file.

    Examples
    --------
    >>> import numpy as np
    >>> attrs = layout_attributes(("a", "b", "c"), "rain")
    >>> turned = xr.Dataset({"rain": (("b", "c", "a"), np.ones((1, 2, 3)))}, attrs=attrs)
    >>> own_dimensions(turned, "rain")
    ['a', 'b', 'c']
    """
    stated = [str(dim) for dim in np.atleast_1d(dataset.attrs.get(_DIMENSIONS, []))]
    if own_variable(dataset) != name or set(stated) != set(dataset[name].dims):
        return None
    return stated
