"""Everything that a training is at one moment, as tensors and JSON values and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skdiffuse.training.checkpoints import flatten, unflatten
from skdiffuse.training.ema import AverageSnapshots, PowerAverage
from skdiffuse.training.objective import TrainingObjective
from skdiffuse.training.precision import LossScale
from skdiffuse.training.processes import (
    Processes,
    blank_copy,
    load_shared,
    own_share,
    shared_like,
    whole,
)

__all__ = ["TrainingState"]

# What is kept as it is, beside the tensors.
_COUNTS = ("step", "seconds", "skipped_steps", "bad_in_a_row", "history")


@dataclass
class TrainingState:
    """What training changes, all of which a checkpoint holds.

    Random streams and the place in the data need not be kept: they follow from the step's number.
    Where processes share the weights all call each method, at the same time.

    Attributes
    ----------
    objective : TrainingObjective
        With the weights as they are now.
    blank : TrainingObjective
        Without weights, to be filled with averaged ones.
    average : PowerAverage
    snapshots : AverageSnapshots or None
    optimizer : torch.optim.Optimizer
    loss_scale : LossScale
    step : int
        Steps done.
    seconds : float
        Of training.
    skipped_steps, bad_in_a_row : int
        Steps whose loss or gradient was not finite: in all, and just now.
    history : list of dict
    best : dict of str to Tensor, or None
        Averaged weights at the best validation, where `validated` was told of one.
    best_loss : float
    validations_since_best : int
    is_whole : bool
        Not while a step changes it: an error in the middle of one leaves weights of one step beside
        averages of another, which is nothing to go on from. No checkpoint holds this.
    """

    objective: TrainingObjective
    blank: TrainingObjective
    average: PowerAverage[TrainingObjective]
    snapshots: AverageSnapshots | None
    optimizer: torch.optim.Optimizer
    loss_scale: LossScale
    step: int = 0
    seconds: float = 0.0
    skipped_steps: int = 0
    bad_in_a_row: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    best_loss: float = math.inf
    validations_since_best: int = 0
    is_whole: bool = True

    @classmethod
    def begin(
        cls,
        objective: TrainingObjective,
        average_width: float,
        snapshot_folder: Path | None,
        make_optimizer: Callable[[TrainingObjective], torch.optim.Optimizer],
        device: torch.device,
        processes: Processes | None = None,
    ) -> TrainingState:
        """The state before the first step.

        Parameters
        ----------
        objective : TrainingObjective
            Trained in place.
        average_width : float
            See `PowerAverage`.
        snapshot_folder : Path or None
            For `AverageSnapshots`.
        make_optimizer : callable
            Gives the optimiser of the objective, once that is where it is trained.
        device : torch.device
        processes : Processes, optional
            Those that share the weights.
        """
        blank = blank_copy(objective, "meta")
        average = PowerAverage(objective, average_width)
        modules: list[nn.Module] = [objective, average.network]
        snapshots = None
        if snapshot_folder is not None:
            snapshots = AverageSnapshots(snapshot_folder, objective)
            modules += [one.network for one in snapshots.averages]
        for module in modules:
            if processes is not None:
                processes.shard(module, device)
            else:
                module.to(device)
        loss_scale = LossScale(used=objective.precision == torch.float16)
        optimizer = make_optimizer(objective)
        return cls(objective, blank, average, snapshots, optimizer, loss_scale)

    def update(self) -> None:
        """Take the step, the number `step`, that the gradients ask for."""
        self.optimizer.step()
        self.average.update(self.objective, self.step)
        if self.snapshots:
            self.snapshots.update(self.objective, self.step)
        self.bad_in_a_row = 0

    def validated(self, loss: float) -> None:
        """Keep the averaged weights if no validation loss was lower."""
        if loss < self.best_loss:
            state = self.average.network.state_dict()
            best = {name: value.clone() for name, value in state.items()}
            self.best, self.best_loss, self.validations_since_best = best, loss, 0
        else:
            self.validations_since_best += 1

    def averaged(self) -> TrainingObjective:
        """A copy with averaged weights, in main memory: the best validated ones if there are."""
        state = self.average.network.state_dict() if self.best is None else self.best
        averaged = blank_copy(self.blank, "cpu")
        for name, value in averaged.state_dict().items():
            value.copy_(whole(state[name]))
        return averaged

    def is_finite(self) -> bool:
        """Whether the averaged weights are, or the share of them that this process holds."""
        parameters = self.average.network.parameters()
        return bool(torch.stack([torch.isfinite(own_share(p)).all() for p in parameters]).all())

    def tensors(self) -> dict[str, Tensor]:
        """What are tensors."""
        tensors = (
            flatten("objective", self.objective.state_dict())
            | flatten("average", self.average.network.state_dict())
            | flatten("optimizer", _optimizer_tensors(self.optimizer))
        )
        if self.snapshots:
            tensors |= flatten("snapshots", self.snapshots.state())
        if self.best is not None:
            tensors |= flatten("best", self.best)
        return tensors

    def values(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {name: getattr(self, name) for name in _COUNTS} | {
            "loss_scale": self.loss_scale.state(),
            # JSON has no infinity.
            "best_loss": None if self.best is None else self.best_loss,
            "validations_since_best": self.validations_since_best,
        }

    def restore(
        self, tensors: Mapping[str, Tensor], values: Mapping[str, Any], *, with_best: bool = True
    ) -> None:
        """Take back what `tensors` and `values` gave; the best weights if they are wanted."""
        load_shared(self.objective, unflatten("objective", tensors))
        load_shared(self.average.network, unflatten("average", tensors))
        _restore_optimizer(self.optimizer, unflatten("optimizer", tensors))
        if self.snapshots and (state := unflatten("snapshots", tensors)):
            self.snapshots.restore(state)
        if with_best and (state := unflatten("best", tensors)):
            like = self.average.network.state_dict()
            self.best = {name: shared_like(value, like[name]) for name, value in state.items()}
            self.best_loss = values["best_loss"]
            self.validations_since_best = values["validations_since_best"]
        self.loss_scale.restore(values["loss_scale"])
        for name in _COUNTS:
            setattr(self, name, values[name])


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
