"""The generator against its own law, which is computed and not estimated."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiffuse.cubes import validate_cube
from skdiffuse.datasets import PrecipitationLaw, make_precipitation
from skdiffuse.datasets.synthetic import diurnal_factor, seasonal_factor

LAW = {"wet_fraction": 0.25, "correlation_length": 4.0, "lifetime": 4.0, "advection": (0.4, 1.3)}
N_REPLICATES, N_FRAMES = 200, 12

laws = st.builds(
    PrecipitationLaw,
    wet_fraction=st.floats(0.01, 1.0),
    wet_mean=st.floats(0.05, 20),
    kappa=st.floats(0.3, 3),
    tail_index=st.sampled_from([0.0, 0.05, 0.2, 0.4]),
)


@pytest.fixture(scope="module", params=[True, False], ids=["periodic", "cut out"])
def replicates(request):
    """Independent cubes of one law, so that the error of a mean over them is known."""
    law = PrecipitationLaw(shape=(16, 20), periodic=request.param, **LAW)
    rng = np.random.default_rng(20)
    rain = [
        make_precipitation(N_FRAMES, (16, 20), periodic=request.param, random_state=rng, **LAW)
        for _ in range(N_REPLICATES)
    ]
    return law, np.array([cube.values for cube in rain], dtype=np.float64)


def within_three_standard_errors(estimates, truth):
    """``estimates``: (replicates, ...), each of them unbiased for ``truth``."""
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    np.testing.assert_array_less(np.abs(estimates.mean(axis=0) - truth), 3 * error)


def test_marginal(replicates):
    law, rain = replicates
    levels = np.array([0.5, 0.8, 0.9, 0.99, 0.999])
    below = np.stack([(rain <= r).mean((1, 2, 3)) for r in law.quantile(levels)], axis=1)
    within_three_standard_errors(below, np.maximum(levels, 1 - law.wet_fraction))
    within_three_standard_errors(rain.mean((1, 2, 3)), law.mean)
    within_three_standard_errors(((rain - law.mean) ** 2).mean((1, 2, 3)), law.variance)


def test_power_spectrum(replicates):
    law, rain = replicates
    periodogram = (np.abs(np.fft.fft2(rain)) ** 2).mean(1) / (16 * 20) ** 2
    truth = law.power_spectrum()
    assert truth.sum() == pytest.approx(law.variance + law.mean**2)
    # Ring sums in waves per cell, so that each is a mean of many waves.
    frequency = np.hypot(np.fft.fftfreq(16)[:, None], np.fft.fftfreq(20)[None, :])
    ring = np.digitize(frequency, [0.01, 0.08, 0.15, 0.25, 0.35, 0.5])
    for r in range(7):
        inside = ring == r
        within_three_standard_errors(periodogram[:, inside].sum(1), truth[inside].sum())


def test_autocorrelation(replicates):
    law, rain = replicates
    lags = np.array([0, 1, 2, 4, 8])
    anomaly = rain - law.mean
    products = [(anomaly[:, : N_FRAMES - k] * anomaly[:, k:]).mean((1, 2, 3)) for k in lags]
    within_three_standard_errors(
        np.stack(products, axis=1), law.autocorrelation(lags) * law.variance
    )
    # In the direction of the advection rain is more alike than in place.
    moved = (anomaly[:, :-1, :, :-1] * anomaly[:, 1:, :, 1:]).mean((1, 2, 3))
    covariance = law.covariance_of(law.latent_correlation(1))
    within_three_standard_errors(moved, covariance[0, 1])
    assert covariance[0, 1] > covariance[0, 0] > covariance[0, -1]


def test_correlation_backwards_is_forwards_mirrored():
    law = PrecipitationLaw(shape=(8, 9), **LAW)
    ahead, back = law.latent_correlation(2), law.latent_correlation(-2)
    for i, j in [(0, 0), (1, 2), (3, -2), (-1, 1)]:
        assert back[-i, -j] == pytest.approx(ahead[i, j], abs=1e-12)


def test_covariance_against_numerical_integration():
    """The Hermite series against a double integral over a bivariate normal law."""
    law = PrecipitationLaw(wet_fraction=0.3, tail_index=0.1)
    for rho in (0.2, 0.6, 0.9):
        conditional = np.sqrt(1 - rho**2)
        start = float(-scipy.stats.norm.ppf(0.3))
        x, wx = np.polynomial.legendre.leggauss(400)
        g = start + (x + 1) / 2 * 12
        wg = wx * 6 * scipy.stats.norm.pdf(g)
        rain = law.from_latent(g)
        density = scipy.stats.norm.pdf((g[None, :] - rho * g[:, None]) / conditional) / conditional
        inner = (density * rain * (wx * 6)).sum(1)
        product = np.sum(wg * rain * inner)
        assert law.covariance_of(np.array(rho)) == pytest.approx(product - law.mean**2, rel=1e-3)


@settings(deadline=None)
@given(laws)
def test_moments_and_inverse_of_the_marginal(law):
    q = np.linspace(0, 0.9999, 50)
    rate = law.quantile(q)
    assert np.all(np.diff(rate) >= 0)
    np.testing.assert_allclose(law.cdf(rate), np.maximum(q, 1 - law.wet_fraction), atol=1e-9)
    assert law.cdf(-1) == 0
    mean = scipy.integrate.quad(
        lambda z: float(law.quantile(1 - np.exp(-z))) * np.exp(-z),
        -np.log(law.wet_fraction), 35, limit=500,
    )[0]  # fmt: skip
    assert mean == pytest.approx(law.mean, rel=2e-3)


def test_stationary_from_the_first_frame():
    rain = np.array(
        [
            make_precipitation(2, (6, 6), correlation_length=2.0, random_state=seed).values
            for seed in range(600)
        ]
    )
    for frame in (0, 1):
        within_three_standard_errors((rain[:, frame] > 0).mean((1, 2)), 0.2)


def test_orography_and_cycles_have_the_stated_marginals():
    orography = np.linspace(0.5, 3, 16).reshape(4, 4)
    options = {
        "correlation_length": 1.0, "lifetime": 1.0, "diurnal": 0.6, "seasonal": 0.4,
        "time_step": "3h", "calendar": "360_day", "orography": orography,
    }  # fmt: skip
    cube = make_precipitation(2880 * 8, (4, 4), random_state=0, **options)
    rain = cube.values.astype(np.float64)
    daily = diurnal_factor(cube.time.values, 0.6)
    yearly = seasonal_factor(cube.time.values, 0.4)
    years = (rain > 0).reshape(8, 360, 8, 16).mean((1, 3))
    within_three_standard_errors(years, 0.2 * daily[:8])
    mean = rain.reshape(8, 2880, 4, 4).mean(1)
    within_three_standard_errors(mean, 0.2 * np.mean(daily * yearly) * orography)
    quantile = PrecipitationLaw(wet_fraction=0.2 * daily[5]).quantile(0.95)
    exceeds = rain[5::8] > quantile * yearly[5::8, None, None] * orography
    within_three_standard_errors(exceeds.reshape(8, -1).mean(1), 0.05)


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_gaps(calendar):
    cube = make_precipitation(50, (4, 4), n_gaps=5, calendar=calendar, random_state=1)
    checked = validate_cube(cube)
    assert cube.shape == (50, 4, 4)
    assert checked.breaks.sum() == 5
    assert checked.time_step == 3600


def test_missing_sector():
    cube = make_precipitation(2, (40, 40), missing_sector=0.25, random_state=0)
    seen = np.isfinite(cube.values)
    assert np.all(seen[0] == seen[1])
    assert seen[0].mean() == pytest.approx(0.75 * np.pi / 4, abs=0.02)
    whole = make_precipitation(2, (40, 40), random_state=0)
    np.testing.assert_array_equal(cube.values[seen], whole.values[seen])


def test_reproducible_and_the_global_generator_is_left_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (make_precipitation(3, (8, 8), random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    shared = np.random.RandomState(0)
    a, b = (make_precipitation(3, (8, 8), random_state=shared) for _ in range(2))
    assert (a != b).any()
    make_precipitation(1, (8, 8))
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3), (17, 23)])
@pytest.mark.parametrize("periodic", [True, False])
def test_odd_shapes(shape, periodic):
    cube = make_precipitation(3, shape, periodic=periodic, random_state=0)
    assert cube.shape == (3, *shape)
    validate_cube(cube, n_frames=3)


def test_longer_runs_begin_like_shorter_ones():
    long, short = (make_precipitation(n, (8, 8), random_state=3) for n in (9, 4))
    np.testing.assert_array_equal(long[:4], short)


@pytest.mark.parametrize(
    "bad",
    [
        {"n_frames": 0}, {"shape": (0, 3)}, {"shape": (3,)}, {"wet_fraction": 0.0},
        {"wet_fraction": 1.1}, {"wet_mean": -1}, {"tail_index": 0.5}, {"kappa": 0},
        {"correlation_length": 0}, {"lifetime": 0}, {"diurnal": 1.0}, {"seasonal": -0.1},
        {"wet_fraction": 0.7, "diurnal": 0.5}, {"n_gaps": 240}, {"n_gaps": -1},
        {"missing_sector": 1.0}, {"orography": np.ones((2, 2))},
        {"orography": np.zeros((64, 64))},
    ],
)  # fmt: skip
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        make_precipitation(**bad)


def test_lists_in_place_of_tuples_make_the_same_law():
    lists = PrecipitationLaw(shape=[16, 24], advection=[0.5, 2.0])
    assert lists == PrecipitationLaw(shape=(16, 24), advection=(0.5, 2.0))
    rain = make_precipitation(2, [16, 24], advection=[0.5, 2.0], random_state=0)
    assert np.array_equal(rain, make_precipitation(2, (16, 24), random_state=0))
