"""Constraints on single values: what each says of a value that will not do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

__all__ = [
    "Constraint",
    "InvalidParameterError",
    "check_all",
    "flag",
    "function",
    "jobs",
    "number",
    "one_of",
    "path",
    "raises",
    "random_state",
    "settings",
    "whole_number",
]

# What is wrong with a value, in words that follow "must be"; None if nothing is.
Constraint = Callable[[object], str | None]


class InvalidParameterError(ValueError, TypeError):
    """A parameter is not what it may be: of a wrong type, or out of range."""


def check_all(values: Mapping[str, Any], table: Mapping[str, Constraint], prefix: str = "") -> None:
    """Raise of the first value that its constraint in a table has a word against.

    Parameters
    ----------
    values : mapping of str to object
        Those that the table does not name are passed over, and so are those that are not given.
    table : mapping of str to Constraint
    prefix : str
        Put before names.

    Raises
    ------
    InvalidParameterError
        It names the parameter, what was got and what it must be.
    """
    for name, constraint in table.items():
        if name in values and (wanted := constraint(values[name])) is not None:
            raise InvalidParameterError(f"{prefix}{name}={values[name]!r} must be {wanted}.")


def whole_number(
    at_least: int, *, at_most: int | None = None, optional: bool = False
) -> Constraint:
    """An integer, no bool."""

    def check(value: object) -> str | None:
        if optional and value is None:
            return None
        if isinstance(value, Integral) and not isinstance(value, bool):
            x = int(value)
            if x >= at_least and (at_most is None or x <= at_most):
                return None
        limits = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
        return f"an integer {limits}" + " or None" * optional

    return check


def number(
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
    optional: bool = False,
    finite: bool = True,
) -> Constraint:
    """A number within limits, no bool and never NaN."""
    limits = [f"of at least {at_least:g}"] * (at_least > -math.inf)
    limits += [f"above {above:g}"] * (above > -math.inf)
    limits += [f"below {below:g}"] * (below < math.inf)
    limits += [f"at most {at_most:g}"] * (at_most < math.inf)

    def check(value: object) -> str | None:
        if optional and value is None:
            return None
        if isinstance(value, Real) and not isinstance(value, bool):
            try:
                x = float(value)
            except OverflowError:
                # Of a whole number larger than any float.
                x = math.inf
            within = at_least <= x <= at_most and (x < below or below == math.inf) and x > above
            if within and (math.isfinite(x) or not finite):
                return None
        kind = ["a finite number" if finite else "a number", " and ".join(limits)]
        return " ".join(filter(None, kind)) + " or None" * optional

    return check


def one_of(
    *choices: object, or_else: str = "", accepts: Callable[[object], bool] = lambda _: False
) -> Constraint:
    """One of some names (and None), or an object that `accepts` says will do."""

    def check(value: object) -> str | None:
        named = value is None or isinstance(value, str)
        if (named and value in choices) or (not named and accepts(value)):
            return None
        return f"one of {list(choices)}" + or_else

    return check


def flag(*, optional: bool = False) -> Constraint:
    """True or False, NumPy's as well."""

    def check(value: object) -> str | None:
        if optional and value is None:
            return None
        fits = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
        return None if fits else "True or False" + " or None" * optional

    return check


def raises(takes: Callable[[Any], object], wanted: str) -> Constraint:
    """What a function takes without complaint."""

    def check(value: object) -> str | None:
        try:
            takes(value)
        except Exception:
            # Whatever another library says of a value, here it is one that will not do.
            return wanted
        return None

    return check


def path(*, optional: bool) -> Constraint:
    """A place for files."""

    def check(value: object) -> str | None:
        fits = isinstance(value, str | PathLike) and str(value) != ""
        if fits or (optional and value is None):
            return None
        return "a path" + " or None" * optional

    return check


def function(*, optional: bool) -> Constraint:
    """Something that can be called, and is no class."""

    def check(value: object) -> str | None:
        fits = callable(value) and not isinstance(value, type)
        if fits or (optional and value is None):
            return None
        return "a function" + " or None" * optional

    return check


def settings(kind: type, shortcuts: Constraint) -> Constraint:
    """Settings of a kind, or a shortcut for them."""

    def check(value: object) -> str | None:
        if isinstance(value, kind):
            return None
        wanted = shortcuts(value)
        return wanted and f"{wanted}, or {kind.__name__}(...)"

    return check


def random_state(value: object) -> str | None:
    """What scikit-learn takes for a random state."""
    wanted = "an integer seed from 0 to 4294967295, a RandomState or None"
    if isinstance(value, bool | np.bool_):
        return wanted
    return raises(check_random_state, wanted)(value)


def jobs(value: object) -> str | None:
    """A number of processes as joblib counts them, or None."""
    fits = isinstance(value, Integral) and not isinstance(value, bool) and int(value) != 0
    return None if value is None or fits else "an integer but 0, or None"
