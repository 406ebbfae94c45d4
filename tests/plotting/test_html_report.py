from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from skdiffuse.plotting import HtmlReport


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.sources, self.names = [], [], []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.sources += [v for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_well_formed_escaped_and_self_contained(tmp_path):
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    page = HtmlReport("Rain <b> & 'sun'")
    page.heading("One & two").heading("Part", level=3).text("a < b\nnext line")
    page.table([["<script>", 0.123456, np.float64(3)], ["x", -2, "+3 %"]], header=["a", "b", "c"])
    page.figure(figure, 'caption "quoted"').image(b"GIF89a", "image/gif", "film")
    path = page.write(tmp_path / "deep" / "page.html")
    text = path.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert "script" not in tags.names and "link" not in tags.names
    assert len(tags.sources) == 2 and all(s.startswith("data:image/") for s in tags.sources)
    assert "&lt;script&gt;" in text and "Rain &lt;b&gt; &amp;" in text
    assert '<td class="number">0.1235</td>' in text
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    path = HtmlReport("old").write(tmp_path / "page.html")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        HtmlReport("new").write(path)
    assert "old" in path.read_text() and len(list(tmp_path.iterdir())) == 1


def test_bad_parts():
    page = HtmlReport("x")
    with pytest.raises(TypeError, match="bytes"):
        page.image("text", "image/gif")
    with pytest.raises(ValueError, match="image type"):
        page.image(b"x", "text/html")
    with pytest.raises(ValueError, match="level"):
        page.heading("x", level=1)
