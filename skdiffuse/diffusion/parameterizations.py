"""What a network may predict (x, eps, v, score) and exact conversions between them.

Everything is variance preserving, ``z = alpha x + sigma eps`` with ``alpha^2 + sigma^2 = 1``, and
every coefficient is a function of the log-SNR ``log(alpha^2 / sigma^2)`` alone. Coefficients are
computed in float64 and cast to the dtype of the field at the end.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["PARAMETERIZATIONS", "NoiseLevel", "alpha", "convert", "diffuse", "sigma"]

PARAMETERIZATIONS = ("x", "eps", "v", "score")


def alpha(log_snr: Tensor | float) -> Tensor:
    """Amplitude of the signal, ``sqrt(sigmoid(log_snr))``, in float64.

    Parameters
    ----------
    log_snr : Tensor or float
        Log signal-to-noise ratio, any shape.

    Returns
    -------
    Tensor of float64, shape of `log_snr`

    Notes
    -----
    ``exp(logsigmoid(log_snr) / 2)`` keeps full relative precision at both ends, where
    ``sqrt(1 - sigma^2)`` loses it all, and torch's softplus, linear from 20, some of it.

    Examples
    --------
    >>> alpha(0.0)
    tensor(0.7071, dtype=torch.float64)
    """
    return torch.exp(0.5 * logsigmoid(_float64(log_snr)))


def sigma(log_snr: Tensor | float) -> Tensor:
    """Standard deviation of the noise, ``sqrt(sigmoid(-log_snr))``, in float64.

    Parameters
    ----------
    log_snr : Tensor or float
        Log signal-to-noise ratio, any shape.

    Returns
    -------
    Tensor of float64, shape of `log_snr`

    Examples
    --------
    >>> f"{sigma(30.0):.6e}"
    '3.059023e-07'
    """
    return torch.exp(0.5 * logsigmoid(-_float64(log_snr)))


def diffuse(x: Tensor, eps: Tensor, log_snr: Tensor | float) -> Tensor:
    """Diffuse data to a latent: ``z = alpha x + sigma eps``.

    Parameters
    ----------
    x, eps : Tensor of shape (n, ...)
        Data and standard normal noise.
    log_snr : Tensor or float
        0-D, or (n,): one log-SNR per sample.

    Returns
    -------
    Tensor of shape (n, ...)

    Examples
    --------
    >>> diffuse(torch.ones(2, 3), torch.zeros(2, 3), torch.tensor([0.0, 30.0]))
    tensor([[0.7071, 0.7071, 0.7071],
            [1.0000, 1.0000, 1.0000]])
    """
    return like(alpha(log_snr), x) * x + like(sigma(log_snr), x) * eps


def convert(
    prediction: Tensor, z: Tensor, log_snr: Tensor | float, *, source: str, target: str
) -> Tensor:
    """Convert a prediction between parameterisations, given the latent it was made from.

    Parameters
    ----------
    prediction : Tensor of shape (n, ...)
        What was predicted from `z`.
    z : Tensor of shape (n, ...)
        Latent.
    log_snr : Tensor or float
        Log-SNR of `z`: 0-D, or (n,).
    source, target : {"x", "eps", "v", "score"}
        Parameterisation given and wanted: data x; noise eps; ``v = alpha eps - sigma x``;
        ``score = grad log q(z) = -eps / sigma``.

    Returns
    -------
    Tensor of shape (n, ...)

    Notes
    -----
    Every conversion is affine, ``target = a z + b prediction``; a and b are formed in float64.
    From eps to x the error of the prediction is multiplied by sigma / alpha, which is 3e6 at
    log-SNR -30; from v it is multiplied by sigma <= 1 [1]_.

    References
    ----------
    .. [1] Salimans and Ho (2022), "Progressive distillation for fast sampling of diffusion
       models", appendix D.

    Examples
    --------
    >>> x, eps = torch.tensor([[0.8]]), torch.tensor([[-1.3]])
    >>> z = diffuse(x, eps, 0.7)
    >>> v = convert(x, z, 0.7, source="x", target="v")
    >>> v, convert(v, z, 0.7, source="v", target="eps")
    (tensor([[-1.5235]]), tensor([[-1.3000]]))
    """
    for name, value in (("source", source), ("target", target)):
        if value not in PARAMETERIZATIONS:
            raise ValueError(f"{name} must be one of {PARAMETERIZATIONS}, got {value!r}.")
    if source == target:
        return prediction
    of_z, of_prediction = _coefficients(alpha(log_snr), sigma(log_snr), source, target)
    return like(of_z, z) * z + like(of_prediction, z) * prediction


class NoiseLevel(NamedTuple):
    """The alpha, sigma and ``angle = atan(sigma / alpha)`` of one log-SNR, as numbers."""

    log_snr: float
    alpha: float
    sigma: float
    angle: float

    @classmethod
    def at(cls, log_snr: Tensor | float) -> "NoiseLevel":
        """Noise level of a log-SNR."""
        log_snr = float(log_snr)
        a, s = float(alpha(log_snr)), float(sigma(log_snr))
        return cls(log_snr, a, s, math.atan2(s, a))

    def v(self, z: Tensor, x_hat: Tensor) -> Tensor:
        """``v = (alpha z - x) / sigma``, the velocity dz/dangle of the probability-flow ODE."""
        return (self.alpha / self.sigma) * z - (1 / self.sigma) * x_hat

    def eps(self, z: Tensor, x_hat: Tensor) -> Tensor:
        """Return ``eps = (z - alpha x) / sigma``."""
        return (1 / self.sigma) * z - (self.alpha / self.sigma) * x_hat


def _coefficients(a: Tensor, s: Tensor, source: str, target: str) -> tuple[Tensor, Tensor]:
    zero = torch.zeros_like(a)
    match source, target:
        case "x", "eps":
            return 1 / s, -a / s
        case "x", "v":
            return a / s, -1 / s
        case "x", "score":
            return -1 / s**2, a / s**2
        case "eps", "x":
            return 1 / a, -s / a
        case "eps", "v":
            return -s / a, 1 / a
        case "eps", "score":
            return zero, -1 / s
        case "v", "x":
            return a, -s
        case "v", "eps":
            return s, a
        case "v", "score":
            return -torch.ones_like(a), -a / s
        case "score", "x":
            return 1 / a, s**2 / a
        case "score", "eps":
            return zero, -s
        case "score", "v":
            return -s / a, -s / a
    raise AssertionError("unreachable")


def like(coefficient: Tensor, field: Tensor) -> Tensor:
    """Cast a 0-D or (n,) float64 coefficient to the dtype, device and rank of an (n, ...) field."""
    coefficient = coefficient.to(device=field.device, dtype=field.dtype)
    if coefficient.ndim == 0:
        return coefficient
    if coefficient.shape != field.shape[:1]:
        raise ValueError(
            f"log_snr must be 0-D or of shape ({field.shape[0]},), one value per sample of a field "
            f"of shape {tuple(field.shape)}, got shape {tuple(coefficient.shape)}."
        )
    return coefficient.reshape(-1, *(1,) * (field.ndim - 1))


def _float64(log_snr: Tensor | float) -> Tensor:
    return torch.as_tensor(log_snr, dtype=torch.float64)
