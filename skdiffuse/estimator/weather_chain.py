"""How weather goes on from one window to the next, and within one from its first frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from skdiffuse.networks import WeatherClasses

__all__ = ["WeatherChain", "fit_chain"]

# Windows that each class is taken to have been followed by, drawn from all, beside those counted:
# little, as the next of a rare class is seldom seen, and yet no class can be where none gets out.
PRIOR_WINDOWS = 0.1
# Of iterative proportional fitting, which comes nearer by a factor each time.
FITTING_STEPS = 200
TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True, eq=False)
class WeatherChain:
    """A Markov chain of the classes of overlapping windows of a series.

    The laws are joint and smoothed. Those of windows have the frequencies of the classes on either
    side: a chain drawn with them has these frequencies however long it is. What frames show that
    are there already says more of a window that begins with them than the class of the one before,
    which may be dry where these are wet: such frames have a class too, as if they were a window.

    Attributes
    ----------
    later : Tensor of float64, shape (n_lags, J, J)
        ``later[l - 1, i, j]``: probability that a window is of class i and the one that begins l
        frames later of class j.
    begun : Tensor of float64, shape (n_frames - 1, J, J)
        ``begun[o - 1, i, j]``: probability that the first o frames of a window are of class i and
        the window of class j.

    References
    ----------
    Deming and Stephan, "On a least squares adjustment of a sampled frequency table when the
    expected marginal totals are known" (1940): proportional fitting.

    Examples
    --------
    Weather that stays twice as often as it changes:

    >>> later = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]]) / 6
    >>> chain = WeatherChain(later, begun=torch.empty(0, 2, 2))
    >>> chain.after(torch.tensor([0, 1]), lag=1)
    tensor([[0.6667, 0.3333],
            [0.3333, 0.6667]], dtype=torch.float64)
    """

    later: Tensor
    begun: Tensor

    def after(self, classes: Tensor, lag: int) -> Tensor:
        """Probabilities (n, J) for the windows that begin `lag` frames later than some classes'."""
        return _rows(self.later[lag - 1], classes)

    def given_beginning(self, classes: Tensor, n_shared: int) -> Tensor:
        """Probabilities (n, J) for windows whose first `n_shared` frames are of some classes."""
        return _rows(self.begun[n_shared - 1], classes)

    def tensors(self) -> dict[str, Tensor]:
        """For a file."""
        return {"later": self.later, "begun": self.begun}


def fit_chain(
    classes: WeatherClasses,
    frequencies: Tensor,
    stretches: Iterable[tuple[Tensor, Tensor]],
    n_frames: int,
) -> WeatherChain:
    """Count what follows what in stretches of rain that are longer than a window.

    Parameters
    ----------
    classes : WeatherClasses
        Of windows in mm/h.
    frequencies : Tensor of shape (J,)
        Of each class.
    stretches : iterable of (Tensor of shape (n, frames, y, x), Tensor of shape (n,))
        Rain in mm/h, NaN where missing, all of one length, and what each stretch stands for. Of a
        length of ``n_frames + l`` the lags up to l are known, no more than `n_frames` of them.
    n_frames : int
        Of a window.
    """
    frequencies = frequencies.double()
    nothing = torch.zeros_like(frequencies.outer(frequencies))
    counts = [nothing.clone() for _ in range(n_frames)]
    begun = [nothing.clone() for _ in range(n_frames - 1)]
    squares = total = torch.zeros((), dtype=torch.float64)
    for rain, weights in stretches:
        weights = weights.double()
        total, squares = total + weights.sum(), squares + weights.square().sum()
        sums = _sums_of_frames(rain)
        member = _classes_along(classes, sums, n_frames)
        n_starts = member.shape[1]
        for lag, found in enumerate(counts[: n_starts - 1], 1):
            _count(found, member[:, :-lag], member[:, lag:], weights)
        for shared, found in enumerate(begun, 1):
            first = _classes_along(classes, sums, shared)[:, :n_starts]
            _count(found, first, member, weights)
    little = PRIOR_WINDOWS * squares / total.square() * frequencies
    counted = takewhile(lambda found: bool(found.sum() > 0), counts)
    laws = [_with_margins(found / found.sum() + little, frequencies) for found in counted]
    # Drawn from all, a window could be dry whose first frames are wet: a beginning that was never
    # seen goes on as it is.
    within = [found / found.sum().clamp(min=TINY) + torch.diag(little) for found in begun]
    within = [law * (frequencies / law.sum(0)) for law in within]
    return WeatherChain(_stacked(laws, nothing), _stacked(within, nothing))


def _rows(joint: Tensor, classes: Tensor) -> Tensor:
    rows = joint.double()[classes]
    return rows / rows.sum(1, keepdim=True)


def _stacked(laws: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(laws) if laws else like.new_empty(0, *like.shape)


def _count(found: Tensor, now: Tensor, then: Tensor, weights: Tensor) -> None:
    """Add pairs of classes (n, starts), each with its part of the weight of its stretch."""
    known = (now >= 0) & (then >= 0)
    pair = now[known] * len(found) + then[known]
    share = (weights / now.shape[1])[:, None].expand_as(now)[known]
    found += torch.bincount(pair, share, found.numel()).reshape_as(found)


def _sums_of_frames(rain: Tensor) -> Tensor:
    """How many cells are known of each frame, sum and sum of squares; shape (3, n, frames)."""
    known = torch.isfinite(rain)
    values = torch.where(known, rain, 0.0).flatten(2)
    return torch.stack(
        [
            known.flatten(2).sum(2).double(),
            values.sum(2, dtype=torch.float64),
            torch.linalg.vector_norm(values, dim=2, dtype=torch.float64).square(),
        ]
    )


def _classes_along(classes: WeatherClasses, sums: Tensor, n_frames: int) -> Tensor:
    """Classes (n, starts) of the windows that begin at each frame; -1 where nothing is known.

    From sums over frames, each of which is taken once however many windows it lies in.
    """
    n, total, square = sums.unfold(2, n_frames, 1).sum(-1)
    mean = total / n
    unevenness = torch.where(mean == 0, 1.0, (square / n).sqrt() / mean).nan_to_num(1.0)
    of_each = classes.of(mean.nan_to_num().flatten(), unevenness.flatten())
    return torch.where(n > 0, of_each.reshape_as(n), -1)


def _with_margins(joint: Tensor, margin: Tensor) -> Tensor:
    """A positive table scaled until its rows and its columns have the same given sums."""
    for _ in range(FITTING_STEPS):
        joint = joint * (margin / joint.sum(0))
        joint = joint * (margin / joint.sum(1))[:, None]
    return joint
