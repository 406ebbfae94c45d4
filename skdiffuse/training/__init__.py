"""Training: windows in random order, the loop, weight averaging and checkpoints."""

from skdiffuse.training.batches import WindowBatches
from skdiffuse.training.budget import Budget
from skdiffuse.training.checkpoints import (
    read_tensors,
    recover_checkpoint,
    save_checkpoint,
    write_tensors,
)
from skdiffuse.training.companions import Companions, companions_of
from skdiffuse.training.ema import PowerAverage, reconstruct_average
from skdiffuse.training.held_out import HeldOut, hold_out
from skdiffuse.training.loop import Trainer
from skdiffuse.training.objective import LatentCurve, TrainingObjective, masked_v_loss
from skdiffuse.training.surveying import survey

__all__ = [
    "Budget",
    "Companions",
    "HeldOut",
    "LatentCurve",
    "PowerAverage",
    "Trainer",
    "TrainingObjective",
    "WindowBatches",
    "companions_of",
    "hold_out",
    "masked_v_loss",
    "read_tensors",
    "reconstruct_average",
    "recover_checkpoint",
    "save_checkpoint",
    "survey",
    "write_tensors",
]
