"""Training: windows in random order, the loop, weight averaging and checkpoints."""

from skdiffuse.training.batches import WindowBatches
from skdiffuse.training.checkpoints import (
    read_tensors,
    recover_checkpoint,
    save_checkpoint,
    write_tensors,
)
from skdiffuse.training.ema import PowerAverage
from skdiffuse.training.loop import Budget, Trainer
from skdiffuse.training.objective import LatentCurve, TrainingObjective, masked_v_loss

__all__ = [
    "Budget",
    "LatentCurve",
    "PowerAverage",
    "Trainer",
    "TrainingObjective",
    "WindowBatches",
    "masked_v_loss",
    "read_tensors",
    "recover_checkpoint",
    "save_checkpoint",
    "write_tensors",
]
