"""Units of precipitation, and what multiplies them to give mm/h.

One millimetre of water is one kilogram on a square metre (density 1000 kg m-3, the convention
of CF's ``lwe_`` names), so that rates of depth and of mass convert into each other.
"""

from __future__ import annotations

import re

# Depth of water in mm of one unit of amount.
_AMOUNTS = {
    "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "millimetres": 1.0,
    "cm": 10.0, "centimeter": 10.0, "centimeters": 10.0, "centimetre": 10.0, "centimetres": 10.0,
    "m": 1000.0, "meter": 1000.0, "meters": 1000.0, "metre": 1000.0, "metres": 1000.0,
    "in": 25.4, "inch": 25.4, "inches": 25.4,
    "kg m-2": 1.0, "g m-2": 1e-3, "l m-2": 1.0, "litre m-2": 1.0, "liter m-2": 1.0,
}  # fmt: skip

# Seconds in one unit of time. Months and years have no one length and are left out on purpose.
_SECONDS = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip

_REFLECTIVITY = {"dbz", "dbzh", "decibel z"}

_RATE = re.compile(
    r"^(?P<amount>.+?)\s*(?:/|\s+per\s+|\s)\s*\(?(?P<count>\d+(?:\.\d+)?)?\s*"
    r"(?P<time>[a-z]+)\)?(?P<power>-1)?$"
)


def _clean(units: str) -> str:
    text = units.replace("**", "").replace("*", " ").replace("·", " ").replace("²", "2")
    text = (
        re.sub(r"\s+", " ", text.strip())
        .replace("^", "")
        .replace("{", "")
        .replace("}", "")
        .replace("⁻", "-")
    )
    text = text.lower().replace(" of water equivalent", "").replace(" of water", "")
    text = re.sub(r"\b(kg|g|l|litre|liter)\s*(?:/\s*m2|/\s*\(m2\)|\.m-2)", r"\1 m-2", text)
    return re.sub(r"(?<=[a-z0-9])\.(?=[a-z])", " ", text)


def is_reflectivity(units: str) -> bool:
    """Whether units are those of radar reflectivity, which need a Z-R relation.

    Examples
    --------
    >>> is_reflectivity("dBZ")
    True
    """
    return _clean(units) in _REFLECTIVITY


def is_amount(units: str) -> bool:
    """Whether units are those of an amount, which need the length of the interval.

    Examples
    --------
    >>> is_amount("m"), is_amount("kg m-2 s-1")
    (True, False)
    """
    return _clean(units) in _AMOUNTS


def mm_per_hour(units: str, interval: float | None = None) -> float:
    """What to multiply values in ``units`` with to get mm/h.

    Parameters
    ----------
    units : str
        Of a rate ("kg m-2 s-1", "mm/day", "mm/5min", "m s-1") or of an amount ("m", "kg m-2").
    interval : float, optional
        Length in hours of the interval over which an amount fell; not used for a rate.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the units are not known as units of precipitation, or are those of an amount and
        there is no interval.

    Examples
    --------
    >>> mm_per_hour("kg m-2 s-1")
    3600.0
    >>> mm_per_hour("mm day-1") * 24
    1.0
    >>> mm_per_hour("m", interval=1)
    1000.0
    """
    text = _clean(units)
    if text in _AMOUNTS:
        if interval is None:
            raise ValueError(
                f"units {units!r} are an amount of precipitation, and nothing says over which "
                "interval it fell: give it, e.g. interval='1h'."
            )
        if not interval > 0:
            raise ValueError(f"interval must be longer than 0; got {interval} h.")
        return _AMOUNTS[text] / interval
    match = _RATE.match(text)
    if match:
        divided = "/" in text[match.end("amount") :] or " per " in text
        amount, time = match["amount"].strip(), match["time"]
        if divided != bool(match["power"]) and amount in _AMOUNTS and time in _SECONDS:
            count = float(match["count"] or 1)
            if count > 0:
                return _AMOUNTS[amount] * 3600 / _SECONDS[time] / count
    raise ValueError(
        f"units {units!r} are not known as units of precipitation (known are, for example, "
        "'mm h-1', 'mm/day', 'kg m-2 s-1', 'm s-1', 'mm', 'm', 'kg m-2'). If the file is wrong "
        "about them, say what they are with units='...'."
    )
