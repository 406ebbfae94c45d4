"""Radar composites as their services write them, against decodings made elsewhere."""

import gzip

import netCDF4
import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import coarsen, open_cube, validate_cube, write_cube

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


def odim(path, quantity="ACRR", kind="COMP", gain=0.1, minutes=15):
    """An ODIM_H5 composite as tables 1 to 16 of the data model describe it."""
    pixels = np.array([[0, 1, 2, 200], [255, 10, 20, 30], [0, 0, 4, 255]], dtype="u1")
    with netCDF4.Dataset(path, "w") as file:
        file.Conventions = "ODIM_H5/V2_3"
        file.createGroup("what").object = kind
        where = file.createGroup("where")
        where.setncatts(
            {"projdef": "+proj=laea +lat_0=55 +lon_0=10", "xsize": 4, "ysize": 3, "xscale": 2000.0,
             "yscale": 1000.0, "LL_lat": 50.0, "LL_lon": 5.0}
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
