"""Places that are written to, tried before there is anything to write."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

__all__ = ["try_folder", "try_output"]


def try_output(path: str | os.PathLike[str], name: str, *, parents: bool = False) -> Path:
    """Try a file, or a Zarr store, that is written when the work is done.

    Parameters
    ----------
    path : str or Path
    name : str
        What errors call it.
    parents : bool, default=False
        Whether folders that are missing will be made.

    Returns
    -------
    Path
        As given; what is there is left alone.

    Raises
    ------
    OSError
        If its folder is missing or cannot be written to, or it is a folder itself.
    """
    path = Path(path)
    folder = path.absolute().parent
    if parents and not folder.is_dir():
        try_folder(folder, name)
        return path
    if not folder.is_dir():
        raise FileNotFoundError(f"{name}={str(path)!r}: there is no folder {folder}; make it.")
    if path.is_dir() and path.suffix != ".zarr":
        raise IsADirectoryError(
            f"{name}={str(path)!r} is a folder; name a file within it, such as {path / 'rain.nc'}."
        )
    _try_to_write(folder, f"{name}={str(path)!r}")
    return path


def try_folder(path: str | os.PathLike[str], name: str) -> Path:
    """Try a folder that files are put into during the work.

    Raises
    ------
    OSError
        If it is a file, cannot be made, or cannot be written to.
    """
    path = Path(path)
    said = f"{name}={str(path)!r}"
    # The nearest that is there: nothing is made for work that may yet be refused.
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{said}: {there} is a file, not a folder; name another.")
    _try_to_write(there, said)
    return path


def _try_to_write(folder: Path, said: str) -> None:
    try:
        handle, trial = tempfile.mkstemp(dir=folder, prefix=".skdiffuse-trial-")
    except OSError as error:
        raise PermissionError(
            f"{said}: nothing can be written into {folder} ({error.strerror}); choose another "
            "place, or free this one."
        ) from error
    os.close(handle)
    with contextlib.suppress(OSError):
        os.unlink(trial)
