"""Samplers by count against the enumerated law of their chains."""

import itertools
from collections import Counter

import pytest
import torch

from skdiffuse.corruptions.categorical import MaskingChain, OrdinalChain, SubstitutionChain
from skdiffuse.corruptions.class_counts import edit, sample_by_count, unmask
from skdiffuse.corruptions.class_denoisers import ExactClassDenoiser
from skdiffuse.diffusion import RandomStreams

PATTERNS = torch.tensor([[0, 0, 0], [0, 1, 2], [1, 2, 1], [2, 2, 2]])
PROBABILITIES = torch.tensor([0.4, 0.3, 0.2, 0.1]).double()
N = 6000


def _shares(maps):
    counts = Counter(map(tuple, maps.tolist()))
    return {key: n / len(maps) for key, n in counts.items()}


def _distance(maps, patterns=PATTERNS, probabilities=PROBABILITIES):
    """Total variation between drawn maps and the data's law."""
    found = _shares(maps)
    truth = {tuple(p.tolist()): float(q) for p, q in zip(patterns, probabilities, strict=True)}
    keys = found.keys() | truth.keys()
    return sum(abs(found.get(key, 0) - truth.get(key, 0)) for key in keys) / 2


def test_one_mask_at_a_time_draws_the_data():
    chain = MaskingChain(3)
    denoiser = ExactClassDenoiser(PATTERNS, PROBABILITIES, chain)
    maps = sample_by_count(denoiser, (3,), 3, chain, RandomStreams(range(N)))
    assert _distance(maps) < 0.02
    # All at once every cell is drawn by itself.
    assert _distance(sample_by_count(denoiser, (3,), 1, chain, RandomStreams(range(N)))) > 0.3


class _CountedEdits:
    """Exact probabilities given that c cells differ from the data, by enumeration."""

    def __init__(self):
        self.classes = torch.nn.functional.one_hot(PATTERNS, 3).double()

    def __call__(self, states, share):
        # The sampler tells the share that survives as 1 - c / n * K / (K - 1), or 0.
        differ = (PATTERNS[None] != states[:, None]).sum(-1)
        law = PROBABILITIES * (differ == self.count)
        law = law / law.sum(-1, keepdim=True)
        self.count -= 1
        return torch.tensordot(law, self.classes, dims=1).log()


def _all_different(generator):
    """Data, and states in which each cell holds another class."""
    data = PATTERNS[torch.multinomial(PROBABILITIES, N, True, generator=generator)]
    return (data + torch.randint(1, 3, data.shape, generator=generator)) % 3


def test_one_edit_at_a_time_draws_the_data():
    chain, denoiser = SubstitutionChain(3), _CountedEdits()
    denoiser.count = 3
    begin = _all_different(torch.Generator().manual_seed(0))
    maps = sample_by_count(
        denoiser, (3,), 3, chain, RandomStreams(range(N)), begin=begin, n_changed=3
    )
    assert _distance(maps) < 0.02


def test_maps_of_which_every_cell_differs_are_no_random_maps():
    """The seed begins the editing model with random classes, which is not the end of its chain."""
    begin = _all_different(torch.Generator().manual_seed(0))
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    even = torch.full((27,), 1 / 27)
    assert _distance(begin, every, even) > 0.1
    # Of two classes nothing would even be lost: the end is the negative of the data.
    assert torch.equal(SubstitutionChain(2).cumulative(0.0), torch.full((2, 2), 0.5).double())


def test_given_cells_are_conditioned_on_exactly():
    chain = MaskingChain(3)
    denoiser = ExactClassDenoiser(PATTERNS, PROBABILITIES, chain)
    begin = torch.tensor([3, 2, 3]).expand(N, 3)
    maps = sample_by_count(
        denoiser, (3,), 2, chain, RandomStreams(range(N)), begin=begin, n_changed=2
    )
    assert _shares(maps)[1, 2, 1] == pytest.approx(2 / 3, abs=0.02)
    assert _shares(maps)[2, 2, 2] == pytest.approx(1 / 3, abs=0.02)


def test_as_many_cells_change_as_are_asked_for():
    streams = RandomStreams(range(4))
    masked = torch.full((4, 5), 3)
    masked[:, 0] = 1
    probabilities = torch.full((4, 5, 3), 1 / 3)
    assert ((unmask(probabilities, masked, 2, streams) != masked).sum(1) == 2).all()
    assert ((unmask(probabilities, masked, 9, streams) == 3).sum(1) == 0).all()
    states = torch.randint(3, (4, 5), generator=torch.Generator().manual_seed(0))
    assert ((edit(probabilities, states, 2, streams) != states).sum(1) == 2).all()


def test_a_map_does_not_depend_on_its_batch():
    for chain in MaskingChain(3), SubstitutionChain(3):
        denoiser = ExactClassDenoiser(PATTERNS, PROBABILITIES, chain)
        together = sample_by_count(denoiser, (3,), 2, chain, RandomStreams([5, 6, 7]))
        alone = sample_by_count(denoiser, (3,), 2, chain, RandomStreams([6]))
        assert torch.equal(together[1:2], alone)


@pytest.mark.parametrize("chain", [OrdinalChain(3), SubstitutionChain(3, [0.5, 0.3, 0.2])])
def test_other_chains_are_not_counted_back(chain):
    with pytest.raises(ValueError, match="cannot be counted back along"):
        sample_by_count(lambda *_: None, (3,), 2, chain, RandomStreams([0]))
