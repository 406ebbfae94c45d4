"""Units of precipitation, and what multiplies them to give mm/h.

One millimetre of water is one kilogram on a square metre (density 1000 kg m-3, the convention
of CF's ``lwe_`` names), so that rates of depth and of mass convert into each other.
"""

from __future__ import annotations

import re

from skdiffuse.runtime.water_units import read_water_units

_REFLECTIVITY = {"dbz", "dbzh", "decibel z"}


def is_reflectivity(units: str) -> bool:
    """Whether units are those of radar reflectivity, which need a Z-R relation.

    Examples
    --------
    >>> is_reflectivity("dBZ")
    True
    """
    return " ".join(units.lower().split()).strip("[]()") in _REFLECTIVITY


def is_amount(units: str) -> bool:
    """Whether units are those of an amount, which need the length of the interval.

    Examples
    --------
    >>> is_amount("m"), is_amount("kg m-2 s-1")
    (True, False)
    """
    known = read_water_units(units)
    return known is not None and known.is_amount


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
    known = read_water_units(units)
    if known is None:
        raise ValueError(
            f"units {units[:100]!r} are not known as units of precipitation (known are, for "
            "example, 'mm h-1', 'mm/day', 'kg m-2 s-1', 'm s-1', 'mm', 'm', 'kg m-2'). "
            + _remedy(units)
        )
    if not known.is_amount:
        return known.factor
    if interval is None:
        raise ValueError(
            f"units {units!r} are an amount of precipitation, and nothing says over which "
            "interval it fell: give it, e.g. interval='1h'."
        )
    if not interval > 0:
        raise ValueError(f"interval must be longer than 0; got {interval} h.")
    return known.factor / interval


def _remedy(units: str) -> str:
    duration = re.fullmatch(
        r"\s*(?:sum|accumulat\w+)\s*(?:over\s*)?(\d+\s*[a-z]+)\s*", units.lower()
    )
    if duration and read_water_units(f"mm/{duration[1]}"):
        return (
            f"They tell how long the sum is and not in what it is measured: if that is mm, say "
            f"units='mm/{duration[1]}'."
        )
    return "If the file is wrong about them, say what they are with units='...'."
