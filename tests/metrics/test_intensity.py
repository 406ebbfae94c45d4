import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance as scipy_wasserstein

from skdiffuse import metrics

rain = arrays(
    np.float64,
    st.integers(1, 60),
    elements=st.one_of(st.just(0.0), st.floats(0, 300, allow_subnormal=False)),
)


def test_histogram_agrees_with_numpy(mrms):
    edges = metrics.intensity_edges(0.1, 1000, per_decade=5)
    h = metrics.intensity_histogram(mrms, edges)
    values = mrms.values[~np.isnan(mrms.values)].astype(float)
    expected, _ = np.histogram(values, edges)
    np.testing.assert_allclose(h.density * np.diff(edges) * h.n, expected, atol=1e-6)
    assert h.dry_mass == pytest.approx(np.mean(values < 0.1), abs=1e-12)
    assert h.n == values.size


@given(rain)
def test_histogram_is_a_distribution(x):
    h = metrics.intensity_histogram(x, [0.1, 1, 10])
    assert h.mass.sum() == pytest.approx(1, abs=1e-12)
    assert np.all(h.mass >= 0)


def test_rain_beyond_the_last_edge_is_kept():
    h = metrics.intensity_histogram([500.0, 0.5], [0.1, 1, 10])
    np.testing.assert_allclose(h.mass, [0, 0.5, 0.5])


@given(rain, rain)
def test_distances_agree_with_scipy_and_are_symmetric(a, b):
    assert metrics.wasserstein_distance(a, b) == pytest.approx(scipy_wasserstein(a, b), abs=1e-9)
    p, q = (metrics.intensity_histogram(x).mass for x in (a, b))
    js = metrics.jensen_shannon_divergence(a, b)
    assert js == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-7)
    assert js == pytest.approx(metrics.jensen_shannon_divergence(b, a), abs=1e-12)
    assert 0 <= js <= 1 + 1e-12
    assert metrics.perkins_skill_score(a, b) == pytest.approx(
        1 - np.abs(p - q).sum() / 2, abs=1e-12
    )


@given(rain, st.floats(0.1, 10))
def test_wasserstein_scales_and_shifts(a, factor):
    shifted = metrics.wasserstein_distance(a, a + factor)
    assert shifted == pytest.approx(factor, rel=1e-9)
    scaled = metrics.wasserstein_distance(factor * a, factor * (a + 1))
    assert scaled == pytest.approx(factor, rel=1e-9)


def test_wet_fraction_counts_the_threshold_in_any_precision():
    for dtype in (np.float32, np.float64):
        assert metrics.wet_fraction(np.array([0.0, 0.1, 0.2], dtype=dtype)) == pytest.approx(2 / 3)


def test_all_dry_and_empty():
    h = metrics.intensity_histogram(np.zeros((2, 3, 4, 4)))
    assert h.dry_mass == 1 and not h.density.any()
    with pytest.raises(ValueError, match="no valid value"):
        metrics.intensity_histogram(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="strictly increasing"):
        metrics.intensity_histogram([1.0], bins=[1, 1])
    with pytest.raises(TypeError, match="real numbers"):
        metrics.intensity_histogram(["wet"])


@pytest.mark.parametrize("spelling", ["mm/hr", "[mm/hr]", "mm h⁻¹", "mm hour-1", "kg m-2 h-1"])
def test_units_may_be_spelt_in_any_way(spelling):
    xr = pytest.importorskip("xarray")
    obs = xr.DataArray(np.arange(24.0).reshape(2, 3, 4), attrs={"units": "mm/h"})
    assert metrics.jensen_shannon_divergence(obs, obs.assign_attrs(units=spelling)) == 0.0
    with pytest.raises(ValueError, match="differ in units"):
        metrics.jensen_shannon_divergence(obs, obs.assign_attrs(units="mm/day"))


def test_units_must_agree(mrms):
    other = mrms.assign_attrs(units="kg m-2 s-1")
    with pytest.raises(ValueError, match="kg m-2 s-1"):
        metrics.perkins_skill_score(mrms, other)


def test_lazy_masked_torch_and_read_only_inputs_agree(mrms, monkeypatch):
    import torch

    from skdiffuse.metrics import arrays

    monkeypatch.setattr(arrays, "BLOCK_CELLS", 5 * mrms[0].size)
    expected = metrics.intensity_histogram(mrms.values)
    frozen = mrms.values.copy()
    frozen.flags.writeable = False
    masked = np.ma.masked_invalid(mrms.values)
    for X in (mrms, mrms.chunk(time=7), torch.from_numpy(mrms.values), frozen, masked):
        found = metrics.intensity_histogram(X)
        assert found.dry_mass == expected.dry_mass
        np.testing.assert_array_equal(found.density, expected.density)
