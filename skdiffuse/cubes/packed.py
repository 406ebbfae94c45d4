"""Files and stores inside others: compressed files, zipped Zarr, lists of references."""

from __future__ import annotations

import json
import lzma
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from skdiffuse.cubes.foreign import holds_a_known_file, opener_of

__all__ = [
    "ZARR_MARKS",
    "is_references",
    "lasting_folder",
    "open_store",
    "uncompressed",
    "zarr_in_zip",
]

# One of them lies at the root of each Zarr store.
ZARR_MARKS = ("zarr.json", ".zmetadata", ".zgroup")

# As much of a list of references as tells that it is one.
_START = 4096
_folders: list[tempfile.TemporaryDirectory[str]] = []

Opener: TypeAlias = Callable[..., Any]


def lasting_folder() -> Path:
    """A new folder, which is there until the process ends: lazy cubes read it when they like."""
    _folders.append(tempfile.TemporaryDirectory(prefix="skdiffuse-", ignore_cleanup_errors=True))
    return Path(_folders[-1].name)


def uncompressed(path: Path) -> Path:
    """A copy of what a file of gzip, bzip2 or xz holds, where that is a format of rain.

    Other files, compressed or not, are left as they are.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    opener = opener_of(path)
    if opener is None or not holds_a_known_file(path, opener):
        return path
    stat = path.stat()
    return _copy(path.resolve(), opener, stat.st_mtime_ns, stat.st_size)


@cache
def _copy(path: Path, opener: Opener, _changed: int, _size: int) -> Path:
    target = lasting_folder() / (path.stem or path.name)
    try:
        with opener(path, "rb") as packed, open(target, "wb") as plain:
            shutil.copyfileobj(packed, plain, 2**20)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ValueError(f"{str(path)!r} is damaged or incomplete: {error}") from error
    return target


def zarr_in_zip(path: Path) -> str | None:
    """Where in a zip archive a Zarr store is, "" at its root; None where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return None
    roots = [name.removesuffix(mark).rstrip("/") for mark in ZARR_MARKS for name in names
             if name == mark or name.endswith(f"/{mark}")]  # fmt: skip
    # The groups and arrays of a store have such files too; its root is around them.
    return min(roots, key=len, default=None)


def is_references(path: Path) -> bool:
    """Whether a file lists references to parts of other files, as kerchunk makes them."""
    with open(path, "rb") as file:
        start = file.read(_START)
    return start.lstrip().startswith(b"{") and any(
        mark in start for mark in (b'"refs"', b'".zgroup"', b'"zarr.json"')
    )


def open_store(path: Path, kind: str) -> Any:
    """The Zarr store in a zip archive ("zip") or behind a list of references ("references").

    Raises
    ------
    ValueError
        If the list cannot be read.
    """
    import zarr

    if kind == "zip":
        root = zarr_in_zip(path)
        if not root:
            return zarr.storage.ZipStore(path, mode="r")
        fs = _filesystem("zip", fo=str(path))
        return zarr.storage.FsspecStore(fs, read_only=True, path=root)
    try:
        references = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged or incomplete: {error}") from error
    options = {"asynchronous": True}
    fs = _filesystem("reference", fo=references, remote_options=options, **options)
    return zarr.storage.FsspecStore(fs, read_only=True, path="")


def _filesystem(protocol: str, **options: Any) -> Any:
    import fsspec

    fs = fsspec.filesystem(protocol, **options)
    if fs.async_impl:
        return fs
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    return AsyncFileSystemWrapper(fs, asynchronous=True)
