r"""Cold diffusion: rain is blurred, or averaged over growing blocks, and made sharp again.

.. math:: z = B(\lambda)\, x + \sigma(\lambda)\, s\, \epsilon

with B a smoothing of the fields, from the identity at ``log_snr = +inf`` to each frame's mean at
``-inf``, and ``s = noise_level``, which may be 0. Estimated is x (Su, eqs. 11.12 to 11.14). Back
goes

.. math:: z_s = B_s \hat x + \sqrt{1 - f^2}\,\frac{\sigma_s}{\sigma_t} (z_t - B_t \hat x)
          + f \sigma_s s\, \epsilon

with ``f = fresh``: 1 is the paper's naive sampling (eq. 11.15), 0 its improved one (eq. 11.16,
"TACoS"), where without noise the ratio of the sigmas is taken as 1, its limit for constant sigma.
For f = 0 and s > 0 it is the ODE ``dz = B' x_hat + sigma' eps_hat``, which keeps all marginals if
x_hat is the posterior mean. Where nothing is blurred (``width=0``) that is ``dz / dsigma =
-sigma grad log p``, Su's eq. 12.17, whose densities obey the heat equation (12.12, 12.13).

Sources: Bansal et al. (2022), "Cold diffusion"; Rissanen et al. (2023), "Generative modelling with
inverse heat dissipation"; Hoogeboom and Salimans (2023), "Blurring diffusion models".
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from skdiffuse.corruptions.corruption import Corruption, Field, of_each
from skdiffuse.corruptions.cosine_basis import blur
from skdiffuse.diffusion import Denoiser, sigma

__all__ = ["BlurCorruption", "CoarseGrainingCorruption", "ColdCorruption"]

# Windows whose means are kept as the law at the noisy end.
MOST_MEANS = 4096


@dataclass(frozen=True)
class ColdCorruption(Corruption):
    """What blur and coarse-graining have in common; see the module's docstring.

    Parameters
    ----------
    width : float
        How many cells are smeared over at ``log_snr = 0``; the fourth root of the signal-to-noise
        ratio divides it elsewhere, so that all scales get the same share of the log-SNRs. 0
        smooths nothing, and noise is all there is.
    noise_level : float
        Standard deviation of the noise at the noisy end, in units of the latent; 0 for none.
    fresh : float
        Share of new noise in each step back, from 0 (improved sampling) to 1 (naive).
    norm : {1, 2}
        Of the error in training. 2 makes the estimate the expectation, 1, as in the paper, the
        median, which is dry wherever it is mostly dry.
    of_rain : bool
        Whether `PrecipDiffusion` smooths rain in mm/h, and not its latent: a corrupted field is
        then the one of a coarser grid, which ``method="restoration"`` needs.

    Notes
    -----
    The steps back are exact for the posterior mean as long as smoothing is linear in what is
    estimated. ``of_rain`` gives that up where the transform is a curve: what is smoothed of an
    expected root is less than the expected root of what is smoothed, and free sequences come out
    too dry. It is meant for going back from a coarse field, whose means are then restored.

    The noisy end is one of the training windows' sequences of means, drawn at random, beside the
    noise: windows of another shape have no law.
    """

    width: float = 8.0
    noise_level: float = 1.0
    fresh: float = 0.0
    norm: int = 2
    of_rain: bool = False
    means: Tensor | None = field(default=None, repr=False, compare=False)
    decode_smoothly: Field | None = field(default=None, repr=False, compare=False)
    encode_rain: Field | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, highest in ("width", math.inf), ("noise_level", math.inf), ("fresh", 1.0):
            value = getattr(self, name)
            if not 0 <= value <= highest or math.isinf(value):
                raise ValueError(
                    f"{name}={value!r} must be a finite number of at least 0"
                    + (f" and at most {highest:g}." if highest < math.inf else ".")
                )
        if self.norm not in (1, 2):
            raise ValueError(f"norm={self.norm!r} must be 1 or 2.")
        if self.noise_level == 0 and self.width == 0:
            raise ValueError(
                "width=0 and noise_level=0 leave everything as it is; raise one of them."
            )

    @property
    def capabilities(self) -> frozenset[str]:  # type: ignore[override]
        able = {"cells", "expectation"} if self.norm == 2 else {"cells"}
        able |= {"restoration"} if self.of_rain and self.width else set()
        return frozenset(able | (set() if self.width else {"any_shape"}))

    # What it learns of the data

    def bound(self, decode: Field, encode: Field) -> Self:
        if not self.of_rain:
            return self
        return replace(self, decode_smoothly=decode, encode_rain=encode)

    def fit(self, latents: Iterable[Tensor], seed: int = 0) -> Self:
        if self.width == 0:
            return self
        means: list[Tensor] = []
        for batch in latents:
            known = batch[torch.isfinite(batch).flatten(1).any(1)]
            means.extend(self.degrade(known, torch.tensor(-torch.inf))[..., 0, 0])
            if len(means) >= MOST_MEANS:
                break
        if not means:
            raise ValueError("X has no window with a known cell, of which to learn mean rain.")
        return replace(self, means=torch.stack(means[:MOST_MEANS]))

    def tensors(self) -> dict[str, Tensor]:
        return {} if self.means is None else {"means": self.means}

    def with_tensors(self, tensors: dict[str, Tensor]) -> Self:
        return replace(self, means=tensors.get("means"))

    # On the way to noise

    @abstractmethod
    def smooth(self, field: Tensor, log_snr: Tensor) -> Tensor:
        """``B field``, which keeps the mean of each frame."""

    @abstractmethod
    def log_snr_of(self, factor: int) -> float:
        """Log-SNR at which a field is as smooth as means over `factor` by `factor` cells."""

    def degrade(self, x: Tensor, log_snr: Tensor) -> Tensor:
        """Smooth x, as rain if so asked; unknown cells are as the others."""
        log_snr = torch.as_tensor(log_snr, dtype=torch.float64)
        if self.width == 0 or bool((log_snr == torch.inf).all()):
            return _filled(x)
        rain = _filled(x) if self.decode_smoothly is None else self.decode_smoothly(_filled(x))
        smooth = self.smooth(rain, log_snr)
        # Rounding makes dry cells negative, of which there is no root.
        return smooth if self.encode_rain is None else self.encode_rain(smooth.clamp(min=0))

    def corrupt(self, x: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        return self.degrade(x, log_snr) + of_each(self.noise_std(log_snr), x) * noise

    def noise_std(self, log_snr: Tensor) -> Tensor:
        """Return ``s sigma``, in float64."""
        return self.noise_level * sigma(log_snr)

    def law(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        noise = self.noise_level * torch.randn(shape, generator=generator)
        if self.width == 0:
            return noise
        if self.means is None:
            raise ValueError(
                f"{self!r} knows no mean rain to start from before fit(latents); fit it first."
            )
        if shape[0] != self.means.shape[1]:
            raise ValueError(
                f"{self!r} starts from mean rain of {self.means.shape[1]} frames, and {shape[0]} "
                "were asked for; leave out shape, or fit with as many frames."
            )
        chosen = torch.randint(len(self.means), (), generator=generator)
        return self.means[chosen].to(noise)[:, None, None] + noise

    def begin_at(self, coarse: Tensor, factor: int, noise: Tensor) -> tuple[Tensor, float]:
        """Return the z that means over blocks take the place of, and the log-SNR at which they do.

        Parameters
        ----------
        coarse : Tensor of shape (n, frames, y / factor, x / factor)
            In mm/h, or in latent units where the way to mm/h is not known; NaN where missing.
        factor : int
            Cells along each side of a block.
        noise : Tensor of shape (n, frames, y, x)
        """
        log_snr = self.log_snr_of(factor)
        field = coarse.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
        field = _filled(field if self.encode_rain is None else self.encode_rain(field))
        return field + float(self.noise_std(torch.tensor(log_snr))) * noise, log_snr

    # What the network learns, and the way back

    def loss(self, network: Denoiser, x: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        known = torch.isfinite(x)
        z = self.corrupt(x, log_snr, noise)
        error = torch.where(known, self.estimate(network(z, log_snr), z, log_snr) - x, 0)
        error = error / of_each(self.detail(log_snr), x)
        each = error.square() if self.norm == 2 else error.abs()
        return each.flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)

    def estimate(self, prediction: Tensor, z: Tensor, log_snr: Tensor) -> Tensor:
        """What z tells linearly, and the prediction in units of the detail that is missing.

        The mean of a frame is never smoothed away and the noise in it is little, so that it is
        taken from z as it is: left to the network it would be learnt last.
        """
        mean = z.mean((-2, -1), keepdim=True)
        noise_over_signal = self.noise_level**2 * torch.exp(-torch.as_tensor(log_snr).double())
        linear = mean + of_each(1 / (1 + noise_over_signal), z) * (z - mean)
        return linear + of_each(self.detail(log_snr), z) * prediction

    def detail(self, log_snr: Tensor) -> Tensor:
        """Rough standard deviation of what z does not tell of a field of unit variance.

        Of rain about as much variance lies between one width and twice that as between the next
        two, and what a kernel narrower than a cell takes away goes with its width's square. Noise
        hides as much as its own size.
        """
        width = self.width * torch.exp(-torch.as_tensor(log_snr, dtype=torch.float64) / 4)
        noise = self.noise_std(log_snr)
        smoothed = 1 / (1 + 1 / width) / (1 + width**-1.5) ** 2 if self.width else 0.0
        return torch.sqrt(smoothed + noise**2 / (1 + noise**2))

    def step_back(
        self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor, noise: Tensor
    ) -> Tensor:
        if torch.isinf(log_snr_next):
            return x_hat
        std = self.noise_std(log_snr_next)
        kept = float(std / self.noise_std(log_snr)) if self.noise_level else 1.0
        residual = z - self.degrade(x_hat, log_snr)
        remains = math.sqrt(1 - self.fresh**2) * kept * residual
        return self.degrade(x_hat, log_snr_next) + remains + float(self.fresh * std) * noise


@dataclass(frozen=True)
class BlurCorruption(ColdCorruption):
    """Blur by the heat equation with insulated edges, with noise or without.

    Parameters
    ----------
    width : float, default=8.0
        Standard deviation of the kernel at ``log_snr = 0``, in cells.
    noise_level, fresh, norm, of_rain
        See `ColdCorruption`.

    Examples
    --------
    >>> cold = BlurCorruption(noise_level=0.0)
    >>> x = torch.eye(4)[None, None]
    >>> cold.corrupt(x, torch.tensor(torch.inf), torch.zeros_like(x)).equal(x)
    True
    >>> cold.corrupt(x, torch.tensor(-torch.inf), torch.zeros_like(x))[0, 0, 0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    def smooth(self, field: Tensor, log_snr: Tensor) -> Tensor:
        return blur(field, self.width_at(log_snr))

    def width_at(self, log_snr: Tensor) -> Tensor:
        """Standard deviation of the kernel, in cells."""
        return self.width * torch.exp(-torch.as_tensor(log_snr, dtype=torch.float64) / 4)

    def log_snr_of(self, factor: int) -> float:
        # The standard deviation of a block.
        return -4 * math.log(factor / math.sqrt(12) / self.width)


@dataclass(frozen=True)
class CoarseGrainingCorruption(ColdCorruption):
    """Means over blocks of 2, 4, 8, ... cells, up to the whole field, with noise or without.

    Between two sizes of blocks the field is a weighted mean of both. Blocks are as large as the
    sides of the field are multiples of; the whole field comes next.

    Parameters
    ----------
    width : float, default=8.0
        Side of the blocks at ``log_snr = 0``, in cells.
    noise_level, fresh, norm, of_rain
        See `ColdCorruption`.

    Examples
    --------
    >>> coarse = CoarseGrainingCorruption(noise_level=0.0)
    >>> x = torch.eye(4)[None, None]
    >>> coarse.corrupt(x, torch.tensor(coarse.log_snr_of(2)), torch.zeros_like(x))[0, 0, 0]
    tensor([0.5000, 0.5000, 0.0000, 0.0000])
    """

    def smooth(self, field: Tensor, log_snr: Tensor) -> Tensor:
        rows, columns = field.shape[-2:]
        sides = [2**k for k in range(1, 32) if rows % 2**k == 0 and columns % 2**k == 0]
        levels = [field, *(_block_means(field, side) for side in sides)]
        levels.append(field.mean((-2, -1), keepdim=True).expand_as(field))
        depth = torch.log2(torch.as_tensor(self.width, dtype=torch.float64)) - (
            log_snr / (4 * math.log(2))
        )
        depth = depth.clamp(0, len(levels) - 1)
        # Hat functions of the depth: each level counts where it is one of the two nearest.
        return sum(
            of_each((1 - (depth - k).abs()).clamp(min=0), field) * level
            for k, level in enumerate(levels)
        )  # type: ignore[return-value]

    def log_snr_of(self, factor: int) -> float:
        return -4 * math.log(factor / self.width)


def _block_means(field: Tensor, side: int) -> Tensor:
    means = avg_pool2d(field.flatten(0, -3)[:, None], side)[:, 0]
    means = means.repeat_interleave(side, -2).repeat_interleave(side, -1)
    return means.reshape(field.shape)


def _filled(x: Tensor) -> Tensor:
    """x with unknown cells as the mean of the known ones of each frame, or 0 without any."""
    known = torch.isfinite(x)
    if known.all():
        return x
    total = torch.where(known, x, 0).sum((-2, -1), keepdim=True)
    return torch.where(known, x, total / known.sum((-2, -1), keepdim=True).clamp(min=1))
