"""What is known of the errors of a model's denoiser, as variances of a reverse step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from skdiffuse.diffusion import (
    AnalyticVariance,
    LearntVariance,
    ReverseVariance,
    convert,
    posterior_variance_from_noise,
    posterior_variance_from_residual,
)
from skdiffuse.networks import VarianceHead

__all__ = ["CONDITIONAL", "MEASURED", "MeasuredErrors", "expected_square", "not_learnt"]

CONDITIONAL = ("npr", "sn")
MEASURED = ("analytic", "corrected", "diagonal", *CONDITIONAL)


@dataclass(frozen=True, eq=False)
class MeasuredErrors:
    """Mean squares of a denoiser's errors at log-SNRs, and networks of what they are of a latent.

    Attributes
    ----------
    log_snrs : Tensor of float64, shape (k,)
        Increasing.
    explained : Tensor of float64, shape (k,)
        ``1 - E[eps_hat^2]``, by the same noise as `residual`.
    residual : Tensor of float32, shape (k, frames, y, x)
        ``E[(eps - eps_hat)^2]`` of each cell of a training window.
    heads : mapping of str to VarianceHead
        By kind, those that were trained.
    """

    log_snrs: Tensor
    explained: Tensor
    residual: Tensor
    heads: Mapping[str, VarianceHead] = field(default_factory=dict)

    def variance(self, name: str, shape: tuple[int, ...], device: torch.device) -> ReverseVariance:
        """Variance of a reverse step, by its name in `MEASURED`.

        Parameters
        ----------
        name : str
        shape : tuple of int
            Frames, rows and columns of what is to be drawn.
        device : torch.device
            Of the latents.

        Raises
        ------
        ValueError
            If it was not learnt, or does not fit the shape.
        """
        if name in CONDITIONAL:
            if name not in self.heads:
                raise ValueError(not_learnt(name))
            return _HeadVariance(self.heads[name].to(device), name, self.mean_residual)
        if name == "analytic":
            return self._table(posterior_variance_from_noise, 1 - self.explained)
        if name == "corrected":
            return self._table(
                posterior_variance_from_residual, self.residual.double().mean((1, 2, 3))
            )
        if tuple(shape) != tuple(self.residual.shape[1:]):
            raise ValueError(
                "reverse_variance='diagonal' was measured for each cell of sequences of shape "
                f"{tuple(self.residual.shape[1:])}, and {tuple(shape)} is asked for; use "
                "'corrected', which is one number for all cells."
            )
        return self._table(posterior_variance_from_residual, self.residual)

    def mean_residual(self, log_snr: Tensor) -> Tensor:
        """Mean over cells of the expected square of the error of eps_hat, float64."""
        of_x = self.variance("corrected", (), torch.device("cpu"))
        assert isinstance(of_x, AnalyticVariance)
        levels = log_snr.reshape(-1).cpu()
        found = [float(of_x.posterior_variance(t)) * math.exp(float(t)) for t in levels]
        return torch.tensor(found, dtype=torch.float64).reshape(log_snr.shape)

    def tensors(self) -> dict[str, Tensor]:
        """For a file."""
        weights = {
            f"{kind}.{name}": weight
            for kind, head in self.heads.items()
            for name, weight in head.state_dict().items()
        }
        own = {"log_snrs": self.log_snrs, "explained": self.explained, "residual": self.residual}
        return own | weights

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> MeasuredErrors:
        """What `tensors` gave."""
        heads = {}
        for kind in CONDITIONAL:
            start = f"{kind}."
            weights = {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
            if weights:
                head = VarianceHead(len(weights["first.bias"]))
                head.load_state_dict(weights)
                heads[kind] = head.requires_grad_(False).eval()
        return cls(tensors["log_snrs"], tensors["explained"], tensors["residual"], heads)

    def _table(
        self, formula: Callable[[Tensor, Tensor], Tensor], mean_squares: Tensor
    ) -> AnalyticVariance:
        pairs = zip(mean_squares, self.log_snrs, strict=True)
        return AnalyticVariance(self.log_snrs, torch.stack([formula(m, t) for m, t in pairs]))


class _HeadVariance(ReverseVariance):
    """`LearntVariance` of a head, which reads the x_hat that the step has already."""

    def __init__(self, head: VarianceHead, kind: str, level: Callable[[Tensor], Tensor]):
        self.head = head
        self.kind = kind
        self.level = level

    def __call__(self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor) -> Tensor:
        expected = partial(expected_square, self.head, self.kind, self.level, x_hat)
        with torch.no_grad():
            return LearntVariance(expected, self.kind)(z, x_hat, log_snr, log_snr_next)


def expected_square(
    head: VarianceHead,
    kind: str,
    level: Callable[[Tensor], Tensor],
    x_hat: Tensor,
    z: Tensor,
    log_snr: Tensor,
) -> Tensor:
    """Expected square of the error of eps_hat, or of eps, as a head has it."""
    eps_hat = convert(x_hat, z, log_snr, source="x", target="eps")
    ratio = torch.exp(head(z, x_hat, eps_hat, log_snr)).to(z)
    square = level(log_snr).to(z).reshape(-1, *(1,) * (z.ndim - 1)) * ratio
    # From E[eps^2 | z] eps_hat^2 is taken again: learnt as a whole, errors of the difference would
    # be multiplied by sigma^2 / alpha^2, and a step over many units of log-SNR explodes.
    return square + eps_hat.square() if kind == "sn" else square


def not_learnt(name: str) -> str:
    """What to say where a reverse variance is asked for that a model has not."""
    return (
        f"reverse_variance={name!r} has to be learnt on rain first: call "
        f"model.learn_variance(X, {name!r})."
    )
