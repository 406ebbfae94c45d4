"""Finding and opening files, whatever their format and number."""

from __future__ import annotations

import glob
import importlib.util
import os
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import xarray as xr
from scipy.io import netcdf_file

from skdiffuse.cubes.before_reading import check_netcdf, check_zarr
from skdiffuse.cubes.foreign import explain
from skdiffuse.cubes.grib import grib_options, read_headers, with_step_ranges
from skdiffuse.cubes.groups import SeveralGroups, in_group
from skdiffuse.cubes.packed import ZARR_MARKS, open_store, uncompressed, zarr_in_zip
from skdiffuse.cubes.radar_formats import hdf5_kind, read_radar
from skdiffuse.cubes.references import is_references
from skdiffuse.cubes.remote import is_address, reach
from skdiffuse.cubes.time_axis import BOUNDS_OFFSET

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
# What is found: files and folders of this machine, and addresses of Zarr stores.
Place: TypeAlias = Path | str

_MAGIC = {
    b"CDF\x01": "netcdf", b"CDF\x02": "netcdf", b"CDF\x05": "netcdf",
    b"\x89HDF": "hdf5", b"GRIB": "grib", b"GIF8": "mch", b"P5": "fmi",
}  # fmt: skip
_ZIP = b"PK\x03\x04"


def resolve(source: Paths) -> list[Place]:
    """Files that a path, a pattern, an address or a list of them stands for.

    Those of a pattern are sorted by name, compressed ones are uncompressed, and those at an address
    copied; Zarr stores at an address stay there.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or none that matches.
    ValueError
        If a compressed file is damaged.
    """
    found = _found(source)
    if not found:
        raise FileNotFoundError("the list of files is empty.")
    return [
        uncompressed(place) if isinstance(place, Path) and place.is_file() else place
        for place in found
    ]


def _found(source: Paths) -> list[Place]:
    if isinstance(source, (str, os.PathLike)):
        text = os.path.expanduser(os.fspath(source))
        if os.path.exists(text):
            return [Path(text)]
        if isinstance(source, str) and is_address(source):
            return reach(source)
        if glob.has_magic(text):
            found = sorted(glob.glob(text, recursive=True))
            if found:
                return [Path(name) for name in found]
            raise FileNotFoundError(f"no file matches the pattern {text!r}.")
        folder = os.path.dirname(text) or "."
        hint = "" if os.path.isdir(folder) else f" (and no folder {folder!r})"
        raise FileNotFoundError(f"there is no file {text!r}{hint}.")
    return [place for item in source for place in _found(item)]


def kind_of(path: Place) -> str:
    """The format by its first bytes, not by its suffix.

    Raises
    ------
    ValueError
        If the file is empty or of a format that is not known.
    OSError
        If it cannot be read.
    """
    if isinstance(path, str):
        # Of what is at an address, only Zarr stores are left there.
        return "zarr"
    if path.is_dir():
        if any((path / name).exists() for name in ZARR_MARKS):
            return "zarr"
        raise ValueError(
            f"{str(path)!r} is a folder and no Zarr store: give a pattern of its files, e.g. "
            f"{str(path / '*.nc')!r}."
        )
    with open(path, "rb") as file:
        start = file.read(8)
    if not start:
        raise ValueError(f"{str(path)!r} is empty (0 bytes).")
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return hdf5_kind(path) if kind == "hdf5" else kind
    if start.startswith(_ZIP) and zarr_in_zip(path) is not None:
        return "zip"
    if is_references(path):
        return "references"
    raise ValueError(explain(path))


def open_dataset(
    path: Place, *, chunked: bool, engine: str | None = None, variable: str | None = None
) -> xr.Dataset:
    """Open one file as a Dataset without loading its fields.

    Where the precipitation (or ``variable``) is in a group, that group with the coordinates of
    those around it; ``encoding["group"]`` says which.

    Raises
    ------
    ImportError
        If the format needs a library that is not installed.
    ValueError
        If the file is damaged or cannot be decoded.
    """
    kind = kind_of(path)
    options: dict[str, Any] = {"decode_coords": "all", "chunks": "auto" if chunked else None}
    target: Any = path
    if isinstance(path, str):
        need("zarr", "Zarr stores", "lazy")
        options.update(engine="zarr")
    elif kind == "grib":
        need("cfgrib", "GRIB files", "grib")
        headers = read_headers(path)
        options.update(engine="cfgrib", backend_kwargs=grib_options(path, headers))
    elif kind == "zarr":
        need("zarr", "Zarr stores", "lazy")
        options.update(engine="zarr")
    elif kind in ("zip", "references"):
        need("zarr", "Zarr stores", "lazy")
        need("fsspec", "lists of references and folders in archives", "remote")
        options.update(engine="zarr", consolidated=False)
        target = open_store(path, kind)
    elif kind == "imerg":
        options.update(engine="netcdf4", group="Grid")
    elif kind in ("hdf5", "netcdf"):
        options.update(engine="netcdf4")
    else:
        dataset = read_radar(path, kind)
        dataset.encoding["source"] = str(path)
        return dataset
    if engine is not None:
        options["engine"] = engine
    if kind == "netcdf":
        _check_complete(Path(path))
    try:
        if options["engine"] == "zarr":
            check_zarr(target, options)
        elif kind in ("hdf5", "netcdf", "imerg"):
            check_netcdf(Path(path))
        with _chunk_size() if chunked else nullcontext():
            dataset = xr.open_dataset(target, **options)
            dataset.encoding["source"] = str(path)
            if "group" not in options and kind in ("hdf5", "zarr", "zip", "references"):
                dataset = in_group(target, dataset, variable, options)
        for coord in dataset.coords.values():
            # Files have bounds; an attribute that is left of them may hold no longer.
            coord.attrs.pop(BOUNDS_OFFSET, None)
    except (PermissionError, SeveralGroups):
        raise
    except Exception as error:
        raise ValueError(
            f"{str(path)!r} cannot be opened; it may be damaged or incomplete: {error}"
        ) from error
    return with_step_ranges(dataset, Path(path), headers) if kind == "grib" else dataset


def _check_complete(path: Path) -> None:
    """Refuse a NetCDF 3 file that is cut off: the netCDF library fills the rest with zeros."""
    with open(path, "rb") as file:
        if file.read(4) == b"CDF\x05":
            return
    try:
        with warnings.catch_warnings():
            # scipy maps the file, which tells whether every variable lies within it.
            warnings.simplefilter("ignore")
            netcdf_file(path, mmap=True).close()
    except (ValueError, TypeError, OSError, IndexError) as error:
        raise ValueError(
            f"{str(path)!r} is damaged or incomplete (cut off before the end of its data): {error}"
        ) from error


def _chunk_size() -> AbstractContextManager[object]:
    """Chunks small enough that reading one window of a large domain stays cheap."""
    import dask

    return dask.config.set({"array.chunk-size": "16MiB"})


def need(module: str, what: str, extra: str) -> None:
    """Raise with the remedy where an optional library is missing."""
    if importlib.util.find_spec(module) is None:
        raise ImportError(
            f"{what} need the package {module!r}, which is not installed: "
            f"pip install 'skdiffuse[{extra}]' or pip install {module}."
        )


def has_dask() -> bool:
    """Whether cubes can be lazy."""
    return importlib.util.find_spec("dask") is not None
