import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiffuse import metrics


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 21), st.integers(1, 24), st.integers(0, 10**6))
def test_parseval_in_space(ny, nx, seed):
    X = np.random.default_rng(seed).gamma(0.3, size=(3, ny, nx))
    for window in (None, "boxcar"):
        k, P = metrics.spatial_psd(X, window=window)
        assert P.sum() == pytest.approx((X**2).mean(), rel=1e-9)
        assert len(k) == len(P)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 24), st.integers(0, 10**6))
def test_parseval_in_time(T, seed):
    X = np.random.default_rng(seed).gamma(0.3, size=(2, T, 3, 4))
    for window in (None, "boxcar"):
        assert metrics.temporal_psd(X, window=window).P.sum() == pytest.approx((X**2).mean())


def test_agrees_with_pysteps_on_square_fields(mrms):
    rapsd = pytest.importorskip("pysteps.utils.spectral").rapsd
    for X in (mrms.values[:3, :, :96].astype(float), np.random.default_rng(0).random((2, 64, 64))):
        X = np.nan_to_num(X)
        P = metrics.spatial_psd(X, statistic="mean").P
        peer = np.mean([rapsd(frame, fft_method=np.fft) for frame in X], axis=0)
        # pysteps takes |F|^2 / N for the power of a mode, ours is |F|^2 / N^2.
        n = X.shape[-1]
        np.testing.assert_allclose(P[: n // 2], peer[: n // 2] / n**2, rtol=1e-6)


def test_pysteps_is_wrong_on_fields_that_are_not_square():
    """One wave along the short side: 4 waves per long side. pysteps puts it into ring 1."""
    rapsd = pytest.importorskip("pysteps.utils.spectral").rapsd
    X = np.cos(2 * np.pi * np.arange(16) / 16)[:, None] * np.ones((16, 64))
    assert metrics.spatial_psd(X).P.argmax() == 4
    assert rapsd(X, fft_method=np.fft).argmax() == 1


def test_white_noise_is_flat_in_the_mean_and_rises_in_the_sum():
    X = np.random.default_rng(0).normal(size=(400, 32, 32))
    mean = metrics.spatial_psd(X, statistic="mean").P[1:17]
    np.testing.assert_allclose(mean, 1 / 32**2, rtol=0.1)
    total = metrics.spatial_psd(X).P[1:17]
    assert np.corrcoef(np.arange(1, 17), total)[0, 1] > 0.98


def test_spectra_of_each_frame_average_to_the_mean(mrms):
    X = np.nan_to_num(mrms.values).astype(float)
    each = metrics.spatial_psd(X.reshape(6, 6, 96, 128), average=False).P
    assert each.shape[:2] == (6, 6)
    np.testing.assert_allclose(each.mean(axis=(0, 1)), metrics.spatial_psd(X).P, rtol=1e-9)
    for n, t in ((0, 0), (3, 4)):  # mode by mode over the whole plane
        power = np.abs(np.fft.fft2(X[6 * n + t])) ** 2 / X[0].size ** 2
        f, g = np.fft.fftfreq(96)[:, None], np.fft.fftfreq(128)[None]
        ring = np.rint(128 * np.hypot(f, g)).astype(int)
        expected = np.bincount(ring.ravel(), power.ravel())
        np.testing.assert_allclose(each[n, t], expected, rtol=1e-9, atol=1e-15)


def test_single_precision_is_good_enough(mrms):
    X = np.nan_to_num(mrms.values)
    np.testing.assert_allclose(
        metrics.spatial_psd(X).P, metrics.spatial_psd(X.astype(float)).P, rtol=1e-5
    )


def test_hann_window_removes_the_leak_of_a_ramp():
    X = np.tile(np.arange(64.0), (64, 1))
    k = np.arange(4, 20)
    plain, hann = (metrics.spatial_psd(X, window=w).P for w in (None, "hann"))
    slopes = [np.polyfit(np.log(k), np.log(P[k]), 1)[0] for P in (plain, hann)]
    assert slopes[0] == pytest.approx(-2, abs=0.3)
    assert slopes[1] < -5
    assert hann[0] == pytest.approx(X.mean() ** 2, rel=0.01)


@pytest.mark.parametrize("window", [None, "hann", "blackman"])
def test_a_taper_leaves_the_power_of_white_noise(window):
    X = np.random.default_rng(0).normal(size=(400, 16, 16))
    assert metrics.spatial_psd(X, window=window).P.sum() == pytest.approx(1, abs=0.03)


def test_a_long_lazy_series_is_read_in_bands(monkeypatch):
    pytest.importorskip("dask")
    from skdiffuse.metrics import arrays

    monkeypatch.setattr(arrays, "BLOCK_CELLS", 150)
    X = xr.DataArray(np.arange(480.0).reshape(10, 8, 6), dims=("time", "y", "x"))
    bands = list(arrays.whole_series(X.chunk({"time": 5, "y": 1})))
    assert [band.shape for band in bands] == [(1, 10, 2, 6)] * 4
    np.testing.assert_array_equal(np.concatenate(bands, axis=2)[0], X)


def test_missing_frames_are_dropped_or_filled(mrms):
    whole = np.delete(mrms.values, 3, axis=0)
    np.testing.assert_allclose(metrics.spatial_psd(mrms).P, metrics.spatial_psd(whole).P)
    zero = metrics.spatial_psd(mrms, missing="zero").P
    np.testing.assert_allclose(zero, metrics.spatial_psd(np.nan_to_num(mrms.values)).P)
    assert np.isnan(metrics.spatial_psd(mrms, average=False).P[3]).all()
    with pytest.raises(ValueError, match="missing='zero'"):
        metrics.spatial_psd(np.full((2, 4, 4), np.nan))
    with pytest.raises(ValueError, match="missing='zero'"):
        metrics.temporal_psd(np.full((2, 4, 4), np.nan))


def test_temporal_spectrum_of_windows_and_lazy_arrays(mrms, monkeypatch):
    from skdiffuse.metrics import arrays

    monkeypatch.setattr(arrays, "BLOCK_CELLS", 5 * mrms[0].size)
    X = np.nan_to_num(mrms.values)
    windows = metrics.temporal_psd(X, n_frames=12).P
    sequences = X.reshape(3, 12, 96, 128)
    np.testing.assert_allclose(windows, metrics.temporal_psd(sequences).P, rtol=1e-10)
    lazy = mrms.fillna(0).chunk(time=5)
    np.testing.assert_allclose(windows, metrics.temporal_psd(lazy, n_frames=12).P, rtol=1e-10)
    np.testing.assert_allclose(metrics.spatial_psd(X).P, metrics.spatial_psd(lazy).P, rtol=1e-6)


@pytest.mark.parametrize("above", [-0.01, 1.01])
def test_shares_of_the_nyquist_wave_number(above):
    X = np.random.default_rng(0).gamma(0.5, size=(2, 2, 8, 8))
    with pytest.raises(ValueError, match="above must lie between 0 and 1"):
        metrics.power_deficit(X, X, above=above)


def test_distances_scale_as_they_should():
    X = np.random.default_rng(0).gamma(0.5, size=(4, 6, 16, 16))
    for kind in ("spatial", "temporal"):
        assert metrics.log_spectral_distance(X, X, kind=kind) == 0
        assert metrics.log_spectral_distance(X, 2 * X, kind=kind) == pytest.approx(20 * np.log10(2))
        assert metrics.power_deficit(X, 0.5 * X, kind=kind) == pytest.approx(0.75)
    # Lengths may differ: windows of the shorter are compared.
    assert metrics.log_spectral_distance(X, X[:, :3], kind="temporal") < 3
    with pytest.raises(ValueError, match="no power"):
        metrics.power_deficit(0 * X, X)
    with pytest.raises(ValueError, match="fields of one size"):
        metrics.power_deficit(X, X[..., :8])
    with pytest.raises(ValueError, match="kind"):
        metrics.power_deficit(X, X, kind="both")
