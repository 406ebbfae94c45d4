"""The rules of the house, read off the import statements: who may know whom."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import skdiffuse

PACKAGE = Path(skdiffuse.__file__).parent
VERSION = "skdiffuse._version"

# Each floor and the folders that it may import. The faces, which may import all, are the modules
# beside the folders: the package itself, its pipeline, presets and command.
MAY_IMPORT = {
    "runtime": set(),
    "diffusion": {"runtime"},
    "corruptions": {"runtime", "diffusion"},
    "preprocessing": {"runtime", "diffusion"},
    "networks": {"runtime", "diffusion"},
    "cubes": {"runtime"},
    # A transform that learns is trained together with the network.
    "training": {"runtime", "diffusion", "corruptions", "preprocessing", "networks", "cubes"},
    # Arrays of two cubes are brought to one order in one place.
    "metrics": {"runtime", "cubes"},
    # Pages read files, and a transform is drawn as well.
    "answers": {"runtime", "metrics", "cubes"},
    "plotting": {"runtime", "metrics", "cubes", "preprocessing", "answers"},
    "datasets": {"runtime", "cubes"},
    "model_selection": {"runtime", "cubes"},
    "baselines": {"runtime", "cubes"},
}
MAY_IMPORT["estimator"] = set(MAY_IMPORT)
MAY_IMPORT["demo"] = set(MAY_IMPORT)


@dataclass(frozen=True)
class Import:
    """One name that a module imports from another module of the package."""

    module: str
    line: int
    source: str
    name: str

    def __str__(self) -> str:
        path = self.module.replace(".", "/")
        return f"{path}:{self.line} imports {self.source} {self.name}".rstrip()


def _module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _folder(module: str) -> str:
    """The folder of a module, "" for the modules beside the folders."""
    _, _, inner = module.partition(".")
    first, _, _ = inner.partition(".")
    return first if (PACKAGE / first).is_dir() else ""


def _imports() -> list[Import]:
    """Every import of the package from itself, those inside functions too."""
    found = []
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [
                    Import(module, node.lineno, alias.name, "")
                    for alias in node.names
                    if alias.name in MODULES
                ]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno} imports by a relative name"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    if inner in MODULES:
                        found.append(Import(module, node.lineno, inner, ""))
                    elif node.module in MODULES:
                        found.append(Import(module, node.lineno, node.module, alias.name))
    return found


IMPORTS = _imports()


def test_every_folder_has_its_floor():
    folders = {_folder(module) for module in MODULES} - {""}
    assert folders == set(MAY_IMPORT)


def _upward() -> list[Import]:
    return [
        found
        for found in IMPORTS
        if (folder := _folder(found.module)) and found.source != VERSION
        if (source := _folder(found.source)) != folder and source not in MAY_IMPORT[folder]
    ]


def _private() -> list[Import]:
    """Imports of private names, or from private modules, of another folder."""
    return [
        found
        for found in IMPORTS
        if found.source != VERSION and _folder(found.module) != _folder(found.source)
        if any(
            name.startswith("_") and not name.startswith("__")
            for name in (*found.source.split("."), found.name)
        )
    ]


def _refuse(broken: list[Import]) -> None:
    assert not broken, "\n".join(map(str, broken))


def test_no_module_imports_upward():
    _refuse(_upward())


def test_private_names_stay_in_their_folder():
    _refuse(_private())


def test_imports_make_no_circle():
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in IMPORTS:
        graph[found.module].add(found.source)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None


def test_no_two_modules_have_one_file_name():
    names = Counter(path.name for path in MODULES.values() if path.name != "__init__.py")
    assert [name for name, n in names.items() if n > 1] == []
