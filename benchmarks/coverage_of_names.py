"""Examples and tests of every public name: where each is shown, and where it is tested.

An example is a doctest of the package, a code block of a page, or a script of `examples/` with the
name in it; a test is a file of `tests/` with it. What nobody writes down, but gets, goes by another
name: the type of a result by the functions that return it, a base class or protocol by its
subclasses. Prints the table by module and ends with one JSON line; `--all` prints every name. Exit
status 1 if a name has neither.

    python benchmarks/coverage_of_names.py [--all]
"""

import argparse
import importlib
import inspect
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "site")]

from api_pages import MODULES, public_names  # noqa: E402

WORD = re.compile(r"[A-Za-z_]\w*")


def words_of(paths, only_code=False):
    """The words of each file, {path: set of words}."""
    found = {}
    for path in paths:
        text = path.read_text()
        if only_code:
            text = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
        found[path.relative_to(ROOT).as_posix()] = set(WORD.findall(text))
    return found


def doctest_words():
    """The words of all doctests of the package."""
    lines = []
    for path in (ROOT / "skdiffuse").rglob("*.py"):
        lines += re.findall(r"^\s*(?:>>>|\.\.\.) (.*)$", path.read_text(), re.MULTILINE)
    return set(WORD.findall("\n".join(lines)))


def spoken_for(names):
    """{name: names that stand for it, itself first}."""
    things = {name: getattr(importlib.import_module(module), name) for module, name in names}
    found = {name: [name] for name in things}
    for name, thing in things.items():
        if inspect.isfunction(thing):
            for word in WORD.findall(str(inspect.signature(thing).return_annotation)):
                if word in found and word != name:
                    found[word].append(name)
        elif inspect.isclass(thing):
            for base in thing.__mro__[1:]:
                if things.get(base.__name__) is base:
                    found[base.__name__].append(name)
    return found


def table():
    """A row for each name: module, name, doctest, pages, scripts, tests."""
    pages = words_of([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"], only_code=True)
    scripts = words_of((ROOT / "examples").glob("*.py"))
    tests = words_of((ROOT / "tests").rglob("*.py"))
    rows, doctests, names = [], doctest_words(), public_names()
    speakers = spoken_for(names)
    for module, name in names:
        by = set(speakers[name])
        found = [[path for path, words in kind.items() if by & words]
                 for kind in (pages, scripts, tests)]  # fmt: skip
        rows.append((module, name, bool(by & doctests), *found))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true", help="print every name")
    args = parser.parse_args()
    rows = table()
    print(f"{'module':30s} names  doctest  pages  scripts  tests  no example  no test")
    for module in MODULES:
        mine = [row for row in rows if row[0] == module]
        without = sum(not (doctest or page or script) for _, _, doctest, page, script, _ in mine)
        counts = [sum(bool(row[column]) for row in mine) for column in (2, 3, 4, 5)]
        print(
            f"{module:30s} {len(mine):5d}  {counts[0]:7d}  {counts[1]:5d}  {counts[2]:7d}  "
            f"{counts[3]:5d}  {without:10d}  {len(mine) - counts[3]:7d}"
        )
    no_example = [f"{row[0]}.{row[1]}" for row in rows if not any(row[2:5])]
    no_test = [f"{row[0]}.{row[1]}" for row in rows if not row[5]]
    neither = sorted(set(no_example) & set(no_test))
    if args.all:
        for module, name, doctest, page, script, tested in rows:
            doctests = "doctest" if doctest else ""
            print(f"{module}.{name}: {doctests} {len(page)} pages {len(script)} scripts "
                  f"{len(tested)} tests")  # fmt: skip
    print("without an example:", ", ".join(no_example) or "none")
    print("without a test:", ", ".join(no_test) or "none")
    summary = {"names": len(rows), "without_example": len(no_example)}
    print(json.dumps({**summary, "without_test": len(no_test), "without_both": len(neither)}))
    return 1 if neither else 0


if __name__ == "__main__":
    sys.exit(main())
