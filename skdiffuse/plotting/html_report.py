"""A page with text, tables and pictures that is one file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from skdiffuse.plotting._files import write_whole

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: #222; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.2rem; }
h2 { font-size: 1.35rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid #ddd; }
h3 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
p { margin: .5rem 0 .9rem; max-width: 46rem; white-space: pre-line; }
figure { margin: 1.2rem 0 1.6rem; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .92rem; max-width: 46rem; margin-top: .3rem; }
.table { overflow-x: auto; margin: .8rem 0 1.4rem; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { padding: .34rem .8rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid #e4e4e4; }
th { border-bottom: 2px solid #bbb; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
"""


class HtmlReport:
    """Builds one self-contained HTML page: no link, every picture inside, scripts too.

    All text is escaped, and there is no script unless a part brings one. Methods return the page,
    so that calls can be chained.

    Parameters
    ----------
    title : str
        Title and first heading of the page.

    Examples
    --------
    >>> from skdiffuse.plotting import HtmlReport
    >>> page = HtmlReport("Rain & no rain")
    >>> page.text("Wet cells, in per cent:").table([["model", 7.5]], header=["name", "wet"])
    HtmlReport('Rain & no rain', 2 parts)
    >>> "<h1>Rain &amp; no rain</h1>" in page.to_html()
    True
    """

    def __init__(self, title: str):
        self.title = title
        self._parts: list[str] = []
        # Each once, however many parts need it.
        self._scripts: dict[str, None] = {}
        self._styles: dict[str, None] = {_STYLE: None}

    def __repr__(self) -> str:
        return f"HtmlReport({self.title!r}, {len(self._parts)} parts)"

    def heading(self, text: str, level: int = 2) -> HtmlReport:
        """Add a heading of `level` 2 or 3."""
        if level not in (2, 3):
            raise ValueError(f"level must be 2 or 3; got {level!r}.")
        return self._add(f"<h{level}>{html.escape(text)}</h{level}>")

    def text(self, paragraph: str) -> HtmlReport:
        """Add a paragraph."""
        return self._add(f"<p>{html.escape(paragraph)}</p>")

    def table(
        self, rows: Iterable[Sequence[Any]], header: Sequence[Any] | None = None
    ) -> HtmlReport:
        """Add a table; cells that are numbers are set to the right."""
        lines = []
        if header is not None:
            cells = "".join(f"<th>{html.escape(str(c))}</th>" for c in header)
            lines.append(f"<thead><tr>{cells}</tr></thead>")
        lines.append("<tbody>")
        lines.extend("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
        lines.append("</tbody>")
        return self._add('<div class="table"><table>' + "\n".join(lines) + "</table></div>")

    def figure(self, fig: Any, caption: str = "", *, dpi: int = 110) -> HtmlReport:
        """Add a Matplotlib figure as a PNG; it stays open."""
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=dpi)
        return self.image(buffer.getvalue(), "image/png", caption)

    def image(self, data: bytes, media_type: str, caption: str = "") -> HtmlReport:
        """Add a picture in its file format, e.g. the bytes of a GIF and ``"image/gif"``."""
        if not isinstance(data, (bytes, bytearray)):
            raise TypeError(f"data must be bytes; got {type(data).__name__}.")
        if not media_type.startswith("image/"):
            raise ValueError(f"media_type must be an image type; got {media_type!r}.")
        text = html.escape(caption, quote=True)
        source = f"data:{html.escape(media_type)};base64,{base64.b64encode(data).decode()}"
        note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
        return self._add(f'<figure><img src="{source}" alt="{text}">{note}</figure>')

    def interactive(self, markup: str, script: str, style: str = "") -> HtmlReport:
        """Add a part as it is, not escaped, with the script and style that bring it to life."""
        self._scripts[script] = None
        self._styles[style] = None
        return self._add(markup)

    def to_html(self) -> str:
        """Return the whole page."""
        title = html.escape(self.title)
        scripts = [f"<script>\n{script}</script>" for script in self._scripts]
        body = "\n".join([*self._parts, *scripts])
        style = "".join(self._styles)
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
            f"<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
        )

    def write(self, path: Any) -> Path:
        """Write the page to `path`, whole or not at all, and return the path."""
        return write_whole(path, self.to_html().encode("utf-8"))

    def _add(self, part: str) -> HtmlReport:
        self._parts.append(part)
        return self


def _cell(value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number or hasattr(value, "dtype"):
        shown = f"{value:.4g}" if isinstance(value, float) or hasattr(value, "dtype") else value
        return f'<td class="number">{html.escape(str(shown))}</td>'
    text = str(value)
    style = ' class="number"' if text[:1].isdigit() or text[:2] in _SIGNED else ""
    return f"<td{style}>{html.escape(text)}</td>"


_SIGNED = {sign + digit for sign in "+-−" for digit in "0123456789"}
