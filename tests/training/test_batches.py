import numpy as np
import pytest
import torch

from skdiffuse.cubes import validate_cube
from skdiffuse.training import WindowBatches
from skdiffuse.training.batches import wet_preference


@pytest.fixture
def patchy_cube():
    """Dry but for a corner: few windows are wet."""
    rain = np.zeros((30, 16, 16), np.float32)
    rain[:, :6, :6] = np.random.default_rng(0).gamma(1.0, 2.0, size=(30, 6, 6))
    return rain


def test_weights_make_means_unbiased(patchy_cube):
    """The weighted mean over batches estimates the mean over all windows."""
    cube = validate_cube(patchy_cube)
    drawn = WindowBatches(cube, 3, (8, 8), batch_size=8, seed=1)
    estimates = []
    for step in range(600):
        rain, weights = drawn(step)
        estimates.append((rain.mean(dim=(1, 2, 3)) * weights).mean().item())
    exact = np.mean(
        [
            patchy_cube[t : t + 3, y : y + 8, x : x + 8].mean()
            for t in range(28)
            for y in range(9)
            for x in range(9)
        ]
    )
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - exact) < 4 * error
    assert error < 0.05 * exact


@pytest.mark.parametrize("bias", [0.0, 0.5, 0.9])
def test_weights_undo_the_preference_exactly(bias):
    """The expectation over draws, computed and not sampled, is the mean over all."""
    random = np.random.default_rng(0)
    wet = random.random(40) * (random.random(40) < 0.3)
    probabilities, weights = wet_preference(wet, bias)
    assert probabilities.sum() == pytest.approx(1)
    assert np.sum(probabilities * weights * wet) == pytest.approx(wet.mean())
    assert (np.sum(probabilities * wet) > 1.2 * wet.mean()) == (bias > 0)
    assert weights.max() <= 1 / (1 - bias) + 1e-9


def test_where_all_is_dry_all_are_alike():
    probabilities, weights = wet_preference(np.zeros(5), 0.5)
    np.testing.assert_allclose(probabilities, 0.2)
    np.testing.assert_allclose(weights, 1)


def test_wet_windows_are_drawn_more_often(patchy_cube):
    cube = validate_cube(patchy_cube)

    def wet_share(n_candidates):
        drawn = WindowBatches(cube, 3, (8, 8), 8, seed=0, n_candidates=n_candidates)
        return np.mean([(drawn(step)[0] >= 0.1).float().mean().item() for step in range(50)])

    assert wet_share(4) > 1.5 * wet_share(1)


def test_a_batch_depends_on_its_step_alone(patchy_cube):
    cube = validate_cube(patchy_cube)
    first, second = (WindowBatches(cube, 4, (8, 8), 4, seed=3) for _ in range(2))
    for step in (0, 1, 7):
        assert torch.equal(first(step)[0], second(step)[0])
    assert not torch.equal(first(0)[0], first(1)[0])
    other = WindowBatches(cube, 4, (8, 8), 4, seed=4)
    assert not torch.equal(first(0)[0], other(0)[0])


def test_even_draws_have_no_weights(patchy_cube):
    """Whole fields, which leave a window nothing to choose but its first frame."""
    rain, weights = WindowBatches(validate_cube(patchy_cube), 3, (16, 16), 4, 0, n_candidates=1)(0)
    windows = np.stack([patchy_cube[t : t + 3] for t in range(28)])
    for window in rain.numpy():
        assert (windows == window).all((1, 2, 3)).sum() == 1
    assert torch.equal(weights, torch.ones(4))


def test_epoch_covers_the_cube_once(patchy_cube):
    assert WindowBatches(validate_cube(patchy_cube), 3, (8, 8), 4, 0).steps_per_epoch == 10
