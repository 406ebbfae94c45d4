"""Simulations beside observations: distribution, spectra, bias maps, return levels."""

import io

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import genextreme, genpareto
from scipy.stats import t as student

from skdiffuse import plotting

DISPLAYS = [
    plotting.IntensityHistogramDisplay,
    plotting.QuantileQuantileDisplay,
    plotting.PowerSpectrumDisplay,
]


def labels(display):
    return " ".join(t.get_text() for t in display.ax_.get_legend().get_texts())


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


TIMES = np.array([2, 1, 0, 3, 1, 1, 2])


def test_weights_are_drawn_as_repetitions(rain):
    obs, sim = rain[0], rain[1]["first"][: len(TIMES)]
    often = np.repeat(sim, TIMES, axis=0)
    carrying = xr.DataArray(sim, {"weight": ("sample", TIMES)}, ("sample", "time", "y", "x"))
    for display, values in (
        (plotting.IntensityHistogramDisplay, lambda d: d.simulated["m"].density),
        (plotting.QuantileQuantileDisplay, lambda d: d.quantiles["m"].sim),
        (plotting.PowerSpectrumDisplay, lambda d: d.simulated["m"].P),
        (plotting.BiasMapDisplay, lambda d: d.bias["m"]),
    ):
        expected = display.from_samples(obs, {"m": often})
        given = display.from_samples(obs, {"m": sim}, weights={"m": TIMES})
        carried = display.from_samples(obs, {"m": carrying})
        turned = carrying.transpose("time", "sample", "y", "x")
        by_name = display.from_samples(obs, {"m": turned})
        labelled = carrying.assign_coords(sample=TIMES + 10 * np.arange(len(TIMES)))
        by_label = display.from_samples(
            obs, {"m": labelled.drop_vars("weight")}, weights={"m": labelled.weight[::-1]}
        )
        for found in (given, carried, by_name, by_label):
            np.testing.assert_allclose(values(found), values(expected), rtol=1e-9)
            if display is not plotting.BiasMapDisplay:
                np.testing.assert_allclose(found.intervals["m"], given.intervals["m"], rtol=1e-9)
        if display is not plotting.BiasMapDisplay:
            low, high = given.intervals["m"]
            assert np.nansum(high - low) > np.nansum(np.subtract(*expected.intervals["m"][::-1]))
    with pytest.raises(ValueError, match="weights must be a dictionary for several"):
        plotting.BiasMapDisplay.from_samples(obs, {"m": sim, "n": sim}, weights=TIMES)
    with pytest.raises(ValueError, match=r"given for .'n'., but the simulations are .'m'."):
        plotting.BiasMapDisplay.from_samples(obs, {"m": sim}, weights={"n": TIMES})


def test_return_levels_put_weighted_maxima_where_repetitions_are():
    maxima = np.random.default_rng(1).gumbel(20, 5, size=(2, 40))
    times = np.arange(40) % 3
    options = {"n_resamples": 2, "periods": [2, 20]}
    found = plotting.ReturnLevelDisplay.from_samples(*maxima, weights=times, **options)
    often = plotting.ReturnLevelDisplay.from_samples(
        maxima[0], np.repeat(maxima[1], times), **options
    )
    period, rate = found.seen["simulation"]
    expected, rates = often.seen["simulation"]
    # The last of each repeated value is as rare as the one that stands for all.
    for p, r in zip(period, rate, strict=True):
        assert p == pytest.approx(expected[rates == r].min())
