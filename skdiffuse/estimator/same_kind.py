"""Whether rain that a model is asked about is of the kind that it was trained on.

A model knows how rain moves from one of its frames to the next and from one of its cells to the
next: frames or cells of another size are another kind of rain, of which it knows nothing, and so
are snow alone, showers alone and the maxima of hours. What says nothing of itself, such as a NumPy
array, is taken as it is.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from skdiffuse.cubes import Cube, GridMetadata
from skdiffuse.cubes.quantities import quantity
from skdiffuse.cubes.spacing import (
    METRES_PER_DEGREE,
    Axis,
    axis_of,
    middle_place,
    projection,
    spacing_in_metres,
)
from skdiffuse.cubes.time_axis import BOUNDS_OFFSET
from skdiffuse.estimator.rain_model import RainModel

__all__ = ["RainKind"]

# Packed coordinates and radar clocks are off by less, kinds of rain by more.
_TOLERANCE = 0.02
# Between degrees, metres along a projection and distances on a sphere.
_ROUGH_TOLERANCE = 0.25


@dataclass(frozen=True, eq=False)
class RainKind:
    """What is kept of training rain, to compare other rain with.

    Attributes
    ----------
    template : GridMetadata or None
        Of the training cube; None where it said nothing.
    placed : tuple of int or None
        Rows and columns of fields whose places the network has learnt.
    """

    template: GridMetadata | None
    placed: tuple[int, int] | None = None

    @classmethod
    def of(cls, model: RainModel) -> RainKind:
        """What a model was trained on; where its rain did not tell, what its card says."""
        ours, card = model.template, model.card
        placed = model.plan.field_shape
        if card is None:
            return cls(ours, placed)
        said = card.grid()
        if ours is None:
            # A card knows spacings, not places.
            return cls(said)
        tells = spacing_in_metres(ours) or any(axis_of(ours, dim) for dim in ours.dims[-2:])
        step = card.time_step if ours.time_step is None else ours.time_step
        if tells:
            return cls(replace(ours, time_step=step), placed)
        return cls(replace(said, time_step=step, attrs=said.attrs | ours.attrs))

    def check(self, cube: Cube, *, time_factor: int = 1, space_factor: int = 1) -> None:
        """Raise where a cube is of another kind.

        Parameters
        ----------
        cube : Cube
        time_factor, space_factor : int
            Frames and cells of the model to each frame and cell of the cube.

        Raises
        ------
        ValueError
            If the quantity, the time step, the spacing, the direction of an axis or, where the
            network has learnt places, the place is another. The message says how to ask
            nevertheless.

        Warns
        -----
        UserWarning
            If a finer step or grid than that of training is asked for.
        """
        ours, theirs = self.template, cube.template
        if ours is None or theirs is None:
            return
        self._check_quantity(cube, ours, theirs)
        finer = self._check_step(cube, ours, theirs, time_factor)
        finer += self._check_spacing(cube, ours, theirs, space_factor)
        if finer:
            # Past the verb, which is a context of its own, to whoever called it.
            warnings.warn(finer[0], UserWarning, stacklevel=6)
        shape = tuple(space_factor * n for n in cube.field_shape)
        if self.placed is not None and shape == tuple(self.placed):
            self._check_place(cube, ours, theirs)

    def _check_quantity(self, cube: Cube, ours: GridMetadata, theirs: GridMetadata) -> None:
        known, got = (quantity(each.attrs.get("standard_name")) for each in (ours, theirs))
        if known and got and known != got:
            self._refuse_quantity(cube, got, known, "standard_name")
        if (got := _extreme(theirs)) and got != _extreme(ours):
            self._refuse_quantity(
                cube, f"a {got} over time", _extreme(ours) or "means", "cell_methods"
            )

    def _refuse_quantity(self, cube: Cube, got: str, known: str, attr: str) -> NoReturn:
        assert cube.template is not None
        said = cube.template.attrs[attr]
        raise ValueError(
            f"{cube.name} holds {got} ({attr} {said!r}), and the model knows {known}, which it was "
            f"trained on: give that, or fit a model to such values. If {attr} is wrong, or to ask "
            f"nevertheless, {cube.name}.assign_attrs({attr}='')."
        )

    def _check_step(
        self, cube: Cube, ours: GridMetadata, theirs: GridMetadata, factor: int
    ) -> list[str]:
        """What to warn of."""
        time = theirs.dims[-3]
        if theirs.time_step is None and _interval(ours) in (None, ours.time_step):
            # A single frame tells its step where it tells over which interval it is a mean.
            theirs = replace(theirs, time_step=_interval(theirs))
        for name, unit in (("time_step", " s"), ("number_step", "")):
            known, got = getattr(ours, name), getattr(theirs, name)
            if known is None or got is None:
                continue
            if _is_close(got, factor * known):
                continue
            said = f"{cube.name} has frames {got:g}{unit} apart"
            if factor > 1 and _is_close(got, known):
                return [_finer(f"{said}, as in training", factor, f"{cube.name}[::{factor}]")]
            if factor > 1:
                wanted = f"factor={factor} times the {known:g}{unit} of the rain"
            else:
                wanted = f"the {known:g}{unit} of the rain"
            raise ValueError(
                f"{said}, and the model needs {wanted} that it was trained on: bring "
                f"{cube.name} to that step, e.g. {cube.name}.resample({time}=...).mean(), or fit "
                f"a model to such rain. {_way_out(cube, [time])}"
            )
        return []

    def _check_spacing(
        self, cube: Cube, ours: GridMetadata, theirs: GridMetadata, factor: int
    ) -> list[str]:
        """What to warn of."""
        dims = theirs.dims[-2:]
        axes = [
            (dim, axis_of(ours, own), axis_of(theirs, dim))
            for own, dim in zip(ours.dims[-2:], dims, strict=True)
        ]
        if all(a and b and a.unit == b.unit for _, a, b in axes):
            found = [self._check_axis(cube, dim, a, b, factor) for dim, a, b in axes if a and b]
            return [warning for warning in found if warning]
        known_metres, got_metres = spacing_in_metres(ours), spacing_in_metres(theirs)
        if known_metres is None or got_metres is None:
            return []
        roughly = _ROUGH_TOLERANCE
        found = [
            self._check_size(cube, dim, Axis(a, 0.0, 2, "m"), Axis(b, 0.0, 2, "m"), factor, roughly)
            for dim, a, b in zip(dims, known_metres, got_metres, strict=True)
        ]
        return [warning for warning in found if warning]

    def _check_axis(self, cube: Cube, dim: str, known: Axis, got: Axis, factor: int) -> str:
        if got.step * known.step < 0:
            ways = {True: "rise", False: "fall"}
            raise ValueError(
                f"the positions of {cube.name} along {dim!r} {ways[got.step > 0]}, and those of "
                f"the rain that the model was trained on {ways[known.step > 0]}: it would see "
                f"{cube.name} mirrored; turn it with {cube.name}.isel({dim}=slice(None, None, -1))."
            )
        return self._check_size(cube, dim, known, got, factor)

    def _check_size(
        self,
        cube: Cube,
        dim: str,
        known: Axis,
        got: Axis,
        factor: int,
        tolerance: float = _TOLERANCE,
    ) -> str:
        if _is_close(abs(got.step), factor * abs(known.step), tolerance):
            return ""
        said = f"{cube.name} has cells {_size(got)} apart along {dim!r}"
        if factor > 1 and _is_close(abs(got.step), abs(known.step)):
            right = f"{cube.name}.coarsen({dim}={factor}, ...).mean()"
            return _finer(f"{said}, as in training", factor, right)
        times = f"factor={factor} times " if factor > 1 else ""
        raise ValueError(
            f"{said}, and the model needs {times}the {_size(known)} of the rain that it was "
            f"trained on: regrid {cube.name}, or fit a model to such rain. "
            f"{_way_out(cube, [dim])}"
        )

    def _check_place(self, cube: Cube, ours: GridMetadata, theirs: GridMetadata) -> None:
        for own, dim in zip(ours.dims[-2:], theirs.dims[-2:], strict=True):
            known, got = axis_of(ours, own), axis_of(theirs, dim)
            if known is None or got is None or known.unit != got.unit:
                continue
            apart = got.middle - known.middle
            if known.unit == "degrees":
                apart = (apart + 180) % 360 - 180
            if abs(apart) > abs(known.step) / 2:
                there, here = (f"{each.middle:.6g} {each.unit}".strip() for each in (got, known))
                self._refuse_place(cube, f"along {dim!r} is {there}", f"around {here}")
        here_at, there_at = middle_place(ours), middle_place(theirs)
        spacing = spacing_in_metres(ours)
        if here_at and there_at and spacing:
            # On a sphere, and half a cell of it.
            north = abs(there_at[0] - here_at[0])
            east = abs((there_at[1] - here_at[1] + 180) % 360 - 180)
            metres = METRES_PER_DEGREE * math.hypot(
                north, east * math.cos(math.radians(here_at[0]))
            )
            if metres > max(spacing) / 2:
                said = ["{:.4g} N {:.4g} E".format(*each) for each in (there_at, here_at)]
                self._refuse_place(cube, f"is {said[0]}", f"around {said[1]}")
        known_map, got_map = projection(ours), projection(theirs)
        for name in known_map.keys() & got_map.keys():
            if not _is_same(known_map[name], got_map[name]):
                said = [f"{name} {each!r}" for each in (got_map[name], known_map[name])]
                self._refuse_place(cube, f"lies on a map with {said[0]}", f"on one with {said[1]}")

    def _refuse_place(self, cube: Cube, there: str, here: str) -> NoReturn:
        assert cube.template is not None
        dims = list(cube.template.dims[-2:])
        raise ValueError(
            f"the middle of {cube.name} {there}, and the model has learnt where it rains {here}: "
            "ask it about its own place, fit a model to this one, or fit with "
            "network__geography=False, which learns no places. To ask nevertheless, leave out "
            f"what tells, {cube.name}.drop_vars({dims}), longitudes and latitudes and the map."
        )


def _extreme(template: GridMetadata) -> str | None:
    """The statistic over time that values are, where it is none of a mean, a sum and a sample."""
    found = re.search(r"\btime:\s*(\w+)", str(template.attrs.get("cell_methods", "")))
    return found[1] if found and found[1] not in ("mean", "sum", "point") else None


def _interval(template: GridMetadata) -> float | None:
    """Seconds over which each value is a mean, where bounds tell."""
    time = template.coords.coords.get(template.dims[-3])
    bounds = None if time is None else time.attrs.get(BOUNDS_OFFSET)
    return None if bounds is None else round((bounds[1] - bounds[0]) * 3600, 3)


def _is_same(a: object, b: object) -> bool:
    try:
        return bool(np.allclose(np.asarray(a, float), np.asarray(b, float)))
    except (TypeError, ValueError):
        return bool(np.all(np.asarray(a) == np.asarray(b)))


def _is_close(a: float, b: float, tolerance: float = _TOLERANCE) -> bool:
    return math.isclose(a, b, rel_tol=tolerance)


def _size(axis: Axis) -> str:
    return str(axis).lstrip("-")


def _way_out(cube: Cube, dims: list[str]) -> str:
    return f"To ask nevertheless, leave out what tells, {cube.name}.drop_vars({dims})."


def _finer(said: str, factor: int, right: str) -> str:
    return (
        f"{said}: with factor={factor} the model makes what lies between as if it were as far "
        f"apart as in training. Give coarser rain, such as {right}, for a step that it knows."
    )
