"""A strictly increasing, piecewise linear map held as a table of nodes."""

from __future__ import annotations

import numpy as np
import torch

from skdiffuse.preprocessing._elementwise import ElementwiseTransformer

__all__ = ["TabulatedTransformer", "floor_elasticity"]


class TabulatedTransformer(ElementwiseTransformer):
    """Base of the transforms that are learnt as a table: linear between nodes, exact inverse.

    A subclass's ``_fit`` sets ``rate_nodes_`` (mm/h) and ``latent_nodes_``: float64, strictly
    increasing, both starting at 0 so that trace rain keeps its relative precision. Beyond the last
    node the last slope continues.
    """

    _stateless = False

    def _interval(self, x: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        # NaN sorts after every node and falls into the last interval, where it stays NaN.
        found = torch.searchsorted(nodes, x.detach().contiguous(), right=True)
        return (found - 1).clamp(0, nodes.numel() - 2)

    def _nodes(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rate = torch.as_tensor(self.rate_nodes_, dtype=like.dtype, device=like.device)
        latent = torch.as_tensor(self.latent_nodes_, dtype=like.dtype, device=like.device)
        return rate, latent

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._interpolate(x, *self._nodes(x))

    def _inverse(self, z: torch.Tensor) -> torch.Tensor:
        rate, latent = self._nodes(z)
        return self._interpolate(z, latent, rate)

    def _log_derivative(self, x: torch.Tensor) -> torch.Tensor:
        rate, latent = self._nodes(x)
        log_slope = (latent.diff() / rate.diff()).log()[self._interval(x, rate)]
        return log_slope.where(~x.isnan(), x)

    def _interpolate(
        self, x: torch.Tensor, nodes: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        k = self._interval(x, nodes)
        slope = values.diff() / nodes.diff()
        return values[k] + slope[k] * (x - nodes[k])


def floor_elasticity(rate: np.ndarray, latent: np.ndarray, least: float) -> np.ndarray:
    """Raise `latent` so that every relative step of rain is at least `least` times one of latent.

    Rounding a latent to float32 changes rain by 6e-8 / elasticity in relative terms, where the
    elasticity is d log h / d log x. A floor of 0.07 keeps a float32 round trip within 1e-6.

    Parameters
    ----------
    rate, latent : ndarray of shape (n,)
        Nodes, increasing from 0.
    least : float
        Least elasticity.

    Returns
    -------
    latent : ndarray of shape (n,)
    """
    raised = latent.copy()
    for k in range(1, len(rate) - 1):
        step = max(latent[k + 1] - latent[k], 0.0)
        # The largest value of h / x in the interval is at its left end, or right of it if steeper.
        needed = least * raised[k] / rate[k] * (rate[k + 1] - rate[k])
        raised[k + 1] = raised[k] + max(step, needed)
    return raised
