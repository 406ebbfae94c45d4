"""Addresses, such as https:// and s3://, of what open_cube reads, through fsspec.

Credentials are fsspec's affair: environment variables and files of each service, or its own
configuration (``~/.config/fsspec``). A Zarr store is read where it is; a file is copied first, to a
folder that is there until the process ends, since the libraries of NetCDF and GRIB read files of
the file system.
"""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath
from typing import Any

from skdiffuse.cubes.packed import ZARR_MARKS, lasting_folder

__all__ = ["is_address", "reach"]

# What an address needs beside fsspec.
_PACKAGES = {
    "http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs",
    "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "sftp": "paramiko",
}  # fmt: skip
_OURS = ("aiohttp", "s3fs", "gcsfs")
_REFUSED = (401, 403, 407)
# Of the errors of services, whose libraries may not be installed.
_NO_CREDENTIALS = ("NoCredentialsError", "DefaultCredentialsError", "RefreshError", "HttpError")


def is_address(text: str) -> bool:
    """Whether a text is an address, ``scheme://...`` or a chain of them, and no path.

    Examples
    --------
    >>> is_address("s3://bucket/rain.zarr"), is_address("rain.nc")
    (True, False)
    """
    return "://" in text or "::" in text


def reach(address: str) -> list[Path | str]:
    """What lies at an address: Zarr stores as their addresses, files as copies on this machine.

    Parameters
    ----------
    address : str
        Or a pattern with ``*`` of addresses, where the service can list what it has.

    Returns
    -------
    list of Path or str

    Raises
    ------
    FileNotFoundError, PermissionError, ConnectionError
        If there is nothing at the address, or it may not be read, or nobody answers.
    ImportError
        If the scheme needs a library that is not installed.
    ValueError
        If there is no such scheme.
    """
    fs, root = _filesystem(address)
    try:
        if "*" in root:
            # Files of one folder, or stores, of which nothing is to be read yet.
            found = sorted(fs.glob(root))
            if not found:
                raise FileNotFoundError(f"nothing matches the pattern {address!r}.")
            # Where chains of schemes end is known by the first of them only.
            names = [_address_of(address, fs, name) for name in found]
            return [place for name in names for place in reach(name)]
        # What is asked for after a question mark is a file.
        if "?" not in root and any(fs.exists(f"{root.rstrip('/')}/{mark}") for mark in ZARR_MARKS):
            return [address]
        target = lasting_folder() / (PurePosixPath(root.split("?")[0]).name or "file")
        fs.get_file(root, str(target))
    except Exception as error:
        raise _explained(error, address) from error
    if not target.is_file():
        raise FileNotFoundError(
            f"{address!r} is a folder and no Zarr store: give the address of a file, or a pattern "
            f"such as {address.rstrip('/') + '/*.nc'!r}."
        )
    return [target]


def _filesystem(address: str) -> tuple[Any, str]:
    scheme = address.split("://")[0].split("::")[-1].lower()
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ImportError(
            f"the address {address!r} needs fsspec, which is not installed: pip install "
            "'skdiffuse[remote]'."
        ) from error
    try:
        fs, root = url_to_fs(address)
    except ImportError as error:
        package = _PACKAGES.get(scheme, "")
        remedy = f"pip install {package}" if package else str(error)
        extra = "pip install 'skdiffuse[remote]' or " if package in _OURS else ""
        raise ImportError(
            f"addresses that begin with {scheme!r} need a package that is not installed: {extra}"
            f"{remedy}."
        ) from error
    except ValueError as error:
        if "Protocol" not in str(error):
            raise
        unknown = str(error).rsplit(": ", 1)[-1]
        raise ValueError(
            f"the address {address!r} has the scheme {unknown!r}, which fsspec does not know: "
            "https, s3, gs, az, ftp, file and memory are among those it does."
        ) from error
    except Exception as error:
        # Some schemes connect already.
        raise _explained(error, address) from error
    return fs, str(root)


def _address_of(pattern: str, fs: Any, name: str) -> str:
    """The address of what matched a pattern."""
    if "://" in name:
        return name
    *chain, _ = pattern.split("::")
    return "::".join([*chain, str(fs.unstrip_protocol(name))])


def _explained(error: Exception, address: str) -> Exception:
    """The error of whichever library it was as one that names the address and a remedy."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, FileNotFoundError) and address in str(error) and "pattern" in str(error):
        return error
    refused = getattr(error, "status", None) in _REFUSED or getattr(error, "code", None) in _REFUSED
    if isinstance(error, PermissionError) or refused or type(error).__name__ in _NO_CREDENTIALS:
        return PermissionError(
            f"{address!r} may not be read ({said}): give credentials in the way of its service, by "
            "environment variables or files that fsspec's backend reads, or in "
            "~/.config/fsspec, e.g. {'s3': {'anon': true}} for open data."
        )
    if isinstance(error, (FileNotFoundError, IsADirectoryError)):
        return FileNotFoundError(
            f"at {address!r} there is neither a file nor a Zarr store ({said})."
        )
    if isinstance(error, (OSError, asyncio.TimeoutError)) or hasattr(error, "status"):
        return ConnectionError(
            f"{address!r} cannot be reached ({said}): look at the address, and whether this "
            "machine has a way to it."
        )
    return ValueError(f"{address!r} cannot be read ({said}).")
