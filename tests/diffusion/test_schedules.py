import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from skdiffuse.diffusion import (
    SPACINGS,
    DiscreteBetaSchedule,
    EDMSigmaSchedule,
    EDMTrainingSchedule,
    LinearBetaSchedule,
    LinearLogSNRSchedule,
    ShiftedCosineSchedule,
    TruncatedCosineSchedule,
    VarianceExplodingSchedule,
    sampling_grid,
    v_weighting,
)

SCHEDULES = [
    TruncatedCosineSchedule(),
    TruncatedCosineSchedule(-30.0, 30.0),
    TruncatedCosineSchedule(-13.0, 9.0),
    ShiftedCosineSchedule(-3.0),
    ShiftedCosineSchedule.for_resolution(256),
    ShiftedCosineSchedule.for_data_variance(0.02),
    LinearLogSNRSchedule(),
    LinearBetaSchedule(),
    DiscreteBetaSchedule(),
    VarianceExplodingSchedule(),
    EDMSigmaSchedule(),
    EDMTrainingSchedule(),
]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


@pytest.mark.parametrize("limit", [20, 30])
def test_cosine_matches_reference(vectors, limit):
    reference = vectors[f"schedule_{limit}"]
    rows = torch.tensor(reference["rows"], dtype=torch.float64)
    t, log_snr, alpha, sigma, density, w_v, g2 = rows.T
    schedule = TruncatedCosineSchedule(-limit, limit)
    found = schedule.log_snr(t)
    tight = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(found, log_snr, **tight)
    torch.testing.assert_close(schedule.alpha(t), alpha, **tight)
    torch.testing.assert_close(schedule.sigma(t), sigma, rtol=1e-12, atol=0)
    torch.testing.assert_close(schedule.density(log_snr), density, rtol=1e-12, atol=0)
    # the reference weight belongs to the loss without 1/2
    torch.testing.assert_close(2 * v_weighting(schedule)(log_snr), w_v, rtol=1e-12, atol=0)
    torch.testing.assert_close(schedule.g2(t), g2, rtol=1e-12, atol=0)
    torch.testing.assert_close(schedule.drift(t), -g2 / 2, rtol=1e-12, atol=0)


def test_float32_times_keep_float64_log_snr(vectors):
    """The schedule is evaluated in float64: float32 input costs no more than its own rounding."""
    rows = torch.tensor(vectors["schedule_30"]["rows"], dtype=torch.float64)
    exact_in_float32 = [i for i, row in enumerate(rows) if float(row[0].float()) == float(row[0])]
    t = rows[exact_in_float32, 0].float()
    found = TruncatedCosineSchedule(-30, 30).log_snr(t)
    torch.testing.assert_close(found, rows[exact_in_float32, 1], rtol=1e-12, atol=1e-12)


def test_ddpm_alpha_bar(vectors):
    reference = vectors["ddpm_linear_1000"]
    alpha_bar = torch.sigmoid(DiscreteBetaSchedule().log_snrs)
    for step, value in reference["abar (Ho notation, the square of Su's alphabar)"].items():
        assert float(alpha_bar[int(step) - 1]) == pytest.approx(value, rel=1e-12)
    su = DiscreteBetaSchedule(0.02 * torch.arange(1, 1001, dtype=torch.float64) / 1000)
    expected = reference["su_1_17 sqrt(1-0.02t/T): alphabar_1000 (not squared)"]
    assert float(su.alpha(1.0)) == pytest.approx(expected, rel=1e-12)


def test_linear_beta_is_the_limit_of_ddpm():
    n = 100_000
    steps = torch.arange(1, n + 1, dtype=torch.float64) / n
    chain = DiscreteBetaSchedule((0.1 + 19.9 * steps) / n)
    limit = LinearBetaSchedule(0.1, 20.0)
    assert chain.log_snr_min == pytest.approx(limit.log_snr_min, abs=1e-2)
    b_half = 0.1 * 0.5 + 19.9 * 0.125
    halfway = float(chain.log_snrs[n // 2 - 1])
    assert halfway == pytest.approx(-math.log(math.expm1(b_half)), abs=1e-3)


@every_schedule
@given(data=st.data())
def test_strictly_decreasing(schedule, data):
    first = data.draw(st.floats(0, 1))
    second = data.draw(st.floats(0, 1).filter(lambda t: abs(t - first) > 1e-9))
    low, high = sorted((first, second))
    assert schedule.log_snr(low) > schedule.log_snr(high)


@every_schedule
@given(t=st.floats(0, 1))
def test_time_inverts_log_snr(schedule, t):
    assert float(schedule.time(schedule.log_snr(t))) == pytest.approx(t, abs=1e-10)


@every_schedule
@given(u=st.floats(0, 1))
def test_log_snr_inverts_time(schedule, u):
    log_snr = schedule.log_snr_min + u * (schedule.log_snr_max - schedule.log_snr_min)
    found = float(schedule.log_snr(schedule.time(log_snr)))
    # a time is known to one part in 2^53, which is worth this much in log-SNR
    resolution = 4 * np.finfo(float).eps / float(schedule.density(log_snr))
    assert found == pytest.approx(log_snr, abs=1e-10 + resolution)


@every_schedule
def test_ends(schedule):
    assert float(schedule.log_snr(0.0)) == pytest.approx(schedule.log_snr_max, abs=1e-9)
    assert float(schedule.log_snr(1.0)) == pytest.approx(schedule.log_snr_min, abs=1e-9)


@every_schedule
def test_density_is_minus_dt_by_dlog_snr(schedule):
    if isinstance(schedule, DiscreteBetaSchedule):
        widths = -schedule.log_snrs.diff()
        middles = (schedule.log_snrs[1:] + schedule.log_snrs[:-1]) / 2
        assert float((schedule.density(middles) * widths).sum()) == pytest.approx(1, abs=1e-12)
        return
    t = torch.linspace(0.01, 0.99, 23, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(schedule.log_snr(t).sum(), t)
    torch.testing.assert_close(schedule.density(schedule.log_snr(t)), -1 / slope, rtol=1e-8, atol=0)
    integral, _ = quad(
        lambda log_snr: float(schedule.density(log_snr)),
        schedule.log_snr_min,
        schedule.log_snr_max,
        limit=200,
    )
    assert integral == pytest.approx(1, abs=1e-7)


@every_schedule
def test_sde_keeps_the_marginal_variance(schedule):
    """d sigma^2/dt = 2 f sigma^2 + g^2 and d alpha/dt = f alpha."""
    t = torch.linspace(0.03, 0.97, 11, dtype=torch.float64) + 1e-4
    h = 1e-6
    sigma2 = lambda at: schedule.sigma(at) ** 2  # noqa: E731
    growth = (sigma2(t + h) - sigma2(t - h)) / (2 * h)
    expected = 2 * schedule.drift(t) * sigma2(t) + schedule.g2(t)
    torch.testing.assert_close(growth, expected, rtol=1e-5, atol=1e-7)
    fading = (schedule.alpha(t + h) - schedule.alpha(t - h)) / (2 * h)
    torch.testing.assert_close(fading, schedule.drift(t) * schedule.alpha(t), rtol=1e-5, atol=1e-7)


@every_schedule
def test_draw_is_stratified_and_reproducible(schedule):
    draws = [schedule.draw(64, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    strata = torch.floor(64 * schedule.time(draws[0]) + 1e-6).clamp(max=63)
    assert sorted(strata.tolist()) == list(range(64))
    assert draws[0].dtype == torch.float64


def test_draw_follows_the_density():
    schedule = TruncatedCosineSchedule()
    draws = schedule.draw(100_000, torch.Generator().manual_seed(0)).sort().values
    expected = 1 - schedule.time(draws)
    found = torch.arange(1, 100_001, dtype=torch.float64) / 100_000
    assert float((found - expected).abs().max()) < 2e-5


def test_edm_training_is_normal():
    schedule = EDMTrainingSchedule(log_snr_min=-40.0, log_snr_max=45.0)
    draws = schedule.draw(20_000, torch.Generator().manual_seed(0))
    log_sigma = -draws / 2
    assert float(log_sigma.mean()) == pytest.approx(-1.2, abs=2e-3)
    assert float(log_sigma.std()) == pytest.approx(1.2, abs=2e-3)


@pytest.mark.parametrize("spacing", SPACINGS)
@given(n_steps=st.integers(1, 300))
def test_grids_increase_between_the_ends(spacing, n_steps):
    schedule = TruncatedCosineSchedule(-20.0, 20.0)
    grid = sampling_grid(schedule, n_steps, spacing)
    assert grid.shape == (n_steps + 1,) and grid.dtype == torch.float64
    assert grid[0] == -20 and grid[-1] == 20 and (grid.diff() > 0).all()


def test_edm_grid_is_that_of_the_paper():
    schedule = EDMSigmaSchedule()
    grid = sampling_grid(schedule, 17, "edm")
    i = np.arange(18)
    sigmas = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(torch.exp(-grid / 2), sigmas, rtol=1e-10)
    torch.testing.assert_close(sampling_grid(schedule, 17, "time"), grid, rtol=1e-10, atol=1e-10)


def test_angle_grid_is_the_cosine_schedule():
    schedule = TruncatedCosineSchedule()
    angle = sampling_grid(schedule, 50, "angle")
    torch.testing.assert_close(angle, sampling_grid(schedule, 50, "time"), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: TruncatedCosineSchedule(5.0, -5.0), "log_snr_min must be below"),
        (lambda: TruncatedCosineSchedule().log_snr(1.5), r"t must lie in \[0, 1\]"),
        (lambda: TruncatedCosineSchedule().log_snr(math.nan), r"t must lie in \[0, 1\]"),
        (lambda: sampling_grid(TruncatedCosineSchedule(), 0), "n_steps must be at least 1"),
        (lambda: sampling_grid(TruncatedCosineSchedule(), 0, "time"), "n_steps must be at least 1"),
        (lambda: sampling_grid(TruncatedCosineSchedule(), 5, "cosine"), "spacing must be"),
        (lambda: LinearBetaSchedule(3.0, 1.0), "beta_min <= beta_max"),
        (lambda: DiscreteBetaSchedule(torch.tensor([0.1, 1.0])), "betas must be"),
        (lambda: EDMSigmaSchedule(2.0, 1.0), "sigma_min < sigma_max"),
        (lambda: VarianceExplodingSchedule(2.0, 1.0), "sigma_min < sigma_max"),
    ],
)
def test_errors_say_what_is_wrong(call, match):
    with pytest.raises(ValueError, match=match):
        call()
