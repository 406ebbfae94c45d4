"""The site, without building it: pages, names, examples and links that it is made of."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
# Pages of the repository that the site has under other names, and those that it makes.
MADE = {"in_one_page", "contributing", "changelog", "security", "gallery/index", "api/index"}

pytestmark = pytest.mark.skipif(not SITE.is_dir(), reason="needs the checkout")


def _load(name, folder=SITE):
    spec = importlib.util.spec_from_file_location(f"site_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_contents_name_every_page_once():
    index = (ROOT / "docs/index.md").read_text()
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    named = [
        re.sub(r".*<(.+)>", r"\1", line) for line in lines if line and not line.startswith(":")
    ]
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert len(named) == len(set(named))
    assert set(named) == pages | MADE


def test_every_public_name_is_in_the_reference():
    api = _load("api_pages")
    pages = api.pages()
    for module in api.MODULES:
        package = importlib.import_module(module)
        page = pages[f"{module}.rst"]
        for name in package.__all__:
            if not name.startswith("__"):
                assert re.search(rf"[\s.`]{name}\b", page), f"{module}.{name}"
    folders = {
        path.parent.name
        for path in (ROOT / "skdiffuse").glob("*/__init__.py")
        if "__all__" in path.read_text()
    }
    assert folders == {module.partition(".")[2] for module in api.MODULES} - {""}


def test_every_public_name_has_an_example_or_a_test():
    rows = _load("coverage_of_names", ROOT / "benchmarks").table()
    assert len(rows) > 300
    neither = [f"{module}.{name}" for module, name, *found in rows if not any(found)]
    assert not neither, neither


def test_links_of_pages_lead_to_pages_and_titles():
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]

    def anchors(path):
        titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
        plain = [re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()) for title in titles]
        return {title.replace(" ", "-") for title in plain}

    broken = []
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            there = (page.parent / file).resolve() if file else page
            if not there.exists() or (anchor and anchor not in anchors(there)):
                broken.append(f"{page.name}: {target}")
    assert not broken, broken


def test_every_example_has_a_page_with_a_picture():
    gallery = _load("gallery")
    scripts = gallery.scripts()
    assert len(scripts) >= 14
    titles = []
    for script in scripts:
        picture = gallery.picture_of(script)
        assert picture, f"{script.name} makes no picture that is kept in docs/images"
        page = gallery.as_page(script, picture)
        compile(page, script.name, "exec")
        titles.append(page.split("\n")[1])
    assert len(titles) == len(set(titles))


def test_broken_links_are_found(tmp_path):
    links = _load("links")
    (tmp_path / "a.html").write_text(
        '<a id="here" href="b.html?v=1"></a><a href="#here"></a><a href="#gone"></a>'
        '<a href="c.html"></a><a href="https://example.org/x"></a><img src="p.png">'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#here"></a><a href="a.html#gone"></a>')
    assert links.broken_links(tmp_path) == [
        "a.html: no anchor #gone",
        "a.html: no file c.html",
        "a.html: no file p.png",
        "b.html: no anchor a.html#gone",
    ]
