"""Panels to look around in: what is in the page, and what a real browser makes of it."""

import base64
import json
import re
import zlib

import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import write_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.plotting import (
    HtmlReport,
    add_explorer,
    evaluation_page,
    evaluation_report,
    explore,
    forecast_pages,
)
from skdiffuse.plotting.embedded_cube import Codes, dequantise, quantise, thinned


def panels(text):
    """The data of a page's panels, with their codes unpacked by another way than the script's."""
    found = []
    for part in re.findall(r'<script type="application/json">(.*?)</script>', text, re.S):
        data = json.loads(part)
        for cube in data["cubes"]:
            codes = np.frombuffer(zlib.decompress(base64.b64decode(cube["codes"])), np.uint8)
            cube["codes"] = codes.reshape(cube["shape"])
        found.append(data)
    return found


def test_bytes_are_rain_to_two_per_cent():
    rain = np.random.default_rng(0).gamma(0.2, 10.0, size=20_000)
    rain = np.minimum(np.where(rain < 0.01, 0.0, rain), 100.0)
    rain[:5] = np.nan
    back = dequantise(quantise(rain))
    np.testing.assert_array_equal(np.isnan(back), np.isnan(rain))
    np.testing.assert_array_equal(back == 0, rain == 0)
    wet = rain > 0
    assert np.abs(back[wet] / rain[wet] - 1).max() < 0.0184


def test_north_is_up_and_west_is_left():
    """Whatever way the coordinates run, the first row of the page is the northernmost."""
    field = np.arange(6.0).reshape(1, 2, 3)
    place = {"y": [10.0, 20.0], "x": [1.0, 2.0, 3.0]}
    south_first = xr.DataArray(field, place, ("time", "y", "x"))
    expected = quantise(field[0, ::-1]).codes
    for cube in (south_first, south_first[:, ::-1], south_first[:, :, ::-1]):
        (panel,) = panels(add_explorer(HtmlReport("x"), {"rain": cube}).to_html())
        np.testing.assert_array_equal(panel["cubes"][0]["codes"][0, 0], expected)
        assert panel["cubes"][0]["y"] == {"name": "y", "values": [20.0, 10.0]}
        assert panel["cubes"][0]["x"]["values"] == [1.0, 2.0, 3.0]
    (panel,) = panels(add_explorer(HtmlReport("x"), {"rain": field}).to_html())
    np.testing.assert_array_equal(panel["cubes"][0]["codes"][0, 0], quantise(field[0]).codes)


def test_the_size_is_bounded_and_what_is_left_out_is_said():
    rain = np.random.default_rng(0).gamma(0.2, size=(9, 60, 20, 30))
    page = add_explorer(HtmlReport("x"), {"model": rain}, max_values=100_000)
    (panel,) = panels(page.to_html())
    assert np.prod(panel["cubes"][0]["shape"]) <= 100_000
    assert "the first 3 of 9 members, the first 55 of 60 frames" in page.to_html()
    # Bytes in base64, and whatever little the rest takes.
    assert len(page.to_html()) < 100_000 * 4 / 3 + 25_000
    kept, note = thinned(rain, 10**9, 10)
    assert kept.shape == (9, 60, 6, 10) and note == "means over 3 x 3 cells"
    assert kept[4, 5, 1, 2] == pytest.approx(rain[4, 5, 3:6, 6:9].mean())
    lazy = xr.DataArray(rain, dims=("realization", "time", "y", "x")).chunk(time=10)
    np.testing.assert_allclose(thinned(lazy, 10**9, 10)[0], kept)


def test_of_a_lazy_cube_only_what_is_shown_is_read():
    da = pytest.importorskip("dask.array")

    def block(block_info):
        start = block_info[None]["array-location"][0][0]
        assert start < 10, "a block was read that is not shown"
        return np.full((10, 8, 8), 1.0)

    lazy = da.map_blocks(
        block, chunks=((10,) * 5, (8,), (8,)), dtype=float, meta=np.empty((0, 0, 0))
    )
    cube = xr.DataArray(lazy, dims=("time", "y", "x"))
    page = explore({"rain": cube}, max_values=640).to_html()
    assert "the first 10 of 50 frames" in page and "50 x 8 x 8" in page


def test_hostile_names_stay_text():
    name = "</script><script>alert(1)</script>"
    rain = xr.DataArray(np.ones((1, 2, 2)), dims=("time", "y", "x"))
    text = add_explorer(HtmlReport("x"), {name: rain}, caption=name).to_html()
    assert "alert(1)</script>" not in text
    assert panels(text)[0]["cubes"][0]["name"] == name


@pytest.mark.parametrize(
    ("cubes", "options", "message"),
    [
        ({}, {}, "cubes is empty"),
        ({"rain": np.ones((2, 2))}, {}, r"rain must have shape .*got \(2, 2\)"),
        ({"rain": np.ones((0, 2, 2))}, {}, "hold something"),
        ({"rain": np.ones((3, 2, 2))}, {"labels": ["a"]}, "labels must name all 3 frames; got 1"),
        ({"rain": np.ones((3, 2, 2))}, {"max_values": 0}, "max_values=0"),
    ],
)
def test_bad_panels(cubes, options, message):
    with pytest.raises(ValueError, match=message):
        add_explorer(HtmlReport("x"), cubes, **options)


def test_files_are_opened_and_dates_of_any_calendar_are_shown(tmp_path):
    rain = make_precipitation(3, (8, 8), random_state=0, calendar="360_day", start="2000-02-29")
    write_cube(rain, tmp_path / "rain.nc")
    page = explore(tmp_path / "rain.nc", tmp_path / "page.html").to_html()
    (panel,) = panels(page)
    assert panel["labels"][0] == "2000-02-29 00:00" and panel["cubes"][0]["name"] == "rain"
    assert (tmp_path / "page.html").read_text() == page


def test_reports_have_panels_and_one_script(rain, monkeypatch):
    # The pictures are others' to test, and take most of the time.
    monkeypatch.setattr(evaluation_page, "_pictures", lambda *args: None)
    monkeypatch.setattr(forecast_pages, "_draw_scores", lambda *args: None)
    obs, sims = rain
    ensembles = {"model": np.stack([obs, 2 * obs, obs])}
    options = {"n_resamples": 3, "scores": ["mean_bias", "crps"], "animation": False}
    page = evaluation_report(obs, sims, forecasts=ensembles, truth=obs, **options).page.to_html()
    samples, case = panels(page)
    assert [cube["name"] for cube in samples["cubes"]] == ["observed", "first", "second"]
    assert samples["selector"] == "sequence" and samples["cubes"][2]["shape"] == [5, 6, 16, 20]
    # The wettest first.
    cube = samples["cubes"][0]
    wettest = np.nansum(obs, axis=(1, 2, 3)).argmax()
    shown = dequantise(Codes(cube["codes"][0], cube["low"], cube["high"]))
    np.testing.assert_allclose(shown, obs[wettest], rtol=0.02, atol=0.01)
    assert [cube["shape"][0] for cube in case["cubes"]] == [1, 3]
    assert page.count("<script>") == 1
    still = evaluation_report(obs, sims, interactive=False, **options).page.to_html()
    assert "<script" not in still


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """An ensemble that says which member, frame, row and column a value is of."""
    m, t, y, x = np.indices((3, 4, 6, 8))
    place = {"y": 10.0 * np.arange(6), "x": np.arange(8.0)}
    ens = 1.3 + 2.0 * m + 2.0 * t * (y == 5) * (x == 7)
    ens = xr.DataArray(ens, place, ("realization", "time", "y", "x"))
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    explore({"observed": ens[0].where(ens.x[7] != ens.x), "model": ens}, path)
    browser.open(path)
    return browser


def said(page, selector):
    return page.run(f"return document.querySelector('{selector}').textContent")


def rate(page):
    """What the page says of the chosen cell of the ensemble."""
    number, unit = said(page, ".map:nth-child(2) .note").split()
    assert unit == "mm/h"
    return float(number)


def drawn(page, selector):
    """The picture of a canvas."""
    return page.run(f"return document.querySelector('{selector}').toDataURL()")


def test_a_click_in_chromium_shows_the_series_of_the_cell(page, tmp_path):
    before = page.screenshot(tmp_path / "before.png")
    assert page.run("return document.querySelector('canvas.series').hidden")
    width, height = page.run(
        "const box = document.querySelectorAll('.map canvas')[1].getBoundingClientRect();"
        "return [box.width, box.height]"
    )
    # The cell in the upper right corner: the last row, as north is up, and the last column.
    page.click(".map:nth-child(2) canvas", int(width / 2 - 5), int(-height / 2 + 5))
    after = page.screenshot(tmp_path / "after.png")
    assert before != after
    assert "Cell at y 50, x 7" in said(page, ".told")
    assert not page.run("return document.querySelector('canvas.series').hidden")
    assert said(page, ".map:nth-child(1) .note") == "missing"
    assert rate(page) == pytest.approx(1.3, rel=0.04)
    page.keys("input.time", "\ue014\ue014")
    assert rate(page) == pytest.approx(5.3, rel=0.04)
    assert said(page, "output") == "frame 3"
    old = drawn(page, "canvas.series")
    page.keys("select.member", "3")
    assert rate(page) == pytest.approx(9.3, rel=0.04)
    assert drawn(page, "canvas.series") != old
    page.keys(".map:nth-child(2) canvas", "\ue012\ue015")
    assert "Cell at y 40, x 6" in said(page, ".told")
    assert page.messages() == [], "the page asked for something, or failed"


def test_colours_are_those_of_the_pictures(page):
    from skdiffuse.plotting import rain_colormap, rain_norm

    page.run("location.reload()")
    page.run("return new Promise((done) => setTimeout(done, 500))")
    pixel = page.run(
        "const pen = document.querySelectorAll('.map canvas')[1].getContext('2d');"
        "return [...pen.getImageData(3, 3, 1, 1).data].slice(0, 3)"
    )
    norm = rain_norm()
    expected = rain_colormap(norm.Ncmap)(int(norm(1.3)))[:3]
    np.testing.assert_allclose(np.array(pixel) / 255, expected, atol=0.003)


def test_playing_moves_the_frames(page):
    page.click("button.play")
    page.run("return new Promise((done) => setTimeout(done, 1000))")
    assert said(page, "button.play") == "Stop"
    assert said(page, "output") != "frame 1"
    page.click("button.play")
    assert said(page, "button.play") == "Play"
