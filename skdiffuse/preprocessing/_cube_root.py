"""The cube root."""

from __future__ import annotations

import math

import torch

from skdiffuse.preprocessing._elementwise import ElementwiseTransformer

__all__ = ["CubeRootTransform"]


class CubeRootTransform(ElementwiseTransformer):
    r"""Cube root of rain: :math:`h(x) = x^{1/3}`.

    Gives light rain more of the latent range than the square root; rain totals are close to
    Gaussian after it [1]_. A negative latent is no rain.

    See Also
    --------
    SqrtTransform : The milder power.
    BoxCoxTransform : The power fitted to the data.

    Notes
    -----
    The slope is infinite at zero rain, as for :class:`SqrtTransform`.

    References
    ----------
    .. [1] C. K. Stidd (1953), Cube-root-normal precipitation distributions, Eos 34(1), 31-35.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import CubeRootTransform
    >>> CubeRootTransform().fit_transform(np.array([[0.0, 0.125, 8.0]])).round(12)
    array([[0. , 0.5, 2. ]])
    """

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.pow(1.0 / 3.0)

    def _inverse(self, z: torch.Tensor) -> torch.Tensor:
        return z.clamp(min=0.0).pow(3)

    def _log_derivative(self, x: torch.Tensor) -> torch.Tensor:
        return x.log() * (-2.0 / 3.0) - math.log(3.0)
