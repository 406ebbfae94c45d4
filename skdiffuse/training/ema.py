"""Exponential moving average of the weights."""

import copy

import torch
from torch import nn

__all__ = ["PowerAverage"]


class PowerAverage:
    """Average of a network's weights over its training, with a power-function profile.

    After step t the average weighs the weights of step s by (s / t)^gamma, so that its memory grows
    with the training: early noise is forgotten at once and the average always spans the same
    fraction of the steps taken, whatever their number. An average with a constant rate needs
    tuning to the length of the training, and is pure noise when that is short.

    Parameters
    ----------
    network : torch.nn.Module
        The network to average; a copy of it holds the average.
    relative_width : float, default=0.1
        Standard deviation of the profile as a fraction of the training length.

    Attributes
    ----------
    network : torch.nn.Module
        The averaged network.

    References
    ----------
    Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (2024),
    section 3 and appendix C: relative width sigma_rel = sqrt((gamma + 1) / ((gamma + 2)^2
    (gamma + 3))).

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(1, 1)
    >>> average = PowerAverage(layer)
    >>> average.update(layer, step=1)
    >>> bool(average.network.weight == layer.weight)
    True
    """

    def __init__(self, network: nn.Module, relative_width: float = 0.1) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.gamma = _power(relative_width)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step number `step`, counted from 1."""
        rate = 1.0 - (1.0 - 1.0 / step) ** (self.gamma + 1.0)
        for mean, value in zip(
            self.network.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(value, rate)
            else:
                mean.copy_(value)


def _power(relative_width: float) -> float:
    """Solve the definition of the relative width for gamma by bisection."""
    if not 0 < relative_width < 12**-0.5:
        raise ValueError(
            f"relative_width={relative_width!r} must lie between 0 and 0.288 (a flat average)."
        )

    def width(gamma: float) -> float:
        return ((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) ** 0.5

    low, high = 0.0, 1.0
    while width(high) > relative_width:
        high *= 2
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if width(middle) > relative_width else (low, middle)
    return 0.5 * (low + high)
