"""Denoisers made from networks and from other denoisers.

A denoiser is any callable ``(z, log_snr) -> x_hat``, the posterior mean ``E[x | z]``: z has shape
(n, ...), log_snr is a float64 tensor, 0-D or of shape (n,). A trained network, an exact posterior
mean and a guided one are interchangeable.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from skdiffuse.diffusion.parameterizations import PARAMETERIZATIONS, convert

__all__ = ["ClampedDenoiser", "Denoiser", "NetworkDenoiser", "VDenoiser"]

Denoiser = Callable[[Tensor, Tensor], Tensor]


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
