import numpy as np
import pytest
from scipy.stats import genextreme, genpareto

from skdiffuse import metrics


def test_return_levels_of_known_laws():
    maxima = genextreme.rvs(-0.1, 20, 5, size=600, random_state=0)
    found = metrics.return_levels(maxima, [10, 100], n_resamples=25, random_state=0)
    true = genextreme.isf([0.1, 0.01], -0.1, 20, 5)
    np.testing.assert_allclose(found.level, true, rtol=0.1)
    assert np.all((found.low < true) & (true < found.high))
    assert found.shape == pytest.approx(0.1, abs=0.1) and found.n == 600

    values = genpareto.rvs(0.15, 0, 2, size=20_000, random_state=1)
    tail = metrics.return_levels(
        values, [10, 100], method="pot", per_block=100, n_resamples=25, random_state=0
    )
    true = genpareto.isf([1e-3, 1e-4], 0.15, 0, 2)
    np.testing.assert_allclose(tail.level, true, rtol=0.15)
    assert np.all((tail.low < true) & (true < tail.high))
    assert tail.n == 1000


@pytest.mark.parametrize(
    ("law", "shape"), [("gev", -0.2), ("gev", 0.2), ("pot", 0.3), ("pot", -0.2)]
)
def test_fits_are_those_of_scipy(law, shape):
    """Whose likelihood is its own; where one end of the law is fixed too."""
    periods = np.array([10.0, 100.0])
    if law == "gev":
        maxima = genextreme.rvs(-shape, 20, 5, size=120, random_state=0)
        expected = genextreme.isf(1 / periods, *genextreme.fit(maxima))
        found = metrics.return_levels(maxima, periods, n_resamples=2, random_state=0)
    else:
        values = genpareto.rvs(shape, 0, 5, size=800, random_state=0)
        base = np.quantile(values, 0.9)
        excesses = values[values > base] - base
        parameters = genpareto.fit(excesses, floc=0)
        exceeding = len(values) / (periods * 50 * len(excesses))
        expected = base + genpareto.isf(exceeding, *parameters)
        found = metrics.return_levels(
            values,
            periods,
            method="pot",
            per_block=50,
            threshold_level=0.9,
            n_resamples=2,
            random_state=0,
        )
    np.testing.assert_allclose(found.level, expected, rtol=1e-6)


def test_errors_of_return_levels():
    with pytest.raises(ValueError, match="too few"):
        metrics.return_levels(np.arange(10.0), [5])
    with pytest.raises(ValueError, match="greater than one block"):
        metrics.return_levels(np.arange(100.0), [1])
    with pytest.raises(ValueError, match="per_block"):
        metrics.return_levels(np.arange(100.0), [5], method="pot")


def test_tail_dependence_of_independence_and_identity():
    rng = np.random.default_rng(0)
    noise = rng.gamma(0.5, size=(200, 16, 16))
    assert metrics.tail_dependence(noise, 2, level=0.95) == pytest.approx(0.05, abs=0.005)
    same = rng.gamma(0.5, size=(2000, 1, 1)) * np.ones((4, 4))
    assert metrics.tail_dependence(same, 2, level=0.95) == 1
    with pytest.raises(ValueError, match="distance"):
        metrics.tail_dependence(noise, 16)


def test_areal_reduction_falls_with_the_area(mrms):
    point, small, large = (
        metrics.areal_reduction_factor(mrms, size, level=0.99) for size in (1, 4, 32)
    )
    assert point == 1 and large < 0.9 * small < 1
    X = mrms.values.astype(float)
    for size, found in ((4, small), (32, large)):
        means = [
            X[:, i : i + size, j : j + size].mean(axis=(1, 2))
            for i in range(0, 96, size) for j in range(0, 128, size)
        ]  # fmt: skip
        expected = np.nanquantile(means, 0.99) / np.nanquantile(X, 0.99)
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(9, 7), (4, 9, 7), (2, 3, 9, 7)])
def test_areal_reduction_of_fields_and_of_sequences(shape):
    """Squares of 3 x 3, of which 3 x 2 fit, one after another."""
    X = np.random.default_rng(0).gamma(0.5, size=shape)
    fields = X.reshape(-1, 9, 7)
    means = [f[i : i + 3, j : j + 3].mean() for f in fields for i in (0, 3, 6) for j in (0, 3)]
    expected = max(means) / fields[:, :, :6].max()
    assert metrics.areal_reduction_factor(X, 3, level=1.0) == pytest.approx(expected)


def test_tail_dependence_is_a_count_of_pairs():
    X = np.random.default_rng(1).gamma(0.5, size=(20, 7, 9))
    X[:, 1:] += 0.7 * X[:, :-1]
    X[3, 2, 2:5] = np.nan
    u = np.nanquantile(X, 0.9)
    both = given = 0
    for t, y, x in np.ndindex(X.shape):
        for i, j in ((y + 2, x), (y - 2, x), (y, x + 2), (y, x - 2)):
            if 0 <= i < 7 and 0 <= j < 9 and not np.isnan([X[t, y, x], X[t, i, j]]).any():
                given += X[t, y, x] > u
                both += X[t, y, x] > u and X[t, i, j] > u
    assert metrics.tail_dependence(X, 2, level=0.9) == pytest.approx(both / given)


def test_copies_of_training_data_are_found():
    rng = np.random.default_rng(0)
    train, new = rng.gamma(0.5, size=(300, 3, 6, 6)), rng.gamma(0.5, size=(40, 3, 6, 6))
    copies = train[rng.permutation(300)[:40]] * 1.001
    copied = metrics.nearest_training_distance(copies, train)
    held_out = metrics.nearest_training_distance(new, train)
    assert copied.distance.max() < 0.1 * held_out.distance.min()
    a, b = np.log1p(new[5]), np.log1p(train)
    each = np.sqrt(((b - a) ** 2).mean(axis=(1, 2, 3)))
    assert held_out.index[5] == each.argmin()
    assert held_out.distance[5] == pytest.approx(each.min())
    parts = metrics.nearest_training_distance(new, train, chunk=7)
    np.testing.assert_array_equal(parts.index, held_out.index)
    with pytest.raises(ValueError, match="one shape"):
        metrics.nearest_training_distance(new[:, :2], train)
