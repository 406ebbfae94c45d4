"""The structure of the package in numbers: files, floors, arrows, circles, sizes, parameters.

    python benchmarks/house.py [FOLDER]

Reads the import statements and definitions of ``FOLDER/skdiffuse`` (default: this checkout) as
text, runs nothing, and prints one JSON line.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections import Counter
from pathlib import Path


def modules_of(package: Path) -> dict[str, Path]:
    """Every module by its name, packages' faces left out: they only hand names on."""
    return {
        ".".join(path.relative_to(package.parent).with_suffix("").parts): path
        for path in sorted(package.rglob("*.py"))
        if path.name != "__init__.py"
    }


def imports_of(package: Path, modules: dict[str, Path]) -> dict[str, set[str]]:
    """Modules that each module imports from, seen through the faces of packages."""
    homes: dict[tuple[str, str], str] = {}
    for face in package.rglob("__init__.py"):
        name = ".".join(face.relative_to(package.parent).parent.parts)
        for node in ast.walk(ast.parse(face.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in modules:
                homes |= {(name, alias.asname or alias.name): node.module for alias in node.names}
    arrows: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            for alias in node.names:
                for found in (
                    f"{node.module}.{alias.name}",
                    node.module,
                    homes.get((node.module, alias.name), ""),
                ):
                    if found in modules and found != name:
                        arrows[name].add(found)
                        break
    return arrows


def floors_of(arrows: dict[str, set[str]]) -> tuple[dict[str, int], list[str]]:
    """Floor of each module, one above all that it imports; and those that lie on a circle."""
    floors: dict[str, int] = {}
    left = dict(arrows)
    while left:
        free = [name for name, targets in left.items() if targets <= floors.keys()]
        if not free:
            return floors, sorted(left)
        for name in free:
            floors[name] = 1 + max((floors[target] for target in arrows[name]), default=0)
        left = {name: targets for name, targets in left.items() if name not in floors}
    return floors, []


def functions_of(path: Path) -> list[tuple[int, str]]:
    """Lines of code of each function, its docstring left out."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            found.append((lines, node.name))
    return found


def parameters_of(modules: dict[str, Path]) -> int:
    """Parameters of the estimator's constructor."""
    for path in modules.values():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name == "PrecipDiffusion":
                [init] = [f for f in node.body if getattr(f, "name", "") == "__init__"]
                return len(init.args.args) + len(init.args.kwonlyargs) - 1
    raise LookupError("PrecipDiffusion is not there")


def folder_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 2 else "(root)"


def measure(package: Path) -> dict:
    """All figures of one checkout."""
    modules = modules_of(package)
    arrows = imports_of(package, modules)
    floors, circle = floors_of(arrows)
    lines = {name: len(path.read_text().splitlines()) for name, path in modules.items()}
    between = {
        (folder_of(a), folder_of(b))
        for a, targets in arrows.items()
        for b in targets
        if folder_of(a) != folder_of(b)
    }
    in_folder: Counter[str] = Counter()
    for name, count in lines.items():
        in_folder[folder_of(name)] += count
    functions = sorted(
        (
            (n, f"{name}:{function}")
            for name, p in modules.items()
            for n, function in functions_of(p)
        ),
        reverse=True,
    )
    return {
        "files": len(modules),
        "lines": sum(lines.values()),
        "floors": max(floors.values(), default=0),
        "arrows": sum(map(len, arrows.values())),
        "arrows_between_folders": len(between),
        "files_on_circles": circle,
        "files_at_the_root": sorted(name for name in modules if folder_of(name) == "(root)"),
        "lines_by_folder": dict(sorted(in_folder.items())),
        "longest_files": sorted(lines.items(), key=lambda item: -item[1])[:5],
        "longest_functions": [[name, n] for n, name in functions[:5]],
        "parameters_of_the_estimator": parameters_of(modules),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1])
    print(json.dumps(measure(parser.parse_args().folder / "skdiffuse")))


if __name__ == "__main__":
    main()
