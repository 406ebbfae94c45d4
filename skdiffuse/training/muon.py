"""Muon: steps along the orthogonal matrix nearest to the momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from skdiffuse.training.processes import shared_like, whole

__all__ = ["Muon", "are_matrices", "orthogonalised"]

# Jordan's quintic: five times it brings singular values from .002 up into (.7, 1.2).
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95
# Root mean square of a matrix's step in units of the learning rate. Steps of AdamW have about .2;
# three times that learnt fastest here.
STEP = 0.6
# Matrices between thinner layers, such as the first and the last, have little to turn.
LEAST_CHANNELS = 16


class Muon(torch.optim.AdamW):
    """Muon for the weights of inner layers, AdamW for all others.

    The momentum of a matrix is taken to the nearest (half-)orthogonal one, so that a step moves all
    directions alike, those seldom seen too. Decay, and the learning rate that a step is in units
    of, are those of AdamW.

    Parameters
    ----------
    params : list of dict
        Groups as of `torch.optim.AdamW`; ``"matrices"``, a list of bool, says which of a group's
        parameters are matrices, (output, input, ...), all but the first axis taken together.
        Without it none is.
    **options
        Of `torch.optim.AdamW`.

    References
    ----------
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
    Liu et al., "Muon is scalable for LLM training" (2025): the scale of steps.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(2, 3))
    >>> optimizer = Muon([{"params": [weight], "matrices": [True], "weight_decay": 0.0}], lr=0.01)
    >>> weight.grad = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1e-2, 0.0]])
    >>> optimizer.step()
    >>> bool(weight[1, 1] < 0.5 * weight[0, 0])  # a hundredth of the gradient, and yet learnt
    True
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take a step, after which the matrices have no gradient any more.

        Parameters
        ----------
        closure : callable, optional
            See `torch.optim.Optimizer.step`.
        """
        for group in self.param_groups:
            matrices = group.get("matrices", [False] * len(group["params"]))
            for parameter, is_matrix in zip(group["params"], matrices, strict=True):
                if is_matrix and parameter.grad is not None:
                    self._step_of_matrix(parameter, group["lr"], group["weight_decay"])
                    parameter.grad = None
        super().step(closure)

    def _step_of_matrix(self, parameter: Tensor, rate: float, decay: float) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            # Where states are restored, AdamW looks for a count of steps.
            state["step"] = torch.tensor(0.0)
            state["momentum"] = torch.zeros_like(parameter)
        state["step"] += 1
        momentum = state["momentum"].mul_(MOMENTUM).add_(parameter.grad)
        # Nesterov's: as if the next gradient were like this one.
        ahead = whole(parameter.grad.add(momentum, alpha=MOMENTUM))
        direction = orthogonalised(ahead.flatten(1))
        # An orthogonal matrix has elements of root mean square 1 / sqrt(its longer side).
        scale = STEP * max(direction.shape) ** 0.5
        parameter.mul_(1 - rate * decay)
        step = shared_like(direction.reshape(ahead.shape), parameter)
        parameter.add_(step, alpha=-rate * scale)


def are_matrices(module: nn.Module) -> list[bool]:
    """Of each parameter, in the module's order: whether it is the weight of an inner layer.

    Examples
    --------
    >>> are_matrices(torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Linear(32, 32)))
    [False, False, True, False]
    """
    inner = {
        id(layer.weight)
        for layer in module.modules()
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
        and min(layer.weight.shape[:2]) >= LEAST_CHANNELS
    }
    return [id(parameter) in inner for parameter in module.parameters()]


def orthogonalised(matrix: Tensor) -> Tensor:
    """About the nearest half-orthogonal matrix: the singular values become nearly 1.

    The iteration ``x <- (a + b x x' + c (x x')^2) x``, worked out on the product x x' alone, which
    is the smaller: all its polynomials commute, and meet x once at the end.

    Parameters
    ----------
    matrix : Tensor of shape (rows, columns)

    Returns
    -------
    Tensor, likewise; 0 for 0

    Examples
    --------
    >>> torch.linalg.svdvals(orthogonalised(torch.tensor([[3.0, 0.0], [0.0, 0.1]]))).round()
    tensor([1., 1.])
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.T).T
    a, b, c = QUINTIC
    x = matrix / (matrix.norm() + 1e-12)
    product = x @ x.T
    identity = torch.eye(len(x), dtype=x.dtype, device=x.device)
    factor = identity
    for _ in range(ITERATIONS):
        polynomial = torch.addmm(a * identity + b * product, product, product, alpha=c)
        factor = polynomial @ factor
        product = polynomial @ product @ polynomial
    return factor @ x
