"""The training loop."""

from __future__ import annotations

import math
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from skdiffuse.diffusion import NoiseSchedule, known_as_covariates
from skdiffuse.networks import compile_network
from skdiffuse.runtime.seeds import derived_seed
from skdiffuse.training.batches import Prefetched, WindowBatches
from skdiffuse.training.budget import Budget
from skdiffuse.training.ema import AverageSnapshots, PowerAverage
from skdiffuse.training.held_out import HeldOut
from skdiffuse.training.known_cells import random_known_cells
from skdiffuse.training.logs import TrainingLog
from skdiffuse.training.objective import LatentCurve, TrainingObjective
from skdiffuse.training.precision import LossScale, resolve_precision, tensor_cores
from skdiffuse.training.processes import Processes, blank_copy, whole
from skdiffuse.training.state import ResumableTraining
from skdiffuse.training.termination import Termination

__all__ = ["Trainer"]

MAX_BAD_STEPS = 20
LOG_EVERY = 20
LEAST_STEPS_BETWEEN_VALIDATIONS = 100
CHECKPOINT_SECONDS = 60.0


@dataclass
class Trainer(ResumableTraining):
    """Minimises the v-loss of a network over windows of rain.

    All that is random in a step follows from `seed` and the step's number, so that a training
    that was interrupted and resumed ends with the same bits as one that was not. Started by
    `torchrun`, processes share each batch.

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
    rate_schedule : {"constant", "cosine"}
        After the warm-up: as it is, or to zero along a cosine at the end of the budget.
    warmup_steps : int
        Steps over which the learning rate rises from nothing.
    weight_decay : float
        Of the network.
    gradient_clip : float
        Largest norm of a step's gradient.
    parts : int
        A batch is worked through in so many parts, whose gradients are added up: less memory, the
        same result.
    precision : {"auto", "float32", "bfloat16", "float16"}
        Of the network's arithmetic; weights, losses and averages are float32. See
        `resolve_precision`.
    compiled : bool
        Compile the network; see `compile_network`.
    sharded : bool
        Among processes, each holds its share of weights, averages and the optimiser's memory, and
        not all of them.
    average_width : float
        See `PowerAverage`.
    amortised : bool
        Tell the network random cells, as two covariates; see `random_known_cells`.
    average_snapshots : bool
        Keep `AverageSnapshots` in `checkpoint_dir`.
    held_out : HeldOut or None
        Validated on now and then, with averaged weights.
    patience : int or None
        Training ends when so many validations in a row were no better than the best one, whose
        weights are then the result.
    seed : int
    device : str or torch.device
    checkpoint_dir : Path or None
    checkpoint_seconds : float
        Time between two checkpoints.
    keep_checkpoints : int
    log_dir : Path or None
        For `TrainingLog`.
    description : dict
        What a checkpoint must agree with to be resumed from.
    setup : dict
        Kept in checkpoints, for whoever resumes.
    setup_tensors : dict of str to Tensor
        Likewise.
    on_epoch : callable or None
        Called after each epoch; training ends if it returns True.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    step : int
        Steps done.
    average : PowerAverage
    history : list of dict
        ``step``, ``loss`` (the v-loss: mean since the entry before), ``gradient_norm`` (of the
        network, likewise), ``stretch_loss`` where the transform is trained, ``learning_rate`` and
        ``seconds`` of training; where it was validated ``validation_loss`` and
        ``validation_by_log_snr``.
    skipped_steps : int
        Steps that were skipped because loss or gradient was not finite.
    is_together : bool
        Whether shared weights can be put together: not after an error, at which each process may
        have been somewhere else. The last checkpoint is then what is left.
    """

    network: nn.Module
    windows: WindowBatches
    encode: LatentCurve | Callable[[Tensor], Tensor]
    schedule: NoiseSchedule
    learning_rate: float = 1e-3
    curve_learning_rate: float = 1e-3
    rate_schedule: str = "constant"
    warmup_steps: int = 100
    weight_decay: float = 1e-2
    gradient_clip: float = 1.0
    parts: int = 1
    precision: str = "auto"
    compiled: bool = False
    sharded: bool = False
    average_width: float = 0.1
    amortised: bool = False
    average_snapshots: bool = False
    held_out: HeldOut | None = None
    patience: int | None = None
    seed: int = 0
    device: str | torch.device = "cpu"
    checkpoint_dir: Path | None = None
    checkpoint_seconds: float = field(default_factory=lambda: CHECKPOINT_SECONDS)
    keep_checkpoints: int = 2
    log_dir: Path | None = None
    description: dict = field(default_factory=dict)
    setup: dict = field(default_factory=dict)
    setup_tensors: dict[str, Tensor] = field(default_factory=dict)
    on_epoch: Callable[[], bool] | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        self.processes = Processes()
        self.device = self.processes.device(torch.device(self.device))
        kind = resolve_precision(self.precision, self.device)
        self.sharded = self.sharded and self.processes.count > 1
        self.objective = TrainingObjective(self.network, self.encode, kind)
        self.blank = blank_copy(self.objective, "meta")
        self.average = PowerAverage(self.objective, self.average_width)
        self.snapshots = None
        if self.average_snapshots and self.checkpoint_dir is not None:
            self.snapshots = AverageSnapshots(self.checkpoint_dir, self.objective)
        kept = [self.average, *(self.snapshots.averages if self.snapshots else [])]
        for module in (self.objective, *(average.network for average in kept)):
            if self.sharded:
                self.processes.shard(module, self.device)
            else:
                module.to(self.device)
        groups = [self._group(self.network, self.learning_rate, self.weight_decay)]
        if self.objective.curve is not None:
            # Decay would pull the curve to a shape that nothing asks for.
            groups.append(self._group(self.objective.curve, self.curve_learning_rate, 0.0))
        self.optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.99))
        self.loss_scale = LossScale(used=kind == torch.float16)
        self.step = 0
        self.seconds = 0.0
        self.skipped_steps = 0
        self.history: list[dict] = []
        self.best: dict[str, Tensor] | None = None
        self.best_loss = math.inf
        self.validations_since_best = 0
        self.bad_in_a_row = 0
        self.is_together = True

    @staticmethod
    def _group(module: nn.Module, rate: float, decay: float) -> dict:
        return {"params": list(module.parameters()), "peak_lr": rate, "weight_decay": decay}

    def run(self, budget: Budget) -> None:
        """Train until the budget is spent.

        Raises
        ------
        FloatingPointError
            If loss or gradient was not finite many times in a row.
        SystemExit
            After a checkpoint, if SIGTERM asked for the end.
        """
        first = self.processes.is_first
        skipped_before = self.skipped_steps
        log = TrainingLog(self.log_dir, self.history) if self.log_dir and first else None
        places = self.processes.places(self.windows.batch_size)
        self._source = Prefetched(self.windows, places, pinned=self.device.type == "cuda")
        self._module = self.processes.join(self.objective, self.device)
        self._budget = budget
        self._termination, self._ending = Termination(), False
        if self.compiled:
            self._compile()
        recent: list[dict[str, float]] = []
        self._started = time.monotonic() - self.seconds
        last_checkpoint = self.seconds
        self.is_together = not self.sharded
        bar = tqdm(
            total=1.0,
            disable=not (self.verbose and first),
            bar_format="training {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]",
        )
        try:
            with tensor_cores(self.device), self._termination:
                while budget.spent(self.step, self.seconds) < 1 and not self._out_of_patience():
                    recent.append(self._one_step())
                    bar.n = min(1.0, budget.spent(self.step, self.seconds))
                    loss = recent[-1]["loss"]
                    bar.set_postfix_str(f"step {self.step}, loss {loss:.3f}", refresh=False)
                    bar.update(0)
                    if self._ending:
                        break
                    over = budget.spent(self.step, self.seconds) >= 1
                    validates = self.held_out and (over or self.step % self._validation_steps == 0)
                    if validates or self.step % LOG_EVERY == 0:
                        self._log(recent, log, self._validate() if validates else {})
                    if self.step % self.windows.steps_per_epoch == 0 and self.on_epoch:
                        self._log(recent, log, {})
                        if self.on_epoch():
                            break
                    if self.snapshots:
                        self.snapshots.write(self.step, for_all=first)
                    since = self.seconds - last_checkpoint
                    if self.checkpoint_dir and since >= self.checkpoint_seconds:
                        self.save()
                        last_checkpoint = self.seconds
            self.is_together = True
        finally:
            # Ctrl-C included: what has been learnt so far is kept.
            self._log(recent, log, {})
            bar.refresh()
            bar.close()
            if log:
                log.close()
            self._source.close()
            ending = self._ending
            del self._source, self._module, self._budget, self._termination, self._ending
            if self.checkpoint_dir and self.step and self.is_together:
                if self.snapshots:
                    self.snapshots.write(self.step, last=True, for_all=first)
                self.save()
        if ending:
            raise SystemExit(128 + signal.SIGTERM)
        if self.skipped_steps > skipped_before:
            warnings.warn(
                f"{self.skipped_steps - skipped_before} of {self.step} training steps were skipped "
                "because loss or gradient was not finite; if they are many, lower learning_rate="
                f"{self.learning_rate!r} or look for absurd values in X.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _compile(self) -> None:
        """Compile the network for what it will be given in training."""
        rain, _, told = self._source(self.step)
        told = {name: tensor.to(self.device) for name, tensor in told.items()}
        z = torch.zeros_like(rain, device=self.device)
        if self.amortised:
            nothing = torch.full_like(z, math.nan)
            told["covariates"] = known_as_covariates(nothing, told.get("covariates"))
        log_snr = torch.zeros(len(rain), dtype=torch.float64, device=self.device)
        kind = self.objective.precision
        with torch.autocast(self.device.type, kind, enabled=kind is not None):
            compile_network(self.network, z, log_snr, **told)

    def _one_step(self) -> dict[str, float]:
        batch_size = self.windows.batch_size
        rain, weights, told = self._source(self.step)
        places = self._source.places
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.step, 1))
        # Stratified over the whole batch, whoever works on which part of it.
        log_snr = self.schedule.draw(batch_size, generator)[list(places)]
        noise = torch.stack([self._noise(place, rain.shape[1:]) for place in places])
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * rate
        self.objective.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros(4, dtype=torch.float64)
        n_parts = min(self.parts, len(places))
        batch = {"weights": weights, "rain": rain, "log_snr": log_snr, "noise": noise, **told}
        if self.amortised:
            known = [self._known(place, rain.shape[1:]) for place in places]
            batch["known"] = torch.cat(known)
        parts = zip(*(tensor.tensor_split(n_parts) for tensor in batch.values()), strict=True)
        for part, tensors in enumerate(parts):
            on_device = (tensor.to(self.device, non_blocking=True) for tensor in tensors)
            given = dict(zip(batch, on_device, strict=True))
            weights = given.pop("weights")
            waits = part < n_parts - 1
            with self.processes.keep_gradients(self._module, waits):
                losses = [(weights * each).sum() for each in self._module(**given)]
                share = sum(losses) / batch_size
                # Processes' gradients are averaged, and together they are to give the sum.
                (share * (self.processes.count * self.loss_scale.value)).backward()
            total[:2] += torch.stack([each.detach() for each in losses]).double().cpu() / batch_size
        total[2] = time.monotonic() - self._started if self.processes.is_first else 0.0
        # Whoever is told to end: all do, after the same step.
        total[3] = self._termination.is_asked_for
        loss, stretch, self.seconds, ending = self.processes.sum(total).tolist()
        self._ending = bool(ending)
        entry = {"loss": loss, "gradient_norm": self._update(loss + stretch)}
        if self.objective.curve is not None:
            entry["stretch_loss"] = stretch
        return entry | {"learning_rate": self.learning_rate * rate}

    def _update(self, loss: float) -> float:
        """Take the step that the gradients ask for, unless they are not finite."""
        # Each by itself: a steep curve must not brake the network, nor the other way round.
        norms = []
        for group in self.optimizer.param_groups:
            self.loss_scale.undo(group["params"])
            norm = nn.utils.clip_grad_norm_(group["params"], self.gradient_clip)
            norms.append(whole(norm).item())
        self.step += 1
        finite = all(math.isfinite(value) for value in (loss, *norms))
        if finite:
            self.optimizer.step()
            self.average.update(self.objective, self.step)
            if self.snapshots:
                self.snapshots.update(self.objective, self.step)
            self.bad_in_a_row = 0
        elif not (math.isfinite(loss) and self.loss_scale.can_fall):
            self.skipped_steps += 1
            self.bad_in_a_row += 1
            if self.bad_in_a_row >= MAX_BAD_STEPS:
                raise FloatingPointError(
                    f"Loss or gradient was not finite in {MAX_BAD_STEPS} steps in a row (the last "
                    f"was step {self.step}); lower learning_rate={self.learning_rate!r} or look "
                    "for absurd values in X."
                )
        self.loss_scale.update(finite)
        return norms[0]

    def _rate(self) -> float:
        """Learning rate of this step as a share of the largest."""
        rate = min(1.0, (self.step + 1) / self.warmup_steps)
        if self.rate_schedule == "cosine":
            spent = self._budget.spent(self.step, self.seconds)
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, spent)))
        return rate

    def _noise(self, place: int, shape: torch.Size) -> Tensor:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.step, 2, place))
        return torch.randn(shape, generator=generator)

    def _known(self, place: int, shape: torch.Size) -> Tensor:
        return random_known_cells((1, *shape), derived_seed(self.seed, self.step, 3, place))

    @property
    def _validation_steps(self) -> int:
        return max(self.windows.steps_per_epoch, LEAST_STEPS_BETWEEN_VALIDATIONS)

    def _validate(self) -> dict:
        loss, by_log_snr = self.held_out.loss(self.average.network, self.device)
        # One decides for all: in the last bits they may differ.
        loss = self.processes.from_first(torch.tensor([loss], dtype=torch.float64)).item()
        if self.patience is not None:
            if loss < self.best_loss:
                self.best_loss, self.validations_since_best = loss, 0
                state = self.average.network.state_dict()
                self.best = {name: value.clone() for name, value in state.items()}
            else:
                self.validations_since_best += 1
        return {"validation_loss": loss, "validation_by_log_snr": by_log_snr}

    def _out_of_patience(self) -> bool:
        return self.patience is not None and self.validations_since_best >= self.patience

    def _log(self, recent: list[dict[str, float]], log: TrainingLog | None, more: dict) -> None:
        if not recent:
            return
        means = {key: sum(one[key] for one in recent) / len(recent) for key in recent[0]}
        self.history.append({"step": self.step, **means, "seconds": self.seconds, **more})
        recent.clear()
        if log:
            log.write(self.history[-1])
