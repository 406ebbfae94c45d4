import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import GridMetadata
from skdiffuse.cubes.spacing import axis_of, spacing_in_metres


def template(**coords):
    return GridMetadata.of(
        xr.DataArray(np.zeros((1, 3, 4)), dims=("time", "y", "x"), coords=coords)
    )


def test_kilometres_are_metres():
    y = xr.Variable("y", [9.0, 7.0, 5.0], {"units": "km"})
    axis = axis_of(template(y=y), "y")
    assert (axis.step, axis.middle, axis.size, axis.unit) == (-2000.0, 7000.0, 3, "m")
    assert str(axis) == "-2 km"
    assert axis_of(template(y=y), "x") is None
    assert axis_of(template(y=("y", ["a", "b", "c"])), "y") is None


def test_spacing_of_degrees_shrinks_towards_the_poles():
    y = xr.Variable("y", [59.9, 60.0, 60.1], {"units": "degrees_north"})
    x = xr.Variable("x", [0.0, 0.1, 0.2, 0.3], {"units": "degrees_east"})
    # A degree of a great circle is 111.2 km on this sphere; half as far apart at 60 degrees.
    assert spacing_in_metres(template(y=y, x=x)) == pytest.approx((11_120, 5_560), rel=1e-3)
    latitude, longitude = np.meshgrid(y.values, x.values, indexing="ij")
    places = {"lat": (("y", "x"), latitude), "lon": (("y", "x"), longitude)}
    assert spacing_in_metres(template(**places)) == pytest.approx((11_120, 5_560), rel=4e-3)
    assert spacing_in_metres(template()) is None
