"""Orthonormal spectral bases of sequences, and the power that data have in them."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from skdiffuse.networks.edges import Edges

__all__ = ["mean_power", "periodic_axes", "power_at", "spectral_transform", "wave_numbers"]


def periodic_axes(edges: Edges) -> tuple[bool, bool, bool]:
    """Which of time, y and x go on at their other end."""
    y, x = edges
    return False, y == "periodic", x == "periodic"


def spectral_transform(
    x: Tensor, periodic: tuple[bool, bool, bool] = (False,) * 3, inverse: bool = False
) -> Tensor:
    """Orthonormal transform of the last three axes, or its inverse.

    Parameters
    ----------
    x : Tensor of shape (..., frames, y, x)
    periodic : tuple of bool
        Cosines of half waves (DCT-II) along an axis that is not periodic; sines and cosines of
        whole waves, in pairs, along one that is.
    inverse : bool
    """
    for axis, whole_waves in zip((-3, -2, -1), periodic, strict=True):
        basis = _waves if whole_waves else _cosines
        matrix = basis(x.shape[axis], x.device, x.dtype)
        matrix = matrix if inverse else matrix.T
        x = (x.movedim(axis, -1) @ matrix).movedim(-1, axis)
    return x


def mean_power(
    latents: Iterable[Tensor],
    weights: Iterable[Tensor],
    periodic: tuple[bool, bool, bool] = (False,) * 3,
) -> Tensor:
    """Mean square of the spectral coefficients of windows.

    Parameters
    ----------
    latents : iterable of Tensor of shape (n, frames, y, x)
        Of mean 0; NaN where missing, which is left out as far as a mean square can.
    weights : iterable of Tensor of shape (n,)
        What each window stands for.
    periodic : tuple of bool
        See `spectral_transform`. A wave has the same power wherever it begins: sine and cosine
        share theirs.

    Returns
    -------
    Tensor of shape (frames, y, x)

    Examples
    --------
    >>> import torch
    >>> mean_power([torch.ones(1, 2, 2, 2)], [torch.ones(1)]).flatten().round()
    tensor([8., 0., 0., 0., 0., 0., 0., 0.])
    """
    total: Tensor | float = 0.0
    weight: Tensor | float = 0.0
    for latent, w in zip(latents, weights, strict=True):
        known = torch.isfinite(latent)
        coefficients = spectral_transform(torch.where(known, latent, 0.0), periodic)
        w = w.reshape(-1, 1, 1, 1)
        total = total + (w * coefficients.square()).sum(0)
        weight = weight + (w * known.float().mean((1, 2, 3), keepdim=True)).sum()
    power = torch.as_tensor(total / weight)
    for axis, whole_waves in enumerate(periodic):
        if whole_waves:
            frequency = _frequencies(power.shape[axis], True, power.device)
            first = _first_row(frequency, True)
            last = (2 * frequency).clamp(max=power.shape[axis] - 1)
            power = 0.5 * (power.index_select(axis, first) + power.index_select(axis, last))
    return power


def power_at(
    power: Tensor, shape: Iterable[int], periodic: tuple[bool, bool, bool] = (False,) * 3
) -> Tensor:
    """Power at the frequencies of sequences of any shape, linear between those known.

    Parameters
    ----------
    power : Tensor of shape (..., frames, y, x)
        As from `mean_power`.
    shape : iterable of int
        Frames, rows and columns wanted.
    periodic : tuple of bool
        See `spectral_transform`.

    Examples
    --------
    >>> import torch
    >>> power_at(torch.tensor([[[3.0, 1.0]]]), (1, 1, 4)).flatten()
    tensor([3., 2., 1., 1.])
    """
    for axis, n, whole_waves in zip((-3, -2, -1), shape, periodic, strict=True):
        known = power.shape[axis]
        if n == known:
            continue
        position = _frequencies(n, whole_waves, power.device) * (known / n)
        highest = known // 2 if whole_waves else known - 1
        lower = position.long().clamp(max=highest)
        upper = (lower + 1).clamp(max=highest)
        fraction = (position - lower).to(power.dtype)
        fraction = fraction.reshape([-1] + [1] * (-1 - axis))
        at_lower, at_upper = (
            power.index_select(axis, _first_row(frequency, whole_waves))
            for frequency in (lower, upper)
        )
        power = torch.lerp(at_lower, at_upper, fraction)
    return power


def wave_numbers(n: int, periodic: bool) -> Tensor:
    """Half waves along an axis of n cells for each row of its basis.

    Examples
    --------
    >>> wave_numbers(4, False), wave_numbers(4, True)
    (tensor([0., 1., 2., 3.]), tensor([0., 2., 2., 4.]))
    """
    return _frequencies(n, periodic, torch.device("cpu")) * (2.0 if periodic else 1.0)


def _frequencies(n: int, periodic: bool, device: torch.device) -> Tensor:
    """Waves, or half waves, along the axis for each row of its basis."""
    rows = torch.arange(n, device=device)
    return (rows + 1) // 2 if periodic else rows


def _first_row(frequency: Tensor, periodic: bool) -> Tensor:
    """The first row of a basis that has a frequency."""
    return (2 * frequency - 1).clamp(min=0) if periodic else frequency


def _cosines(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Rows are the orthonormal cosines of n points."""
    k = torch.arange(n, device=device, dtype=dtype)
    matrix = math.sqrt(2 / n) * torch.cos(math.pi / n * k[:, None] * (k + 0.5))
    matrix[0] /= math.sqrt(2)
    return matrix


def _waves(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Rows are the orthonormal waves of n points on a circle: 1, cos, sin, cos 2, sin 2, ..."""
    frequency = _frequencies(n, True, device).to(dtype)
    angle = 2 * math.pi / n * frequency[:, None] * torch.arange(n, device=device, dtype=dtype)
    is_sine = (torch.arange(n, device=device) % 2 == 0)[:, None]
    matrix = math.sqrt(2 / n) * torch.where(is_sine, angle.sin(), angle.cos())
    matrix[0] = math.sqrt(1 / n)
    if n % 2 == 0:
        matrix[-1] /= math.sqrt(2)
    return matrix
