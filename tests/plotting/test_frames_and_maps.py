"""Rain as one sees it: frames, colours, animations, coastlines."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from skdiffuse import plotting


def test_frames_of_a_cube_are_drawn_north_up_with_their_times():
    xr = pytest.importorskip("xarray")
    X = xr.DataArray(
        np.zeros((3, 4, 5)),
        dims=("time", "y", "x"),
        coords={
            "time": np.datetime64("2020-01-01T00") + np.arange(3).astype("timedelta64[h]"),
            "y": [0.0, 1, 2, 3],
            "x": np.arange(5.0),
        },
    )
    shown = plotting.FramesDisplay({"rain": X}).plot()
    assert shown.axes_[0, 2].get_title() == "2020-01-01 02:00"
    assert shown.axes_[0, 0].get_images()[0].origin == "lower"
    assert (
        plotting.FramesDisplay({"rain": X[:, ::-1]}).plot().axes_[0, 0].get_images()[0].origin
        == "upper"
    )


def test_frames_from_samples_and_errors(rain):
    obs, sims = rain
    shown = plotting.FramesDisplay.from_samples(obs, sims, n_samples=2, frames=[0, 5])
    assert shown.axes_.shape == (5, 2)
    names = [ax.get_ylabel() for ax in shown.axes_[:, 0]]
    assert names == ["observed", "first 1", "first 2", "second 1", "second 2"]
    rows = [obs[0], *sims["first"][:2], *sims["second"][:2]]
    for row, axes in zip(rows, shown.axes_, strict=True):
        for t, ax in zip((0, 5), axes, strict=True):
            drawn = np.ma.filled(ax.get_images()[0].get_array(), np.nan)
            np.testing.assert_array_equal(drawn, row[t])
    with pytest.raises(ValueError, match=r"shape \(time, y, x\)"):
        plotting.FramesDisplay({"rain": obs}).plot()
    with pytest.raises(ValueError, match="all 6 frames"):
        plotting.FramesDisplay({"rain": obs[0]}, labels=["a"]).plot()


def test_colours_are_uniform_ordered_and_white_where_dry():
    cmap = plotting.rain_colormap(256)
    rgb = cmap(np.arange(256))[:, :3]
    luminance = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [
        0.2126,
        0.7152,
        0.0722,
    ]
    assert np.all(np.diff(luminance) < 0)  # order survives grey print
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    assert lightness[0] - lightness[-1] > 60
    steps = np.abs(np.diff(lightness[::16]))
    assert steps.max() < 3.5 * steps.min()
    # Colours change at the levels, three of them a decade, and nowhere in between.
    levels = np.array(plotting.RAIN_LEVELS)
    norm = plotting.rain_norm()
    below, at = norm(np.nextafter(levels, 0)), norm(levels)
    assert (below[1:] < at[1:]).all() and (below[1:] == at[:-1]).all()
    assert np.all((levels[1:] / levels[:-1] >= 2) & (levels[1:] / levels[:-1] <= 2.5 + 1e-9))
    assert tuple(cmap(-1)) == (1, 1, 1, 1)
    assert np.allclose(cmap(np.ma.masked)[:3], 0.8667, atol=0.01)


def test_animation_plays_and_is_written_whole(rain, tmp_path):
    obs, sims = rain
    sequences = {"observed": obs[0], "short": sims["first"][0, :4]}
    data = plotting.animate(sequences, frame_ms=250)
    with Image.open(io.BytesIO(data)) as film:
        assert film.n_frames == 6 and film.info["duration"] == 250
        film.seek(0)
        first = np.asarray(film.convert("RGB"))
        film.seek(5)
        assert (np.asarray(film.convert("RGB")) != first).any()
    path = plotting.animate(sequences, tmp_path / "new" / "film.gif")
    assert path.read_bytes()[:6] == b"GIF89a" and len(list(path.parent.iterdir())) == 1
    page = plotting.animate({"rain": obs[0, :2]}, tmp_path / "film.html")
    assert "<script" in page.read_text()
    with pytest.raises(ValueError, match=r"\.gif, \.html or \.mp4"):
        plotting.animate(sequences, tmp_path / "film.avi")


def test_animation_without_ffmpeg_says_so(rain, tmp_path, monkeypatch):
    from matplotlib.animation import writers

    monkeypatch.setattr(type(writers), "is_available", lambda self, name: False)
    with pytest.raises(RuntimeError, match="needs the program ffmpeg"):
        plotting.animate({"rain": rain[0][0]}, tmp_path / "film.mp4")


def test_coastlines_lie_where_they_should(recwarn):
    from skdiffuse.plotting.coastlines import draw_coastlines, natural_earth_coast
    from skdiffuse.plotting.maps import draw_field

    xr = pytest.importorskip("xarray")
    # A rotated grid: x runs north and y west, 1 degree for 100 km.
    y, x = np.arange(0.0, 1000, 50), np.arange(0.0, 800, 50)
    lat = 40 + (x[None, :] + 0 * y[:, None]) / 100
    lon = (179 - (y[:, None] + 0 * x[None, :]) / 100 + 180) % 360 - 180
    field = xr.DataArray(
        np.zeros((20, 16)), {"y": y, "x": x, "lat": (("y", "x"), lat), "lon": (("y", "x"), lon)},
        ("y", "x"),
    )  # fmt: skip
    ax = Figure().subplots()
    draw_field(ax, field)
    before = ax.axis()
    here = np.array([[175.0, 42], [175, 45]])  # at y = 400, from x = 200 to 500
    elsewhere = np.array([[10.0, 42], [12, 45]])
    n = len(ax.get_lines())
    assert draw_coastlines(ax, field, (here, elsewhere)) == 1
    np.testing.assert_allclose(ax.get_lines()[n].get_xydata(), [[200, 400], [500, 400]], atol=1e-6)
    assert ax.axis() == before
    # Without latitudes, in arrays, and without cartopy or its data, nothing is drawn or said.
    assert draw_coastlines(ax, field.drop_vars(["lat", "lon"]), (here,)) == 0
    assert draw_coastlines(ax, field.values, (here,)) == 0
    assert isinstance(natural_earth_coast("absent"), tuple)
    assert draw_coastlines(ax, field) == len(ax.get_lines()) - n - 1
    assert not [w for w in recwarn if "ownload" in str(w.message)]


def test_coastlines_are_those_that_cartopy_has(tmp_path, monkeypatch):
    cartopy = pytest.importorskip("cartopy")
    shapefile = pytest.importorskip("shapefile")
    from skdiffuse.plotting.coastlines import natural_earth_coast

    folder = tmp_path / "shapefiles" / "natural_earth" / "physical"
    folder.mkdir(parents=True)
    with shapefile.Writer(str(folder / "ne_50m_coastline.shp"), shapeType=3) as file:
        file.field("name", "C")
        file.line([[[0.0, 50.0], [1.0, 51.0], [2.0, 51.5]]])
        file.record("a coast")
    monkeypatch.setitem(cartopy.config, "data_dir", tmp_path)
    monkeypatch.setitem(cartopy.config, "pre_existing_data_dir", tmp_path / "none")
    natural_earth_coast.cache_clear()
    (line,) = natural_earth_coast()
    np.testing.assert_allclose(line[:, :2], [[0, 50], [1, 51], [2, 51.5]])
    natural_earth_coast.cache_clear()
