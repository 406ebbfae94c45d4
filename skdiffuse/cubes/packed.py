"""Files and stores inside others: compressed files, and zipped Zarr."""

from __future__ import annotations

import lzma
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from skdiffuse.cubes.before_reading import check_zip
from skdiffuse.cubes.foreign import holds_a_known_file, opener_of
from skdiffuse.cubes.references import read_references

__all__ = [
    "ZARR_MARKS",
    "free_space",
    "lasting_folder",
    "open_store",
    "uncompressed",
    "zarr_in_zip",
]

# One of them lies at the root of each Zarr store.
ZARR_MARKS = ("zarr.json", ".zmetadata", ".zgroup")

_BLOCK = 2**20
# What is left of a disk for everybody else.
_KEPT_FREE = 2**28
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
    written, room = 0, max(free_space(target.parent) - _KEPT_FREE, 0)
    try:
        with opener(path, "rb") as packed, open(target, "wb") as plain:
            while block := packed.read(_BLOCK):
                written += len(block)
                if written > room:
                    break
                plain.write(block)
    except (OSError, EOFError, lzma.LZMAError) as error:
        target.unlink(missing_ok=True)
        raise ValueError(f"{str(path)!r} is damaged or incomplete: {error}") from error
    if written > room:
        target.unlink()
        raise ValueError(
            f"{str(path)!r} holds more than the {room} bytes that may be written to "
            f"{str(target.parent.parent)!r}: unpack it where there is room (TMPDIR says where)."
        )
    return target


def free_space(folder: Path) -> int:
    """Bytes that are free on the disk of a folder."""
    return shutil.disk_usage(folder).free


def zarr_in_zip(path: Path) -> str | None:
    """Where in a zip archive a Zarr store is, "" at its root; None where there is none.

    Raises
    ------
    ValueError
        If the archive would lead out of itself, or take more memory than metadata need.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_zip(archive)
            names = archive.namelist()
    except zipfile.BadZipFile:
        return None
    roots = [name.removesuffix(mark).rstrip("/") for mark in ZARR_MARKS for name in names
             if name == mark or name.endswith(f"/{mark}")]  # fmt: skip
    # The groups and arrays of a store have such files too; its root is around them.
    return min(roots, key=len, default=None)


def open_store(path: Path, kind: str) -> Any:
    """The Zarr store in a zip archive ("zip") or behind a list of references ("references").

    Raises
    ------
    ValueError
        If the list cannot be read, or points to where it may not.
    """
    import zarr

    if kind == "zip":
        root = zarr_in_zip(path)
        if not root:
            return zarr.storage.ZipStore(path, mode="r")
        fs = _filesystem("zip", fo=str(path))
        return zarr.storage.FsspecStore(fs, read_only=True, path=root)
    options = {"asynchronous": True}
    fs = _filesystem("reference", fo=read_references(path), remote_options=options, **options)
    return zarr.storage.FsspecStore(fs, read_only=True, path="")


def _filesystem(protocol: str, **options: Any) -> Any:
    import fsspec

    fs = fsspec.filesystem(protocol, **options)
    if fs.async_impl:
        return fs
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    return AsyncFileSystemWrapper(fs, asynchronous=True)
