"""What is said of stored weights: of which rain they are, and how good they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from skdiffuse.cubes import GridMetadata
from skdiffuse.cubes.spacing import axis_of

__all__ = ["ModelCard", "card_path"]

_SAID = ("title", "data", "region", "licence")
_CLOSE = 0.02
# No size of a window, of a cell in m, or step in s is as large.
_BEYOND = 2**53


def card_path(weights: Path) -> Path:
    """Where the card of a file of weights is: beside it.

    Examples
    --------
    >>> card_path(Path("weights/rain.safetensors")).as_posix()
    'weights/rain.card.json'
    """
    return weights.with_suffix(".card.json")


@dataclass(frozen=True)
class ModelCard:
    """Of which rain a stored model is, how it was trained and how good it is.

    Attributes
    ----------
    title, data, region, licence : str
        What it makes, of which rain it learnt, where that fell, and on which terms it may be used.
    window : tuple of int
        Frames, rows and columns of a sequence.
    time_step : float or None
        Seconds from one frame to the next; None where it does not matter or is not known.
    cell : tuple of float or None
        From one row to the next, negative where positions fall, and from one column to the next.
    cell_unit : str
        Unit of `cell`: "m" or "degrees".
    quantity : str
        Standard name of what is generated, in mm/h.
    training, scores : dict
        Facts of the training and results, as you like.
    limits : str
        What it should not be used for.

    Examples
    --------
    >>> card = ModelCard("showers", "made-up rain", "nowhere", "CC0", (10, 64, 64), 3600.0)
    >>> ModelCard.from_json(card.to_json()) == card
    True
    """

    title: str
    data: str
    region: str
    licence: str
    window: tuple[int, int, int]
    time_step: float | None = None
    cell: tuple[float, float] | None = None
    cell_unit: str = "m"
    quantity: str = "lwe_precipitation_rate"
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    limits: str = ""

    @classmethod
    def of(
        cls,
        window: tuple[int, int, int],
        template: GridMetadata | None,
        training: Mapping[str, Any],
        said: Any,
    ) -> Self:
        """The card of a model: what can be told by itself, and what is said of it.

        Parameters
        ----------
        window : tuple of int
        template : GridMetadata or None
            Of its training rain.
        training : mapping
            Facts, to which those of `said` are added.
        said : mapping
            Attributes by name; title, data, region and licence are needed.

        Raises
        ------
        ValueError
            If one of these is missing, or something else is said.
        """
        if not isinstance(said, Mapping):
            raise ValueError(f"card={said!r} must be a dict with at least {list(_SAID)}.")
        found: dict[str, Any] = {"window": window, "training": {}}
        if template is not None:
            found["time_step"] = template.time_step
            found["quantity"] = template.attrs.get("standard_name", cls.quantity)
            y, x = (axis_of(template, dim) for dim in template.dims[-2:])
            if y and x and y.unit == x.unit:
                found |= {"cell": (y.step, x.step), "cell_unit": y.unit}
        found |= said
        found["training"] = {**training, **dict(found["training"])}
        return cls._checked(found, "card")

    @classmethod
    def from_json(cls, text: str, where: str = "the card") -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If it is no card. The message begins with `where`.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where} is no JSON ({error}): write it anew.") from error
        if not isinstance(content, dict):
            raise ValueError(f"{where} holds {type(content).__name__}, not an object of JSON.")
        return cls._checked(content, where)

    @classmethod
    def _checked(cls, content: dict[str, Any], where: str) -> Self:
        names = [each.name for each in fields(cls)]
        if unknown := sorted(set(map(str, content)) - set(names)):
            raise ValueError(f"{where} has {unknown}, which no card has; there are {names}.")
        if missing := [name for name in (*_SAID, "window") if not content.get(name)]:
            raise ValueError(f"{where} lacks {missing}: a card says what a model may be used for.")
        for name, (fits, wanted) in _FORMS.items():
            if name in content and not fits(content[name]):
                raise ValueError(f"{where} has {name}={content[name]!r}, which must be {wanted}.")
        plain: dict[str, Any] = {
            k: tuple(v) if k in ("window", "cell") and v else v for k, v in content.items()
        }
        try:
            json.dumps(plain)
        except TypeError as error:
            raise ValueError(f"{where} holds what JSON cannot: {error}.") from error
        return cls(**plain)

    def to_json(self) -> str:
        """Write JSON that people can read."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def check(
        self, window: tuple[int, int, int], template: GridMetadata | None, where: str
    ) -> None:
        """Raise where the card is that of another model.

        Parameters
        ----------
        window : tuple of int
            Of the model.
        template : GridMetadata or None
            Of its training rain.
        where : str
            What errors begin with.

        Raises
        ------
        ValueError
        """
        found: dict[str, Any] = {"window": window}
        if template is not None and None not in (template.time_step, self.time_step):
            found["time_step"] = template.time_step
        if template is not None and self.cell is not None:
            axes = [axis_of(template, dim) for dim in template.dims[-2:]]
            steps = tuple(axis.step for axis in axes if axis and axis.unit == self.cell_unit)
            found |= {"cell": steps} if len(steps) == 2 else {}
        for name, value in found.items():
            if not np.allclose(getattr(self, name), value, rtol=_CLOSE, atol=0):
                raise ValueError(
                    f"{where} says {name}={getattr(self, name)!r}, and the weights beside it have "
                    f"{value!r}: it is the card of another model; put the right one there, or "
                    "remove it."
                )

    def grid(self) -> GridMetadata:
        """Time step, spacing and quantity, as the metadata of a cube say them."""
        coords = {}
        if self.cell is not None:
            unit = {"units": self.cell_unit}
            coords = {d: (d, [0.0, s], unit) for d, s in zip("yx", self.cell, strict=True)}
        attrs = {"standard_name": self.quantity, "units": "mm h-1"}
        dims = ("time", "y", "x")
        return GridMetadata(dims, xr.Dataset(coords=coords), None, attrs, self.time_step)

    def __str__(self) -> str:
        frames, rows, columns = self.window
        grid = "of any step" if self.time_step is None else _duration(self.time_step)
        if self.cell is not None:
            sizes = dict.fromkeys(_length(abs(step), self.cell_unit) for step in self.cell)
            grid += f", cells of {' x '.join(sizes)}"
        rows_of = {
            "": self.title,
            "grid": f"{grid}; {frames} frames of {rows} x {columns}",
            "data": self.data,
            "region": self.region,
            "licence": self.licence,
            "training": _said(self.training),
            "scores": _said(self.scores),
            "not for": self.limits,
        }
        return "\n".join(f"{k:>8}  {v}".rstrip() for k, v in rows_of.items() if v)


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"every {seconds / length:g} {unit}"
    return f"every {seconds:g} s"


def _length(size: float, unit: str) -> str:
    return f"{size / 1e3:.3g} km" if unit == "m" and size >= 1e3 else f"{size:.3g} {unit}".strip()


def _said(facts: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {value}" for name, value in facts.items())


def _numbers(n: int, kind: type | tuple[type, ...]) -> Any:
    def fits(value: Any) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) == n
            and all(isinstance(v, kind) and not isinstance(v, bool) and v for v in value)
            and all(abs(v) < _BEYOND for v in value)
        )

    return fits


def _is_text(value: Any) -> bool:
    # What is not for the eye could be a command to the terminal that a card is shown on.
    return isinstance(value, str) and all(c.isprintable() or c in "\n\t" for c in value)


def _is_step(value: Any) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _BEYOND
    )


_pair = _numbers(2, (int, float))
_FORMS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(
        (*_SAID, "cell_unit", "quantity", "limits"), (_is_text, "text that can be printed")
    ),
    "window": (_numbers(3, int), "three whole numbers: frames, rows and columns"),
    "time_step": (_is_step, "seconds above 0, or null"),
    "cell": (lambda v: v is None or _pair(v), "two numbers, for y and x, or null"),
    **dict.fromkeys(("training", "scores"), (lambda v: isinstance(v, dict), "an object of facts")),
}
