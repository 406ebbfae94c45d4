"""Maps of classes drawn so many cells at a time: the improved samplers of the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from skdiffuse.corruptions.categorical import (
    ClassChain,
    MaskingChain,
    SubstitutionChain,
    draw_states,
)
from skdiffuse.corruptions.class_denoisers import ClassDenoiser
from skdiffuse.diffusion import RandomStreams

__all__ = ["edit", "sample_by_count", "unmask"]


@torch.no_grad()
def sample_by_count(
    denoiser: ClassDenoiser,
    shape: Sequence[int],
    n_steps: int,
    chain: ClassChain,
    streams: RandomStreams,
    *,
    begin: Tensor | None = None,
    n_changed: int | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw class maps by the improved samplers of the seeds, some cells at a time.

    Masks: so many of the masked cells, at random, get a class (seed 11.5). Substitutions: so many
    of the cells that have been changed are changed back (seed 11.4), of which only the number is
    known. With one cell at a time both are exact given exact probabilities of single cells.

    Parameters
    ----------
    denoiser : callable
        ``(states, share) -> logits``.
    shape : sequence of int
        Of one map.
    n_steps : int
        Number of steps, at most that of the cells.
    chain : MaskingChain or SubstitutionChain
    streams : RandomStreams of length n
    begin : int64 Tensor of shape (n, *shape), optional
        States to begin with; default: drawn from the chain's law.
    n_changed : int, optional
        Cells that are changed at the beginning. Default: all for masks. For substitutions the seed
        says all as well, but a map in which every cell differs from the data still tells of them
        and does not follow the chain's law: default is the number expected there, (1 - 1/K) of the
        cells.

    Returns
    -------
    int64 Tensor of shape (n, *shape)

    Raises
    ------
    ValueError
        If the chain is neither masking nor substitution by classes all alike: of others the
        number of changed cells says too little.
    """
    is_masking = isinstance(chain, MaskingChain)
    alike = isinstance(chain, SubstitutionChain) and bool(
        (chain.stationary == chain.stationary[0]).all()
    )
    if not (is_masking or alike):
        raise ValueError(
            f"cells cannot be counted back along {type(chain).__name__} with its law: take steps "
            "by the share that survives, or MaskingChain or SubstitutionChain without law=."
        )
    k, n_cells = chain.n_classes, math.prod(shape)
    if n_changed is None:
        n_changed = n_cells if is_masking else round(n_cells * (1 - 1 / k))
    states = chain.begin(streams.normal(shape).to(device)) if begin is None else begin
    counts = torch.linspace(n_changed, 0, min(n_steps, n_changed) + 1).round().int().tolist()
    for now, then in pairwise(counts):
        jumped = now / n_cells if is_masking else now / n_cells * k / (k - 1)
        share = torch.tensor(max(1 - jumped, 0.0), dtype=torch.float64)
        probabilities = denoiser(states, share).double().softmax(-1)
        step = unmask if is_masking else edit
        states = step(probabilities, states, now - then, streams)
    return states


def unmask(probabilities: Tensor, states: Tensor, n_cells: int, streams: RandomStreams) -> Tensor:
    """Give classes to some of the masked cells, chosen evenly.

    Parameters
    ----------
    probabilities : Tensor of shape (n, ..., n_classes)
        Of the class of each cell.
    states : int64 Tensor of shape (n, ...)
    n_cells : int
        Masked cells of each map to be given a class.
    streams : RandomStreams of length n
    """
    shape, mask = states.shape[1:], probabilities.shape[-1]
    order = streams.normal(shape).to(states.device).masked_fill(states != mask, math.inf)
    chosen = _first(order, n_cells) & (states == mask)
    drawn = draw_states(probabilities, streams.normal(shape).to(states.device))
    return torch.where(chosen, drawn, states)


def edit(probabilities: Tensor, states: Tensor, n_cells: int, streams: RandomStreams) -> Tensor:
    """Change some cells back to what they were, each with a class that differs from its state.

    With exact probabilities of single cells, and one cell to be changed of c that have been, the
    pair of cell and class has the probability p(x_i = class | states) / c: estimating a whole map
    that differs in c places, as the seed does, and taking one of them is the same.

    Parameters
    ----------
    probabilities : Tensor of shape (n, ..., n_classes)
    states : int64 Tensor of shape (n, ...)
    n_cells : int
        Cells of each map to be changed.
    streams : RandomStreams of length n
    """
    shape = states.shape[1:]
    others = probabilities * (1 - F.one_hot(states, probabilities.shape[-1]))
    # Exponential waiting times with the rates of change: the first to ring are those changed.
    u = torch.special.ndtr(streams.normal(shape).double()).to(states.device)
    waiting = -u.clamp(min=1e-300).log() / others.sum(-1)
    chosen = _first(waiting, n_cells) & (others.sum(-1) > 0)
    drawn = draw_states(others, streams.normal(shape).to(states.device))
    return torch.where(chosen, drawn, states)


def _first(order: Tensor, n: int) -> Tensor:
    """Which cells of each map are the first n in an order."""
    rank = order.flatten(1).argsort(1).argsort(1)
    return (rank < n).reshape(order.shape)
