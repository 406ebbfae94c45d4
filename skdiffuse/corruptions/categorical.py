"""Chains that corrupt classes: masks and substitutions, with their exact posteriors.

Each cell holds one of K classes and jumps by itself, as a Markov chain in continuous time. The
clock is the share that survives, from 1, where nothing has happened, to 0, where nothing is left
but the chain's stationary law. Laws are tables in float64: rows go from a state, columns to one. A
denoiser gives the probabilities of the classes of each cell; `ClassChain.law_back` needs no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = [
    "RULES",
    "ClassChain",
    "MaskingChain",
    "OrdinalChain",
    "SubstitutionChain",
    "draw_states",
    "uniform",
]

# How a step back gets from an estimate of the data to the state at an earlier time.
RULES = ("posterior", "improved", "naive")


class ClassChain(ABC):
    r"""What becomes of classes until a share of them survives.

    Subclasses say which transition matrix goes with a share, `power`; the rest follows. Because
    chains are semigroups, the transition from share a to b is :math:`Q(b / a)`.

    Parameters
    ----------
    n_classes : int
        K, at least 2.

    Attributes
    ----------
    n_states : int
        Classes, and the mask if there is one.
    stationary : float64 Tensor of shape (n_states,)
        Law of each cell where nothing survives, whatever the data.

    References
    ----------
    Austin et al., "Structured denoising diffusion models in discrete state-spaces" (2021).
    Sahoo et al., "Simple and effective masked diffusion language models" (2024).
    """

    n_states: int
    stationary: Tensor

    def __init__(self, n_classes: int) -> None:
        if isinstance(n_classes, bool) or not isinstance(n_classes, int) or n_classes < 2:
            raise ValueError(f"n_classes={n_classes!r} must be an integer of at least 2.")
        self.n_classes = n_classes

    @abstractmethod
    def power(self, share: Tensor) -> Tensor:
        """Transition matrices of chains that survive with these shares.

        Parameters
        ----------
        share : float64 Tensor of shape (...)

        Returns
        -------
        Tensor of shape (..., n_states, n_states)
        """

    @abstractmethod
    def same_noise(self, share: Tensor, share_next: Tensor) -> Tensor:
        """Law of the next state, had it the noise that led from the data to the state now.

        This is the step F_s(x_0, F_t^-1(x_0, x_t)) of the unified model (eq. 10.10), which leads
        from noise to the data and never hence and forth; the marginals are those of the chain.

        Returns
        -------
        Tensor of shape (n_classes, n_states, n_states)
            By data, state, and next state.
        """

    def cumulative(self, share: Tensor | float) -> Tensor:
        """Law of the state given the data, of shape (..., n_classes, n_states)."""
        return self.power(_double(share))[..., : self.n_classes, :]

    def transition(self, share_next: Tensor | float, share: Tensor | float) -> Tensor:
        """Law of the state given that at a larger share, of shape (..., n_states, n_states)."""
        later, earlier = _double(share), _double(share_next)
        return self.power(torch.where(earlier > 0, later / earlier.where(earlier > 0, 1.0), 1.0))

    def posterior(self, share: Tensor | float, share_next: Tensor | float) -> Tensor:
        """Law of the next state given data and state, by Bayes.

        Returns
        -------
        Tensor of shape (n_classes, n_states, n_states)
            By data, state, and next state; zeros where the data never lead to that state.
        """
        way = self.transition(share_next, share)
        return _normalised(self.cumulative(share_next)[:, None, :] * way.T)

    def backward(
        self, share: Tensor | float, share_next: Tensor | float, rule: str = "posterior"
    ) -> Tensor:
        """Law of the next state given data and state, by a rule.

        Parameters
        ----------
        share, share_next : float
            What survives now, and in the next state, which is more: 0 <= share < share_next <= 1.
        rule : {"posterior", "improved", "naive"}
            Bayes; the noise that there is (eq. 10.10); or new noise whatever the state (eq. 10.8).
            All have the same marginals given the data.
        """
        now, then = _double(share), _double(share_next)
        if not 0 <= now < then <= 1:
            raise ValueError(
                f"share={float(now)} and share_next={float(then)} must be 0 <= share < share_next "
                "<= 1: steps back lead to the data, of which all survives."
            )
        if rule == "posterior":
            return self.posterior(now, then)
        if rule == "improved":
            return self.same_noise(now, then)
        if rule == "naive":
            return self.cumulative(then)[:, None, :].expand(-1, self.n_states, -1)
        raise ValueError(f"rule={rule!r} is unknown; choose one of {list(RULES)}.")

    def corrupt(self, classes: Tensor, share: Tensor | float, noise: Tensor) -> Tensor:
        """Draw states of which a share survives.

        Parameters
        ----------
        classes : int64 Tensor of shape (n, ...)
            -1 where missing, which stays so.
        share : float, or Tensor of shape () or (n,)
        noise : Tensor, shape of classes
            Standard normal.

        Returns
        -------
        int64 Tensor, shape of classes
        """
        table = self.cumulative(share).to(classes.device)
        here = classes.clamp(min=0)
        if table.ndim == 3:
            number = torch.arange(len(classes), device=classes.device)
            law = table[number.reshape(-1, *[1] * (classes.ndim - 1)), here]
        else:
            law = table[here]
        return torch.where(classes < 0, classes, draw_states(law, noise))

    def begin(self, noise: Tensor) -> Tensor:
        """Draw states of which nothing survives, from standard normal noise of their shape."""
        return draw_states(self.stationary.to(noise.device).expand(*noise.shape, -1), noise)

    def law_back(
        self,
        probabilities: Tensor,
        states: Tensor,
        share: Tensor | float,
        share_next: Tensor | float,
        rule: str = "posterior",
    ) -> Tensor:
        """Law of each cell's next state given what a denoiser says.

        Parameters
        ----------
        probabilities : Tensor of shape (..., n_classes)
            Of the data, given `states`.
        states : int64 Tensor of shape (...)
        share, share_next : float
        rule : str
            See `backward`.

        Returns
        -------
        Tensor of shape (..., n_states)
        """
        possible = self.consistent(probabilities, states, share)
        by_state = self.backward(share, share_next, rule).to(possible).transpose(0, 1)[states]
        return (possible[..., None] * by_state).sum(-2)

    def consistent(self, probabilities: Tensor, states: Tensor, share: Tensor | float) -> Tensor:
        """Return the probabilities of the data without what never leads to the states."""
        reaches = self.reaches(share).to(probabilities)[states]
        possible = probabilities * reaches
        # A denoiser that gives nothing to all that is possible is not asked.
        possible = torch.where(possible.sum(-1, keepdim=True) > 0, possible, reaches)
        return possible / possible.sum(-1, keepdim=True)

    def reaches(self, share: Tensor | float) -> Tensor:
        """Whether a state may have come of a class, of shape (n_states, n_classes)."""
        return (self.cumulative(share) > 0).T


class MaskingChain(ClassChain):
    """Cells lose their class and hold a mask, state number K, from then on.

    Posterior and "improved" rule agree: what is masked gets its class back once, and what is not
    stays as it is (seed 11.5, in which one of t masks is lifted at a time).

    Examples
    --------
    >>> chain = MaskingChain(2)
    >>> chain.cumulative(0.75)
    tensor([[0.7500, 0.0000, 0.2500],
            [0.0000, 0.7500, 0.2500]], dtype=torch.float64)
    >>> chain.posterior(0.5, 0.75)[0, 2]
    tensor([0.5000, 0.0000, 0.5000], dtype=torch.float64)
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__(n_classes)
        self.n_states = n_classes + 1
        self.stationary = torch.eye(self.n_states, dtype=torch.float64)[n_classes]

    @property
    def mask(self) -> int:
        """State of a masked cell."""
        return self.n_classes

    def power(self, share: Tensor) -> Tensor:
        """See `ClassChain.power`."""
        return _jump_to(self.stationary, share)

    def posterior(self, share: Tensor | float, share_next: Tensor | float) -> Tensor:
        """See `ClassChain.posterior`; what is not masked stays, however little survives."""
        now, then = _double(share), _double(share_next)
        k = self.n_classes
        lifted = (then - now) / (1 - now)
        table = torch.eye(self.n_states, dtype=torch.float64).repeat(k, 1, 1)
        table[:, k] *= 1 - lifted
        table[range(k), k, range(k)] = lifted
        return table

    def reaches(self, share: Tensor | float) -> Tensor:
        """See `ClassChain.reaches`."""
        each = torch.eye(self.n_classes, dtype=torch.bool)
        return torch.cat([each, torch.ones(1, self.n_classes, dtype=torch.bool)])

    def same_noise(self, share: Tensor, share_next: Tensor) -> Tensor:
        """See `ClassChain.same_noise`."""
        return self.posterior(share, share_next)


class SubstitutionChain(ClassChain):
    """Cells change to a class drawn from one law, whatever they were.

    The "improved" rule is that of the editing model (seed 11.4): a cell is replaced once, by
    another class, and goes back to its own. With K classes a share 1 - 1/K of the cells differs
    from the data at the end, and not all: a class that is none of the data's tells of them.

    Parameters
    ----------
    n_classes : int
    law : array of shape (n_classes,), optional
        What cells change to; default: all classes alike.

    Examples
    --------
    >>> SubstitutionChain(2).cumulative(0.5)
    tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]], dtype=torch.float64)
    """

    def __init__(self, n_classes: int, law: ArrayLike | None = None) -> None:
        super().__init__(n_classes)
        self.n_states = n_classes
        self.stationary = _checked_law(law, n_classes)

    def power(self, share: Tensor) -> Tensor:
        """See `ClassChain.power`."""
        return _jump_to(self.stationary, share)

    def same_noise(self, share: Tensor, share_next: Tensor) -> Tensor:
        """See `ClassChain.same_noise`."""
        k = self.n_classes
        stays = (1 - share_next) / (1 - share)
        each = torch.eye(k, dtype=torch.float64)
        return stays * each[None] + (1 - stays) * each[:, None]


class OrdinalChain(ClassChain):
    r"""Cells change to the next class up or down, so that little noise makes a near class.

    A birth-and-death chain with the generator :math:`G_{ij} \propto \min(1, \pi_j / \pi_i)` for
    neighbours, whose slowest mode has the share that survives. The "improved" rule keeps the
    quantile of each cell: classes are ordered, and one uniform number leads from the data to all
    their states.

    Parameters
    ----------
    n_classes : int
    law : array of shape (n_classes,), optional
        Law where nothing survives, without zeros; default: all classes alike.

    Examples
    --------
    >>> OrdinalChain(3).cumulative(0.9)[0]
    tensor([0.9048, 0.0903, 0.0048], dtype=torch.float64)
    """

    def __init__(self, n_classes: int, law: ArrayLike | None = None) -> None:
        super().__init__(n_classes)
        self.n_states = n_classes
        self.stationary = _checked_law(law, n_classes)
        root = self.stationary.sqrt()
        between = torch.minimum(self.stationary[:-1], self.stationary[1:])
        flow = torch.diag(between, 1) + torch.diag(between, -1)
        generator = flow / self.stationary[:, None]
        generator = generator - torch.diag(generator.sum(1))
        symmetric = root[:, None] * generator / root
        values, vectors = torch.linalg.eigh((symmetric + symmetric.T) / 2)
        rates = -values.flip(0)
        rates[0] = 0.0
        self.rates = rates / rates[1]
        self._left = vectors.flip(1) / root[:, None]
        self._right = vectors.flip(1).T * root

    def power(self, share: Tensor) -> Tensor:
        """See `ClassChain.power`."""
        left = share[..., None] ** self.rates
        law = ((self._left * left[..., None, :]) @ self._right).clamp(min=0)
        # Rounding is no way to a class, and a class that nothing has left is a class by itself.
        law = torch.where(share[..., None, None] == 1, torch.eye(self.n_states).double(), law)
        return law / law.sum(-1, keepdim=True)

    def same_noise(self, share: Tensor, share_next: Tensor) -> Tensor:
        """See `ClassChain.same_noise`."""
        now, then = self.cumulative(share)[:, :, None], self.cumulative(share_next)[:, None, :]
        upto_now, upto_then = now.cumsum(1), then.cumsum(2)
        below = torch.maximum(upto_now - now, upto_then - then)
        return _normalised((torch.minimum(upto_now, upto_then) - below).clamp(min=0))


def draw_states(law: Tensor, noise: Tensor) -> Tensor:
    """States by their laws and standard normal noise.

    Parameters
    ----------
    law : Tensor of shape (..., n)
        Weights, which need not sum to 1.
    noise : Tensor of shape (...)

    Examples
    --------
    >>> draw_states(torch.tensor([[0.2, 0.8], [0.2, 0.8]]), torch.tensor([-2.0, 0.0]))
    tensor([0, 1])
    """
    upto = law.double().cumsum(-1)
    total = upto[..., -1:]
    found = (upto <= uniform(noise)[..., None] * total).sum(-1)
    # Rounding never leads to a state without weight.
    return torch.minimum(found, (upto < total).sum(-1))


def uniform(noise: Tensor) -> Tensor:
    """Standard normal noise as float64 numbers from 0 to 1."""
    return torch.special.ndtr(noise.double())


def _double(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64, device="cpu")


def _normalised(weights: Tensor) -> Tensor:
    """Weights with a sum of 1, or 0 where there are none."""
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights / total.where(total > 0, 1.0), 0.0)


def _jump_to(law: Tensor, share: Tensor) -> Tensor:
    """Stay with the share, or jump to a state drawn from a law."""
    share = share[..., None, None]
    return share * torch.eye(len(law), dtype=torch.float64) + (1 - share) * law


def _checked_law(law: ArrayLike | None, n_classes: int) -> Tensor:
    if law is None:
        return torch.full((n_classes,), 1 / n_classes, dtype=torch.float64)
    values = np.asarray(law, dtype=np.float64)
    if values.shape != (n_classes,) or not (values > 0).all() or not np.isfinite(values).all():
        raise ValueError(
            f"law={law!r} must hold a positive share for each of the {n_classes} classes; add a "
            "little to classes that never occur."
        )
    return torch.from_numpy(values / values.sum())
