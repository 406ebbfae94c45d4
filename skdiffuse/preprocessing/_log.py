"""The logarithm with its behaviour near zero said outright."""

from __future__ import annotations

import math
from numbers import Real

import torch

from skdiffuse.preprocessing._elementwise import ElementwiseTransformer

__all__ = ["LogTransform"]


class LogTransform(ElementwiseTransformer):
    r"""Logarithm of rain above a threshold, continued by its tangent below.

    With offset :math:`a` and threshold :math:`x_0`,

    .. math::
        h(x) = \frac{x}{x_0 + a}\ (x \le x_0), \qquad
        h(x) = \frac{x_0}{x_0 + a} + \log\frac{x + a}{x_0 + a}\ (x > x_0),

    which is smooth to first order, strictly increasing and zero at zero. The default, without a
    threshold, is :math:`\log(1 + x/a)`; a pure logarithm above a threshold is ``offset=0``.

    Parameters
    ----------
    offset : float, default=0.1
        :math:`a` in mm/h, at least 0: the rate around which linear turns into logarithmic.
    threshold : float, default=0.0
        :math:`x_0` in mm/h, at least 0: below it the law is linear. One of the two must be
        positive.

    See Also
    --------
    BoxCoxTransform : Powers between the identity and the logarithm, fitted.

    Notes
    -----
    The latent's equal steps are equal ratios of rain: an error of 0.1 in the latent is 10 % of
    heavy rain, so noise there is amplified in mm/h.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import LogTransform
    >>> rain = np.array([[0.0, 0.1, 10.0]])
    >>> latent = LogTransform(offset=0.1).fit_transform(rain)
    >>> latent.round(3)
    array([[0.   , 0.693, 4.615]])
    >>> LogTransform(offset=0.1).inverse_transform(latent).round(9)
    array([[ 0. ,  0.1, 10. ]])
    """

    def __init__(self, offset: float = 0.1, threshold: float = 0.0):
        self.offset = offset
        self.threshold = threshold

    def _check_parameters(self) -> None:
        for name in ("offset", "threshold"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
                raise ValueError(f"{name}: got {value!r}; give a rate in mm/h of at least 0.")
        if self.offset + self.threshold == 0:
            raise ValueError(
                "offset and threshold are both 0, and the logarithm of zero rain is infinite; make "
                "one of them positive, such as offset=0.1."
            )

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.threshold + self.offset
        above = (x - self.threshold).clamp(min=0.0)
        return x.clamp(max=self.threshold) / scale + torch.log1p(above / scale)

    def _inverse(self, z: torch.Tensor) -> torch.Tensor:
        scale = self.threshold + self.offset
        join = self.threshold / scale
        above = (z - join).clamp(min=0.0)
        return z.clamp(max=join) * scale + scale * torch.expm1(above)

    def _log_derivative(self, x: torch.Tensor) -> torch.Tensor:
        return -torch.log(x.clamp(min=self.threshold) + self.offset)
