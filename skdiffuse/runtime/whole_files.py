"""Small files that a reader finds whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

__all__ = ["write_whole"]

# Nanoseconds that the coarsest file systems count in.
_TICK = 2_000_000_000


def write_whole(path: str | os.PathLike[str], data: bytes, *, later_than: int = 0) -> Path:
    """Write a file that appears under its name only when every byte of it is on the disk.

    A crash, a kill, a signal or a full disk leaves what was there before.

    Parameters
    ----------
    path : str or Path
        In a folder that is there.
    data : bytes
    later_than : int, default=0
        Time of modification, in nanoseconds since 1970, that the file's is to come after whatever
        the clock says.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's file is for its owner's eyes only; what is written here is to be shared.
        os.chmod(temporary, 0o644)
        if os.stat(temporary).st_mtime_ns <= later_than:
            os.utime(temporary, ns=(later_than + _TICK, later_than + _TICK))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    # The new name itself is on the disk only once its folder is.
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path
