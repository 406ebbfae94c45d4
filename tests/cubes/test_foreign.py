"""What is not read is named, and the way that the error names leads to the right cube."""

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, write_cube
from skdiffuse.datasets import make_precipitation

RASTER = r"open_rasterio\(path, masked=True\).*expand_dims.*units="
ASCII = (
    b"ncols 3\nnrows 2\nxllcorner -523462\nyllcorner -4658645\ncellsize 1000\n"
    b"NODATA_value -1\n0 12 -1\n5 0 7\n"
)


def tar(name, content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


FOREIGN = {
    "GeoTIFF": (b"II*\x00" + bytes(30), f"TIFF.*{RASTER}"),
    "GeoTIFF, big-endian": (b"MM\x00*" + bytes(30), f"TIFF.*{RASTER}"),
    "BigTIFF": (b"II+\x00" + bytes(30), f"TIFF.*{RASTER}"),
    "RADOLAN ASCII": (ASCII, f"ESRI ASCII.*{RASTER}.*tenths of a millimetre: multiply"),
    "ASCII grid, capitals": (ASCII.upper(), "ESRI ASCII"),
    "RADOLAN binary": (
        b"RW010650100000814BY1620130VS 3SW   2.13.1PR E-01INT  60GP 900x 900MS",
        r"RADOLAN.*wradlib\.io\.open_radolan_dataset\(path\)",
    ),
    "BUFR": (b"BUFR" + bytes(20), "BUFR"),
    "HDF 4": (b"\x0e\x03\x13\x01" + bytes(20), "HDF 4"),
    "a text file": (b"time,rain\n", "neither NetCDF.*b'time,rai"),
}  # fmt: skip


@pytest.mark.parametrize("compress", [None, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_formats_are_named(tmp_path, name, compress):
    """Compressed or not: nobody is sent to uncompress what is then refused."""
    content, message = FOREIGN[name]
    (tmp_path / "a.dat").write_bytes(compress(content) if compress else content)
    with pytest.raises(ValueError, match=message) as refused:
        open_cube(tmp_path / "a.dat")
    assert "uncompress it" not in str(refused.value)


@pytest.fixture
def rain():
    return make_precipitation(3, (4, 5), random_state=0)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_read(rain, tmp_path, compress):
    content = write_cube(rain, tmp_path / "a.nc").read_bytes()
    (tmp_path / "a.nc.z").write_bytes(compress(content))
    xr.testing.assert_identical(open_cube(tmp_path / "a.nc.z").compute(), rain)
    # As it is now, not as it was when it was opened first.
    content = write_cube(2 * rain, tmp_path / "b.nc").read_bytes()
    (tmp_path / "a.nc.z").write_bytes(compress(content + bytes(9)))
    xr.testing.assert_allclose(open_cube(tmp_path / "a.nc.z").compute(), 2 * rain)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_unpacked_as_told(rain, tmp_path, kind):
    content = write_cube(rain, tmp_path / "a.nc").read_bytes()
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("b.nc", content)
    else:
        packed = tar("b.nc", content)
        path.write_bytes(gzip.compress(packed) if kind == "tar.gz" else packed)
    with pytest.raises(ValueError, match=f"{kind[:3]} archive: unpack it first"):
        open_cube(path)
    if kind == "zip":
        shutil.unpack_archive(path, tmp_path)
    else:
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path, filter="data")
    xr.testing.assert_identical(open_cube(tmp_path / "b.nc").compute(), rain)


# Compressed content has the time in it, and is not to be the name of a test.
@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"x" * 900)[:20], b"\xfd7zXZ\x00" + bytes(40)],
    ids=["gzip", "xz"],
)
def test_damaged_archives(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged or incomplete|is not|neither"):
        open_cube(tmp_path / "a.gz")


def raster(values, nodata=np.nan):
    """What rioxarray makes of a grid: a band, y from the north, and a mapping without values."""
    return xr.DataArray(
        np.asarray(values, "f4")[None],
        {"band": [1], "y": [1500.0, 500.0], "x": [500.0, 1500.0, 2500.0],
         "spatial_ref": ((), 0, {"crs_wkt": "PROJCS[...]"})},
        ("band", "y", "x"),
        attrs={"AREA_OR_POINT": "Area", "scale_factor": 1.0, "add_offset": 0.0},
    )  # fmt: skip


def test_a_raster_as_told():
    """The line of the message, on what rioxarray returns."""
    numbers = [[0, 1.2, np.nan], [0.5, 0, 0.7]]
    when = np.datetime64("2020-01-31T12:50")
    cube = open_cube(
        raster(numbers).squeeze("band", drop=True).expand_dims(time=[when]), units="mm h-1"
    )
    np.testing.assert_array_equal(cube, np.asarray([numbers], "f4"))
    assert cube.time.values[0] == when
    assert cube.dims == ("time", "y", "x")


def test_a_raster_by_rioxarray(tmp_path):
    rioxarray = pytest.importorskip("rioxarray")
    path = Path(tmp_path / "RW_20200131-1250.asc")
    path.write_bytes(ASCII)
    data = rioxarray.open_rasterio(path, masked=True).squeeze("band", drop=True)
    cube = open_cube(data.expand_dims(time=[np.datetime64("2020-01-31T12:50")]) * 0.1, units="mm/h")
    np.testing.assert_allclose(cube[0], [[0, 1.2, np.nan], [0.5, 0, 0.7]], rtol=1e-6)
