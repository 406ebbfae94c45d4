"""STEPS of pysteps, where it is installed, behind the interface of the other forecasts."""

from __future__ import annotations

import contextlib
import io
import warnings
from numbers import Integral
from typing import Self

import numpy as np
from scipy.ndimage import distance_transform_edt
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, check_scalar

from skdiffuse.baselines._motion import motion as optical_flow
from skdiffuse.cubes import dress, validate_cube
from skdiffuse.runtime.array_types import ArrayOrDataArray, RandomStateLike

__all__ = ["Steps"]

# In mm/h. Of 0.1, 0.05 and 0.02 this had the best CRPS on the rain that the models of
# `benchmarks/nowcast_race.py` learnt, as had noise in the motion and the nearest cell outside.
TRACE = 0.05
TRACE_DB = 10 * np.log10(TRACE)


class Steps(BaseEstimator):
    """The ensemble nowcast STEPS of pysteps (``pip install pysteps``).

    Where pysteps cannot work (nothing or the same everywhere in the last frame, a single frame),
    the last frame is repeated.

    Parameters
    ----------
    n_cascade_levels : int, default=6
    cell_size : float, default=2.0
        Length of a cell's side, in km.
    time_step : float, default=5.0
        From one frame to the next, in minutes: the mask of where it may rain widens with both.
    random_state : int, RandomState or None, default=None

    References
    ----------
    Bowler, Pierce and Seed, "STEPS: A probabilistic precipitation forecasting scheme" (2006);
    Pulkkinen et al., "Pysteps: an open-source Python library for probabilistic precipitation
    nowcasting" (2019).
    """

    def __init__(
        self,
        n_cascade_levels: int = 6,
        cell_size: float = 2.0,
        time_step: float = 5.0,
        random_state: RandomStateLike = None,
    ) -> None:
        self.n_cascade_levels = n_cascade_levels
        self.cell_size = cell_size
        self.time_step = time_step
        self.random_state = random_state

    def fit(self, X: ArrayOrDataArray, y: None = None) -> Self:
        """Learn nothing, but check `X`, rain of shape (time, y, x) or (n, time, y, x)."""
        validate_cube(X)
        return self

    def forecast(
        self,
        X: ArrayOrDataArray,
        horizon: int,
        *,
        n_members: int = 2,
        random_state: RandomStateLike = None,
    ) -> ArrayOrDataArray:
        """Extrapolate the last three frames.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            The past, in mm/h. Missing cells count as dry.
        horizon : int
        n_members : int, default=2
            At least two, for pysteps.
        random_state : int, RandomState or None, default=None
            None: the estimator's own.

        Returns
        -------
        ndarray or DataArray of shape (n_members, ..., horizon, y, x)
            What comes from outside the field, of which pysteps says nothing, is that of the
            nearest cell inside.

        Raises
        ------
        ImportError
            Without pysteps.
        """
        check_scalar(horizon, "horizon", Integral, min_val=1)
        check_scalar(n_members, "n_members", Integral, min_val=2)
        cube = validate_cube(X)
        random = check_random_state(self.random_state if random_state is None else random_state)
        past = np.nan_to_num(cube.frames(cube.runs()[-1][0]).astype(np.float64))
        forecasts = np.stack(
            [
                self._extrapolate(p[-3:], horizon, n_members, random.randint(2**31 - 1))
                for p in past
            ],
            axis=1,
        ).astype(np.float32)
        return dress(
            forecasts[:, 0] if cube.is_series else forecasts, cube.template, time="continued"
        )

    def _extrapolate(self, past: np.ndarray, horizon: int, n_members: int, seed: int) -> np.ndarray:
        try:
            # pysteps greets on its first import.
            with contextlib.redirect_stdout(io.StringIO()):
                from pysteps import motion, nowcasts
                from pysteps.exceptions import MissingOptionalDependency
        except ImportError as error:
            raise ImportError("Steps needs pysteps: pip install pysteps.") from error
        repeated = np.broadcast_to(past[-1], (n_members, horizon, *past.shape[1:]))
        decibels = 10 * np.log10(np.maximum(past, TRACE))
        decibels[past < TRACE] = TRACE_DB - 5
        if len(past) < 2 or any(np.ptp(frame) == 0 for frame in decibels):
            return repeated
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                flow = motion.get_method("LK")(decibels)
            except MissingOptionalDependency:
                # Their optical flow needs OpenCV; columns come first in theirs.
                flow = optical_flow(decibels)[::-1]
            try:
                members = nowcasts.get_method("steps")(
                    decibels,
                    flow,
                    horizon,
                    n_ens_members=n_members,
                    n_cascade_levels=self.n_cascade_levels,
                    precip_thr=TRACE_DB,
                    ar_order=len(past) - 1,
                    kmperpixel=self.cell_size,
                    timestep=self.time_step,
                    seed=seed,
                )
            except (ValueError, RuntimeError, IndexError, np.linalg.LinAlgError) as error:
                # Where hardly anything is wet, pysteps raises one of these.
                warnings.warn(
                    f"pysteps could not extrapolate ({error}): the last frame is repeated.",
                    RuntimeWarning,
                    stacklevel=3,
                )
                return repeated
        rain = np.where(members >= TRACE_DB, 10 ** (members / 10), 0.0)
        frames = rain.reshape(-1, *past.shape[1:])
        for frame, outside in zip(frames, np.isnan(members).reshape(frames.shape), strict=True):
            if outside.any() and not outside.all():
                _, nearest = distance_transform_edt(outside, return_indices=True)
                frame[:] = frame[tuple(nearest)]
        return rain

    def __sklearn_is_fitted__(self) -> bool:
        return True
