"""Writing pictures and pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skdiffuse.runtime import whole_files


def write_whole(path: Any, data: bytes) -> Path:
    """Write a file so that a reader finds it whole or not at all, and its folder if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return whole_files.write_whole(path, data)
