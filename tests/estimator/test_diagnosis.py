"""The diagnosis of networks of which it is known how good they are."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.fft import dct
from sklearn.exceptions import NotFittedError

from skdiffuse import (
    NetworkSettings,
    PrecipDiffusion,
    SamplerSettings,
    denoising_report,
    make_precipitation,
)
from skdiffuse.diffusion import alpha, sigma
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.networks import MixturePrior

pytestmark = pytest.mark.usefixtures("global_generators_stay_untouched")

CORRELATION = 0.8
MEAN, STD = 20.0, 2.0
FRAMES, SIDE = 4, 8
LAGS = np.arange(FRAMES)
COVARIANCE = CORRELATION ** np.abs(LAGS[:, None] - LAGS)
COSINES = dct(np.eye(FRAMES), axis=0, norm="ortho")
COSINE_VARIANCES = np.diag(COSINES @ COVARIANCE @ COSINES.T)
PAGE = Path(__file__).parents[2] / "docs" / "training.md"
QUICK = {"log_snrs": [-4, 0], "paired_log_snrs": [-4], "n_windows": 6}


class ExactNetwork(torch.nn.Module):
    """v of cells that are independent in space and an AR(1) process in time, times a factor."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, z, log_snr):
        a, s = float(alpha(log_snr)), float(sigma(log_snr))
        noisy = a**2 * COVARIANCE + s**2 * np.eye(FRAMES)
        gain = torch.from_numpy(a * COVARIANCE @ np.linalg.inv(noisy))
        x = torch.einsum("ij,njyx->niyx", gain, z.double())
        return (self.factor * (a * z - x) / s).to(z.dtype)


class Skip(torch.nn.Module):
    """What the network starts from, and nothing else."""

    def __init__(self, prior):
        super().__init__()
        self.prior = prior

    def forward(self, z, log_snr):
        return self.prior.denoise(z, log_snr).v


@pytest.fixture(scope="module")
def rain():
    """Sequences of the process itself."""
    random = np.random.default_rng(1)
    noise = random.standard_normal((96, FRAMES, SIDE, SIDE))
    series = np.einsum("ij,njyx->niyx", np.linalg.cholesky(COVARIANCE), noise)
    return (MEAN + STD * series).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(rain):
    options = {"transformer": None, "random_state": 0, "verbose": False, "max_steps": 1}
    model = PrecipDiffusion(n_frames=FRAMES, sampler=SamplerSettings(n_steps=32), **options)
    model.fit(rain)
    # The latent of the process itself, not of the few values that were fitted to.
    latent = LatentSpace(model.transformer_, MEAN, STD, 0.01)
    model.model_ = replace(model.model_, latent=latent, weathers=None)
    return model


@pytest.fixture(scope="module")
def exact(fitted):
    power = torch.tensor(COSINE_VARIANCES).reshape(1, -1, 1, 1).repeat(1, 1, SIDE, SIDE)
    prior = MixturePrior(torch.ones(1), torch.zeros(1), power)
    return replace(fitted.model_, network=ExactNetwork(), prior=prior)


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(40, (16, 16), random_state=0)


@pytest.fixture(scope="module")
def model(cube):
    options = {"max_steps": 2, "random_state": 0, "verbose": False, "batch_size": 4}
    return PrecipDiffusion(n_frames=4, sampler=SamplerSettings(n_steps=4), **options).fit(cube)


def posterior_variance(variance, log_snr):
    a2, s2 = (float(f(log_snr)) ** 2 for f in (alpha, sigma))
    return variance * s2 / (a2 * variance + s2)


def assert_near(estimate, expected, floor=1e-3):
    """Within four standard errors, where the statistic is defined."""
    deviation = np.abs(estimate.value - expected)
    assert (deviation < 4 * estimate.standard_error + floor).all()


@pytest.fixture(scope="module")
def report(exact, rain):
    return denoising_report(exact, rain, n_windows=96)


class TestExactNetwork:
    def test_error_is_the_posterior_variance(self, report):
        for k, level in enumerate(report.log_snrs):
            expected = np.mean(posterior_variance(np.linalg.eigvalsh(COVARIANCE), level))
            found, error = report.error.value[k, 0], report.error.standard_error[k, 0]
            assert abs(found - expected) < 4 * error
            assert error < 0.03 * expected

    def test_bands_add_up(self, report):
        np.testing.assert_allclose(report.error.value[:, 1:].sum(1), report.error.value[:, 0])

    def test_response_and_calibration_are_1(self, report):
        assert_near(report.response, 1.0)
        assert_near(report.calibration, 1.0)
        # And that says something: all bands together are known well, but for the most noise.
        known = report.log_snrs >= -8
        assert (report.response.standard_error[known, 0] < 0.05).all()
        assert (report.calibration.standard_error[known, 0] < 0.2).all()

    def test_paired_start_gives_back_the_law(self, report):
        power = ("power mean", "power 1", "power 2-4")
        quantiles = ("quantile 0.99", "quantile 0.999", "quantile 0.9999")
        others = ("mean rain", "wet share", "latent variance")
        assert report.statistics == (*others, *power, *quantiles)
        assert_near(report.paired, 1.0, floor=0.01)
        variance = report.statistics.index("latent variance")
        assert (report.paired.standard_error[:, variance] < 0.05).all()

    def test_skip_has_the_error_of_the_filter(self, report):
        """Of a filter that knows the variances of cosines, but not that they are correlated."""
        for k, level in enumerate(report.log_snrs):
            expected = np.mean(posterior_variance(COSINE_VARIANCES, level))
            found, error = (part[k, 0] for part in report.skip_error)
            assert abs(found - expected) < 4 * error
        assert report.skip_beaten_everywhere
        assert "its skip" not in report.verdict


def test_weak_network_is_found_out(exact, report, rain):
    """v scaled by .9 is an error in x_hat of .1 sigma v beside that of the exact one."""
    weak = denoising_report(replace(exact, network=ExactNetwork(0.9)), rain, n_windows=96)
    a2, s2 = (np.array([float(f(k)) ** 2 for k in weak.log_snrs]) for f in (alpha, sigma))
    variances = np.linalg.eigvalsh(COVARIANCE)[:, None]
    v2 = np.mean(s2 * a2 * (1 - variances) ** 2 / (a2 * variances + s2), axis=0)
    expected = 0.01 * s2 * v2
    found = weak.error.value[:, 0] - report.error.value[:, 0]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert expected.max() > 8e-4
    assert weak.calibration.is_off[weak.log_snrs == 0, 0].all()
    variance = weak.statistics.index("latent variance")
    assert weak.paired.is_off[:, variance].all()
    assert not report.paired.is_off[:, variance].any()


def test_network_that_is_its_skip(model, cube):
    parts = replace(model.model_, network=Skip(model.model_.prior), weathers=None)
    report = denoising_report(parts, cube, paired_log_snrs=None)
    assert (report.error_ratio.value == 1).all()
    assert (report.error_ratio.standard_error == 0).all()
    assert report.skip_beaten_everywhere
    assert report.verdict == f"Nothing weak can be told from {report.n_windows} windows."


def test_network_worse_than_its_skip_is_told(model, cube):
    class Noisy(Skip):
        def forward(self, z, log_snr):
            return super().forward(z, log_snr) + (log_snr < -5) * z.roll(1, -1)

    parts = replace(model.model_, network=Noisy(model.model_.prior), weathers=None)
    report = denoising_report(parts, cube, log_snrs=[-8, -6, -4], paired_log_snrs=None)
    assert not report.skip_beaten_everywhere
    assert report.verdict == "Weak: at log-SNR -8 to -6 the network is worse than its skip."
    assert str(report).endswith(report.verdict)


@pytest.mark.parametrize("skip", ["wiener", None])
def test_other_skips(cube, skip):
    model = PrecipDiffusion(
        n_frames=4, network=NetworkSettings(skip=skip), max_steps=1, verbose=False,
        random_state=0, sampler=SamplerSettings(n_steps=4),
    ).fit(cube)  # fmt: skip
    report = denoising_report(model, cube, **QUICK)
    if skip is None:
        assert report.skip_error is None and report.skip_beaten_everywhere
        assert "Error per cell" in str(report)
    else:
        # After one step the network is the filter but for little.
        np.testing.assert_allclose(report.error_ratio.value, 1, atol=0.1)
    assert len(report.plot().axes_) == 2


def test_batches_change_nothing(model, cube):
    one, all_of_them = (denoising_report(model, cube, batch_size=n, **QUICK) for n in (1, 6))
    for name in ("error", "response", "calibration", "excess", "paired"):
        for a, b in zip(getattr(one, name), getattr(all_of_them, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_noise_follows_from_random_state(model, cube):
    first, again = (denoising_report(model, cube, **QUICK) for _ in range(2))
    np.testing.assert_array_equal(first.error.value, again.error.value)
    other = denoising_report(model, cube, random_state=1, **QUICK)
    assert (first.error.value != other.error.value).all()


def test_numpy_and_estimator_are_as_dataarray_and_parts(model, cube):
    of_cube = denoising_report(model, cube, **QUICK)
    of_values = denoising_report(model, cube.values, **QUICK)
    np.testing.assert_array_equal(of_cube.paired.value, of_values.paired.value)
    of_parts = denoising_report(model.model_, cube, **QUICK)
    np.testing.assert_allclose(of_parts.error.value, of_cube.error.value, rtol=1e-5)


def test_missing_cells_are_left_out(exact, rain):
    holes = rain.copy()
    holes[:, :, :, 5:] = np.nan
    holes[1] = np.nan

    class Hidden(ExactNetwork):
        def forward(self, z, log_snr):
            # Whatever is said of missing cells does not count.
            v = super().forward(z, log_snr)
            v[..., 5:] = 1e3
            return v

    options = {"log_snrs": [-2, 2], "paired_log_snrs": [-2], "n_windows": 96}
    report = denoising_report(replace(exact, network=Hidden()), holes, **options)
    assert report.n_windows == 95
    assert_near(report.response, 1.0, floor=0.01)
    assert_near(report.paired, 1.0, floor=0.01)
    whole = denoising_report(exact, rain, **options)
    np.testing.assert_allclose(report.error.value[:, 0], whole.error.value[:, 0], rtol=0.03)


def test_one_frame_of_a_narrow_field(cube):
    options = {"max_steps": 1, "random_state": 0, "verbose": False}
    model = PrecipDiffusion(n_frames=1, sampler=SamplerSettings(n_steps=3), **options)
    narrow = cube[:, :, :2]
    report = denoising_report(model.fit(narrow), narrow, **QUICK)
    assert report.bands == ("all", "mean", "1", "2-3", "4-8")
    assert np.isfinite(report.error.value).all()


def test_bands_are_of_sines(model):
    """A sine of five waves across is in the band of 4 to 8, of three in that of 2 to 3."""
    places = (np.arange(16) + 0.5) / 16
    for waves, band in [(5, "4-8"), (3, "2-3"), (1, "1")]:
        wave = 5 + np.cos(2 * np.pi * waves * places)
        field = np.broadcast_to(wave, (8, 16, 16)).astype(np.float32)
        zero = torch.nn.Module()
        zero.forward = lambda z, log_snr: (alpha(log_snr) / sigma(log_snr)).to(z.dtype) * z
        latent = LatentSpace(model.transformer_, 0.0, 1.0, 0.01)
        parts = replace(model.model_, network=zero, weathers=None, latent=latent)
        report = denoising_report(parts, field**2, log_snrs=[0], paired_log_snrs=None)
        # x_hat is 0, so that the error is the power.
        power = dict(zip(report.bands, report.error.value[0], strict=True))
        assert power[band] == pytest.approx(0.5, rel=1e-3)
        assert power["mean"] == pytest.approx(25.0, rel=1e-3)


def test_dataframe_and_picture(model, cube):
    report = denoising_report(model, cube, **QUICK)
    table = report.to_dataframe().set_index(["quantity", "log_snr", "of"])
    row = table.loc[("response", 0.0, "2-3")]
    assert row["value"] == report.response.value[1, report.bands.index("2-3")]
    assert ("paired", -4.0, "mean rain") in table.index
    axes = Figure().subplots(1, 2)
    shown = report.plot(axes)
    assert shown.axes_[1] is axes[1] and shown.figure_ is axes[0].figure
    curves = {c.get_label(): c[0] for c in axes[0].containers}
    np.testing.assert_array_equal(curves["all"].get_ydata(), report.error_ratio.value[:, 0])
    curves = {c.get_label(): c[0] for c in axes[1].containers}
    np.testing.assert_array_equal(curves["mean rain"].get_ydata(), report.paired.value[:, 0])
    with pytest.raises(ValueError, match="pair of axes"):
        report.plot(axes[:1])


@pytest.mark.skipif(not PAGE.exists(), reason="needs the documentation")
def test_the_page_does_what_it_says(model, cube, capsys):
    section = PAGE.read_text().split("## Is it learning?")[1]
    found = {"model": model, "rain": cube}
    exec(re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0], found)
    assert capsys.readouterr().out.endswith(found["report"].verdict + "\n")


def test_errors(model, cube):
    with pytest.raises(NotFittedError):
        denoising_report(PrecipDiffusion(), cube)
    with pytest.raises(TypeError, match="model must be a fitted PrecipDiffusion"):
        denoising_report("model", cube)
    with pytest.raises(ValueError, match=r"X has 1 window\(s\) of 4 x 16 x 16 cells"):
        denoising_report(model, cube[:7])
    with pytest.raises(ValueError, match="n_frames=4 are needed"):
        denoising_report(model, cube[:3])
    with pytest.raises(ValueError, match=r"log_snrs=\[-30\] must be"):
        denoising_report(model, cube, log_snrs=[-30])
    with pytest.raises(ValueError, match=r"paired_log_snrs=\[\] must be"):
        denoising_report(model, cube, paired_log_snrs=[])
    with pytest.raises(ValueError, match="n_windows == 1"):
        denoising_report(model, cube, n_windows=1)
    with pytest.raises(ValueError, match="n_draws == 0"):
        denoising_report(model, cube, n_draws=0)
