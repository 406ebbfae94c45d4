"""Box-Cox with a shift."""

from __future__ import annotations

import math
import warnings
from numbers import Real

import numpy as np
import torch
from scipy import optimize, stats

from skdiffuse.preprocessing._elementwise import (
    Array,
    ElementwiseTransformer,
    finite_values,
    own_random_state,
)
from skdiffuse.runtime.array_types import RandomStateLike

__all__ = ["BoxCoxTransform"]

_SUBSAMPLE = 100_000


class BoxCoxTransform(ElementwiseTransformer):
    r"""Shifted Box-Cox power, its exponent fitted to wet cells by maximum likelihood.

    .. math:: h(x) = \frac{(x + a)^{\lambda} - a^{\lambda}}{\lambda}, \qquad
              h(x) = \log(1 + x/a)\ \text{for}\ \lambda = 0,

    the transform of Box and Cox [1]_ shifted to be zero at zero rain, for offset :math:`a`.

    Parameters
    ----------
    power : float or None, default=None
        :math:`\lambda`, at least 0; None fits it in [0, 1] to the wet cells.
    offset : float, default=0.01
        :math:`a` in mm/h, positive. Cells above it are the wet ones.
    random_state : int, RandomState or None, default=None
        Draws 100,000 of the wet cells where there are more.

    Attributes
    ----------
    power_ : float
        :math:`\lambda` used.

    See Also
    --------
    LogTransform : The limit of power 0.
    NormalScoreTransform : Gaussian by construction.

    Notes
    -----
    A negative exponent would bound the latent above, and with it the rain; the fit stops at 0.
    With fewer than two different wet values the likelihood says nothing and 0.5 is used, with a
    warning.

    References
    ----------
    .. [1] G. E. P. Box and D. R. Cox (1964), An analysis of transformations, J. R. Stat. Soc. B
       26, 211-252.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import BoxCoxTransform
    >>> rain = np.random.default_rng(0).gamma(0.5, 2.0, size=(50, 20))
    >>> transform = BoxCoxTransform(random_state=0).fit(rain)
    >>> round(transform.power_, 2)
    0.08
    """

    _stateless = False

    def __init__(
        self,
        power: float | None = None,
        offset: float = 0.01,
        random_state: RandomStateLike = None,
    ) -> None:
        self.power = power
        self.offset = offset
        self.random_state = random_state

    def _check_parameters(self) -> None:
        if self.power is not None and not (
            isinstance(self.power, Real) and 0 <= self.power < math.inf
        ):
            raise ValueError(f"power: got {self.power!r}; give a number of at least 0, or None.")
        if not isinstance(self.offset, Real) or not 0 < self.offset < math.inf:
            raise ValueError(f"offset: got {self.offset!r}; give a positive rate in mm/h.")

    def _fit(self, X: Array) -> None:
        if self.power is not None:
            self.power_ = float(self.power)
            return
        wet = finite_values(X, _SUBSAMPLE, own_random_state(self.random_state), self.offset)
        if np.unique(wet).size < 2:
            warnings.warn(
                f"BoxCoxTransform: fewer than two different values above offset={self.offset} "
                "mm/h; using power 0.5. Fit on data with rain, or set power.",
                UserWarning,
                stacklevel=3,
            )
            self.power_ = 0.5
            return
        shifted = wet + self.offset
        found = optimize.minimize_scalar(
            lambda power: -stats.boxcox_llf(power, shifted), bounds=(0.0, 1.0), method="bounded"
        )
        self.power_ = float(found.x)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        # expm1(lambda log1p(x/a)) keeps trace rain, which (x + a)^lambda - a^lambda cancels.
        log_ratio = torch.log1p(x / self.offset)
        if self.power_ == 0:
            return log_ratio
        return torch.expm1(self.power_ * log_ratio) * (self.offset**self.power_ / self.power_)

    def _inverse(self, z: torch.Tensor) -> torch.Tensor:
        z = z.clamp(min=0.0)
        if self.power_ != 0:
            z = torch.log1p(z * (self.power_ / self.offset**self.power_)) / self.power_
        return self.offset * torch.expm1(z)

    def _log_derivative(self, x: torch.Tensor) -> torch.Tensor:
        if self.power_ == 0:
            return -torch.log(x + self.offset)
        return (self.power_ - 1.0) * torch.log(x + self.offset)
