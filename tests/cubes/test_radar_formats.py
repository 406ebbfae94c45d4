"""Radar composites as their services write them, against decodings made elsewhere."""

import gzip

import netCDF4
import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import coarsen, open_cube, validate_cube, write_cube
from skdiffuse.cubes.projections import project

# original, options, decoded file of 2 x 2 means, offset of its coordinates (false easting)
ORIGINALS = {
    "knmi": ("RAD_NL25*.h5", {}, "knmi_radar*2010*.nc", (0, 0)),
    "fmi": (
        "*SUOMI1.pgm.gz",
        {"z_r": (223, 1.53)},
        "fmi_radar*20160928.nc",
        (380886.31, 3395677.92),
    ),
    "mch": ("AQC*.gif", {}, "mch_radar*20150515.nc", (0, 0)),
}


@pytest.mark.parametrize("service", ORIGINALS)
def test_originals_agree_with_their_decoding(real_data, service):
    pattern, options, decoded, offset = ORIGINALS[service]
    (path,) = real_data.glob(f"originals/{pattern}")
    (reference,) = real_data.glob(decoded)
    cube = open_cube(path, **options)
    assert cube.attrs["units"] == "mm h-1"
    assert cube.dims == ("time", "y", "x")
    validate_cube(cube.compute())
    theirs = open_cube(reference).sel(time=cube.time.values[0])
    ours = coarsen(cube, 2).isel(time=0).compute()
    ours = ours.assign_coords(x=ours.x + offset[0], y=ours.y + offset[1])
    where = {"x": theirs.x.values, "y": theirs.y.values}
    ours = ours.sel(**where, method="nearest", tolerance=2)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    # The reference keeps three significant digits.
    np.testing.assert_allclose(ours, theirs, rtol=5e-3, atol=2e-4)


def test_accumulations_have_bounds(real_data):
    for pattern in ("RAD_NL25*.h5", "AQC*.gif"):
        (path,) = real_data.glob(f"originals/{pattern}")
        offset = open_cube(path).time.attrs["bounds_offset_hours"]
        np.testing.assert_allclose(offset, [-1 / 12, 0])


def test_reflectivity_asks_for_the_relation(real_data):
    (path,) = real_data.glob("originals/*.pgm.gz")
    with pytest.raises(ValueError, match="z_r="):
        open_cube(path)


def test_several_composites_make_a_series(real_data, tmp_path):
    (path,) = real_data.glob("originals/RAD_NL25*.h5")
    content = path.read_bytes()
    (tmp_path / "b.h5").write_bytes(content)
    later = content.replace(b";05:00:00.000", b";05:05:00.000")
    later = later.replace(b";04:55:00.000", b";05:00:00.000")
    (tmp_path / "a.h5").write_bytes(later)
    cube = open_cube([tmp_path / "a.h5", tmp_path / "b.h5"])
    assert validate_cube(cube.compute(), n_frames=2).time_step == 300
    write_cube(cube, tmp_path / "both.nc")
    xr.testing.assert_allclose(open_cube(tmp_path / "both.nc"), cube)


def odim(path, quantity="ACRR", kind="COMP", gain=0.1, minutes=15, nominal=None, **place):
    """An ODIM_H5 composite as tables 1 to 16 of the data model describe it."""
    pixels = np.array([[0, 1, 2, 200], [255, 10, 20, 30], [0, 0, 4, 255]], dtype="u1")
    with netCDF4.Dataset(path, "w") as file:
        file.Conventions = "ODIM_H5/V2_3"
        file.createGroup("what").object = kind
        if nominal is not None:
            file["what"].setncatts({"date": nominal[:8], "time": nominal[8:]})
        where = file.createGroup("where")
        where.setncatts(
            {"projdef": "+proj=laea +lat_0=55 +lon_0=10", "xsize": 4, "ysize": 3, "xscale": 2000.0,
             "yscale": 1000.0} | (place or {"LL_lat": 55.0, "LL_lon": 10.0})
        )  # fmt: skip
        dataset = file.createGroup("dataset1")
        dataset.createGroup("what").setncatts(
            {"startdate": "20200101", "starttime": "120000", "enddate": "20200101",
             "endtime": f"12{minutes:02d}00"}
        )  # fmt: skip
        data = dataset.createGroup("data1")
        data.createGroup("what").setncatts(
            {"quantity": quantity, "gain": gain, "offset": 0.0, "nodata": 255.0, "undetect": 0.0}
        )
        data.createDimension("y", 3)
        data.createDimension("x", 4)
        data.createVariable("data", "u1", ("y", "x"))[:] = pixels
    return path, np.where(pixels == 255, np.nan, pixels * gain).astype("f4")


def test_odim_accumulation(tmp_path):
    path, amounts = odim(tmp_path / "a.h5")
    cube = open_cube(path)
    np.testing.assert_allclose(cube[0], amounts * 4, rtol=1e-6)
    assert str(cube.time.values[0])[:16] == "2020-01-01T12:15"
    assert cube.x.values.tolist() == [1000, 3000, 5000, 7000]
    assert cube.y.values.tolist() == [2500, 1500, 500]
    assert cube.crs.attrs["proj4"].startswith("+proj=laea")


# The corners that OPERA's own composites state, 1900 x 2200 cells of 2 km: row 0 is at the top.
OPERA = {
    "projdef": "+proj=laea +lat_0=55.0 +lon_0=10.0 +x_0=1950000.0 +y_0=-2100000.0 +units=m "
    "+ellps=WGS84",
    "xscale": 950_000.0, "yscale": 4_400_000.0 / 3,
    "LL_lon": -10.4345768386404, "LL_lat": 31.7462153182675,
    "UL_lon": -39.5357864125034, "UL_lat": 67.0228327517527,
    "UR_lon": 57.8119647501499, "UR_lat": 67.6210371071631,
    "LR_lon": 29.4210386501513, "LR_lat": 31.9876220165069,
}  # fmt: skip


def test_odim_lies_in_its_own_projection(tmp_path):
    """OPERA's domain, of coarser cells: its upper left corner is the origin of the projection."""
    cube = open_cube(odim(tmp_path / "a.h5", **OPERA)[0])
    half = 4_400_000 / 6
    np.testing.assert_allclose(cube.x, [475_000, 1_425_000, 2_375_000, 3_325_000], atol=1)
    np.testing.assert_allclose(cube.y, [-half, -3 * half, -5 * half], atol=2)
    # Values stay in their rows.
    assert np.isnan(cube.values[0]).tolist() == [
        [False] * 4,
        [True] + [False] * 3,
        [False] * 3 + [True],
    ]


def test_odim_that_states_the_centres_of_its_corner_cells(tmp_path):
    x0, y0 = 31_000.0, 80_500.0  # of the lower left corner, on a sphere of 6,371 km
    degrees = np.rad2deg(1 / 6371e3)
    place = {"projdef": "+proj=merc +R=6371000"}
    for corner, dx, dy in (("LL", 1000, 500), ("UR", 7000, 2500)):
        lat = 2 * np.arctan(np.exp((y0 + dy) / 6371e3)) - np.pi / 2
        place |= {f"{corner}_lon": (x0 + dx) * degrees, f"{corner}_lat": np.rad2deg(lat)}
    cube = open_cube(odim(tmp_path / "a.h5", **place)[0])
    np.testing.assert_allclose(cube.x, x0 + np.array([1000, 3000, 5000, 7000]), atol=1e-3)
    np.testing.assert_allclose(cube.y, y0 + np.array([2500, 1500, 500]), atol=1e-3)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ({"projdef": "+proj=robin", "LL_lon": 0.0, "LL_lat": 50.0}, "projection '.*robin"),
        ({"projdef": "+proj=merc +R=6371000"}, "no corner"),
        (OPERA | {"UR_lat": 40.0}, "do not fit"),
    ],
)
def test_odim_of_unknown_place_claims_none(tmp_path, place, why):
    path, amounts = odim(tmp_path / "a.h5", **place)
    with pytest.warns(UserWarning, match=f"where the grid lies cannot be told.*{why}"):
        cube = open_cube(path)
    np.testing.assert_allclose(cube[0], amounts * 4, rtol=1e-6)
    assert "crs" not in cube.coords
    assert "standard_name" not in cube.x.attrs
    assert "from the lower left corner" in cube.x.attrs["long_name"]
    scale = place.get("xscale", 2000.0)
    assert cube.x.values.tolist() == [scale / 2, 1.5 * scale, 2.5 * scale, 3.5 * scale]


def test_odim_counts_at_its_nominal_time(tmp_path):
    """Its last volume ends nine seconds before the quarter of an hour that it is made for."""
    path, amounts = odim(tmp_path / "a.h5", minutes=14, nominal="20200101121500")
    with netCDF4.Dataset(path, "a") as file:
        file["dataset1/what"].setncatts({"starttime": "115951", "endtime": "121451"})
    cube = open_cube(path)
    assert cube.time.values[0] == np.datetime64("2020-01-01T12:15")
    np.testing.assert_allclose(cube.time.attrs["bounds_offset_hours"], [-909 / 3600, -9 / 3600])
    np.testing.assert_allclose(cube[0], amounts * 4, rtol=1e-6)
    path, _ = odim(tmp_path / "rate.h5", "RATE", nominal="20200101121000")
    assert open_cube(path).time.values[0] == np.datetime64("2020-01-01T12:10")


def test_two_radars_of_one_size_are_not_one_cube(tmp_path):
    odim(tmp_path / "a.h5", nominal="20200101121500")
    odim(tmp_path / "b.h5", nominal="20200101123000")
    assert open_cube(tmp_path / "*.h5").shape == (2, 3, 4)
    odim(tmp_path / "b.h5", nominal="20200101123000", LL_lat=55.0, LL_lon=12.0)
    with pytest.raises(ValueError, match=r"one grid: .*b\.h5' differs from .*a\.h5.*x runs from"):
        open_cube(tmp_path / "*.h5")


def edges(cube):
    """x of the left and right, y of the lower and upper edge of the domain."""
    x, y = cube.x.values, np.sort(cube.y.values)
    dx, dy = abs(x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    return x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy


def knmi(path):
    """KNMI's domain, of 700 x 765 cells of 1 km, in 5 x 5 cells as its files describe them."""
    with netCDF4.Dataset(path, "w") as file:
        image = file.createGroup("image1")
        image.image_geo_parameter = "INTENSITY_PRECIPITATION [MM]"
        calibration = image.createGroup("calibration")
        calibration.calibration_formulas = "GEO = 0.01 * PV + 0.0"
        calibration.calibration_out_of_image = 255
        image.createDimension("y", 5)
        image.createDimension("x", 5)
        image.createVariable("image_data", "u1", ("y", "x"))[:] = np.arange(25).reshape(5, 5)
        file.createGroup("overview").setncatts(
            {"product_datetime_start": "26-AUG-2010;04:55:00.000",
             "product_datetime_end": "26-AUG-2010;05:00:00.000"}
        )  # fmt: skip
        place = file.createGroup("geographic")
        place.setncatts(
            {"geo_dim_pixel": "KM,KM", "geo_pixel_def": "LU", "geo_pixel_size_x": 140.0,
             "geo_pixel_size_y": -153.0, "geo_column_offset": 0.0, "geo_row_offset": 3650 / 153,
             "geo_product_corners":
                 np.array([0, 49.362, 0, 55.974, 10.856, 55.389, 9.009, 48.895])}
        )  # fmt: skip
        place.createGroup(
            "map_projection"
        ).projection_proj4_params = (
            "+proj=stere +lat_0=90 +lon_0=0.0 +lat_ts=60.0 +a=6378.137 +b=6356.752 +x_0=0 +y_0=0"
        )
    return path


def assert_knmi_corners(path):
    cube = open_cube(path)
    with netCDF4.Dataset(path) as file:
        lon, lat = np.reshape(file["geographic"].geo_product_corners, (4, 2)).T.astype(float)
    x, y = project(cube.crs.attrs["proj4"], lon, lat)
    left, right, low, high = edges(cube)
    # Stated to a thousandth of a degree, and on a slightly different ellipsoid.
    np.testing.assert_allclose(x, [left, left, right, right], atol=60)
    np.testing.assert_allclose(y, [low, high, high, low], atol=60)


def fmi(path):
    """FMI's domain, of 760 x 1226 cells of 1 km, in 4 x 2 cells."""
    header = (
        "P5\n# obstime 201609281600\n# param CorrectedReflectivity\n"
        f"# metersperpixel_x {999.674053 * 190}\n# metersperpixel_y {999.62859 * 613}\n"
        "# projection radar {\n# type stereographic\n# centrallongitude 25\n# centrallatitude 90\n"
        "# truelatitude 60\n# bottomleft 18.600000 57.930000\n# topright 34.903000 69.005000\n# }\n"
        "4 2\n255\n"
    )
    path.write_bytes(header.encode() + bytes([0, 64, 104, 255, 94, 0, 0, 0]))
    return path


def assert_fmi_corners(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        header = file.read(4096).decode("latin-1")
    lon, lat = np.array(
        [header.split(f"# {corner} ")[1].split()[:2] for corner in ("bottomleft", "topright")]
    ).T.astype(float)
    cube = open_cube(path, z_r=(223, 1.53))
    x, y = project("+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +R=6371288", lon, lat)
    np.testing.assert_allclose([*x, *y], edges(cube), atol=0.1)
    return cube


def assert_odim_corners(path):
    cube = open_cube(path)
    stated = cube.crs.attrs
    lon, lat = ([stated[f"{c}_{axis}"] for c in ("LL", "UR")] for axis in ("lon", "lat"))
    x, y = project(stated["proj4"], lon, lat)
    np.testing.assert_allclose([*x, *y], edges(cube), atol=2)


def test_corners_lie_where_the_formats_state_them(tmp_path):
    """MeteoSwiss's file states no place; IMERG and GRIB hold the longitudes of their cells."""
    assert_odim_corners(odim(tmp_path / "a.h5", **OPERA)[0])
    assert_knmi_corners(knmi(tmp_path / "b.h5"))
    cube = assert_fmi_corners(fmi(tmp_path / "c.pgm"))
    np.testing.assert_allclose(
        cube.values[0], [[0, (1 / 223) ** (1 / 1.53), (100 / 223) ** (1 / 1.53), np.nan],
                         [(10**1.5 / 223) ** (1 / 1.53), 0, 0, 0]], rtol=1e-5,
    )  # fmt: skip


def test_corners_of_real_composites(real_data):
    assert_knmi_corners(*real_data.glob("originals/RAD_NL25*.h5"))
    assert_fmi_corners(*real_data.glob("originals/*.pgm.gz"))


def test_odim_rate_and_reflectivity(tmp_path):
    path, rate = odim(tmp_path / "rate.h5", "RATE")
    np.testing.assert_allclose(open_cube(path)[0], rate, rtol=1e-6)
    path, dbz = odim(tmp_path / "dbz.h5", "DBZH", gain=0.5)
    expected = np.where(dbz == 0, 0, (10 ** (dbz / 10) / 200) ** (1 / 1.6))
    np.testing.assert_allclose(open_cube(path, z_r=(200, 1.6))[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "PVOL"}, "polar volumes"),
        ({"quantity": "VRAD"}, "quantity 'VRAD'"),
        ({"minutes": 0}, "not longer than 0|interval="),
    ],
)
def test_odim_that_is_no_rain(tmp_path, options, message):
    path, _ = odim(tmp_path / "a.h5", **options)
    with pytest.raises(ValueError, match=message):
        open_cube(path)


def test_imerg_group(tmp_path):
    """IMERG: group Grid, (time, lon, lat), mm/hr, -9999.9 missing, times since 1980."""
    values = np.arange(6, dtype="f4").reshape(1, 3, 2)
    values[0, 0, 0] = -9999.9
    with netCDF4.Dataset(tmp_path / "imerg.HDF5", "w") as file:
        grid = file.createGroup("Grid")
        for name, size in (("time", 1), ("lon", 3), ("lat", 2)):
            grid.createDimension(name, size)
        time = grid.createVariable("time", "i4", ("time",))
        time[:] = [1262304000]
        time.setncatts({"units": "seconds since 1980-01-06 00:00:00 UTC", "calendar": "julian"})
        for name, at, units in (
            ("lon", [1, 2, 3], "degrees_east"),
            ("lat", [5, 6], "degrees_north"),
        ):
            axis = grid.createVariable(name, "f4", (name,))
            axis[:], axis.units = at, units
        rain = grid.createVariable(
            "precipitation", "f4", ("time", "lon", "lat"), fill_value=-9999.9
        )
        rain[:], rain.units = values, "mm/hr"
    cube = open_cube(tmp_path / "imerg.HDF5")
    assert cube.dims == ("time", "lat", "lon")
    np.testing.assert_array_equal(cube.values[0], [[np.nan, 2, 4], [1, 3, 5]])


def test_damaged_radar_files(real_data, tmp_path):
    (pgm,) = real_data.glob("originals/*.pgm.gz")
    (gif,) = real_data.glob("originals/*.gif")
    content = gzip.decompress(pgm.read_bytes())
    broken = {
        "cut.pgm.gz": pgm.read_bytes()[:5000],
        "cut.pgm": content[:50_000],
        "other.pgm": b"P5\n2 2\n255\nabcd",
        "cut.gif": gif.read_bytes()[:2000],
        "text.gz": gzip.compress(b"hello"),
    }
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=r"damaged|is not|uncompress"):
            open_cube(tmp_path / name, z_r=(223, 1.53))
