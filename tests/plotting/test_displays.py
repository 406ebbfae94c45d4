import io

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import genextreme, genpareto
from scipy.stats import t as student

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


def drawn_by(shown, name):
    """The numbers in the picture under a label."""
    ax = shown.ax_
    if isinstance(shown, plotting.IntensityHistogramDisplay):
        (stairs,) = [p for p in ax.patches if str(p.get_label()).startswith(f"{name} (")]
        return stairs.get_data().values
    (line,) = [line for line in ax.get_lines() if line.get_label() == name]
    return line.get_xydata()


def expected_of(display, obs, sim):
    """The same numbers with NumPy alone."""
    values = [X[~np.isnan(X)] for X in (obs, sim)]
    if display is plotting.IntensityHistogramDisplay:
        edges = 10 ** np.linspace(-1, 3, 33)
        counts, _ = np.histogram(values[1], edges)
        density = counts / values[1].size / np.diff(edges)
        return np.where(density > 0, density, np.nan)
    if display is plotting.QuantileQuantileDisplay:
        n = min(map(len, values))
        tails = [a * 10.0**-b for b in range(2, 8) for a in range(9, 0, -1)]
        levels = 1 - np.array([tail for tail in tails if tail >= (1 - 1e-9) / n])
        return np.stack([np.quantile(v, levels) for v in values], axis=1)
    power = np.mean(np.abs(np.fft.fft2(sim)) ** 2, axis=(0, 1)) / sim[0, 0].size ** 2
    f, g = np.fft.fftfreq(16)[:, None], np.fft.fftfreq(20)[None]
    P = np.bincount(np.rint(20 * np.hypot(f, g)).astype(int).ravel(), power.ravel())
    return np.stack([np.arange(1, 10), P[1:10]], axis=1)


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
    for name, sim in sims.items():
        drawn = drawn_by(shown, name)
        np.testing.assert_allclose(drawn, expected_of(display, obs, sim), rtol=1e-9)
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
    assert shown.axes_.shape == (2,)
    for ax, (name, sim) in zip(shown.axes_, sims.items(), strict=True):
        bias = sim.mean(axis=(0, 1)) / np.nanmean(obs, axis=(0, 1)) - 1
        np.testing.assert_allclose(ax.get_images()[0].get_array(), bias, rtol=1e-9)
        note = f"mean absolute bias {100 * np.abs(bias).mean():.0f} %"
        assert ax.get_title() == f"{name}\n{note}"
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
    q = shown.quantiles["model"]
    np.testing.assert_allclose(q.sim, np.quantile(sims["first"][:3], q.levels))
    np.testing.assert_allclose(q.obs, np.nanquantile(obs, q.levels))
    with pytest.raises(TypeError, match="DiffusionPipeline"):
        plotting.BiasMapDisplay.from_estimator(object(), obs)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.00123, "0.12 %"), (0.456, "46 %"), (0.9951, "99.5 %"), (0.999996, "99.9996 %"),
     (1, "100 %"), (1.5, "150 %"), (np.nan, "nan %")],
)  # fmt: skip
def test_percentages_are_plain_numbers(share, text):
    from skdiffuse.plotting._samples import percent

    assert percent(share) == text


def test_all_dry_and_one_frame_are_drawn():
    dry = np.zeros((2, 1, 8, 8))
    shown = {d: d.from_samples(dry, dry) for d in (*DISPLAYS, plotting.BiasMapDisplay)}
    frames = plotting.FramesDisplay({"dry": dry[0]}).plot()
    for display in (*shown.values(), frames):
        display.figure_.savefig(io.BytesIO())
    histogram, quantiles, spectrum = (shown[d] for d in DISPLAYS)
    assert "observed (100 % below 0.1 mm/h)" in labels(histogram)
    assert not quantiles.quantiles["simulation"].sim.any()
    assert spectrum.observed.P.sum() == 0 and spectrum.ax_.get_yscale() == "linear"
    assert shown[plotting.BiasMapDisplay].axes_[0].get_title() == "simulation\nno rain"
    image = frames.axes_[0, 0].get_images()[0]
    assert tuple(image.cmap(image.norm(image.get_array()))[0, 0]) == (1, 1, 1, 1)


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
    for name, e in ens.items():  # without ties a rank is the number of members below
        expected = np.bincount((e < obs).sum(axis=0).ravel(), minlength=10) / obs.size
        np.testing.assert_allclose(ranks.shares[name], expected, rtol=1e-9)
        (stairs,) = [p for p in ranks.ax_.patches if p.get_label() == name]
        np.testing.assert_allclose(stairs.get_data().values, 10 * expected, rtol=1e-9)
    curves = plotting.ReliabilityDisplay.from_samples(obs, ens, threshold=1.0)
    assert curves.ax_.get_title() == "at least 1 mm/h"
    for name, e in ens.items():
        k = (e >= 1).sum(axis=0)
        place = np.minimum(10 * k // 9, 9)
        filled = np.unique(place)
        (line,) = [line for line in curves.ax_.get_lines() if line.get_label() == name]
        expected = [[k[place == c].mean() / 9, (obs >= 1)[place == c].mean()] for c in filled]
        np.testing.assert_allclose(line.get_xydata(), expected, rtol=1e-9)
    for display in (ranks, curves):
        labels = [t.get_text() for t in display.ax_.get_legend().get_texts()]
        assert labels == ["reliable", "overconfident"]


def test_intervals_are_drawn_where_sequences_tell_them(rain):
    obs, sims = rain
    for display in DISPLAYS:
        shown = display.from_samples(obs, sims)
        assert set(shown.intervals) >= {"first", "second"}
        low, high = shown.intervals["first"]
        assert np.nanmin(high - low) >= 0
        if display is plotting.IntensityHistogramDisplay:
            # The share of the commonest bin, from its spread over sequences as textbooks have it.
            h = shown.simulated["first"]
            common = int(np.argmax(h.density * np.diff(h.edges)))
            inside = (sims["first"] >= h.edges[common]) & (sims["first"] < h.edges[common + 1])
            share = inside.mean(axis=(1, 2, 3))
            width = 2 * student.ppf(0.975, 6) * share.std(ddof=1) / np.sqrt(7)
            found = (high - low)[common] * np.diff(h.edges)[common]
            assert found == pytest.approx(width, rel=0.35)
            assert low[common] < h.density[common] < high[common]
        assert not display.from_samples(obs, sims, confidence=None).intervals
        series = {name: s.reshape(-1, *s.shape[2:]) for name, s in sims.items()}
        long = obs.reshape(-1, *obs.shape[2:])
        assert not display.from_samples(long, series).intervals
        assert display.from_samples(long, series, block_length=6).intervals


def test_interval_of_a_spectrum_covers_that_of_its_law():
    rng = np.random.default_rng(1)
    white = rng.normal(size=(2, 40, 3, 16, 16))
    shown = plotting.PowerSpectrumDisplay.from_samples(white[0], white[1])
    low, high = shown.intervals["simulation"][:, 1:]
    from skdiffuse import metrics

    modes = metrics.spatial_psd(white[0]).P / metrics.spatial_psd(white[0], statistic="mean").P
    true = modes[1:8] / 16**2  # each mode of white noise has a variance of 1/N
    assert np.mean((low < true) & (true < high)) > 0.7 and np.all(high / low < 1.5)


@pytest.fixture
def forecasts():
    rng = np.random.default_rng(0)
    centre = rng.gamma(0.5, size=(8, 3, 16, 16))
    obs = centre * rng.lognormal(0, 0.5, centre.shape)
    obs[0, 0, :4] = np.nan
    return obs, {
        name: centre * rng.lognormal(0, width, (6, *centre.shape))
        for name, width in (("reliable", 0.5), ("overconfident", 0.1))
    }


def labels(display):
    return " ".join(t.get_text() for t in display.ax_.get_legend().get_texts())


def test_forecasts_by_lead_time_and_scale(forecasts):
    from skdiffuse import metrics

    obs, ens = forecasts
    lead = plotting.LeadTimeDisplay.from_samples(obs, ens, lead=[5, 10, 15], unit="minutes")
    expected = [metrics.crps_ensemble(obs[:, t], ens["reliable"][:, :, t]) for t in range(3)]
    np.testing.assert_allclose(lead.curves["reliable"].value, expected)
    assert np.all(lead.curves["reliable"].low < expected)
    assert lead.ax_.get_xlabel() == "lead time (minutes)" and "overconfident" in labels(lead)
    one = plotting.LeadTimeDisplay.from_samples(obs[0], {n: e[:, 0] for n, e in ens.items()})
    assert np.isnan(one.curves["reliable"].low).all()

    scales = plotting.FSSDisplay.from_samples(obs, ens, thresholds=[0.5, 2], cell_km=2.0)
    expected = metrics.fss(
        obs, ens["reliable"], thresholds=[0.5, 2], scales=[1, 3, 5, 9], member_axis=0
    )
    np.testing.assert_allclose(scales.curves["reliable"].value, expected)
    assert "2 mm/h" in labels(scales) and "km" in scales.ax_.get_xlabel()
    for shown in (lead, one, scales):
        shown.figure_.savefig(io.BytesIO())
    with pytest.raises(ValueError, match="n_members"):
        plotting.LeadTimeDisplay.from_samples(obs, ens["reliable"][:, :2])
    with pytest.raises(ValueError, match="one to 4 rates"):
        plotting.FSSDisplay.from_samples(obs, ens, thresholds=range(1, 7))
    with pytest.raises(ValueError, match="one value for each of 3 times"):
        plotting.LeadTimeDisplay.from_samples(obs, ens, lead=[1, 2])


def test_discrimination_and_spread(forecasts):
    from skdiffuse import metrics

    obs, ens = forecasts
    roc = plotting.RocDisplay.from_samples(obs, ens, threshold=1.0)
    for name, curve in roc.curves.items():
        assert curve.area == metrics.roc_curve(obs, ens[name], 1.0).area
        assert roc.areas[name][0] < curve.area < roc.areas[name][1]
        p = (ens[name] >= 1).mean(axis=0)
        hits, false = (
            np.array([0, *(np.mean(p[event] > (k - 0.5) / 6) for k in range(6, -1, -1))])
            for event in (obs >= 1, obs < 1)
        )
        trapezoids = np.diff(false) * (hits[1:] + hits[:-1]) / 2
        assert curve.area == pytest.approx(trapezoids.sum())
    spread = plotting.SpreadSkillDisplay.from_samples(obs, ens)
    known = np.isfinite(obs)
    for name, e in ens.items():
        variance = e.var(axis=0, ddof=1)[known] * 7 / 6
        squared = (e.mean(axis=0) - obs)[known] ** 2
        expected = np.sqrt(variance.mean() / squared.mean())
        assert spread.overall[name].ratio == pytest.approx(expected)
        bins = np.array_split(np.argsort(variance, kind="stable"), 12)
        expected = [[variance[b].mean() ** 0.5, squared[b].mean() ** 0.5] for b in bins]
        found = np.stack([spread.binned[name].spread, spread.binned[name].error], axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert spread.overall["overconfident"].ratio < 0.5 < spread.overall["reliable"].ratio
    assert "overall spread / error" in labels(spread)
    ranks = plotting.RankHistogramDisplay.from_samples(obs, ens)
    low, high = ranks.intervals["reliable"]
    assert np.all((low <= ranks.shares["reliable"]) & (ranks.shares["reliable"] <= high))
    curves = plotting.ReliabilityDisplay.from_samples(obs, ens, threshold=1.0, n_bins=5)
    # A ratio of sums over cases, with the textbook's error of such a ratio, in the fullest class.
    curve, p = curves.curves["reliable"], (ens["reliable"] >= 1).mean(axis=0)
    c = int(np.argmax(curve.count))
    here = known & (np.minimum((5 * p + 1e-9).astype(int), 4) == int(5 * curve.probability[c]))
    seen, count = (here & (obs >= 1)).sum(axis=(1, 2, 3)), here.sum(axis=(1, 2, 3))
    assert curve.frequency[c] == pytest.approx(seen.sum() / count.sum())
    error = np.sqrt(8 / 7 * np.sum((seen - curve.frequency[c] * count) ** 2)) / count.sum()
    low, high = curves.intervals["reliable"]
    assert high[c] - low[c] == pytest.approx(2 * student.ppf(0.975, 7) * error, rel=0.4)
    assert np.all((low >= 0) & (high <= 1)) and low[c] < curve.frequency[c] < high[c]
    dry = plotting.SpreadSkillDisplay.from_samples(0 * obs, 0 * ens["reliable"])
    for shown in (roc, spread, ranks, curves, dry):
        shown.figure_.savefig(io.BytesIO())


@pytest.mark.parametrize("method", ["gev", "pot"])
def test_return_levels_are_drawn_with_intervals(method):
    rng = np.random.default_rng(0)
    obs, sim = (
        (rng.gumbel(20, 5, 60), rng.gumbel(15, 5, 40))
        if method == "gev"
        else (rng.gamma(0.6, 4, 2000), rng.gamma(0.6, 3, 3000))
    )
    options = {} if method == "gev" else {"per_block": 50}
    shown = plotting.ReturnLevelDisplay.from_samples(
        obs, {"model": sim}, method=method, unit="years", n_resamples=10, **options
    )
    assert np.all(shown.observed.low <= shown.observed.high)
    T = shown.observed.period
    if method == "gev":
        level = genextreme.isf(1 / T, *genextreme.fit(obs))
    else:
        base = np.quantile(obs, 0.95)
        excess = obs[obs > base] - base
        rarer = 1 / (T * 50 * excess.size / obs.size)
        level = base + genpareto.isf(rarer, *genpareto.fit(excess, floc=0))
    np.testing.assert_allclose(shown.observed.level, level, rtol=1e-3)
    np.testing.assert_allclose(
        shown.ax_.get_lines()[0].get_xydata(), np.stack([T, shown.observed.level], axis=1)
    )
    period, rate = shown.seen["observed"]
    assert rate[0] == obs.max() and period[0] == pytest.approx(
        61.0 if method == "gev" else 2001 / 50
    )
    assert shown.ax_.get_xlabel() == "return period (years)" and "shape" in labels(shown)
    shown.figure_.savefig(io.BytesIO())


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


def test_animation_without_ffmpeg_says_so(rain, tmp_path, monkeypatch):
    from matplotlib.animation import writers

    monkeypatch.setattr(type(writers), "is_available", lambda self, name: False)
    with pytest.raises(RuntimeError, match="needs the program ffmpeg"):
        plotting.animate({"rain": rain[0][0]}, tmp_path / "film.mp4")
