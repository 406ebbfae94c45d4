"""From what a user may write for a transformer to an instance, and from an instance to a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from skdiffuse.preprocessing._box_cox import BoxCoxTransform
from skdiffuse.preprocessing._cube_root import CubeRootTransform
from skdiffuse.preprocessing._elementwise import ElementwiseTransformer
from skdiffuse.preprocessing._identity import IdentityTransform
from skdiffuse.preprocessing._learnt import LearntMonotoneTransform
from skdiffuse.preprocessing._log import LogTransform
from skdiffuse.preprocessing._normal_score import NormalScoreTransform
from skdiffuse.preprocessing._sqrt import SqrtTransform

__all__ = ["resolve_transformer", "transformer_from_arrays", "transformer_to_arrays"]

_BY_NAME: dict[str, type[ElementwiseTransformer]] = {
    "box_cox": BoxCoxTransform,
    "cube_root": CubeRootTransform,
    "identity": IdentityTransform,
    "learnt": LearntMonotoneTransform,
    "log": LogTransform,
    "normal_score": NormalScoreTransform,
    "sqrt": SqrtTransform,
}


def resolve_transformer(transformer: object) -> ElementwiseTransformer:
    """An unfitted transformer from what a user wrote.

    Parameters
    ----------
    transformer : None, str or transformer instance
        None is :class:`IdentityTransform`; a name is that transform with its defaults; an instance
        is cloned. Any class with ``transform``, ``inverse_transform`` and ``log_jacobian`` that
        takes tensors will do.

    Returns
    -------
    ElementwiseTransformer

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For an object that cannot serve.

    Examples
    --------
    >>> from skdiffuse.preprocessing import resolve_transformer
    >>> resolve_transformer("sqrt")
    SqrtTransform()
    """
    if transformer is None:
        return IdentityTransform()
    if isinstance(transformer, str):
        if transformer not in _BY_NAME:
            raise ValueError(
                f"transformer: unknown name {transformer!r}; use None, one of "
                f"{sorted(_BY_NAME)}, or a transformer instance."
            )
        return _BY_NAME[transformer]()
    verbs = ("fit", "transform", "inverse_transform", "log_jacobian")
    missing = [verb for verb in verbs if not callable(getattr(transformer, verb, None))]
    if missing or isinstance(transformer, type):
        what = "the class itself" if isinstance(transformer, type) else f"no {', '.join(missing)}"
        raise TypeError(
            f"transformer: got {transformer!r} ({what}); give None, one of {sorted(_BY_NAME)}, or "
            "an instance of a transformer from skdiffuse.preprocessing."
        )
    return clone(transformer)


def transformer_to_arrays(
    transformer: ElementwiseTransformer,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the parameters and learnt state as JSON-able values and arrays, without pickle.

    Parameters
    ----------
    transformer : ElementwiseTransformer
        Fitted or not.

    Returns
    -------
    config : dict
        Class name, parameters and scalar attributes; ``json.dumps`` takes it.
    arrays : dict of str to ndarray
        Learnt arrays.

    Raises
    ------
    TypeError
        If a parameter has no JSON form, or the class is not an ElementwiseTransformer.

    Examples
    --------
    >>> from skdiffuse.preprocessing import SqrtTransform, transformer_to_arrays
    >>> transformer_to_arrays(SqrtTransform())
    ({'class': 'SqrtTransform', 'params': {}, 'state': {}, 'nested': {}}, {})
    """
    if not isinstance(transformer, ElementwiseTransformer):
        raise TypeError(
            f"transformer: {type(transformer).__name__} has no file form; only the transformers "
            "of skdiffuse.preprocessing and classes derived from ElementwiseTransformer do. "
            "Use pickle for others."
        )
    config: dict[str, Any] = {
        "class": type(transformer).__name__,
        "params": {},
        "state": {},
        "nested": {},
    }
    arrays: dict[str, np.ndarray] = {}
    params = transformer.get_params(deep=False)
    state = {
        name: value
        for name, value in vars(transformer).items()
        if name.endswith("_") and not name.endswith("__") and name not in params
    }
    for kind, values in (("params", params), ("state", state)):
        for name, value in values.items():
            if isinstance(value, ElementwiseTransformer):
                inner, inner_arrays = transformer_to_arrays(value)
                config["nested"][name] = inner
                arrays |= {f"{name}.{key}": array for key, array in inner_arrays.items()}
            elif isinstance(value, np.ndarray) and value.dtype != object:
                arrays[name] = value
            else:
                config[kind][name] = _plain(name, value)
    return config, arrays


def transformer_from_arrays(
    config: dict[str, Any], arrays: dict[str, np.ndarray]
) -> ElementwiseTransformer:
    """The transformer that :func:`transformer_to_arrays` took apart.

    Parameters
    ----------
    config : dict
    arrays : dict of str to ndarray

    Returns
    -------
    ElementwiseTransformer

    Raises
    ------
    ValueError
        If no imported class has the stored name, or something else than its parameters and what
        it has learnt is stored.

    Examples
    --------
    >>> from skdiffuse.preprocessing import (
    ...     SqrtTransform, transformer_from_arrays, transformer_to_arrays)
    >>> transformer_from_arrays(*transformer_to_arrays(SqrtTransform()))
    SqrtTransform()
    """
    classes = {cls.__name__: cls for cls in _subclasses(ElementwiseTransformer)}
    if config["class"] not in classes:
        raise ValueError(
            f"config: no transformer class named {config['class']!r} is known; import the module "
            f"that defines it first. Known: {sorted(classes)}."
        )
    cls = classes[config["class"]]
    nested = {
        name: transformer_from_arrays(
            inner,
            {
                key.removeprefix(f"{name}."): array
                for key, array in arrays.items()
                if key.startswith(f"{name}.")
            },
        )
        for name, inner in config["nested"].items()
    }
    own = {name: np.array(value) for name, value in arrays.items() if "." not in name}
    if "feature_names_in_" in config["state"]:
        own["feature_names_in_"] = np.asarray(config["state"]["feature_names_in_"], dtype=object)
    values = config["params"] | config["state"] | nested | own
    names = set(cls._get_param_names())
    if foreign := sorted(
        name for name in values.keys() - names if name[:1] == "_" or name[-1:] != "_"
    ):
        raise ValueError(
            f"config: {foreign} are neither parameters of {cls.__name__} nor learnt by it: the "
            "file was not written by transformer_to_arrays; save the transformer anew."
        )
    transformer = cls(**{name: value for name, value in values.items() if name in names})
    for name, value in values.items():
        if name not in names:
            setattr(transformer, name, value)
    return transformer


def _plain(name: str, value: object) -> object:
    """`value` as json.dumps takes it and json.loads gives it back."""
    if isinstance(value, np.ndarray):
        return [_plain(name, item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    raise TypeError(
        f"{name}: {value!r} cannot be stored in a file; use a number, a string or None "
        "(an int for random_state)."
    )


def _subclasses(cls: type[ElementwiseTransformer]) -> set[type[ElementwiseTransformer]]:
    return {cls}.union(*(_subclasses(sub) for sub in cls.__subclasses__()))
