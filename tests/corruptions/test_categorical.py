"""Chains of classes against enumerated probabilities."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiffuse.corruptions.categorical import (
    RULES,
    MaskingChain,
    OrdinalChain,
    SubstitutionChain,
    draw_states,
)
from skdiffuse.corruptions.class_denoisers import ExactClassDenoiser

LAW = [0.55, 0.25, 0.15, 0.05]
CHAINS = {
    "masking": MaskingChain,
    "substitution": SubstitutionChain,
    "ordinal": OrdinalChain,
    "substitution by law": lambda k: SubstitutionChain(k, LAW[:k]),
    "ordinal by law": lambda k: OrdinalChain(k, LAW[:k]),
}
make_chain = pytest.mark.parametrize("make", CHAINS.values(), ids=list(CHAINS))
shares = st.floats(0, 0.98)


def _generator(chain):
    """The chain's generator, from its transition over a short time."""
    step = 1e-7
    power = chain.power(torch.tensor(1 - step, dtype=torch.float64))
    return (power - torch.eye(chain.n_states, dtype=torch.float64)) / step


@make_chain
@pytest.mark.parametrize("k", [2, 3, 4])
def test_transition_is_the_exponential_of_a_generator(make, k):
    chain = make(k)
    generator = _generator(chain)
    for share in 0.9, 0.4, 0.05:
        time = -torch.tensor(share, dtype=torch.float64).log()
        expected = torch.linalg.matrix_exp(generator * time)
        torch.testing.assert_close(
            chain.power(torch.tensor(share, dtype=torch.float64)), expected, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("law", [None, LAW])
def test_ordinal_chain_moves_to_neighbours_only(law):
    generator = _generator(OrdinalChain(4, law))
    for i, j in itertools.product(range(4), repeat=2):
        assert (abs(generator[i, j]) > 1e-3) == (abs(i - j) <= 1)
    # The slowest mode has the share that survives.
    values = torch.linalg.eigvals(generator).real.sort(descending=True).values
    torch.testing.assert_close(values[1], torch.tensor(-1.0).double(), atol=1e-6, rtol=0)


@make_chain
@settings(max_examples=6, deadline=None)
@given(k=st.integers(2, 4), a=shares, b=shares)
def test_steps_follow_each_other(make, k, a, b):
    chain = make(k)
    low, high = sorted((a, b))
    together = chain.cumulative(high) @ chain.transition(high, low)
    torch.testing.assert_close(together, chain.cumulative(low), atol=1e-9, rtol=0)


@make_chain
def test_ends_are_the_data_and_the_stated_law(make):
    chain = make(4)
    assert torch.equal(chain.cumulative(1.0), torch.eye(4, chain.n_states).double())
    nothing = chain.cumulative(0.0)
    torch.testing.assert_close(nothing, chain.stationary.expand_as(nothing))
    classes = torch.tensor([[0, 1, 2, 3, -1]])
    noise = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(chain.corrupt(classes, 1.0, noise), classes)
    assert chain.corrupt(classes, 0.0, noise)[0, -1] == -1


@make_chain
@settings(max_examples=6, deadline=None)
@given(k=st.integers(2, 4), a=shares, b=shares)
def test_posterior_is_bayes_on_enumerated_paths(make, k, a, b):
    chain = make(k)
    low, high = sorted((a, b))
    if high - low < 1e-3:
        high = min(low + 0.01, 1.0)
    table = chain.posterior(low, high)
    first, then = chain.cumulative(high), chain.transition(high, low)
    for data, now in itertools.product(range(k), range(chain.n_states)):
        paths = [float(first[data, s] * then[s, now]) for s in range(chain.n_states)]
        total = sum(paths)
        if total > 0:
            expected = [path / total for path in paths]
            assert table[data, now].tolist() == pytest.approx(expected, abs=1e-9)


@make_chain
@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=6, deadline=None)
@given(k=st.integers(2, 4), a=shares, b=shares)
def test_every_rule_keeps_the_marginals_given_the_data(make, rule, k, a, b):
    """Eq. 10.7."""
    chain = make(k)
    low, high = sorted((a, b))
    high = 1.0 if high - low < 1e-3 else high
    table = chain.backward(low, high, rule)
    after = torch.einsum("xt,xts->xs", chain.cumulative(low), table)
    torch.testing.assert_close(after, chain.cumulative(high), atol=1e-9, rtol=0)


@make_chain
@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=4, deadline=None)
@given(weights=st.lists(st.floats(0.01, 1), min_size=2, max_size=4))
def test_step_back_with_the_exact_denoiser_keeps_the_marginals(make, rule, weights):
    k = len(weights)
    chain = make(k)
    prior = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    exact = ExactClassDenoiser(torch.arange(k)[:, None], prior, chain)
    states = torch.arange(chain.n_states)[:, None]
    law = chain.stationary
    for share, share_next in itertools.pairwise([0.0, 0.2, 0.5, 0.9, 1.0]):
        probabilities = exact(states, share).softmax(-1)
        back = chain.law_back(probabilities, states, share, share_next, rule)[:, 0]
        law = law @ back
        expected = prior @ chain.cumulative(share_next)
        torch.testing.assert_close(law, expected, atol=1e-9, rtol=0)


def test_masks_stay_lifted_and_improved_edits_stay_undone():
    masking, substitution = MaskingChain(3), SubstitutionChain(3)
    lifted = masking.posterior(0.3, 0.6)
    assert torch.equal(lifted[1, 1], torch.tensor([0.0, 1, 0, 0]).double())
    improved = substitution.backward(0.3, 0.6, "improved")
    assert torch.equal(improved[1, 1], torch.tensor([0.0, 1, 0]).double())
    # A cell of another class goes back or stays, and never to a third.
    assert improved[1, 2, 0] == 0 and substitution.posterior(0.3, 0.6)[1, 2, 0] > 0


def test_given_cells_stay_however_little_survives():
    chain = MaskingChain(3)
    states, wrong = torch.tensor([1]), torch.tensor([[1.0, 0.0, 0.0]])
    assert chain.law_back(wrong, states, 0.0, 0.5).tolist() == [[0, 1, 0, 0]]


@make_chain
def test_draws_follow_their_law(make):
    chain = make(3)
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    for data in range(3):
        states = chain.corrupt(torch.full((20_000,), data), 0.4, noise)
        shares = states.bincount(minlength=chain.n_states) / 20_000
        torch.testing.assert_close(shares.double(), chain.cumulative(0.4)[data], atol=0.012, rtol=0)


def test_each_sequence_has_its_own_share():
    chain = SubstitutionChain(3)
    classes = torch.randint(3, (2, 4, 5), generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    together = chain.corrupt(classes, torch.tensor([0.9, 0.1]).double(), noise)
    for i, share in enumerate([0.9, 0.1]):
        assert torch.equal(together[i], chain.corrupt(classes[i], share, noise[i]))


def test_no_state_without_weight_is_drawn():
    law = torch.tensor([0.0, 0.3, 0.7, 0.0]).expand(2, 4)
    assert draw_states(law, torch.tensor([-40.0, 40.0])).tolist() == [1, 2]


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="n_classes=1 must"):
        MaskingChain(1)
    with pytest.raises(ValueError, match=r"law=.* positive share for each of the 3 classes"):
        OrdinalChain(3, [1, 0, 2])
    with pytest.raises(ValueError, match=r"share=0.5 and share_next=0.5"):
        MaskingChain(2).backward(0.5, 0.5)
    with pytest.raises(ValueError, match="rule='best' is unknown"):
        MaskingChain(2).backward(0.5, 0.6, "best")
