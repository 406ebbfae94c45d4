"""What a file may ask of whoever opens it, looked at before its values are.

A file says how large its axes are and how its values are packed. Axes are read as soon as it is
opened, so that one line of metadata could take all memory there is; and a codec of Zarr, pickle,
runs whatever the file says.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import netCDF4

__all__ = ["check_netcdf", "check_zarr", "check_zip"]

# More places along one axis than there are seconds in three years, or cells around the globe.
_LONGEST = 10**8
# Of one file of metadata in a store, and of a store whose chunks are packed once more.
_MOST_METADATA = 2**26
_METADATA = {"zarr.json", ".zmetadata", ".zarray", ".zattrs", ".zgroup"}


def check_netcdf(path: Path) -> None:
    """Refuse a NetCDF file with an axis that nobody has.

    Raises
    ------
    ValueError
    """
    with netCDF4.Dataset(path) as file:
        for name, variable in _variables(file):
            _check_length(name, variable.shape)


def _variables(group: Any) -> Iterator[tuple[str, Any]]:
    yield from group.variables.items()
    for child in group.groups.values():
        yield from _variables(child)


def check_zarr(store: Any, options: Mapping[str, Any]) -> None:
    """Refuse a Zarr store with an axis that nobody has, or values that are made by pickle.

    Parameters
    ----------
    store : Path, str or Zarr store
    options : mapping
        With which xarray opens it: whether its consolidated metadata are read.

    Raises
    ------
    ValueError
    """
    import zarr

    with warnings.catch_warnings():
        # Of what else is in the store, which xarray says once more.
        warnings.simplefilter("ignore")
        group = zarr.open_group(store, mode="r", use_consolidated=options.get("consolidated"))
        for name, array in group.members(max_depth=None):
            if not isinstance(array, zarr.Array):
                continue
            _check_length(name, array.shape)
            if any("pickle" in each for each in _codecs(array.metadata)):
                raise ValueError(
                    f"its array {name!r} is packed with pickle, which would run whatever the store "
                    "says: ask for one whose arrays hold numbers."
                )


def _codecs(metadata: Any) -> list[str]:
    if hasattr(metadata, "codecs"):
        codecs = list(metadata.codecs)
    else:
        codecs = [metadata.compressor, *(metadata.filters or ())]
    return [str(getattr(codec, "codec_id", type(codec).__name__)).lower() for codec in codecs]


def _check_length(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) == 1 and shape[0] > _LONGEST:
        raise ValueError(
            f"its variable {name!r} is one axis of {shape[0]} places, and no more than 10^8 are "
            "read; open a part of it with xarray, and give that to open_cube."
        )


def check_zip(archive: zipfile.ZipFile) -> None:
    """Refuse an archive with names that lead out of it, or metadata that fill the memory.

    Raises
    ------
    ValueError
    """
    for info in archive.infolist():
        place = PurePosixPath(info.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or ":" in place.parts[:1]:
            raise ValueError(
                f"the archive holds {info.filename!r}, a name that leads out of it: unpack what "
                "you trust, and give the folder."
            )
        if place.name in _METADATA and info.file_size > _MOST_METADATA:
            raise ValueError(
                f"the archive holds {info.file_size} bytes of metadata in {info.filename!r}, and "
                f"no more than {_MOST_METADATA} are read: it is no store of rain."
            )
