"""Units of rain as people write them: how deep the water is, and how long it took.

Here because both cubes and scores read units, and neither knows the other.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

#: Powers of metre, kilogram and second, and the factor to them, exact.
Quantity: TypeAlias = tuple[tuple[int, ...], Fraction]

# No unit is longer; reading a million letters would take many seconds.
LONGEST = 200
# Months and years have no one length and are left out on purpose.
_UNITS: dict[str, Quantity] = {
    name: (powers, Fraction(factor))
    for powers, names in (
        ((1, 0, 0), {"m meter metre": "1", "cm centimeter centimetre": "0.01",
                     "mm millimeter millimetre": "0.001", "in inch inches": "0.0254"}),
        ((3, 0, 0), {"l liter litre": "0.001"}),
        ((0, 1, 0), {"kg kilogram": "1", "g gram": "0.001"}),
        ((0, 0, 1), {"s sec second": "1", "min minute": "60", "h hr hour": "3600",
                     "d day": "86400"}),
    )
    for spellings, factor in names.items()
    for name in spellings.split()
}  # fmt: skip

# Symbols that are written with nothing between them ("kgm-2s-1").
_SYMBOL = re.compile("hour|day|min|kg|mm|cm|hr|[gmlshd]")

_SIGNS = {"\u2212": "-", "\u2013": "-", "**": "^", "[": "(", "]": ")", "{": "", "}": "", "$": ""}


@dataclass(frozen=True)
class WaterUnits:
    """What one such unit is: millimetres of an amount, millimetres in an hour of a rate."""

    factor: float
    is_amount: bool


def read_water_units(units: str) -> WaterUnits | None:
    """What units of precipitation say; None where they are no such units.

    A kilogram of water on a square metre is one millimetre deep (density 1000 kg m-3, the
    convention of CF's ``lwe_`` names). Read are powers in any spelling ("s-1", "s**-1", "s^-1",
    superscripts), products with spaces, dots, stars or nothing ("kgm-2s-1"), quotients with "/"
    and "per", brackets, and counts of a unit ("mm/5min", "mm (24 h)-1").

    Examples
    --------
    >>> read_water_units("[mm/hr]")
    WaterUnits(factor=1.0, is_amount=False)
    >>> read_water_units("kg/(m^2*s)") == read_water_units("kgm-2s-1")
    True
    >>> read_water_units("m of water equivalent")
    WaterUnits(factor=1000.0, is_amount=True)
    >>> read_water_units("mm month-1") is None
    True
    """
    if len(units) > LONGEST:
        return None
    try:
        reader = _Reader(_plain(units))
        (length, mass, time), factor = reader.read()
    except (ValueError, ZeroDivisionError):
        return None
    if (length, mass) == (1, 0):
        factor *= 1000
    elif (length, mass) != (-2, 1):
        return None
    # "mm min h-1" is no depth, although its times cancel.
    if time not in (0, -1) or reader.times != -time or not factor > 0:
        return None
    return WaterUnits(float(factor if time == 0 else factor * 3600), is_amount=time == 0)


def same_water_units(first: str, second: str) -> bool:
    """Whether two texts say the same unit, however they are spelt.

    Examples
    --------
    >>> same_water_units("mm/hr", "kg m-2 h-1"), same_water_units("mm/h", "mm/day")
    (True, False)
    """
    known = read_water_units(first), read_water_units(second)
    if known == (None, None):
        return _plain(first) == _plain(second)
    return known[0] == known[1]


def _plain(units: str) -> str:
    """The text in lower case, with signs of one kind and dots only in numbers."""
    text = unicodedata.normalize("NFKC", units).lower()
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    text = re.sub(r"\b(of )?(liquid )?water( equivalent)?\b", " ", text)
    text = re.sub(r"(?<!\d)\.|\.(?!\d)|[·⋅\\~_]", " ", text)
    return " ".join(text.split())


class _Reader:
    """Reads units from left to right; a power belongs to the unit or bracket before it."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.times = text, 0, 0

    def read(self) -> Quantity:
        quantity = self._product()
        if self.at < len(self.text):
            raise ValueError("a bracket that nobody opened")
        return quantity

    def _product(self) -> Quantity:
        powers: tuple[int, ...] = (0, 0, 0)
        factor, sign, empty = Fraction(1), 1, True
        while self.at < len(self.text) and self.text[self.at] != ")":
            if self._take("/|per(?![a-z])"):
                if empty or sign < 0:
                    raise ValueError("nothing to divide")
                sign = -1
            elif not self._take(r"[\s*]+"):
                part, part_factor = self._factor()
                powers = tuple(a + sign * b for a, b in zip(powers, part, strict=True))
                factor, sign, empty = factor * part_factor**sign, 1, False
        if empty or sign < 0:
            raise ValueError("a unit is missing")
        return powers, factor

    def _factor(self) -> Quantity:
        count = Fraction(self._take(r"\d+(\.\d+)?(e[-+]?\d+)?") or "1")
        self._take(r"\s+")
        if self._take(r"\("):
            powers, factor = self._product()
            if not self._take(r"\)"):
                raise ValueError("a bracket is not closed")
        else:
            powers, factor = _UNITS[self._name()]
            self.times += powers[2]
        found = self._take(r"\^?\(?[-+]?\d+\)?" if self._after_name() else r"\^\(?[-+]?\d+\)?")
        power = int(found.strip("^()")) if found else 1
        return tuple(power * axis for axis in powers), (count * factor) ** power

    def _after_name(self) -> bool:
        return self.at > 0 and (self.text[self.at - 1].isalpha() or self.text[self.at - 1] == ")")

    def _name(self) -> str:
        word = self._take("[a-z]+") or ""
        for name in (word, word.removesuffix("s")):
            if name in _UNITS and (name == word or len(name) > 1):
                return name
        symbols = _SYMBOL.findall(word)
        if not symbols or "".join(symbols) != word:
            raise ValueError(f"{word!r} is no unit")
        # What follows, with its power, is read next.
        self.at -= len(word) - len(symbols[0])
        return symbols[0]

    def _take(self, pattern: str) -> str | None:
        match = re.compile(pattern).match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[0] or None
