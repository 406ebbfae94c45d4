"""What CF calls missing, one file after another, with and without dask and joined."""

import netCDF4
import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, reading

NAN = np.nan


def raw_file(path, stored, hour=0, dtype=None, **attrs):
    """One frame of one row, with numbers and attributes exactly as given."""
    stored = np.asarray(stored, dtype)
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in (("time", 1), ("y", 1), ("x", stored.size)):
            file.createDimension(dim, size)
        time = file.createVariable("time", "f8", ("time",))
        time[:], time.units = hour, "hours since 2000-01-01"
        fill = attrs.pop("_FillValue", None)
        rain = file.createVariable("pr", stored.dtype, ("time", "y", "x"), fill_value=fill)
        rain.set_auto_maskandscale(False)
        rain.setncatts({"units": "mm h-1", **attrs})
        rain[:] = stored
    return path


def i2(*values):
    return np.array(values, "i2")


# stored numbers, attributes, rain in mm/h
CASES = {
    "valid_range, packed": (
        i2(0, 100, 20000, 32767, -1), {"scale_factor": 0.01, "valid_range": i2(0, 20000)},
        [0, 1, 200, NAN, NAN],
    ),
    "valid_range beside _FillValue": (
        i2(0, 100, -9, 32767), {"scale_factor": 0.01, "_FillValue": -9, "valid_range": i2(0, 9999)},
        [0, 1, NAN, NAN],
    ),
    "valid_max, packed": (
        i2(100, 20001), {"scale_factor": 0.01, "valid_max": np.int16(20000)}, [1, NAN],
    ),
    "valid_min, packed": (
        i2(100, -1), {"scale_factor": 0.01, "valid_min": np.int16(0)}, [1, NAN],
    ),
    "valid_range with an offset and a scale above 1": (
        i2(-10, 90, 100), {"scale_factor": 2.0, "add_offset": 20.0, "valid_range": i2(-10, 90)},
        [0, 200, NAN],
    ),
    "valid_range in unpacked units": (
        i2(100, 20000, 20001), {"scale_factor": 0.01, "valid_range": np.array([0.0, 200.0])},
        [1, 200, NAN],
    ),
    "valid_range of floats": (
        np.array([0, 0.1, 300, 300.5, NAN], "f4"), {"valid_range": np.array([0, 300], "f4")},
        [0, 0.1, 300, NAN, NAN],
    ),
    "valid_max of floats, stated in double precision": (
        np.array([0.1, 0.2], "f4"), {"valid_max": 0.1}, [0.1, NAN],
    ),
    "valid_range of plain integers": (
        i2(7, 300, 301), {"valid_range": i2(0, 300)}, [7, 300, NAN],
    ),
    "unsigned bytes": (
        np.array([10, -56, -1], "i1"),
        {"scale_factor": 0.1, "_Unsigned": "true", "valid_max": np.int8(-56)}, [1, 20, NAN],
    ),
    "several missing values": (
        i2(100, -1, -2), {"scale_factor": 0.01, "missing_value": i2(-1, -2)}, [1, NAN, NAN],
    ),
    "flags among the values": (
        i2(0, 100, 32000, 32001),
        {"scale_factor": 0.01, "flag_values": i2(0, 32000, 32001),
         "flag_meanings": "no_rain outside_coverage clutter"},
        [0, 1, NAN, NAN],
    ),
    "a flag of zero that means no data": (
        i2(0, 100), {"scale_factor": 0.01, "flag_values": i2(0), "flag_meanings": "no_data"},
        [NAN, 1],
    ),
    "packed cells that were never written": (
        np.array([100, 65535], "u2"), {"scale_factor": 0.01}, [1, NAN],
    ),
    "integers that were never written": (np.array([100, 65535], "u2"), {}, [100, NAN]),
    "the highest number where another one is the fill value": (
        np.array([100, 65535], "u2"), {"scale_factor": 0.01, "_FillValue": 0}, [1, 655.35],
    ),
    "the netCDF library's fill value of floats": (
        np.array([1, netCDF4.default_fillvals["f4"]], "f4"), {}, [1, NAN],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:variable 'pr' has multiple fill values")
@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_missing_is_missing(tmp_path, monkeypatch, name, lazy):
    monkeypatch.setattr(reading, "has_dask", lambda: lazy)
    stored, attrs, expected = CASES[name]
    path = raw_file(tmp_path / "a.nc", stored, **attrs)
    cube = open_cube(path)
    assert (cube.chunks is not None) == lazy
    np.testing.assert_allclose(cube.values[0, 0], expected, rtol=1e-6)
    assert not {"valid_range", "valid_min", "valid_max", "flag_values"} & set(cube.attrs)
    # The same of a dataset that the user opened, decoded or not.
    np.testing.assert_allclose(open_cube(xr.open_dataset(path))[0, 0], expected, rtol=1e-6)
    undecoded = xr.open_dataset(path, mask_and_scale=False)
    np.testing.assert_allclose(open_cube(undecoded)[0, 0], expected, rtol=1e-6)
    # And of two files, each of which states its own.
    raw_file(tmp_path / "b.nc", stored, hour=1, **attrs)
    joined = open_cube(tmp_path / "*.nc")
    np.testing.assert_allclose(joined.values[:, 0], [expected, expected], rtol=1e-6)


@pytest.mark.parametrize("lazy", [True, False])
def test_each_file_by_its_own_attributes(tmp_path, monkeypatch, lazy):
    """Plain integers first; then packed ones with another range and a fill value."""
    monkeypatch.setattr(reading, "has_dask", lambda: lazy)
    raw_file(tmp_path / "a.nc", i2(1, 2, 3, 50))
    raw_file(
        tmp_path / "b.nc", i2(25, 250, -1, 300), hour=1,
        scale_factor=0.01, _FillValue=-1, valid_max=np.int16(299),
    )  # fmt: skip
    expected = [[1, 2, 3, 50], [0.25, 2.5, NAN, NAN]]
    np.testing.assert_allclose(open_cube(tmp_path / "*.nc").values[:, 0], expected, rtol=1e-6)


def test_what_cannot_be_told_is_asked(tmp_path):
    """netCDF4 multiplies and keeps the attribute; another library does neither."""
    data = xr.Dataset(
        {"pr": (("time", "y", "x"), [[[1.0, 2.0]]], {"units": "mm h-1", "scale_factor": 0.01})},
        {"time": np.array(["2000-01-01"], "M8[ns]")},
    )
    with pytest.raises(ValueError, match=r"scale_factor.*remove them with \.attrs\.pop"):
        open_cube(data)
    data.pr.attrs.pop("scale_factor")
    assert open_cube(data).values.tolist() == [[[1, 2]]]
    data.pr.attrs["scale_factor"] = 1.0
    assert open_cube(data).values.tolist() == [[[1, 2]]]


def test_a_range_in_lost_units_says_nothing(tmp_path):
    """After arithmetic xarray keeps the range in packed numbers, and forgets the packing."""
    path = raw_file(tmp_path / "a.nc", i2(3, 100), scale_factor=2.0, valid_range=i2(0, 100))
    doubled = xr.open_dataset(path).pr * 2
    np.testing.assert_allclose(open_cube(doubled)[0, 0], [12, 400])
