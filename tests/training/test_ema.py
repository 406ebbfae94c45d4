import numpy as np
import pytest
import torch

from skdiffuse.training import PowerAverage


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
