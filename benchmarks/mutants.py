"""Do the tests notice a wrong line? Mutants of the mathematics, each put to the tests that run it.

Draws places in `diffusion/`, `preprocessing/` and `metrics/` and makes one small fault in each
(`mutations.py`). The tests of the folder that mirrors it, and the package's examples, are run until
one fails. What survives is looked at: a test is written, or the result file says why there is
nothing to notice.

    python benchmarks/mutants.py                # 70 of each folder; goes on where it was stopped
    python benchmarks/mutants.py --survivors    # those again, put to tests written since
    python benchmarks/mutants.py --why ID TEXT  # nothing to notice, because of TEXT

Quick, since libraries are imported once: each mutant is a forked process in which one module is
compiled from a changed tree, and only tests that run the line are run, quick ones first. Needs
`fork`. A first run notes which test runs which line; until tests or the folder change that is kept
in `build/`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.util
import json
import math
import os
import random
import resource
import signal
import sys
import time
from collections import defaultdict
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from mutations import ROOT, Mutant, mutants

os.environ |= {"SCIPY_ARRAY_API": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(ROOT))
FOLDERS = ("diffusion", "preprocessing", "metrics")
RESULTS = ROOT / "benchmarks" / "results" / "mutants.json"
# Seconds of tests that a mutant is put to; what survives them is put to the others.
FIRST = 12.0

# Tests, in processes of their own


def in_a_fork(work: Any, seconds: float) -> str:
    """How it ended: "failed", "passed", or "timed out" after so many seconds of the processor."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 2))
        nowhere = os.open(os.devnull, os.O_RDWR)
        if not os.environ.get("MUTANTS_LOUD"):
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
        code = 1
        try:
            code = int(work())
        finally:
            os._exit(code)
    until = time.monotonic() + 12 * seconds
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if os.WIFSIGNALED(ended[1]) and os.WTERMSIG(ended[1]) in (signal.SIGXCPU, signal.SIGKILL):
        return "timed out"
    return "failed" if ended[1] else "passed"


class Plugin:
    """Chooses and orders tests, or leaves out old ones, or notes which lines each of them runs."""

    def __init__(
        self, chosen: Any = None, old: Any = (), noted: Any = None, said: int = -1
    ) -> None:
        self.order = None if chosen is None else {name: k for k, name in enumerate(chosen)}
        self.old, self.noted, self.said = old, noted, said
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        import hypothesis

        # An example that fails is enough: no smaller one is looked for.
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("m", hypothesis.settings(), phases=phases)
        hypothesis.settings.load_profile("m")
        items[:] = [item for item in items if item.nodeid not in self.old]
        if self.order is not None:
            items[:] = sorted(
                (i for i in items if i.nodeid in self.order), key=lambda i: self.order[i.nodeid]
            )

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed and self.said >= 0:
            os.write(self.said, report.nodeid.encode())

    def pytest_runtest_setup(self, item: Any) -> None:
        if self.noted:
            self.noted.switch_context(item.nodeid)

    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> None:
        # What a fixture of many tests runs is run by all tests of its file.
        if self.noted and fixturedef.scope != "function":
            self.noted.switch_context(request.node.nodeid.partition("::")[0])


def run_pytest(plugin: Plugin, paths: list[str]) -> int:
    """The exit status; that nothing was there to run is no failure."""
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(ROOT)]
    status = pytest.main([*options, *paths], plugins=[plugin])
    return 0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else int(status)


def which_test_runs_what(folder: str, *, as_it_was: bool = False) -> dict[str, Any]:
    """Seconds of every test of a folder, and the tests of every line."""
    files = [path for top in ("tests", "skdiffuse") for path in (ROOT / top / folder).rglob("*.py")]
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
    kept = ROOT / "build" / f"mutants_{folder}.json"
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(kept.read_text(encoding="utf-8"))
        if as_it_was or known["content"] == content:
            since = kept.stat().st_mtime
            changed = [path for path in files if path.stat().st_mtime > since]
            tests = [p.relative_to(ROOT).as_posix() for p in changed if p.name.startswith("test_")]
            return {**known, "changed": sorted(tests)}

    def note() -> int:
        import coverage

        cover = coverage.Coverage(data_file=None, source=[str(ROOT / "skdiffuse" / folder)])
        cover.start()
        plugin = Plugin(noted=cover)
        status = run_pytest(plugin, [f"tests/{folder}", f"skdiffuse/{folder}"])
        cover.stop()
        data, lines = cover.get_data(), {}
        for path in data.measured_files():
            by_line = data.contexts_by_lineno(path)
            name = Path(path).relative_to(ROOT).as_posix()
            lines[name] = {str(k): [c for c in v if c] for k, v in by_line.items()}
        modules = sorted(name for name in sys.modules if not name.startswith(("skdiffuse", "test")))
        known = {"content": content, "seconds": plugin.seconds, "lines": lines, "modules": modules}
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(known), encoding="utf-8", newline="\n")
        return status

    if in_a_fork(note, 1800) != "passed":
        raise SystemExit(f"the tests of {folder} do not pass as they are")
    return which_test_runs_what(folder)


def tests_of(mutant: Mutant, known: dict[str, Any]) -> list[str]:
    """Those that run its lines, quick ones first; those of its file where it is run on import."""
    lines = known["lines"].get(mutant.path, {})
    found = {t for k in range(mutant.lines[0], mutant.lines[1] + 1) for t in lines.get(str(k), [])}
    found = found or {test for tests in lines.values() for test in tests}
    seconds = known["seconds"]
    whole = {name for name in seconds if name.partition("::")[0] in found}
    mirrored = f"test_{Path(mutant.path).stem.lstrip('_')}.py"
    key = {
        t: (round(seconds[t]), mirrored not in t, seconds[t]) for t in (found | whole) & {*seconds}
    }
    return sorted(key, key=key.get)


def put_to_tests(mutant: Mutant, known: dict[str, Any]) -> dict[str, Any]:
    """What came of it."""
    chosen, spent = tests_of(mutant, known), 0.0
    n_first = 0
    for n_first, test in enumerate(chosen, start=1):  # noqa: B007
        spent += known["seconds"][test]
        if spent > FIRST:
            break
    # Few are needed as a rule.
    for some in (chosen[:n_first], chosen[n_first:]):
        seconds = 8 + 5 * sum(known["seconds"][test] for test in some)
        if not some:
            continue
        paths = sorted({test.partition("::")[0] for test in some})
        status, by = run_tests(mutant, paths, seconds, {"chosen": some})
        if status != "survived":
            return {"id": mutant.id, "status": status, "tests": len(chosen), "by": by}
    return {"id": mutant.id, "status": "survived", "tests": len(chosen), "by": ""}


def put_to_new_tests(mutant: Mutant, known: dict[str, Any]) -> dict[str, Any]:
    """The same, of tests that there were not when lines were noted."""
    plugin, status, by = {"old": known["seconds"]}, "survived", ""
    if known["changed"]:
        status, by = run_tests(mutant, known["changed"], 120, plugin)
    return {"id": mutant.id, "status": status, "by": by}


def run_tests(
    mutant: Mutant, paths: list[str], seconds: float, plugin: dict[str, Any]
) -> tuple[str, str]:
    """What came of it, and the test that failed."""
    hears, says = os.pipe()

    def work() -> int:
        name = mutant.path.removesuffix(".py").replace("/", ".")

        class Changed(SourceFileLoader):
            def get_code(self, fullname: str) -> Any:
                return compile(mutant.tree, self.path, "exec")

        class Finder:
            @staticmethod
            def find_spec(fullname: str, path: Any, target: Any = None) -> Any:
                if fullname != name:
                    return None
                loader = Changed(name, str(ROOT / mutant.path))
                return importlib.util.spec_from_file_location(name, loader.path, loader=loader)

        sys.meta_path.insert(0, Finder)
        importlib.import_module(name)
        return run_pytest(Plugin(said=says, **plugin), paths)

    result = in_a_fork(work, seconds)
    os.close(says)
    by = os.read(hears, 500).decode()
    os.close(hears)
    return {"passed": "survived", "failed": "killed"}.get(result, result), by


# Figures


def interval(k: int, n: int) -> list[float]:
    """Wilson's, 95 %."""
    z, p = 1.96, k / max(n, 1)
    middle, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n**2)
    return [round((middle + s * half) / (1 + z * z / n), 3) for s in (-1, 1)]


def summary(rows: dict[str, Any]) -> dict[str, Any]:
    """Scores of each folder: as first found, and now, without those that change nothing."""
    found = {}
    for folder in FOLDERS:
        mine = [r for r in rows.values() if r["id"].startswith(f"skdiffuse/{folder}/")]
        if mine:
            first = sum(r["first"] != "survived" for r in mine)
            left = [r for r in mine if not r.get("why")]
            now = sum(r["status"] != "survived" for r in left)
            found[folder] = {
                "mutants": len(mine), "timed_out": sum(r["status"] == "timed out" for r in mine),
                "score_at_first": round(first / len(mine), 3),
                "interval_at_first": interval(first, len(mine)), "explained": len(mine) - len(left),
                "score": round(now / len(left), 3), "interval": interval(now, len(left)),
                "unexplained": len(left) - now,
            }  # fmt: skip
    return found


def kept_rows() -> dict[str, Any]:
    """What the result file holds."""
    if not RESULTS.exists():
        return {}
    return {row["id"]: row for row in json.loads(RESULTS.read_text(encoding="utf-8"))["all"]}


def store(row: dict[str, Any]) -> None:
    """Into the file as it is now: another process may be at work on another folder."""
    rows = kept_rows()
    rows[row["id"]] = rows.get(row["id"], {"first": row["status"]}) | row
    every = sorted(rows.values(), key=lambda row: row["id"])
    text = json.dumps({**summary(rows), "all": every}, indent=1)
    beside = RESULTS.with_suffix(f".{os.getpid()}")
    beside.write_text(text + "\n", encoding="utf-8", newline="\n")
    beside.replace(RESULTS)


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", default=FOLDERS)
    parser.add_argument("--n", type=int, default=70, help="mutants of each folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--why", nargs=2)
    options = parser.parse_args()
    os.chdir(ROOT)
    rows = kept_rows()
    if options.why:
        store(rows[options.why[0]] | {"why": options.why[1]})
        return
    for folder in options.folders:
        files = sorted((ROOT / "skdiffuse" / folder).glob("*.py"))
        every = [m for path in files if path.name != "__init__.py" for m in mutants(path)]
        drawn = random.Random(options.seed).sample(every, min(options.n, len(every)))
        if options.survivors:
            again = {k for k, r in rows.items() if r["status"] == "survived" and not r.get("why")}
            drawn = [m for m in every if m.id in again]
        else:
            drawn = [m for m in drawn if m.id not in rows]
        known = which_test_runs_what(folder, as_it_was=options.survivors)
        for name in known["modules"]:
            with contextlib.suppress(Exception, SystemExit):
                importlib.import_module(name)
        # Another process may be at work on the same folder, and has done some by then.
        random.Random(os.getpid()).shuffle(drawn)
        for mutant in drawn:
            if not options.survivors and mutant.id in kept_rows():
                continue
            begin = time.monotonic()
            row = (put_to_new_tests if options.survivors else put_to_tests)(mutant, known)
            print(f"{row['status']:>9} {time.monotonic() - begin:5.1f} s  {mutant.id}", flush=True)
            store(row)
    print(json.dumps(summary(kept_rows())))


if __name__ == "__main__":
    main()
    # Hundreds of modules that were imported in no order of their own need not be taken down.
    sys.stdout.flush()
    os._exit(0)
