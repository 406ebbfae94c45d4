import io

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from skdiffuse import plotting

matplotlib.use("Agg")


@pytest.fixture
def rain():
    rng = np.random.default_rng(0)
    obs, sim = rng.gamma(0.3, 2.0, size=(12, 6, 16, 20)), rng.gamma(0.3, 2.0, size=(7, 6, 16, 20))
    obs[0, 0, :3] = np.nan
    return obs, {"first": sim, "second": 1.5 * sim[:5]}


@pytest.fixture(autouse=True)
def rc_params_stay_and_nothing_is_shown(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    plt.close("all")


DISPLAYS = [
    plotting.IntensityHistogramDisplay,
    plotting.QuantileQuantileDisplay,
    plotting.PowerSpectrumDisplay,
]


@pytest.mark.parametrize("display", DISPLAYS)
def test_displays_compare_simulations_in_one_axis(rain, display):
    obs, sims = rain
    ax = Figure().subplots()
    shown = display.from_samples(obs, sims, ax=ax)
    assert shown.ax_ is ax and shown.figure_ is ax.figure
    labels = " ".join(t.get_text() for t in ax.get_legend().get_texts())
    assert "first" in labels and "second" in labels
    assert shown.plot() is shown and shown.ax_ is not ax
    shown.figure_.savefig(io.BytesIO())
    alone = display.from_samples(obs, sims["first"])
    assert "simulation" in " ".join(t.get_text() for t in alone.ax_.get_legend().get_texts())


def test_histogram_states_the_dry_mass(rain):
    obs, sims = rain
    shown = plotting.IntensityHistogramDisplay.from_samples(obs, sims)
    share = 100 * np.mean(obs[~np.isnan(obs)] < 0.1)
    assert f"observed ({share:.0f} % below 0.1 mm/h)" in shown.ax_.get_legend_handles_labels()[1]


@pytest.mark.parametrize("kind", ["spatial", "temporal"])
def test_spectrum_draws_what_the_metric_says(rain, kind):
    from skdiffuse import metrics

    obs, sims = rain
    obs = np.nan_to_num(obs)
    shown = plotting.PowerSpectrumDisplay.from_samples(obs, sims, kind=kind)
    P = (metrics.spatial_psd(obs) if kind == "spatial" else metrics.temporal_psd(obs)).P
    line = shown.ax_.get_lines()[0]
    n = len(line.get_xdata())
    np.testing.assert_allclose(line.get_ydata(), P[1 : n + 1])
    assert line.get_xdata()[-1] == (9 if kind == "spatial" else 3)
    with pytest.raises(ValueError, match="kind"):
        plotting.PowerSpectrumDisplay.from_samples(obs, sims, kind="radial")


def test_bias_maps(rain):
    obs, sims = rain
    shown = plotting.BiasMapDisplay.from_samples(obs, sims)
    assert shown.axes_.shape == (2,) and "mean absolute bias" in shown.axes_[0].get_title()
    axes = Figure().subplots(1, 2)
    assert plotting.BiasMapDisplay.from_samples(obs, sims, ax=axes).axes_[1] is axes[1]
    with pytest.raises(ValueError, match="one Axes a simulation"):
        plotting.BiasMapDisplay.from_samples(obs, sims, ax=axes[0])


def test_from_estimator(rain):
    obs, sims = rain

    class Model:
        def sample(self, n_samples, *, random_state=None):
            return sims["first"][:n_samples]

    shown = plotting.QuantileQuantileDisplay.from_estimator(Model(), obs, n_samples=3)
    assert list(shown.quantiles) == ["model"]
    with pytest.raises(TypeError, match="DiffusionPipeline"):
        plotting.BiasMapDisplay.from_estimator(object(), obs)


def test_all_dry_and_one_frame_are_drawn():
    dry = np.zeros((2, 1, 8, 8))
    for display in (*DISPLAYS, plotting.BiasMapDisplay):
        display.from_samples(dry, dry).figure_.savefig(io.BytesIO())
    plotting.FramesDisplay({"dry": dry[0]}).plot().figure_.savefig(io.BytesIO())


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


def test_ensembles_are_drawn_beside_each_other():
    rng = np.random.default_rng(0)
    centre = rng.gamma(0.5, size=(20, 16, 16))
    obs = centre * rng.lognormal(0, 0.5, centre.shape)
    ens = {
        name: centre * rng.lognormal(0, width, (9, *centre.shape))
        for name, width in (("reliable", 0.5), ("overconfident", 0.1))
    }
    ranks = plotting.RankHistogramDisplay.from_samples(obs, ens)
    ends = {name: (s[0] + s[-1]) / 2 for name, s in ranks.shares.items()}
    assert ends["overconfident"] > 2 * ends["reliable"]
    curves = plotting.ReliabilityDisplay.from_samples(obs, ens, threshold=1.0)
    assert curves.ax_.get_title() == "at least 1 mm/h"
    for display in (ranks, curves):
        labels = [t.get_text() for t in display.ax_.get_legend().get_texts()]
        assert labels == ["reliable", "overconfident"]
