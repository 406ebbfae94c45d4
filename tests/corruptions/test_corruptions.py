"""What holds for every corruption: its two ends, and a step back that keeps its law."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from skdiffuse.corruptions import (
    CAPABILITIES,
    CORRUPTIONS,
    BlurCorruption,
    CoarseGrainingCorruption,
    Corruption,
    EncodedCorruption,
    GaussianCorruption,
    StudentTCorruption,
    draw_back,
    draw_law,
    require,
    resolve_corruption,
)
from skdiffuse.diffusion import AncestralStep, RandomStreams, run_sampler

SHAPE = (2, 8, 8)
FIELDS = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(1))

FAMILY = {
    "gaussian": GaussianCorruption(),
    "student_t": StudentTCorruption(nu=3.0),
    "student_t of each cell": StudentTCorruption(nu=2.5, coupled=False),
    "student_t, infinite": StudentTCorruption(nu=math.inf),
    "blur": BlurCorruption(width=2.0),
    "blur, cold": BlurCorruption(width=2.0, noise_level=0.0),
    "blur, naive": BlurCorruption(width=2.0, noise_level=0.5, fresh=1.0),
    "blur, half": BlurCorruption(width=2.0, noise_level=0.5, fresh=0.5),
    "variance exploding": BlurCorruption(width=0.0, noise_level=50.0),
    "coarse_graining": CoarseGrainingCorruption(width=2.0),
    "coarse_graining, cold": CoarseGrainingCorruption(noise_level=0.0, norm=1),
    "encoded": EncodedCorruption(n_steps=2, width=4),
}
FITTED = {name: each.fit([FIELDS]) for name, each in FAMILY.items()}
EVERY = pytest.mark.parametrize("name", FAMILY)


def level(value):
    return torch.tensor(value, dtype=torch.float64)


def noise_of(corruption, x, seed=0):
    shape = tuple(x.shape[1:])
    streams = RandomStreams(range(seed, seed + len(x)))
    return streams.each(lambda generator: corruption.noise(shape, generator))


@EVERY
def test_first_is_the_data(name):
    corruption = FITTED[name]
    x = corruption.encode(FIELDS)
    z = corruption.corrupt(x, level(math.inf), noise_of(corruption, x))
    torch.testing.assert_close(z, x, rtol=0, atol=1e-6)


@EVERY
def test_last_is_the_stated_law(name):
    """The same statistics whether data are corrupted to the end or the law is drawn from."""
    corruption = FITTED[name]
    x = corruption.encode(FIELDS).repeat(150, 1, 1, 1)
    end = corruption.corrupt(x, level(-math.inf), noise_of(corruption, x))
    law = draw_law(corruption, tuple(x.shape[1:]), RandomStreams(range(5000, 5000 + len(x))))
    if name == "variance exploding":
        # There it is the law of an infinite noise: x is small beside it, and not nothing.
        end = end - x
    statistics = (
        lambda z: z[:, 0, 0, 0],
        lambda z: z[:, 0, 0, 0] - z[:, 1, 3, 2],
        lambda z: z.flatten(1).square().mean(1),
    )
    for statistic in statistics:
        assert ks_2samp(statistic(end).numpy(), statistic(law).numpy()).pvalue > 1e-3


@EVERY
@settings(max_examples=6, deadline=None)
@given(noisy=st.floats(-8, 8), further=st.floats(0.05, 6), seed=st.integers(0, 1000))
def test_step_back_with_the_exact_estimate_keeps_the_law(name, noisy, further, seed):
    """Of data that are one point, whose exact denoiser returns it."""
    corruption = FITTED[name]
    x = corruption.encode(FIELDS[:1]).expand(400, -1, -1, -1)
    t, s = level(noisy), level(noisy + further)
    z = corruption.corrupt(x, t, noise_of(corruption, x, seed))
    shape = tuple(x.shape[1:])
    streams = RandomStreams(range(seed + 10_000, seed + 10_400))
    chance = streams.each(lambda generator: corruption.step_noise(shape, generator))
    stepped = corruption.step_back(z, x, t, s, chance)
    direct = corruption.corrupt(x, s, noise_of(corruption, x, seed + 20_000))
    if name.endswith("cold"):
        torch.testing.assert_close(stepped, direct, rtol=0, atol=1e-5)
        return
    for statistic in (
        lambda z: z[:, 0, 1, 2],
        lambda z: z[:, 1, 0, 0] + z[:, 1, 0, 1],
        lambda z: z.flatten(1).std(1),
    ):
        a, b = statistic(stepped).numpy(), statistic(direct).numpy()
        assert ks_2samp(a, b).pvalue > 1e-6


@EVERY
def test_noise_is_of_unit_variance_and_each_sample_its_own(name):
    corruption = FITTED[name]
    together = noise_of(corruption, FIELDS)
    assert together.equal(torch.cat([noise_of(corruption, FIELDS[i : i + 1], i) for i in range(6)]))
    if not name.startswith("student_t"):
        assert abs(together.var() - 1) < 0.15


@EVERY
def test_end_of_the_chain_is_the_last_estimate(name):
    corruption = FITTED[name]
    x = corruption.encode(FIELDS)
    grid = torch.linspace(-15, 15, 7)
    z = draw_law(corruption, tuple(x.shape[1:]), RandomStreams(range(6)))
    drawn = draw_back(corruption, lambda z, _: x, z, grid, RandomStreams(range(6)))
    torch.testing.assert_close(drawn, x)


@EVERY
def test_loss_of_the_exact_estimate_is_nothing_and_missing_cells_do_not_count(name):
    corruption = FITTED[name]
    x = corruption.encode(FIELDS).clone()
    x[0, 0, 0, 0] = torch.nan
    log_snr = torch.linspace(-6, 6, 6, dtype=torch.float64)
    noise = noise_of(corruption, x)
    whole = torch.where(torch.isfinite(x), x, 0)

    def exact(z, log_snr):
        # A prediction that makes the estimate x: the estimate is affine in it.
        base = corruption.estimate(torch.zeros_like(z), z, log_snr)
        slope = corruption.estimate(torch.ones_like(z), z, log_snr) - base
        return (whole - base) / slope

    # Where a cell is missing the network sees only what is known, and what it says is left out.
    assert corruption.loss(exact, x, log_snr, noise)[1:].max() < 1e-4
    loss = corruption.loss(lambda z, _: torch.zeros_like(z), x, log_snr, noise)
    assert loss.shape == (6,)
    assert torch.isfinite(loss).all()


@EVERY
def test_what_was_learnt_survives_as_tensors(name):
    fitted = FITTED[name]
    again = FAMILY[name].with_tensors(fitted.tensors())
    x = fitted.encode(FIELDS)
    assert again.encode(FIELDS).equal(x)
    streams = RandomStreams([3]), RandomStreams([3])
    laws = [
        draw_law(each, tuple(x.shape[1:]), s)
        for each, s in zip((fitted, again), streams, strict=True)
    ]
    assert laws[0].equal(laws[1])


def test_gaussian_chain_is_ancestral_sampling():
    grid = torch.linspace(-10, 10, 9)
    denoiser = lambda z, log_snr: torch.tanh(z)  # noqa: E731
    z = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    ours = draw_back(GaussianCorruption(), denoiser, z, grid, RandomStreams([1, 2]))
    theirs = run_sampler(denoiser, z, grid, AncestralStep(), streams=RandomStreams([1, 2]))
    torch.testing.assert_close(ours, theirs)


def test_infinite_nu_is_gaussian_to_the_bit():
    heavy, gaussian = StudentTCorruption(nu=math.inf), GaussianCorruption()
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    assert heavy.noise(SHAPE, generators[0]).equal(gaussian.noise(SHAPE, generators[1]))
    assert heavy.capabilities == gaussian.capabilities
    z, x = FIELDS[:1], FIELDS[1:2]
    steps = [each.step_back(z, x, level(0.0), level(1.0), x) for each in (heavy, gaussian)]
    assert steps[0].equal(steps[1])


def test_what_cannot_be_done_is_refused_by_name():
    with pytest.raises(ValueError, match=r"score_samples needs a bound .*=BlurCorruption"):
        require(BlurCorruption(), "likelihood", "score_samples")
    for each in CORRUPTIONS.values():
        assert isinstance(each, Corruption)
        assert each.capabilities <= set(CAPABILITIES)
        for name in each.capabilities:
            require(each, name, "this")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: StudentTCorruption(nu=2.0), "nu=2.0"),
        (lambda: BlurCorruption(width=-1.0), "width=-1.0"),
        (lambda: BlurCorruption(noise_level=-1.0), "noise_level=-1.0"),
        (lambda: BlurCorruption(fresh=1.5), "fresh=1.5"),
        (lambda: BlurCorruption(norm=3), "norm=3"),
        (lambda: BlurCorruption(width=0, noise_level=0), "width=0 and noise_level=0"),
        (lambda: EncodedCorruption(factor=3), "factor=3"),
        (lambda: EncodedCorruption(n_steps=0), "n_steps=0"),
        (lambda: resolve_corruption("warm"), "corruption='warm'"),
        (lambda: draw_law(BlurCorruption(), SHAPE, RandomStreams([0])), "before fit"),
        (lambda: EncodedCorruption().encode(FIELDS), "before fit"),
        (lambda: EncodedCorruption().shape((2, 7, 8)), "multiples of 2"),
        (lambda: draw_law(FITTED["blur"], (5, 8, 8), RandomStreams([0])), "of 2 frames"),
        (lambda: BlurCorruption().fit([FIELDS * torch.nan]), "no window with a known cell"),
    ],
)
def test_bad_values_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_noise_of_one_cell_is_student_t():
    """Against scipy's distribution function, with its variance brought to 1."""
    from scipy.stats import kstest, t

    for coupled in (True, False):
        corruption = StudentTCorruption(nu=3.0, coupled=coupled)
        noise = noise_of(corruption, torch.empty(3000, 1))[:, 0].double()
        scale = math.sqrt(1 / 3)
        assert kstest(noise.numpy() / scale, t(3).cdf).pvalue > 1e-3
        assert np.isclose(corruption.scale, scale)
