import numpy as np
import pytest
import torch

from skdiffuse.training import PowerAverage, reconstruct_average
from skdiffuse.training.ema import AverageSnapshots, profile_weights


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_profile_is_a_power_of_the_step(width):
    """The average weighs step s by the power profile, whose standard deviation is the width."""
    n = 400
    layer = torch.nn.Linear(1, n, bias=False).double()
    average = PowerAverage(layer, relative_width=width)
    for step in range(1, n + 1):
        # Weights that are 1 in one place at each step show how each step is weighed.
        with torch.no_grad():
            layer.weight.zero_()[step - 1] = 1.0
        average.update(layer, step)
    weights = average.network.weight.detach().squeeze(1).numpy()
    assert weights.sum() == pytest.approx(1.0)
    position = np.arange(1, n + 1) / n
    mean = np.sum(weights * position)
    assert np.sqrt(np.sum(weights * (position - mean) ** 2)) == pytest.approx(width, rel=0.01)
    gamma = average.gamma
    # An average of n steps is the integral of the profile over each step.
    expected = np.diff(np.concatenate([[0.0], position ** (gamma + 1)]))
    np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_width_out_of_range():
    with pytest.raises(ValueError, match=r"relative_width=0\.5"):
        PowerAverage(torch.nn.Linear(1, 1), relative_width=0.5)


@pytest.mark.parametrize("width", [0.03, 0.07, 0.15, 0.2])
def test_other_widths_are_reconstructed(tmp_path, width):
    """Against an average of that width that was tracked along, on weights that wander."""
    random = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(1, 200, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
    snapshots = AverageSnapshots(tmp_path, layer)
    tracked = PowerAverage(layer, width)
    nearest = PowerAverage(layer, 0.1)
    for step in range(1, 601):
        with torch.no_grad():
            layer.weight += torch.randn(layer.weight.shape, generator=random)
        for average in (snapshots, tracked, nearest):
            average.update(layer, step)
        if snapshots.has_turn(step):
            snapshots.write(step)
    snapshots.write(600)
    assert len(list(tmp_path.iterdir())) <= 26
    found = reconstruct_average(tmp_path, width, 600)["weight"]
    error = (found - tracked.network.weight).norm()
    assert error < 0.03 * tracked.network.weight.norm()
    # Much nearer than the average that training kept.
    assert error < 0.25 * (nearest.network.weight - tracked.network.weight).norm()


def test_kept_widths_are_reconstructed_exactly():
    weights = profile_weights([8, 10, 12, 16], 0.05, 16)
    np.testing.assert_allclose(weights[-1], [1, 0], atol=1e-6)
    np.testing.assert_allclose(weights[:-1], 0, atol=1e-6)


def test_nothing_to_reconstruct_from(tmp_path):
    with pytest.raises(FileNotFoundError, match="average_snapshots=True"):
        reconstruct_average(tmp_path, 0.1)
