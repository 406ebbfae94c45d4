import pytest
import torch

from skdiffuse.estimator.completion import complete
from skdiffuse.runtime.seeds import derived_seed


def count_up(window, known, seeds, start):
    """Continue each sequence by one more than the frame before."""
    filled = window.clone()
    for t in range(1, filled.shape[1]):
        filled[:, t] = torch.where(known[:, t], filled[:, t], filled[:, t - 1] + 1)
    return filled


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("n_frames", [2, 4, 7])
def test_later_windows_go_on_from_earlier_ones(length, n_frames):
    rain = torch.full((2, length, 1, 1), torch.nan)
    rain[:, 0] = 0.0
    filled = complete(rain, count_up, n_frames=n_frames, seeds=[(0,), (1,)])
    assert torch.equal(filled[0].flatten(), torch.arange(float(length)))


def test_windows_have_the_length_of_training_and_their_own_seeds():
    seen = []

    def draw(window, known, seeds, start):
        seen.append((window.shape[1], tuple(seeds)))
        return torch.where(known, window, 0.0)

    complete(torch.full((1, 9, 2, 2), torch.nan), draw, n_frames=4, seeds=[(5,)])
    assert {length for length, _ in seen} == {4}
    assert len({seeds for _, seeds in seen}) == len(seen) > 1


def test_windows_without_a_gap_cost_nothing():
    def never(*_):
        raise AssertionError("drawn although everything is known")

    rain = torch.ones(1, 9, 2, 2)
    assert torch.equal(complete(rain, never, n_frames=4, seeds=[(0,)]), rain)


def test_seeds_of_different_samples_differ():
    seeds = {derived_seed(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000
