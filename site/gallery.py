"""The gallery: every script of `examples/`, with its docstring as a page and its picture.

A script stays what it is for its reader, a script; what sphinx-gallery wants of it, a title with a
line under it and a picture, is added to the copy that the site is built from.
"""

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = ("docs/images", "examples", "benchmarks/results")
# Scripts that want a file of the reader's own: shown with their stored picture, never run.
NEED_A_FILE = {"generator_next_to_mrms", "verify_trained_model"}
# Pictures whose names are an argument of the script.
PICTURES_OF_OTHER_NAMES = {"verify_trained_model": ["verification.png"]}
HEADER = """\
Gallery
=======

Each is one script of ``examples/``, runs in less than a minute on a processor and makes the picture
that stands above it.
"""


def scripts(root=ROOT):
    """The example scripts."""
    return sorted((root / "examples").glob("*.py"))


def picture_of(script, root=ROOT):
    """The stored picture that a script makes, or None."""
    named = re.findall(r"[\w]+\.png", script.read_text())
    others = PICTURES_OF_OTHER_NAMES.get(script.stem, [])
    for name in [f"{script.stem}.png", *named, *others]:
        for folder in PICTURES:
            if (root / folder / name).is_file():
                return root / folder / name
    return None


def title_and_text(docstring):
    """What stands before the first colon or full stop, and the docstring."""
    first = " ".join(docstring.strip().split("\n\n")[0].split())
    title = re.split(r"[:.?](?:\s|$)", first)[0]
    return title[0].upper() + title[1:], docstring.strip()


def as_page(script, picture):
    """The script as sphinx-gallery reads it."""
    source = script.read_text()
    docstring = ast.get_docstring(ast.parse(source), clean=True)
    title, text = title_and_text(docstring)
    # An indented command is a literal block.
    text = re.sub(r"\n\n(?=    \S)", "\n\n::\n\n", text)
    head = f"{title}\n{'=' * len(title)}\n\n{text}\n"
    if picture:
        head += (
            f"\n.. image:: /images/{picture.name}\n   :alt: {title}\n   :class: gallery-picture\n"
        )
    code = source.split('"""', 2)[2].lstrip("\n")
    page = f'r"""\n{head}"""\n\n{code}'
    if picture:
        page += f"\n# sphinx_gallery_thumbnail_path = 'images/{picture.name}'\n"
    return page


def _of_children():
    times = os.times()
    return times.children_user + times.children_system


def run_all(folder, images, only=None):
    """Run the scripts, one after the other, in a folder.

    Returns processor seconds by name, which do not depend on who else uses the machine, and the
    what went wrong.
    """
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    seconds, failed = {}, []
    for script in sorted(folder.glob("*.py")):
        if script.stem in NEED_A_FILE or (only and script.stem not in only):
            continue
        start, used = time.monotonic(), _of_children()
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=images,
            env=environment,
            capture_output=True,
            text=True,
        )
        seconds[script.stem] = round(_of_children() - used, 1)
        passed = time.monotonic() - start
        print(f"{script.stem}: {seconds[script.stem]:.0f} s of a processor, {passed:.0f} s in all",
              flush=True)  # fmt: skip
        wanted = picture_of(script)
        if done.returncode:
            failed.append(f"{script.stem} failed")
            print(done.stderr[-2000:])
        elif wanted is not None and not (images / wanted.name).exists():
            failed.append(f"{script.stem} made no {wanted.name}")
        elif "Warning" in done.stderr:
            print(done.stderr[-1000:])
    return seconds, failed
