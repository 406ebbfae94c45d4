"""Variance of the noise added by a reverse (ancestral) step.

With posterior coefficients c_z, c_x and std of ``q(z_s | z_t, x)``, the step that is optimal for a
given x_hat adds noise of covariance ``std^2 I + c_x^2 C``, C the covariance of the error of x_hat
given z_t. All variances here are of that form or bounds of it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.parameterizations import NoiseLevel, convert, diffuse
from skdiffuse.diffusion.random import RandomStreams
from skdiffuse.runtime.double import home_of_double

__all__ = [
    "AnalyticVariance",
    "InterpolatedVariance",
    "LearntVariance",
    "LowerVariance",
    "PosteriorVariance",
    "ReverseVariance",
    "UpperVariance",
    "posterior_variance_from_data",
    "posterior_variance_from_noise",
    "posterior_variance_from_residual",
]


def posterior_coefficients(
    log_snr: Tensor | float, log_snr_next: Tensor | float
) -> tuple[float, float, float]:
    """Coefficients of z and x and the standard deviation of ``q(z_s | z_t, x)``.

    With t the noisier end (`log_snr`), s the cleaner (`log_snr_next`) and d = log_snr_t - log_snr_s
    <= 0: ``c_z = (alpha_s / alpha_t) e^d``, ``c_x = -alpha_s expm1(d)``,
    ``std = sigma_s sqrt(-expm1(d))`` (Kingma et al. 2021, appendix A.3, in stable form).

    Parameters
    ----------
    log_snr, log_snr_next : float
        Log-SNR of z_t and of z_s.

    Returns
    -------
    c_z, c_x, std : float
    """
    t, s = NoiseLevel.at(log_snr), NoiseLevel.at(log_snr_next)
    d = t.log_snr - s.log_snr
    if d > 0:
        raise ValueError("A reverse step goes towards higher log-SNR.")
    shrink = -math.expm1(d)
    return s.alpha / t.alpha * math.exp(d), s.alpha * shrink, s.sigma * math.sqrt(shrink)


class ReverseVariance(ABC):
    """Variance of the noise of a reverse step from `log_snr` to `log_snr_next`."""

    @abstractmethod
    def __call__(
        self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor
    ) -> Tensor | float:
        """Variance, a number or a tensor that broadcasts against z."""

    def noise(
        self, eps: Tensor, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor
    ) -> Tensor:
        """Noise of this variance made from standard normal noise of the shape of z."""
        variance = self(z, x_hat, log_snr, log_snr_next)
        if isinstance(variance, Tensor):
            return torch.sqrt(variance).to(eps.dtype) * eps
        return math.sqrt(variance) * eps


@dataclass(frozen=True)
class LowerVariance(ReverseVariance):
    """Variance of ``q(z_s | z_t, x)``, optimal if x is known (Ho et al. 2020, eq. 7)."""

    def __call__(self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor) -> float:
        return posterior_coefficients(log_snr, log_snr_next)[2] ** 2


@dataclass(frozen=True)
class UpperVariance(ReverseVariance):
    """Variance of the forward transition, ``sigma^2_{t|s} = -sigma_t^2 expm1(d)``.

    Optimal for data of unit variance, and an upper bound for smaller ones (Ho et al. 2020, sec.
    3.2); for a variance of 4 the optimum lies above it.
    """

    def __call__(self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor) -> float:
        t = NoiseLevel.at(log_snr)
        return -(t.sigma**2) * math.expm1(t.log_snr - float(log_snr_next))


class InterpolatedVariance(ReverseVariance):
    """Learnt interpolation of the logarithm between lower and upper variance.

    ``log variance = f log upper + (1 - f) log lower`` (Nichol and Dhariwal 2021, eq. 15).

    Parameters
    ----------
    fraction : callable
        ``(z, log_snr) -> f``, of the shape of z, in [0, 1]; a network, trained with
        `interpolated_variance_loss`.
    """

    def __init__(self, fraction: Denoiser):
        self.fraction = fraction

    def __call__(self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor) -> Tensor:
        lower = LowerVariance()(z, x_hat, log_snr, log_snr_next)
        upper = UpperVariance()(z, x_hat, log_snr, log_snr_next)
        fraction = self.fraction(z, log_snr.to(home_of_double(z.device)))
        return between(math.log(lower), math.log(upper), fraction)


def between(log_lower: Tensor | float, log_upper: Tensor | float, fraction: Tensor) -> Tensor:
    """The variance whose logarithm lies a fraction of the way from one bound to the other."""
    return torch.exp(log_lower + (log_upper - log_lower) * fraction)


class PosteriorVariance(ReverseVariance):
    """``std^2 + c_x^2 V``, with V the variance of the error of x_hat given z.

    The optimal variance of a diagonal Gaussian step (Bao et al. 2022, theorem 1; for any x_hat,
    exact or not, if V is the mean square error: Bao et al. 2022b, theorem 2).

    Parameters
    ----------
    error_variance : callable
        ``(z, log_snr) -> V``: a number, or a tensor that broadcasts against z.
    """

    def __init__(self, error_variance: Callable[[Tensor, Tensor], Tensor | float]):
        self.error_variance = error_variance

    def __call__(
        self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor
    ) -> Tensor | float:
        _, c_x, std = posterior_coefficients(log_snr, log_snr_next)
        return std**2 + c_x**2 * self.error_variance(z, log_snr.to(home_of_double(z.device)))


class LearntVariance(ReverseVariance):
    """Variance conditional on z, from a second network trained on a finished denoiser.

    Parameters
    ----------
    network : callable
        ``(z, log_snr)`` to the expected ``(eps - eps_hat)^2`` ("npr") or ``eps^2`` ("sn"), trained
        with `npr_loss` or `sn_loss`.
    kind : {"npr", "sn"}
        Noise-prediction residual, right for any eps_hat; or squared noise, which presumes the exact
        posterior mean (Bao et al. 2022b, eqs. 13 and 10).
    """

    def __init__(self, network: Denoiser, kind: str = "npr"):
        if kind not in ("npr", "sn"):
            raise ValueError(f"kind must be 'npr' or 'sn', got {kind!r}.")
        self.network = network
        self.kind = kind

    def __call__(self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor) -> Tensor:
        expected = self.network(z, log_snr.to(home_of_double(z.device)))
        if self.kind == "sn":
            eps_hat = convert(x_hat, z, log_snr, source="x", target="eps")
            expected = expected - eps_hat**2
        _, c_x, std = posterior_coefficients(log_snr, log_snr_next)
        return std**2 + c_x**2 * math.exp(-float(log_snr)) * expected.clamp(min=0)


class AnalyticVariance(PosteriorVariance):
    """Analytic-DPM: the average posterior variance at each log-SNR, from a model and data.

    Parameters
    ----------
    log_snrs : Tensor of float64, shape (k,)
        Increasing log-SNRs at which the posterior variance is known.
    values : Tensor of float64, shape (k,) or (k, *shape of a sample)
        Posterior variance, per cell or averaged over cells. In between, its ratio to the larger
        bound, sigma^2 / alpha^2, is interpolated linearly in the log-SNR.

    Examples
    --------
    >>> variance = AnalyticVariance(torch.tensor([-20.0, 20.0]), torch.tensor([1.0, 2.1e-9]))
    >>> f"{variance.posterior_variance(20.0):.2g}"
    '2.1e-09'
    """

    def __init__(self, log_snrs: Tensor, values: Tensor):
        self.log_snrs = torch.as_tensor(log_snrs, dtype=torch.float64)
        self.values = torch.as_tensor(values, dtype=torch.float64)
        if len(self.log_snrs) != len(self.values) or not (self.log_snrs.diff() > 0).all():
            raise ValueError("log_snrs must increase and go with values one by one.")
        super().__init__(lambda z, log_snr: self.posterior_variance(log_snr).to(z))

    @classmethod
    def from_data(
        cls,
        denoiser: Denoiser,
        x: Tensor,
        log_snrs: Tensor,
        streams: RandomStreams,
        *,
        estimator: str = "residual",
        per_cell: bool = False,
        bounds: tuple[float, float] | None = None,
    ) -> "AnalyticVariance":
        """Estimate the posterior variance with a trained denoiser on data.

        Parameters
        ----------
        denoiser : callable
            ``(z, log_snr) -> x_hat``.
        x : Tensor of shape (n, ...)
            Data.
        log_snrs : Tensor of shape (k,)
            Increasing log-SNRs, usually the sampling grid.
        streams : RandomStreams of length n
            Noise.
        estimator : {"residual", "noise", "data"}
            Error of x_hat itself, right for any x_hat (Bao et al. 2022b; Su eq. 8.9); or from the
            size of eps_hat (Bao et al. 2022, eq. 8; Su eq. 7.16) or of x_hat (Su eq. 7.10), which
            presume the exact posterior mean.
        per_cell : bool
            Whether every cell has its own variance.
        bounds : (float, float), optional
            Range of the data, which bounds the variance by ``((b - a) / 2)^2``; Su's eq. 7.11
            lacks the square.
        """
        values = []
        for log_snr in torch.as_tensor(log_snrs, dtype=torch.float64):
            eps = streams.normal(x.shape[1:], dtype=x.dtype).to(x.device)
            z = diffuse(x, eps, log_snr)
            with torch.no_grad():
                x_hat = denoiser(z, log_snr.to(home_of_double(z.device)))
            mean = (lambda field: field.double().mean(0)) if per_cell else _mean
            match estimator:
                case "residual":
                    error = convert(x_hat, z, log_snr, source="x", target="eps") - eps
                    value = posterior_variance_from_residual(mean(error**2), log_snr, bounds)
                case "noise":
                    eps_hat = convert(x_hat, z, log_snr, source="x", target="eps")
                    value = posterior_variance_from_noise(mean(eps_hat**2), log_snr, bounds)
                case "data":
                    centre = x.double().mean(0)
                    spread = mean((x - centre) ** 2)
                    explained = mean((x_hat - centre) ** 2)
                    value = posterior_variance_from_data(spread, explained, log_snr, bounds)
                case _:
                    raise ValueError(
                        f"estimator must be 'residual', 'noise' or 'data', got {estimator!r}."
                    )
            values.append(value)
        return cls(log_snrs, torch.stack(values))

    def posterior_variance(self, log_snr: Tensor | float) -> Tensor:
        """Interpolated posterior variance at one log-SNR."""
        log_snr = torch.as_tensor(log_snr, dtype=torch.float64).cpu()
        i = torch.searchsorted(self.log_snrs, log_snr).clamp(1, len(self.log_snrs) - 1)
        low, high = self.log_snrs[i - 1], self.log_snrs[i]
        w = ((log_snr - low) / (high - low)).clamp(0, 1)
        ratio_low = self.values[i - 1] / _largest(low)
        ratio_high = self.values[i] / _largest(high)
        return _largest(log_snr) * ((1 - w) * ratio_low + w * ratio_high)


def posterior_variance_from_noise(
    mean_square_eps_hat: Tensor, log_snr: Tensor | float, bounds: tuple[float, float] | None = None
) -> Tensor:
    """``(sigma^2 / alpha^2) (1 - E[eps_hat^2])``, for the exact posterior mean.

    Bao et al. (2022), eq. 8; Su eq. 7.16; per cell, Su eq. 8.6. Clipped to what is possible.
    """
    mean_square = torch.as_tensor(mean_square_eps_hat, dtype=torch.float64)
    return _clip(torch.exp(-_double(log_snr)) * (1 - mean_square), log_snr, bounds)


def posterior_variance_from_data(
    data_variance: Tensor,
    mean_square_anomaly: Tensor,
    log_snr: Tensor | float,
    bounds: tuple[float, float] | None = None,
) -> Tensor:
    """``Var[x] - E[(x_hat - E[x])^2]``, for the exact posterior mean (Su eq. 7.10). Clipped."""
    explained = torch.as_tensor(mean_square_anomaly, dtype=torch.float64)
    return _clip(_double(data_variance) - explained, log_snr, bounds)


def posterior_variance_from_residual(
    mean_square_residual: Tensor, log_snr: Tensor | float, bounds: tuple[float, float] | None = None
) -> Tensor:
    """``(sigma^2 / alpha^2) E[(eps - eps_hat)^2]``, right for any eps_hat.

    Bao et al. (2022b), theorem 2; Su eq. 8.9; per cell eq. 8.10, where the printed norm must be an
    element-wise square. Clipped to what is possible.
    """
    residual = torch.as_tensor(mean_square_residual, dtype=torch.float64)
    return _clip(torch.exp(-_double(log_snr)) * residual, log_snr, bounds)


def as_reverse_variance(variance: str | ReverseVariance) -> ReverseVariance:
    """Variance given by itself or by name."""
    if isinstance(variance, ReverseVariance):
        return variance
    if variance not in ("lower", "upper"):
        raise ValueError(
            f"variance must be 'lower', 'upper' or a ReverseVariance, got {variance!r}."
        )
    return LowerVariance() if variance == "lower" else UpperVariance()


def _clip(value: Tensor, log_snr: Tensor | float, bounds: tuple[float, float] | None) -> Tensor:
    upper = _largest(log_snr)
    if bounds is not None:
        low, high = bounds
        upper = upper.clamp(max=((high - low) / 2) ** 2)
    return torch.minimum(value.clamp(min=0), upper)


def _largest(log_snr: Tensor | float) -> Tensor:
    """sigma^2 / alpha^2, the mean square error of z / alpha."""
    return torch.exp(-_double(log_snr))


def _mean(field: Tensor) -> Tensor:
    return field.double().mean()


def _double(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)
