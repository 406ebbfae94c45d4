"""Which variable is the precipitation and which dimensions are time, y and x.

CF metadata decide first (through cf_xarray), then the names in common use.
"""

from __future__ import annotations

import re

import cf_xarray  # noqa: F401  (registers the .cf accessor)
import xarray as xr

from skdiffuse.cubes.own_files import own_variable

STANDARD_NAMES = {
    "precipitation_flux", "lwe_precipitation_rate", "rainfall_rate", "rainfall_flux",
    "convective_precipitation_flux", "stratiform_precipitation_flux", "precipitation_amount",
    "lwe_thickness_of_precipitation_amount", "thickness_of_rainfall_amount", "rainfall_amount",
    "thickness_of_precipitation_amount", "equivalent_reflectivity_factor",
}  # fmt: skip

NAMES = {
    "pr", "precip", "precipitation", "precipitation_rate", "precipitationcal", "precip_rate",
    "rain", "rainfall", "rainfall_rate", "rain_rate", "rr", "rrate", "tp", "tprate", "mtpr",
    "prate", "apcp", "qpe", "total_precipitation", "precipitation_flux", "precipitation_amount",
    "rainfall_flux", "rainfall_amount", "unknown_precipitation", "dbz", "dbzh", "reflectivity",
    "precip_intensity", "acrr", "avg_tprate", "rainrate", "image_data",
    # Names that tools give GRIB parameters (dynamical.org, wgrib2, GrADS, THREDDS)
    "precipitation_surface", "surface_precipitation_average", "surface_precipitation",
    "apcp_surface", "prate_surface", "apcpsfc", "pratesfc", "precipitation_rate_surface",
    # MET Norway, ICON and COSMO, MERRA-2, NLDAS, Daymet, PRISM, CRU, CMORPH, GSMaP, IMERG
    "precipitation_amount_acc", "tot_prec", "prectot", "prectotcorr", "rainf", "prcp", "ppt",
    "pre", "cmorph", "hourlypreciprate", "hourlypreciprategc", "precipitationuncal",
}  # fmt: skip

# THREDDS ("Total_precipitation_surface_6_Hour_Accumulation"), WeatherBench ("..._6hr").
_NAME_WITH_INTERVAL = re.compile(r"total_precipitation(_surface_.*accumulation|_\d+hr?)")

AXIS_NAMES = {
    "time": {"time", "t", "valid_time", "datetime", "date"},
    "y": {
        "y", "lat", "latitude", "rlat", "grid_latitude", "projection_y_coordinate", "yc", "nj",
        "j", "south_north", "northing", "jg", "y_index", "nlat",
    },
    "x": {
        "x", "lon", "longitude", "rlon", "grid_longitude", "projection_x_coordinate", "xc", "ni",
        "i", "west_east", "easting", "ig", "x_index", "nlon",
    },
    "member": {
        "realization", "realisation", "ensemble_member", "member", "number", "ens", "ensemble",
        "member_id", "realization_index",
    },
}  # fmt: skip


def find_variable(dataset: xr.Dataset, variable: str | None) -> str:
    """The name of the precipitation variable.

    Raises
    ------
    ValueError
        If there is none, or more than one and ``variable`` does not choose.

    Examples
    --------
    >>> import numpy as np
    >>> find_variable(xr.Dataset({"pr": (("time", "y", "x"), np.zeros((1, 2, 2)))}), None)
    'pr'
    """
    there = [str(name) for name in dataset.data_vars]
    if variable is not None:
        if variable not in dataset.data_vars:
            raise ValueError(f"variable {variable!r} is not in the data, which holds {there}.")
        return variable
    own = own_variable(dataset)
    if own is not None:
        return own
    fields = [name for name in there if dataset[name].ndim >= 2 and not _is_bounds(dataset, name)]
    found = [n for n in fields if dataset[n].attrs.get("standard_name") in STANDARD_NAMES]
    if not found:
        found = [
            n for n in fields if n.lower() in NAMES or _NAME_WITH_INTERVAL.fullmatch(n.lower())
        ]
    if len(found) > 1:
        raise ValueError(
            f"several variables may be the precipitation: say variable= one of {found}."
        )
    if not found:
        hint = ""
        if "unknown" in there:
            hint = (
                " 'unknown' is a GRIB parameter that cfgrib's tables lack: open_cube knows those "
                "of MRMS if it opens the file itself."
            )
        raise ValueError(
            f"no precipitation is found by standard_name or name; the data hold {there}: "
            f"say which with variable='...'.{hint}"
        )
    return found[0]


def _is_bounds(dataset: xr.Dataset, name: str) -> bool:
    return any(
        name == var.attrs.get("bounds", var.encoding.get("bounds"))
        for var in dataset.variables.values()
    )


def find_axes(array: xr.DataArray) -> dict[str, str]:
    """Dimensions of ``array`` that are "time", "y", "x" and "member", as far as recognised.

    Examples
    --------
    >>> import numpy as np
    >>> find_axes(xr.DataArray(np.zeros((2, 3, 4)), dims=("lat", "lon", "time")))
    {'time': 'time', 'y': 'lat', 'x': 'lon'}
    """
    stated = array.cf.axes
    geographic = array.cf.coordinates
    axes: dict[str, str] = {}
    for kind, axis, coordinate in (
        ("time", "T", "time"),
        ("y", "Y", "latitude"),
        ("x", "X", "longitude"),
    ):
        names = stated.get(axis, []) + geographic.get(coordinate, [])
        lines = [n for n in names if n in array.dims and array[n].ndim == 1]
        if not lines and kind == "time":
            lines = [d for d in array.dims if d in array.coords and array[d].dtype.kind == "M"]
        if not lines:
            lines = [d for d in array.dims if str(d).lower() in AXIS_NAMES[kind]]
        lines = [n for n in dict.fromkeys(lines) if n not in axes.values()]
        if len(lines) > 1:
            other = [n for n in lines if str(n).lower() not in AXIS_NAMES[kind]] or lines[1:]
            raise ValueError(
                f"dimensions {lines} are all marked as the {kind} axis: take the marks from all "
                f"but one, e.g. with [{other[0]!r}].attrs.clear()."
            )
        if lines:
            axes[kind] = str(lines[0])
    for dim in array.dims:
        named = str(dim).lower() in AXIS_NAMES["member"]
        stated_member = dim in array.coords and (
            array[dim].attrs.get("standard_name") == "realization"
        )
        if dim not in axes.values() and (named or stated_member):
            axes["member"] = str(dim)
    _axes_from_two_dimensional(array, axes)
    return axes


def _axes_from_two_dimensional(array: xr.DataArray, axes: dict[str, str]) -> None:
    """Take y and x from a 2-D latitude, whose dimensions are in the order (y, x)."""
    if "y" in axes and "x" in axes:
        return
    for name in array.cf.coordinates.get("latitude", []):
        dims = array[name].dims
        if len(dims) == 2 and set(dims) <= set(array.dims) - {axes.get("time")}:
            axes.setdefault("y", str(dims[0]))
            axes.setdefault("x", str(dims[1]))
            return
