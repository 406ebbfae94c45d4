"""Projections against the worked examples in appendix A of Snyder (1987)."""

import numpy as np
import pytest

from skdiffuse.cubes.projections import project

CLARKE = "+ellps=clrk66"

# definition, longitude, latitude, x, y in m as printed there
EXAMPLES = {
    "stereographic, oblique": (
        f"+proj=stere +lat_0=40 +lon_0=-100 +k=0.9999 {CLARKE}",
        -90, 30, 971630.8, -1063049.3,
    ),
    "stereographic, south pole": (
        "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=-100 +ellps=intl",
        150, -75, -1540033.6, -560526.4,
    ),
    "equal-area, oblique": (
        f"+proj=laea +lat_0=40 +lon_0=-100 {CLARKE}",
        -110, 30, -965932.1, -1056814.9,
    ),
    "conformal conic": (
        f"+proj=lcc +lat_1=33 +lat_2=45 +lat_0=23 +lon_0=-96 {CLARKE}",
        -75, 35, 1894410.9, 1564649.5,
    ),
    "Mercator": (f"+proj=merc +lon_0=-180 {CLARKE}", -75, 35, 11688673.7, 4139145.6),
    "transverse Mercator": (
        f"+proj=tmerc +lon_0=-75 +k=0.9996 {CLARKE}", -73.5, 40.5, 127106.5, 4484124.4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_examples(name):
    definition, longitude, latitude, *expected = EXAMPLES[name]
    np.testing.assert_allclose(project(definition, longitude, latitude), expected, atol=0.15)


@pytest.mark.parametrize(
    ("name", "lat_0"),
    [*((name, 52.0) for name in ("stere", "laea", "aeqd", "lcc", "tmerc")),
     *((name, 90.0) for name in ("stere", "laea", "aeqd"))],
)  # fmt: skip
def test_near_the_origin_a_sphere_is_flat(name, lat_0):
    """Steps of a hundredth of a degree from the origin have the lengths of great circles."""
    definition = f"+proj={name} +lat_0={lat_0} +lat_1={lat_0} +lon_0=10 +x_0=5 +y_0=7 +R=6371000"
    x, y = project(definition, [10.0, 10.0], [lat_0, lat_0 - 0.01])
    np.testing.assert_allclose([x[0], y[0]], [5, 7], atol=1e-3)
    assert np.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(6371000 * np.deg2rad(0.01), rel=1e-4)
    assert y[1] < y[0]


def test_axes_in_km_and_utm():
    in_m = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378137 +b=6356752"
    in_km = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378.137 +b=6356.752"
    np.testing.assert_allclose(project(in_km, 5, 52), project(in_m, 5, 52))
    x, y = project("+proj=utm +zone=18 +ellps=clrk66", -73.5, 40.5)
    np.testing.assert_allclose([x, y], [627106.5, 4484124.4], atol=0.15)


@pytest.mark.parametrize(
    "definition",
    ["EPSG:3067", "+proj=robin", "+proj=aeqd +lat_0=52 +ellps=WGS84", "+proj=merc +gamma=3",
     "+proj=laea +ellps=moon"],
)  # fmt: skip
def test_what_is_not_known_is_refused(definition):
    with pytest.raises(ValueError, match="not known"):
        project(definition, 0, 0)
