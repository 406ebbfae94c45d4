"""The training loop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skdiffuse.corruptions import Corruption, GaussianCorruption
from skdiffuse.diffusion import NoiseSchedule, known_as_covariates
from skdiffuse.networks import compile_network
from skdiffuse.runtime.double import home_of_double
from skdiffuse.training.batches import Prefetched, WindowBatches
from skdiffuse.training.budget import Budget
from skdiffuse.training.checkpoints import (
    flatten,
    recover_checkpoint,
    refuse_another,
    save_checkpoint,
)
from skdiffuse.training.divergence import has_diverged, take_step, warn_of_skipped
from skdiffuse.training.held_out import HeldOut
from skdiffuse.training.learning_rates import make_optimizer, share_of_peak
from skdiffuse.training.logs import TrainingLog
from skdiffuse.training.objective import LatentCurve, TrainingObjective
from skdiffuse.training.precision import resolve_precision, tensor_cores
from skdiffuse.training.processes import Processes, whole_tensors
from skdiffuse.training.running import Running
from skdiffuse.training.state import TrainingState
from skdiffuse.training.steps import add_gradients, step_draws

__all__ = ["Trainer"]

LOG_EVERY = 20
# Log-SNRs at which weights are tried: nearly pure noise, where rain is decided, and detail.
LEVELS = (-15.0, 0.0, 10.0)
LEAST_STEPS_BETWEEN_VALIDATIONS = 100
CHECKPOINT_SECONDS = 60.0


@dataclass
class Trainer:
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
    corruption : Corruption
        Fitted; what the network learns to undo.
    learning_rate : float
    curve_learning_rate : float
        Of a `LatentCurve`; warms up and falls as the network's does.
    rate_schedule : {"constant", "cosine"}
        After the warm-up: as it is, or to zero along a cosine at the end of the budget.
    warmup_steps : int
        Steps over which the learning rate rises from nothing.
    weight_decay : float
        Of the network.
    optimizer : {"muon", "adamw"}
        See `make_optimizer`.
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
    watch : {"loss", "paired_start"}
        What `patience` goes by: the loss, or `HeldOut.paired_start_error`, which is then recorded.
    seed : int
    device : torch.device
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
    state : TrainingState
        What training changes.
    step : int
        Steps done.
    seconds : float
        Of training.
    history : list of dict
        ``step``, ``loss`` (the v-loss: mean since the entry before), ``gradient_norm`` (of the
        network, likewise), ``stretch_loss`` where the transform is trained, ``learning_rate`` and
        ``seconds`` of training; where it was validated ``validation_loss`` and
        ``validation_by_log_snr``, and ``validation_over_skip``, the same divided by the losses of
        the closed form that the network starts from: 1 where it has learnt nothing yet.
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
    corruption: Corruption = field(default_factory=GaussianCorruption)
    learning_rate: float = 1e-3
    curve_learning_rate: float = 1e-3
    rate_schedule: str = "constant"
    warmup_steps: int = 100
    weight_decay: float = 1e-2
    optimizer: str = "muon"
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
    watch: str = "loss"
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    checkpoint_dir: Path | None = None
    checkpoint_seconds: float = field(default_factory=lambda: CHECKPOINT_SECONDS)
    keep_checkpoints: int = 2
    log_dir: Path | None = None
    description: dict[str, Any] = field(default_factory=dict)
    setup: dict[str, Any] = field(default_factory=dict)
    setup_tensors: dict[str, Tensor] = field(default_factory=dict)
    on_epoch: Callable[[], bool] | None = None
    verbose: bool = False
    # Only while it runs.
    _run: Running = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.processes = Processes()
        self.device = self.processes.device(torch.device(self.device))
        kind = resolve_precision(self.precision, self.device)
        self.sharded = self.sharded and self.processes.count > 1
        objective = TrainingObjective(
            self.network, self.encode, kind, self.corruption, self.schedule.density
        )
        options = self.learning_rate, self.curve_learning_rate, self.weight_decay, self.optimizer
        self.state = TrainingState.begin(
            objective,
            self.average_width,
            self.checkpoint_dir if self.average_snapshots else None,
            lambda placed: make_optimizer(placed, *options),
            self.device,
            self._sharing,
        )
        self.is_together = True

    @property
    def _sharing(self) -> Processes | None:
        """Those that share the weights, if any do."""
        return self.processes if self.sharded else None

    @property
    def _window_shape(self) -> tuple[int, int, int]:
        return self.windows.n_frames, *self.windows.crop_shape

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step

    @property
    def seconds(self) -> float:
        """Seconds of training."""
        return self.state.seconds

    @property
    def history(self) -> list[dict[str, Any]]:
        """The course of the loss; see the class."""
        return self.state.history

    @property
    def skipped_steps(self) -> int:
        """Steps that were skipped because loss or gradient was not finite."""
        return self.state.skipped_steps

    @property
    def averaged(self) -> TrainingObjective:
        """A copy with averaged weights: the best validated ones with `patience`.

        Raises
        ------
        FloatingPointError
            If training has diverged, so that they, or what they give, are not finite.
        """
        # Those of the best validation had a finite loss.
        if self.state.best is None:
            self._refuse_divergence()
        averaged = self.state.averaged()
        return averaged if self.sharded else averaged.to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        # The data are the user's, and a kept model must not carry them along.
        kept = {name: value for name, value in vars(self).items() if name != "_run"}
        return kept | {"held_out": None}

    def save(self) -> None:
        """Write a checkpoint with everything that a resumed training needs.

        Of processes that share a training all call this.

        Raises
        ------
        FloatingPointError
            If training has diverged; earlier checkpoints are left as they are.
        ValueError
            If there is no `checkpoint_dir`.
        """
        if self.checkpoint_dir is None:
            raise ValueError("checkpoint_dir=None: give the Trainer a folder to save to.")
        self._refuse_divergence()
        first = self.processes.is_first
        if not (first or self.sharded):
            return
        tensors = self.state.tensors() | flatten("setup", self.setup_tensors)
        tensors = whole_tensors(tensors, keep=first)
        if first:
            values = self.state.values() | {"description": self.description, "setup": self.setup}
            save_checkpoint(self.checkpoint_dir, self.step, tensors, values, self.keep_checkpoints)

    def resume(self, found: tuple[dict[str, Tensor], dict[str, Any]] | None = None) -> bool:
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
        if found is None and self.checkpoint_dir is not None:
            found = recover_checkpoint(self.checkpoint_dir)
        if found is None:
            return False
        tensors, values = found
        refuse_another(self.description, values["description"], self.checkpoint_dir)
        self.state.restore(tensors, values, with_best=self.patience is not None)
        return True

    def run(self, budget: Budget) -> None:
        """Train until the budget is spent.

        Raises
        ------
        FloatingPointError
            If loss or gradient was not finite many times in a row, or averaged weights, or what
            they give, are not finite at the end or when they are to be written.
        SystemExit
            After a checkpoint, if SIGTERM asked for the end.
        """
        first, state = self.processes.is_first, self.state
        skipped_before = self.skipped_steps
        places = self.processes.places(self.windows.batch_size)
        batches = Prefetched(self.windows, places, pinned=self.device.type == "cuda")
        log = TrainingLog(self.log_dir, self.history) if self.log_dir and first else None
        module = self.processes.join(state.objective, self.device)
        if self.compiled:
            self._compile(*batches(self.step))
        started = time.monotonic() - self.seconds
        run = self._run = Running(budget, batches, module, log, started, self.verbose and first)
        last_checkpoint = self.seconds
        self.is_together = not self.sharded
        try:
            with torch.enable_grad(), tensor_cores(self.device), run.termination:
                while budget.spent(self.step, self.seconds) < 1 and not self._out_of_patience():
                    run.did(self._one_step(), state)
                    if run.is_ending:
                        break
                    over = budget.spent(self.step, self.seconds) >= 1
                    validates = self.held_out and (over or self.step % self._validation_steps == 0)
                    if validates or self.step % LOG_EVERY == 0:
                        run.note(state, self._validate() if validates else {})
                    if self.step % self.windows.steps_per_epoch == 0 and self.on_epoch:
                        run.note(state, {})
                        if self.on_epoch():
                            break
                    if state.snapshots and state.snapshots.has_turn(self.step):
                        self._refuse_divergence()
                        state.snapshots.write(self.step, for_all=first)
                    since = self.seconds - last_checkpoint
                    if self.checkpoint_dir and since >= self.checkpoint_seconds:
                        self.save()
                        last_checkpoint = self.seconds
            self.is_together = True
        finally:
            # Ctrl-C included: what has been learnt so far is kept, but for half a step.
            run.note(state, {})
            run.close()
            del self._run
            whole = self.is_together and state.is_whole
            keeps = self.checkpoint_dir and self.step and whole
            # Not the error of `save`, which would hide the one that may be on its way.
            if keeps and not self._has_diverged():
                if state.snapshots:
                    state.snapshots.write(self.step, for_all=first)
                self.save()
        self._refuse_divergence()
        if run.is_ending:
            raise SystemExit(128 + signal.SIGTERM)
        if self.skipped_steps > skipped_before:
            skipped = self.skipped_steps - skipped_before
            warn_of_skipped(skipped, self.step, self.learning_rate)

    def _compile(self, rain: Tensor, _: Tensor, told: dict[str, Tensor]) -> None:
        """Compile the network for what it will be given in training."""
        told = {name: tensor.to(self.device) for name, tensor in told.items()}
        z = torch.zeros(len(rain), *self.corruption.shape(self._window_shape), device=self.device)
        if self.amortised:
            nothing = torch.full_like(z, math.nan)
            told["covariates"] = known_as_covariates(nothing, told.get("covariates"))
        log_snr = torch.zeros(len(rain), dtype=torch.float64, device=home_of_double(self.device))
        kind = self.state.objective.precision
        with torch.autocast(self.device.type, kind, enabled=kind is not None):
            compile_network(self.network, z, log_snr, **told)

    def _one_step(self) -> dict[str, float]:
        run, state, batch_size = self._run, self.state, self.windows.batch_size
        rain, weights, told = run.batches(self.step)
        places = run.batches.places
        shape = self._window_shape
        draws = step_draws(
            self.seed,
            self.step,
            places,
            batch_size,
            shape,
            self.schedule,
            amortised=self.amortised,
            corruption=self.corruption,
        )
        rate = self._rate()
        for group in state.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * rate
        state.objective.train()
        state.optimizer.zero_grad(set_to_none=True)
        losses = add_gradients(
            run.module,
            {"weights": weights, "rain": rain, **draws, **told},
            batch_size,
            parts=self.parts,
            device=self.device,
            processes=self.processes,
            scale=state.loss_scale.value,
        )
        loss, stretch, state.seconds = run.share(losses, self.processes)
        norm = take_step(state, loss + stretch, self.gradient_clip, self.learning_rate)
        entry = {"loss": loss, "gradient_norm": norm}
        if state.objective.curve is not None:
            entry["stretch_loss"] = stretch
        elif state.objective.beside is not None:
            entry["loss_of_the_decoder"] = stretch
        return entry | {"learning_rate": self.learning_rate * rate}

    def _has_diverged(self) -> bool:
        lowest, highest = self.schedule.log_snr_min, self.schedule.log_snr_max
        tried = [min(max(level, lowest), highest) for level in LEVELS]
        return self._is_lost or has_diverged(
            self.state, self._window_shape, self.device, self._sharing, tried
        )

    @property
    def _is_lost(self) -> bool:
        """Whether a training that is over took no step in its second half, or none at all."""
        bad = self.state.bad_in_a_row
        return not hasattr(self, "_run") and bad > 0 and 2 * bad >= self.step

    def _refuse_divergence(self) -> None:
        if self._has_diverged():
            raise FloatingPointError(
                f"Training has diverged after {self.step} steps: averaged weights, what they give, "
                f"or all losses since half of them, are not finite; lower "
                f"learning_rate={self.learning_rate!r} or weight_decay={self.weight_decay!r}."
            )

    def _rate(self) -> float:
        """Learning rate of this step as a share of the largest."""
        spent = self._run.budget.spent(self.step, self.seconds)
        return share_of_peak(self.step, spent, self.warmup_steps, self.rate_schedule)

    @property
    def _validation_steps(self) -> int:
        return max(self.windows.steps_per_epoch, LEAST_STEPS_BETWEEN_VALIDATIONS)

    def _validate(self) -> dict[str, Any]:
        if self.held_out is None:
            return {}
        loss, by_log_snr = self.held_out.loss(self.state.average.network, self.device)
        # One decides for all: in the last bits they may differ.
        loss = self.processes.from_first(torch.tensor([loss], dtype=torch.float64)).item()
        found: dict[str, Any] = {"validation_loss": loss, "validation_by_log_snr": by_log_snr}
        watched = loss
        if self.watch == "paired_start":
            error = self.held_out.paired_start_error(self.state.average.network, self.device)
            watched = self.processes.from_first(torch.tensor([error], dtype=torch.float64)).item()
            found["paired_start_error"] = watched
        if self.patience is not None:
            self.state.validated(watched)
        of_skip = self.held_out.loss_of_skip(self.state.average.network, self.device)
        if of_skip is not None:
            over_skip = {band: by_log_snr[band] / of_skip[band] for band in of_skip}
            found["validation_over_skip"] = over_skip
        return found

    def _out_of_patience(self) -> bool:
        return self.patience is not None and self.state.validations_since_best >= self.patience
