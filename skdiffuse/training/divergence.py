"""What becomes of a training whose numbers are no longer finite."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch

from skdiffuse.runtime.double import home_of_double
from skdiffuse.training.processes import Processes
from skdiffuse.training.state import TrainingState
from skdiffuse.training.steps import clip_gradients
from skdiffuse.training.termination import HeldInterrupt

__all__ = ["has_diverged", "take_step", "warn_of_skipped"]

MAX_BAD_STEPS = 20


def take_step(
    state: TrainingState, loss: float, gradient_clip: float, learning_rate: float
) -> float:
    """Take the step that the gradients ask for, unless they are not finite.

    Parameters
    ----------
    state : TrainingState
        With the gradients of its objective.
    loss : float
        That they are the gradients of.
    gradient_clip : float
        Largest norm of the gradient of each group of parameters.
    learning_rate : float
        For the message of the error.

    Returns
    -------
    float
        Norm of the first group's gradient, the network's.

    Raises
    ------
    FloatingPointError
        If loss or gradient was not finite many times in a row.
    """
    norms = clip_gradients(state.optimizer, state.loss_scale, gradient_clip)
    finite = all(math.isfinite(value) for value in (loss, *norms))
    with HeldInterrupt():
        state.is_whole = False
        state.step += 1
        if finite:
            state.update()
        elif not (math.isfinite(loss) and state.loss_scale.can_fall):
            state.skipped_steps += 1
            state.bad_in_a_row += 1
        state.loss_scale.update(finite)
        state.is_whole = True
    if state.bad_in_a_row >= MAX_BAD_STEPS:
        raise FloatingPointError(
            f"Loss or gradient was not finite in {MAX_BAD_STEPS} steps in a row (the last was step "
            f"{state.step}); lower learning_rate={learning_rate!r} or look for absurd values in X."
        )
    return norms[0]


def warn_of_skipped(skipped: int, step: int, learning_rate: float) -> None:
    """Warn whoever called the caller of steps that were not taken."""
    warnings.warn(
        f"{skipped} of {step} training steps were skipped because loss or gradient was not finite; "
        f"if they are many, lower learning_rate={learning_rate!r} or look for absurd values in X.",
        RuntimeWarning,
        stacklevel=3,
    )


def has_diverged(
    state: TrainingState,
    window_shape: tuple[int, int, int],
    device: torch.device,
    processes: Processes | None = None,
    log_snrs: Sequence[float] = (0.0,),
) -> bool:
    """Whether averaged weights, or what they make of noise where it is dry, are not finite.

    Weights can be so large that nothing finite comes of them.

    Parameters
    ----------
    state : TrainingState
    window_shape : tuple of int
        Frames, rows and columns.
    device : torch.device
    processes : Processes, optional
        Those that share the weights. All ask at the same time.
    log_snrs : sequence of float
        At which weights are tried; those that the network knows.
    """
    corruption = state.objective.corruption
    shape = corruption.shape(window_shape)
    noise = corruption.noises(1, shape, torch.Generator().manual_seed(0)).to(device)
    dry = torch.zeros(1, *window_shape, device=device)
    finite = state.is_finite()
    for level in log_snrs:
        log_snr = torch.full((1,), level, dtype=torch.float64, device=home_of_double(device))
        with torch.no_grad():
            losses = state.average.network(dry, log_snr, noise)
        finite = finite and all(bool(torch.isfinite(each)) for each in losses)
    broken = torch.tensor([float(not finite)])
    return bool((broken if processes is None else processes.sum(broken)).any())
