"""The square root."""

from __future__ import annotations

import math

import torch

from skdiffuse.preprocessing._elementwise import ElementwiseTransformer

__all__ = ["SqrtTransform"]


class SqrtTransform(ElementwiseTransformer):
    r"""Square root of rain: :math:`h(x) = \sqrt{x}`.

    The simplest transform that gives light rain a fair share of the latent range, and the
    dissertation's (section 4.3.2). A negative latent is no rain.

    See Also
    --------
    LearntMonotoneTransform : The curve learnt from the data.
    CubeRootTransform : More room still for light rain.

    Notes
    -----
    The slope is infinite at zero rain. Likelihoods of dry cells need a dry-cell treatment
    (:class:`DryCellTransform` with jitter).

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import SqrtTransform
    >>> rain = np.array([[0.0, 0.25, 4.0, np.nan]])
    >>> latent = SqrtTransform().fit_transform(rain)
    >>> latent
    array([[0. , 0.5, 2. , nan]])
    >>> SqrtTransform().inverse_transform(latent - 0.5)
    array([[0.  , 0.  , 2.25,  nan]])
    """

    _exact_in_float32 = True

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sqrt()

    def _inverse(self, z: torch.Tensor) -> torch.Tensor:
        return z.clamp(min=0.0).square()

    def _log_derivative(self, x: torch.Tensor) -> torch.Tensor:
        return -0.5 * x.log() - math.log(2.0)
