"""Each named step against its formula as published, in NumPy and in its own variables."""

import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.interpolate import KroghInterpolator
from scipy.special import expit

from skdiffuse.diffusion import (
    AdamsBashforthStep,
    AdamsStep,
    AncestralStep,
    DDIMStep,
    DPMSolverStep,
    EDMStep,
    GaussianMixtureDenoiser,
    HeunStep,
    RandomStreams,
    RungeKuttaStep,
    TruncatedCosineSchedule,
    run_sampler,
    sampling_grid,
)

SEEDS = range(5)
GRID = sampling_grid(TruncatedCosineSchedule(-8.0, 8.0), 9, "tapered")
MIXTURE = GaussianMixtureDenoiser(
    torch.tensor([0.6, 0.4]), torch.tensor([[-0.8], [1.2]]), torch.tensor([[[0.01]], [[0.3]]])
)


def denoised(z, log_snr):
    z = torch.from_numpy(z)[:, None]
    return MIXTURE(z, torch.tensor(float(log_snr), dtype=torch.float64))[:, 0].numpy()


def amplitudes(log_snr):
    return np.sqrt(expit(log_snr)), np.sqrt(expit(-log_snr))


def ancestral(kind):
    """Ho, Jain and Abbeel (2020), eqs. 6 and 7."""

    def sample(z, grid, noise):
        for t, s in itertools.pairwise(grid):
            (a_t, sigma_t), (a_s, sigma_s) = amplitudes(t), amplitudes(s)
            ratio = a_t / a_s
            forward = sigma_t**2 - ratio**2 * sigma_s**2
            mean = ratio * sigma_s**2 * z + a_s * forward * denoised(z, t)
            variance = forward * (sigma_s**2 / sigma_t**2 if kind == "lower" else 1.0)
            z = mean / sigma_t**2 + np.sqrt(variance) * noise()
        return z

    return sample


def ddim(eta):
    """Song, Meng and Ermon (2021), eqs. 12 and 16."""

    def sample(z, grid, noise):
        for t, s in itertools.pairwise(grid):
            (a_t, sigma_t), (a_s, sigma_s) = amplitudes(t), amplitudes(s)
            x = denoised(z, t)
            std = eta * sigma_s / sigma_t * np.sqrt(1 - a_t**2 / a_s**2)
            direction = np.sqrt(sigma_s**2 - std**2) * (z - a_t * x) / sigma_t
            z = a_s * x + direction + (std * noise() if eta else 0.0)
        return z

    return sample


def dpm_solver(stochastic):
    """Lu et al. (2022), "DPM-Solver++", algorithm 2 and its SDE, in half log-SNRs."""

    def sample(z, grid, noise):
        before = None
        for t, s in itertools.pairwise(grid):
            (_, sigma_t), (a_s, sigma_s) = amplitudes(t), amplitudes(s)
            h, x = (s - t) / 2, denoised(z, t)
            data = x if before is None else x + (x - before[0]) / (2 * before[1] / h)
            before = x, h
            if stochastic:
                z = sigma_s / sigma_t * np.exp(-h) * z + a_s * (1 - np.exp(-2 * h)) * data
                z = z + sigma_s * np.sqrt(1 - np.exp(-2 * h)) * noise()
            else:
                z = sigma_s / sigma_t * z - a_s * (np.exp(-h) - 1) * data
        return z

    return sample


def edm(churn):
    """Karras et al. (2022), algorithm 2, for x of noise level sigma without scaling."""

    def slope(x, sigma):
        return (x - denoised(x / np.sqrt(1 + sigma**2), -2 * np.log(sigma))) / sigma

    def sample(z, grid, noise):
        sigmas = np.exp(-grid / 2)
        x = z * np.sqrt(1 + sigmas[0] ** 2)
        for sigma, sigma_next in itertools.pairwise(sigmas):
            raised = sigma * (1 + churn)
            if churn:
                x = x + np.sqrt(raised**2 - sigma**2) * noise()
            first = slope(x, raised)
            ahead = x + (sigma_next - raised) * first
            x = x + (sigma_next - raised) * (first + slope(ahead, sigma_next)) / 2
        return x / np.sqrt(1 + sigmas[-1] ** 2)

    return sample


def angle(log_snr):
    return np.arctan(np.exp(-log_snr / 2))


def v(z, psi):
    log_snr = -2 * np.log(np.tan(psi))
    return (np.cos(psi) * z - denoised(z, log_snr)) / np.sin(psi)


def heun(z, grid, noise):
    for psi, ahead in itertools.pairwise(angle(grid)):
        h = ahead - psi
        k1 = v(z, psi)
        k2 = v(z + h * k1, ahead)
        z = z + h * (k1 + k2) / 2
    return z


def runge_kutta(z, grid, noise):
    for psi, ahead in itertools.pairwise(angle(grid)):
        h, middle = ahead - psi, (psi + ahead) / 2
        k1 = v(z, psi)
        k2 = v(z + h / 2 * k1, middle)
        k3 = v(z + h / 2 * k2, middle)
        k4 = v(z + h * k3, ahead)
        z = z + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
    return z


def adams_bashforth(z, grid, noise):
    before = None
    for psi, ahead in itertools.pairwise(angle(grid)):
        h, k = ahead - psi, v(z, psi)
        change = 0.0 if before is None else h / (2 * before[1]) * (k - before[0])
        before = k, h
        z = z + h * (k + change)
    return z


def adams(z, grid, noise):
    """Predict, evaluate, correct: Hairer, Noersett and Wanner (1993), III.1."""
    coordinate = AdamsStep().coordinate

    def q(log_snr):
        return coordinate(torch.as_tensor(log_snr, dtype=torch.float64)).numpy()

    def integral(nodes, values, start, stop):
        def weight(j):
            basis = KroghInterpolator(q(np.array(nodes)), np.eye(len(nodes))[j])
            of_angle = lambda psi: basis(q(-2 * np.log(np.tan(psi))))  # noqa: E731
            return quad(of_angle, angle(start), angle(stop), epsabs=1e-13, epsrel=1e-12)[0]

        return sum(weight(j) * value for j, value in enumerate(values))

    nodes, values, base = [], [], None
    for t, s in itertools.pairwise(grid):
        nodes, values = [t, *nodes], [v(z, angle(t)), *values]
        if base is not None:
            z = base + integral(nodes[:4], values[:4], nodes[1], t)
        base = z
        z = base + integral(nodes[:3], values[:3], t, s)
    return z


BY_THE_BOOK = [
    (AncestralStep("lower"), ancestral("lower")),
    (AncestralStep("upper"), ancestral("upper")),
    (DDIMStep(), ddim(0.0)),
    (DDIMStep(0.5), ddim(0.5)),
    (DPMSolverStep(), dpm_solver(stochastic=False)),
    (DPMSolverStep(eta=1.0), dpm_solver(stochastic=True)),
    (EDMStep(), edm(0.0)),
    (EDMStep(churn=0.2), edm(0.2)),
    (HeunStep(), heun),
    (RungeKuttaStep("rk4"), runge_kutta),
    (AdamsBashforthStep(), adams_bashforth),
    (AdamsStep(), adams),
]


def noise_and_streams():
    streams = RandomStreams(SEEDS)
    return streams.normal((1,), torch.float64), streams


def sampled(step):
    z, streams = noise_and_streams()
    return run_sampler(MIXTURE, z, GRID, step, streams=streams)[:, 0].numpy()


@pytest.mark.parametrize(
    ("step", "book"),
    BY_THE_BOOK,
    ids=lambda each: getattr(each, "__qualname__", repr(each)[:40]),
)
def test_a_step_is_that_of_its_paper(step, book):
    z, streams = noise_and_streams()
    grid = GRID.numpy()
    last = book(z[:, 0].numpy(), grid, lambda: streams.normal((1,), torch.float64)[:, 0].numpy())
    np.testing.assert_allclose(sampled(step), denoised(last, grid[-1]), rtol=1e-8, atol=1e-9)


def test_no_two_steps_are_the_same():
    """So that a comparison above, which allows 1e-8, tells each from all others."""
    samples = [sampled(step) for step, _ in BY_THE_BOOK]
    for one, other in itertools.combinations(samples, 2):
        assert np.abs(one - other).max() > 1e-4
