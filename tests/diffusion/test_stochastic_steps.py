import math

import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    AnalyticVariance,
    AncestralStep,
    DDIMStep,
    DPMSolverStep,
    EDMStep,
    ExactReverseCovariance,
    GaussianDenoiser,
    RandomStreams,
    TruncatedCosineSchedule,
    alpha,
    integrate,
    run_sampler,
    sampling_grid,
    sigma,
)

SCHEDULE = TruncatedCosineSchedule(-20.0, 20.0)


def time_grid(n_steps):
    return sampling_grid(SCHEDULE, n_steps, "time")


def analytic(gaussian, grid):
    average = [gaussian.denoiser.posterior_covariance(g).trace() / 6 for g in grid]
    return AnalyticVariance(grid, torch.stack(average))


def steps_of_reference(gaussian, grid):
    return {
        "ancestral posterior": AncestralStep("lower"),
        "ancestral beta": AncestralStep("upper"),
        "ancestral analytic": AncestralStep(analytic(gaussian, grid)),
        "ddim": DDIMStep(),
    }


@pytest.mark.parametrize("n_steps", [8, 256])
def test_covariance_of_reference(vectors, gaussian, output_law, n_steps):
    """To the digits printed, for the latent at the end of the grid."""
    grid = time_grid(n_steps)
    for name, step in steps_of_reference(gaussian, grid).items():
        _, covariance = output_law(gaussian.denoiser, step, grid)
        expected = vectors["gaussian_D6"][f"{name} T={n_steps}: diag cov"]
        np.testing.assert_allclose(torch.diag(covariance), expected, rtol=1e-11)


PRINTED = {  # equations.md, section 2
    16: ("0.229", "0.119", "0.143", "1.7e-09", "0.182"),
    256: ("0.0171", "0.0080", "0.0099", "1.7e-09", "0.0125"),
    1024: ("0.0043", "0.0020", "0.0025", "1.7e-09", "0.0031"),
}


def errors_of_table(gaussian, chain_covariance_error, n_steps):
    grid = time_grid(n_steps)
    exact = AncestralStep(ExactReverseCovariance(gaussian.denoiser))
    lower, upper, scalar, ddim = steps_of_reference(gaussian, grid).values()
    return [chain_covariance_error(step, grid) for step in (lower, upper, scalar, exact, ddim)]


def test_table_of_covariance_errors(gaussian, chain_covariance_error):
    errors = {n: errors_of_table(gaussian, chain_covariance_error, n) for n in PRINTED}
    for n_steps, printed in PRINTED.items():
        for error, expected in zip(errors[n_steps], printed, strict=True):
            decimals = len(expected.partition(".")[2])
            found = f"{error:.1e}" if "e" in expected else f"{error:.{decimals}f}"
            assert found == expected
    for column in (0, 1, 2, 4):
        order = math.log2(errors[256][column] / errors[1024][column]) / 2
        assert order == pytest.approx(1, abs=0.03)


def test_posterior_coefficients_of_reference(vectors):
    """Probing a step with z = 1 or x_hat = 1 or noise = 1 gives its coefficients."""
    rows = vectors["posterior_20"]["rows"]
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)

    class Ones:
        def __len__(self):
            return 1

        def normal(self, shape, dtype):
            return one

    class Zeros(Ones):
        def normal(self, shape, dtype):
            return zero

    def probe(step, z, x_hat, streams, s, t):
        grid = torch.stack([SCHEDULE.log_snr(t), SCHEDULE.log_snr(s)])
        out = integrate(lambda z, log_snr: x_hat, z, grid, step, streams=streams)
        return float(out)

    for s, t, transition_alpha, transition_sigma, c_z, c_x, std, ddim_z, ddim_x in rows:
        lower, upper = AncestralStep("lower"), AncestralStep("upper")
        at = (s, t)
        exactly = {"rel": 1e-12, "abs": 0}
        ratio = SCHEDULE.alpha(t) / SCHEDULE.alpha(s)
        assert float(ratio) == pytest.approx(transition_alpha, rel=2e-12)
        assert probe(upper, zero, zero, Ones(), *at) == pytest.approx(transition_sigma, **exactly)
        assert probe(lower, one, zero, Zeros(), *at) == pytest.approx(c_z, rel=1e-11)
        assert probe(lower, zero, one, Zeros(), *at) == pytest.approx(c_x, **exactly)
        assert probe(lower, zero, zero, Ones(), *at) == pytest.approx(std, **exactly)
        assert probe(DDIMStep(), one, zero, None, *at) == pytest.approx(ddim_z, rel=1e-11)
        assert probe(DDIMStep(), zero, one, None, *at) == pytest.approx(ddim_x, rel=1e-11)


def test_posterior_is_consistent_with_the_forward_process():
    """q(z_s | z_t, x) integrated over q(z_t | x) is q(z_s | x)."""
    x = 1.7
    for log_snr_t, log_snr_s in ((-30.0, 30.0), (-5.0, -4.9), (0.0, 7.0), (-20.0, -12.0)):
        grid = torch.tensor([log_snr_t, log_snr_s], dtype=torch.float64)
        z = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        streams = RandomStreams([0, 0])
        out = integrate(
            lambda z, log_snr: torch.full_like(z, x), z, grid, AncestralStep(), streams=streams
        )
        noise = RandomStreams([0]).normal((1,), dtype=torch.float64)
        of_z = float(out[1] - out[0])
        _, _, std = coefficients(log_snr_t, log_snr_s)
        constant = float(out[0]) - std * float(noise)
        mean = constant + of_z * float(alpha(log_snr_t)) * x
        variance = (of_z * float(sigma(log_snr_t))) ** 2 + std**2
        assert mean == pytest.approx(float(alpha(log_snr_s)) * x, rel=1e-11)
        assert variance == pytest.approx(float(sigma(log_snr_s)) ** 2, rel=1e-11)


def coefficients(log_snr_t, log_snr_s):
    """From Bayes' rule on two Gaussians, in ordinary numbers."""
    a_t, s_t = float(alpha(log_snr_t)), float(sigma(log_snr_t))
    a_s, s_s = float(alpha(log_snr_s)), float(sigma(log_snr_s))
    ratio = a_t / a_s
    transition = s_t**2 - ratio**2 * s_s**2
    precision = 1 / s_s**2 + ratio**2 / transition
    return ratio / transition / precision, a_s / s_s**2 / precision, precision**-0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DDIMStep(1.0), AncestralStep("lower")),
        (DPMSolverStep(eta=1.0, order=1), AncestralStep("lower")),
        (DPMSolverStep(eta=0.0, order=1), DDIMStep()),
    ],
)
def test_families_meet(gaussian, one, other):
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outs = [
        run_sampler(gaussian.denoiser, z, time_grid(20), step, streams=RandomStreams(range(4)))
        for step in (one, other)
    ]
    torch.testing.assert_close(*outs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("eta", [0.3, 1.0, 1.3])
def test_every_sde_has_the_marginals_of_the_ode(eta, gaussian, chain_covariance_error):
    """First order in the step whatever the noise, noise above g included."""
    step = DPMSolverStep(eta=eta, order=1)
    errors = [chain_covariance_error(step, time_grid(n)) for n in (200, 400)]
    assert errors[1] < 0.012 * (1 + eta**2)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)


def test_stochastic_multistep_is_better_than_first_order(covariance_error):
    grid = sampling_grid(SCHEDULE, 40, "tapered")
    first = covariance_error(DPMSolverStep(eta=0.5, order=1), grid)
    second = covariance_error(DPMSolverStep(eta=0.5, order=2), grid)
    assert second < 0.5 * first


def test_dpm_solver_is_second_order(covariance_error):
    errors = [covariance_error(DPMSolverStep(), time_grid(n)) for n in (128, 256)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.25)


def test_edm_heun_is_second_order(covariance_error):
    grids = [sampling_grid(SCHEDULE, n, "edm") for n in (100, 200)]
    errors = [covariance_error(EDMStep(), grid) for grid in grids]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_churn_keeps_the_law(output_law, chain_covariance_error):
    """More noise, the same covariance in the limit, S_churn = n_steps * churn fixed."""
    errors = []
    for n_steps in (200, 400):
        grid = sampling_grid(SCHEDULE, n_steps, "edm")
        errors.append(chain_covariance_error(EDMStep(churn=20 / n_steps), grid))
    assert errors[1] < 3e-3 and errors[1] < 0.6 * errors[0]
    grid = sampling_grid(SCHEDULE, 40, "edm")
    white = GaussianDenoiser(torch.zeros(6), torch.eye(6))
    _, quiet = output_law(white, EDMStep(churn=0.3, noise_scale=1.0), grid)
    _, loud = output_law(white, EDMStep(churn=0.3, noise_scale=1.02), grid)
    assert loud.trace() > quiet.trace()


def test_churn_only_in_its_range(gaussian):
    z = torch.ones(1, 6, dtype=torch.float64)
    grid = sampling_grid(SCHEDULE, 10, "edm")
    never = EDMStep(churn=0.3, noise_min=1e6)
    with_streams = integrate(gaussian.denoiser, z, grid, never, streams=RandomStreams([0]))
    torch.testing.assert_close(with_streams, integrate(gaussian.denoiser, z, grid, EDMStep()))


def test_eta_interpolates_in_noise(gaussian, output_law):
    """The response to the noise of the steps grows with eta."""
    grid = time_grid(30)
    noise = []
    for eta in (0.2, 0.6, 1.0):
        z = torch.zeros(1, 6, dtype=torch.float64)
        outs = [
            integrate(gaussian.denoiser, z, grid, DDIMStep(eta), streams=RandomStreams([seed]))
            for seed in range(30)
        ]
        noise.append(float(torch.cat(outs).var(0).sum()))
    assert noise[0] < noise[1] < noise[2]


def test_sub_sequences_of_a_chain(gaussian):
    """Any increasing sub-sequence of a grid is a grid (Song, Meng and Ermon 2021, section 4.2)."""
    grid = time_grid(60)
    z = torch.ones(1, 6, dtype=torch.float64)
    every_third = integrate(gaussian.denoiser, z, grid[::3], DDIMStep())
    torch.testing.assert_close(
        every_third, integrate(gaussian.denoiser, z, time_grid(20), DDIMStep())
    )


def test_equal_rules_are_equal():
    assert AncestralStep("lower") == AncestralStep() != AncestralStep("upper")
    assert DDIMStep(0.5) == DDIMStep(0.5) != DDIMStep(0.2)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: AncestralStep("middle"), "variance must be"),
        (lambda: DDIMStep(1.5), "eta must lie"),
        (lambda: DPMSolverStep(eta=-1.0), "eta must not be negative"),
        (lambda: DPMSolverStep(order=3), "order must be 1 or 2"),
        (lambda: EDMStep(churn=0.5), "churn must lie"),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_a_step_taken_by_itself_asks_for_its_noise():
    z, x_hat = torch.ones(2, 3), torch.zeros(2, 3)
    log_snr, log_snr_next = torch.tensor([-1.0, 0.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="streams"):
        AncestralStep()(lambda z, log_snr: x_hat, z, log_snr, log_snr_next, None, None)
