"""Which part of what falls a standard name speaks of: all of it, snow, showers."""

from __future__ import annotations

from typing import Any

__all__ = ["ALL_OF_IT", "quantity", "rate_name"]

ALL_OF_IT = "precipitation"
# Looked for in this order: "convective_snowfall_flux" is snow.
_PARTS = {
    "snowfall": "snowfall",
    "graupel": "graupel",
    "hail": "hail",
    "convective": "convective precipitation",
    "stratiform": "stratiform precipitation",
    "large_scale": "stratiform precipitation",
    "precipitation": ALL_OF_IT,
    "rainfall": ALL_OF_IT,
    # Radar rain comes of it, by a Z-R relation.
    "reflectivity": ALL_OF_IT,
}


def quantity(standard_name: Any) -> str | None:
    """What a standard name of CF is the rate or amount of; None where there is no name.

    Examples
    --------
    >>> quantity("rainfall_flux"), quantity("lwe_snowfall_rate"), quantity("runoff_flux")
    ('precipitation', 'snowfall', 'runoff_flux')
    """
    name = str(standard_name or "").strip().lower()
    if not name:
        return None
    return next((part for word, part in _PARTS.items() if word in name), name)


def rate_name(standard_name: Any) -> str:
    """The standard name of the rate in mm/h of water that another name has become.

    Examples
    --------
    >>> rate_name("precipitation_amount"), rate_name("convective_precipitation_flux")
    ('lwe_precipitation_rate', 'lwe_convective_precipitation_rate')
    """
    part = quantity(standard_name)
    parts = ("snowfall", "convective precipitation", "stratiform precipitation")
    return f"lwe_{(part if part in parts else ALL_OF_IT).replace(' ', '_')}_rate"
