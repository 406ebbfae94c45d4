"""Preparing UKCP18 local projections (2.2 km, hourly) as training data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from skdiffuse.cubes import open_cube
from skdiffuse.cubes.reading import Source
from skdiffuse.cubes.regions import block_around, coarsen

BIRMINGHAM = (52.48, -1.90)
_SEASONS = ("DJF", "MAM", "JJA", "SON")


def prepare_ukcp18(
    source: Source,
    *,
    member: int | None = None,
    coarsening: int = 4,
    centre: tuple[float, float] = BIRMINGHAM,
    size: int | tuple[int, int] = 64,
    seasons: Sequence[str] | None = None,
) -> xr.DataArray:
    """The dissertation's data: 64 x 64 cells of 8.8 km centred on Birmingham, in mm/h.

    Opens UKCP18 files (rotated pole, 360-day calendar, mm/day, kg m-2 s-1 or mm/h), takes
    one member, averages blocks of cells by area and cuts out the cells around ``centre``.

    Parameters
    ----------
    source : path, pattern, list of paths, Dataset or DataArray
        ``pr_rcp85_land-cpm_uk_2.2km_01_1hr_*.nc`` and the like, see :func:`open_cube`.
    member : int, optional
        Number of the ensemble member, where the files hold more than one.
    coarsening : int, default=4
        2.2 km cells along one side of a cell of the result. Blocks are counted from the first
        cell of the file; 1 leaves the grid as it is (for files that are coarse already).
    centre : (lat, lon), default=(52.48, -1.90)
        Birmingham.
    size : int or (int, int), default=64
    seasons : sequence of str, optional
        Of "DJF", "MAM", "JJA", "SON". Default: all.

    Returns
    -------
    DataArray of shape (time, size, size)
        Lazy where dask is installed: nothing is read but coordinates.

    Raises
    ------
    ValueError
        If the source is no UKCP18-like cube, or the cells do not lie within its domain.

    References
    ----------
    Section 4.1 of the dissertation on diffusion models of precipitation; Kendon et al. (2021),
    UKCP Local (2.2km) Projections.

    Examples
    --------
    >>> from skdiffuse.datasets import made_up_ukcp18
    >>> rain = prepare_ukcp18(made_up_ukcp18(n_hours=24), member=4)
    >>> rain.shape, str(rain.time.values[0]), rain.attrs["units"]
    ((24, 64, 64), '1980-12-01 00:30:00', 'mm h-1')
    """
    cube = open_cube(source, member=member)
    if cube.ndim == 4:
        numbers = cube[cube.dims[0]].values.tolist() if cube.dims[0] in cube.coords else ""
        raise ValueError(
            f"the files hold {cube.sizes[cube.dims[0]]} members {numbers}: choose one with member=."
        )
    if seasons is not None:
        unknown = [s for s in seasons if s not in _SEASONS]
        if unknown or isinstance(seasons, str):
            raise ValueError(f"seasons must be a list of {_SEASONS}; got {seasons!r}.")
        cube = cube.isel({cube.dims[0]: cube[cube.dims[0]].dt.season.isin(list(seasons)).values})
        if not cube.size:
            raise ValueError(f"the data hold none of the seasons {list(seasons)}.")
    # Only the cells that will be needed are ever read.
    grid = xr.zeros_like(cube.isel({cube.dims[0]: slice(1)}), dtype=np.float32).compute()
    block = block_around(coarsen(grid, coarsening), centre, size)
    fine = {d: slice(s.start * coarsening, s.stop * coarsening) for d, s in block.items()}
    return coarsen(cube.isel(fine), coarsening)


def made_up_ukcp18(
    n_hours: int = 720, *, member: int = 4, random_state: int | None = 0
) -> xr.Dataset:
    """Synthetic rain in the clothes of a UKCP18 local file, to try things out with.

    The metadata are those of the real files: rotated pole at 37.5 N 177.5 E, a 360-day
    calendar with times in the middle of the hour and their bounds, one ensemble member,
    kg m-2 s-1. The domain is cut to 288 x 320 cells of 2.2 km to keep it small.

    Parameters
    ----------
    n_hours : int, default=720
        From 1 December 1980; 720 are a month.
    member : int, default=4
    random_state : int or None, default=0

    Returns
    -------
    Dataset

    Examples
    --------
    >>> made_up_ukcp18(n_hours=1).pr.dims
    ('ensemble_member', 'time', 'grid_latitude', 'grid_longitude')
    """
    from skdiffuse.datasets.synthetic import make_precipitation

    rain = make_precipitation(
        n_hours, (288, 320), correlation_length=30.0, lifetime=12.0, advection=(3.0, 14.0),
        start="1980-12-01T00:30", calendar="360_day", random_state=random_state,
    )  # fmt: skip
    times = rain.time.values
    half = np.array([np.timedelta64(30, "m").astype(object)])
    dataset = xr.Dataset(
        {
            "pr": (
                ("ensemble_member", "time", "grid_latitude", "grid_longitude"),
                rain.values[None] / np.float32(3600),
                {
                    "standard_name": "lwe_precipitation_rate",
                    "long_name": "Total precipitation rate",
                    "units": "kg m-2 s-1",
                    "cell_methods": "time: mean",
                    "grid_mapping": "rotated_latitude_longitude",
                },
            ),
            "time_bnds": (("time", "bnds"), np.stack([times - half, times + half], axis=1)),
        },
        {
            "ensemble_member": ("ensemble_member", [member], {"units": "1"}),
            "time": ("time", times, {"axis": "T", "bounds": "time_bnds", "standard_name": "time"}),
            "grid_latitude": (
                "grid_latitude",
                (-2.85 + 0.02 * np.arange(288)).astype(np.float32),
                {"axis": "Y", "units": "degrees", "standard_name": "grid_latitude"},
            ),
            "grid_longitude": (
                "grid_longitude",
                (357.2 + 0.02 * np.arange(320)).astype(np.float32),
                {"axis": "X", "units": "degrees", "standard_name": "grid_longitude"},
            ),
            "rotated_latitude_longitude": (
                (),
                0,
                {
                    "grid_mapping_name": "rotated_latitude_longitude",
                    "earth_radius": 6371229.0,
                    "grid_north_pole_latitude": 37.5,
                    "grid_north_pole_longitude": 177.5,
                    "north_pole_grid_longitude": 0.0,
                    "longitude_of_prime_meridian": 0.0,
                },
            ),
        },
        {"source": "synthetic rain; no output of the Met Office Unified Model"},
    )
    dataset.time.encoding = {
        "units": "hours since 1970-01-01 00:00:00",
        "calendar": "360_day",
        "dtype": "float64",
    }
    return dataset
