"""Loss on rain that is not trained on, noise level by noise level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from skdiffuse.corruptions import Corruption
from skdiffuse.cubes import Cube, Cubes, SeveralCubes
from skdiffuse.diffusion import NoiseSchedule
from skdiffuse.runtime.double import home_of_double
from skdiffuse.runtime.seeds import derived_seed
from skdiffuse.training.objective import TrainingObjective
from skdiffuse.training.paired_start import paired_start_error

__all__ = ["HeldOut", "hold_out"]

# Log-SNRs between which the validation loss is told apart: fields at all, storms, cells, detail.
BAND_EDGES = (-8.0, -4.0, 0.0, 4.0)
MOST_WINDOWS = 64


def hold_out(cube: Cubes, fraction: float, n_frames: int) -> tuple[Cubes, Cubes]:
    """Part the end of a cube, or of each of several, from the rest, with a gap of a window.

    Parameters
    ----------
    cube : Cube or SeveralCubes
    fraction : float
        Of the frames of a series, or of the sequences.
    n_frames : int
        Frames of a window; as many are left out between the two parts of a series.

    Returns
    -------
    training : Cube or SeveralCubes
    validation : Cube or SeveralCubes

    Raises
    ------
    ValueError
        If either part would be without a window.
    """
    if not (isinstance(fraction, Real) and 0 < fraction < 1):
        raise ValueError(f"validation_fraction={fraction!r} must lie between 0 and 1.")
    if isinstance(cube, SeveralCubes):
        halves = [_hold_out(part, fraction, n_frames) for part in cube.parts]
        training, validation = (SeveralCubes(each) for each in zip(*halves, strict=True))
        return training, validation
    return _hold_out(cube, fraction, n_frames)


def _hold_out(cube: Cube, fraction: float, n_frames: int) -> tuple[Cube, Cube]:
    if cube.n_sequences > 1:
        n = round((1 - fraction) * cube.n_sequences)
        parts = [replace(cube, values=v) for v in (cube.values[:n], cube.values[n:])]
    else:
        end = cube.n_times - max(n_frames, round(fraction * cube.n_times))
        parts = [
            replace(cube, values=cube.values[:, a:b], breaks=cube.breaks[a : max(a, b - 1)])
            for a, b in ((0, max(0, end - n_frames)), (max(0, end), cube.n_times))
        ]
    for part, name in zip(parts, ("training", "validation"), strict=True):
        enough = part.n_sequences and part.n_times >= n_frames
        if not enough or not len(part.window_starts(n_frames)):
            raise ValueError(
                f"validation_fraction={fraction!r} of the {cube.n_sequences} x {cube.n_times} "
                f"frames of {cube.name} leaves no window of {n_frames} frames for {name}; give "
                "more data, another fraction, or a cube of its own as fit(X, validation=...)."
            )
    return parts[0], parts[1]


class HeldOut:
    """The loss on the same windows with the same noise, whenever it is asked for.

    Parameters
    ----------
    cube : Cube or SeveralCubes
    n_frames : int
    crop_shape : tuple of int
    schedule : NoiseSchedule
        The loss is weighed over noise levels as in training.
    batch_size : int
    seed : int
    """

    def __init__(
        self,
        cube: Cubes,
        n_frames: int,
        crop_shape: tuple[int, int],
        schedule: NoiseSchedule,
        batch_size: int,
        seed: int,
    ) -> None:
        self.batch_size = batch_size
        self.seed = seed
        rows, columns = (min(a, b) for a, b in zip(crop_shape, cube.field_shape, strict=True))
        tiles = cube.tiles(n_frames, (rows, columns))
        # Evenly over the whole part, so that no month or corner stands for all.
        chosen = np.unique(np.linspace(0, len(tiles) - 1, min(len(tiles), MOST_WINDOWS)).round())
        tiles = [tiles[int(i)] for i in chosen]
        self._rain = torch.from_numpy(cube.stack(tiles, n_frames))
        # Several draws where windows are few, so that every band is met.
        self._rain = self._rain.repeat(-(-MOST_WINDOWS // len(tiles)), 1, 1, 1)
        generator = torch.Generator().manual_seed(derived_seed(self.seed, 0, 3))
        self._log_snr = schedule.draw(len(self._rain), generator)

    def loss(
        self, objective: TrainingObjective, device: torch.device | str
    ) -> tuple[float, dict[str, float]]:
        """Mean over windows, and over those of each band of log-SNR.

        Returns
        -------
        loss : float
            The v-loss, and the stretch loss where the transform is trained.
        by_log_snr : dict of str to float
            The v-loss.
        """
        objective.eval()
        v, stretch = self._losses(objective, objective.corruption, device)
        return (v + stretch).mean().item(), self._by_band(v)

    def loss_of_skip(
        self, objective: TrainingObjective, device: torch.device | str
    ) -> dict[str, float] | None:
        """The v-loss of what the network starts from, by bands; None if it starts from nothing."""
        if not hasattr(objective.network, "closed_form"):
            return None
        objective.eval()
        return self._by_band(
            self._losses(objective.of_closed_form, objective.corruption, device)[0]
        )

    def paired_start_error(self, objective: TrainingObjective, device: torch.device | str) -> float:
        """How far power at each scale is off in what is made from these windows under noise."""
        objective.eval()
        with torch.no_grad():
            latent = objective.latent(self._rain.to(device)).cpu()
        noise = torch.stack([self._noise(i, objective.corruption) for i in range(len(latent))])
        return paired_start_error(
            objective.predict_v, latent, noise, batch_size=self.batch_size, device=device
        )

    def _losses(
        self,
        objective: Callable[..., tuple[Tensor, Tensor]],
        corruption: Corruption,
        device: torch.device | str,
    ) -> tuple[Tensor, Tensor]:
        """v-loss and stretch loss of each window, float64 on the CPU."""
        found = []
        for first in range(0, len(self._rain), self.batch_size):
            rain = self._rain[first : first + self.batch_size]
            noise = torch.stack([self._noise(first + i, corruption) for i in range(len(rain))])
            log_snr = self._log_snr[first : first + self.batch_size].to(home_of_double(device))
            with torch.no_grad():
                losses = objective(rain.to(device), log_snr, noise.to(device))
            found.append([each.cpu().double() for each in losses])
        v, stretch = (torch.cat(parts) for parts in zip(*found, strict=True))
        return v, stretch

    def _by_band(self, v: Tensor) -> dict[str, float]:
        band = torch.bucketize(self._log_snr, torch.tensor(BAND_EDGES, dtype=torch.float64))
        names = [f"below {BAND_EDGES[0]:g}"]
        names += [f"{a:g} to {b:g}" for a, b in pairwise(BAND_EDGES)]
        names.append(f"above {BAND_EDGES[-1]:g}")
        return {
            name: v[band == k].mean().item() for k, name in enumerate(names) if (band == k).any()
        }

    def _noise(self, i: int, corruption: Corruption) -> Tensor:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, i, 4))
        return corruption.noise(corruption.shape(tuple(self._rain.shape[1:])), generator)
