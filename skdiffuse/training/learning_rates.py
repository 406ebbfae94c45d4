"""How large steps are: the optimiser's groups, and the course of their learning rates."""

from __future__ import annotations

import math
from typing import Any

import torch

from skdiffuse.training.muon import Muon, are_matrices
from skdiffuse.training.objective import TrainingObjective

__all__ = ["make_optimizer", "share_of_peak"]


def make_optimizer(
    objective: TrainingObjective,
    learning_rate: float,
    curve_learning_rate: float,
    weight_decay: float,
    optimizer: str = "muon",
) -> torch.optim.Optimizer:
    """Optimiser of the network and of what is trained beside it, each a group of its own.

    Parameters
    ----------
    objective : TrainingObjective
    learning_rate, curve_learning_rate : float
        The largest of each group, kept there as ``peak_lr``.
    weight_decay : float
        Of the network.
    optimizer : {"muon", "adamw"}, default="muon"
        Of the network's inner layers; what is left is AdamW's.
    """
    network, curve = objective.network, objective.curve
    groups: list[dict[str, Any]] = [
        {
            "params": list(network.parameters()),
            "peak_lr": learning_rate,
            "weight_decay": weight_decay,
        }
    ]
    if optimizer == "muon":
        groups[0]["matrices"] = are_matrices(network)
    if curve is not None:
        # Decay would pull the curve to a shape that nothing asks for.
        groups.append(
            {
                "params": list(curve.parameters()),
                "peak_lr": curve_learning_rate,
                "weight_decay": 0.0,
            }
        )
    if objective.beside is not None:
        groups.append(
            {
                "params": list(objective.beside.parameters()),
                "peak_lr": learning_rate,
                "weight_decay": 0.0,
            }
        )
    return Muon(groups, lr=learning_rate, betas=(0.9, 0.99))


def share_of_peak(step: int, spent: float, warmup_steps: int, rate_schedule: str) -> float:
    """Learning rate of a step as a share of the largest.

    Parameters
    ----------
    step : int
        Steps done before.
    spent : float
        Share of the budget that is used up.
    warmup_steps : int
        Steps over which the rate rises from nothing.
    rate_schedule : {"constant", "cosine"}
        After the warm-up: as it is, or to zero along a cosine at the end of the budget.

    Examples
    --------
    >>> share_of_peak(0, 0.0, 4, "constant"), share_of_peak(50, 0.5, 4, "cosine")
    (0.25, 0.5)
    """
    rate = min(1.0, (step + 1) / warmup_steps)
    if rate_schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, spent)))
    return rate
