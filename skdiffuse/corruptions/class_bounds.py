"""What a denoiser of classes is trained on, and the bound of the likelihood that it gives."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from skdiffuse.corruptions.categorical import ClassChain, MaskingChain
from skdiffuse.corruptions.class_denoisers import ClassDenoiser
from skdiffuse.diffusion import RandomStreams

__all__ = ["bound_of_step", "class_bound", "class_cross_entropy", "masking_bound"]


def class_cross_entropy(
    logits: Tensor, classes: Tensor, states: Tensor, chain: ClassChain
) -> Tensor:
    """Cross-entropy of each sequence: its mean over the cells of which there is a question.

    With masks those are the masked cells. As each mean counts alike whatever their number, what is
    minimised is, per cell, the bound of the likelihood itself: with a share u of the cells masked
    the bound weights their sum by 1 / u. With substitutions all cells may have been changed.

    Parameters
    ----------
    logits : Tensor of shape (n, ..., n_classes)
    classes : int64 Tensor of shape (n, ...)
        -1 where missing, which does not count.
    states : int64 Tensor of shape (n, ...)
        What the classes were corrupted to.

    Returns
    -------
    Tensor of shape (n,)
        In nats; 0 for a sequence without any such cell.
    """
    each = F.cross_entropy(logits.movedim(-1, 1), classes, ignore_index=-1, reduction="none")
    asked = classes >= 0
    if isinstance(chain, MaskingChain):
        asked = asked & (states == chain.mask)
    asked = asked.flatten(1)
    return (each.flatten(1) * asked).sum(1) / asked.sum(1).clamp(min=1)


def bound_of_step(
    chain: ClassChain,
    probabilities: Tensor,
    classes: Tensor,
    states: Tensor,
    share: Tensor | float,
    share_next: Tensor | float,
) -> Tensor:
    """Kullback-Leibler divergence of one step back, of each cell in nats.

    Between the exact posterior of the next state and what the denoiser's probabilities give for it;
    where the next state is the data this is the cross-entropy of what has been corrupted.

    Parameters
    ----------
    probabilities : Tensor of shape (..., n_classes)
    classes, states : int64 Tensor of shape (...)
        Data, -1 where missing, and what it was corrupted to.
    share, share_next : float
        What survives now, and in the next state.

    Returns
    -------
    float64 Tensor of shape (...)
        0 where missing.
    """
    here = classes >= 0
    data, now = classes.clamp(min=0), states.clamp(min=0)
    truth = chain.posterior(share, share_next).to(classes.device)[data, now]
    guess = chain.law_back(probabilities.double(), now, share, share_next)
    divergence = torch.xlogy(truth, truth) - torch.xlogy(truth, guess)
    return (divergence.sum(-1) * here).clamp(min=0)


@torch.no_grad()
def class_bound(
    denoiser: ClassDenoiser,
    classes: Tensor,
    shares: Tensor,
    chain: ClassChain,
    streams: RandomStreams,
) -> Tensor:
    """Lower bound of the log-probability of class maps, with one draw for each step.

    Parameters
    ----------
    denoiser : callable
        ``(states, share) -> logits``.
    classes : int64 Tensor of shape (n, ...)
        -1 where missing.
    shares : Tensor of shape (n_steps + 1,)
        What survives, increasing to 1; one evaluation for each step.
    chain : ClassChain
    streams : RandomStreams of length n

    Returns
    -------
    float64 Tensor of shape (n,)
        In nats. Its expectation is the bound, which is exact for one cell and an exact denoiser,
        and tightens with the number of steps for several.
    """
    shares = checked_shares(shares)
    last = chain.cumulative(shares[0])
    prior = torch.xlogy(last, last) - torch.xlogy(last, chain.stationary)
    here = classes >= 0
    of_class = prior.sum(-1).clamp(min=0).to(classes.device)
    total = (of_class[classes.clamp(min=0)] * here).flatten(1).sum(1)
    for share, share_next in pairwise(shares):
        noise = streams.normal(classes.shape[1:]).to(classes.device)
        states = chain.corrupt(classes, share, noise)
        probabilities = denoiser(states, share).double().softmax(-1)
        of_step = bound_of_step(chain, probabilities, classes, states, share, share_next)
        total = total + of_step.flatten(1).sum(1)
    return -total


@torch.no_grad()
def masking_bound(
    denoiser: ClassDenoiser,
    classes: Tensor,
    n_draws: int,
    chain: MaskingChain,
    streams: RandomStreams,
) -> Tensor:
    r"""Lower bound of the log-probability in continuous time, for masks.

    :math:`-\int_0^1 \frac{du}{u} E \sum_{masked} -\log p(x_0 | x_u)`, u the masked share; an
    exact denoiser of single cells gives the exact probability. For each draw the number of masked
    cells is stratified from 1 to all, and so many are masked.

    Parameters
    ----------
    denoiser, classes, streams
        As in `class_bound`.
    n_draws : int
        Evaluations of the denoiser.
    chain : MaskingChain

    Returns
    -------
    float64 Tensor of shape (n,)
        In nats; its expectation is the bound.
    """
    here = (classes >= 0).flatten(1)
    cells = here.sum(1)
    total = classes.new_zeros(len(classes), dtype=torch.float64)
    for k in range(n_draws):
        u = torch.special.ndtr(streams.normal((1,)).double())[:, 0].to(classes.device)
        n_masked = ((k + u) / n_draws * cells).floor().clamp(max=cells - 1) + 1
        order = streams.normal((math.prod(classes.shape[1:]),)).to(classes.device)
        rank = order.masked_fill(~here, math.inf).argsort(1).argsort(1)
        masked = (rank < n_masked[:, None]) & here
        states = torch.where(masked.reshape(classes.shape), chain.mask, classes)
        logits = denoiser(states, 1 - n_masked.double() / cells.clamp(min=1)).double()
        each = F.cross_entropy(logits.movedim(-1, 1), classes, ignore_index=-1, reduction="none")
        mean = (each.flatten(1) * masked).sum(1) / n_masked.clamp(min=1)
        total = total + mean * cells / n_draws
    return -total


def checked_shares(shares: Tensor) -> Tensor:
    """Shares that survive, increasing to 1.

    Raises
    ------
    ValueError
        If they do not.
    """
    shares = torch.as_tensor(shares, dtype=torch.float64, device="cpu")
    right = shares.ndim == 1 and len(shares) > 1 and bool((shares.diff() > 0).all())
    if not right or shares[0] < 0 or shares[-1] != 1:
        raise ValueError(
            f"shares={shares.tolist()!r} must increase from at least 0 to 1; take "
            "torch.linspace(0, 1, n_steps + 1)."
        )
    return shares
