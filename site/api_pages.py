"""The API reference: a page for each public module, with every name of its `__all__`.

Names stand under the small file that they come from, whose docstring is their heading, so that the
reference follows the code by itself.
"""

import importlib
import inspect
import sys
from collections import defaultdict

MODULES = (
    "skdiffuse",
    "skdiffuse.datasets",
    "skdiffuse.cubes",
    "skdiffuse.preprocessing",
    "skdiffuse.model_selection",
    "skdiffuse.baselines",
    "skdiffuse.metrics",
    "skdiffuse.answers",
    "skdiffuse.plotting",
    "skdiffuse.diffusion",
    "skdiffuse.corruptions",
    "skdiffuse.networks",
    "skdiffuse.training",
)


def public_names():
    """Each public name of a function, class or constant, as (module, name), once."""
    seen, found = {}, []
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            thing = getattr(sys.modules[module], name)
            if name.startswith("__"):
                continue
            key = id(thing) if callable(thing) else (module, name)
            if key not in seen:
                seen[key] = f"{module}.{name}"
                found.append((module, name))
    return found


def elsewhere():
    """Names that stand on an earlier page already: {module: {name: where it is}}."""
    first = {id(getattr(sys.modules[m], n)): f"{m}.{n}" for m, n in public_names()}
    found = defaultdict(dict)
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            thing = getattr(sys.modules[module], name)
            if callable(thing) and first[id(thing)] != f"{module}.{name}":
                found[module][name] = first[id(thing)]
    return found


def _first_sentence(docstring):
    return " ".join((docstring or "").strip().split("\n\n")[0].split()).rstrip(".")


def _title(text, line):
    return f"{text}\n{line * len(text)}\n"


def _heading(thing, module):
    home = getattr(thing, "__module__", module) if callable(thing) else module
    if home in (module, "skdiffuse._version"):
        return "Constants"
    text = _first_sentence(sys.modules[home].__doc__).split(": ")[0]
    return text if len(text) <= 90 else text[:88].rsplit(" ", 1)[0] + " ..."


def _values(module, names):
    lines = []
    for name in names:
        value = getattr(sys.modules[module], name)
        shown = repr(value)
        shown = shown if len(shown) <= 200 else f"a {type(value).__name__} of {len(value)} entries"
        lines.append(f".. py:data:: {module}.{name}\n   :no-index-entry:\n\n   ``{shown}``\n")
    return "\n".join(lines)


def pages():
    """Text of the pages, {file name: reStructuredText}."""
    names, others = public_names(), elsewhere()
    found = {}
    for module in MODULES:
        text = [_title(module, "="), inspect.getdoc(sys.modules[module]) or "", ""]
        sections = defaultdict(list)
        for home, name in names:
            if home == module:
                sections[_heading(getattr(sys.modules[module], name), module)].append(name)
        for heading, entries in sections.items():
            text.append(_title(heading, "-"))
            values = [n for n in entries if not callable(getattr(sys.modules[module], n))]
            entries = [n for n in entries if n not in values]
            if entries:
                text.append(f".. currentmodule:: {module}\n")
                text.append(".. autosummary::\n   :toctree: generated\n   :nosignatures:\n")
                text += [f"   {name}" for name in entries] + [""]
            if values:
                text.append(_values(module, values))
        if others[module]:
            text.append(_title("Described elsewhere", "-"))
            entries = sorted(others[module].items())
            text.append(", ".join(f":py:obj:`{name} <{where}>`" for name, where in entries) + ".\n")
        found[f"{module}.rst"] = "\n".join(text)
    index = [_title("API reference", "="), "Every public name, by module.", ""]
    index += [".. list-table::", "   :widths: 30 70", ""]
    for module in MODULES:
        about = _first_sentence(sys.modules[module].__doc__)
        index += [f"   * - :doc:`{module}`", f"     - {about}"]
    index += ["", ".. toctree::", "   :hidden:", ""] + [f"   {module}" for module in MODULES]
    found["index.rst"] = "\n".join(index) + "\n"
    return found
