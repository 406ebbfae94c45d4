r"""Sequences and fields of any size, denoised all at once from windows of a limited one.

A network sees a window. For a Markov process whose windows overlap by at least its order the
density of the whole is ``prod p(window) / prod p(overlap)``, so that windows' scores are added and
overlaps' scores subtracted; as scores are affine in x_hat, and x_hat in v, so are predictions:

.. math:: \hat v = \sum_{windows} \hat v - \sum_{overlaps} \hat v .

That is exact for clean data. At a noise level the latent is not Markov itself, and what is further
off than the next window tells nothing: an error of second order in what reaches across an overlap.
An average of the windows, the usual way, has one of first order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["WindowedNetwork", "window_starts"]

# (start, stop, weight of each place)
Piece = tuple[int, int, Tensor]
# Sequence, piece along each axis, and class of weather of each sequence, if one is told.
Job = tuple[int, tuple[Piece, ...], Tensor | None]


class WindowedNetwork:
    """A network or denoiser for any size, evaluated in overlapping windows.

    Takes the place of the network: guidance, class guidance and samplers see the whole.

    Parameters
    ----------
    network : callable
        ``network(z, log_snr, ...)``, of the shape of z. It predicts v, eps, the score or x.
    window : tuple of int or None, length 3
        Frames, rows and columns of a window; None: all there are.
    overlap : tuple of int, length 3
        Least number of frames, rows and columns that neighbouring windows share.
    compose : bool, default=False
        True: windows minus overlaps, for a network that was trained on sequences as short as the
        overlaps too. False: an average of the windows, whose weight grows with the third power of
        the distance from the window's border, beyond which a window sees nothing.
    batch_size : int or None, default=None
        Most windows in one evaluation, which bounds the memory; None: all. Where gradients are
        taken, the windows are evaluated again on the way back instead of being kept.

    Examples
    --------
    >>> network = WindowedNetwork(lambda z, log_snr: z, window=(4, None, None), overlap=(2, 0, 0))
    >>> z = torch.randn(1, 9, 2, 2, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(network(z, torch.tensor(0.0)), z)
    True
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        window: Sequence[int | None],
        overlap: Sequence[int],
        *,
        compose: bool = False,
        batch_size: int | None = None,
    ) -> None:
        for name, size, shared in zip(("frames", "rows", "columns"), window, overlap, strict=True):
            if size is not None and not 0 <= shared < size:
                raise ValueError(
                    f"overlap of {shared} {name} must be at least 0 and less than the window's "
                    f"{size}."
                )
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r} must be at least 1.")
        self.network = network
        self.window = tuple(window)
        self.overlap = tuple(overlap)
        self.compose = compose
        self.batch_size = batch_size

    def __call__(
        self,
        z: Tensor,
        log_snr: Tensor,
        covariates: Tensor | None = None,
        labels: Tensor | None = None,
        weather: Tensor | None = None,
    ) -> Tensor:
        """Predict for z of shape (n, frames, y, x).

        `covariates` of shape (n, frames, c, y, x), where n, frames, y or x may be 1, are cut along
        with z; `labels` of shape (n,) hold in all windows. `weather` of shape (n, W) is the class
        of each of the W windows in time, and overlaps are told none: as a class follows from its
        window, ``p(whole | classes)`` is in proportion to ``prod p(window | class) / prod
        p(overlap)`` for the Markov process of above.
        """
        starts = window_starts(z.shape[1], self.window[0], self.overlap[0])
        if weather is not None and weather.shape != (len(z), len(starts)):
            raise ValueError(
                f"weather must be of shape ({len(z)}, {len(starts)}), a class for each sequence "
                f"of z and each window in time, got {tuple(weather.shape)}."
            )
        in_time, *in_space = (
            pieces_along(length, size, shared, self.compose)
            for length, size, shared in zip(z.shape[1:], self.window, self.overlap, strict=True)
        )
        groups: dict[tuple[int, ...], list[Job]] = {}
        for (part, classes), in_place in itertools.product(
            _told_in_time(in_time, starts, weather), itertools.product(*in_space)
        ):
            piece = part, *in_place
            shape = tuple(stop - start for start, stop, _ in piece)
            groups.setdefault(shape, []).extend((i, piece, classes) for i in range(len(z)))
        chunks = [
            jobs[first : first + (self.batch_size or len(jobs))]
            for jobs in groups.values()
            for first in range(0, len(jobs), self.batch_size or len(jobs))
        ]
        network = self.network
        if torch.is_grad_enabled() and z.requires_grad and len(chunks) > 1:
            network = partial(
                checkpoint, self.network, use_reentrant=False, preserve_rng_state=False
            )
        result = torch.zeros_like(z)
        for jobs in chunks:
            cut, level, told = _inputs(jobs, z, log_snr, covariates, labels)
            for (i, piece, _), predicted in zip(jobs, network(cut, level, **told), strict=True):
                (_, _, frames), (_, _, rows), (_, _, columns) = piece
                weight = frames[:, None, None] * rows[:, None] * columns
                result[_place(i, piece)] += weight.to(z) * predicted
        return result


def _told_in_time(
    pieces: Sequence[Piece], starts: Sequence[int], weather: Tensor | None
) -> list[tuple[Piece, Tensor | None]]:
    """Pieces in time, each with the classes of its window; -1 for overlaps, which come last."""
    if weather is None:
        return [(piece, None) for piece in pieces]
    unknown = torch.full_like(weather[:, 0], -1)
    return [
        (piece, weather[:, number] if number < len(starts) else unknown)
        for number, piece in enumerate(pieces)
    ]


def window_starts(length: int, size: int | None, overlap: int) -> list[int]:
    """Where windows of a size begin that cover a length and share at least `overlap`.

    Examples
    --------
    >>> window_starts(9, 4, 2)
    [0, 2, 4, 5]
    """
    if size is None or length <= size:
        return [0]
    return [*range(0, length - size, size - overlap), length - size]


def pieces_along(length: int, size: int | None, overlap: int, compose: bool) -> list[Piece]:
    """Windows, and overlaps if composed, along one axis, with weights whose sum is 1 everywhere.

    Examples
    --------
    >>> [(start, stop) for start, stop, _ in pieces_along(8, 4, 2, compose=True)]
    [(0, 4), (2, 6), (4, 8), (2, 4), (4, 6)]
    """
    if size is None or length <= size:
        return [(0, length, torch.ones(length, dtype=torch.float64))]
    starts = window_starts(length, size, overlap)
    last = starts[-1]
    if compose:
        ends = [(start, start + size, 1.0) for start in starts]
        shared = [(b, a + size, -1.0) for a, b in itertools.pairwise(starts) if b < a + size]
        return [
            (start, stop, torch.full((stop - start,), weight, dtype=torch.float64))
            for start, stop, weight in ends + shared
        ]
    from_border = torch.arange(size, dtype=torch.float64) + 0.5
    weights = []
    total = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        distance = torch.minimum(from_border, size - from_border)
        # The ends of the whole are no borders: nothing is cut off there.
        if start == 0:
            distance = torch.where(from_border < size / 2, size / 2, distance)
        if start == last:
            distance = torch.where(from_border > size / 2, size / 2, distance)
        weight = distance**3
        weights.append(weight)
        total[start : start + size] += weight
    return [
        (start, start + size, weight / total[start : start + size])
        for start, weight in zip(starts, weights, strict=True)
    ]


def _inputs(
    jobs: Sequence[Job],
    z: Tensor,
    log_snr: Tensor,
    covariates: Tensor | None,
    labels: Tensor | None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """What the network is given of each sequence and window."""
    samples = torch.tensor([i for i, _, _ in jobs], device=z.device)
    cut = torch.stack([z[_place(i, piece)] for i, piece, _ in jobs])
    level = log_snr if log_snr.ndim == 0 else log_snr[samples.to(log_snr.device)]
    told = {}
    if covariates is not None:
        told["covariates"] = torch.stack([_cut(covariates, i, piece) for i, piece, _ in jobs])
    if labels is not None:
        told["labels"] = labels[samples]
    weather = [classes[i] for i, _, classes in jobs if classes is not None]
    if weather:
        told["weather"] = torch.stack(weather)
    return cut, level, told


def _place(sample: int, piece: Sequence[Piece]) -> tuple[int | slice, ...]:
    return (sample, *_slices(piece))


def _slices(piece: Sequence[Piece]) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop, _ in piece)


def _cut(covariates: Tensor, sample: int, piece: Sequence[Piece]) -> Tensor:
    frames, rows, columns = (
        part if size > 1 else slice(None)
        for part, size in zip(
            _slices(piece),
            (covariates.shape[1], *covariates.shape[3:]),
            strict=True,
        )
    )
    return covariates[sample if len(covariates) > 1 else 0, frames, :, rows, columns]
