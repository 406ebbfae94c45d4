"""What a report is given: cubes, files of them, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skdiffuse.plotting._samples import named


def opened(source: Any) -> Any:
    """Return a cube as it is, or open the file a path names."""
    if isinstance(source, (str, Path)):
        from skdiffuse.cubes import open_cube

        return open_cube(source)
    return source


def named_sources(sources: Any) -> dict[str, Any]:
    """Names for simulations: a dictionary's own, a file's stem, or "simulation"."""
    if sources is None:
        return {}
    if isinstance(sources, Mapping):
        return {str(k): opened(v) for k, v in sources.items()}
    if isinstance(sources, (str, Path)):
        return {Path(sources).stem: opened(sources)}
    if isinstance(sources, (list, tuple)) and all(isinstance(s, (str, Path)) for s in sources):
        stems = [Path(s).stem for s in sources]
        repeated = len(set(stems)) < len(stems)
        return {
            (str(source) if repeated else stem): opened(source)
            for stem, source in zip(stems, sources, strict=True)
        }
    return named(sources)
