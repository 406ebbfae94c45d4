"""Fitting a `MixturePrior` to windows: classes by how much and how unevenly it rains."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skdiffuse.networks.mixture_prior import MixturePrior
from skdiffuse.networks.spectral import spectral_transform, wave_numbers

__all__ = ["WeatherClasses", "fit_mixture"]

# Shares of the windows that the driest class leaves to the others and that the wettest has.
WETTER_THAN_DRIEST, WETTEST = 0.6, 0.004
# A variance is not to be had from fewer windows.
FEWEST_WINDOWS = 4
# Quantiles by which the means of the windows of a class are kept.
N_QUANTILES = 33
# Latents have a variance about 1; below a thousandth of their range nothing is resolved. Where it
# never rains this keeps v, which divides by standard deviations, from amplifying rounding errors.
LEAST_POWER = 1e-6


@dataclass(frozen=True, eq=False)
class WeatherClasses:
    """Which class a window belongs to: by its mean, and within that by how uneven it is.

    Attributes
    ----------
    edges : Tensor of shape (n - 1,)
        Means at which the next class begins.
    unevenness_edges : Tensor of shape (n, m - 1)
        Ratios of root mean square to mean at which the next of m parts of each class begins.
    numbers : int64 Tensor of shape (n, m)
        Number of each class from 0; those with too few windows share that of a neighbour.
    means : Tensor of shape (J, q)
        Quantiles, at equal steps from the least to the largest, of the means of the windows of
        each class; between them the law is linear, and its mean is that of the class.
    """

    edges: Tensor
    unevenness_edges: Tensor
    numbers: Tensor
    means: Tensor

    @classmethod
    def fit(
        cls,
        mean: Tensor,
        unevenness: Tensor,
        weights: Tensor,
        n_classes: int = 8,
        n_parts: int = 1,
    ) -> "WeatherClasses":
        """Edges at quantiles of windows.

        Parameters
        ----------
        mean, unevenness, weights : Tensor of shape (n,)
            Of each window; see `describe`.
        n_classes : int
            Classes by mean: the driest has 40 % of the windows, the wettest 0.4 %.
        n_parts : int
            Equally frequent parts of each class by unevenness.
        """
        if n_classes < 1 or n_parts < 1:
            raise ValueError(f"n_classes={n_classes} and n_parts={n_parts} must be at least 1.")
        # At ties, such as windows without any rain, a class begins above.
        wetter = torch.logspace(
            math.log10(WETTER_THAN_DRIEST), math.log10(WETTEST), n_classes - 1, dtype=torch.float64
        )
        edges = _quantiles(mean, weights, 1 - wetter)
        by_mean = torch.searchsorted(edges, mean)
        levels = torch.arange(1, n_parts, dtype=torch.float64) / n_parts
        unevenness_edges = torch.full((n_classes, n_parts - 1), torch.inf, dtype=mean.dtype)
        for k in range(n_classes):
            inside = by_mean == k
            if n_parts > 1 and inside.any():
                unevenness_edges[k] = _quantiles(unevenness[inside], weights[inside], levels)
        numbers = torch.arange(n_classes * n_parts).reshape(n_classes, n_parts)
        found = cls(edges, unevenness_edges, numbers, mean.new_empty(0, 0))
        count = torch.bincount(found.of(mean, unevenness), minlength=numbers.numel())
        found = replace(found, numbers=_without_rare(count)[numbers])
        member = found.of(mean, unevenness)
        each = (member == j for j in range(int(found.numbers.max()) + 1))
        return replace(found, means=torch.stack([_law_of(mean[m], weights[m]) for m in each]))

    def __call__(self, windows: Tensor) -> Tensor:
        """Class of each window of shape (n, frames, y, x), NaN where missing; -1 if all is."""
        mean, unevenness = (part.to(self.edges.device) for part in describe(windows))
        return torch.where(mean.isfinite(), self.of(mean.nan_to_num(), unevenness), -1)

    def of(self, mean: Tensor, unevenness: Tensor) -> Tensor:
        """Class for each of mean and unevenness of shape (n,)."""
        by_mean = torch.searchsorted(self.edges, mean.to(self.edges).contiguous())
        part = (unevenness.to(self.edges)[:, None] > self.unevenness_edges[by_mean]).sum(1)
        return self.numbers[by_mean, part]


def describe(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over known cells, NaN if there is none, and root mean square over absolute mean."""
    known = torch.isfinite(windows)
    values = torch.where(known, windows, 0.0).flatten(1)
    n = known.flatten(1).sum(1)
    mean = values.sum(1, dtype=torch.float64) / n
    rms = torch.linalg.vector_norm(values, dim=1, dtype=torch.float64) / n.double().sqrt()
    return mean, torch.where(mean == 0, 1.0, rms / mean.abs()).nan_to_num(1.0)


def fit_mixture(
    latents: Iterable[Tensor],
    weights: Iterable[Tensor],
    n_classes: int = 8,
    periodic: tuple[bool, bool, bool] = (False,) * 3,
    rates: Iterable[Tensor] | None = None,
    n_parts: int = 1,
) -> tuple[MixturePrior, WeatherClasses]:
    """Fit a mixture to windows.

    A class is known by the mean of its windows, so that nothing is iterated. Its mean is in the
    constant mode only, and its spectrum is averaged over rings of equal wave length in space, frame
    mode by frame mode, so that a few windows are enough.

    Parameters
    ----------
    latents : iterable of Tensor of shape (n, frames, y, x)
        Windows, NaN where missing, which is left out as far as a mean square can.
    weights : iterable of Tensor of shape (n,)
        What each window stands for.
    n_classes : int, default=8
        Classes by mean; fewer where windows are few or alike.
    periodic : tuple of bool
        See `spectral_transform`.
    rates : iterable of Tensor of shape (n, frames, y, x), optional
        The same windows in mm/h. If given, classes are told by these instead of by `latents`.
    n_parts : int, default=1
        Parts of each class by unevenness, the ratio of root mean square to mean.

    Returns
    -------
    prior : MixturePrior
    classes : WeatherClasses
        Tells the class of further windows, of rates if `rates` were given.

    Examples
    --------
    >>> import torch
    >>> windows = torch.randn(400, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> windows[160:] += 5
    >>> prior, classes = fit_mixture([windows], [torch.ones(400)], n_classes=2)
    >>> prior.weights, prior.mean.round()
    (tensor([0.4000, 0.6000]), tensor([-0., 5.]))
    >>> classes(windows[158:162])
    tensor([0, 0, 1, 1])
    """
    if n_parts > 1 and rates is None:
        raise ValueError(
            f"n_parts={n_parts} needs rates, which have a zero that unevenness can be told from."
        )
    # Mean, unevenness, weight, constant mode and spectrum.
    found: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
    bins: Tensor | None = None
    of_rates = () if rates is None else (rates,)
    for latent, w, *told in zip(latents, weights, *of_rates, strict=True):
        if bins is None:
            shape = latent.shape[1:]
            bins = _bins(shape, periodic).to(latent.device)
        w = w.double()
        known = torch.isfinite(latent).flatten(1).sum(1).double() / latent[0].numel()
        some = (known > 0) & (w > 0)
        latent, w, known = latent[some], w[some], known[some]
        level = describe(latent)
        described = describe(told[0][some]) if told else level
        anomaly = (latent - level[0].to(latent)[:, None, None, None]).nan_to_num(0.0)
        coefficients = spectral_transform(anomaly, periodic).flatten(1)
        square = coefficients.square()
        of_bins = square.new_zeros(len(square), int(bins.max()) + 1).index_add_(1, bins, square)
        # The share of missing cells is missing from the squares too.
        of_bins = of_bins.double() / known[:, None]
        found.append((*described, w * known, level[0], of_bins))
    if bins is None or not sum(w.sum() for _, _, w, _, _ in found) > 0:
        raise ValueError("latents hold no known cell with a positive weight.")
    mean, unevenness, weight, constant, spectra = (
        torch.cat(parts) for parts in zip(*found, strict=True)
    )
    classes = WeatherClasses.fit(mean, unevenness, weight, n_classes, n_parts)
    member = torch.nn.functional.one_hot(classes.of(mean, unevenness)).double() * weight[:, None]
    share = member.sum(0)
    member = member / share
    centre = member.T @ constant
    power = (member.T @ spectra / torch.bincount(bins))[:, bins]
    # The constant mode has been taken out: what is left of it is the spread of the means.
    spread = (member * (constant[:, None] - centre).square()).sum(0)
    power[:, 0] = spread * len(bins)
    power = power.clamp(min=LEAST_POWER).reshape(-1, *shape)
    return MixturePrior(share, centre, power, periodic), classes


def _bins(shape: tuple[int, int, int], periodic: tuple[bool, bool, bool]) -> Tensor:
    """Number of the bin of each mode, which is a row in time and a ring in space."""
    frames, *field = shape
    longest = max(field)
    y, x = (
        wave_numbers(n, whole_waves) * (longest / n)
        for n, whole_waves in zip(field, periodic[1:], strict=True)
    )
    ring = torch.hypot(y[:, None], x).round().long()
    row = wave_numbers(frames, periodic[0]).long()
    mode = (row[:, None, None] * (ring.max() + 1) + ring).flatten()
    return torch.unique(mode, return_inverse=True)[1]


def _quantiles(values: Tensor, weights: Tensor, levels: Tensor) -> Tensor:
    """Least values that at least a share `levels` of the weight does not exceed."""
    order = values.argsort()
    share = weights[order].cumsum(0) / weights.sum()
    index = torch.searchsorted(share, levels).clamp(max=len(values) - 1)
    return values[order][index]


def _law_of(values: Tensor, weights: Tensor) -> Tensor:
    """Quantiles at equal steps, between which a linear law has the mean of the values."""
    order = values.argsort()
    values, weights = values[order], weights[order] / weights.sum()
    centre = weights.cumsum(0) - weights / 2
    levels = torch.linspace(0, 1, N_QUANTILES, dtype=values.dtype)
    right = torch.searchsorted(centre, levels).clamp(1, max(len(values) - 1, 1))
    if len(values) == 1:
        return values.expand(N_QUANTILES).clone()
    left = right - 1
    share = ((levels - centre[left]) / (centre[right] - centre[left])).clamp(0, 1)
    law = torch.lerp(values[left], values[right], share)
    of_law = torch.trapezoid(law, levels)
    return law * ((weights @ values) / of_law) if of_law != 0 else law


def _without_rare(count: Tensor) -> Tensor:
    """New numbers of classes, where those with too few windows join a neighbour.

    Examples
    --------
    >>> import torch
    >>> _without_rare(torch.tensor([9, 1, 0, 9, 3]))
    tensor([0, 1, 1, 1, 1])
    """
    numbers: list[int] = []
    inside, number = 0, 0
    for n in count.tolist():
        if inside >= FEWEST_WINDOWS and n > 0:
            number, inside = number + 1, 0
        numbers.append(number)
        inside += n
    joined = torch.tensor(numbers)
    return joined.clamp(max=max(number - 1, 0)) if inside < FEWEST_WINDOWS else joined
