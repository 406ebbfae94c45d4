"""One step of training: what chance decides in it, and its gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from skdiffuse.corruptions import Corruption, GaussianCorruption
from skdiffuse.diffusion import NoiseSchedule
from skdiffuse.runtime.double import home_of_double
from skdiffuse.runtime.seeds import derived_seed
from skdiffuse.training.known_cells import random_known_cells
from skdiffuse.training.precision import LossScale
from skdiffuse.training.processes import Processes, whole

__all__ = ["add_gradients", "clip_gradients", "step_draws"]


def step_draws(
    seed: int,
    step: int,
    places: range,
    batch_size: int,
    window_shape: tuple[int, int, int],
    schedule: NoiseSchedule,
    *,
    amortised: bool = False,
    corruption: Corruption | None = None,
) -> dict[str, Tensor]:
    """Noise levels, noise and, for an amortised training, known cells of a step.

    They follow from the seed, the step's number and the place in the batch, whoever works on it.

    Parameters
    ----------
    seed, step : int
    places : range
        Which windows of the batch.
    batch_size : int
    window_shape : tuple of int
        Frames, rows and columns.
    schedule : NoiseSchedule
    amortised : bool, default=False
        Whether cells are known; see `random_known_cells`.
    corruption : Corruption, optional
        Whose noise it is; None: Gaussian.

    Returns
    -------
    dict of Tensor
        ``log_snr`` of shape (n,), ``noise`` of shape (n, frames, y, x) and, where cells are known,
        ``known``, likewise.

    Examples
    --------
    >>> from skdiffuse.diffusion import TruncatedCosineSchedule
    >>> schedule = TruncatedCosineSchedule()
    >>> batch = step_draws(0, 7, range(4), 4, (2, 8, 8), schedule)
    >>> half = step_draws(0, 7, range(1, 4, 2), 4, (2, 8, 8), schedule)
    >>> bool((batch["noise"][1::2] == half["noise"]).all())
    True
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, step, 1))
    corruption = GaussianCorruption() if corruption is None else corruption
    x_shape = corruption.shape(window_shape)
    noise = [
        corruption.noise(x_shape, torch.Generator().manual_seed(derived_seed(seed, step, 2, place)))
        for place in places
    ]
    draws = {
        # Stratified over the whole batch.
        "log_snr": schedule.draw(batch_size, generator)[list(places)],
        "noise": torch.stack(noise),
    }
    if amortised:
        shape = (1, *window_shape)
        known = [random_known_cells(shape, derived_seed(seed, step, 3, k)) for k in places]
        draws["known"] = torch.cat(known)
    return draws


def add_gradients(
    module: nn.Module,
    batch: Mapping[str, Tensor],
    batch_size: int,
    *,
    parts: int,
    device: torch.device,
    processes: Processes,
    scale: float,
) -> Tensor:
    """Add the gradients of a batch to those of the parameters, and give its losses.

    Parameters
    ----------
    module : torch.nn.Module
        A `TrainingObjective`, joined with those of other processes.
    batch : mapping of str to Tensor
        What `module` is given, and the ``weights`` of the windows.
    batch_size : int
        Of all processes together.
    parts : int
        In which the batch is worked through; gradients are added up.
    device : torch.device
    processes : Processes
    scale : float
        Factor of the gradients; see `LossScale`.

    Returns
    -------
    Tensor of shape (2,), float64
        This process's share of the mean v-loss and stretch loss.
    """
    losses = torch.zeros(2, dtype=torch.float64)
    n_parts = min(parts, len(batch["weights"]))
    pieces = zip(*(tensor.tensor_split(n_parts) for tensor in batch.values()), strict=True)
    for number, tensors in enumerate(pieces):
        given = dict(zip(batch, tensors, strict=True))
        # Log-SNRs are in double precision, wherever that is computed.
        level = given.pop("log_snr").to(home_of_double(device), non_blocking=True)
        given = {name: each.to(device, non_blocking=True) for name, each in given.items()}
        given["log_snr"] = level
        weights = given.pop("weights")
        with processes.keep_gradients(module, number < n_parts - 1):
            weighted = [(weights * each).sum() for each in module(**given)]
            # Processes' gradients are averaged, and together they are to give the sum.
            (sum(weighted) / batch_size * (processes.count * scale)).backward()
        losses += torch.stack([each.detach() for each in weighted]).cpu().double() / batch_size
    return losses


def clip_gradients(
    optimizer: torch.optim.Optimizer, loss_scale: LossScale, largest: float
) -> list[float]:
    """Undo the scale of the gradients, clip the norm of each group's, and give the norms.

    Each group by itself: a steep curve must not brake the network, nor the other way round.
    """
    norms = []
    for group in optimizer.param_groups:
        loss_scale.undo(group["params"])
        norms.append(whole(nn.utils.clip_grad_norm_(group["params"], largest)).item())
    return norms
