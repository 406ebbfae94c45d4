"""Cells as quadrilaterals: how large they are, and how much of each lies within an outline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from matplotlib.path import Path

__all__ = ["Mesh", "Polygon"]

# Points along each side of a cell, of which those within an outline are counted.
_POINTS = 10

Polygon = list[np.ndarray]
"""Rings of (north, east), the outer one first and then holes."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Corners of the cells of a grid.

    Attributes
    ----------
    north, east : ndarray of shape (rows + 1, columns + 1)
        Latitudes and longitudes, these relative to `meridian`; or positions along y and x.
    meridian : float or None
        Longitude in the middle of a grid in degrees; None for positions.
    """

    north: np.ndarray
    east: np.ndarray
    meridian: float | None

    @classmethod
    def of_places(cls, latitude: np.ndarray, longitude: np.ndarray) -> Self:
        """From latitudes and longitudes of centres, of shape (rows, columns), at least 2 each."""
        meridian = float(np.degrees(np.angle(np.exp(1j * np.radians(longitude)).mean())))
        east = _around(longitude, meridian)
        return cls(np.clip(_corners(latitude), -90, 90), _corners(east), meridian)

    @classmethod
    def of_positions(cls, y: np.ndarray, x: np.ndarray) -> Self:
        """From positions of rows and columns."""
        north, east = np.meshgrid(y, x, indexing="ij")
        return cls(_corners(north), _corners(east), None)

    def areas(self) -> np.ndarray:
        """Areas of the cells, relative to each other; shape (rows, columns).

        On a sphere, latitudes stretched by their sine leave areas as they are.
        """
        return np.abs(_shoelace(*self._quads(self._true(self.north), self.east)))

    def share(self, polygon: Polygon) -> np.ndarray:
        """Share of each cell that lies within a polygon, to about a hundredth."""
        paths = [Path(self._placed(ring)) for ring in polygon]
        found = np.zeros((self.north.shape[0] - 1, self.north.shape[1] - 1))
        rows, columns = self._near(np.asarray(paths[0].vertices))
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return found
        u = (np.arange(_POINTS) + 0.5) / _POINTS
        v, w = np.meshgrid(u, u, indexing="ij")
        ways = np.stack([(1 - v) * (1 - w), (1 - v) * w, v * w, v * (1 - w)]).reshape(4, -1)
        north, east = (
            np.einsum("kij,kp->ijp", quad[:, rows, columns], ways)
            for quad in self._quads(self.north, self.east)
        )
        points = np.stack([north, east], axis=-1).reshape(-1, 2)
        inside = np.zeros(len(points), dtype=bool)
        for path in paths:
            inside ^= path.contains_points(points)
        found[rows, columns] = inside.reshape(north.shape).mean(axis=-1)
        return found

    def area_of(self, polygon: Polygon) -> float:
        """Area of a polygon, in the measure of `areas`."""
        parts = []
        for ring in polygon:
            placed = self._placed(ring)
            north, east = self._true(placed[:, 0]), placed[:, 1]
            parts.append(abs(_shoelace(north, east)))
        return float(parts[0] - sum(parts[1:]))

    def reaches_beyond(self, polygon: Polygon) -> bool:
        """Whether a corner of a polygon lies outside the grid."""
        outline = np.concatenate(
            [self._edge(self.north)[:, None], self._edge(self.east)[:, None]], 1
        )
        path, ring = Path(outline), self._placed(polygon[0])
        # Corners on the outline itself are within.
        inside = path.contains_points(ring, radius=1e-9) | path.contains_points(ring, radius=-1e-9)
        return not bool(inside.all())

    def cell_of(self, polygon: Polygon) -> tuple[int, int] | None:
        """The cell that holds the middle of a polygon too small to hold a point of any."""
        north, east = self._placed(polygon[0]).mean(axis=0)
        quads = np.stack(self._quads(self.north, self.east), axis=-1)
        near = ((quads.mean(axis=0) - (north, east)) ** 2).sum(axis=-1)
        for at in np.argsort(near, axis=None)[:9]:
            row, column = (int(k) for k in np.unravel_index(at, near.shape))
            if Path(quads[:, row, column]).contains_point((north, east), radius=1e-9):
                return row, column
        return None

    def holds(self, lat: float, lon: float, cell: tuple[int, int]) -> bool:
        """Whether a point lies within half a diagonal of the middle of a cell, or within it."""
        point = self._placed(np.array([[lat, lon]]))[0]
        quad = np.stack([q[:, cell[0], cell[1]] for q in self._quads(self.north, self.east)], -1)
        shrink = np.array([1.0, np.cos(np.radians(lat))])
        middle = quad.mean(axis=0)
        half = np.linalg.norm((quad - middle) * shrink, axis=1).max()
        return bool(np.linalg.norm((point - middle) * shrink) <= half * (1 + 1e-6))

    def _placed(self, ring: np.ndarray) -> np.ndarray:
        """A ring with longitudes as those of the grid are."""
        if self.meridian is None:
            return ring
        return np.stack([ring[:, 0], _around(ring[:, 1], self.meridian)], axis=1)

    def _true(self, north: np.ndarray) -> np.ndarray:
        return north if self.meridian is None else np.degrees(np.sin(np.radians(north)))

    def _near(self, ring: np.ndarray) -> tuple[slice, slice]:
        """The block of cells that may lie within a ring."""
        quads = self._quads(self.north, self.east)
        overlaps = np.ones(quads[0].shape[1:], dtype=bool)
        for quad, values in zip(quads, ring.T, strict=True):
            overlaps &= (quad.max(axis=0) >= values.min()) & (quad.min(axis=0) <= values.max())
        along = [np.flatnonzero(overlaps.any(axis=axis)) for axis in (1, 0)]
        rows, columns = (slice(k[0], k[-1] + 1) if k.size else slice(0, 0) for k in along)
        return rows, columns

    @staticmethod
    def _quads(north: np.ndarray, east: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The four corners of each cell, in a round; shape (4, rows, columns) each."""
        a, b = (np.stack([c[:-1, :-1], c[:-1, 1:], c[1:, 1:], c[1:, :-1]]) for c in (north, east))
        return a, b

    @staticmethod
    def _edge(corners: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [corners[0, :-1], corners[:-1, -1], corners[-1, :0:-1], corners[:0:-1, 0]]
        )


def _around(longitude: np.ndarray, meridian: float) -> np.ndarray:
    return (longitude - meridian + 180.0) % 360.0 - 180.0


def _corners(centres: np.ndarray) -> np.ndarray:
    """Means of four neighbours, the grid continued straight at its edges."""
    wide = np.pad(centres.astype(np.float64), 1, mode="reflect", reflect_type="odd")
    return (wide[:-1, :-1] + wide[:-1, 1:] + wide[1:, :-1] + wide[1:, 1:]) / 4


def _shoelace(north: np.ndarray, east: np.ndarray) -> np.ndarray:
    """Area of polygons whose corners run along the first axis."""
    after = np.roll(north, -1, axis=0), np.roll(east, -1, axis=0)
    return 0.5 * (east * after[0] - after[1] * north).sum(axis=0)
