import numpy as np
import pytest

from skdiffuse import metrics


def storms(rng, n, shape=(3, 6, 6)):
    """Sequences whose cells are strongly dependent: one intensity a sequence."""
    return rng.gamma(0.7, size=(n, 1, 1, 1)) * rng.gamma(0.3, size=(n, *shape))


def test_interval_of_a_mean_is_the_textbook_one():
    rng = np.random.default_rng(0)
    X = rng.normal(5, 1, size=(60, 3)) + rng.normal(size=(60, 1))

    def mean(obs, sim):
        return obs.mean()

    result = metrics.bootstrap(mean, X, X, n_resamples=2000, random_state=0)
    means = X.mean(axis=1)
    error = means.std(ddof=1) / np.sqrt(60)
    assert result.value == pytest.approx(X.mean())
    assert result.standard_error == pytest.approx(error, rel=0.06)
    assert result.high - result.low == pytest.approx(2 * 2.0 * error, rel=0.08)
    assert result.n == 60


def test_blocks_widen_the_interval_of_a_persistent_series():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=2000)
    X = np.empty(2000)
    X[0] = 0
    for i in range(1, 2000):
        X[i] = 0.9 * X[i - 1] + noise[i]
    X = X[:, None]
    single, blocks = (
        metrics.bootstrap(
            lambda a, b: a.mean(), X, X, block_length=length, n_resamples=400, random_state=0
        )
        for length in (1, 100)
    )
    true = 1 / 0.1 / np.sqrt(2000)  # standard error of the mean of this process
    assert blocks.standard_error == pytest.approx(true, rel=0.3)
    assert single.standard_error < 0.4 * true
    assert blocks.n == 20


def test_equal_distributions_are_covered():
    """A small version of benchmarks/score_coverage.py, for scores with a sign."""
    rng = np.random.default_rng(5)
    covered = 0
    for r in range(100):
        result = metrics.bootstrap(
            metrics.mean_bias, storms(rng, 40), storms(rng, 40), n_resamples=80, random_state=r
        )
        covered += result.low <= 0 <= result.high
    assert 0.88 <= covered / 100 <= 0.99


def test_permutations_are_uniform_without_a_difference():
    rng = np.random.default_rng(6)
    p = np.array(
        [
            metrics.permutation_test(
                metrics.wasserstein_distance,
                storms(rng, 15, (2, 3, 3)),
                storms(rng, 15, (2, 3, 3)),
                n_resamples=60,
                random_state=r,
            ).p_value
            for r in range(150)
        ]
    )
    assert 0.01 <= np.mean(p <= 0.05) <= 0.10
    assert 0.4 <= p.mean() <= 0.62


def test_halved_variance_is_caught():
    """Halved deviations from the mean: who should notice does, who should not does not."""
    rng = np.random.default_rng(7)
    X = rng.gamma(0.5, size=(120, 4, 12, 12))
    obs, sim = X[:60], X[60:].mean() + (X[60:] - X[60:].mean()) * np.sqrt(0.5)
    signed = {
        "power": metrics.bootstrap(metrics.power_deficit, obs, sim, random_state=0),
        "mean": metrics.bootstrap(metrics.mean_bias, obs, sim, random_state=0),
    }
    assert signed["power"].low > 0 and signed["power"].value == pytest.approx(0.5, abs=0.05)
    assert signed["mean"].low < 0 < signed["mean"].high
    for metric in (
        metrics.jensen_shannon_divergence,
        metrics.wasserstein_distance,
        metrics.quantile_error,
        metrics.log_spectral_distance,
    ):
        test = metrics.permutation_test(metric, obs, sim, n_resamples=60, random_state=0)
        assert test.p_value < 0.05 and test.value > test.high
    ratios = metrics.quantile_ratios(obs, sim).ratio
    assert ratios[-1] < 0.8
    members = sim.reshape(10, 6, 4, 12, 12)
    spread = metrics.spread_skill(obs[:6], members)
    truth = metrics.spread_skill(obs[:6], X[60:].reshape(10, 6, 4, 12, 12))
    assert spread.ratio < 0.85 < 0.95 < truth.ratio


def test_differences_of_two_models():
    rng = np.random.default_rng(8)
    obs = storms(rng, 50)
    ens = np.stack([obs * rng.lognormal(0, 0.5, obs.shape) for _ in range(5)], axis=1)

    def crps(a, b):
        return metrics.crps_ensemble(a, b, axis=1)

    options = {"paired": True, "random_state": 0, "n_resamples": 100}
    worse = metrics.bootstrap_difference(crps, obs, ens * 1.5, ens, **options)
    assert worse.low > 0
    same = metrics.bootstrap_difference(crps, obs, ens, ens, **options)
    assert same.value == same.low == same.high == 0
    # Pairing takes the weather out: without it the difference of a near copy is far less sure.
    near = ens * 1.02
    sure = metrics.bootstrap_difference(crps, obs, near, ens, **options)
    apart = metrics.bootstrap(
        lambda a, b, c: crps(a, b) - crps(obs[:25], c), obs[:25], near[:25], ens[25:],
        paired=True, random_state=0, n_resamples=100,
    )  # fmt: skip
    assert sure.standard_error < 0.2 * apart.standard_error


def test_array_scores_and_reproducibility():
    rng = np.random.default_rng(9)
    a, b = storms(rng, 30), storms(rng, 20)

    def tail(obs, sim):
        return metrics.quantile_ratios(obs, sim, [0.9, 0.99]).ratio

    first, second = (
        metrics.bootstrap(tail, a, b, n_resamples=50, random_state=1) for _ in range(2)
    )
    assert first.low.shape == (2,) and np.all(first.low <= first.high)
    expected = [np.quantile(b, q) / np.quantile(a, q) for q in (0.9, 0.99)]
    np.testing.assert_allclose(first.value, expected)
    np.testing.assert_array_equal(first.low, second.low)
    assert first.n == 20


def test_too_few_blocks():
    X = np.ones((1, 3, 4, 4))
    with pytest.raises(ValueError, match="too few blocks"):
        metrics.bootstrap(metrics.mean_bias, X, X)
    with pytest.raises(ValueError, match="too few blocks"):
        metrics.permutation_test(metrics.mean_bias, X, X)
    with pytest.raises(ValueError, match="block_length"):
        metrics.bootstrap(metrics.mean_bias, X[0], X[0], block_length=4)
    with pytest.raises(ValueError, match="one number of blocks"):
        metrics.bootstrap(metrics.mean_bias, np.ones((3, 2, 2)), np.ones((4, 2, 2)), paired=True)


def test_a_score_decided_by_few_blocks_gets_a_wider_interval():
    """Two heavy blocks of 40: the interval rests on two degrees of freedom, not on 39."""
    from skdiffuse.metrics.uncertainty import _degrees_of_freedom

    even, heavy = np.ones((40, 1)) + 0.1 * np.random.default_rng(0).normal(size=(40, 1)), None
    heavy = even.copy()
    heavy[:2] += 50
    numbers = [np.arange(40)]
    df = [
        float(_degrees_of_freedom(lambda c, X=X: X[c[0]].mean(), numbers, True, np.array(0.0)))
        for X in (even, heavy)
    ]
    assert df[0] > 30 and df[1] < 6


@pytest.mark.parametrize("tail", [0, 30])
def test_degrees_of_freedom_are_those_of_the_sample_variance(tail):
    """``2 sigma^4 / Var(s^2)``, with ``Var(s^2) = sigma^4 (2 / (n - 1) + excess / n)``."""
    from scipy.stats import kurtosis

    from skdiffuse.metrics.uncertainty import _degrees_of_freedom

    X = np.random.default_rng(0).normal(size=50) + np.eye(50)[0] * tail
    found = _degrees_of_freedom(lambda c: X[c[0]].mean(), [np.arange(50)], True, np.array(0.0))
    expected = 2 / (2 / 49 + kurtosis(X) / 50)
    assert float(found) == pytest.approx(min(expected, 49), rel=1e-6)
    assert tail == 0 or expected < 5


def test_rounding_does_not_tell_equal_scores_apart():
    """Most shuffles give nothing but rounding, of scores that are of the size of 1."""
    scores = iter([0.0, *[-1e-16] * 17, *[1.0] * 3])
    X = np.random.default_rng(0).gamma(1.0, size=(2, 12, 4))
    result = metrics.permutation_test(
        lambda obs, sim: next(scores), *X, n_resamples=20, random_state=0
    )
    assert result.p_value == 1


@pytest.mark.parametrize(("undefined", "refused"), [(10, False), (11, True)])
def test_undefined_shuffles_are_too_many_if_they_are_the_most(undefined, refused):
    calls = []

    def metric(obs, sim):
        calls.append(0)
        if 1 < len(calls) <= 1 + undefined:
            raise ValueError("nothing there")
        return float(obs.mean() - sim.mean())

    X = np.random.default_rng(0).gamma(1.0, size=(2, 12, 4))
    if refused:
        with pytest.raises(ValueError, match="undefined in most shuffles"):
            metrics.permutation_test(metric, *X, n_resamples=20, random_state=0)
    else:
        assert np.isfinite(metrics.permutation_test(metric, *X, n_resamples=20, random_state=0)[0])


def test_dry_resamples_are_left_out_and_dry_samples_refused():
    rng = np.random.default_rng(3)
    obs = np.zeros((6, 2, 4, 4))
    obs[:2] = rng.gamma(1.0, size=(2, 2, 4, 4))  # a tenth of the resamples has no rain at all
    sim = rng.gamma(1.0, size=(6, 2, 4, 4))
    result = metrics.bootstrap(metrics.wet_fraction_bias, obs, sim, n_resamples=50, random_state=0)
    assert np.isfinite([result.low, result.high]).all() and result.low <= result.value
    expected = (sim >= 0.1).mean() / (obs >= 0.1).mean() - 1
    assert result.value == pytest.approx(expected) and result.n == 6
    # Resamples with k of the wet sequences among six: k = 0 has no score, others near 6/k - 1.
    assert result.high > 5 * 0.8 and result.low < 1
    test = metrics.permutation_test(
        metrics.wet_fraction_bias, obs, 0 * sim, n_resamples=20, random_state=0
    )
    # Shuffles put 0, 1 or 2 of the two wet sequences into obs: undefined, -1..1, or -1.
    assert test.value == -1 and -1 <= test.low <= test.expected <= test.high <= 1.3
    calls = []

    def defined_once(a, b):
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("not enough rain")
        return 1.0

    with pytest.raises(ValueError, match="undefined in 100 % of the resamples"):
        metrics.bootstrap(defined_once, obs, sim, n_resamples=20, random_state=0)
