"""Files that are not read: what they are, and which reader gives open_cube what it needs."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_RASTER = (
    "rioxarray reads it, open_cube(rioxarray.open_rasterio(path, masked=True).squeeze('band', "
    "drop=True).expand_dims(time=[numpy.datetime64('...')]), units='...')"
)

# First bytes, and what to say.
_FORMATS = {
    rb"II[*+]\x00|MM\x00[*+]": (
        f"is a TIFF image (GeoTIFF), which states neither time nor units: {_RASTER}."
    ),
    rb"(?i)\s*ncols\s": (
        f"is an ESRI ASCII grid, which states neither time nor units: {_RASTER}. RADOLAN grids of "
        "this kind count tenths of a millimetre: multiply them by 0.1."
    ),
    rb"[A-Z]{2}\d{15}BY": (
        "is a RADOLAN composite, which wradlib reads: "
        "open_cube(wradlib.io.open_radolan_dataset(path))."
    ),
    rb"BUFR": "is BUFR, which is not read: ask for the product as NetCDF, HDF5 or GRIB.",
    rb"(?i)\s*<(!doctype|html)": (
        "is neither NetCDF nor another format that is known but a web page, perhaps one that lists "
        "files or asks for a password: give the address of the file or Zarr store itself."
    ),
    rb"\x0e\x03\x13\x01": "is HDF 4, which is not read: ask for the product as NetCDF or HDF5.",
}  # fmt: skip

_OPENERS: dict[bytes, tuple[str, Callable[..., Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ": ("xz", lzma.open),
}
_KNOWN = (b"CDF", b"\x89HDF", b"GRIB", b"GIF8", b"P5")


def explain(path: Path) -> str:
    """What a file is that is not read, and what to do about it, as the message of an error.

    Raises
    ------
    ValueError
        If a compressed file is damaged.
    """
    with open(path, "rb") as file:
        start = file.read(512)
    for magic, (name, opener) in _OPENERS.items():
        if start.startswith(magic):
            return f"{str(path)!r} is compressed with {name}{_inside(path, opener)}"
    if start.startswith(b"PK\x03\x04"):
        return f"{str(path)!r} is a zip archive: unpack it first, e.g. with python -m zipfile -e."
    if start[257:262] == b"ustar":
        return f"{str(path)!r} is a tar archive: unpack it first, e.g. with python -m tarfile -e."
    return f"{str(path)!r} {_described(start)}"


def opener_of(path: Path) -> Callable[..., Any] | None:
    """What opens a file that is compressed; None for one that is not."""
    with open(path, "rb") as file:
        start = file.read(8)
    found = [opener for magic, (_, opener) in _OPENERS.items() if start.startswith(magic)]
    return found[0] if found else None


def holds_a_known_file(path: Path, opener: Callable[..., Any]) -> bool:
    """Whether a compressed file holds one of a format that is read once it is uncompressed.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    return _start(path, opener).startswith(_KNOWN)


def _start(path: Path, opener: Callable[..., Any]) -> bytes:
    try:
        with opener(path, "rb") as file:
            return bytes(file.read(512))
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(path)!r} is damaged or incomplete: {error}") from error


def _inside(path: Path, opener: Callable[..., Any]) -> str:
    start = _start(path, opener)
    if start[257:262] == b"ustar":
        return " and holds a tar archive: unpack it first, e.g. with python -m tarfile -e."
    return f", and what it holds {_described(start)}"


def _described(start: bytes) -> str:
    for pattern, words in _FORMATS.items():
        if re.match(pattern, start):
            return words
    return (
        "is neither NetCDF, HDF5, GRIB, Zarr nor a radar image that is known: it starts with "
        f"{start[:8]!r}."
    )
