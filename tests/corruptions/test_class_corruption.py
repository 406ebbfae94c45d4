"""Masking and editing through the interface of every corruption."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiffuse.corruptions import draw_back, draw_law
from skdiffuse.corruptions.class_corruption import (
    ClassCorruption,
    KnownClasses,
    NetworkClassDenoiser,
)
from skdiffuse.corruptions.class_denoisers import ExactClassDenoiser
from skdiffuse.diffusion import RandomStreams

EDGES = (0.1, 1.0)
KINDS = ["masking", "substitution", "ordinal"]
RAIN = torch.tensor([0.0, 0.05, 0.1, 0.4, 1.0, 7.0, math.nan, 0.0]).reshape(1, 1, 2, 4)
END = torch.tensor(torch.inf, dtype=torch.float64)


def fitted(kind, rule="posterior"):
    corruption = ClassCorruption(kind, EDGES, rule)
    return corruption.bound(torch.square, torch.sqrt).fit([RAIN.sqrt()])


def noise_of(corruption, x, seed=0):
    streams = RandomStreams(range(seed, seed + len(x)))
    return streams.each(lambda generator: corruption.noise(tuple(x.shape[1:]), generator))


def level(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_classes_and_their_rates_by_edges_in_latent_units(kind):
    corruption = fitted(kind)
    x = corruption.encode(RAIN.sqrt())
    assert x.shape == (1, *corruption.shape((1, 2, 4))) == (1, 1, 3, 2, 4)
    classes = x.argmax(2).flatten()
    assert classes[:6].tolist() == [0, 0, 1, 1, 2, 2] and torch.isnan(x[0, 0, :, 1, 2]).all()
    back = corruption.decode(x).square().flatten()
    torch.testing.assert_close(back[:6], torch.tensor([0, 0, 0.1, 0.1, 1, 1]), atol=0.04, rtol=0)
    assert torch.isnan(back[6])
    again = corruption.encode(back.reshape(1, 1, 2, 4).sqrt())
    torch.testing.assert_close(again, x, equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_first_is_the_data_and_last_the_stated_law(kind):
    corruption = fitted(kind)
    x = corruption.encode(RAIN.sqrt())
    z = corruption.corrupt(x, END, noise_of(corruption, x))
    torch.testing.assert_close(z[:, :, :3], torch.nan_to_num(x))
    x = x[..., :2, :1].expand(3000, 1, 3, 2, 1)
    z = corruption.corrupt(x, -END, noise_of(corruption, x))
    law = draw_law(corruption, tuple(x.shape[1:]), RandomStreams(range(9000, 12000)))
    stationary = corruption.chain.stationary.float()
    for drawn in z, law:
        assert (drawn.sum(2) == 1).all()
        torch.testing.assert_close(drawn.mean((0, 1, 4))[:, 0], stationary, atol=0.04, rtol=0)


@pytest.mark.parametrize("rule", ["posterior", "improved", "naive"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3, deadline=None)
@given(noisy=st.floats(-4, 3), further=st.floats(0.1, 4), seed=st.integers(0, 1000))
def test_step_back_with_the_exact_estimate_keeps_the_law(kind, rule, noisy, further, seed):
    corruption = fitted(kind, rule)
    x = corruption.encode(RAIN.sqrt())[..., :1, :].expand(1500, 1, 3, 1, 4)
    t, s = level(noisy), level(noisy + further)
    z = corruption.corrupt(x, t, noise_of(corruption, x, seed))
    stepped = corruption.step_back(z, x, t, s, noise_of(corruption, x, seed + 10_000))
    classes = x[0].argmax(1).flatten()
    expected = corruption.chain.cumulative(torch.sigmoid(s))[classes].T.float()
    torch.testing.assert_close(stepped.mean((0, 1, 3)), expected, atol=0.07, rtol=0)


class _ExactFields:
    """The exact denoiser in the form of fields."""

    def __init__(self, patterns, probabilities, corruption):
        self.exact = ExactClassDenoiser(patterns, probabilities, corruption.chain)

    def __call__(self, z, log_snr):
        states = z.argmax(2)
        logits = self.exact(states, torch.sigmoid(log_snr.double()))
        return logits.softmax(-1).movedim(-1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_sampler_with_the_exact_denoiser_draws_the_data(kind):
    corruption = ClassCorruption(kind, EDGES)
    patterns = torch.tensor([[0, 1], [2, 2], [1, 0]]).reshape(3, 1, 1, 2)
    probabilities = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    n = 1500
    streams, grid = RandomStreams(range(n)), torch.linspace(-6, 6, 25)
    z = draw_law(corruption, corruption.shape((1, 1, 2)), streams)
    denoiser = _ExactFields(patterns, probabilities, corruption)
    drawn = draw_back(corruption, denoiser, z, grid, streams).argmax(2).flatten(1)
    for pattern, probability in zip(patterns.flatten(1), probabilities, strict=True):
        found = (drawn == pattern).all(1).float().mean()
        assert found == pytest.approx(float(probability), abs=0.07)


@pytest.mark.parametrize("kind", KINDS)
def test_known_cells_are_kept_and_conditioned_on(kind):
    corruption = ClassCorruption(kind, EDGES)
    patterns = torch.tensor([[0, 1], [2, 2], [1, 2]]).reshape(3, 1, 1, 2)
    probabilities = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    n = 1500
    streams = RandomStreams(range(n))
    z = draw_law(corruption, corruption.shape((1, 1, 2)), streams)
    known = torch.full((n, 1, 3, 1, 2), torch.nan)
    known[..., 1] = torch.tensor([0.0, 0.0, 1.0]).reshape(3, 1)
    exact = _ExactFields(patterns, probabilities, corruption)
    denoiser = KnownClasses(exact, known, corruption, streams)
    drawn = draw_back(corruption, denoiser, z, torch.linspace(-5, 5, 15), streams)
    classes = drawn.argmax(2).flatten(1)
    assert (classes[:, 1] == 2).all()
    share = (classes[:, 0] == 2).float().mean()
    # Exact with masks; where known cells are corrupted too, what they told is forgotten in part.
    assert share == pytest.approx(0.6, abs=0.04 if kind == "masking" else 0.25)


def test_each_step_gives_classes_to_as_many_cells():
    shares = torch.sigmoid(ClassCorruption().levels(torch.linspace(-18, 18, 8)))
    torch.testing.assert_close(shares.diff(), torch.full((7,), 1 / 8).double(), atol=1e-6, rtol=0)
    assert shares[0] == pytest.approx(float(torch.sigmoid(torch.tensor(-18.0))), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_the_cross_entropy_and_missing_cells_do_not_count(kind):
    corruption = fitted(kind)
    x = corruption.encode(RAIN.sqrt())
    noise = noise_of(corruption, x)
    seen = []

    def knows(z, log_snr):
        seen.append(z)
        return torch.nan_to_num(x) * 80

    assert corruption.loss(knows, x, level([-2.0]), noise) < 1e-6
    assert seen[0].shape == (1, 1, corruption.n_inputs, 2, 4)
    assert (seen[0][0, 0, :, 1, 2] == 0).all()
    assert torch.isfinite(corruption.loss(lambda z, _: 0 * x.nan_to_num(), x, level([0.0]), noise))


@pytest.mark.parametrize("kind", KINDS)
def test_network_starts_from_the_exact_denoiser_of_independent_cells(kind):
    corruption = fitted(kind)
    frequencies = corruption.log_frequencies.exp()
    torch.testing.assert_close(frequencies, torch.tensor([3.5, 2.5, 2.5]) / 8.5)
    states = torch.arange(corruption.n_inputs)[:, None]
    exact = ExactClassDenoiser(torch.arange(3)[:, None], frequencies, corruption.chain)
    z = corruption.fields(states[:, :, None, None], frequencies)
    for log_snr in -3.0, 2.0:
        says = corruption.estimate(torch.zeros(len(z), 1, 3, 1, 1), z, level(log_snr))
        share = torch.sigmoid(level(log_snr))
        expected = exact(states, share).softmax(-1)[:, 0].float()
        torch.testing.assert_close(says[:, 0, :, 0, 0], expected)
        denoiser = NetworkClassDenoiser(lambda z, _: torch.zeros(len(z), 1, 3, 1, 1), corruption)
        logits = denoiser(states[:, :, None, None], share)
        torch.testing.assert_close(logits.softmax(-1)[:, 0, 0, 0], expected)


def test_what_was_learnt_goes_through_files():
    corruption = fitted("ordinal")
    read = ClassCorruption("ordinal", EDGES).with_tensors(corruption.tensors())
    assert read == corruption
    x = corruption.encode(RAIN.sqrt())
    torch.testing.assert_close(read.decode(x), corruption.decode(x), equal_nan=True)


def test_wrong_parameters_are_named():
    with pytest.raises(ValueError, match="kind='cold' is unknown"):
        ClassCorruption("cold")
    with pytest.raises(ValueError, match="rule='best' is unknown"):
        ClassCorruption(rule="best")
    with pytest.raises(ValueError, match=r"edges=.* must be rates"):
        ClassCorruption(edges=(1.0, 0.5))
    with pytest.raises(ValueError, match=r"knows no edges before bound"):
        ClassCorruption().encode(torch.zeros(1, 1, 1, 1))
