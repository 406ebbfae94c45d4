"""The normal score and its tail, against laws that are known."""

import numpy as np
import pytest
from scipy import stats

from skdiffuse.preprocessing import PHYSICAL_LIMIT, NormalScoreTransform


def test_wet_part_is_gaussian_and_dry_part_an_atom():
    rng = np.random.default_rng(0)
    x = rng.gamma(0.7, 3.0, size=(40, 50, 50)) + 0.02
    x[rng.random(x.shape) < 0.6] = 0.0
    transform = NormalScoreTransform().fit(x)
    score = transform.transform(x) + transform.dry_score_
    dry = x == 0.0
    np.testing.assert_allclose(score[dry], stats.norm.ppf(dry.mean()))
    # Given wet, the score is a Gaussian cut off at the dry score.
    uniform = (stats.norm.cdf(score[~dry]) - dry.mean()) / (1.0 - dry.mean())
    assert stats.kstest(uniform, "uniform").statistic < 0.005


@pytest.mark.parametrize("shape", [0.05, 0.2])
def test_tail_parameters_are_recovered(shape):
    x = stats.genpareto.rvs(shape, scale=3.0, size=(1, 500, 600), random_state=2)
    transform = NormalScoreTransform(tail_fraction=0.05).fit(x)
    # A Pareto tail beyond u is Pareto with scale sigma + xi u.
    assert transform.tail_shape_ == pytest.approx(shape, abs=0.03)
    expected = 3.0 + shape * transform.tail_start_
    assert transform.tail_scale_ == pytest.approx(expected, rel=0.05)


def test_values_beyond_the_maximum_map_by_the_tail_and_come_back():
    x = stats.genpareto.rvs(0.15, scale=2.0, size=(1, 200, 200), random_state=3)
    transform = NormalScoreTransform().fit(x)
    beyond = np.array([[[1.5 * x.max(), 3.0 * x.max(), 1000.0]]])
    score = transform.transform(beyond) + transform.dry_score_
    survival = 0.01 * stats.genpareto.sf(
        beyond - transform.tail_start_, transform.tail_shape_, scale=transform.tail_scale_
    )
    # Linear between nodes that are 2 to 3 % apart.
    np.testing.assert_allclose(score, stats.norm.isf(survival), rtol=1e-3)
    np.testing.assert_allclose(transform.inverse_transform(score - transform.dry_score_), beyond)
    assert transform.rate_nodes_[-1] == pytest.approx(PHYSICAL_LIMIT)


def test_a_bounded_tail_becomes_exponential():
    x = np.random.default_rng(4).random((1, 200, 200)) * 5.0
    transform = NormalScoreTransform().fit(x)
    assert transform.tail_shape_ == 0.0
    assert transform.inverse_transform(np.full((1, 1, 1), 12.0))[0, 0, 0] > 5.0


def test_quantised_rates_share_one_score():
    x = np.round(np.random.default_rng(5).gamma(0.5, 1.0, size=(1, 100, 100)), 1)
    transform = NormalScoreTransform().fit(x)
    z = transform.transform(x) + transform.dry_score_
    value = 0.3
    middle = (x < value).mean() + 0.5 * (x == value).mean()
    assert z[x == value][0] == pytest.approx(stats.norm.ppf(middle), abs=1e-9)


def test_no_rain_warns():
    with pytest.warns(UserWarning, match="no value above threshold"):
        NormalScoreTransform().fit(np.zeros((2, 3, 3)))


@pytest.mark.parametrize(
    "parameters", [{"threshold": 0.0}, {"tail_fraction": 1.0}, {"n_quantiles": 1}]
)
def test_refuses(parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"{name}: got"):
        NormalScoreTransform(**parameters).fit(np.ones((2, 2, 2)))


def test_a_flat_curve_is_raised_from_its_first_step_on():
    """Its relative slope, ``x h'(x) / h(x)``, is nowhere below the floor."""
    from skdiffuse.preprocessing._table import floor_elasticity

    rate = np.array([0.0, 0.5, 1.0, 2.0, 3.5, 5.0])
    raised = floor_elasticity(rate, np.array([0.0, 1.0, 1.0, 1.0, 4.0, 4.0]), 0.07)
    slopes = np.diff(raised) / np.diff(rate)
    # At the left end of each interval, where it is least unless the curve is steep anyhow.
    assert (slopes[1:] * rate[1:-1] / raised[1:-1] > 0.07 - 1e-12).all()
    assert raised[:2].tolist() == [0.0, 1.0] and raised[4] - raised[3] == 3.0
