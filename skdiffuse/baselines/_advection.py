"""Rain goes on moving as it does, and loses its memory from the small scales on."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, check_scalar

from skdiffuse.baselines._motion import advect, motion
from skdiffuse.cubes import dress, validate_cube
from skdiffuse.runtime.array_types import ArrayOrDataArray, RandomStateLike

__all__ = ["Advection"]

# Rate in mm/h below which a cell counts as dry; the logarithm needs one.
TRACE = 0.1
FRAMES_FOR_MOTION = 3
LARGEST_CORRELATION = 0.999


class Advection(BaseEstimator):
    """Extrapolation along the optical flow, with a random field that replaces what is forgotten.

    The logarithm of rain is split into octaves of wave length. Each is an AR(1) process along the
    motion, with the correlation found between the last two frames; what it forgets is replaced by
    noise with the spectrum of the last frame. The distribution of rates stays that of the last
    frame. A compact form of STEPS.

    Parameters
    ----------
    noise : bool, default=True
        False: the last frame is carried along unchanged, alike in all members.
    random_state : int, RandomState or None, default=None

    References
    ----------
    Bowler, Pierce and Seed, "STEPS: A probabilistic precipitation forecasting scheme" (2006).

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.datasets import make_precipitation
    >>> past = make_precipitation(n_frames=4, shape=(32, 32), random_state=0)
    >>> Advection(random_state=0).fit(past).forecast(past, horizon=2, n_members=3).shape
    (3, 2, 32, 32)
    """

    def __init__(self, noise: bool = True, random_state: RandomStateLike = None) -> None:
        self.noise = noise
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
        n_members: int = 1,
        random_state: RandomStateLike = None,
    ) -> ArrayOrDataArray:
        """Extrapolate the last frames.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            The past, in mm/h; the motion comes from its last three frames. Missing cells count as
            dry.
        horizon : int
        n_members : int, default=1
        random_state : int, RandomState or None, default=None
            None: the estimator's own.

        Returns
        -------
        ndarray or DataArray of shape (n_members, ..., horizon, y, x)
        """
        check_scalar(horizon, "horizon", Integral, min_val=1)
        check_scalar(n_members, "n_members", Integral, min_val=1)
        cube = validate_cube(X)
        random = check_random_state(self.random_state if random_state is None else random_state)
        first = max(cube.runs()[-1][0], cube.n_times - FRAMES_FOR_MOTION)
        past = cube.frames(first).astype(np.float64)
        forecasts = np.stack(
            [self._extrapolate(np.nan_to_num(p), horizon, n_members, random) for p in past], axis=1
        ).astype(np.float32)
        return dress(
            forecasts[:, 0] if cube.is_series else forecasts, cube.template, time="continued"
        )

    def _extrapolate(
        self, past: np.ndarray, horizon: int, n_members: int, random: np.random.RandomState
    ) -> np.ndarray:
        logs = np.log(np.maximum(past, TRACE))
        flow = motion(logs)
        leads = range(1, horizon + 1)
        if not self.noise or np.ptp(logs[-1]) == 0:
            moved = np.stack([advect(past[-1], flow, lead) for lead in leads])
            return np.repeat(moved[None], n_members, axis=0)
        before = advect(logs[-2], flow) if len(logs) > 1 else logs[-1]
        members = [
            [
                advect(rain, flow, lead)
                for lead, rain in zip(
                    leads, _forgetting(past[-1], logs[-1], before, random), strict=False
                )
            ]
            for _ in range(n_members)
        ]
        return np.array(members)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _forgetting(
    rain: np.ndarray, last: np.ndarray, before: np.ndarray, random: np.random.RandomState
) -> Iterator[np.ndarray]:
    """Frames of rain without end, in a system that moves along, each less like `last`."""
    bands = _octaves(last.shape)
    mean = last.mean()
    scales = np.stack([_filtered(last - mean, band) for band in bands])
    earlier = np.stack([_filtered(before - before.mean(), band) for band in bands])
    spread = scales.std(axis=(1, 2), keepdims=True)
    correlation = (scales * earlier).mean(axis=(1, 2), keepdims=True) / np.maximum(
        spread * earlier.std(axis=(1, 2), keepdims=True), 1e-12
    )
    correlation = correlation.clip(0, LARGEST_CORRELATION)
    amplitude = np.abs(np.fft.rfft2(last - mean))
    sorted_rain = np.sort(rain, axis=None)
    while True:
        white = np.fft.rfft2(random.standard_normal(last.shape))
        noise = np.fft.irfft2(white * amplitude, s=last.shape)
        new = np.stack([_filtered(noise, band) for band in bands])
        new *= spread / np.maximum(new.std(axis=(1, 2), keepdims=True), 1e-12)
        scales = correlation * scales + np.sqrt(1 - correlation**2) * new
        ranks = np.argsort(np.argsort(scales.sum(0), axis=None, kind="stable"), kind="stable")
        yield sorted_rain[ranks].reshape(last.shape)


def _octaves(shape: tuple[int, int]) -> list[np.ndarray]:
    """Filters of wave number, one for each octave, whose sum is 1 but for the mean."""
    y, x = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    waves = max(shape) * np.hypot(y[:, None], x)
    position = np.log2(np.maximum(waves, 1))
    n = int(np.ceil(position.max())) + 1
    return [np.clip(1 - np.abs(position - k), 0, 1) * (waves > 0) for k in range(n)]


def _filtered(field: np.ndarray, band: np.ndarray) -> np.ndarray:
    return np.fft.irfft2(np.fft.rfft2(field) * band, s=field.shape)
