"""Everything that a training is at one moment, for a checkpoint and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from skdiffuse.training.checkpoints import (
    flatten,
    recover_checkpoint,
    save_checkpoint,
    unflatten,
)
from skdiffuse.training.ema import AverageSnapshots, PowerAverage
from skdiffuse.training.objective import TrainingObjective
from skdiffuse.training.precision import LossScale
from skdiffuse.training.processes import (
    Processes,
    blank_copy,
    load_shared,
    shared_like,
    whole,
    whole_tensors,
)

__all__ = ["ResumableTraining"]

# What is kept as it is, beside the tensors.
_COUNTS = ("step", "seconds", "skipped_steps", "bad_in_a_row", "history")


class ResumableTraining:
    """What a checkpoint holds of a training, written and read.

    Random streams and the place in the data need not be kept: they follow from the step's number.
    Of processes that share a training all call each method, at the same time.
    """

    processes: Processes
    sharded: bool
    device: torch.device
    objective: TrainingObjective
    average: PowerAverage
    snapshots: AverageSnapshots | None
    optimizer: torch.optim.Optimizer
    loss_scale: LossScale
    step: int
    seconds: float
    skipped_steps: int
    bad_in_a_row: int
    history: list[dict]
    patience: int | None
    best: dict[str, Tensor] | None
    best_loss: float
    validations_since_best: int
    checkpoint_dir: Path | None
    keep_checkpoints: int
    description: dict
    setup: dict
    setup_tensors: dict[str, Tensor]
    # Without weights, to be filled with averaged ones.
    blank: TrainingObjective

    @property
    def averaged(self) -> TrainingObjective:
        """A copy with averaged weights: the best validated ones with `patience`."""
        state = self.average.network.state_dict() if self.best is None else self.best
        averaged = blank_copy(self.blank, "cpu")
        for name, value in averaged.state_dict().items():
            value.copy_(whole(state[name]))
        return averaged if self.sharded else averaged.to(self.device)

    def save(self) -> None:
        """Write a checkpoint with everything that a resumed training needs."""
        if not (self.processes.is_first or self.sharded):
            return
        tensors = whole_tensors(self._tensors(), keep=self.processes.is_first)
        if self.processes.is_first:
            save_checkpoint(
                self.checkpoint_dir, self.step, tensors, self._values(), self.keep_checkpoints
            )

    def resume(self, found: tuple[dict[str, Tensor], dict] | None = None) -> bool:
        """Go on from a checkpoint; False if there is none.

        Parameters
        ----------
        found : (tensors, metadata), optional
            What `recover_checkpoint` gave; default: ask it for the newest in `checkpoint_dir`.

        Raises
        ------
        ValueError
            If the checkpoint belongs to a training with other data or parameters.
        """
        found = recover_checkpoint(self.checkpoint_dir) if found is None else found
        if found is None:
            return False
        self._restore(*found)
        return True

    def _tensors(self) -> dict[str, Tensor]:
        tensors = (
            flatten("objective", self.objective.state_dict())
            | flatten("average", self.average.network.state_dict())
            | flatten("optimizer", _optimizer_tensors(self.optimizer))
            | flatten("setup", self.setup_tensors)
        )
        if self.snapshots:
            tensors |= flatten("snapshots", self.snapshots.state())
        if self.best is not None:
            tensors |= flatten("best", self.best)
        return tensors

    def _values(self) -> dict:
        """What JSON can hold."""
        return {name: getattr(self, name) for name in _COUNTS} | {
            "description": self.description,
            "setup": self.setup,
            "loss_scale": self.loss_scale.state(),
            # JSON has no infinity.
            "best_loss": None if self.best is None else self.best_loss,
            "validations_since_best": self.validations_since_best,
        }

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping) -> None:
        self._refuse_another(values["description"])
        load_shared(self.objective, unflatten("objective", tensors))
        load_shared(self.average.network, unflatten("average", tensors))
        _restore_optimizer(self.optimizer, unflatten("optimizer", tensors))
        if self.snapshots and (state := unflatten("snapshots", tensors)):
            self.snapshots.restore(state)
        if self.patience is not None and (state := unflatten("best", tensors)):
            like = self.average.network.state_dict()
            self.best = {name: shared_like(value, like[name]) for name, value in state.items()}
            self.best_loss = values["best_loss"]
            self.validations_since_best = values["validations_since_best"]
        self.loss_scale.restore(values["loss_scale"])
        for name in _COUNTS:
            setattr(self, name, values[name])

    def _refuse_another(self, theirs: Mapping) -> None:
        ours = self.description
        different = sorted(k for k in ours if ours[k] != theirs.get(k))
        if different:
            listed = ", ".join(f"{k}: {theirs.get(k)!r} there, {ours[k]!r} here" for k in different)
            raise ValueError(
                f"The checkpoint in checkpoint_dir={str(self.checkpoint_dir)!r} is of another "
                f"training ({listed}). Use the same data and parameters, another checkpoint_dir, "
                "or warm_start=False to begin anew."
            )


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor an optimiser remembers, by parameter number and name."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser back what `_optimizer_tensors` took."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        like = parameters[int(number)]
        # A count of steps is everybody's.
        value = shared_like(value, like) if value.shape == like.shape else value
        state.setdefault(int(number), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
