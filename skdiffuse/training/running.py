"""What there is of a training only while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from skdiffuse.training.batches import Prefetched
from skdiffuse.training.budget import Budget
from skdiffuse.training.logs import TrainingLog
from skdiffuse.training.processes import Processes
from skdiffuse.training.state import TrainingState
from skdiffuse.training.termination import Termination

__all__ = ["Running"]


@dataclass
class Running:
    """What one call of `Trainer.run` makes, uses and lets go.

    Attributes
    ----------
    budget : Budget
    batches : Prefetched
    module : torch.nn.Module
        The objective, with gradients exchanged among processes.
    log : TrainingLog or None
    started : float
        When the training would have begun, had it not been interrupted; by the monotonic clock.
    shows : bool
        Whether to show a progress bar.
    termination : Termination
    is_ending : bool
        Whether some process was told to end.
    recent : list of dict
        Steps since the last entry of the history.
    """

    budget: Budget
    batches: Prefetched
    module: nn.Module
    log: TrainingLog | None
    started: float
    shows: bool = False
    termination: Termination = field(default_factory=Termination)
    is_ending: bool = False
    recent: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._bar = tqdm(
            total=1.0,
            disable=not self.shows,
            bar_format="training {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]",
        )

    def share(self, losses: Tensor, processes: Processes) -> tuple[float, float, float]:
        """Sums of two losses over processes, and the first one's seconds of training."""
        seconds = time.monotonic() - self.started if processes.is_first else 0.0
        # Whoever is told to end: all do, after the same step.
        shares = [*losses, seconds, self.termination.is_asked_for]
        summed = processes.sum(torch.tensor(shares, dtype=torch.float64))
        loss, stretch, seconds, ending = summed.tolist()
        self.is_ending = bool(ending)
        return loss, stretch, seconds

    def did(self, entry: dict[str, float], state: TrainingState) -> None:
        """Take note of a step that was done, and show how far the training is."""
        self.recent.append(entry)
        self._bar.n = min(1.0, self.budget.spent(state.step, state.seconds))
        self._bar.set_postfix_str(f"step {state.step}, loss {entry['loss']:.3f}", refresh=False)
        self._bar.update(0)

    def note(self, state: TrainingState, more: dict[str, Any]) -> None:
        """Make an entry of the history from the steps since the last one, if there are any."""
        if not self.recent:
            return
        keys = self.recent[0]
        means = {key: sum(one[key] for one in self.recent) / len(self.recent) for key in keys}
        entry = {"step": state.step, **means, "seconds": state.seconds, **more}
        state.history.append(entry)
        self.recent.clear()
        if self.log:
            self.log.write(entry)

    def close(self) -> None:
        """End the bar, the log and the thread that makes batches."""
        self._bar.refresh()
        self._bar.close()
        if self.log:
            self.log.close()
        self.batches.close()
