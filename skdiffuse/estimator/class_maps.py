"""Maps of classes by a fitted model of classes: drawn, completed and scored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from skdiffuse.corruptions import (
    ClassCorruption,
    KnownClasses,
    MaskingChain,
    NetworkClassDenoiser,
    class_bound,
    draw_back,
    draw_law,
    masking_bound,
)
from skdiffuse.diffusion import RandomStreams, sampling_grid
from skdiffuse.estimator.completion import complete
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.request import SamplingRequest
from skdiffuse.runtime.memory import in_batches

__all__ = ["class_map_bound", "complete_class_maps", "draw_class_maps"]

# Evaluations of the network for the bound of a window.
N_DRAWS = 32


def draw_class_maps(
    model: RainModel,
    request: SamplingRequest,
    shape: tuple[int, int, int],
    seeds: Sequence[int],
    known: Tensor | None = None,
) -> Tensor:
    """Draw sequences of class maps, one for each seed.

    Parameters
    ----------
    model : RainModel
        With a `ClassCorruption`.
    request : SamplingRequest
    shape : tuple of int
        Frames, rows and columns.
    seeds : sequence of int
    known : Tensor of shape (len(seeds), *shape), optional
        Classes, NaN where they are not known.

    Returns
    -------
    float32 Tensor of shape (len(seeds), *shape), on the CPU
    """
    corruption = corruption_of(model)
    grid = sampling_grid(model.schedule, request.n_steps, request.spacing)
    network = model.network.to(request.device)
    total = len(seeds) * len(grid)
    with tqdm(total=total, desc="sampling classes", disable=not request.verbose) as bar:

        def draw_batch(samples: slice) -> Tensor:
            streams = RandomStreams(seeds[samples])
            denoiser = corruption.denoiser(network)
            if known is not None:
                told = _fields(known[samples], corruption.n_classes).to(request.device)
                denoiser = KnownClasses(denoiser, told, corruption, streams)
            z = draw_law(corruption, corruption.shape(shape), streams).to(request.device)
            x = draw_back(
                corruption, denoiser, z, grid, streams, lambda *_: bar.update(len(streams))
            )
            return x.argmax(-3).float().cpu()

        return in_batches(draw_batch, len(seeds), request.batch_size)


def complete_class_maps(
    model: RainModel, request: SamplingRequest, classes: Tensor, number: int
) -> Tensor:
    """Complete sequences of class maps of any length, window by window.

    Parameters
    ----------
    model : RainModel
    request : SamplingRequest
    classes : Tensor of shape (n, time, y, x)
        NaN where unknown.
    number : int
        Of the realization.

    Returns
    -------
    Tensor, shape of classes
    """

    def draw(window: Tensor, known: Tensor, seeds: list[int], start: int) -> Tensor:
        told = torch.where(known, window, torch.nan)
        frames, rows, columns = window.shape[1:]
        return draw_class_maps(model, request, (frames, rows, columns), seeds, told)

    seeds: list[tuple[int, ...]] = [(request.seed, number, k) for k in range(len(classes))]
    return complete(classes, draw, n_frames=model.n_frames, seeds=seeds)


def class_map_bound(
    model: RainModel, classes: Tensor, streams: RandomStreams, device: torch.device
) -> Tensor:
    """Lower bounds of the log-probability of class maps, in nats.

    Parameters
    ----------
    model : RainModel
    classes : Tensor of shape (n, frames, y, x)
        NaN where missing, which does not count.
    streams : RandomStreams of length n
    device : torch.device

    Returns
    -------
    float64 Tensor of shape (n,), on the CPU
    """
    corruption = corruption_of(model)
    chain = corruption.chain
    denoiser = NetworkClassDenoiser(model.network.to(device), corruption)
    maps = torch.where(torch.isfinite(classes), classes, -1.0).long().to(device)
    if isinstance(chain, MaskingChain):
        return masking_bound(denoiser, maps, N_DRAWS, chain, streams).cpu()
    shares = torch.linspace(0, 1, N_DRAWS + 1, dtype=torch.float64)
    return class_bound(denoiser, maps, shares, chain, streams).cpu()


def corruption_of(model: RainModel) -> ClassCorruption:
    """The corruption of a model of classes."""
    corruption = model.corruption
    assert isinstance(corruption, ClassCorruption)
    return corruption


def _fields(classes: Tensor, n_classes: int) -> Tensor:
    """A field for each class, NaN where it is not known."""
    known = torch.isfinite(classes)
    fields = F.one_hot(torch.where(known, classes, 0).long(), n_classes).movedim(-1, -3)
    return torch.where(known[..., None, :, :], fields.float(), torch.nan)
