"""Tasks of a fitted model: gaps filled, frames in between, nowcasts, finer grids."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
import xarray as xr
from sklearn.utils import check_scalar

from skdiffuse.cubes import dress, write_cube
from skdiffuse.diffusion import ArealMean
from skdiffuse.estimator.completion import complete
from skdiffuse.runtime.streaming import spans, streamed

__all__ = ["RainTasks"]


class RainTasks:
    """What is asked of `PrecipDiffusion`, put as observations to its conditional sampler."""

    def impute(
        self,
        X,
        mask=None,
        *,
        n_samples=1,
        method=None,
        w_r=None,
        n_steps=None,
        batch_size=None,
        tile_size=None,
        random_state=None,
        **options,
    ):
        """Fill in what is unknown, in space and in time.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h.
        mask : ndarray or DataArray of bool, shape of `X` or broadcastable to it, optional
            True where `X` is known. Missing values are unknown in any case. Default: all that is
            finite.
        n_samples : int or None, default=1
            Number of realizations.
        method, w_r, **options
            How what is known is told to the rest; see `condition`.
        n_steps, batch_size, tile_size, random_state
            See `sample`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, *X.shape), or X.shape if `n_samples` is None
            Known values are those of `X` to the bit. With nothing known this is `sample`, with
            everything known `X`. Sequences longer than `n_frames` are filled in window by window,
            each going on from the one before.
        """
        cube = self._validate_context(X)
        values = np.asarray(cube.values)
        known = np.isfinite(values)
        if mask is not None:
            known = known & _checked_mask(mask, X, values.shape)
        filled = self._complete(
            np.where(known, values, np.nan),
            cube,
            1 if n_samples is None else n_samples,
            method=method,
            w_r=w_r,
            n_steps=n_steps,
            batch_size=self._batch_size(batch_size),
            tile_size=tile_size,
            seed=self._sampling_seed(random_state),
            **options,
        )
        dtype = values.dtype if values.dtype.kind == "f" else np.float64
        filled = np.where(known, values, filled).astype(dtype)
        filled = filled[:, 0] if cube.is_series else filled
        return dress(
            filled[0] if n_samples is None else filled,
            cube.template,
            history=self._history("impute"),
        )

    def interpolate(self, X, factor=2, *, n_samples=1, **options):
        """Refine in time: generate the frames between the known ones.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h at every `factor`-th of the model's time steps.
        factor : int, default=2
            Steps to make of each step of `X`.
        n_samples : int or None, default=1
            Number of realizations.
        **options
            See `impute`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, ..., (time - 1) * factor + 1, y, x)
        """
        check_scalar(factor, "factor", Integral, min_val=1)
        cube = self._validate_context(X)
        if cube.breaks.any():
            raise ValueError(
                "X has gaps in time, which cannot be refined evenly; interpolate each stretch "
                "without a gap by itself."
            )
        values = np.asarray(cube.values)
        n, length, *field = values.shape
        refined = np.full((n, (length - 1) * factor + 1, *field), np.nan, values.dtype)
        refined[:, ::factor] = values
        filled = self.impute(
            refined[0] if cube.is_series else refined, n_samples=n_samples, **options
        )
        return dress(
            filled,
            cube.template,
            time="refined",
            factor=factor,
            history=self._history("interpolate"),
        )

    def forecast(
        self,
        X,
        horizon,
        *,
        n_members=1,
        method=None,
        w_r=None,
        n_steps=None,
        batch_size=None,
        tile_size=None,
        random_state=None,
        out=None,
        **options,
    ):
        """Continue sequences of rain: a probabilistic nowcast.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            The past, in mm/h, up to the last frame before the forecast; only frames after the
            last gap in time, and as many as fit into a window, are looked at.
        horizon : int
            Frames to forecast. Beyond a window, the forecast goes on from its own frames.
        n_members : int, default=1
            Size of the ensemble.
        method, w_r, n_steps, batch_size, tile_size, random_state, **options
            See `impute`.
        out : str, Path or None, default=None
            File, NetCDF or ``.zarr``, to which members are written as they come.

        Returns
        -------
        ndarray or DataArray of shape (n_members, ..., horizon, y, x)
            Rain in mm/h, float32; with `out` that of the file, lazy.
        """
        check_scalar(horizon, "horizon", Integral, min_val=1)
        check_scalar(n_members, "n_members", Integral, min_val=1)
        cube = self._validate_context(X)
        past = np.asarray(cube.values)[:, cube.runs()[-1][0] :]
        context = max(self.n_frames - horizon, self.n_frames // 2, 1)
        past = past[:, -context:]
        if not np.isfinite(past).any():
            raise ValueError(
                f"X is missing in all of its last {past.shape[1]} frames, from which to forecast."
            )
        future = np.full((len(past), horizon, *cube.field_shape), np.nan, np.float32)
        sequence = np.concatenate([past, future], axis=1)
        seed = self._sampling_seed(random_state)
        size = self._batch_size(batch_size)

        def members(first: int, end: int) -> np.ndarray:
            filled = self._complete(
                sequence,
                None,
                end - first,
                first=first,
                method=method,
                w_r=w_r,
                n_steps=n_steps,
                batch_size=size,
                tile_size=tile_size,
                seed=seed,
                **options,
            )[:, :, -horizon:]
            return filled[:, 0] if cube.is_series else filled

        def dressed(values):
            return dress(values, cube.template, time="continued", history=self._history("forecast"))

        if out is None:
            return dressed(members(0, n_members))
        cuts = spans(n_members, size)
        shape = (horizon, *cube.field_shape)
        shape = shape if cube.is_series else (len(past), *shape)
        parts = (members(*cut) for cut in cuts)
        return streamed(parts, [(b - a, *shape) for a, b in cuts], 0, dressed, out, write_cube)

    def downscale(self, X, factor, *, n_samples=1, method="replacement", **options):
        """Refine in space: rain on a grid `factor` times finer whose areal means are those of `X`.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Areal means of rain in mm/h on the coarse grid; NaN where missing.
        factor : int
            Cells of the model's grid along each side of a coarse cell.
        n_samples : int or None, default=1
            Number of realizations.
        method : str or None, default="replacement"
            Changes the expected field as little as makes its means fit, without a gradient; of the
            methods of `condition` it had the best scores on held-out radar rain.
        **options
            See `condition`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, ..., time, y * factor, x * factor)
            The sampler comes close to the coarse values; at the end each coarse cell is multiplied
            by what is left, so that its mean is exact.
        """
        check_scalar(factor, "factor", Integral, min_val=1)
        cube = self._validate_context(X)
        coarse = np.asarray(cube.values, dtype=np.float32)
        n, _, rows, columns = coarse.shape
        fine_shape = (rows * factor, columns * factor)
        members = 1 if n_samples is None else n_samples
        check_scalar(members, "n_samples", Integral, min_val=1)
        seed = self._sampling_seed(options.pop("random_state", None))
        fine = np.empty((members, n, coarse.shape[1], *fine_shape), np.float32)
        for number, (first, end) in enumerate(cube.runs()):
            stretch = torch.from_numpy(coarse[:, first:end].copy())
            # Nothing is known of frames that are only there to fill a window.
            missing = max(0, self.n_frames - (end - first))
            stretch = torch.cat(
                [stretch, stretch.new_full((n, missing, rows, columns), torch.nan)], 1
            )
            drawn = self.condition(
                ArealMean(stretch, factor),
                shape=(stretch.shape[1], *fine_shape),
                n_samples=members,
                method=method,
                random_state=(seed + number) % 2**31,
                **options,
            )
            fine[:, :, first:end] = drawn[:, :, : end - first]
        fine = _with_areal_means(fine, coarse, factor)
        fine = fine[:, 0] if cube.is_series else fine
        return dress(
            fine[0] if n_samples is None else fine,
            cube.template,
            space_factor=factor,
            history=self._history("downscale"),
        )

    def _complete(self, rain, cube, n_samples, *, seed, first=0, **settings) -> np.ndarray:
        """Fill in NaN: (n, time, y, x) -> (n_samples, n, time, y, x), stretch by stretch."""
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        # Also where nothing is left to be drawn: a wrong name is an error in any case.
        self._method(settings["method"], settings["w_r"])
        n, length = rain.shape[:2]
        members = np.repeat(rain[None].astype(np.float32), n_samples, axis=0)
        members = torch.from_numpy(members.reshape(n_samples * n, *rain.shape[1:]))
        numbers = [(i, k) for i in range(first, first + n_samples) for k in range(n)]

        def draw(window, known, seeds):
            return self._fill(torch.where(known, window, torch.nan), seeds, **settings)

        for start, end in [(0, length)] if cube is None else cube.runs():
            members[:, start:end] = complete(
                members[:, start:end],
                draw,
                n_frames=self.n_frames,
                seeds=[(seed, start, *number) for number in numbers],
            )
        return members.numpy().reshape(n_samples, *rain.shape)


def _checked_mask(mask, X, shape) -> np.ndarray:
    if isinstance(mask, xr.DataArray) and isinstance(X, xr.DataArray):
        mask = mask.broadcast_like(X).transpose(*X.dims)
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"mask must be boolean, True where X is known; got dtype {mask.dtype}.")
    try:
        return np.broadcast_to(mask, np.shape(X)).reshape(shape)
    except ValueError:
        raise ValueError(
            f"mask of shape {mask.shape} does not fit X of shape {np.shape(X)}; it must have X's "
            "shape or broadcast to it, e.g. mask[:, None, None] for whole frames."
        ) from None


def _with_areal_means(fine: np.ndarray, coarse: np.ndarray, factor: int) -> np.ndarray:
    """Multiply the cells of each block so that their mean is the coarse value."""
    *lead, rows, columns = fine.shape
    blocks = fine.reshape(*lead, rows // factor, factor, columns // factor, factor)
    mean = blocks.mean(axis=(-3, -1), keepdims=True, dtype=np.float64)
    wanted = coarse[..., :, None, :, None].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = blocks * (wanted / mean)
    # A block that was drawn dry gives no hint where its rain should fall.
    scaled = np.where(mean > 0, scaled, wanted)
    scaled = np.where(np.isfinite(wanted), scaled, blocks)
    return scaled.reshape(fine.shape).astype(np.float32)
