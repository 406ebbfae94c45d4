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
from torch.nn.functional import avg_pool2d

from skdiffuse.diffusion.linearisation import Linearisation

__all__ = [
    "ArealMean",
    "DecodedObservation",
    "FunctionObservation",
    "Gauges",
    "JointObservation",
    "KnownCells",
    "Observation",
    "TemporalMean",
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


class KnownCells(Observation):
    """Cells of the field itself: gaps in space and time, frames in between, the past.

    Parameters
    ----------
    values : Tensor of shape (n, frames, y, x)
        In the field's units; NaN where unknown.
    mask : Tensor of bool, broadcasting against `values`, optional
        True where known. NaN is unknown in any case.
    error_variance : float or Tensor, default=0.0

    Examples
    --------
    >>> nan = float("nan")
    >>> seen = KnownCells(torch.tensor([[[[1.0, nan]]]]))
    >>> seen.residual(torch.zeros(1, 1, 1, 2))
    tensor([[[[1., 0.]]]])
    >>> seen.pin(torch.full((1, 1, 1, 2), 7.0))
    tensor([[[[1., 7.]]]])
    """

    def __init__(
        self, values: Tensor, mask: Tensor | None = None, error_variance: float | Tensor = 0.0
    ) -> None:
        if mask is not None:
            values = torch.where(mask, values, torch.nan)
        super().__init__(values, error_variance)

    def predict(self, field: Tensor) -> Tensor:
        return field

    def pin(self, field: Tensor) -> Tensor:
        return torch.where(self.pinned(field), self.values.to(field.dtype), field)

    def pinned(self, field: Tensor) -> Tensor:
        return (torch.isfinite(self.values) & (self.error_variance == 0)).expand_as(field)

    def through(self, decode: FieldFunction, encode: FieldFunction) -> Observation:
        if (self.error_variance > 0).any():
            return super().through(decode, encode)
        encoded = copy.copy(self)
        encoded.values = encode(self.values)
        return encoded


class ArealMean(Observation):
    """Means over blocks of cells: a coarse grid, as of a global model.

    Parameters
    ----------
    values : Tensor of shape (n, frames, y / factor, x / factor)
    factor : int
        Cells along each side of a block.
    error_variance : float or Tensor, default=0.0

    Examples
    --------
    >>> coarse = ArealMean(torch.full((1, 1, 1, 1), 3.0), factor=2)
    >>> coarse.residual(torch.ones(1, 1, 2, 2))
    tensor([[[[2.]]]])
    """

    def __init__(self, values: Tensor, factor: int, error_variance: float | Tensor = 0.0) -> None:
        super().__init__(values, error_variance)
        self.factor = _positive("factor", factor)

    def predict(self, field: Tensor) -> Tensor:
        rows, columns = field.shape[-2:]
        if rows % self.factor or columns % self.factor:
            raise ValueError(
                f"factor={self.factor} does not divide the field of {rows} x {columns} cells; crop "
                f"it to {rows - rows % self.factor} x {columns - columns % self.factor}."
            )
        return avg_pool2d(field, self.factor)


class TemporalMean(Observation):
    """Means over consecutive frames, or totals: daily means of hourly rain, accumulations.

    Parameters
    ----------
    values : Tensor of shape (n, frames / factor, y, x)
    factor : int
        Frames of a period.
    duration : float, default=1.0
        What the mean is multiplied by: the length of a period in hours, if the field is in mm/h
        and the values are totals in mm.
    error_variance : float or Tensor, default=0.0

    Examples
    --------
    >>> total = TemporalMean(torch.full((1, 1, 1, 1), 12.0), factor=6, duration=6.0)
    >>> total.residual(torch.ones(1, 6, 1, 1))
    tensor([[[[6.]]]])
    """

    def __init__(
        self,
        values: Tensor,
        factor: int,
        duration: float = 1.0,
        error_variance: float | Tensor = 0.0,
    ) -> None:
        super().__init__(values, error_variance)
        self.factor = _positive("factor", factor)
        self.duration = float(duration)

    def predict(self, field: Tensor) -> Tensor:
        n, n_frames, *cells = field.shape
        if n_frames % self.factor:
            raise ValueError(
                f"factor={self.factor} does not divide the {n_frames} frames; leave out the last "
                f"{n_frames % self.factor}, or give the last period as missing (NaN)."
            )
        return self.duration * field.reshape(n, -1, self.factor, *cells).mean(2)


class Gauges(Observation):
    """Values at points of the grid, linear between the four cells around each.

    Parameters
    ----------
    values : Tensor of shape (n, frames, m)
        Of each of the m gauges at every frame; NaN where there is none.
    rows, columns : sequence of float, length m
        Positions in cells: 0 is the centre of the first cell, whole numbers are cells.
    error_variance : float or Tensor, default=0.0

    Examples
    --------
    >>> gauge = Gauges(torch.tensor([[[5.0]]]), rows=[0.0], columns=[0.5])
    >>> gauge.predict(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([[[2.]]])
    """

    def __init__(
        self,
        values: Tensor,
        rows: Sequence[float],
        columns: Sequence[float],
        error_variance: float | Tensor = 0.0,
    ) -> None:
        super().__init__(values, error_variance)
        self.rows_of_cells, self.columns_of_cells = (
            torch.as_tensor(p, dtype=torch.float64).reshape(-1) for p in (rows, columns)
        )
        m = values.shape[-1]
        if not len(self.rows_of_cells) == len(self.columns_of_cells) == m:
            raise ValueError(
                f"rows and columns must have one number for each of the {m} gauges in values, got "
                f"{len(self.rows_of_cells)} and {len(self.columns_of_cells)}."
            )

    def predict(self, field: Tensor) -> Tensor:
        (y0, y1, wy), (x0, x1, wx) = (
            _neighbours(name, position, size, field)
            for name, position, size in (
                ("rows", self.rows_of_cells, field.shape[-2]),
                ("columns", self.columns_of_cells, field.shape[-1]),
            )
        )
        above = torch.lerp(field[..., y0, x0], field[..., y0, x1], wx)
        below = torch.lerp(field[..., y1, x0], field[..., y1, x1], wx)
        return torch.lerp(above, below, wy)


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
            float(w) * self.decode(field + std * float(node))
            for node, w in zip(nodes, weights, strict=True)
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


def _neighbours(
    name: str, position: Tensor, size: int, field: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    outside = ~((position >= 0) & (position <= size - 1))  # NaN is outside too
    if outside.any():
        raise ValueError(
            f"{name}={position[outside].tolist()} lie outside the grid, whose {size} {name} have "
            f"positions from 0 to {size - 1}; leave these gauges out."
        )
    lower = position.floor().long()
    upper = (lower + 1).clamp(max=size - 1)
    weight = (position - lower).to(dtype=field.dtype, device=field.device)
    return lower.to(field.device), upper.to(field.device), weight


def _positive(name: str, value: int) -> int:
    if int(value) != value or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return int(value)
