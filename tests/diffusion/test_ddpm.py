"""The discrete chain against closed forms, and against the continuous model, its limit."""

import math

import pytest
import torch

from skdiffuse.diffusion import (
    DDPM,
    AnalyticVariance,
    GaussianDenoiser,
    GaussianMixtureDenoiser,
    LinearBetaSchedule,
    PosteriorVariance,
    RandomStreams,
    TruncatedCosineSchedule,
    convert,
    discrete_loss,
    elbo,
)
from skdiffuse.diffusion.variances import UpperVariance, posterior_coefficients

SCHEDULES = ("linear", "cosine", "log_snr")
VARIANCE, MEAN = 2.5, 0.4
GAUSSIAN = GaussianDenoiser(torch.tensor([MEAN]), torch.tensor([[VARIANCE]]))
ENTROPY = 0.5 * math.log(2 * math.pi * math.e * VARIANCE)


def double(value):
    return torch.as_tensor(value, dtype=torch.float64)


class SigmaPoints:
    """Noise that, with the data of `points`, has its joint first and second moments exactly."""

    noise = math.sqrt(2) * double([[0.0], [1.0], [0.0], [-1.0]])
    points = MEAN + math.sqrt(2 * VARIANCE) * double([[1.0], [0.0], [-1.0], [0.0]])

    def __len__(self):
        return 4

    def normal(self, shape, dtype):
        return self.noise.to(dtype)


def exact_bound(chain):
    """Mean bound over Gaussian data, with variances of steps known by name, in closed form."""
    levels = chain.log_snrs
    a2, s2 = torch.sigmoid(levels), torch.sigmoid(-levels)
    total = 0.5 * (a2[-1] * (VARIANCE + MEAN**2) + s2[-1] - torch.log(s2[-1]) - 1)
    total = total + 0.5 * (math.log(2 * math.pi * math.e) - levels[0])
    # Products of single steps, as in Turner et al. (2024), eq. 2.
    step2 = a2[1:] / a2[:-1]
    of_x = a2[:-1].sqrt() * (1 - step2) / s2[1:]
    posterior = s2[:-1] * (1 - step2) / s2[1:]
    remaining = VARIANCE * s2[1:] / (a2[1:] * VARIANCE + s2[1:])
    spread = posterior + of_x**2 * remaining
    variance = {"lower": posterior, "upper": 1 - step2}.get(str(chain.variance), spread)
    divergence = 0.5 * (spread / variance - 1 + torch.log(variance / posterior))
    return float(total + divergence.sum())


def best_variance():
    return PosteriorVariance(lambda z, log_snr: float(GAUSSIAN.posterior_covariance(log_snr)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("variance", ["lower", "upper", "best"])
def test_bound_is_the_closed_form(schedule, variance):
    chain = DDPM(20, schedule, "x", best_variance() if variance == "best" else variance)
    terms = chain.elbo(GAUSSIAN, SigmaPoints.points, SigmaPoints())
    # Products of amplitudes lose digits at both ends, which the chain's own form does not.
    assert float(terms.bound.mean()) == pytest.approx(exact_bound(chain), abs=1e-5)


@pytest.mark.parametrize("variance", ["lower", "upper"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_bound_falls_to_that_of_the_continuous_model(schedule, variance):
    """The gap to the entropy falls as 1 / T; the continuous bound has none.

    But for the cosine with the lower variance, whose last step leaps to log-SNR 20: as 1 / T^2
    until T resolves it.
    """
    limit = elbo(
        GAUSSIAN,
        SigmaPoints.points,
        SigmaPoints(),
        log_snr_min=float(DDPM(2, schedule).log_snrs[-1]),
        n_noise=1,
    )
    assert float(limit.bound.mean()) == pytest.approx(ENTROPY, abs=1e-4)
    gaps = []
    for n_steps in (100, 1000, 10000):
        chain = DDPM(n_steps, schedule, "x", variance)
        gaps.append(exact_bound(chain) - ENTROPY)
    assert gaps[0] > gaps[1] > gaps[2] > 0
    order = math.log10(gaps[1] / gaps[2])
    leaps = (schedule, variance) == ("cosine", "lower")
    assert order == pytest.approx(1.85 if leaps else 1, abs=0.15)


def test_one_gaussian_step_with_the_best_variance_has_no_gap():
    """Gaussian data of one cell: every reverse step is Gaussian, at any T."""
    for n_steps in (1, 3, 30):
        chain = DDPM(n_steps, "log_snr", "x", best_variance())
        assert exact_bound(chain) == pytest.approx(ENTROPY, abs=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("variance", ["lower", "upper", "best"])
def test_samples_have_the_law_of_the_chain(schedule, variance):
    """Mean and variance of z by recursion, step by step."""
    chain = DDPM(10, schedule, "x", best_variance() if variance == "best" else variance)
    mean, spread = 0.0, 1.0
    for t in range(chain.n_steps, 0, -1):
        at, towards = chain.log_snrs[t], chain.log_snrs[t - 1]
        c_z, c_x, std = posterior_coefficients(at, towards)
        a, s2 = float(torch.sigmoid(at).sqrt()), float(torch.sigmoid(-at))
        gain = a * VARIANCE / (a**2 * VARIANCE + s2)
        of_step = {"lower": std**2, "upper": UpperVariance()(None, None, at, towards)}.get(
            variance, std**2 + c_x**2 * (VARIANCE - a * gain * VARIANCE)
        )
        mean = (c_z + c_x * gain) * mean + c_x * (1 - a * gain) * MEAN
        spread = (c_z + c_x * gain) ** 2 * spread + of_step

    def each_cell(z, log_snr):
        return GAUSSIAN(z.reshape(-1, 1), log_snr).reshape(z.shape)

    x = chain.sample(each_cell, (20_000,), RandomStreams([0]), torch.float64)
    n = x.numel()
    assert float(x.mean()) == pytest.approx(mean, abs=4 * math.sqrt(spread / n))
    assert float(x.var()) == pytest.approx(spread, rel=4 * math.sqrt(2 / n))
    if variance == "best":
        assert spread == pytest.approx(VARIANCE, rel=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_samples_tend_to_those_of_the_continuous_model(schedule):
    """Two modes: the distance of quantiles falls with T to what as many exact draws have."""
    mixture = GaussianMixtureDenoiser(
        double([0.6, 0.4]), double([[-1.0], [1.5]]), double([[[0.04]], [[0.25]]])
    )

    def each_cell(z, log_snr):
        return mixture(z.reshape(-1, 1), log_snr).reshape(z.shape)

    grid = torch.linspace(-3, 5, 4001, dtype=torch.float64)
    cumulative = 0.6 * torch.special.ndtr((grid + 1) / 0.2) + 0.4 * torch.special.ndtr(
        (grid - 1.5) / 0.5
    )

    def distance(x):
        below = torch.searchsorted(x.flatten().sort().values, grid) / x.numel()
        return float(((below - cumulative).abs()).sum() * (grid[1] - grid[0]))

    found = [
        distance(
            DDPM(n, schedule, "x").sample(each_cell, (4000,), RandomStreams([1]), torch.float64)
        )
        for n in (10, 300)
    ]
    assert found[0] > 2 * found[1]
    assert found[1] < 0.06


def data(n=6):
    streams = RandomStreams(range(n))
    return streams.normal((3,), torch.float64), streams.normal((3,), torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("parameterization", ["x", "eps", "v"])
def test_objectives(schedule, parameterization):
    x, noise = data()
    chain = DDPM(8, schedule, parameterization)
    step = torch.tensor([2, 3, 4, 5, 6, 7])
    log_snr = chain.log_snrs[step]

    def x_network(z, at):
        return torch.tanh(z)

    def network(z, at):
        return convert(x_network(z, at), z, at, source="x", target=parameterization)

    simple = chain.loss(network, x, step, noise)
    a, s = torch.sigmoid(log_snr).sqrt()[:, None], torch.sigmoid(-log_snr).sqrt()[:, None]
    z = a * x + s * noise
    error2 = (x - torch.tanh(z)).square().mean(1)
    factor = {"x": 1.0, "eps": torch.exp(log_snr), "v": 1 / torch.sigmoid(-log_snr)}
    torch.testing.assert_close(simple, factor[parameterization] * error2, rtol=1e-7, atol=1e-9)
    for i, t in enumerate(step.tolist()):
        here, there = chain.log_snrs[t], chain.log_snrs[t - 1]
        one = slice(i, i + 1)
        expected = 8 / 3 * discrete_loss(x_network, x[one], here, there, noise[one])
        found = chain.loss(network, x[one], step[one], noise[one], "variational")
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_variational_loss_is_the_diffusion_term_of_the_bound():
    """Its mean over all steps, at the same noise and with either fixed variance."""
    for variance in ("lower", "upper"):
        chain = DDPM(12, "cosine", "x", variance)
        points, noise = SigmaPoints.points, SigmaPoints.noise
        losses = [
            chain.loss(GAUSSIAN, points, torch.full((4,), t), noise, "variational").mean()
            for t in range(1, 13)
        ]
        terms = chain.elbo(GAUSSIAN, points, SigmaPoints(), n_noise=1)
        assert float(sum(losses)) / 12 == pytest.approx(float(terms.diffusion.mean()), rel=1e-9)


def test_hybrid_teaches_the_mean_by_the_simple_loss_and_the_variance_by_the_bound():
    x, noise = data()
    step = torch.tensor([1, 2, 4, 5, 7, 8])
    slope = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    fraction = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    def network(z, at):
        return slope * z, fraction.expand_as(z)

    learnt = DDPM(8, "cosine", "x", "learnt")
    loss = learnt.loss(network, x, step, noise, "hybrid", variational_weight=0.5).sum()
    of_slope, of_fraction = torch.autograd.grad(loss, (slope, fraction))
    simple = DDPM(8, "cosine", "x").loss(lambda z, at: slope * z, x, step, noise).sum()
    torch.testing.assert_close(of_slope, torch.autograd.grad(simple, slope)[0])
    bound = learnt.loss(network, x, step, noise, "variational").sum()
    torch.testing.assert_close(of_fraction, 0.5 * torch.autograd.grad(bound, fraction)[0])


@pytest.mark.parametrize(("fraction", "name"), [(0.0, "lower"), (1.0, "upper")])
def test_learnt_variance_at_its_ends_is_a_fixed_one(fraction, name):
    x, noise = data()
    step = torch.tensor([1, 2, 4, 5, 7, 8])
    pair = lambda z, at: (torch.tanh(z), torch.full_like(z, fraction))  # noqa: E731
    learnt, fixed = DDPM(8, "cosine", "x", "learnt"), DDPM(8, "cosine", "x", name)
    mean = lambda z, at: torch.tanh(z)  # noqa: E731
    torch.testing.assert_close(
        learnt.loss(pair, x, step, noise, "variational"),
        fixed.loss(mean, x, step, noise, "variational"),
    )
    found = [
        chain.sample(network, (2,), RandomStreams([3]), torch.float64)
        for chain, network in ((learnt, pair), (fixed, mean))
    ]
    torch.testing.assert_close(*found)
    bounds = [
        chain.elbo(network, x, RandomStreams(range(6))).bound
        for chain, network in ((learnt, pair), (fixed, mean))
    ]
    torch.testing.assert_close(*bounds)


def test_learnt_variance_costs_one_evaluation_a_step():
    count = 0

    def network(z, at):
        nonlocal count
        count += 1
        return 0 * z, 0 * z + 0.5

    DDPM(7, "cosine", "x", "learnt").sample(network, (2,), RandomStreams([0]))
    assert count == 8


def test_measured_variance_in_a_chain():
    chain = DDPM(10, TruncatedCosineSchedule(-10.0, 10.0), "x")
    nodes = torch.linspace(-10, 10, 200, dtype=torch.float64)
    table = torch.stack([GAUSSIAN.posterior_covariance(node)[0, 0] for node in nodes])
    measured = DDPM(10, chain.schedule, "x", AnalyticVariance(nodes, table))
    bounds = [
        float(each.elbo(GAUSSIAN, SigmaPoints.points, SigmaPoints()).bound.mean())
        for each in (chain, measured)
    ]
    assert bounds[1] < bounds[0]
    assert bounds[1] == pytest.approx(ENTROPY, abs=0.01)
    with pytest.raises(ValueError, match="nothing to be trained"):
        measured.loss(GAUSSIAN, *_step_of(measured), "variational")


def _step_of(chain):
    x, noise = SigmaPoints.points, SigmaPoints.noise
    return x, torch.full((4,), chain.n_steps), noise


def test_linear_schedule_is_ddpm_in_the_limit():
    chain = DDPM(1000, "linear")
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    theirs = torch.cumprod(1 - betas, 0)
    ours = torch.sigmoid(chain.log_snrs[1:])
    # The times of the chain run from u0, where the log-SNR is 20, and not from 0.
    assert float((ours - theirs).abs().max()) < 0.01
    assert isinstance(chain.schedule, LinearBetaSchedule)


def test_steps_are_uniform():
    drawn = DDPM(4).draw_steps(4000, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=5)
    assert counts[0] == 0 and int(drawn.max()) == 4
    assert ((counts[1:] - 1000).abs() < 4 * math.sqrt(750)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"schedule": "sigmoid"}, "schedule must be one of"),
        ({"parameterization": "y"}, "parameterization must be one of"),
        ({"variance": "middle"}, "variance must be"),
    ],
)
def test_bad_chains(arguments, message):
    with pytest.raises(ValueError, match=message):
        DDPM(**arguments)


def test_bad_losses():
    x, noise = data()
    step = torch.ones(6, dtype=torch.int64)
    with pytest.raises(ValueError, match="objective must be one of"):
        DDPM(4).loss(GAUSSIAN, x, step, noise, "least")
    with pytest.raises(ValueError, match="teaches a learnt variance nothing"):
        DDPM(4, variance="learnt").loss(GAUSSIAN, x, step, noise)
    with pytest.raises(ValueError, match="a fixed variance has"):
        DDPM(4).loss(GAUSSIAN, x, step, noise, "hybrid")
    with pytest.raises(ValueError, match="step must lie from 1 to n_steps=4, got 0"):
        DDPM(4).loss(GAUSSIAN, x, 0 * step, noise)
    with pytest.raises(TypeError, match="must return a pair"):
        DDPM(4, variance="learnt").loss(lambda z, at: z, x, step, noise, "hybrid")
    with pytest.raises(TypeError, match="must return one tensor"):
        DDPM(4).loss(lambda z, at: (z, z), x, step, noise)
