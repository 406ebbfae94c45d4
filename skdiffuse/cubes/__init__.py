"""What a cube is: validation, CF metadata, windows, calendars, reading and writing."""

from skdiffuse.cubes.alignment import align_cases, align_grid, align_like
from skdiffuse.cubes.cordex_submission import cordex_prediction
from skdiffuse.cubes.cube import Cube
from skdiffuse.cubes.dressing import dress
from skdiffuse.cubes.layout import ordered
from skdiffuse.cubes.metadata import GridMetadata
from skdiffuse.cubes.reading import open_cube
from skdiffuse.cubes.regions import coarsen, crop, lat_lon
from skdiffuse.cubes.several import Cubes, SeveralCubes, are_several, validate_cubes
from skdiffuse.cubes.validation import validate_cube
from skdiffuse.cubes.writing import write_cube

__all__ = [
    "Cube",
    "Cubes",
    "GridMetadata",
    "SeveralCubes",
    "align_cases",
    "align_grid",
    "align_like",
    "are_several",
    "coarsen",
    "cordex_prediction",
    "crop",
    "dress",
    "lat_lon",
    "open_cube",
    "ordered",
    "validate_cube",
    "validate_cubes",
    "write_cube",
]
