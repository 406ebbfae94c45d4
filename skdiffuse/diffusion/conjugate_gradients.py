"""The linear system of conditioning, solved for each sequence without forming a matrix."""

from collections.abc import Callable

import torch
from torch import Tensor

from skdiffuse.diffusion.linearisation import Linearisation
from skdiffuse.diffusion.parameterizations import like

__all__ = ["LARGEST_GAIN", "gaussian_correction"]

LARGEST_GAIN = 4.0


def gaussian_correction(
    tangent: Linearisation,
    covariance_times: Callable[[Tensor], Tensor],
    error_variance: Tensor,
    *,
    n_iterations: int,
    tolerance: float = 0.0,
    pinned: Tensor | None = None,
    largest_gain: float = LARGEST_GAIN,
) -> Tensor:
    """``C A^T u`` with ``(A C A^T + R) u = r``: what the residual r says about the whole field.

    The correction of the mean of a Gaussian of covariance C for an observation by A with the error
    variance R, by conjugate gradients. Each sequence has its own step lengths and its own end, so
    that it comes out the same alone and in any batch.

    Parameters
    ----------
    tangent : Linearisation
        A, its transpose, and r.
    covariance_times : callable
        ``C w`` for a field w. It may be only nearly symmetric and positive, as a network's is.
    error_variance : Tensor
        R, broadcasting against r.
    n_iterations : int
        Most products with C.
    tolerance : float
        A sequence is finished when its residual has fallen to this part of r.
    pinned : Tensor of bool, of the field's shape, optional
        Cells whose correction is not used, because their value is known.
    largest_gain : float
        A step corrects the other cells, in the root mean square, by at most this many times the
        least correction that would explain the residual, ``|r|^2 / |A^T r|`` over the cells that
        are observed. The form ``d^T A C A^T d``, which divides the step, is held so large: a
        network's may be close to zero. Where it is negative no step is taken, and the next
        direction is the residual itself.

    Returns
    -------
    Tensor of the field's shape
    """
    residual = direction = tangent.residual
    squared = _dot(residual, residual)
    finished = squared * tolerance**2
    pulled = tangent.adjoint(direction)
    correction = torch.zeros_like(pulled)
    n_cells = pulled[0].numel()
    n_touched = (pulled != 0).flatten(1).sum(1)
    n_free = n_cells if pinned is None else n_cells - pinned.flatten(1).sum(1)
    scale = torch.sqrt(n_touched / torch.as_tensor(n_free).clamp(min=1)) / largest_gain
    stiffest = torch.zeros_like(squared)
    for iteration in range(n_iterations):
        if iteration > 0:
            pulled = tangent.adjoint(direction)
        product = covariance_times(pulled)
        moved = product if pinned is None else torch.where(pinned, 0.0, product)
        least = scale.to(product) * (_dot(moved, moved) * _dot(pulled, pulled)).sqrt()
        curvature = _dot(pulled, product)
        # In a direction in which it is not positive, the covariance says nothing.
        squared = torch.where(curvature > 0, squared, 0.0)
        curvature = torch.maximum(curvature, least)
        form = curvature + _dot(error_variance * direction, direction)
        # Observations that contradict each other leave a residual that nothing explains. Along it
        # the form is but a rounding error, by which no step may be divided.
        stiffness = form / _dot(direction, direction)
        stiffest = torch.fmax(stiffest, stiffness)
        form = torch.where(stiffness > 8 * torch.finfo(form.dtype).eps * stiffest, form, torch.inf)
        length = squared / form
        # Nothing observed, or no misfit left: there is nothing to correct.
        length = torch.where(torch.isfinite(length) & (squared > finished), length, 0.0)
        correction = correction + like(length, product) * product
        if iteration == n_iterations - 1:
            break
        explained = tangent.forward(product) + error_variance * direction
        residual = residual - like(length, residual) * explained
        previous, squared = squared, _dot(residual, residual)
        if not (squared > finished).any():
            break
        ratio = squared / previous
        ratio = torch.where(torch.isfinite(ratio), ratio, 0.0)
        direction = residual + like(ratio, residual) * direction
    return correction


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each pair of sequences, shape (n,)."""
    return (a * b).flatten(1).sum(1)
