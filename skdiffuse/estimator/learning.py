"""What belongs to learning beside `fit` itself: other averages, the loss on other rain."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial
from typing import Self

import torch
from sklearn.callback import CallbackContext
from sklearn.utils.validation import check_is_fitted

from skdiffuse.cubes import validate_cube
from skdiffuse.runtime.seeds import integer_seed
from skdiffuse.training import Budget, Trainer, masked_v_loss, reconstruct_average
from skdiffuse.training.checkpoints import unflatten

__all__ = ["RainLearner"]


class RainLearner:
    """The learning half of `PrecipDiffusion`, beside `fit`."""

    def denoising_loss(self, X, *, n_draws=1, random_state=0) -> float:
        """Mean v-loss on rain that was not trained on; lower is better.

        A model that predicts the mean of v everywhere has the loss 1 if the latent has unit
        variance, and so has the best denoiser that looks at each cell alone and is linear.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h; cut into windows side by side that do not overlap.
        n_draws : int, default=1
            Draws of noise and log-SNR for each window.
        random_state : int or RandomState, default=0
            The same noise for every model that is to be compared.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        cube = validate_cube(X, n_frames=self.n_frames)
        shape = tuple(min(a, b) for a, b in zip(self.field_shape_, cube.field_shape, strict=True))
        jobs = [job for job in cube.tiles(self.n_frames, shape) for _ in range(n_draws)]
        generator = torch.Generator().manual_seed(integer_seed(random_state))
        log_snr = self.schedule_.draw(len(jobs), generator)
        total = weight = 0.0
        for first in range(0, len(jobs), self.batch_size):
            batch = jobs[first : first + self.batch_size]
            latent = self.latent_.encode(torch.from_numpy(cube.stack(batch, self.n_frames)))
            noise = torch.randn(latent.shape, generator=generator)
            known = torch.isfinite(latent).flatten(1).sum(1)
            device = self._device()
            with torch.no_grad():
                losses = masked_v_loss(
                    self.network_.to(device),
                    latent.to(device),
                    log_snr[first : first + len(batch)].to(device),
                    noise.to(device),
                )
            total += float((losses.cpu() * known).sum())
            weight += float(known.sum())
        return total / weight

    def _train(self, trainer: Trainer, X) -> None:
        """Run a training, and take what it has learnt.

        Of processes that share it the first one alone calls scikit-learn's callbacks.
        """
        per_epoch = trainer.windows.steps_per_epoch
        max_steps = self.max_steps or self.max_epochs * per_epoch
        context = None
        if trainer.processes.is_first:
            context = self._init_callback_context(max_subtasks=math.ceil(max_steps / per_epoch))
            context.call_on_fit_task_begin(estimator=self, X=X)
        trainer.on_epoch = partial(self._after_epoch, context, trainer, X)
        try:
            trainer.run(Budget(max_steps, self.max_time))
        finally:
            trainer.on_epoch = None
            if not trainer.sharded:
                self._trainer = trainer
            if trainer.is_together:
                learnt = self._learnt(trainer)
                vars(self).update(learnt)
        if context is not None:
            context.call_on_fit_task_end(
                estimator=self, X=X, reconstruction_attributes=lambda: learnt
            )

    def _after_epoch(self, context: CallbackContext | None, trainer: Trainer, X) -> bool:
        """Let scikit-learn's callbacks see the model; True if one wants to stop."""
        learnt = partial(self._learnt, trainer)
        if trainer.sharded and hasattr(self, "_skl_callbacks"):
            # Here and now, where all processes are: weights are put together by all.
            learnt = partial(dict, learnt())
        stop = False
        if context is not None:
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=self, X=X)
            stop = epoch.call_on_fit_task_end(estimator=self, X=X, reconstruction_attributes=learnt)
        return bool(trainer.processes.from_first(torch.tensor([int(stop)])))

    def _learnt(self, trainer: Trainer) -> dict[str, object]:
        """Fitted attributes as training has them now."""
        averaged = trainer.averaged
        transformer, latent = self.transformer_, self.latent_
        if averaged.curve is not None:
            # Centre and scale are those of the trained curve: it was trained on them.
            transformer = copy.deepcopy(transformer).freeze(averaged.curve)
            latent = replace(latent, transformer=transformer)
        return {
            "transformer_": transformer,
            "latent_": latent,
            "schedule_": self.schedule_,
            "template_": self.template_,
            "field_shape_": self.field_shape_,
            "told_": self.told_,
            "network_": averaged.network,
            "history_": trainer.history,
            "n_iter_": trainer.step,
            "n_skipped_": trainer.skipped_steps,
        }

    def reaverage(self, relative_width: float) -> Self:
        """Take the weights averaged over another share of the training, after it.

        Parameters
        ----------
        relative_width : float
            Standard deviation of the averaged stretch as a fraction of the training, from about
            0.02 to 0.25; `fit` uses 0.1. See `skdiffuse.training.reconstruct_average`.

        Returns
        -------
        self : object
            `network_` and, if it was trained, `transformer_` are replaced.

        Raises
        ------
        FileNotFoundError
            If the training kept no snapshots: it needs ``average_snapshots=True`` and a
            `checkpoint_dir`.
        """
        check_is_fitted(self)
        folder = "checkpoint_dir=None" if self.checkpoint_dir is None else self.checkpoint_dir
        state = reconstruct_average(folder, relative_width, self.n_iter_)
        self.network_.load_state_dict(unflatten("network", state))
        if curve := unflatten("encode.curve", state):
            module = self.transformer_.trainable_module()
            module.load_state_dict(curve)
            self.transformer_.freeze(module)
        return self
