"""Nowcasts of a trained model through pysteps' own interface.

Where both are installed, ``import pysteps`` is enough for
``pysteps.nowcasts.get_method("skdiffuse")``. pysteps looks for importers among installed packages
and not for nowcasts, so that the entry point is `import_skdiffuse`, an importer of every file that
`open_cube` reads, and the nowcast is registered when it is loaded. From a checkout that is not
installed, ``import skdiffuse.pysteps_plugin`` does the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xarray as xr

from skdiffuse.cubes import GridMetadata, open_cube
from skdiffuse.cubes.spacing import axis_of

if TYPE_CHECKING:
    from skdiffuse.estimator.precip_diffusion import PrecipDiffusion

__all__ = ["forecast", "import_skdiffuse"]

Metadata: TypeAlias = Mapping[str, Any]

_KNOWN = {("mm/h", None), ("mm/h", "dB"), ("mm", None), ("mm", "dB"), ("dBZ", "dB")}
_THRESHOLD = 0.1


def forecast(
    precip: np.ndarray,
    velocity: np.ndarray | None,
    timesteps: int | Sequence[float],
    *,
    model: str | os.PathLike[str] | PrecipDiffusion | None = None,
    n_ens_members: int = 24,
    metadata: Metadata | None = None,
    timestep: float | None = None,
    kmperpixel: float | None = None,
    seed: int | None = None,
    **options: Any,
) -> np.ndarray:
    """Continue the past by a trained model, as `pysteps.nowcasts` has it.

    Parameters
    ----------
    precip : ndarray of shape (time, y, x)
        The past, the oldest frame first; NaN where missing, which the model fills. In mm/h unless
        `metadata` says otherwise.
    velocity : ndarray of shape (2, y, x) or None
        Not looked at: the model has seen the past move.
    timesteps : int or list
        Number of frames to forecast, or which of them: whole numbers that rise.
    model : path or PrecipDiffusion
        As saved by `PrecipDiffusion.save`.
    n_ens_members : int, default=24
    metadata : dict, optional
        As pysteps' importers and transformations return it. Of it are used ``unit`` (mm/h, mm with
        ``accutime``, or dBZ with ``zr_a`` and ``zr_b``), ``transform`` (None or "dB") with
        ``threshold`` and ``zerovalue``, ``yorigin``, pixel sizes and corners in
        ``cartesian_unit``, and ``timestamps``. Rain of another time step or cell size than the
        model was trained on is refused; of what is not stated the model's own is assumed.
    timestep : float, optional
        Minutes between frames, and
    kmperpixel : float, optional
        the size of a cell, where `metadata` does not tell.
    seed : int, optional
        The ``random_state`` of the forecast.
    **options
        See `PrecipDiffusion.forecast`, e.g. ``n_steps=16``.

    Returns
    -------
    ndarray of shape (n_ens_members, number of timesteps, y, x)
        In the unit, the transform and the order of rows of `precip`.

    Raises
    ------
    TypeError
        Without `model`.
    ValueError
        If the rain is of another kind than the model knows, or its unit is unknown.

    References
    ----------
    Pulkkinen et al., "Pysteps: an open-source Python library for probabilistic precipitation
    nowcasting" (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse import PrecipDiffusion, make_precipitation
    >>> rain = make_precipitation(8, (8, 8), random_state=0)
    >>> model = PrecipDiffusion(n_frames=4, max_steps=1, verbose=False).fit(rain)
    >>> past = rain.values[:2]
    >>> forecast(past, None, [1, 3], model=model, n_ens_members=2, n_steps=2, seed=0).shape
    (2, 2, 8, 8)
    """
    fitted = _model(model)
    frames = _frames(timesteps)
    precip = np.asarray(precip)
    if precip.ndim != 3:
        raise ValueError(f"precip must be of shape (time, y, x); got {precip.shape}.")
    stated = dict(metadata or {})
    if timestep is not None:
        stated["timestep"] = timestep
    if kmperpixel is not None:
        stated = {"xpixelsize": kmperpixel, "ypixelsize": kmperpixel, "cartesian_unit": "km",
                  **stated}  # fmt: skip
    cube = _cube(_to_rate(precip, stated), stated)
    turned = _is_mirrored(cube, fitted.template_)
    try:
        rain = fitted.forecast(
            cube[:, ::-1] if turned else cube,
            max(frames),
            n_members=n_ens_members,
            random_state=seed,
            **options,
        )
    except ValueError as error:
        error.add_note("X is precip with what metadata says of it; what that leaves out is free.")
        raise
    members = np.asarray(rain)[:, [frame - 1 for frame in frames]]
    members = members[:, :, ::-1] if turned else members
    dtype = precip.dtype if precip.dtype.kind == "f" else np.float64
    return _from_rate(members.astype(dtype), stated)


def import_skdiffuse(
    filename: str | os.PathLike[str], **options: Any
) -> tuple[np.ndarray, None, dict[str, Any]]:
    """Read a file for pysteps: all that `open_cube` reads, as ``precip, quality, metadata``.

    Parameters
    ----------
    filename : path, pattern or address
    **options
        See `open_cube`.

    Returns
    -------
    precip : ndarray of shape (time, y, x), or (y, x) where there is one frame
        In mm/h, the first row in the north.
    quality : None
    metadata : dict

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skdiffuse import make_precipitation, write_cube
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_cube(make_precipitation(2, (8, 6), random_state=0), Path(folder) / "a.nc")
    ...     precip, _, metadata = import_skdiffuse(path)
    >>> precip.shape, metadata["unit"], metadata["yorigin"]
    ((2, 8, 6), 'mm/h', 'upper')
    """
    # What pysteps' decorator of importers takes for itself.
    own = {k: v for k, v in options.items() if k not in ("dtype", "fillna")}
    cube = open_cube(filename, **own)
    template = GridMetadata.of(cube)
    vertical = axis_of(template, template.dims[-2])
    if vertical is not None and vertical.step > 0:
        cube = cube[..., ::-1, :]
    precip = cube.values.astype(np.float64)
    wet = precip[precip > 0]
    metadata = {
        "unit": "mm/h",
        "transform": None,
        "zerovalue": 0.0,
        "threshold": float(wet.min()) if wet.size else _THRESHOLD,
        "yorigin": "upper",
        "institution": str(cube.attrs.get("institution", "unknown")),
        **_corners(template),
        **_times(cube),
    }
    return (precip[0] if len(precip) == 1 else precip), None, metadata


def _model(model: str | os.PathLike[str] | PrecipDiffusion | None) -> PrecipDiffusion:
    if model is None:
        raise TypeError(
            "the nowcast needs model=, a file that PrecipDiffusion.save has written, or a fitted "
            "PrecipDiffusion."
        )
    if isinstance(model, (str, os.PathLike)):
        from skdiffuse.estimator.precip_diffusion import PrecipDiffusion

        return PrecipDiffusion.load(os.fspath(model))
    return model


def _frames(timesteps: int | Sequence[float]) -> list[int]:
    if isinstance(timesteps, (int, np.integer)):
        asked = np.arange(1, timesteps + 1)
    else:
        asked = np.atleast_1d(timesteps)
    frames = asked.astype(int)
    if not len(frames) or (frames != asked).any() or frames[0] < 1 or (np.diff(frames) <= 0).any():
        raise ValueError(
            "timesteps must be the number of frames, 1 or more, or whole numbers that rise, such "
            f"as [1, 3, 6]; got {timesteps!r}. Between frames: PrecipDiffusion.interpolate."
        )
    return [int(frame) for frame in frames]


def _cube(rate: np.ndarray, metadata: Metadata) -> xr.DataArray:
    """Frames with positions and times, as far as they are told."""
    coords: dict[str, Any] = {}
    minutes = _minutes(metadata)
    if minutes is not None:
        stamps = metadata.get("timestamps")
        last = np.datetime64("2000-01-01" if stamps is None else stamps[-1], "ns")
        back = np.arange(len(rate) - 1, -1, -1) * round(60e9 * minutes)
        coords["time"] = last - back.astype("timedelta64[ns]")
    unit = {"cartesian_unit": "m", **metadata}["cartesian_unit"]
    for axis, at in (("y", 1), ("x", 2)):
        size = metadata.get(f"{axis}pixelsize")
        if size is not None:
            first = metadata.get(f"{axis}1", 0.0)
            places = first + (np.arange(rate.shape[at]) + 0.5) * size
            if axis == "y" and metadata.get("yorigin") == "upper":
                places = places[::-1]
            coords[axis] = (axis, places, {"units": unit})
    return xr.DataArray(rate, coords, ("time", "y", "x"), attrs={"units": "mm h-1"})


def _minutes(metadata: Metadata) -> float | None:
    stamps = metadata.get("timestamps")
    if "timestep" not in metadata and stamps is not None and len(stamps) > 1:
        steps = np.diff(np.array(stamps, dtype="datetime64[ns]")).astype(float)
        # pysteps takes frames for regular; radar clocks waver.
        return float(np.median(steps)) / 60e9
    return metadata.get("timestep", metadata.get("accutime"))


def _is_mirrored(cube: xr.DataArray, template: GridMetadata | None) -> bool:
    """Whether rows run another way than those the model was trained on."""
    ours = None if template is None else axis_of(template, template.dims[-2])
    theirs = axis_of(GridMetadata.of(cube), "y")
    return bool(ours and theirs and ours.step * theirs.step < 0)


def _to_rate(precip: np.ndarray, metadata: dict[str, Any]) -> np.ndarray:
    if not metadata.keys() & {"unit", "transform"}:
        if np.nanmin(precip, initial=0.0) < 0:
            raise ValueError(
                "precip holds negative numbers and metadata does not say of what: give "
                "metadata= with its unit and transform, e.g. {'unit': 'mm/h', 'transform': 'dB', "
                "'threshold': -10, 'zerovalue': -15}."
            )
        return precip
    if _is_plain(metadata):
        return precip
    from pysteps.utils.conversion import to_rainrate

    return np.asarray(to_rainrate(precip, _complete(metadata))[0])


def _from_rate(rain: np.ndarray, metadata: dict[str, Any]) -> np.ndarray:
    if _is_plain(metadata):
        return rain
    from pysteps.utils import conversion, transformation

    stated = _complete(metadata)
    # The threshold goes through the same steps as the rain.
    rate = conversion.to_rainrate(rain[:0], stated)[1]
    if stated["unit"] == "dBZ":
        members, _ = conversion.to_reflectivity(rain, rate)
    else:
        members = rain
        if stated["unit"] == "mm":
            members, rate = conversion.to_raindepth(members, rate)
        if stated["transform"] == "dB":
            members, _ = transformation.dB_transform(members, rate)
    if stated["transform"] == "dB":
        members[members < stated["threshold"]] = stated["zerovalue"]
    return np.asarray(members)


def _is_plain(metadata: Metadata) -> bool:
    return metadata.get("unit", "mm/h") == "mm/h" and metadata.get("transform") is None


def _complete(metadata: Metadata) -> dict[str, Any]:
    """Metadata with all that pysteps' conversions ask for."""
    unit, transform = metadata.get("unit", "mm/h"), metadata.get("transform")
    if (unit, transform) not in _KNOWN:
        raise ValueError(
            f"metadata has the unit {unit!r} and the transform {transform!r}; the nowcast knows "
            "mm/h and mm, as they are or in dB, and dBZ in dB: bring precip to one of them, "
            "e.g. by pysteps.utils.conversion.to_rainrate(precip, metadata)."
        )
    if unit == "mm" and metadata.get("accutime") is None:
        raise ValueError("metadata has the unit 'mm' and no 'accutime', the minutes it fell in.")
    threshold = 10 * np.log10(_THRESHOLD) if transform == "dB" else _THRESHOLD
    zero = metadata.get("threshold", threshold) - 5 if transform == "dB" else 0.0
    return {"threshold": threshold, "zerovalue": zero, **metadata, "unit": unit,
            "transform": transform}  # fmt: skip


def _corners(template: GridMetadata) -> dict[str, Any]:
    """Outer corners, pixel sizes and projection, as far as coordinates tell them."""
    found: dict[str, Any] = {}
    for axis, dim in zip("yx", template.dims[-2:], strict=True):
        place = axis_of(template, dim)
        if place is None:
            continue
        size = abs(place.step)
        half = size * place.size / 2
        found |= {f"{axis}pixelsize": size, f"{axis}1": place.middle - half,
                  f"{axis}2": place.middle + half, "cartesian_unit": place.unit}  # fmt: skip
    if found.get("cartesian_unit") == "degrees":
        found["projection"] = "+proj=longlat"
    return found


def _times(cube: xr.DataArray) -> dict[str, Any]:
    times = cube[cube.dims[-3]].values
    if times.dtype.kind != "M":
        return {}
    found: dict[str, Any] = {"timestamps": times.astype("datetime64[us]").astype(object)}
    if len(times) > 1:
        found["accutime"] = float(np.median(np.diff(times).astype(float))) / 60e9
    return found


def _register() -> None:
    from pysteps.nowcasts import interface

    interface._nowcast_methods["skdiffuse"] = forecast


# After all of the above: where pysteps was not imported yet, it now loads this file's importer.
if find_spec("pysteps") is not None:
    _register()
