"""Rain to look around in: a page's panel with time, members and the series of a cell."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from skdiffuse.cubes import ordered
from skdiffuse.metrics.arrays import check_whole
from skdiffuse.plotting._sources import named_sources, opened
from skdiffuse.plotting.colours import (
    MISSING_COLOUR,
    OBSERVED_COLOUR,
    RAIN_LEVELS,
    model_colours,
    rain_colormap,
    rain_norm,
)
from skdiffuse.plotting.embedded_cube import north_up, packed, quantise, thinned
from skdiffuse.plotting.html_report import HtmlReport

MAX_VALUES = 2**22
"""Values in a panel: about 5 MB of page at the very most, rain takes about 1.3 MB."""

_MAX_SIDE = 128
_OBSERVED = ("observed", "came true", "real")

_STYLE = """
.explorer { margin: 1.2rem 0 1.6rem; }
.explorer .controls { display: flex; flex-wrap: wrap; gap: .5rem 1.4rem; align-items: center; }
.explorer .controls input { width: 15rem; vertical-align: middle; margin-right: .5rem; }
.explorer .controls output { display: inline-block; min-width: 9rem; }
.explorer .maps { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: .6rem; }
.explorer .name { padding-left: .4rem; font-size: .92rem; margin-bottom: .25rem; }
.explorer .map canvas { border: 1px solid #999; cursor: crosshair; display: block; }
.explorer .note, .explorer .told { color: #555; font-size: .92rem; min-height: 1.4em; }
.explorer .scale { display: flex; margin-top: .3rem; font-size: .8rem; color: #444; }
.explorer .scale span { border-top: .8rem solid; width: 3rem; }
.explorer .scale em { margin: .6rem 0 0 .4rem; }
.explorer canvas.series { max-width: 100%; }
"""


def add_explorer(
    page: HtmlReport,
    cubes: Mapping[str, Any],
    caption: str = "",
    *,
    selector: str = "member",
    labels: Sequence[str] | None = None,
    max_values: int = MAX_VALUES,
) -> HtmlReport:
    """Add a panel with a slider for time, a choice of member and, on a click, a cell's series.

    Values go into the page as one byte each, off by 2 % at the most, so that it needs no server
    and no connection. What is more than `max_values` is left out, and the panel says so.

    Parameters
    ----------
    page : HtmlReport
        Page to add to.
    cubes : dict of str to array-like of shape (time, y, x) or (member, time, y, x)
        Rain rate in mm/h by name, shown side by side; a click means the same row and column in
        all, so that they should be on one grid.
    caption : str, default=""
        What to look for.
    selector : str, default="member"
        What the first of four dimensions is called.
    labels : sequence of str, default=None
        Names of the frames; by default the time coordinate of the longest cube, or numbers.
    max_values : int, default=2**22
        Values to keep at the most, all cubes together.

    Returns
    -------
    HtmlReport
        `page`.

    Raises
    ------
    ValueError
        Where a cube has no frames, or another number of dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import HtmlReport, add_explorer
    >>> rain = np.random.default_rng(0).gamma(0.2, size=(3, 6, 16, 16))
    >>> page = add_explorer(HtmlReport("Rain"), {"observed": rain[0], "model": rain})
    >>> len(page.to_html()) < 30_000
    True
    """
    if not cubes:
        raise ValueError("cubes is empty: give at least one named cube.")
    check_whole(max_values, "max_values")
    shown, notes, lengths = [], [], []
    colours = model_colours(name for name in cubes if name not in _OBSERVED)
    for name, cube in cubes.items():
        cube, single = _four_dimensions(cube, name)
        kept, note = thinned(cube, max(1, max_values // len(cubes)), _MAX_SIDE)
        if note:
            notes.append(f"{name}: {note}")
        values, places = north_up(kept)
        codes = quantise(values)
        shown.append(
            {
                "name": name,
                "colour": colours.get(name, OBSERVED_COLOUR),
                "single": single,
                "shape": list(values.shape),
                "low": codes.low,
                "high": codes.high,
                "codes": packed(codes.codes),
                **places,
            }
        )
        lengths.append((len(kept[0]), _times(kept)))
    n = max(length for length, _ in lengths)
    if labels is None:
        found = (times for length, times in lengths if length == n and times is not None)
        labels = next(found, [f"frame {i + 1}" for i in range(n)])
    if len(labels) < n:
        raise ValueError(f"labels must name all {n} frames; got {len(labels)}.")
    data = {"cubes": shown, "labels": [str(label) for label in labels[:n]], "selector": selector}
    if notes:
        caption = f"{caption} Shown is only a part: {'; '.join(notes)}.".strip()
    # A page's own text must not end the script that holds the data.
    text = json.dumps({**data, "scale": _scale()}, allow_nan=False).replace("<", "\\u003c")
    note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return page.interactive(
        f'<figure><div class="explorer"><noscript>This part needs JavaScript.</noscript>'
        f'<script type="application/json">{text}</script></div>{note}</figure>',
        files("skdiffuse.plotting").joinpath("explorer.js").read_text(encoding="utf-8"),
        _STYLE,
    )


def explore(
    cubes: Any, path: Any = None, *, title: str = "Rain", max_values: int = MAX_VALUES
) -> HtmlReport:
    """Make a page to look around in a cube, or in several side by side.

    Parameters
    ----------
    cubes : path, array-like, list of paths or dict of str to either
        Rain rate in mm/h, (time, y, x) or (member, time, y, x). Files are opened with
        `skdiffuse.cubes.open_cube`, and of lazy cubes only what is shown is read.
    path : path-like, default=None
        Page to write, e.g. ``rain.html``; by default nothing is written.
    title : str, default="Rain"
        Title of the page.
    max_values : int, default=2**22
        Values to keep at the most.

    Returns
    -------
    HtmlReport

    See Also
    --------
    add_explorer : The same as a part of a page of your own.

    Examples
    --------
    >>> from skdiffuse.datasets import make_precipitation
    >>> from skdiffuse.plotting import explore
    >>> explore({"made-up": make_precipitation(8, (16, 16), random_state=0)}, title="A day")
    HtmlReport('A day', 3 parts)
    """
    found = {name or "rain": opened(cube) for name, cube in named_sources(cubes).items()}
    page = HtmlReport(title)
    page.text("Move the slider, play, choose a member, and click on a cell for its series.")
    add_explorer(page, found, max_values=max_values)
    page.table(
        [_facts(name, cube) for name, cube in found.items()],
        header=["", "shape", "units", "from", "to"],
    )
    if path is not None:
        page.write(path)
    return page


def _four_dimensions(cube: Any, name: str) -> tuple[Any, bool]:
    """A cube with members first, and whether it has but one because it is a series."""
    cube = ordered(cube, name=name)
    shape = np.shape(cube)
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(
            f"{name} must have shape (time, y, x) or (member, time, y, x) and hold something; got "
            f"{shape}. Choose one sequence, e.g. {name}[0]."
        )
    if len(shape) == 4:
        return cube if hasattr(cube, "dims") else np.asarray(cube), False
    if hasattr(cube, "dims"):
        return cube.expand_dims("member_of_one"), True
    return np.asarray(cube)[None], True


def _times(cube: Any) -> list[str] | None:
    """Times of a cube (member, time, y, x) in words, where it has any."""
    if not hasattr(cube, "dims") or cube.dims[1] not in cube.coords:
        return None
    time = cube[cube.dims[1]]
    if time.ndim != 1:
        return None
    return [str(t)[:16].replace("T", " ") for t in np.asarray(time)]


def _facts(name: str, cube: Any) -> list[str]:
    cube, single = _four_dimensions(cube, name)
    times, shape = _times(cube) or ["-"], cube.shape[single:]
    units = str(getattr(cube, "attrs", {}).get("units", "mm/h (assumed)"))
    return [name, " x ".join(map(str, shape)), units, times[0], times[-1]]


def _scale() -> dict[str, Any]:
    norm = rain_norm()
    colours = rain_colormap(norm.Ncmap)
    steps = [0.0, *RAIN_LEVELS]
    return {
        "levels": list(RAIN_LEVELS),
        "colours": [to_hex(colours(int(norm(rate)))) for rate in steps],
        "missing": MISSING_COLOUR,
    }
