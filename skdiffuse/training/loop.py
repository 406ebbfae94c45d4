"""The training loop."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from skdiffuse.diffusion import NoiseSchedule
from skdiffuse.preprocessing import MonotoneNetwork
from skdiffuse.training.batches import WindowBatches, step_seed
from skdiffuse.training.checkpoints import (
    flatten,
    optimizer_tensors,
    recover_checkpoint,
    restore_optimizer,
    save_checkpoint,
    unflatten,
)
from skdiffuse.training.ema import PowerAverage
from skdiffuse.training.objective import LatentCurve, TrainingObjective
from skdiffuse.training.tasks import random_known_cells

__all__ = ["Budget", "Trainer"]

MAX_BAD_STEPS = 20
LOG_EVERY = 20


@dataclass(frozen=True)
class Budget:
    """How long to train: until the first of the two runs out."""

    max_steps: int
    max_seconds: float | None = None

    def spent(self, steps: int, seconds: float) -> float:
        """Fraction of the budget that is used up, 1 or more when it is over."""
        fraction = steps / self.max_steps if self.max_steps else 1.0
        return fraction if self.max_seconds is None else max(fraction, seconds / self.max_seconds)


@dataclass
class Trainer:
    """Minimises the v-loss of a network over windows of rain.

    All that is random in a step follows from `seed` and the step's number, so that a training
    that was interrupted and resumed ends with the same bits as one that was not.

    Parameters
    ----------
    network : torch.nn.Module
        Predicts v from ``(z, log_snr)``; trained in place.
    windows : WindowBatches
        Batches in mm/h, NaN where missing.
    encode : LatentCurve or callable
        From mm/h to the latent, element-wise; passes NaN through. A `LatentCurve` is trained
        together with the network, in place.
    schedule : NoiseSchedule
    learning_rate : float
    curve_learning_rate : float
        Of a `LatentCurve`; warms up and falls as the network's does.
    warmup_steps : int
        Steps over which the learning rate rises from nothing.
    gradient_clip : float
        Largest norm of a step's gradient.
    average_width : float
        See `PowerAverage`.
    amortised : bool
        Tell the network random cells, as two covariates; see `random_known_cells`.
    seed : int
    device : str or torch.device
    checkpoint_dir : Path or None
    checkpoint_seconds : float
        Time between two checkpoints.
    description : dict
        What a checkpoint must agree with to be resumed from.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    step : int
        Steps done.
    average : PowerAverage
    history : list of dict
        ``step``, ``loss`` (the v-loss: mean since the entry before), ``gradient_norm`` (of the
        network, likewise), ``stretch_loss`` where the transform is trained, and ``seconds`` of
        training.
    skipped_steps : int
        Steps that were skipped because loss or gradient was not finite.
    """

    network: nn.Module
    windows: WindowBatches
    encode: LatentCurve | Callable[[Tensor], Tensor]
    schedule: NoiseSchedule
    learning_rate: float = 1e-3
    curve_learning_rate: float = 1e-3
    warmup_steps: int = 100
    gradient_clip: float = 1.0
    average_width: float = 0.1
    amortised: bool = False
    seed: int = 0
    device: str | torch.device = "cpu"
    checkpoint_dir: Path | None = None
    checkpoint_seconds: float = 60.0
    description: dict = field(default_factory=dict)
    verbose: bool = False

    def __post_init__(self) -> None:
        self.objective = TrainingObjective(self.network, self.encode).to(self.device)
        self.average = PowerAverage(self.objective, self.average_width)
        groups = [
            {
                "params": list(self.network.parameters()),
                "peak_lr": self.learning_rate,
                "weight_decay": 1e-2,
            }
        ]
        if self.objective.curve is not None:
            # Decay would pull the curve to a shape that nothing asks for.
            groups.append(
                {
                    "params": list(self.objective.curve.parameters()),
                    "peak_lr": self.curve_learning_rate,
                    "weight_decay": 0.0,
                }
            )
        self.optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.99))
        self.step = 0
        self.seconds = 0.0
        self.skipped_steps = 0
        self.history: list[dict] = []

    @property
    def averaged_network(self) -> nn.Module:
        """The network with averaged weights."""
        return self.average.network.network

    @property
    def averaged_curve(self) -> MonotoneNetwork | None:
        """The transform that was trained along, averaged as the network is."""
        return self.average.network.curve

    def run(self, budget: Budget) -> None:
        """Train until the budget is spent.

        Raises
        ------
        FloatingPointError
            If loss or gradient was not finite many times in a row.
        """
        self._bad_in_a_row = 0
        recent: list[dict[str, float]] = []
        start = last_checkpoint = time.monotonic()
        seconds_before = self.seconds
        bar = tqdm(
            total=1.0,
            disable=not self.verbose,
            bar_format="training {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]",
        )
        try:
            while budget.spent(self.step, self.seconds) < 1:
                recent.append(self._one_step())
                now = time.monotonic()
                self.seconds = seconds_before + now - start
                bar.n = min(1.0, budget.spent(self.step, self.seconds))
                bar.set_postfix_str(
                    f"step {self.step}, loss {recent[-1]['loss']:.3f}", refresh=False
                )
                bar.update(0)
                if self.step % LOG_EVERY == 0:
                    self._log(recent)
                if self.checkpoint_dir and now - last_checkpoint >= self.checkpoint_seconds:
                    self.save()
                    last_checkpoint = now
        finally:
            # Ctrl-C included: what has been learnt so far is kept.
            self._log(recent)
            bar.refresh()
            bar.close()
            if self.checkpoint_dir and self.step:
                self.save()

    def _one_step(self) -> dict[str, float]:
        rain, weights = (part.to(self.device) for part in self.windows(self.step))
        generator = torch.Generator().manual_seed(step_seed(self.seed, self.step, purpose=1))
        log_snr = self.schedule.draw(len(rain), generator).to(self.device)
        noise = torch.randn(rain.shape, generator=generator).to(self.device)
        known = None
        if self.amortised:
            known = random_known_cells(rain.shape, step_seed(self.seed, self.step, purpose=2))
            known = known.to(self.device)

        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * min(1.0, (self.step + 1) / self.warmup_steps)
        self.objective.train()
        losses = [(weights * part).mean() for part in self.objective(rain, log_snr, noise, known)]
        loss = sum(losses)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # Each by itself: a steep curve must not brake the network, nor the other way round.
        norms = [
            nn.utils.clip_grad_norm_(group["params"], self.gradient_clip)
            for group in self.optimizer.param_groups
        ]
        finite = all(bool(value.isfinite()) for value in [loss, *norms])
        self.step += 1
        if finite:
            self.optimizer.step()
            self.average.update(self.objective, self.step)
            self._bad_in_a_row = 0
        else:
            self.skipped_steps += 1
            self._bad_in_a_row += 1
            if self._bad_in_a_row >= MAX_BAD_STEPS:
                raise FloatingPointError(
                    f"Loss or gradient was not finite in {MAX_BAD_STEPS} steps in a row (the last "
                    f"was step {self.step}); lower learning_rate={self.learning_rate!r} or look "
                    "for absurd values in X."
                )
        entry = {"loss": losses[0].item(), "gradient_norm": norms[0].item()}
        if self.objective.curve is not None:
            entry["stretch_loss"] = losses[1].item()
        return entry

    def _log(self, recent: list[dict[str, float]]) -> None:
        if not recent:
            return
        means = {key: sum(one[key] for one in recent) / len(recent) for key in recent[0]}
        self.history.append({"step": self.step, **means, "seconds": self.seconds})
        recent.clear()

    def save(self) -> None:
        """Write a checkpoint with everything that a resumed training needs."""
        tensors = (
            flatten("objective", self.objective.state_dict())
            | flatten("average", self.average.network.state_dict())
            | flatten("optimizer", optimizer_tensors(self.optimizer))
        )
        metadata = {
            "description": self.description,
            "seconds": self.seconds,
            "skipped_steps": self.skipped_steps,
            "history": self.history,
        }
        save_checkpoint(self.checkpoint_dir, self.step, tensors, metadata)

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint; False if there is none.

        Raises
        ------
        ValueError
            If the checkpoint belongs to a training with other data or parameters.
        """
        found = recover_checkpoint(self.checkpoint_dir)
        if found is None:
            return False
        tensors, metadata = found
        theirs = metadata["description"]
        different = sorted(k for k in self.description if self.description[k] != theirs.get(k))
        if different:
            listed = ", ".join(
                f"{k}: {theirs.get(k)!r} there, {self.description[k]!r} here" for k in different
            )
            raise ValueError(
                f"The checkpoint in checkpoint_dir={str(self.checkpoint_dir)!r} is of another "
                f"training ({listed}). Use the same data and parameters, another checkpoint_dir, "
                "or warm_start=False to begin anew."
            )
        self.objective.load_state_dict(unflatten("objective", tensors))
        self.average.network.load_state_dict(unflatten("average", tensors))
        restore_optimizer(self.optimizer, unflatten("optimizer", tensors))
        self.step = metadata["step"]
        self.seconds = metadata["seconds"]
        self.skipped_steps = metadata["skipped_steps"]
        self.history = metadata["history"]
        return True
