"""What there is of a training only while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from skdiffuse.training.batches import Prefetched
from skdiffuse.training.budget import Budget
from skdiffuse.training.logs import TrainingLog
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
    termination : Termination
    is_ending : bool
        Whether some process was told to end.
    started : float
        When the training would have begun, had it not been interrupted; by the monotonic clock.
    recent : list of dict
        Steps since the last entry of the history.
    """

    budget: Budget
    batches: Prefetched
    module: nn.Module
    log: TrainingLog | None
    termination: Termination = field(default_factory=Termination)
    is_ending: bool = False
    started: float = 0.0
    recent: list[dict[str, float]] = field(default_factory=list)

    def note(self, state: TrainingState, more: dict) -> None:
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
