"""Names are the truth: arrays brought to one order before a function sees them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from skdiffuse.cubes.alignment import align_cases, align_grid
from skdiffuse.cubes.layout import ordered

P = ParamSpec("P")
R = TypeVar("R")


class _Call:
    """The arguments of one call, by the names of the parameters."""

    def __init__(self, names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.names, self.args, self.kwargs = names, list(args), dict(kwargs)

    def has(self, name: str) -> bool:
        return name in self.kwargs or self.names.index(name) < len(self.args)

    def __getitem__(self, name: str) -> Any:
        return self.kwargs[name] if name in self.kwargs else self.args[self.names.index(name)]

    def __setitem__(self, name: str, value: Any) -> None:
        place = self.names.index(name)
        if name in self.kwargs or place >= len(self.args):
            self.kwargs[name] = value
        else:
            self.args[place] = value


def _changed(
    change: Callable[[_Call, str], None],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that changes the arguments of a call; the first array is named to `change`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        names = list(inspect.signature(function).parameters)
        first = names[1] if names[0] == "cls" else names[0]

        @wraps(function)
        def by_name(*args: P.args, **kwargs: P.kwargs) -> R:
            call = _Call(names, args, kwargs)
            if call.has(first):
                change(call, first)
            return function(*call.args, **call.kwargs)

        return cast("Callable[P, R]", by_name)

    return decorate


def _each(given: Any, name: str) -> dict[str, Any]:
    """Arrays by what errors call them: one, or those of a dictionary."""
    return dict(given) if isinstance(given, Mapping) else {name: given}


def _members_first(X: Any, place: Any) -> Any:
    if not place:
        return X
    return X.transpose(X.dims[place], ...) if hasattr(X, "dims") else np.moveaxis(X, place, 0)


def samples_by_name(
    *others: str, axes: tuple[str, ...] = ("y", "x")
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Order the dimensions of a function's first array, and bring others to its cells.

    Parameters
    ----------
    *others : str
        Parameters that hold samples on the grid of the first, or dictionaries of them.
    axes : tuple of str, default=("y", "x")
        What the last dimensions are.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from skdiffuse.metrics.by_name import samples_by_name
    >>> @samples_by_name()
    ... def first_row(X):
    ...     return np.asarray(X)[0].tolist()
    >>> first_row(xr.DataArray([[1, 2], [3, 4]], dims=("x", "y")))
    [1, 3]
    """

    def change(call: _Call, first: str) -> None:
        call[first] = ordered(call[first], axes, first)
        for other in others:
            if not call.has(other):
                continue
            found = {
                name: align_grid(call[first], X, axes, (first, str(name)))[1]
                for name, X in _each(call[other], other).items()
            }
            call[other] = found if isinstance(call[other], Mapping) else found[other]

    return _changed(change)


def cases_by_name(
    other: str, axis: str | None = None, axes: tuple[str, ...] = (), members: bool = True
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Bring forecasts to the dimensions, and the order of labels, of a function's first array.

    Parameters
    ----------
    other : str
        Parameter that holds the forecasts, or a dictionary of them.
    axis : str, default=None
        Parameter that says which dimension of them is that of the members; None where it is
        the first.
    axes : tuple of str, default=()
        What the last dimensions of the first array are, where their order matters.
    members : bool, default=True
        Whether forecasts have members where `axis` is not given.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from skdiffuse.metrics.by_name import cases_by_name
    >>> @cases_by_name("ens")
    ... def first_member(obs, ens):
    ...     return np.asarray(ens)[0].tolist()
    >>> ens = xr.DataArray([[1, 2], [3, 4]], dims=("time", "realization"))
    >>> first_member(xr.DataArray([0, 0], dims="time"), ens)
    [1, 3]
    """

    def change(call: _Call, first: str) -> None:
        if not call.has(other):
            return
        given = call[axis] if axis is not None and call.has(axis) else 0 if members else None
        obs, found = call[first], {}
        places: dict[Any, Any] = {}
        for name, X in _each(call[other], other).items():
            obs, found[name], places[name] = align_cases(
                call[first], X, given, axes, (first, str(name))
            )
        if axis is not None and any(place != given for place in places.values()):
            # Plain arrays beside named ones, whose members are now in front.
            found = {n: _members_first(X, places[n]) for n, X in found.items()}
            call[axis] = 0
        call[first] = obs
        call[other] = found if isinstance(call[other], Mapping) else found[other]

    return _changed(change)
