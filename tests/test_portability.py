"""What Windows and macOS would trip over, read off the sources."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

import skdiffuse
from skdiffuse.training import save_checkpoint

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(skdiffuse.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_TEXTS = {"read_text", "write_text"}
# What Windows or macOS lacks.
_OF_ONE_SYSTEM = {
    "fork", "forkpty", "getuid", "geteuid", "getgid", "getloadavg", "kill", "killpg", "mkfifo",
    "nice", "posix_fallocate", "sched_getaffinity", "sched_setaffinity", "setsid", "statvfs",
    "symlink", "sync", "sysconf", "uname", "wait", "waitpid", "SIGHUP", "SIGKILL", "SIGUSR1",
    "SIGUSR2", "SIGALRM", "alarm", "setitimer", "tzset",
}  # fmt: skip


def calls(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            yield node, name, {keyword.arg for keyword in node.keywords}


def mode_of(node: ast.Call, place: int) -> str | None:
    """The mode of a call of open; None where it is not written out."""
    given = [k.value for k in node.keywords if k.arg == "mode"] or node.args[place : place + 1]
    if not given:
        return "r"
    return given[0].value if isinstance(given[0], ast.Constant) else None


def place_of_mode(node: ast.Call, name: str) -> int | None:
    """Of what opens a file of text or bytes; None of what opens something else."""
    if name == "fdopen" or (name == "open" and isinstance(node.func, ast.Name)):
        return 1
    # Of a path the mode comes first; images, archives and descriptors are opened by their modules.
    modules = {"os", "Image", "zipfile", "tarfile", "fsspec", "webbrowser"}
    of = getattr(node.func, "value", None)
    return 0 if name == "open" and getattr(of, "id", "") not in modules else None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_text_has_an_encoding_and_written_text_its_line_ends(path):
    """Windows takes its code page otherwise, and writes two bytes for the end of a line."""
    for node, name, keywords in calls(path):
        where = f"{path}:{node.lineno}"
        if name in _TEXTS:
            assert "encoding" in keywords, f"{where}: {name} without encoding="
            assert name == "read_text" or "newline" in keywords, f"{where}: {name} without newline="
        if (place := place_of_mode(node, name)) is not None:
            mode = mode_of(node, place)
            if mode is None or "b" in mode:
                continue
            assert "encoding" in keywords, f"{where}: {name} of text without encoding="
            writes = set(mode) & set("wax+")
            assert not writes or "newline" in keywords, f"{where}: text written without newline="


def test_no_path_is_of_one_system():
    """No folder that only one system has, and no separator put between names by hand."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                first = node.value.split("\n")[0]
                assert not re.match(r"/(tmp|home|usr|var|proc|etc)(/|$)", first), (
                    f"{path}:{node.lineno} has the path {first!r}"
                )


def test_signals_and_locks_of_one_system_are_asked_for_first():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {"fcntl", "resource", "pwd", "grp", "termios"} & set(names), (
                f"{path}:{getattr(node, 'lineno', 0)} imports {names}"
            )


def test_what_one_system_lacks_is_asked_for_first():
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {
            id(inside)
            for node in ast.walk(tree)
            if isinstance(node, ast.Try | ast.If | ast.IfExp)
            and re.search(r"AttributeError|hasattr|sys\.platform|os\.name", ast.unparse(node))
            for inside in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in _OF_ONE_SYSTEM:
                of = getattr(node.value, "id", "")
                assert of not in ("os", "signal", "time") or id(node) in guarded, (
                    f"{path}:{node.lineno}: {of}.{node.attr} is not there on every system"
                )


def test_names_of_files_in_the_project():
    """Short enough, without what Windows forbids, and none twice but for capitals."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = listed.stdout.split("\n")[:-1]
    if listed.returncode or not names:
        pytest.skip("not a checkout")
    for name in names:
        assert not set(name) & set('<>:"\\|?*'), name
        assert len(name) < 120, name
        assert not any(_RESERVED.fullmatch(part) or part[-1:] in ". " for part in name.split("/"))
    assert len({name.lower() for name in names}) == len(names)


def test_names_of_files_that_are_made(tmp_path):
    import torch

    path = save_checkpoint(tmp_path, 3, {"a": torch.ones(1)}, {})
    assert not set(path.name) & set('<>:"\\|?*')
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        for name in re.findall(
            r"""(?<![rR])f?"([^"\n]*\.(?:nc|json|csv|html|png|zarr|safetensors))\"""", text
        ):
            bare = re.sub(r"\{[^{}]*\}", "", name).rpartition("/")[2]
            assert "://" in name or not set(bare) & set('<>:"\\|?'), f"{source}: {name}"
