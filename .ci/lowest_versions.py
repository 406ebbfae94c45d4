"""The oldest versions that pyproject.toml allows, as constraints for pip.

Of torch the version that constraints.txt pins: its oldest wheel on PyPI brings gigabytes of CUDA.

    python .ci/lowest_versions.py > lowest.txt
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BOUND = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*>=\s*([\d.]+)")


def lowest(project: dict, extras: tuple[str, ...] = ("lazy",)) -> dict[str, str]:
    """Packages and their lower bounds, of the package itself and some extras."""
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return dict(match.groups() for each in wanted if (match := _BOUND.match(each)))


def main() -> None:
    """Print them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = lowest(project)
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    found["torch"] = pinned["torch"]
    for name, version in found.items():
        # "2.0" is the first release of a series, whatever its number of zeros.
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
