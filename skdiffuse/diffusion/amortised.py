"""Conditioning by a network that was trained to be told what is known."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import NetworkDenoiser
from skdiffuse.diffusion.motion import carried_along
from skdiffuse.diffusion.observations import Observation

__all__ = ["KNOWN_COVARIATES", "AmortisedDenoiser", "known_as_covariates"]

# What is known or carried along, where it is known, and from how near in time it is carried.
KNOWN_COVARIATES = 3


def known_as_covariates(values: Tensor, covariates: Tensor | None = None) -> Tensor:
    """What a network is told of known cells: their values, carried along, and where they are.

    A cell that is not known has the value that the motion of the sequence carries to it from a
    frame where it is known (`carried_along`), so that the network need not learn to extrapolate.

    Parameters
    ----------
    values : Tensor of shape (n, frames, y, x)
        NaN where unknown.
    covariates : Tensor of shape (n, frames, c, y, x), optional
        Further fields; they come after the three.

    Returns
    -------
    Tensor of shape (n, frames, 3 + c, y, x)
        Values; 1 where they are known and 0 elsewhere; 1 / (1 + k) where they are from k frames
        away and 0 where there is none.

    Examples
    --------
    >>> from skdiffuse.diffusion import KNOWN_COVARIATES
    >>> told = known_as_covariates(torch.tensor([[[[3.0, torch.nan]], [[torch.nan, torch.nan]]]]))
    >>> told.shape, told.shape[2] == KNOWN_COVARIATES
    (torch.Size([1, 2, 3, 1, 2]), True)
    >>> known_as_covariates(torch.tensor([[[[3.0, torch.nan]]]]))[0, 0, :, 0]
    tensor([[3., 0.],
            [1., 0.],
            [1., 0.]])
    """
    field, nearness = carried_along(values)
    told = torch.stack([field, torch.isfinite(values).to(field), nearness], dim=2)
    if covariates is None:
        return told
    shape = (*told.shape[:2], covariates.shape[2], *told.shape[3:])
    return torch.cat([told, covariates.to(told).expand(shape)], dim=2)


class AmortisedDenoiser(NetworkDenoiser):
    """Denoiser of a network that is told the known cells; needs no gradient.

    The network was trained with random cells known, and with none in some of the sequences, so that
    it still denoises without being told anything. It may be wrapped in guidance by another
    observation, say of a coarse grid, as any denoiser.

    Parameters
    ----------
    network : callable
        ``network(z, log_snr, covariates=...)``, of the shape of z; see `known_as_covariates`.
    observation : Observation
        What it pins down without error is what the network is told, `KnownCells` above all; the
        rest is left to guidance.
    parameterization : {"x", "eps", "v", "score"}, default="v"
        What the network predicts.
    covariates : Tensor of shape (n, frames, c, y, x), optional
        Further fields that it is told.
    **told
        Further arguments of the network, such as ``labels``.

    Examples
    --------
    >>> from skdiffuse.diffusion import KnownCells
    >>> network = lambda z, log_snr, covariates: covariates[:, :, 1]
    >>> denoiser = AmortisedDenoiser(
    ...     network, KnownCells(torch.tensor([[[[3.0, torch.nan]]]])), "x")
    >>> denoiser(torch.ones(1, 1, 1, 2), torch.tensor(0.0))
    tensor([[[[3., 0.]]]])
    """

    network: Callable[..., Tensor]

    def __init__(
        self,
        network: Callable[..., Tensor],
        observation: Observation,
        parameterization: str = "v",
        *,
        covariates: Tensor | None = None,
        **told: Tensor,
    ) -> None:
        super().__init__(partial(network, **told), parameterization)
        self.observation = observation
        self.covariates = covariates
        self._told: Tensor | None = None

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        told = self._told
        # What is known does not change from step to step.
        if told is None or told[:, :, 0].shape != z.shape or told.dtype != z.dtype:
            known = self.observation.pin(torch.full_like(z, torch.nan))
            self._told = told = known_as_covariates(known, self.covariates)
        informed = NetworkDenoiser(partial(self.network, covariates=told), self.parameterization)
        return self.observation.pin(informed(z, log_snr))
