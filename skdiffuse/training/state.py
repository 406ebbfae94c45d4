"""Everything that a training is at one moment, for a checkpoint and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from skdiffuse.training.checkpoints import flatten, unflatten
from skdiffuse.training.distribution import load_shared, shared_like, whole_tensors

if TYPE_CHECKING:
    from skdiffuse.training.loop import Trainer

__all__ = ["restore_training", "training_state"]


def training_state(trainer: Trainer) -> tuple[dict[str, Tensor], dict]:
    """Tensors and JSON-able values of a trainer.

    Random streams and the place in the data need none: they follow from the step's number. Of
    processes that share a training all call this, and the first one gets the tensors.
    """
    tensors = (
        flatten("objective", trainer.objective.state_dict())
        | flatten("average", trainer.average.network.state_dict())
        | flatten("optimizer", _optimizer_tensors(trainer.optimizer))
        | flatten("setup", trainer.setup_tensors)
    )
    if trainer.snapshots:
        tensors |= flatten("snapshots", trainer.snapshots.state())
    if trainer.best is not None:
        tensors |= flatten("best", trainer.best)
    return whole_tensors(tensors, keep=trainer.processes.is_first), {
        "description": trainer.description,
        "setup": trainer.setup,
        "seconds": trainer.seconds,
        "skipped_steps": trainer.skipped_steps,
        "bad_in_a_row": trainer.bad_in_a_row,
        "loss_scale": trainer.loss_scale.state(),
        # JSON has no infinity.
        "best_loss": None if trainer.best is None else trainer.best_loss,
        "validations_since_best": trainer.validations_since_best,
        "history": trainer.history,
    }


def restore_training(trainer: Trainer, tensors: Mapping[str, Tensor], metadata: Mapping) -> None:
    """Put a trainer where another was.

    Raises
    ------
    ValueError
        If the other's data or parameters were not the same.
    """
    _refuse_another(trainer, metadata["description"])
    load_shared(trainer.objective, unflatten("objective", tensors))
    load_shared(trainer.average.network, unflatten("average", tensors))
    _restore_optimizer(trainer.optimizer, unflatten("optimizer", tensors))
    if trainer.snapshots and (state := unflatten("snapshots", tensors)):
        trainer.snapshots.restore(state)
    if trainer.patience is not None and (state := unflatten("best", tensors)):
        like = trainer.average.network.state_dict()
        trainer.best = {name: shared_like(value, like[name]) for name, value in state.items()}
        trainer.best_loss = metadata["best_loss"]
        trainer.validations_since_best = metadata["validations_since_best"]
    trainer.loss_scale.restore(metadata["loss_scale"])
    for name in ("step", "seconds", "skipped_steps", "bad_in_a_row", "history"):
        setattr(trainer, name, metadata[name])


def _refuse_another(trainer: Trainer, theirs: Mapping) -> None:
    ours = trainer.description
    different = sorted(k for k in ours if ours[k] != theirs.get(k))
    if different:
        listed = ", ".join(f"{k}: {theirs.get(k)!r} there, {ours[k]!r} here" for k in different)
        raise ValueError(
            f"The checkpoint in checkpoint_dir={str(trainer.checkpoint_dir)!r} is of another "
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
