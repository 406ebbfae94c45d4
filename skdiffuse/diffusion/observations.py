"""What is seen of a field, from which a conditional denoiser infers the rest.

An observation knows the observed values, their error, and how a field would be observed. All of
them take a field of shape (n, frames, y, x) and drop what is missing (NaN), so that masks, gauges
with gaps and incomplete coarse grids need no special case.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from skdiffuse.diffusion.linearisation import Linearisation

__all__ = [
    "DecodedObservation",
    "FunctionObservation",
    "JointObservation",
    "Observation",
]

FieldFunction = Callable[[Tensor], Tensor]


class Observation(ABC):
    """Observed values, their error variance, and the operator that observes a field.

    Parameters
    ----------
    values : Tensor of shape (n, ...)
        Observed values; NaN where missing. n may be 1, for all sequences alike.
    error_variance : float or Tensor, default=0.0
        Variance of the observation error, in the square of the values' units; broadcasts against
        `values`. 0: the values are exact.
    """

    def __init__(self, values: Tensor, error_variance: float | Tensor = 0.0) -> None:
        if values.ndim < 2:
            raise ValueError(
                f"values must have the shape (n, ...), one row for each sequence; got "
                f"{tuple(values.shape)}. Add a dimension with values[None]."
            )
        if torch.isinf(values).any():
            raise ValueError("values must be finite, or NaN where missing; got infinity.")
        variance = torch.as_tensor(error_variance, dtype=values.dtype, device=values.device)
        if not (variance >= 0).all():
            raise ValueError(f"error_variance must be at least 0, got {error_variance}.")
        try:
            self.error_variance = variance.expand_as(values)
        except RuntimeError:
            raise ValueError(
                f"error_variance of shape {tuple(variance.shape)} does not fit values of shape "
                f"{tuple(values.shape)}."
            ) from None
        self.values = values

    @abstractmethod
    def predict(self, field: Tensor) -> Tensor:
        """What would be observed of a field of shape (n, frames, y, x); differentiable."""

    def expect(self, field: Tensor, std: Tensor | float) -> Tensor:
        """What is observed on average if the field is uncertain by `std` in every cell.

        The same as `predict` for a linear operator.
        """
        return self.predict(field)

    def residual(self, field: Tensor) -> Tensor:
        """Observed minus predicted, 0 where the observation is missing."""
        return self._misfit(self.predict(field))

    def linearise(self, field: Tensor, std: Tensor | float = 0.0) -> Linearisation:
        """The operator's tangent at a field, and the residual there."""
        return Linearisation.of(lambda x: self.expect(x, std), field, self._misfit)

    def pin(self, field: Tensor) -> Tensor:
        """The field with what is known without error put in, to the bit."""
        return field

    def pinned(self, field: Tensor) -> Tensor:
        """True where `pin` puts values in, of the field's shape."""
        return torch.zeros_like(field, dtype=torch.bool)

    def through(self, decode: FieldFunction, encode: FieldFunction) -> Observation:
        """The same observation of a field that is given in another unit.

        Parameters
        ----------
        decode : callable
            Element-wise and differentiable map from the other unit (the latent) to this
            observation's (mm/h), increasing. It must not cut anything off to a constant, such as
            traces to 0, or no gradient passes there.
        encode : callable
            Its inverse.
        """
        return DecodedObservation(self, decode)

    def rows(self, sequences: slice) -> Self:
        """The observation of some of the sequences."""
        part = copy.copy(self)
        if len(self.values) > 1:
            part.values = self.values[sequences]
            part.error_variance = self.error_variance[sequences]
        return part

    def to(self, device: torch.device | str) -> Self:
        """The observation with its tensors on another device."""
        moved = copy.copy(self)
        moved.values = self.values.to(device)
        moved.error_variance = self.error_variance.to(device)
        return moved

    def _misfit(self, predicted: Tensor) -> Tensor:
        values = self.values.to(predicted.dtype)
        if predicted.shape[1:] != values.shape[1:] or len(values) not in (1, len(predicted)):
            raise ValueError(
                f"values of shape {tuple(values.shape)} do not fit what is seen of the field, "
                f"{tuple(predicted.shape)}."
            )
        return torch.where(torch.isfinite(values), values - predicted, 0.0)


class FunctionObservation(Observation):
    """Whatever a differentiable function sees of the field.

    Parameters
    ----------
    values : Tensor of shape (n, ...)
    function : callable
        Differentiable map of a field (n, frames, y, x) to the shape of `values`, each sequence by
        itself.
    error_variance : float or Tensor, default=0.0

    Examples
    --------
    The largest value of each frame:

    >>> peak = FunctionObservation(torch.tensor([[9.0]]), lambda x: x.amax((-2, -1)))
    >>> peak.residual(torch.ones(1, 1, 2, 2))
    tensor([[8.]])
    """

    def __init__(
        self, values: Tensor, function: FieldFunction, error_variance: float | Tensor = 0.0
    ) -> None:
        super().__init__(values, error_variance)
        self.function = function

    def predict(self, field: Tensor) -> Tensor:
        return self.function(field)


class DecodedObservation(Observation):
    """An observation of a non-linear, element-wise function of the field.

    Rain is observed in mm/h and modelled in a latent: an areal mean of mm/h is not linear in the
    latent, and the mean of the observation is not the observation of the mean. `expect` takes the
    mean over a normal distribution in every cell, by Gauss-Hermite quadrature.

    Parameters
    ----------
    observation : Observation
        Of the decoded field.
    decode : callable
        Element-wise and differentiable.

    Examples
    --------
    >>> from skdiffuse.diffusion import ArealMean
    >>> coarse = ArealMean(torch.full((1, 1, 1, 1), 5.0), factor=2)
    >>> seen = DecodedObservation(coarse, torch.square)
    >>> seen.predict(torch.full((1, 1, 2, 2), 2.0))
    tensor([[[[4.]]]])
    >>> seen.expect(torch.zeros(1, 1, 2, 2), std=2.0).round(decimals=3)
    tensor([[[[4.]]]])
    """

    def __init__(self, observation: Observation, decode: FieldFunction) -> None:
        super().__init__(observation.values, observation.error_variance)
        self.observation = observation
        self.decode = decode

    def predict(self, field: Tensor) -> Tensor:
        return self.observation.predict(self.decode(field))

    def expect(self, field: Tensor, std: Tensor | float) -> Tensor:
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        weights = weights / weights.sum()
        decoded = sum(
            (
                float(w) * self.decode(field + std * float(node))
                for node, w in zip(nodes, weights, strict=True)
            ),
            start=torch.zeros(()),
        )
        return self.observation.predict(decoded)

    def rows(self, sequences: slice) -> Self:
        part = super().rows(sequences)
        part.observation = self.observation.rows(sequences)
        return part

    def to(self, device: torch.device | str) -> Self:
        moved = super().to(device)
        moved.observation = self.observation.to(device)
        return moved


class JointObservation(Observation):
    """Several observations of one field at once.

    Parameters
    ----------
    observations : sequence of Observation

    Examples
    --------
    >>> from skdiffuse.diffusion import ArealMean, Gauges
    >>> field = torch.zeros(1, 2, 2, 2)
    >>> both = JointObservation([
    ...     ArealMean(torch.ones(1, 2, 1, 1), factor=2), Gauges(torch.ones(1, 2, 1), [0], [1])])
    >>> both.residual(field)
    tensor([[1., 1., 1., 1.]])
    """

    def __init__(self, observations: Sequence[Observation]) -> None:
        if not observations:
            raise ValueError("observations must hold at least one observation.")
        self.observations = list(observations)
        n = max(len(o.values) for o in observations)

        def joined(parts: list[Tensor]) -> Tensor:
            return torch.cat([p.expand(n, *p.shape[1:]).flatten(1) for p in parts], dim=1)

        super().__init__(
            joined([o.values for o in observations]),
            joined([o.error_variance for o in observations]),
        )

    def predict(self, field: Tensor) -> Tensor:
        return torch.cat([o.predict(field).flatten(1) for o in self.observations], dim=1)

    def expect(self, field: Tensor, std: Tensor | float) -> Tensor:
        return torch.cat([o.expect(field, std).flatten(1) for o in self.observations], dim=1)

    def pin(self, field: Tensor) -> Tensor:
        for observation in self.observations:
            field = observation.pin(field)
        return field

    def pinned(self, field: Tensor) -> Tensor:
        return torch.stack([o.pinned(field) for o in self.observations]).any(0)

    def through(self, decode: FieldFunction, encode: FieldFunction) -> Observation:
        return JointObservation([o.through(decode, encode) for o in self.observations])

    def rows(self, sequences: slice) -> Self:
        part = super().rows(sequences)
        part.observations = [o.rows(sequences) for o in self.observations]
        return part

    def to(self, device: torch.device | str) -> Self:
        moved = super().to(device)
        moved.observations = [o.to(device) for o in self.observations]
        return moved
