"""Addresses: a web server that the tests start, and memory."""

import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, write_cube
from skdiffuse.datasets import make_precipitation

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("zarr")

pytestmark = pytest.mark.filterwarnings("ignore:Consolidated")


@pytest.fixture(scope="module")
def rain():
    return make_precipitation(6, (4, 5), random_state=0)


class Handler(SimpleHTTPRequestHandler):
    """A folder, of which parts of files can be had and "secret" is for nobody."""

    def do_GET(self):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted is None:
            super().do_GET()
            return
        first, last = map(int, wanted.groups())
        content = Path(self.translate_path(self.path)).read_bytes()
        part = content[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)

    def send_head(self):
        if "secret" in self.path:
            self.send_error(403)
            return None
        return super().send_head()

    def log_message(self, *of_a_request):
        pass


@pytest.fixture(scope="module")
def server(rain, tmp_path_factory):
    """Address of a folder with rain in several formats."""
    pytest.importorskip("aiohttp")
    folder = tmp_path_factory.mktemp("served")
    write_cube(rain, folder / "rain.zarr")
    write_cube(rain[:3], folder / "day_1.nc")
    write_cube(rain[3:], folder / "day_2.nc")
    rain.to_dataset(name="rain").to_netcdf(folder / "grouped.nc", group="radar")
    rain.to_dataset(name="rain").to_netcdf(
        folder / "old.nc", format="NETCDF3_64BIT", engine="scipy"
    )
    (folder / "page.html").write_text("<!DOCTYPE html>\n<html></html>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["rain.zarr", "rain.zarr/"])
def test_zarr_of_a_web_server_stays_there(server, rain, name):
    cube = open_cube(f"{server}/{name}")
    assert cube.chunks is not None
    xr.testing.assert_identical(cube.compute(), rain)


@pytest.mark.parametrize("name", ["day_1.nc", "day_1.nc?token=a/b"])
def test_netcdf_of_a_web_server(server, rain, name):
    xr.testing.assert_identical(open_cube(f"{server}/{name}").compute(), rain[:3])


def test_several_files_of_a_web_server(server, rain):
    pair = open_cube([f"{server}/day_2.nc", f"{server}/day_1.nc"])
    np.testing.assert_array_equal(pair.values, rain.values)
    # By the page of its folder.
    np.testing.assert_array_equal(open_cube(f"{server}/day_*.nc").values, rain.values)


def test_groups_of_files_at_an_address(server, rain):
    found = open_cube(f"{server}/grouped.nc", variable="/radar/rain")
    np.testing.assert_array_equal(found.values, rain.values)


@pytest.mark.parametrize("shards", [None, (6, 4, 5)])
@pytest.mark.parametrize("group", [None, "science/radar"])
def test_zarr_in_memory(rain, shards, group):
    """In shards, of which parts are read, and in groups."""
    address = f"memory://{group}-{bool(shards)}.zarr"
    dataset = rain.to_dataset(name="rain")
    encoding = {"rain": {"chunks": (2, 4, 5), "shards": shards}} if shards else {}
    dataset.to_zarr(address, group=group, mode="w", encoding=encoding)
    np.testing.assert_array_equal(open_cube(address)[2:4].values, rain[2:4].values)


def test_files_in_memory(rain, tmp_path):
    fs = fsspec.filesystem("memory")
    for k, part in enumerate((rain[:3], rain[3:])):
        fs.put_file(str(write_cube(part, tmp_path / "a.nc")), f"/days/{k}.nc")
    np.testing.assert_array_equal(open_cube("memory://days/*.nc").values, rain.values)
    np.testing.assert_array_equal(open_cube("simplecache::memory://days/1.nc").values, rain[3:])


def test_references_to_a_web_server(server, rain, tmp_path):
    """A list on this machine, or there, of parts of a file that lies there."""
    maker = pytest.importorskip("kerchunk.netCDF3")
    found = maker.NetCDF3ToZarr(f"{server}/old.nc", inline_threshold=0).translate()
    (tmp_path / "rain.json").write_text(json.dumps(found))
    np.testing.assert_array_equal(open_cube(tmp_path / "rain.json")[2:].values, rain[2:].values)
    fsspec.filesystem("memory").pipe_file("/rain.json", json.dumps(found).encode())
    np.testing.assert_array_equal(open_cube("memory://rain.json").values, rain.values)


def test_what_is_not_there(server):
    with pytest.raises(FileNotFoundError, match=r"nothing\.nc' there is neither a file nor a Zarr"):
        open_cube(f"{server}/nothing.nc")
    with pytest.raises(FileNotFoundError, match="nothing matches the pattern"):
        open_cube(f"{server}/nothing_*.nc")
    with pytest.raises(FileNotFoundError, match="neither a file nor a Zarr"):
        open_cube("memory://nothing.zarr")


def test_no_permission(server):
    with pytest.raises(PermissionError, match=r"secret.*may not be read.*403.*credentials"):
        open_cube(f"{server}/secret.nc")


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_nobody_answers(server, scheme):
    with pytest.raises(ConnectionError, match=r"cannot be reached.*look at the address"):
        open_cube(f"{scheme}://127.0.0.1:9/rain.nc")


def test_a_web_page_is_no_rain(server):
    with pytest.raises(ValueError, match=r"web page.*give the address of the file"):
        open_cube(f"{server}/page.html")


@pytest.mark.parametrize("address", ["htps://example.org/rain.nc", "htps::memory://rain.nc"])
def test_an_unknown_scheme(address):
    with pytest.raises(ValueError, match="'htps', which fsspec does not know: https, s3"):
        open_cube(address)


@pytest.mark.parametrize(
    ("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("https", "aiohttp")]
)
def test_a_backend_that_is_missing(scheme, package, monkeypatch):
    import fsspec.core

    def missing(address, **options):
        raise ImportError(f"Install {package} to access {scheme}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(ImportError, match=rf"skdiffuse\[remote\]' or pip install {package}"):
        open_cube(f"{scheme}://somewhere/rain.zarr")


def test_an_error_of_a_service_says_what_to_do(monkeypatch):
    """As s3fs and gcsfs raise them where nobody gave credentials."""
    from fsspec.implementations.memory import MemoryFileSystem

    NoCredentialsError = type("NoCredentialsError", (Exception,), {})

    def exists(self, path, **options):
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(MemoryFileSystem, "exists", exists)
    with pytest.raises(PermissionError, match=r"Unable to locate credentials.*anon"):
        open_cube("memory://somewhere.zarr")
