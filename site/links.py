"""Links between the pages of a built site: every file and every anchor that they name exists."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.anchors = [], set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if attrs.get("id"):
            self.anchors.add(attrs["id"])
        target = attrs.get("href") or attrs.get("src")
        if target and tag in ("a", "img", "link", "script"):
            self.links.append(target)


def _read(path):
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken_links(folder):
    """Each link that leads nowhere, and each thing that a page fetches from elsewhere."""
    folder = Path(folder).resolve()
    pages = {
        path: _read(path)
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.relative_to(folder).parts
    }  # templates of the theme
    found = set()
    for path, page in pages.items():
        shown = path.relative_to(folder).as_posix()
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            file, anchor = parts.path, parts.fragment
            target = (path.parent / unquote(file)).resolve() if file else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                found.add(f"{shown}: no file {link}")
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                found.add(f"{shown}: no anchor {link}")
    return sorted(found)
