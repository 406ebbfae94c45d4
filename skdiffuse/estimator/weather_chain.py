"""How weather goes on from one window to the next."""

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


@dataclass(frozen=True, eq=False)
class WeatherChain:
    """A Markov chain of the classes of overlapping windows of a series.

    The laws are joint and smoothed, and have the frequencies of the classes on either side: a chain
    drawn with them has these frequencies however long it is.

    Attributes
    ----------
    later : Tensor of float64, shape (n_lags, J, J)
        ``later[l - 1, i, j]``: probability that a window is of class i and the one that begins l
        frames later of class j.

    References
    ----------
    Deming and Stephan, "On a least squares adjustment of a sampled frequency table when the
    expected marginal totals are known" (1940): proportional fitting.

    Examples
    --------
    Weather that stays twice as often as it changes:

    >>> later = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]]) / 6
    >>> WeatherChain(later).after(torch.tensor([0, 1]), lag=1)
    tensor([[0.6667, 0.3333],
            [0.3333, 0.6667]], dtype=torch.float64)
    """

    later: Tensor

    def after(self, classes: Tensor, lag: int) -> Tensor:
        """Probabilities (n, J) for the windows that begin `lag` frames later than some classes'."""
        rows = self.later[lag - 1].double()[classes]
        return rows / rows.sum(1, keepdim=True)

    def tensors(self) -> dict[str, Tensor]:
        """For a file."""
        return {"later": self.later}


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
    counts = [torch.zeros_like(frequencies.outer(frequencies)) for _ in range(n_frames)]
    squares = total = torch.zeros((), dtype=torch.float64)
    for rain, weights in stretches:
        weights = weights.double()
        total, squares = total + weights.sum(), squares + weights.square().sum()
        member = _classes_along(classes, rain, n_frames)
        n_starts = member.shape[1]
        each = weights[:, None].expand_as(member)
        for lag, found in enumerate(counts[: n_starts - 1], 1):
            now, then = member[:, :-lag], member[:, lag:]
            known = (now >= 0) & (then >= 0)
            pair = now[known] * len(found) + then[known]
            share = each[:, lag:][known] / (n_starts - lag)
            found += torch.bincount(pair, share, found.numel()).reshape_as(found)
    little = PRIOR_WINDOWS * squares / total.square() * frequencies
    counted = takewhile(lambda found: bool(found.sum() > 0), counts)
    laws = [_with_margins(found / found.sum() + little, frequencies) for found in counted]
    return WeatherChain(torch.stack(laws) if laws else torch.empty(0, *counts[0].shape))


def _classes_along(classes: WeatherClasses, rain: Tensor, n_frames: int) -> Tensor:
    """Classes (n, starts) of the windows that begin at each frame; -1 where nothing is known.

    Mean and mean square are had from sums over frames, each of which is taken once.
    """
    known = torch.isfinite(rain)
    values = torch.where(known, rain, 0.0).flatten(2)
    sums = torch.stack(
        [
            known.flatten(2).sum(2).double(),
            values.sum(2, dtype=torch.float64),
            torch.linalg.vector_norm(values, dim=2, dtype=torch.float64).square(),
        ]
    )
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
