"""Denoisers of classes, ``(states, share) -> logits``: what they are, and an exact one."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from skdiffuse.corruptions.categorical import ClassChain

__all__ = ["ClassDenoiser", "ExactClassDenoiser"]


class ClassDenoiser(Protocol):
    """What gives logits of shape (n, ..., n_classes) for states of shape (n, ...).

    Their softmax are the probabilities of each cell's class, given all states together and the
    share that survives, a float64 tensor, 0-D or (n,).
    """

    def __call__(self, states: Tensor, share: Tensor) -> Tensor: ...


class ExactClassDenoiser:
    """The true probabilities of each cell's class, for data that take few patterns.

    Parameters
    ----------
    patterns : int64 Tensor of shape (m, ...)
    probabilities : Tensor of shape (m,)
    chain : ClassChain

    Examples
    --------
    >>> from skdiffuse.corruptions.categorical import MaskingChain
    >>> patterns = torch.tensor([[0, 0], [1, 1]])
    >>> exact = ExactClassDenoiser(patterns, torch.tensor([0.25, 0.75]), MaskingChain(2))
    >>> exact(torch.tensor([[2, 2], [0, 2]]), torch.tensor(0.5)).softmax(-1)[:, 1]
    tensor([[0.2500, 0.7500],
            [1.0000, 0.0000]], dtype=torch.float64)
    """

    def __init__(self, patterns: Tensor, probabilities: Tensor, chain: ClassChain) -> None:
        self.patterns = patterns
        self.log_prior = probabilities.double().log()
        self.chain = chain

    def posterior(self, states: Tensor, share: Tensor | float) -> Tensor:
        """Probability of each pattern, of shape (n, m)."""
        table = self.chain.cumulative(share).log()
        table = table.expand(len(states), *table.shape[-2:])
        number = torch.arange(len(states)).reshape(-1, *[1] * states.ndim)
        each = table[number, self.patterns[None], states[:, None]]
        law = (self.log_prior + each.flatten(2).sum(-1)).softmax(-1)
        # What steps of several cells led to may have come from no pattern at all.
        return torch.where(law.isfinite(), law, self.log_prior.exp())

    def __call__(self, states: Tensor, share: Tensor | float) -> Tensor:
        """Logits of shape (n, ..., n_classes)."""
        classes = F.one_hot(self.patterns, self.chain.n_classes).double()
        weights = self.posterior(states, share)
        return torch.tensordot(weights, classes, dims=1).log()
