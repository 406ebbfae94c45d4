"""The bound of class maps against their enumerated probability."""

import itertools

import pytest
import torch

from skdiffuse.corruptions.categorical import MaskingChain, OrdinalChain, SubstitutionChain
from skdiffuse.corruptions.class_bounds import (
    bound_of_step,
    class_bound,
    class_cross_entropy,
    masking_bound,
)
from skdiffuse.corruptions.class_denoisers import ExactClassDenoiser
from skdiffuse.diffusion import RandomStreams

PATTERNS = torch.tensor([[0, 0], [0, 1], [1, 2], [2, 2]])
PROBABILITIES = torch.tensor([0.4, 0.3, 0.2, 0.1]).double()
CHAINS = [MaskingChain, SubstitutionChain, OrdinalChain]


def _enumerated_bound(chain, denoiser, pattern, shares):
    """Minus the bound, with every state of every step weighted by its probability."""
    cells = len(pattern)
    states = torch.tensor(list(itertools.product(range(chain.n_states), repeat=cells)))
    data = pattern.expand_as(states)
    total = torch.zeros((), dtype=torch.float64)
    for share, share_next in itertools.pairwise(shares):
        weights = chain.cumulative(share)[data, states].prod(-1)
        possible = weights > 0
        probabilities = denoiser(states[possible], share).softmax(-1)
        each = bound_of_step(
            chain, probabilities, data[possible], states[possible], share, share_next
        )
        total += weights[possible] @ each.sum(-1)
    return total


@pytest.mark.parametrize("make", CHAINS)
@pytest.mark.parametrize("k", [2, 3, 4])
def test_bound_of_one_cell_is_its_log_probability(make, k):
    chain = make(k)
    law = torch.tensor([0.5, 0.3, 0.15, 0.05])[:k].double()
    law = law / law.sum()
    denoiser = ExactClassDenoiser(torch.arange(k)[:, None], law, chain)
    for data in range(k):
        for n_steps in 1, 3, 7:
            grid = torch.linspace(0, 1, n_steps + 1).double()
            bound = _enumerated_bound(chain, denoiser, torch.tensor([data]), grid)
            assert float(bound) == pytest.approx(-float(law[data].log()), abs=1e-9)


@pytest.mark.parametrize("make", CHAINS)
def test_bound_of_several_cells_tightens_with_the_steps(make):
    chain = make(3)
    denoiser = ExactClassDenoiser(PATTERNS, PROBABILITIES, chain)
    excess = []
    for n_steps in 2, 8, 32:
        grid = torch.linspace(0, 1, n_steps + 1).double()
        bounds = [_enumerated_bound(chain, denoiser, pattern, grid) for pattern in PATTERNS]
        excess.append(float(PROBABILITIES @ (torch.stack(bounds) + PROBABILITIES.log())))
    assert all(each > 0 for each in excess)
    assert excess[2] < 0.4 * excess[1] < 0.16 * excess[0]


def test_masking_bound_in_continuous_time_is_the_exact_probability():
    chain = MaskingChain(3)
    denoiser = ExactClassDenoiser(PATTERNS, PROBABILITIES, chain)
    # Every number of masked cells and, in expectation, every choice of them: by both orders.
    for pattern, probability in zip(PATTERNS, PROBABILITIES, strict=True):
        maps = pattern.expand(4000, 2)
        bound = masking_bound(denoiser, maps, 2, chain, RandomStreams(range(4000)))
        error = bound.std() / 4000**0.5
        assert abs(bound.mean() - probability.log()) < 4 * error + 1e-9


@pytest.mark.parametrize("make", CHAINS)
def test_drawn_bound_agrees_with_the_enumerated_one(make):
    chain = make(3)
    denoiser = ExactClassDenoiser(PATTERNS, PROBABILITIES, chain)
    grid = torch.linspace(0, 1, 5).double()
    expected = -_enumerated_bound(chain, denoiser, PATTERNS[2], grid)
    drawn = class_bound(
        denoiser, PATTERNS[2].expand(4000, 2), grid, chain, RandomStreams(range(4000))
    )
    assert abs(drawn.mean() - expected) < 4 * drawn.std() / 4000**0.5


def test_what_never_became_noise_costs():
    chain = SubstitutionChain(3)
    denoiser = ExactClassDenoiser(PATTERNS, PROBABILITIES, chain)
    maps, streams = PATTERNS[:1], RandomStreams([0])
    whole = class_bound(denoiser, maps, torch.tensor([0.0, 1.0]), chain, streams)
    half = class_bound(denoiser, maps, torch.tensor([0.5, 1.0]), chain, RandomStreams([0]))
    last = chain.cumulative(0.5)[0]
    assert half < whole + 1e9
    prior = 2 * float((last * (last / chain.stationary).log()).sum())
    assert float(half) < -prior


def test_missing_cells_cost_nothing_and_are_no_question():
    chain = MaskingChain(3)
    classes, states = torch.tensor([[0, -1, 2]]), torch.tensor([[3, -1, 2]])
    logits = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))
    loss = class_cross_entropy(logits, classes, states, chain)
    assert loss == pytest.approx(-float(logits[0, 0].log_softmax(-1)[0]))
    each = bound_of_step(chain, logits.softmax(-1), classes, states, 0.2, 1.0)
    assert each[0, 0] == pytest.approx(float(loss)) and each[0, 1:].tolist() == [0, 0]
    nothing = torch.full((1, 3), -1)
    assert class_cross_entropy(logits, nothing, nothing, chain) == 0


def test_cross_entropy_of_masks_is_the_bound_per_cell():
    """Its mean over counts of masked cells, each with all choices, is the bound by cells."""
    chain = MaskingChain(3)
    denoiser = ExactClassDenoiser(PATTERNS, PROBABILITIES, chain)
    pattern = PATTERNS[1]
    by_count = []
    for masked in [[(0,), (1,)], [(0, 1)]]:
        of_choice = []
        for cells in masked:
            states = pattern.clone()
            states[list(cells)] = chain.mask
            logits = denoiser(states[None], torch.tensor(0.5))
            of_choice.append(class_cross_entropy(logits, pattern[None], states[None], chain))
        by_count.append(torch.stack(of_choice).mean())
    loss = torch.stack(by_count).mean()
    assert 2 * float(loss) == pytest.approx(-float(PROBABILITIES[1].log()))


def test_wrong_shares_are_named():
    chain = MaskingChain(3)
    denoiser = ExactClassDenoiser(PATTERNS, PROBABILITIES, chain)
    for shares in [[0.0, 0.5], [0.5, 0.2, 1.0], [1.0]]:
        with pytest.raises(ValueError, match=r"shares=.* must increase"):
            class_bound(denoiser, PATTERNS[:1], torch.tensor(shares), chain, RandomStreams([0]))
