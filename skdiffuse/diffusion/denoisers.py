"""Denoisers made from networks and from other denoisers.

A denoiser is any callable ``(z, log_snr) -> x_hat``, the posterior mean ``E[x | z]``: z has shape
(n, ...), log_snr is a float64 tensor, 0-D or of shape (n,). A trained network, an exact posterior
mean and a guided one are interchangeable.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from skdiffuse.diffusion.parameterizations import PARAMETERIZATIONS, alpha, convert, like, sigma

__all__ = ["ClampedDenoiser", "Denoiser", "EDMDenoiser", "NetworkDenoiser", "VDenoiser"]

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Anything that maps noisy fields z and their log-SNR to the expected data x_hat."""


class NetworkDenoiser:
    """Denoiser of a network that predicts x, eps, v or the score.

    Parameters
    ----------
    network : callable
        ``(z, log_snr) -> prediction``, of the shape of z.
    parameterization : {"x", "eps", "v", "score"}
        What the network predicts.

    Examples
    --------
    >>> denoiser = NetworkDenoiser(lambda z, log_snr: torch.zeros_like(z), "x")
    >>> denoiser(torch.ones(1, 2), torch.tensor(0.0))
    tensor([[0., 0.]])
    """

    def __init__(self, network: Denoiser, parameterization: str):
        if parameterization not in PARAMETERIZATIONS:
            raise ValueError(
                f"parameterization must be one of {PARAMETERIZATIONS}, got {parameterization!r}."
            )
        self.network = network
        self.parameterization = parameterization

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        prediction = self.network(z, log_snr)
        return convert(prediction, z, log_snr, source=self.parameterization, target="x")


class VDenoiser(NetworkDenoiser):
    """Denoiser of a network that predicts v: ``x_hat = alpha z - sigma v_hat``.

    Parameters
    ----------
    network : callable
        ``(z, log_snr) -> v_hat``, of the shape of z.

    Examples
    --------
    >>> denoiser = VDenoiser(lambda z, log_snr: torch.zeros_like(z))
    >>> denoiser(torch.ones(1, 2), torch.tensor(0.0))
    tensor([[0.7071, 0.7071]])
    """

    def __init__(self, network: Denoiser):
        super().__init__(network, "v")


class EDMDenoiser:
    r"""EDM preconditioning of a network F (Karras et al. 2022, eq. 7 and table 1).

    .. math:: \hat x = c_{skip} y + c_{out} F(c_{in} y, \lambda), \quad y = z / \alpha

    With ``r = sigma / alpha`` and data of standard deviation s: ``c_skip = s^2 / (r^2 + s^2)``,
    ``c_out = r s / sqrt(r^2 + s^2)``, ``c_in = 1 / sqrt(r^2 + s^2)``. For s = 1, c_in y is z and
    F is -v.

    Parameters
    ----------
    network : callable
        ``(c_in y, log_snr) -> F``; ``c_noise = log(r) / 4`` of the paper is ``-log_snr / 8``.
    data_std : float
        Standard deviation of the data.

    Examples
    --------
    >>> denoiser = EDMDenoiser(lambda z, log_snr: torch.zeros_like(z))
    >>> denoiser(torch.ones(1, 2), torch.tensor(0.0))
    tensor([[0.7071, 0.7071]])
    """

    def __init__(self, network: Denoiser, data_std: float = 1.0):
        if not data_std > 0:
            raise ValueError(f"data_std must be positive, got {data_std}.")
        self.network = network
        self.data_std = float(data_std)

    def coefficients(self, log_snr: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """``c_skip / alpha``, ``c_out`` and ``c_in / alpha``, which apply to z, in float64."""
        log_snr = torch.as_tensor(log_snr, dtype=torch.float64)
        a, s = alpha(log_snr), sigma(log_snr)
        scale = torch.sqrt(s**2 + (a * self.data_std) ** 2)
        return a * (self.data_std / scale) ** 2, s * self.data_std / scale, 1 / scale

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        skip, out, scale = (like(c, z) for c in self.coefficients(log_snr))
        return skip * z + out * self.network(scale * z, log_snr)


class ClampedDenoiser:
    """Denoiser whose x_hat is clamped to a range known to hold the data.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``.
    lower, upper : float or None
        Bounds of the data in the latent's units; None leaves that side free.

    Examples
    --------
    >>> denoiser = ClampedDenoiser(lambda z, log_snr: 2 * z, lower=-1.0)
    >>> denoiser(torch.tensor([[-3.0, 3.0]]), torch.tensor(0.0))
    tensor([[-1., 6.]])
    """

    def __init__(self, denoiser: Denoiser, lower: float | None = None, upper: float | None = None):
        if lower is not None and upper is not None and not lower < upper:
            raise ValueError(f"lower must be below upper, got {lower} and {upper}.")
        self.denoiser = denoiser
        self.lower = lower
        self.upper = upper

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        x_hat = self.denoiser(z, log_snr)
        if self.lower is None and self.upper is None:
            return x_hat
        return torch.clamp(x_hat, self.lower, self.upper)
