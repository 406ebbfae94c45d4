"""No transform."""

from __future__ import annotations

import torch

from skdiffuse.preprocessing._elementwise import ElementwiseTransformer

__all__ = ["IdentityTransform"]


class IdentityTransform(ElementwiseTransformer):
    """Rain as it is: :math:`h(x) = x`; the inverse only cuts negative values off.

    See Also
    --------
    SqrtTransform : What to use instead.

    Notes
    -----
    Nearly all of the latent's range goes to rain that nearly never falls, and noise in the latent
    becomes trace rain everywhere (dissertation, section 4.2): here as the reference to beat.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import IdentityTransform
    >>> IdentityTransform().inverse_transform(np.array([[-0.1, 0.2]]))
    array([[0. , 0.2]])
    """

    _exact_in_float32 = True

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    def _inverse(self, z: torch.Tensor) -> torch.Tensor:
        return z

    def _log_derivative(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x).where(~x.isnan(), x)
