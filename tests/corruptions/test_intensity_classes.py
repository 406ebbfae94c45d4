"""Classes of intensity, and the law of rates within them."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto, kstest

from skdiffuse.corruptions.intensity_classes import (
    CLASS_NAMES,
    INTENSITY_EDGES,
    RatesInClasses,
    class_names,
    intensity_classes,
)

RAIN = np.random.default_rng(0).gamma(0.3, 8.0, 50_000) * (np.arange(50_000) % 3 > 0)
LAW = RatesInClasses.fit(RAIN)


def test_edges_begin_their_class_in_both_precisions():
    for kind in np.float32, np.float64:
        edges = np.array(INTENSITY_EDGES, dtype=kind)
        assert intensity_classes(edges).tolist() == [1, 2, 3, 4, 5]
        below = np.nextafter(edges.astype(np.float32), np.float32(0))
        assert intensity_classes(below).tolist() == [0, 1, 2, 3, 4]


def test_arrays_keep_their_kind_and_what_is_missing():
    rain = xr.DataArray([[0.0, np.nan, 5.0]], dims=("y", "x"), attrs={"units": "mm/h"})
    classes = intensity_classes(rain, (0.1, 1.0))
    assert isinstance(classes, xr.DataArray) and classes.dims == rain.dims
    np.testing.assert_array_equal(classes, [[0, np.nan, 2]])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.just(0.0), st.just(float("nan")), st.floats(0, 60, width=32)), min_size=1)
)
def test_there_and_back(values):
    rain = np.array(values)
    classes, levels = intensity_classes(rain), LAW.levels(rain)
    back = LAW.rates(classes, levels)
    wet = classes > 0
    np.testing.assert_allclose(back[wet], rain[wet], rtol=2e-4)
    assert (back[classes == 0] == 0).all()
    assert (np.isnan(back) == np.isnan(rain)).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_bounds_are_exact(kind):
    levels = np.tile(np.array([-1.0, 0.0, 1e-12, 0.5, 1 - 1e-12, 1.0, 2.0]), (6, 1))
    classes = np.repeat(np.arange(6.0)[:, None], levels.shape[1], axis=1)
    rates = LAW.rates(classes, levels).astype(kind)
    np.testing.assert_array_equal(intensity_classes(rates), classes)
    assert np.isfinite(rates).all()


def test_levels_are_even_within_each_class():
    classes, levels = intensity_classes(RAIN), LAW.levels(RAIN)
    for k in range(1, 6):
        assert kstest(levels[classes == k], "uniform").statistic < 0.03, k


def test_density_is_that_of_a_class():
    for k, (low, high) in enumerate(zip(LAW.edges, [*LAW.edges[1:], 1e4], strict=True), start=1):
        rates = np.geomspace(low, high, 400_001)[:-1]
        total = np.trapezoid(np.exp(LAW.log_density(rates)), rates)
        assert total == pytest.approx(1, abs=3e-3), k
    assert LAW.log_density(np.array([0.0, np.nan])).tolist() == [0, 0]


def test_density_is_the_slope_of_the_levels():
    rates = np.array([0.03, 0.5, 2.1, 9.0, 20.0, 90.0])
    slope = (LAW.levels(rates + 1e-6) - LAW.levels(rates - 1e-6)) / 2e-6
    np.testing.assert_allclose(np.exp(LAW.log_density(rates)), slope, rtol=1e-3)


def test_tail_is_that_of_the_data():
    drawn = genpareto.rvs(0.2, scale=5.0, size=200_000, random_state=0)
    law = RatesInClasses.fit(16.0 + drawn)
    assert law.shape == pytest.approx(0.2, abs=0.02)
    assert law.scale == pytest.approx(5.0, rel=0.02)


def test_classes_without_rain_have_a_law_too():
    law = RatesInClasses.fit(np.zeros(10))
    rates = law.rates(np.arange(6.0), np.full(6, 0.5))
    np.testing.assert_array_equal(intensity_classes(rates), np.arange(6))


def test_names():
    assert class_names() == CLASS_NAMES and len(CLASS_NAMES) == len(INTENSITY_EDGES) + 1
    assert class_names()[0] == "dry" and class_names()[-1] == "extreme"
    assert class_names((0.1, 1)) == ("below 0.1", "0.1 to 1", "from 1")


@pytest.mark.parametrize("edges", [(), (0.0, 1.0), (1.0, 1.0), (np.nan,), "dry"])
def test_wrong_edges_are_named(edges):
    with pytest.raises(ValueError, match=r"edges=.* must be rates in mm/h"):
        intensity_classes(np.zeros(2), edges)
