"""Random windows of a cube, as batches for training."""

import numpy as np
import torch
from torch import Tensor

from skdiffuse.cubes import Cube

# A cell is wet from this rate on (mm/h).
WET = 0.1
# A dry window is as likely to be drawn as one with this share of wet cells would be if nothing were
# added, which bounds the weights.
DRY_SHARE = 0.1

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

    Most windows of most cubes are dry and teach little. For each batch, `n_candidates` times as
    many windows as needed are drawn evenly, and of these the batch is drawn with probabilities that
    grow with the share of wet cells; the weights that come with it make every mean over the batch
    an unbiased estimate of the mean over all windows, so that the climate that is learnt stays
    right.

    Parameters
    ----------
    cube : Cube
    n_frames : int
    crop_shape : tuple of int
        Rows and columns of a window.
    batch_size : int
    seed : int
    n_candidates : int, default=4
        With 1, windows are drawn evenly and all weights are 1.

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
        n_candidates: int = 4,
    ) -> None:
        self.cube = cube
        self.n_frames = n_frames
        self.crop_shape = crop_shape
        self.batch_size = batch_size
        self.seed = seed
        self.n_candidates = n_candidates
        self.starts = cube.window_starts(n_frames)
        height, width = cube.field_shape
        cells = cube.n_sequences * cube.n_times * height * width
        window_cells = n_frames * crop_shape[0] * crop_shape[1]
        self.steps_per_epoch = max(1, round(cells / (window_cells * batch_size)))

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch number `step`.

        Returns
        -------
        rain : Tensor of shape (batch, frames, y, x)
            In mm/h, NaN where missing.
        weights : Tensor of shape (batch,)
            Their expectation is 1.
        """
        random = np.random.default_rng(step_seed(self.seed, step))
        n = self.batch_size * self.n_candidates
        candidates = np.stack([self._window(random) for _ in range(n)])
        if self.n_candidates == 1:
            return torch.from_numpy(candidates), torch.ones(n)
        wet = np.mean(candidates >= WET, axis=(1, 2, 3))
        probability = (wet + DRY_SHARE) / np.sum(wet + DRY_SHARE)
        chosen = random.choice(n, size=self.batch_size, p=probability)
        weights = 1 / (n * probability[chosen])
        return torch.from_numpy(candidates[chosen]), torch.from_numpy(weights).float()

    def _window(self, random: np.random.Generator) -> np.ndarray:
        sequence, start = self.starts[random.integers(len(self.starts))]
        top, left = (
            random.integers(whole - part + 1)
            for whole, part in zip(self.cube.field_shape, self.crop_shape, strict=True)
        )
        rows, columns = self.crop_shape
        return self.cube.window(
            sequence,
            start,
            self.n_frames,
            y=slice(top, top + rows),
            x=slice(left, left + columns),
        )
