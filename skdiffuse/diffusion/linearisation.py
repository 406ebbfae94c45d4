"""The tangent of a differentiable operator at a field, by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Linearisation"]


@dataclass(frozen=True)
class Linearisation:
    """Tangent A of an operator at a field, and what is left to explain there.

    Attributes
    ----------
    residual : Tensor of shape (n, ...)
        Observed minus predicted, 0 where missing.
    forward : callable
        ``A w``: change of what is observed, for a change w of the field.
    adjoint : callable
        ``A^T u``, of the field's shape.
    """

    residual: Tensor
    forward: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]

    @classmethod
    def of(
        cls,
        operator: Callable[[Tensor], Tensor],
        field: Tensor,
        misfit: Callable[[Tensor], Tensor],
    ) -> Linearisation:
        """Linearise ``field -> operator(field)``, the residual being ``misfit(operator(field))``.

        The product with the tangent is the derivative of the product with its transpose, which is
        linear in its argument, so that reverse-mode differentiation suffices for both.
        """
        with torch.enable_grad():
            field = field.detach().requires_grad_()
            residual = misfit(operator(field))
            explained = -residual
            probe = torch.zeros_like(residual, requires_grad=True)
            (pulled,) = torch.autograd.grad(explained, field, probe, create_graph=True)

        def forward(w: Tensor) -> Tensor:
            return torch.autograd.grad(pulled, probe, w, retain_graph=True)[0]

        def adjoint(u: Tensor) -> Tensor:
            return torch.autograd.grad(explained, field, u, retain_graph=True)[0]

        return cls(residual.detach(), forward, adjoint)
