"""The estimator's generating methods, on a short training and on an exact network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skdiffuse import PrecipDiffusion, SamplerSettings
from skdiffuse.datasets import make_precipitation
from skdiffuse.diffusion import (
    ArealMean,
    Gauges,
    JointObservation,
    KnownCells,
    ShiftedCosineSchedule,
    TemporalMean,
    alpha,
    sigma,
)
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.estimator.request import METHODS

pytestmark = pytest.mark.usefixtures("global_generators_stay_untouched")

OPTIONS = {
    "n_frames": 4,
    "max_steps": 2,
    "sampler": SamplerSettings(n_steps=3),
    "random_state": 0,
    "verbose": False,
}
CORRELATION = 0.8
MEAN, STD = 20.0, 2.0


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(24, (16, 16), random_state=0)


@pytest.fixture(scope="module")
def model(cube):
    return PrecipDiffusion(**OPTIONS, amortised=True).fit(cube)


class ExactNetwork(torch.nn.Module):
    """v of cells that are independent in space and an AR(1) process in time."""

    def forward(self, z, log_snr):
        lags = torch.arange(z.shape[1], dtype=torch.float64)
        covariance = CORRELATION ** (lags[:, None] - lags).abs()
        a, s = (c.reshape(-1, 1, 1).double() for c in (alpha(log_snr), sigma(log_snr)))
        gain = a * covariance @ torch.linalg.inv(a**2 * covariance + s**2 * torch.eye(len(lags)))
        x = torch.einsum("...ij,njyx->niyx", gain[0] if len(gain) == 1 else gain, z.double())
        a, s = a[..., None], s[..., None]
        return ((a * z - x) / s).to(z.dtype)


@pytest.fixture(scope="module")
def exact():
    random = np.random.default_rng(0)
    rain = (MEAN + STD * random.standard_normal((8, 8, 8))).astype(np.float32)
    options = {
        **OPTIONS,
        "sampler": SamplerSettings(n_steps=24),
        "transformer": None,
        "schedule": ShiftedCosineSchedule(-2.0, -12.0, 12.0),
    }
    model = PrecipDiffusion(**options).fit(rain)
    # The latent of the process itself, not of the few values that were fitted to.
    latent = LatentSpace(model.transformer_, MEAN, STD, 0.01)
    model.model_ = replace(
        model.model_, latent=latent, network=ExactNetwork(), weathers=None, prior=None
    )
    return model


def lag_correlation(series, lag=1):
    x = (np.asarray(series) - MEAN) / STD
    return (x[:, lag:] * x[:, :-lag]).mean(axis=(0, 2, 3))


class TestExactNetwork:
    @pytest.mark.parametrize("method", ["moment_matching", "reconstruction"])
    def test_forecast_has_the_predictive_law(self, exact, method):
        past = np.full((4, 12, 12), MEAN, np.float32)
        past[-1] = MEAN + 1.5 * STD
        ahead = exact.forecast(
            past, 2, n_members=12, method=method, n_iterations=8, jacobian_error=0.0
        )
        x = (ahead - MEAN) / STD
        n = x[:, 0].size
        for lead in (1, 2):
            mean, variance = CORRELATION**lead * 1.5, 1 - CORRELATION ** (2 * lead)
            found = x[:, lead - 1]
            assert abs(found.mean() - mean) < 4 * np.sqrt(variance / n) + 0.01
            assert found.var() == pytest.approx(variance, rel=0.1)

    @pytest.mark.parametrize("mode", ["autoregressive", "composed"])
    def test_long_series_have_no_seams(self, exact, mode):
        exactly = {"method": "moment_matching", "n_iterations": 8, "jacobian_error": 0.0}
        options = exactly if mode[0] == "a" else {}
        series = exact.simulate(30, shape=(16, 16), n_samples=6, mode=mode, **options)
        assert series.shape == (6, 30, 16, 16)
        found = lag_correlation(series)
        # Standard error of one of the 29 estimates, from 6 x 256 independent cells.
        assert np.abs(found - CORRELATION).max() < 5 * 0.64 / np.sqrt(6 * 256) + 0.05
        assert np.std((series - MEAN) / STD) == pytest.approx(1, rel=0.05)
        assert np.mean(series) == pytest.approx(MEAN, abs=0.1 * STD)

    def test_sequence_in_a_batch_is_as_alone(self, exact):
        known = torch.full((3, 4, 4, 4), torch.nan)
        known[:, 0] = MEAN + torch.arange(3.0).reshape(3, 1, 1)
        together = exact.condition(KnownCells(known), n_samples=2)
        apart = exact.condition(KnownCells(known), n_samples=2, batch_size=1)
        np.testing.assert_allclose(together, apart, rtol=1e-5)


def half_known(cube):
    gaps = cube[:4].copy()
    gaps[..., 8:] = np.nan
    return gaps


class TestCondition:
    @pytest.mark.parametrize("method", [m for m in METHODS if m != "restoration"])
    def test_methods_keep_known_cells(self, model, cube, method):
        filled = model.impute(half_known(cube), method=method)
        assert np.isfinite(filled).all()
        assert (filled >= 0).all()
        np.testing.assert_array_equal(filled.values[0][..., :8], cube.values[:4, :, :8])

    def test_the_network_is_told_only_when_asked(self, model, cube):
        gaps = half_known(cube)
        by_default = model.impute(gaps)
        np.testing.assert_array_equal(by_default, model.impute(gaps, method="reconstruction"))
        assert (by_default != model.impute(gaps, method="amortised")).any()

    def test_all_kinds_at_once(self, model):
        nan = torch.nan
        known = torch.full((1, 4, 16, 16), nan)
        known[:, 0] = 1.0
        seen = JointObservation(
            [
                KnownCells(known),
                ArealMean(torch.full((1, 4, 4, 4), 0.5), 4, error_variance=0.1),
                Gauges(torch.full((1, 4, 2), 2.0), [3.5, 8.0], [0.0, 15.0], error_variance=0.1),
                TemporalMean(torch.full((1, 1, 16, 16), 1.0), 4, error_variance=1.0),
            ]
        )
        for method in ("amortised", "reconstruction", "moment_matching"):
            rain = model.condition(seen, method=method, n_samples=2)
            assert rain.shape == (2, 1, 4, 16, 16)
            assert np.isfinite(rain).all()
            assert (rain[:, :, 0] == 1.0).all()

    def test_contradictions_end_in_a_compromise(self, model):
        known = torch.full((1, 4, 16, 16), 3.0)
        seen = JointObservation([KnownCells(known), ArealMean(torch.zeros(1, 4, 4, 4), 4)])
        rain = model.condition(seen, method="reconstruction")
        np.testing.assert_array_equal(rain, 3.0)
        twice = JointObservation(
            [ArealMean(torch.full((1, 4, 4, 4), v), 4, error_variance=0.1) for v in (0.0, 4.0)]
        )
        assert np.isfinite(model.condition(twice)).all()

    def test_nothing_known_is_sampling(self, model):
        nothing = np.full((4, 16, 16), np.nan, np.float32)
        nothing[0, 0, 0] = 0.0
        mask = np.zeros((4, 16, 16), bool)
        rain = model.impute(nothing, mask)
        assert np.isfinite(rain).all()

    def test_everything_known_comes_back(self, model, cube):
        np.testing.assert_array_equal(model.impute(cube[:6])[0], cube[:6])

    def test_dry_past(self, model):
        rain = model.forecast(np.zeros((3, 16, 16)), 3, n_members=2)
        assert rain.shape == (2, 3, 16, 16)
        assert np.isfinite(rain).all()

    def test_errors(self, model, cube):
        with pytest.raises(ValueError, match="method='magic' is unknown"):
            model.impute(cube[:4], method="magic")
        with pytest.raises(ValueError, match="w_r"):
            model.impute(cube[:4], w_r=-1.0)
        with pytest.raises(ValueError, match="outside the grid"):
            model.condition(Gauges(torch.ones(1, 4, 1), [40.0], [1.0]))
        with pytest.raises(ValueError, match="factor=5 does not divide"):
            model.condition(ArealMean(torch.ones(1, 4, 3, 3), 5))
        with pytest.raises(TypeError, match="use impute"):
            model.condition(cube[:4].values)

    def test_amortised_needs_its_training(self, exact):
        with pytest.raises(ValueError, match="fit with amortised=True"):
            exact.impute(np.ones((4, 4, 4)), method="amortised")


class TestDownscale:
    def test_areal_means_are_exact(self, model, cube):
        coarse = cube[:3].coarsen(y=4, x=4).mean().astype(np.float32)
        fine = model.downscale(coarse, 4, n_samples=2)
        assert fine.shape == (2, 3, 16, 16)
        again = fine.coarsen(y=4, x=4).mean()
        np.testing.assert_allclose(again[0], coarse, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fine.x, cube.x)
        assert (fine[0] != fine[1]).any()
        assert (fine.values[0].reshape(3, 4, 4, 4, 4).swapaxes(2, 3)[coarse.values == 0] == 0).all()

    def test_missing_and_long(self, model):
        coarse = np.ones((7, 3, 2), np.float32)
        coarse[2, 1] = np.nan
        fine = model.downscale(coarse, 4, n_samples=None)
        assert fine.shape == (7, 12, 8)
        assert np.isfinite(fine).all()

    @pytest.mark.parametrize("factor", [0, 1.5])
    def test_factor(self, model, factor):
        with pytest.raises((ValueError, TypeError), match="factor"):
            model.downscale(np.ones((4, 4, 4)), factor)


class TestLarge:
    def test_tiles_have_no_seams(self, exact):
        """The process is white in space, so that tiles are exact whatever the overlap."""
        whole = exact.sample(1, shape=(40, 24))
        tiled = exact.sample(1, shape=(40, 24), tile_size=16)
        np.testing.assert_allclose(tiled, whole, rtol=1e-4)

    def test_split_by_number(self, model):
        all_of_them = model.sample(5)
        for first, n in [(0, 2), (2, 3)]:
            part = model.sample(n, first=first)
            np.testing.assert_allclose(part, all_of_them[first : first + n], atol=1e-4)

    @pytest.mark.parametrize("n", [None, 2])
    def test_streamed_forecast_is_as_in_memory(self, model, cube, tmp_path, n):
        pytest.importorskip("dask")
        past = cube[:3] if n is None else np.stack([cube.values[:3]] * n)
        options = {"n_members": 5, "batch_size": 2, "random_state": 4}
        written = model.forecast(past, 2, out=tmp_path / "ahead.nc", **options)
        np.testing.assert_allclose(written, model.forecast(past, 2, **options), atol=1e-4)

    @pytest.mark.parametrize("verb", ["sample", "simulate"])
    @pytest.mark.parametrize("suffix", ["nc", "zarr"])
    def test_streamed_is_as_in_memory(self, model, tmp_path, verb, suffix):
        pytest.importorskip("dask")
        if suffix == "zarr":
            pytest.importorskip("zarr")
        make = getattr(model, verb)
        path = tmp_path / f"rain.{suffix}"
        written = make(5, batch_size=2, out=path)
        np.testing.assert_allclose(written, make(5, batch_size=2), atol=1e-5)
        assert written.attrs["units"] == "mm h-1"
        assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_processes_share_the_sequences(model, tmp_path):
    alone = np.asarray(model.sample(3))
    np.testing.assert_allclose(np.asarray(model.sample(3, n_jobs=2)), alone, atol=1e-5)
    streamed = model.sample(3, n_jobs=2, batch_size=1, out=tmp_path / "rain.nc")
    np.testing.assert_allclose(np.asarray(streamed), alone, atol=1e-5)


def test_a_score_of_the_rain_moves_its_mean_as_bayes_says(exact):
    """Exact where the score is linear: mean + slope * variance, cell by cell."""
    slope = 0.3
    frames = exact.n_frames
    lags = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    expected = MEAN + slope * STD**2 * (CORRELATION**lags)[:, 0]
    made = np.asarray(exact.sample(200, log_likelihood=lambda rain: slope * rain[:, 0].sum((1, 2))))
    error = STD / np.sqrt(200 * made.shape[-1] * made.shape[-2])
    np.testing.assert_allclose(made.mean((0, 2, 3)), expected, atol=4 * error + 0.02)
    scaled = np.asarray(
        exact.sample(
            200, log_likelihood=lambda rain: rain[:, 0].sum((1, 2)), likelihood_scale=slope
        )
    )
    np.testing.assert_allclose(scaled, made, atol=1e-4)
