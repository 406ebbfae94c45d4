"""Radar composites in the formats of their services, as CF-like datasets.

Each reader says only what its file (or the service's product description) says: the quantity
with its units, the time and its bounds, and the grid. Making rates of it is open_cube's task.
"""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from skdiffuse.cubes.projections import project


def read_radar(path: Path, kind: str) -> xr.Dataset:
    """One radar composite: ``kind`` is "knmi", "odim", "fmi" or "mch".

    Returns
    -------
    Dataset
        One variable over (time, y, x) of one time.

    Raises
    ------
    ValueError
        If the file does not hold what its format promises.
    """
    from PIL.Image import DecompressionBombError

    reader = {"knmi": _read_knmi, "odim": _read_odim, "fmi": _read_fmi, "mch": _read_mch}[kind]
    try:
        return reader(path)
    except (LookupError, AttributeError, OSError, EOFError, DecompressionBombError) as error:
        raise ValueError(f"{str(path)!r} is damaged or not the {kind} product: {error}") from error


def _dataset(
    values: np.ndarray,
    name: str,
    units: str,
    time: datetime,
    interval: tuple[datetime, datetime] | None,
    y: np.ndarray,
    x: np.ndarray,
    grid_mapping: dict[str, Any] | None,
) -> xr.Dataset:
    """Put a field with its rows from north to south into a dataset; cell centres in m.

    Without a grid mapping ``y`` and ``x`` are distances from the lower left corner, wherever
    that is.
    """
    to_ns = lambda moment: np.datetime64(moment.replace(tzinfo=None), "ns")  # noqa: E731
    dataset = xr.Dataset(
        {name: (("time", "y", "x"), values[None].astype(np.float32), {"units": units})},
        {
            "time": ("time", [to_ns(time)], {"standard_name": "time", "axis": "T"}),
            "y": ("y", y, _axis("y", grid_mapping is not None)),
            "x": ("x", x, _axis("x", grid_mapping is not None)),
        },
    )
    if grid_mapping is not None:
        dataset = dataset.assign_coords(crs=((), 0, grid_mapping))
    if interval is not None:
        dataset["time_bnds"] = (("time", "bnds"), [[to_ns(edge) for edge in interval]])
        dataset.time.attrs["bounds"] = "time_bnds"
    return dataset


def _axis(name: str, placed: bool) -> dict[str, str]:
    if placed:
        what = {"standard_name": f"projection_{name}_coordinate"}
    else:
        what = {"long_name": f"distance in {name} from the lower left corner of the grid"}
    return {"units": "m", "axis": name.upper(), **what}


def _read_knmi(path: Path) -> xr.Dataset:
    """KNMI HDF5: accumulation in mm, calibrated by the formula in the file."""
    with netCDF4.Dataset(path) as file:
        image, overview = file["image1"], file["overview"]
        quantity = image.image_geo_parameter
        calibration = image["calibration"]
        formula = re.fullmatch(
            r"GEO\s*=\s*([-+\d.eE]+)\s*\*\s*PV\s*([-+]\s*[\d.eE]+)?",
            calibration.calibration_formulas.strip(),
        )
        if "PRECIPITATION" not in quantity.upper() or "[MM]" not in quantity.upper():
            raise ValueError(f"{str(path)!r} holds {quantity!r}, not precipitation in mm.")
        if formula is None:
            raise ValueError(
                f"{str(path)!r}: calibration {calibration.calibration_formulas!r} is not known."
            )
        pixels = np.asarray(image["image_data"][:])
        offset = float((formula[2] or "0").replace(" ", ""))
        values = pixels * float(formula[1]) + offset
        for flag in ("calibration_missing_data", "calibration_out_of_image"):
            values[pixels == getattr(calibration, flag, -1)] = np.nan
        start, end = (
            datetime.strptime(getattr(overview, f"product_datetime_{edge}"), "%d-%b-%Y;%H:%M:%S.%f")
            for edge in ("start", "end")
        )
        place = file["geographic"]
        if place.geo_dim_pixel != "KM,KM" or place.geo_pixel_def != "LU":
            raise ValueError(f"{str(path)!r}: grid in {place.geo_dim_pixel!r} is not known.")
        dx, dy = 1000.0 * float(place.geo_pixel_size_x), 1000.0 * float(place.geo_pixel_size_y)
        rows, columns = pixels.shape
        # Offsets count pixels from the pole and the central meridian of the projection.
        x = (float(place.geo_column_offset) + np.arange(columns) + 0.5) * dx
        y = (float(place.geo_row_offset) + np.arange(rows) + 0.5) * dy
        mapping = {
            "grid_mapping_name": "polar_stereographic",
            "proj4": file["geographic/map_projection"].projection_proj4_params,
        }
    return _dataset(values, "precipitation_amount", "mm", end, (start, end), y, x, mapping)


_ODIM_UNITS = {"RATE": "mm h-1", "ACRR": "mm", "DBZH": "dBZ", "TH": "dBZ", "DBZ": "dBZ"}


def _read_odim(path: Path) -> xr.Dataset:
    """OPERA ODIM_H5 image or composite (OPERA data model 2.x, tables 1 to 16)."""
    with netCDF4.Dataset(path) as file:
        group, data = file["dataset1"], file["dataset1/data1"]
        what: dict[str, Any] = {}
        for holder in (file, group, data):
            if "what" in holder.groups:
                what.update({k: holder["what"].getncattr(k) for k in holder["what"].ncattrs()})
        where = file["where"] if "where" in file.groups else group["where"]
        if what.get("object") not in ("COMP", "IMAGE", "CVOL"):
            raise ValueError(
                f"{str(path)!r} is an ODIM file of object {what.get('object')!r}; only composites "
                "and images on a grid can be a cube (interpolate polar volumes first)."
            )
        quantity = str(what["quantity"])
        if quantity not in _ODIM_UNITS:
            raise ValueError(
                f"{str(path)!r} holds quantity {quantity!r}; known are {sorted(_ODIM_UNITS)}."
            )
        pixels = np.asarray(data["data"][:])
        values = pixels * float(what["gain"]) + float(what["offset"])
        # "undetect": looked, and saw nothing; "nodata": did not look.
        values[pixels == float(what["undetect"])] = -np.inf if "BZ" in quantity else 0.0
        values[pixels == float(what["nodata"])] = np.nan
        start, end = (
            datetime.strptime(f"{what[f'{edge}date']}{what[f'{edge}time']}", "%Y%m%d%H%M%S")
            for edge in ("start", "end")
        )
        nominal = end
        # Volumes end some seconds before or after the time that the product is made for.
        if {"date", "time"} <= set(file["what"].ncattrs()):
            nominal = datetime.strptime(f"{file['what'].date}{file['what'].time}", "%Y%m%d%H%M%S")
        stated = {key: where.getncattr(key) for key in where.ncattrs()}
        x, y, mapping = _place_odim(path, stated, pixels.shape)
    instant = quantity != "ACRR" or start == end
    name = "precipitation_amount" if quantity == "ACRR" else quantity.lower()
    name = "precipitation_rate" if quantity == "RATE" else name
    interval = None if instant else (start, end)
    return _dataset(values, name, _ODIM_UNITS[quantity], nominal, interval, y, x, mapping)


def _place_odim(
    path: Path, where: dict[str, Any], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, dict[str, Any] | None]:
    """Cell centres in the file's own projection, from the corners that it states in degrees.

    Returns
    -------
    x, y : ndarray
        In m. Distances from the lower left corner where the place cannot be told.
    grid_mapping : dict or None
        None where it cannot.
    """
    (rows, columns), dx, dy = shape, float(where["xscale"]), float(where["yscale"])
    x = (np.arange(columns) + 0.5) * dx
    y = (rows - np.arange(rows) - 0.5) * dy
    # Corners as (columns, rows) from the lower left one.
    corners = {"LL": (0, 0), "UL": (0, rows), "UR": (columns, rows), "LR": (columns, 0)}
    there = [c for c in corners if f"{c}_lon" in where and f"{c}_lat" in where]
    definition = str(where.get("projdef"))
    try:
        if not there:
            raise ValueError("it states no corner in degrees.")
        lon, lat = ([float(where[f"{c}_{axis}"]) for c in there] for axis in ("lon", "lat"))
        at_x, at_y = project(definition, np.array(lon), np.array(lat))
        left = at_x - [corners[c][0] * dx for c in there]
        bottom = at_y - [corners[c][1] * dy for c in there]
        # Some services state the centres of the corner cells; opposite ones make up for it.
        if max(np.ptp(left) / dx, np.ptp(bottom) / dy) > 1.01:
            raise ValueError(f"its corners do not fit its projection {definition!r} and its size.")
    except ValueError as error:
        warnings.warn(
            f"{str(path)!r}: where the grid lies cannot be told: {error} Its y and x are distances "
            "from its lower left corner.",
            stacklevel=2,
        )
        return x, y, None
    mapping: dict[str, Any] = {"grid_mapping_name": "unknown", "proj4": definition}
    mapping |= {
        f"{c}_{axis}": float(where[f"{c}_{axis}"]) for c in there for axis in ("lon", "lat")
    }
    return x + float(np.mean(left)), y + float(np.mean(bottom)), mapping


def _read_fmi(path: Path) -> xr.Dataset:
    """FMI composite, 8-bit PGM: reflectivity (px - 64) / 2 dBZ, 0 no echo, 255 no data."""
    from PIL import Image

    with open(path, "rb") as file:
        header = dict(re.findall(rb"^#\s*(\w+)\s+(.+?)\s*$", file.read(8192), re.MULTILINE))
        file.seek(0)
        pixels = np.array(Image.open(file))
    header = {key.decode(): value.decode("ascii", "replace") for key, value in header.items()}
    if header.get("param") != "CorrectedReflectivity" or header.get("type") != "stereographic":
        raise ValueError(
            f"{str(path)!r} is not FMI's composite of corrected reflectivity (its header has "
            f"param {header.get('param')!r}, projection {header.get('type')!r})."
        )
    values = (pixels.astype(np.float32) - 64) / 2
    values[pixels == 0] = -np.inf
    values[pixels == 255] = np.nan
    time = datetime.strptime(header["obstime"], "%Y%m%d%H%M")
    radius, lon_0 = 6371288.0, float(header["centrallongitude"])
    lat_ts = float(header["truelatitude"])
    lon, lat = (float(number) for number in header["bottomleft"].split())
    # Polar stereographic projection of the sphere (Snyder 1987, eq. 21-5 to 21-7).
    distance = radius * (1 + np.sin(np.deg2rad(lat_ts))) * np.tan(np.deg2rad(45 - lat / 2))
    left = distance * np.sin(np.deg2rad(lon - lon_0))
    bottom = -distance * np.cos(np.deg2rad(lon - lon_0))
    rows, columns = pixels.shape
    x = left + (np.arange(columns) + 0.5) * float(header["metersperpixel_x"])
    y = bottom + (rows - np.arange(rows) - 0.5) * float(header["metersperpixel_y"])
    mapping = {
        "grid_mapping_name": "polar_stereographic",
        "latitude_of_projection_origin": float(header["centrallatitude"]),
        "straight_vertical_longitude_from_pole": lon_0,
        "standard_parallel": lat_ts,
        "earth_radius": radius,
    }
    return _dataset(values, "reflectivity", "dBZ", time, None, y, x, mapping)


def _read_mch(path: Path) -> xr.Dataset:
    """MeteoSwiss AQC composite, 8-bit GIF: amount of the stated minutes.

    Digital number i >= 2 stands for R = (10^((i - 71.5) / 20) / 316)^(1 / 1.5) mm, 0 and 1 for
    no rain and 255 for no data (the table of pysteps, checked against its reader's output); the
    grid is that of the product, 710 x 640 cells of 1 km in CH1903.
    """
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.array(image)
        comment = image.info.get("comment", b"").decode("ascii", "replace")
    product = re.search(r"PRDT=AQC(\d{2})(\d{3})(\d{2})(\d{2})", comment)
    minutes = re.search(r"ACCUm=(\d+)", comment)
    if product is None or minutes is None or "8bit" not in comment or pixels.shape != (640, 710):
        raise ValueError(
            f"{str(path)!r} is not MeteoSwiss's 8-bit AQC composite of 710 x 640 cells."
        )
    levels = np.arange(256.0)
    amounts = (10 ** ((levels - 71.5) / 20) / 316) ** (1 / 1.5)
    amounts[:2], amounts[255] = 0.0, np.nan
    end = datetime.strptime("".join(product.groups()), "%y%j%H%M")
    start = datetime.fromtimestamp(end.replace(tzinfo=UTC).timestamp() - 60 * int(minutes[1]), UTC)
    mapping = {"grid_mapping_name": "swiss_oblique_mercator", "epsg_code": "EPSG:21781"}
    x = 255_000.0 + 1000 * (np.arange(710) + 0.5)
    y = 480_000.0 - 1000 * (np.arange(640) + 0.5)
    interval = (start, end)
    return _dataset(amounts[pixels], "precipitation_amount", "mm", end, interval, y, x, mapping)


def hdf5_kind(path: Path) -> str:
    """Which of the products in HDF5 a file is: "knmi", "odim", "imerg", or "hdf5" for NetCDF 4."""
    try:
        with netCDF4.Dataset(path) as file:
            if str(getattr(file, "Conventions", "")).startswith("ODIM"):
                return "odim"
            groups = set(file.groups)
            if {"image1", "overview", "geographic"} <= groups:
                return "knmi"
            if "Grid" in groups and not file.variables:
                return "imerg"
    except OSError:
        # Whoever opens it next says what is wrong with it.
        pass
    return "hdf5"
