"""How rain is observed: in cells, as means over space and time, and at points."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from skdiffuse.diffusion.observations import FieldFunction, Observation

__all__ = ["ArealMean", "Gauges", "KnownCells", "TemporalMean"]


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
