"""Lists of references to parts of other files, as kerchunk makes them, and where they may point.

A list from elsewhere says what is read on this machine. It may point to files in its own folder and
below, and to addresses of the services that `open_cube` reads; nothing in it is computed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

__all__ = ["is_references", "read_references"]

# As much of a list of references as tells that it is one.
_START = 4096
_SERVICES = {
    "http", "https", "ftp", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory",
}  # fmt: skip
_TEMPLATE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def is_references(path: Path) -> bool:
    """Whether a file lists references to parts of other files, as kerchunk makes them."""
    with open(path, "rb") as file:
        start = file.read(_START)
    return start.lstrip().startswith(b"{") and any(
        mark in start for mark in (b'"refs"', b'".zgroup"', b'"zarr.json"')
    )


def read_references(path: Path) -> dict[str, Any]:
    """The references of a list by their keys, with all templates filled in.

    Raises
    ------
    ValueError
        If the list is damaged, has to be computed, or points to where it may not.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.get("refs", content) if isinstance(content, dict) else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is damaged or incomplete: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(
            f"{str(path)!r} is damaged or incomplete: its references are no object of JSON."
        )
    templates = content.get("templates", {}) if found is not content else {}
    if (found is not content and content.get("gen")) or not isinstance(templates, dict):
        raise _computed(path, "gen" if isinstance(templates, dict) else "templates")
    allowed: dict[str, str] = {}
    references = {}
    for key, value in found.items():
        if not isinstance(value, (str, dict, list)) or value == []:
            raise ValueError(
                f"{str(path)!r} is damaged or incomplete: {key!r} refers to {value!r}, which is "
                "neither text nor a place in a file."
            )
        if isinstance(value, list):
            url = str(value[0])
            if url not in allowed:
                allowed[url] = _filled(path, url, templates)
                _check_place(path, allowed[url])
            value = [allowed[url], *value[1:]]
        references[key] = value
    return references


def _filled(path: Path, text: str, templates: dict[str, Any]) -> str:
    filled = _TEMPLATE.sub(lambda match: str(templates.get(match[1], match[0])), text)
    if "{{" in filled:
        raise _computed(path, text[:80])
    return filled


def _computed(path: Path, what: str) -> ValueError:
    return ValueError(
        f"{str(path)!r} has references that would have to be computed ({what!r}), and only names "
        "are filled in: write the list out with kerchunk, whose own lists are."
    )


def _check_place(path: Path, url: str) -> None:
    scheme, _, rest = url.rpartition("://")
    scheme = scheme.partition("::")[0]
    if scheme in _SERVICES and "::" not in url:
        return
    if scheme not in ("", "file", "local") or "::" in url:
        raise ValueError(
            f"{str(path)!r} refers to {url[:200]!r}, and references by {scheme!r} are not "
            f"followed: there are files in its own folder, and {sorted(_SERVICES)}."
        )
    folder = path.resolve().parent
    if not Path(rest).resolve().is_relative_to(folder):
        raise ValueError(
            f"{str(path)!r} refers to {rest[:200]!r}, outside its own folder {str(folder)!r}, and "
            "a list from elsewhere must not choose what is read here: put the list into a folder "
            "around its files."
        )
