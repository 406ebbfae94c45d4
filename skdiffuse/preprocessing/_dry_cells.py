"""What the latent makes of dry cells."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from scipy import optimize, stats
from sklearn.utils import Tags

from skdiffuse.preprocessing._elementwise import (
    PHYSICAL_LIMIT,
    Array,
    ElementwiseTransformer,
    finite_values,
    own_random_state,
)
from skdiffuse.preprocessing._resolve import resolve_transformer
from skdiffuse.runtime.array_types import RandomStateLike
from skdiffuse.runtime.seeds import derived_seed

__all__ = ["DryCellTransform"]

_TREATMENTS = ("point", "jitter", "censored")
_SUBSAMPLE = 200_000


class DryCellTransform(ElementwiseTransformer):
    r"""A transform with a treatment of the atom of dry cells.

    Cells below the trace threshold :math:`x_0` are dry. On the way out they are exactly 0. On the
    way in their latents are

    - "point": all the same, :math:`h(0)`;
    - "jitter": :math:`h(x_0 U)` with :math:`U` uniform on (0, 1);
    - "censored": drawn below :math:`h(x_0)` from the Gaussian that, censored there, fits dry and
      wet cells best (a Tobit model [1]_), so that the latent has no atom and one bell shape.

    Parameters
    ----------
    transformer : None, str or transformer instance, default="sqrt"
        The transform :math:`h` of wet cells, as for ``PrecipDiffusion``: any with ``transform``,
        ``inverse_transform`` and ``log_jacobian`` that take tensors.
    treatment : {"point", "jitter", "censored"}, default="point"
        What dry cells become.
    threshold : float, default=0.01
        :math:`x_0` in mm/h.
    random_state : int, RandomState or None, default=None
        Draws the latents of dry cells. With an int they follow from it and from the array: every
        call draws alike for the same array, and anew for another one, such as the next batch of a
        training or the next block of a lazy array. A RandomState goes on from call to call; with
        None no call repeats another.

    Attributes
    ----------
    transformer_ : transformer instance
        :math:`h`, fitted.
    latent_mean_, latent_std_ : float
        The Gaussian of "censored"; otherwise NaN.

    See Also
    --------
    SqrtTransform : The default transform of wet cells.

    Notes
    -----
    ``log_jacobian`` of a dry cell is what turns the latent density into a bound on the logarithm
    of the probability of being dry (dequantisation [2]_): :math:`\log h'(u) + \log x_0` at the
    drawn rate :math:`u`, :math:`-\log q(z)` for the censored Gaussian :math:`q` at the drawn
    latent, and :math:`\log h(x_0)`, the width of the dry bin, for "point". It is finite where
    :math:`h'(0)` is not. It belongs to the latents of ``transform`` only with an int as
    `random_state`, which makes the two calls draw alike.

    A network that is shown one frozen pattern of noise learns it by heart, so a training has to
    draw anew at every step. With an int it does, as its batches differ; where they may not (a
    single window, or nothing but dry ones), ``set_params(random_state=...)`` with a seed of the
    step, which needs no other fit, draws anew for the same array too.

    References
    ----------
    .. [1] J. Tobin (1958), Estimation of relationships for limited dependent variables,
       Econometrica 26, 24-36.
    .. [2] L. Theis, A. van den Oord and M. Bethge (2016), A note on the evaluation of generative
       models, ICLR, eq. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import DryCellTransform
    >>> rain = np.array([[0.0, 0.004, 0.25, 4.0]])
    >>> jittered = DryCellTransform("sqrt", "jitter", random_state=0).fit(rain)
    >>> latent = jittered.transform(rain)
    >>> bool((0 < latent[0, :2]).all() and (latent[0, :2] < 0.1).all())
    True
    >>> jittered.inverse_transform(latent)
    array([[0.  , 0.  , 0.25, 4.  ]])
    """

    _stateless = False

    def __init__(
        self,
        transformer: str | ElementwiseTransformer | None = "sqrt",
        treatment: str = "point",
        threshold: float = 0.01,
        random_state: RandomStateLike = None,
    ) -> None:
        self.transformer = transformer
        self.treatment = treatment
        self.threshold = threshold
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # A dry cell's draw depends on its place in the array, not on its value.
        tags.non_deterministic = self.treatment != "point"
        return tags

    def _check_parameters(self) -> None:
        if self.treatment not in _TREATMENTS:
            raise ValueError(f"treatment: got {self.treatment!r}; choose one of {_TREATMENTS}.")
        if not isinstance(self.threshold, Real) or not 0 < self.threshold < PHYSICAL_LIMIT:
            raise ValueError(f"threshold: got {self.threshold!r}; give a positive rate in mm/h.")

    def _fit(self, X: Array) -> None:
        self.transformer_ = resolve_transformer(self.transformer).fit(X)
        self.latent_mean_, self.latent_std_ = math.nan, math.nan
        if self.treatment == "censored":
            rng = own_random_state(self.random_state)
            rates = finite_values(X, _SUBSAMPLE, rng)
            wet = torch.from_numpy(rates[rates >= self.threshold])
            latent = self._of_wet("transform", wet).numpy()
            n_dry = rates.size - wet.numel()
            self.latent_mean_, self.latent_std_ = _fit_censored(latent, n_dry, self._edge())

    def _edge(self) -> float:
        """h(x_0)."""
        rate = torch.tensor([self.threshold], dtype=torch.float64)
        return self._of_wet("transform", rate).item()

    def _of_wet(self, verb: str, x: torch.Tensor) -> torch.Tensor:
        """A verb of h, whose arrays have at least two dimensions."""
        return getattr(self.transformer_, verb)(x.reshape(1, -1)).reshape(x.shape)

    def _function(
        self, name: str, X: np.ndarray | torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        generator = None
        if self.treatment != "point":
            seed = int(own_random_state(self.random_state).randint(2**31))
            if isinstance(self.random_state, Integral):
                seed = derived_seed(seed, _checksum(X))
            generator = torch.Generator().manual_seed(seed)
        return partial(getattr(self, name), generator=generator)

    def _forward(self, x: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        dry = x < self.threshold
        if self.treatment == "censored":
            wet = self._of_wet("transform", x.masked_fill(dry, self.threshold))
            return self._draw_censored(x, generator).where(dry, wet)
        return self._of_wet("transform", self._fill(x, dry, generator))

    def _bounded_inverse(
        self, z: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        x = self._of_wet("inverse_transform", z).clamp(max=PHYSICAL_LIMIT)
        return x.masked_fill(x < self.threshold, 0.0)

    def _derivative(
        self, x: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        return self._log_derivative(x, generator).exp()

    def _log_derivative(
        self, x: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        dry = x < self.threshold
        if self.treatment == "point":
            of_dry = torch.full_like(x, math.log(self._edge()))
            wet = x.masked_fill(dry, self.threshold)
        elif self.treatment == "jitter":
            wet = self._fill(x, dry, generator)
            of_dry = self._of_wet("log_jacobian", wet) + math.log(self.threshold)
        else:
            wet = x.masked_fill(dry, self.threshold)
            z = (self._draw_censored(x, generator) - self.latent_mean_) / self.latent_std_
            of_dry = (
                0.5 * z.square()
                + 0.5 * math.log(2.0 * math.pi)
                + math.log(self.latent_std_ * self._dry_probability())
            )
        return of_dry.where(dry, self._of_wet("log_jacobian", wet))

    def _fill(
        self, x: torch.Tensor, dry: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """The rates that stand in for dry ones."""
        if self.treatment == "point":
            return x.masked_fill(dry, 0.0)
        return (self.threshold * _uniform(x, generator)).where(dry, x)

    def _draw_censored(self, x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        below = _uniform(x, generator).double() * self._dry_probability()
        return (self.latent_mean_ + self.latent_std_ * torch.special.ndtri(below)).to(x.dtype)

    def _dry_probability(self) -> float:
        score = (self._edge() - self.latent_mean_) / self.latent_std_
        return float(stats.norm.cdf(score))


def _uniform(x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Uniform on the open interval (0, 1), so that no draw is the end of a distribution."""
    u = torch.rand(x.shape, generator=generator, dtype=torch.float64)
    return u.clamp(2.0**-53, 1.0 - 2.0**-24).to(x.device, x.dtype)


def _checksum(X: np.ndarray | torch.Tensor) -> int:
    """A number that tells one array from another by its values."""
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        X = (X.float() if X.dtype == torch.bfloat16 else X).numpy()
    return zlib.crc32(np.ascontiguousarray(X).data)


def _fit_censored(latent: np.ndarray, n_dry: int, edge: float) -> tuple[float, float]:
    """Mean and standard deviation of the Gaussian censored below `edge`, by maximum likelihood."""
    if latent.size < 2 or np.ptp(latent) == 0.0:
        # Nothing to fit a width to: dry cells lie within one unit of the edge.
        return edge, max(abs(edge), 1e-6)

    def negative_log_likelihood(theta: np.ndarray) -> float:
        mean, std = theta[0], math.exp(theta[1])
        wet = stats.norm.logpdf(latent, mean, std).sum()
        return -(wet + n_dry * stats.norm.logcdf(edge, mean, std)) / (latent.size + n_dry)

    start = np.array([latent.mean(), math.log(latent.std())])
    found = optimize.minimize(negative_log_likelihood, start, method="Nelder-Mead")
    return float(found.x[0]), float(math.exp(found.x[1]))
