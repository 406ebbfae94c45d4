"""How weather goes on: from one window to the next, and from the first frames to the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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

    All laws are joint and smoothed, and have the frequencies of the classes of windows on either
    side: a chain drawn with them has these frequencies however long it is.

    Attributes
    ----------
    later : Tensor of float64, shape (n_lags, J, J)
        ``later[l - 1, i, j]``: probability that a window is of class i and the one that begins l
        frames later of class j.
    begun : Tensor of float64, shape (n_frames - 1, J, J)
        ``begun[k - 1, i, j]``: probability that the first k frames of a window, taken for a window,
        are of class i, and the whole is of class j.

    References
    ----------
    Deming and Stephan, "On a least squares adjustment of a sampled frequency table when the
    expected marginal totals are known" (1940): proportional fitting.

    Examples
    --------
    Weather that stays twice as often as it changes:

    >>> later = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]]) / 6
    >>> WeatherChain(later, torch.empty(0, 2, 2)).after(torch.tensor([0, 1]), lag=1)
    tensor([[0.6667, 0.3333],
            [0.3333, 0.6667]], dtype=torch.float64)
    """

    later: Tensor
    begun: Tensor

    def after(self, classes: Tensor, lag: int) -> Tensor:
        """Probabilities (n, J) for the windows that begin `lag` frames later than some classes'."""
        return _rows(self.later[lag - 1], classes)

    def given_beginning(self, classes: Tensor, n_frames: int) -> Tensor:
        """Probabilities (n, J) of windows whose first `n_frames` frames are of some classes."""
        return _rows(self.begun[n_frames - 1], classes)

    def tensors(self) -> dict[str, Tensor]:
        """For a file."""
        return {"later": self.later, "begun": self.begun}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> WeatherChain:
        """What `tensors` gave."""
        return cls(tensors["later"], tensors["begun"])


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
    later: dict[int, Tensor] = {}
    begun = torch.zeros(n_frames - 1, len(frequencies), len(frequencies), dtype=torch.float64)
    squares = total = torch.zeros((), dtype=torch.float64)
    for rain, weights in stretches:
        weights = weights.double()
        total, squares = total + weights.sum(), squares + weights.square().sum()
        moments = _Moments(rain)
        length = rain.shape[1]
        member = [moments.classes(classes, s, s + n_frames) for s in range(length - n_frames + 1)]
        for lag in range(1, min(n_frames, len(member) - 1) + 1):
            found = later.setdefault(lag, torch.zeros_like(frequencies.double().outer(frequencies)))
            for now, then in zip(member[:-lag], member[lag:], strict=True):
                _count(found, now, then, weights / (len(member) - lag))
        for k in range(1, n_frames):
            for start, whole in enumerate(member):
                part = moments.classes(classes, start, start + k)
                _count(begun[k - 1], part, whole, weights / len(member))
    n_windows = float(total.square() / squares)

    def smoothed(counts: Tensor, rows: Tensor) -> Tensor:
        share = counts / counts.sum()
        share = share + PRIOR_WINDOWS / n_windows * frequencies.double()
        return _with_margins(share, rows, frequencies.double())

    stationary = [smoothed(later[lag], frequencies.double()) for lag in sorted(later)]
    of_parts = [c.sum(1) / c.sum() + PRIOR_WINDOWS / n_windows for c in begun]
    return WeatherChain(
        torch.stack(stationary),
        torch.stack(
            [smoothed(c, rows / rows.sum()) for c, rows in zip(begun, of_parts, strict=True)]
        )
        if n_frames > 1
        else begun,
    )


class _Moments:
    """Sums over frames, from which the class of any stretch of them follows at once."""

    def __init__(self, rain: Tensor) -> None:
        known = torch.isfinite(rain)
        values = torch.where(known, rain, 0.0).double()
        self.up_to = torch.stack(
            [
                torch.nn.functional.pad(each.flatten(2).sum(2).cumsum(1), (1, 0))
                for each in (known.double(), values, values.square())
            ]
        )

    def classes(self, classes: WeatherClasses, start: int, stop: int) -> Tensor:
        """Of the frames from `start` to `stop`; -1 if nothing is known of them."""
        n, total, square = self.up_to[..., stop] - self.up_to[..., start]
        mean, rms = total / n, (square / n).sqrt()
        unevenness = torch.where(mean == 0, 1.0, rms / mean).nan_to_num(1.0)
        return torch.where(n > 0, classes.of(mean.nan_to_num(), unevenness), -1)


def _count(counts: Tensor, now: Tensor, then: Tensor, weights: Tensor) -> None:
    known = (now >= 0) & (then >= 0)
    counts.index_put_((now[known], then[known]), weights[known], accumulate=True)


def _with_margins(joint: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A positive table scaled in rows and columns to given sums."""
    for _ in range(FITTING_STEPS):
        joint = joint * (columns / joint.sum(0))
        joint = joint * (rows / joint.sum(1))[:, None]
    return joint


def _rows(joint: Tensor, classes: Tensor) -> Tensor:
    rows = joint.double()[classes]
    return rows / rows.sum(1, keepdim=True)
