"""Schedules and step rules as JSON and back, without pickle.

Only classes of `skdiffuse.diffusion` and `skdiffuse.corruptions` are made from a file: a file must
not say what is imported.
"""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from typing import Any

from skdiffuse import corruptions, diffusion

__all__ = ["NeedsOwnObjectError", "from_json", "name_of", "to_json"]


class NeedsOwnObjectError(ValueError):
    """A file was made with an object of a user's own, which has to be given again."""

    def __init__(self, parameter: str, name: str) -> None:
        super().__init__(parameter, name)
        self.parameter = parameter
        self.name = name

    def __str__(self) -> str:
        return (
            f"the model was made with a {self.parameter} of its own, {self.name}, which the file "
            f"does not hold; give it to load(path, {self.parameter}=...)."
        )


def to_json(value: Any) -> Any:
    """A parameter's JSON form.

    Numbers, names, None, pairs of them, and objects of `skdiffuse.diffusion` and
    `skdiffuse.corruptions` have one that `from_json` reads. Anything else is a user's own and has
    only its name, ``{"own": name}``.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if isinstance(value, tuple | list):
        return [to_json(each) for each in value]
    kind = type(value)
    if _class_of(kind.__name__) is kind:
        names = list(inspect.signature(kind).parameters)
        if is_dataclass(kind):
            # What a corruption has learnt is kept as tensors, and not shown.
            names = [each.name for each in fields(kind) if each.init and each.repr]
        if all(hasattr(value, name) for name in names):
            return {
                "class": kind.__name__,
                "parameters": {n: to_json(getattr(value, n)) for n in names},
            }
    return {"own": name_of(value)}


def from_json(value: Any, parameter: str) -> Any:
    """The object of a JSON form.

    Raises
    ------
    ValueError
        If it is a user's own, which has to be given again.
    """
    if isinstance(value, list):
        return tuple(from_json(each, parameter) for each in value)
    if not isinstance(value, dict):
        return value
    if "own" in value:
        raise NeedsOwnObjectError(parameter, value["own"])
    kind = _class_of(value["class"])
    if not isinstance(kind, type):
        raise ValueError(
            f"the model was made with a {parameter} that this version of skdiffuse does not have, "
            f"{value['class']}; update skdiffuse, or give it to load(path, {parameter}=...)."
        )
    return kind(**{n: from_json(v, parameter) for n, v in value["parameters"].items()})


def _class_of(name: str) -> Any:
    """What is public under a name; whatever else its modules have imported is not made."""
    for module in (diffusion, corruptions):
        if name in module.__all__:
            return getattr(module, name)
    return None


def name_of(value: Any) -> str:
    """Full name of a function or class, or of an object's class."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
