"""Blur by the heat equation, diagonal in the cosine basis of a field with insulated edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["blur", "cosine_basis", "damping"]


def cosine_basis(n: int) -> Tensor:
    """Orthonormal cosines of the discrete cosine transform (type II), shape (n, n), float64.

    Row k is the cosine of wave number ``pi k / n`` per cell.
    """
    k, cell = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    basis = torch.cos(math.pi * k * (cell + 0.5) / n) * math.sqrt(2 / n)
    basis[0] = math.sqrt(1 / n)
    return basis


def damping(n: int, width: Tensor) -> Tensor:
    """What is left of each cosine of n cells, ``exp(-(width wave number)^2 / 2)``.

    The solution of ``dx / dtau = Laplacian x`` at ``tau = width^2 / 2``: a Gaussian kernel of a
    standard deviation of `width` cells, mirrored at the edges.

    Parameters
    ----------
    n : int
    width : Tensor of shape () or (n_samples,)
        May be infinite, where the mean alone is left.

    Returns
    -------
    Tensor of float64, shape (n,) or (n_samples, n)

    Examples
    --------
    >>> damping(4, torch.tensor([0.0, 1.0, torch.inf]))
    tensor([[1.0000, 1.0000, 1.0000, 1.0000],
            [1.0000, 0.7346, 0.2912, 0.0623],
            [1.0000, 0.0000, 0.0000, 0.0000]], dtype=torch.float64)
    """
    wave_number = math.pi * torch.arange(n, dtype=torch.float64, device=width.device) / n
    spread = torch.where(wave_number > 0, width.double()[..., None] * wave_number, 0.0)
    # An infinite width times no wave number is no number.
    return torch.exp(-0.5 * spread.nan_to_num(0.0, posinf=math.inf) ** 2)


def blur(field: Tensor, width: Tensor) -> Tensor:
    """Blur fields along their last two axes.

    Parameters
    ----------
    field : Tensor of shape (n, ..., y, x)
    width : Tensor of shape () or (n,)
        In cells; see `damping`.

    Examples
    --------
    >>> point = torch.zeros(1, 3, 3)
    >>> point[0, 1, 1] = 9.0
    >>> blur(point, torch.tensor(torch.inf)).round(decimals=4)[0, 0]
    tensor([1., 1., 1.])
    """
    width = torch.as_tensor(width).to(field.device)
    for axis in (-2, -1):
        n = field.shape[axis]
        basis = cosine_basis(n).to(field.device)
        kernel = basis.T @ (damping(n, width)[..., None] * basis)
        if kernel.ndim == 3:
            kernel = kernel.reshape(-1, *[1] * (field.ndim - 3), n, n)
        kernel = kernel.to(field)
        # Symmetric: no transpose.
        field = kernel @ field if axis == -2 else field @ kernel
    return field
