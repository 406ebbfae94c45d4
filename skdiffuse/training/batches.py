"""Random windows of a cube, as batches for training."""

import numpy as np
import torch
from torch import Tensor

from skdiffuse.cubes import Cube

__all__ = ["WindowBatches", "step_seed"]


def step_seed(seed: int, step: int, purpose: int = 0) -> int:
    """One seed per training step and purpose.

    What happens at a step depends on its number alone and not on the steps before it, so that a
    resumed training needs no state of any generator to go on exactly as it would have.
    """
    state = np.random.SeedSequence((seed, step, purpose)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


class WindowBatches:
    """Random windows of a cube: ``n_frames`` consecutive frames of a random crop.

    Parameters
    ----------
    cube : Cube
    n_frames : int
    crop_shape : tuple of int
        Rows and columns of a window.
    batch_size : int
    seed : int

    Attributes
    ----------
    steps_per_epoch : int
        Batches that hold as many cells as the cube.
    """

    def __init__(
        self,
        cube: Cube,
        n_frames: int,
        crop_shape: tuple[int, int],
        batch_size: int,
        seed: int,
    ) -> None:
        self.cube = cube
        self.n_frames = n_frames
        self.crop_shape = crop_shape
        self.batch_size = batch_size
        self.seed = seed
        self.starts = cube.window_starts(n_frames)
        height, width = cube.field_shape
        cells = cube.n_sequences * cube.n_times * height * width
        window_cells = n_frames * crop_shape[0] * crop_shape[1]
        self.steps_per_epoch = max(1, round(cells / (window_cells * batch_size)))

    def __call__(self, step: int) -> Tensor:
        """Batch number `step`: Tensor of shape (batch, frames, y, x) in mm/h, NaN where missing."""
        random = np.random.default_rng(step_seed(self.seed, step))
        height, width = self.cube.field_shape
        rows, columns = self.crop_shape
        windows = []
        for sequence, start in self.starts[random.integers(len(self.starts), size=self.batch_size)]:
            top = random.integers(height - rows + 1)
            left = random.integers(width - columns + 1)
            windows.append(
                self.cube.window(
                    sequence,
                    start,
                    self.n_frames,
                    y=slice(top, top + rows),
                    x=slice(left, left + columns),
                )
            )
        return torch.from_numpy(np.stack(windows))
