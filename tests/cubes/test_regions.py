import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse.cubes import coarsen, crop, lat_lon, open_cube
from skdiffuse.cubes.regions import unrotate


def on_grid(ny=10, nx=20, lat0=50.0, lon0=-10.0, descending=False):
    lat = lat0 + np.arange(ny)
    return xr.DataArray(
        np.arange(2.0 * ny * nx).reshape(2, ny, nx),
        {
            "lat": ("lat", lat[::-1] if descending else lat, {"units": "degrees_north"}),
            "lon": ("lon", lon0 + np.arange(nx), {"units": "degrees_east"}),
        },
        ("time", "lat", "lon"),
    )


def test_rotated_pole_agrees_with_the_true_coordinates_of_a_file(real_data):
    """CORDEX and HIRHAM carry both rotated and true coordinates.

    HIRHAM's file states its pole as 18 N 140.75 W, which is the swapped (39.25 - 180, 180 - 162)
    of the pole that its own latitudes and longitudes belong to, 39.25 N 162 W.
    """
    for part, pole in (("cordex", (42.5, 83.0)), ("hirham", (39.25, -162.0))):
        (path,) = real_data.glob(f"metadata_samples/{part}*")
        cube = open_cube(path)
        rlat, rlon = np.meshgrid(cube.rlat, cube.rlon, indexing="ij")
        lat, lon = unrotate(rlat, rlon, *pole)
        stated_lat, stated_lon = lat_lon(cube)
        np.testing.assert_allclose(lat, stated_lat, atol=2e-3)
        np.testing.assert_allclose((lon - stated_lon + 180) % 360 - 180, 0, atol=4e-3)


@given(st.floats(-89, 89), st.floats(-180, 180), st.floats(-80, 80), st.floats(-180, 180))
def test_rotation_keeps_distances_from_the_pole(rlat, rlon, pole_lat, pole_lon):
    """The rotated latitude is the angle from the rotated pole, whatever the pole."""
    lat, lon = (np.deg2rad(a) for a in unrotate(rlat, rlon, pole_lat, pole_lon))
    plat, plon = np.deg2rad(pole_lat), np.deg2rad(pole_lon)
    sine = np.sin(lat) * np.sin(plat) + np.cos(lat) * np.cos(plat) * np.cos(lon - plon)
    np.testing.assert_allclose(sine, np.sin(np.deg2rad(rlat)), atol=1e-12)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("lon0", [-10.0, 350.0])
def test_box(descending, lon0):
    cube = on_grid(descending=descending, lon0=lon0)
    part = crop(cube, lat=(52, 54.5), lon=(-3, 2))
    assert sorted(part.lat.values) == [52, 53, 54]
    assert ((part.lon.values + 180) % 360 - 180).tolist() == list(range(-3, 3))
    assert np.shares_memory(part.values, cube.values)


def test_box_across_the_date_line():
    part = crop(on_grid(lon0=170.0), lon=(175, -175))
    assert part.lon.values.tolist() == list(range(175, 186))
    assert crop(on_grid(), lon=(-180, 180)).shape == (2, 10, 20)


@pytest.mark.parametrize(("n", "first"), [(3, 54), (4, 54), (5, 53)])
def test_centre(n, first):
    part = crop(on_grid(), centre=(55.3, 0.0), size=(n, 3))
    assert part.lat.values[0] == first
    assert part.lon.values.tolist() == [-1, 0, 1]
    assert abs(float(part.lat.mean()) - 55.3) <= 0.5


def test_polygon_is_masked_to_its_inside():
    triangle = [(50.5, -8.5), (50.5, 3.5), (58.5, -8.5)]
    part = crop(on_grid(), polygon=triangle)
    lat, lon = np.meshgrid(part.lat, part.lon, indexing="ij")
    # The slanted side is the line from (50.5, 3.5) to (58.5, -8.5).
    inside = (lat > 50.5) & (lon > -8.5) & ((lat - 50.5) / 8 + (lon + 8.5) / 12 < 1)
    np.testing.assert_array_equal(np.isfinite(part.values[0]), inside)
    assert part.lat.values[[0, -1]].tolist() == [51, 58]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "give one of"),
        ({"lat": (1, 2), "centre": (52, 0)}, "give one of"),
        ({"centre": (52, 0)}, "needs size"),
        ({"centre": (52, 0), "size": 9}, "beyond the domain in 'lat'"),
        ({"lat": (10, 20)}, "latitudes 50.00 to 59.00"),
        ({"polygon": [(0, 0), (1, 1)]}, "three corners"),
    ],
)
def test_bad_regions(where, message):
    with pytest.raises(ValueError, match=message):
        crop(on_grid(), **where)


def test_grid_without_latitudes():
    with pytest.raises(ValueError, match="no latitudes"):
        crop(xr.DataArray(np.zeros((1, 4, 4)), dims=("time", "y", "x")), lat=(1, 2))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1))
def test_coarsening_conserves_water(factor, ny, nx, extra):
    cube = on_grid(ny * factor, nx * factor + extra * (factor > 1))
    coarse = coarsen(cube, factor)
    assert coarse.shape == (2, ny, nx)
    kept = cube[:, : ny * factor, : nx * factor]
    area = np.cos(np.deg2rad(kept.lat))
    rows = area.coarsen(lat=factor).sum().values if factor > 1 else area.values
    water = (coarse.values * rows[:, None] * factor).sum((1, 2))
    np.testing.assert_allclose(water, (kept * area).sum(("lat", "lon")), rtol=1e-6)


def test_coarsening_with_missing_cells():
    cube = xr.DataArray(np.ones((1, 4, 4), "f4"), dims=("time", "y", "x"))
    cube[0, :2, :2] = np.nan
    cube[0, 0, 2] = np.nan
    cube[0, 3, 3] = 5
    np.testing.assert_array_equal(coarsen(cube, 2), [[[np.nan, 1], [1, 2]]])
    np.testing.assert_array_equal(coarsen(cube, 2, min_valid=0.8), [[[np.nan, np.nan], [1, 2]]])


@pytest.mark.parametrize("factor", [0, -1, 1.5, 21])
def test_bad_factor(factor):
    with pytest.raises(ValueError, match="whole number"):
        coarsen(on_grid(), factor)


def test_coarsening_agrees_with_the_met_office_file(real_data):
    """A file and its coarsening by others: 2.2 km cells and the 8.8 km means of 4 x 4 of them."""
    (fine,) = real_data.glob("metadata_samples/*moose_pr_grid.nc")
    (coarse,) = real_data.glob("metadata_samples/*coarsened*")
    ours, theirs = coarsen(open_cube(fine), 4), open_cube(coarse)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.grid_latitude, theirs.grid_latitude, atol=1e-4)
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-6)
