"""Learning, once all is prepared: the training itself, other averages, the loss on other rain."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from skdiffuse.cubes import Cube
from skdiffuse.cubes.cube import missing_everywhere
from skdiffuse.estimator.finiteness import refuse_broken_model, refuse_broken_weights
from skdiffuse.estimator.fitting import Preparation, latent_curve
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.runtime.double import home_of_double
from skdiffuse.training import Budget, LatentCurve, reconstruct_average
from skdiffuse.training.checkpoints import unflatten

__all__ = ["Learnt", "TrainingCallbacks", "denoising_loss", "reaverage", "train"]


@dataclass(frozen=True)
class Learnt:
    """What a training has come to.

    Attributes
    ----------
    model : RainModel
        With averaged weights.
    history : list of dict
    n_iter : int
    n_skipped : int
    """

    model: RainModel
    history: list[dict[str, float]]
    n_iter: int
    n_skipped: int


class TrainingCallbacks(Protocol):
    """Who is told of a training's progress, and may end it; in the first process only."""

    def begin(self, n_epochs: int) -> None:
        """Training begins and takes so many epochs at most."""

    def after_epoch(self, learnt: Callable[[], Learnt]) -> bool:
        """An epoch is over; True ends the training."""

    def end(self, learnt: Learnt) -> None:
        """Training is over."""


def train(
    preparation: Preparation,
    max_steps: int,
    max_time: float | None,
    callbacks: TrainingCallbacks,
    keep: Callable[[Learnt], None],
    *,
    watched: bool = False,
) -> None:
    """Run a training, and hand over what it has learnt however it ends.

    Parameters
    ----------
    preparation : Preparation
    max_steps : int
    max_time : float or None
        Seconds.
    callbacks : TrainingCallbacks
    keep : callable
        Takes what was learnt, also when the training is interrupted.
    watched : bool
        Whether somebody looks at the weights after each epoch.
    """
    trainer = preparation.trainer
    is_first = trainer.processes.is_first
    if is_first:
        callbacks.begin(math.ceil(max_steps / trainer.windows.steps_per_epoch))

    def after_epoch() -> bool:
        learnt = lambda: _learnt(preparation)  # noqa: E731
        if trainer.sharded and watched:
            # Here and now, where all processes are: weights are put together by all.
            now = learnt()
            learnt = lambda: now  # noqa: E731
        stop = is_first and callbacks.after_epoch(learnt)
        return bool(trainer.processes.from_first(torch.tensor([int(stop)])))

    trainer.on_epoch = after_epoch
    learnt: Learnt | None = None
    try:
        trainer.run(Budget(max_steps, max_time))
    finally:
        trainer.on_epoch = None
        if trainer.is_together:
            learnt = _learnt(preparation)
            keep(learnt)
    if is_first and learnt is not None:
        callbacks.end(learnt)


def _learnt(preparation: Preparation) -> Learnt:
    model, trainer = preparation.model, preparation.trainer
    averaged = trainer.averaged
    latent = model.latent
    if isinstance(averaged.encode, LatentCurve):
        latent = _with_curve(latent, averaged.encode)
    corruption = averaged.corruption if averaged.beside is None else averaged.corruption.settled()
    model = replace(model, latent=latent, network=averaged.network, corruption=corruption)
    if not trainer.sharded:
        # A network that no device holds would be tried on the CPU, by every process.
        refuse_broken_model(model, trainer.learning_rate)
    return Learnt(model, trainer.history, trainer.step, trainer.skipped_steps)


def _with_curve(latent: LatentSpace, encode: LatentCurve) -> LatentSpace:
    """The latent by a trained curve, with the centre and scale that it was trained on."""
    frozen = copy.deepcopy(latent.transformer).freeze(encode.curve)
    centre, scale = encode.moments()
    return replace(latent, transformer=frozen, centre=centre, scale=scale)


def reaverage(
    model: RainModel, checkpoint_dir: str | Path | None, relative_width: float, n_iter: int
) -> RainModel:
    """The model with weights averaged over another share of its training.

    Parameters
    ----------
    model : RainModel
    checkpoint_dir : str, Path or None
        Where the training left its snapshots.
    relative_width : float
        See `skdiffuse.training.reconstruct_average`.
    n_iter : int
        Steps of the training.
    """
    folder = "checkpoint_dir=None" if checkpoint_dir is None else checkpoint_dir
    state = reconstruct_average(folder, relative_width, n_iter)
    network = copy.deepcopy(model.network)
    network.load_state_dict(unflatten("network", state))
    latent = model.latent
    if curve := unflatten("encode.curve", state):
        encode = latent_curve(latent)
        encode.curve.load_state_dict(curve)
        latent = _with_curve(latent, encode)
    corruption = model.corruption
    if beside := unflatten("beside", state):
        corruption = corruption.with_tensors(beside).settled()
    # Errors were measured with other weights.
    averaged = replace(model, network=network, latent=latent, corruption=corruption, errors=None)
    refuse_broken_weights(averaged, f"The average with relative_width={relative_width!r}")
    return averaged


def denoising_loss(
    model: RainModel,
    cube: Cube,
    *,
    n_draws: int,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> float:
    """Mean v-loss on the windows of a cube side by side; see `PrecipDiffusion.denoising_loss`."""
    jobs = [job for job in model.tiles(cube) for _ in range(n_draws)]
    generator = torch.Generator().manual_seed(seed)
    log_snr = model.schedule.draw(len(jobs), generator)
    network: nn.Module = model.network.to(device)
    total = weight = 0.0
    for first in range(0, len(jobs), batch_size):
        batch = jobs[first : first + batch_size]
        latent = model.latent.encode(torch.from_numpy(cube.stack(batch, model.n_frames)))
        x = model.corruption.encode(latent)
        noise = model.corruption.noises(len(x), tuple(x.shape[1:]), generator)
        known = torch.isfinite(x).flatten(1).sum(1)
        with torch.no_grad():
            losses = model.corruption.loss(
                network,
                x.to(device),
                log_snr[first : first + len(batch)].to(home_of_double(device)),
                noise.to(device),
            )
        total += float((losses.cpu() * known).sum())
        weight += float(known.sum())
    if weight == 0:
        raise missing_everywhere(cube.name)
    return total / weight
