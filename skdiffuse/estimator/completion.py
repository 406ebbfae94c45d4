"""Filling in sequences of any length, window by window."""

from collections.abc import Callable

import torch
from torch import Tensor

from skdiffuse.runtime.seeds import derived_seed

__all__ = ["complete"]


def complete(
    rain: Tensor,
    draw: Callable[[Tensor, Tensor, list[int]], Tensor],
    *,
    n_frames: int,
    seeds: list[tuple[int, ...]],
) -> Tensor:
    """Fill in the unknown cells of sequences of any number of frames.

    A window of `n_frames` moves along the sequences in steps of half its length; what an earlier
    window has filled in is known to the later ones. Shorter sequences are continued by unknown
    frames up to `n_frames`, so that the network sees what it was trained on.

    Parameters
    ----------
    rain : Tensor of shape (n, time, y, x)
        In mm/h, NaN where unknown.
    draw : callable
        ``draw(rain, known, seeds)`` fills in sequences of `n_frames` frames.
    n_frames : int
    seeds : list of tuple of int
        What identifies each of the n sequences; the window's number is added to it.

    Returns
    -------
    Tensor of the shape of `rain`, without NaN

    Examples
    --------
    >>> import torch
    >>> def zeros(rain, known, seeds):
    ...     return torch.where(known, rain, 0.0)
    >>> nan = float("nan")
    >>> complete(torch.tensor([1.0, nan]).reshape(1, 2, 1, 1), zeros, n_frames=4,
    ...          seeds=[(0,)]).flatten()
    tensor([1., 0.])
    """
    length = rain.shape[1]
    missing = max(0, n_frames - length)
    unknown = rain.new_full((len(rain), missing, *rain.shape[2:]), torch.nan)
    rain = torch.cat([rain, unknown], dim=1)
    last = rain.shape[1] - n_frames
    starts = [*range(0, last, max(1, n_frames // 2)), last]
    for number, start in enumerate(starts):
        window = rain[:, start : start + n_frames]
        known = torch.isfinite(window)
        if known[:, : length - start].all():
            continue
        drawn = draw(window, known, [derived_seed(*seed, number) for seed in seeds])
        rain[:, start : start + n_frames] = torch.where(known, window, drawn)
    return rain[:, :length]
