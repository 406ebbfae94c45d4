"""Map projections of radar composites: from longitude and latitude to the metres of a grid.

Snyder (1987), "Map projections: a working manual", U.S. Geological Survey Professional Paper 1395;
equation numbers below are his. Definitions are those of PROJ ("+proj=stere +lat_0=90 ...").
"""

from __future__ import annotations

import math

import numpy as np

# Semi-major axis in m and inverse flattening.
_ELLIPSOIDS = {
    "WGS84": (6378137.0, 298.257223563), "GRS80": (6378137.0, 298.257222101),
    "bessel": (6377397.155, 299.1528128), "intl": (6378388.0, 297.0),
    "clrk66": (6378206.4, 294.9786982), "krass": (6378245.0, 298.3),
    "airy": (6377563.396, 299.3249646), "sphere": (6370997.0, math.inf),
}  # fmt: skip

#: What :func:`project` knows, by PROJ's names.
PROJECTIONS = ("stere", "laea", "lcc", "aeqd", "merc", "tmerc", "utm")

_KNOWN_KEYS = {
    "proj", "lat_0", "lon_0", "lat_ts", "lat_1", "lat_2", "x_0", "y_0", "k", "k_0", "a", "b", "R",
    "rf", "f", "ellps", "datum", "units", "to_meter", "no_defs", "type", "wktext", "zone", "south",
    "towgs84", "nadgrids", "over", "vunits",
}  # fmt: skip


def project(
    definition: str, longitude: np.ndarray, latitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Project points given in degrees.

    Parameters
    ----------
    definition : str
        As PROJ has it. Known are the projections in :data:`PROJECTIONS`, on a sphere or an
        ellipsoid ("aeqd" on a sphere only).
    longitude, latitude : array-like
        Degrees.

    Returns
    -------
    x, y : ndarray
        Metres.

    Raises
    ------
    ValueError
        If the definition is not known.

    Examples
    --------
    >>> x, y = project("+proj=merc +R=6371000", [0.0, 1.0], [0.0, 0.0])
    >>> x.round().tolist(), bool(abs(y).max() < 1e-6)
    ([0.0, 111195.0], True)
    """
    keys = _parse(definition)
    lam, phi = np.deg2rad(np.asarray(longitude, float)), np.deg2rad(np.asarray(latitude, float))
    a, e = _ellipsoid(keys, definition)
    name = str(keys.get("proj"))
    if name == "utm":
        south = 10_000_000.0 if "south" in keys else 0.0
        zone = 6.0 * float(keys["zone"]) - 183.0
        keys |= {"lon_0": zone, "lat_0": 0.0, "k": 0.9996, "x_0": 500_000.0, "y_0": south}
        name = "tmerc"
    lam0, phi0 = (math.radians(float(keys.get(key, 0.0))) for key in ("lon_0", "lat_0"))
    k0 = float(keys.get("k", keys.get("k_0", 1.0)))
    dlam = (lam - lam0 + math.pi) % (2 * math.pi) - math.pi
    if name == "stere":
        x, y = _stereographic(dlam, phi, phi0, k0, e, keys.get("lat_ts"))
    elif name == "laea":
        x, y = _equal_area(dlam, phi, phi0, e)
    elif name == "lcc":
        x, y = _conformal_conic(dlam, phi, phi0, k0, e, keys)
    elif name == "aeqd" and e == 0:
        x, y = _equidistant(dlam, phi, phi0)
    elif name == "merc":
        k0 = k0 if "lat_ts" not in keys else _m(math.radians(float(keys["lat_ts"])), e)
        x, y = k0 * dlam, -k0 * np.log(_t(phi, e))
    elif name == "tmerc":
        x, y = _transverse_mercator(dlam, phi, phi0, k0, e)
    else:
        raise ValueError(f"the projection {definition!r} is not known; known are {PROJECTIONS}.")
    return a * x + float(keys.get("x_0", 0.0)), a * y + float(keys.get("y_0", 0.0))


def _parse(definition: str) -> dict[str, str | float]:
    keys: dict[str, str | float] = {}
    for word in definition.split():
        key, _, value = word.lstrip("+").partition("=")
        keys[key] = value
    unknown = sorted(set(keys) - _KNOWN_KEYS)
    if unknown or "proj" not in keys:
        raise ValueError(
            f"the projection {definition!r} is not known"
            + (f": it has {unknown}." if unknown else "; it has no +proj.")
        )
    return keys


def _ellipsoid(keys: dict[str, str | float], definition: str) -> tuple[float, float]:
    """Semi-major axis in m and eccentricity."""
    name = str(keys.get("ellps", keys.get("datum", "WGS84")))
    if name not in _ELLIPSOIDS:
        raise ValueError(f"the ellipsoid of {definition!r} is not known.")
    a, inverse = _ELLIPSOIDS[name]
    if "R" in keys:
        a, inverse = float(keys["R"]), math.inf
    elif "a" in keys:
        a = float(keys["a"])
        b = float(keys.get("b", a))
        inverse = a / (a - b) if a != b else math.inf
    if "rf" in keys:
        inverse = float(keys["rf"])
    elif "f" in keys:
        inverse = 1 / float(keys["f"])
    # Some services state the axes of the Earth in km.
    a *= 1000.0 if a < 10_000 else 1.0
    flattening = 1 / inverse
    return a, math.sqrt(flattening * (2 - flattening))


def _t(phi: np.ndarray, e: float) -> np.ndarray:
    """(15-9): the tangent of half the conformal colatitude."""
    sine = np.sin(phi)
    return np.tan(math.pi / 4 - phi / 2) / ((1 - e * sine) / (1 + e * sine)) ** (e / 2)


def _m(phi: float, e: float) -> float:
    """(14-15): radius of the parallel."""
    return math.cos(phi) / math.sqrt(1 - (e * math.sin(phi)) ** 2)


def _stereographic(
    dlam: np.ndarray,
    phi: np.ndarray,
    phi0: float,
    k0: float,
    e: float,
    lat_ts: str | float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """(21-32) to (21-35) about a pole, (21-24) to (21-27) elsewhere."""
    if abs(abs(phi0) - math.pi / 2) < 1e-9:
        sign = math.copysign(1.0, phi0)
        if lat_ts is None or abs(abs(float(lat_ts)) - 90) < 1e-9:
            scale = 2 * k0 / math.sqrt((1 + e) ** (1 + e) * (1 - e) ** (1 - e))
        else:
            true = abs(math.radians(float(lat_ts)))
            scale = k0 * _m(true, e) / float(_t(np.asarray(true), e))
        rho = scale * _t(sign * phi, e)
        return rho * np.sin(dlam), -sign * rho * np.cos(dlam)
    chi = math.pi / 2 - 2 * np.arctan(_t(phi, e))
    chi0 = math.pi / 2 - 2 * float(np.arctan(_t(np.asarray(phi0), e)))
    cosines = np.cos(chi) * np.cos(dlam)
    denominator = math.cos(chi0) * (1 + math.sin(chi0) * np.sin(chi) + math.cos(chi0) * cosines)
    scale = 2 * k0 * _m(phi0, e) / denominator
    y = math.cos(chi0) * np.sin(chi) - math.sin(chi0) * cosines
    return scale * np.cos(chi) * np.sin(dlam), scale * y


def _equal_area(
    dlam: np.ndarray, phi: np.ndarray, phi0: float, e: float
) -> tuple[np.ndarray, np.ndarray]:
    """(24-17) to (24-20); (24-23) about a pole."""

    def q(latitude: np.ndarray | float) -> np.ndarray:
        sine = np.sin(latitude)
        if e == 0:
            return 2 * sine
        logarithm = np.log((1 - e * sine) / (1 + e * sine)) / (2 * e)
        return (1 - e**2) * (sine / (1 - (e * sine) ** 2) - logarithm)

    q_pole = float(q(math.pi / 2))
    if abs(abs(phi0) - math.pi / 2) < 1e-9:
        sign = math.copysign(1.0, phi0)
        rho = np.sqrt(np.maximum(q_pole - sign * q(phi), 0.0))
        return rho * np.sin(dlam), -sign * rho * np.cos(dlam)
    radius = math.sqrt(q_pole / 2)
    beta = np.arcsin(np.clip(q(phi) / q_pole, -1, 1))
    beta0 = math.asin(float(q(phi0)) / q_pole)
    stretch = _m(phi0, e) / (radius * math.cos(beta0))
    cosines = np.cos(beta) * np.cos(dlam)
    b = radius * np.sqrt(2 / (1 + math.sin(beta0) * np.sin(beta) + math.cos(beta0) * cosines))
    y = math.cos(beta0) * np.sin(beta) - math.sin(beta0) * cosines
    return b * stretch * np.cos(beta) * np.sin(dlam), b / stretch * y


def _conformal_conic(
    dlam: np.ndarray,
    phi: np.ndarray,
    phi0: float,
    k0: float,
    e: float,
    keys: dict[str, str | float],
) -> tuple[np.ndarray, np.ndarray]:
    """(15-1) to (15-10)."""
    first = math.radians(float(keys.get("lat_1", math.degrees(phi0))))
    second = math.radians(float(keys.get("lat_2", math.degrees(first))))
    if "lat_0" not in keys:
        phi0 = first
    t1, t2, t0 = (float(_t(np.asarray(angle), e)) for angle in (first, second, phi0))
    if abs(first - second) < 1e-9:
        n = math.sin(first)
    else:
        n = math.log(_m(first, e) / _m(second, e)) / math.log(t1 / t2)
    scale = k0 * _m(first, e) / (n * t1**n)
    rho = scale * _t(phi, e) ** n
    return rho * np.sin(n * dlam), scale * t0**n - rho * np.cos(n * dlam)


def _equidistant(dlam: np.ndarray, phi: np.ndarray, phi0: float) -> tuple[np.ndarray, np.ndarray]:
    """(25-2), (22-4), (22-5) and (5-3)."""
    cosine = math.sin(phi0) * np.sin(phi) + math.cos(phi0) * np.cos(phi) * np.cos(dlam)
    angle = np.arccos(np.clip(cosine, -1, 1))
    k = np.where(angle > 1e-12, angle / np.where(angle > 1e-12, np.sin(angle), 1.0), 1.0)
    y = math.cos(phi0) * np.sin(phi) - math.sin(phi0) * np.cos(phi) * np.cos(dlam)
    return k * np.cos(phi) * np.sin(dlam), k * y


def _transverse_mercator(
    dlam: np.ndarray, phi: np.ndarray, phi0: float, k0: float, e: float
) -> tuple[np.ndarray, np.ndarray]:
    """(8-9) to (8-15), good to millimetres within 4 degrees of the central meridian."""
    e2 = e**2
    prime = e2 / (1 - e2)
    n = 1 / np.sqrt(1 - e2 * np.sin(phi) ** 2)
    t, c, a = np.tan(phi) ** 2, prime * np.cos(phi) ** 2, dlam * np.cos(phi)
    x = a + (1 - t + c) * a**3 / 6 + (5 - 18 * t + t**2 + 72 * c - 58 * prime) * a**5 / 120
    even = (
        a**2 / 2
        + (5 - t + 9 * c + 4 * c**2) * a**4 / 24
        + (61 - 58 * t + t**2 + 600 * c - 330 * prime) * a**6 / 720
    )
    y = _meridian(phi, e2) - _meridian(np.asarray(phi0), e2) + n * np.tan(phi) * even
    return k0 * n * x, k0 * y


def _meridian(phi: np.ndarray, e2: float) -> np.ndarray:
    """(3-21): distance along the meridian from the equator, in semi-major axes."""
    return (
        (1 - e2 / 4 - 3 * e2**2 / 64 - 5 * e2**3 / 256) * phi
        - (3 * e2 / 8 + 3 * e2**2 / 32 + 45 * e2**3 / 1024) * np.sin(2 * phi)
        + (15 * e2**2 / 256 + 45 * e2**3 / 1024) * np.sin(4 * phi)
        - (35 * e2**3 / 3072) * np.sin(6 * phi)
    )
