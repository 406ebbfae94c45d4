"""Several cubes taken as one: of other places, episodes or sources, on grids of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import xarray as xr

from skdiffuse.cubes.cube import Cube, Tile
from skdiffuse.cubes.grids import Grid
from skdiffuse.cubes.metadata import GridMetadata
from skdiffuse.cubes.time_axis import step_tolerance
from skdiffuse.cubes.validation import validate_cube

__all__ = ["Cubes", "SeveralCubes", "are_several", "validate_cubes"]


@dataclass(frozen=True, eq=False)
class SeveralCubes:
    """Cubes of one time step, whose sequences are numbered from the first cube to the last.

    Parameters
    ----------
    parts : tuple of Cube
        Two or more.

    Attributes
    ----------
    field_shape : tuple of int
        Rows and columns that fit into every cube.
    template : GridMetadata or None
        What the cubes share: names, attributes, the time step, and the coordinates of the cells
        where all are known to lie on one grid. None if one is of numpy.
    on_one_grid : bool or None
        None where coordinates do not tell.
    first_sequences : ndarray of int
        Number of the first sequence of each cube.

    Raises
    ------
    ValueError
        If time steps differ, or rows or columns run in opposite directions.

    Examples
    --------
    >>> a, b = validate_cube(np.ones((9, 8, 16))), validate_cube(np.ones((2, 5, 12, 12)))
    >>> both = SeveralCubes((a, b))
    >>> both.field_shape, both.n_sequences, both.locate(2)
    ((8, 12), 3, (1, 1))
    """

    parts: tuple[Cube, ...]
    field_shape: tuple[int, int] = field(init=False)
    template: GridMetadata | None = field(init=False)
    on_one_grid: bool | None = field(init=False)
    first_sequences: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rows, columns = zip(*(part.field_shape for part in self.parts), strict=True)
        _refuse_other_steps(self.parts)
        _refuse_other_directions(self.parts)
        one = _on_one_grid(self.parts)
        numbers = np.cumsum([0, *(part.n_sequences for part in self.parts)])
        set_ = object.__setattr__
        set_(self, "field_shape", (min(rows), min(columns)))
        set_(self, "on_one_grid", one)
        set_(self, "template", _shared_template(self.parts, with_cells=bool(one)))
        set_(self, "first_sequences", numbers[:-1])

    @property
    def n_sequences(self) -> int:
        """Number of sequences of all cubes."""
        return sum(part.n_sequences for part in self.parts)

    def locate(self, sequence: int) -> tuple[int, int]:
        """Number of the cube that a sequence belongs to, and its number there."""
        k = int(np.searchsorted(self.first_sequences, sequence, side="right")) - 1
        return k, sequence - int(self.first_sequences[k])

    def shares(self, n_frames: int) -> np.ndarray:
        """Share of each cube in the windows to be drawn from all.

        In proportion to its cells, of the frames at which a window can begin: cubes of one grid
        together count as their concatenation does, and a cube twice as large twice as much.

        Returns
        -------
        ndarray of shape (n_cubes,)
            Their sum is 1.
        """
        cells = np.array(
            [len(part.window_starts(n_frames)) * np.prod(part.field_shape) for part in self.parts],
            dtype=np.float64,
        )
        return cells / cells.sum()

    def tiles(self, n_frames: int, shape: tuple[int, int]) -> list[Tile]:
        """Yield windows side by side in all cubes; see `Cube.tiles`."""
        return [
            (int(first) + sequence, start, y, x)
            for first, part in zip(self.first_sequences, self.parts, strict=True)
            for sequence, start, y, x in part.tiles(n_frames, shape)
        ]

    def stack(self, tiles: list[Tile], n_frames: int) -> np.ndarray:
        """Some of the windows that `tiles` lists: (n, n_frames, y, x), float32."""
        windows = []
        for sequence, start, y, x in tiles:
            k, number = self.locate(sequence)
            windows.append(self.parts[k].window(number, start, n_frames, y, x))
        return np.stack(windows)


#: One or several: both have `parts`, `field_shape`, `template`, `tiles` and `stack`.
Cubes: TypeAlias = Cube | SeveralCubes


def are_several(X: Any) -> TypeGuard[Sequence[Any]]:
    """Whether something is a list or tuple of cubes, and not of the frames or numbers of one."""
    return isinstance(X, (list, tuple)) and any(
        isinstance(part, xr.Dataset) or getattr(part, "ndim", 0) > 2 for part in X
    )


def validate_cubes(X: Any, *, n_frames: int = 1, name: str = "X") -> Cubes:
    """Check one cube, or each of a list or tuple of them.

    Parameters
    ----------
    X : array, or list or tuple of arrays
        See `validate_cube`.
    n_frames : int, default=1
    name : str, default="X"
        What to call it in errors; its entries are ``X[0]``, ``X[1]``, ...

    Returns
    -------
    Cube or SeveralCubes
        A list of one cube is that cube.

    Examples
    --------
    >>> validate_cubes([np.ones((9, 8, 8)), np.ones((9, 6, 9))]).field_shape
    (6, 8)
    """
    if not are_several(X):
        return validate_cube(X, n_frames=n_frames, name=name)
    parts = [
        validate_cube(part, n_frames=n_frames, name=f"{name}[{k}]") for k, part in enumerate(X)
    ]
    return parts[0] if len(parts) == 1 else SeveralCubes(tuple(parts))


def _refuse_other_steps(parts: Sequence[Cube]) -> None:
    timed = [(part, part.time_step) for part in parts if part.time_step is not None]
    for part, step in timed[1:]:
        first, known = timed[0]
        if abs(step - known) > step_tolerance(min(step, known)):
            finer = part if step < known else first
            raise ValueError(
                f"{part.name} has a time step of {step:g} s and {first.name} one of {known:g} s, "
                "and a model learns one: leave one of them out, or bring the finer one to the "
                f"longer step, e.g. with {finer.name}.resample({_dims(finer)[0]}="
                f"'{max(step, known):g}s').mean()."
            )


def _refuse_other_directions(parts: Sequence[Cube]) -> None:
    """Rain that moves one way here would move the other way there."""
    for axis in (1, 2):
        ways = [(part, _direction(part, axis)) for part in parts]
        known = [(part, way) for part, way in ways if way]
        for part, way in known[1:]:
            if way != known[0][1]:
                dim = _dims(part)[axis]
                raise ValueError(
                    f"{part.name} runs the other way along {dim!r} than {known[0][0].name}: turn "
                    f"it with {part.name}.isel({dim}=slice(None, None, -1))."
                )


def _direction(cube: Cube, axis: int) -> int:
    """1 or -1 where coordinates rise or fall along a dimension, 0 where they do not tell."""
    if cube.template is None:
        return 0
    coord = cube.template.coords.coords.get(_dims(cube)[axis])
    if coord is None or coord.dtype.kind not in "fiu" or coord.size < 2:
        return 0
    return int(np.sign(coord.values[1] - coord.values[0]))


def _dims(cube: Cube) -> tuple[str, ...]:
    return ("time", "y", "x") if cube.template is None else cube.template.dims[-3:]


def _on_one_grid(parts: Sequence[Cube]) -> bool | None:
    if len({part.field_shape for part in parts}) > 1:
        return False
    grids = [
        Grid() if part.template is None else Grid.of_cube(part.template.spatial_coords, "")
        for part in parts
    ]
    for grid in grids:
        # Two members of an ensemble are on one grid.
        grid.coords = {name: coord for name, coord in grid.coords.items() if coord[0]}
    if not all(grid.coords for grid in grids):
        return None
    return not any(grids[0].differences(other) for other in grids[1:])


def _shared_template(parts: Sequence[Cube], *, with_cells: bool) -> GridMetadata | None:
    templates = [part.template for part in parts if part.template is not None]
    if len(templates) < len(parts):
        return None
    first, *others = templates

    def agreed(values: list[Any], otherwise: Any) -> Any:
        return values[0] if all(_same(values[0], value) for value in values) else otherwise

    attrs = {
        key: value
        for key, value in first.attrs.items()
        if all(key in other.attrs and _same(value, other.attrs[key]) for other in others)
        and (with_cells or key != "grid_mapping")
    }
    cells = first.spatial_coords if with_cells else xr.Dataset()
    of_one = [
        name
        for name, coord in cells.coords.items()
        if not coord.dims
        and not all(coord.variable.equals(other.coords.variables.get(name)) for other in others)
    ]
    return GridMetadata(
        dims=agreed([each.dims[-3:] for each in templates], ("time", "y", "x")),
        coords=cells.drop_vars(of_one),
        name=agreed([each.name for each in templates], None),
        attrs=attrs,
        time_step=next((each.time_step for each in templates if each.time_step is not None), None),
        calendar=agreed([each.calendar for each in templates], None),
    )


def _same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b))
