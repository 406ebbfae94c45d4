"""Build the site from docs/, examples/ and the docstrings, without a connection.

    python site/build.py             pictures of the gallery as they are stored
    python site/build.py --gallery   the gallery's scripts run first, one by one

Warnings, links that lead nowhere and pages that no table of contents names are counted; the last
line says how many there are, and the exit status is 1 if there is one.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The package that stands beside the pages, and not one that is installed.
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]

from api_pages import pages  # noqa: E402
from gallery import HEADER, as_page, picture_of, run_all, scripts  # noqa: E402
from links import broken_links  # noqa: E402

OUT = ROOT / "build" / "site"
# Where a page of the repository stands in the site.
PAGES = {
    "README.md": "in_one_page.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}


def write(path, text):
    """Write what is new only, so that Sphinx reads again what has changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def page_text(text, examples):
    """A page of docs/ with links to the gallery and to pages from outside docs/."""
    for name, page in PAGES.items():
        text = text.replace(f"](../{name}", f"]({page}")

    # What is no page of the site, a folder or a file for machines, is named only.
    text = re.sub(r"\[([^\]]+)\]\((?:\.\./)*(?:skdiffuse/[\w/]*|[\w.]+\.cff)\)", r"\1", text)

    def link(found):
        name = found.group(1)
        return f"[`examples/{name}.py`](gallery/{name}.rst)" if name in examples else found.group(0)

    return re.sub(r"(?<!\[)`examples/(\w+)\.py`", link, text)


def assemble(docs):
    """Copy what the site is made of to where it is built."""
    examples = {script.stem for script in scripts()}
    kept = set()
    for source in sorted((ROOT / "docs").rglob("*")):
        if source.suffix == ".md":
            target = docs / source.relative_to(ROOT / "docs")
            write(target, page_text(source.read_text(), examples))
            kept.add(target)
    for name, page in PAGES.items():
        text = (ROOT / name).read_text().replace("](docs/", "](")
        text = re.sub(r"\]\((?=benchmarks/)", "](../", text)
        for other, there in PAGES.items():
            text = text.replace(f"]({other}", f"]({there}")
        write(docs / page, page_text(text, examples))
        kept.add(docs / page)
    shutil.copytree(ROOT / "docs/images", docs / "images", dirs_exist_ok=True)
    shutil.copytree(ROOT / "benchmarks/results", OUT / "benchmarks/results", dirs_exist_ok=True)
    for name, text in pages().items():
        write(docs / "api" / name, text)
        kept.add(docs / "api" / name)
    for old in [*docs.glob("*.md"), *docs.glob("api/*.rst")]:
        if old not in kept:
            old.unlink()


def assemble_gallery(docs, run):
    """Copies of the scripts as sphinx-gallery reads them; run first if asked for."""
    folder, failed = OUT / "examples", []
    if run:
        plain = OUT / "run" / "examples"
        shutil.rmtree(OUT / "run", ignore_errors=True)
        shutil.copytree(ROOT / "examples", plain)
        images = OUT / "run" / "docs" / "images"
        images.mkdir(parents=True, exist_ok=True)
        seconds, failed = run_all(plain, images)
        print("slowest:", sorted(seconds.items(), key=lambda item: -item[1])[:3])
    write(folder / "GALLERY_HEADER.rst", HEADER)
    for script in scripts():
        picture = picture_of(script)
        if picture:
            fresh = OUT / "run" / "docs" / "images" / picture.name
            shutil.copy2(fresh if fresh.exists() else picture, docs / "images" / picture.name)
        write(folder / script.name, as_page(script, picture))
    for old in folder.glob("*.py"):
        if not (ROOT / "examples" / old.name).exists():
            old.unlink()
    return failed


def run_sphinx(docs, html):
    """Warnings of Sphinx."""
    from sphinx.cmd.build import build_main

    log = OUT / "warnings.txt"
    settings = ["-c", str(ROOT / "site"), "-d", str(OUT / "doctrees"), "-w", str(log), "-q"]
    status = build_main([*settings, "-b", "html", str(docs), str(html)])
    found = [line for line in log.read_text().splitlines() if line.strip()]
    return found or (["Sphinx failed"] if status else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gallery", action="store_true", help="run the examples first")
    parser.add_argument("--fresh", action="store_true", help="start from nothing")
    args = parser.parse_args()
    if args.fresh:
        shutil.rmtree(OUT, ignore_errors=True)
    docs, html = OUT / "docs", OUT / "html"
    docs.mkdir(parents=True, exist_ok=True)
    assemble(docs)
    warnings = assemble_gallery(docs, args.gallery)
    warnings += run_sphinx(docs, html)
    warnings += broken_links(html)
    print("\n".join(warnings))
    print(f"site: {html / 'index.html'}")
    print(f"warnings: {len(warnings)}")
    return 1 if warnings else 0


if __name__ == "__main__":
    sys.exit(main())
