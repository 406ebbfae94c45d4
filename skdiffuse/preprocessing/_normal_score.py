"""Rain to normal scores, with a generalised-Pareto tail."""

from __future__ import annotations

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import special, stats

from skdiffuse.preprocessing._elementwise import (
    PHYSICAL_LIMIT,
    Array,
    finite_values,
    own_random_state,
)
from skdiffuse.preprocessing._table import TabulatedTransformer, floor_elasticity
from skdiffuse.runtime.array_types import RandomStateLike

__all__ = ["NormalScoreTransform"]

_SUBSAMPLE = 1_000_000
_TAIL_NODES = 256
# Fewer exceedances than this say nothing of a tail's shape: the tail is exponential.
_LEAST_EXCEEDANCES = 30
_LARGEST_SHAPE = 0.5
_LEAST_ELASTICITY = 0.07


class NormalScoreTransform(TabulatedTransformer):
    r"""Quantile to Gaussian score, with a fitted generalised-Pareto tail.

    :math:`h(x) = \Phi^{-1}(F(x)) - \Phi^{-1}(F(0))`, with :math:`F` the empirical distribution up
    to the rate :math:`u` that a fraction ``tail_fraction`` of the wet cells exceeds, and

    .. math:: 1 - F(x) = (1 - F(u)) \left(1 + \xi \frac{x - u}{\sigma}\right)^{-1/\xi}

    beyond it [1]_. Rain above the training maximum maps to a higher score, and scores beyond come
    back as rain above the maximum.

    Parameters
    ----------
    threshold : float, default=0.01
        Rates in mm/h up to this are dry: one atom at the score of the dry fraction.
    tail_fraction : float, default=0.01
        Fraction of the wet cells in the Pareto tail, between 0 and 1.
    n_quantiles : int, default=200
        Nodes of the empirical part, evenly spaced in score.
    random_state : int, RandomState or None, default=None
        Draws a million cells where there are more.

    Attributes
    ----------
    dry_score_ : float
        :math:`\Phi^{-1}(F(0))`: add it to the latent for the normal score itself.
    tail_start_, tail_scale_, tail_shape_ : float
        :math:`u` and :math:`\sigma` in mm/h, :math:`\xi` between 0 and 0.5.
    rate_nodes_, latent_nodes_ : ndarray of shape (n_nodes,)
        The curve's nodes; it is linear between them.

    See Also
    --------
    BoxCoxTransform : One parameter instead of a table.

    Notes
    -----
    :math:`\xi` is kept at or above 0, as rain has no upper bound and its tails are found heavy
    [2]_. Where data leave a gap the score rises by at least 0.07 of the relative rise of rain,
    so that a float32 round trip keeps six digits.

    References
    ----------
    .. [1] S. Coles (2001), An Introduction to Statistical Modeling of Extreme Values, eq. 4.2.
    .. [2] F. Serinaldi and C. G. Kilsby (2014), Rainfall extremes: toward reconciliation after the
       battle of distributions, Water Resour. Res. 50, 336-352.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import NormalScoreTransform
    >>> rng = np.random.default_rng(0)
    >>> rain = rng.gamma(0.5, 2.0, size=(100, 50)) * (rng.random((100, 50)) < 0.2)
    >>> transform = NormalScoreTransform(random_state=0).fit(rain)
    >>> round(transform.dry_score_, 1)  # about 4 cells in 5 are dry: 0.84
    0.9
    >>> beyond = np.full((1, 50), 2 * rain.max())
    >>> bool(np.allclose(transform.inverse_transform(transform.transform(beyond)), beyond))
    True
    """

    def __init__(
        self,
        threshold: float = 0.01,
        tail_fraction: float = 0.01,
        n_quantiles: int = 200,
        random_state: RandomStateLike = None,
    ):
        self.threshold = threshold
        self.tail_fraction = tail_fraction
        self.n_quantiles = n_quantiles
        self.random_state = random_state

    def _check_parameters(self) -> None:
        if not isinstance(self.threshold, Real) or not 0 < self.threshold < PHYSICAL_LIMIT:
            raise ValueError(f"threshold: got {self.threshold!r}; give a positive rate in mm/h.")
        if not isinstance(self.tail_fraction, Real) or not 0 < self.tail_fraction < 1:
            raise ValueError(f"tail_fraction: got {self.tail_fraction!r}; give a number in (0, 1).")
        if not isinstance(self.n_quantiles, Integral) or self.n_quantiles < 2:
            raise ValueError(f"n_quantiles: got {self.n_quantiles!r}; give an integer above 1.")

    def _fit(self, X: Array) -> None:
        values = finite_values(X, _SUBSAMPLE, own_random_state(self.random_state))
        wet = values[values > self.threshold]
        if wet.size == 0:
            warnings.warn(
                f"NormalScoreTransform: no value above threshold={self.threshold} mm/h; rain "
                "follows an exponential law of mean 1 mm/h. Fit on data with rain.",
                UserWarning,
                stacklevel=3,
            )
            wet = -np.log1p(-(np.arange(100) + 0.5) / 100)
            values = np.concatenate([values, wet])
        n = values.size
        n_dry = n - wet.size
        self._fit_tail(wet)

        # Mid-ranks, so that ties (quantised radar rates) share one score.
        body = np.unique(wet[wet <= self.tail_start_])
        first, last = np.searchsorted(wet, body), np.searchsorted(wet, body, side="right")
        exceeding = 1.0 - (n_dry + 0.5 * (first + last)) / n
        score = -special.ndtri(exceeding)
        wanted = np.searchsorted(score, np.linspace(score[0], score[-1], self.n_quantiles))
        kept = np.unique(np.minimum(wanted, body.size - 1))

        tail = np.geomspace(self.tail_start_, PHYSICAL_LIMIT, _TAIL_NODES)[1:]
        log_survival = np.log(exceeding[-1]) + stats.genpareto.logsf(
            tail - self.tail_start_, self.tail_shape_, scale=self.tail_scale_
        )
        # The dry atom ends where the wet part starts; without dry cells, half-way to the first tie.
        dry = max(n_dry, 0.25 * (last[0] - first[0])) / n
        self.dry_score_ = float(special.ndtri(dry))
        scores = np.concatenate([score[kept], -special.ndtri_exp(log_survival)])
        rate = np.concatenate([[0.0], body[kept], tail])
        latent = np.concatenate([[0.0], scores - self.dry_score_])
        self.rate_nodes_ = rate
        self.latent_nodes_ = floor_elasticity(rate, latent, _LEAST_ELASTICITY)

    def _fit_tail(self, wet: np.ndarray) -> None:
        self.tail_start_ = float(np.quantile(wet, 1.0 - self.tail_fraction, method="lower"))
        excess = wet[wet > self.tail_start_] - self.tail_start_
        if excess.size < _LEAST_EXCEEDANCES:
            # Too few beyond u: the exponential with the mean excess over the median instead.
            middle = np.median(wet)
            upper = wet[wet > middle] - middle
            self.tail_shape_ = 0.0
            self.tail_scale_ = float(upper.mean()) if upper.size else float(wet.mean())
            return
        shape, _, scale = stats.genpareto.fit(excess, floc=0.0)
        if not 0.0 <= shape <= _LARGEST_SHAPE:
            shape = float(np.clip(shape, 0.0, _LARGEST_SHAPE))
            _, _, scale = stats.genpareto.fit(excess, f0=shape, floc=0.0)
        self.tail_shape_, self.tail_scale_ = float(shape), float(scale)
