"""A closed form for what rain looks like: a mixture of Gaussians, and its exact denoiser."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skdiffuse.diffusion import GaussianLaw, alpha, sigma
from skdiffuse.diffusion.windows import pieces_along
from skdiffuse.networks.classes import checked_classes
from skdiffuse.networks.spectral import power_at, spectral_transform
from skdiffuse.runtime.double import has_double

__all__ = ["Denoised", "Linear", "MixturePrior"]


class Linear(NamedTuple):
    """What the best linear filter knows at a log-SNR; float64 of shape (n or 1, 1, 1, 1).

    Attributes
    ----------
    mean : Tensor
        Mean latent.
    explained, residual : Tensor
        Standard deviations of what it says about the mean, and of its error.
    """

    mean: Tensor
    explained: Tensor
    residual: Tensor


class Denoised(NamedTuple):
    """What a `MixturePrior` says of a noisy latent.

    Attributes
    ----------
    x, v : Tensor of shape (n, frames, y, x)
        Posterior mean, and the v that goes with it.
    explained : Tensor of shape (n or 1, 1, 1, 1)
        Standard deviation of what the best linear filter says at this log-SNR; see `Linear`.
    responsibilities : Tensor of shape (n, J), float64
        Probability of each class given z; on average over the windows of a larger field.
    """

    x: Tensor
    v: Tensor
    explained: Tensor
    responsibilities: Tensor


class MixturePrior(nn.Module):
    r"""Mixture of J Gaussians with diagonal spectra, as a denoiser ``(z, log_snr) -> x_hat``.

    Windows of rain are dry, drizzle or storm. One Gaussian has to average them; of a mixture whose
    classes j have the frequency pi_j, the mean mu_j, which only the constant mode of the basis has,
    and the spectrum S_j, the posterior mean is as closed a form and costs little more, ::

        V_j = alpha^2 S_j + sigma^2
        log r_j = log pi_j - 1/2 sum_k [log V_jk + (z_k - alpha mu_jk)^2 / V_jk] - log sum
        x_k = sum_j r_j [mu_jk + alpha S_jk (z_k - alpha mu_jk) / V_jk]
        v_k = sum_j r_j sigma [alpha (1 - S_jk) z_k - mu_jk] / V_jk

    and v keeps its precision at every log-SNR. With J = 1 it is the Wiener filter.

    Sequences of another size are read at the same frequencies. Along axes on which they are longer
    than the window the classes were found in, a class is a matter of place: overlapping windows of
    that size have probabilities each of its own, blended with weights that fade towards their
    borders and add up to one, so that one side of a large field can be dry and the other stormy.
    The filters see all of it.

    Parameters
    ----------
    weights : Tensor of shape (J,)
        Frequencies of the classes; positive, scaled to a sum of 1.
    mean : Tensor of shape (J,)
        Mean latent of each class.
    power : Tensor of shape (J, frames, y, x)
        Variance of the spectral coefficients of each class; see `spectral_transform`.
    periodic : tuple of bool, default=(False, False, False)
        See `spectral_transform`.

    References
    ----------
    Portilla et al., "Image denoising using scale mixtures of Gaussians in the wavelet domain"
    (2003): the same idea for wavelets.

    Examples
    --------
    >>> import torch
    >>> prior = MixturePrior(
    ...     torch.tensor([0.9, 0.1]), torch.tensor([-0.5, 4.5]),
    ...     torch.stack([torch.full((2, 4, 4), 0.1), torch.full((2, 4, 4), 9.0)]))
    >>> z = torch.full((1, 2, 4, 4), 2.0)
    >>> prior(z, torch.tensor(0.0))[0, 0, 0, 0].round(decimals=2)  # a storm
    tensor(3.)
    >>> z = torch.full((1, 2, 4, 4), 0.05)
    >>> prior.denoise(z, torch.tensor(-9.0)).responsibilities.round(decimals=1)  # who knows
    tensor([[0.9000, 0.1000]], dtype=torch.float64)
    """

    weights: Tensor
    mean: Tensor
    power: Tensor

    def __init__(
        self,
        weights: Tensor,
        mean: Tensor,
        power: Tensor,
        periodic: tuple[bool, bool, bool] = (False,) * 3,
    ) -> None:
        super().__init__()
        weights, mean, power = (
            torch.as_tensor(given).detach().to(torch.float32) for given in (weights, mean, power)
        )
        n = len(power)
        if power.ndim != 4 or not bool((power > 0).all()):
            raise ValueError(
                f"power must be positive, of shape (classes, frames, y, x); got shape "
                f"{tuple(power.shape)} with least value {power.min().item():.3g}."
            )
        if weights.shape != (n,) or mean.shape != (n,) or not bool((weights > 0).all()):
            raise ValueError(
                f"weights and mean must hold one number for each of the {n} classes of power, and "
                f"weights must be positive; got {weights.tolist()} and {mean.tolist()}."
            )
        in_time, in_y, in_x = periodic
        self.periodic = (in_time, in_y, in_x)
        self.register_buffer("weights", weights / weights.sum())
        self.register_buffer("mean", mean)
        self.register_buffer("power", power)

    @property
    def n_classes(self) -> int:
        """J."""
        return len(self.weights)

    def forward(self, z: Tensor, log_snr: Tensor) -> Tensor:
        """Posterior mean of z of shape (n, frames, y, x) at log_snr of shape () or (n,)."""
        return self.denoise(z, log_snr).x

    def denoise(self, z: Tensor, log_snr: Tensor, weather: Tensor | None = None) -> Denoised:
        """Posterior mean, v, and what is known.

        Parameters
        ----------
        z : Tensor of shape (n, frames, y, x)
            Noisy latent.
        log_snr : Tensor of shape () or (n,)
        weather : int64 Tensor of shape (n,), optional
            The class of each sequence where it is known, -1 where not.

        Returns
        -------
        Denoised
        """
        if weather is not None:
            made_with = f"the mixture has {self.n_classes} classes"
            checked_classes("weather", weather, len(z), self.n_classes, made_with)
        if not has_double(z.device):
            found = self._on_cpu().denoise(*_to_cpu(z, log_snr, weather))
            return Denoised(*(each.to(z.device, z.dtype) for each in found))
        # Half precision cannot hold a log-density, and single not the constant mode of a dry field.
        with torch.autocast(z.device.type, enabled=False):
            level = torch.as_tensor(log_snr, device=z.device).double().reshape(-1)
            longest = self.power.shape[1:]
            size = [
                n if whole_waves else min(n, most)
                for n, most, whole_waves in zip(z.shape[1:], longest, self.periodic, strict=True)
            ]
            windows = _Windows(z.shape[1:], size)
            filters = self._filters(range(self.n_classes), size, level)
            coefficients = spectral_transform(z.double(), self.periodic).flatten(1)
            if windows.is_whole:
                r = self._responsibilities(coefficients[:, None], filters, level, weather)[:, 0]
                v = self._of_one_weather(coefficients, size, filters, level, r)
            else:
                cut = spectral_transform(windows.cut(z.double()), self.periodic).flatten(2)
                by_window = self._responsibilities(cut, filters, level, weather)
                v = self._of_weather_by_place(
                    coefficients, z.shape[1:], level, by_window, windows, z.dtype
                )
                r = windows.shares(z.device) @ by_window
            a, s = (f(level).reshape(-1, 1, 1, 1) for f in (alpha, sigma))
            x = a * z.double() - s * v
        return Denoised(
            x.to(z.dtype),
            v.to(z.dtype),
            self.linear(level, weather).explained.to(z.dtype),
            r,
        )

    def linear(self, log_snr: Tensor, weather: Tensor | None = None) -> Linear:
        """What the best linear filter knows; of one class where that is told.

        Parameters
        ----------
        log_snr : Tensor of shape () or (n,)
        weather : int64 Tensor of shape (n,), optional
            As in `denoise`.

        Returns
        -------
        Linear
        """
        if not has_double(self.power.device):
            return self._on_cpu().linear(*_to_cpu(log_snr, weather))
        mean, power = self._moments(weather)
        a2, s2 = (f(log_snr).square().reshape(-1, 1, 1, 1) for f in (alpha, sigma))
        share = power / (a2 * power + s2)
        explained, residual = (
            (factor * share).mean((1, 2, 3), keepdim=True).sqrt() for factor in (a2 * power, s2)
        )
        return Linear(mean, explained, residual)

    def unknown(
        self, shape: Sequence[int], log_snr: Tensor, weather: Tensor | None = None
    ) -> Tensor:
        r"""How little the best linear filter knows of each mode, relative to the least known one.

        Parameters
        ----------
        shape : sequence of int
            Frames, rows and columns.
        log_snr : Tensor of shape () or (n,)
        weather : int64 Tensor of shape (n,), optional
            As in `denoise`.

        Returns
        -------
        Tensor of float64, shape (n or 1, frames, y, x)
            ``sigma / sqrt(alpha^2 S_k + sigma^2)``, over the largest of them.
        """
        if not has_double(self.power.device):
            return self._on_cpu().unknown(shape, *_to_cpu(log_snr, weather))
        _, power = self._moments(weather)
        power = power_at(power, shape, self.periodic)
        a2, s2 = (f(log_snr).square().reshape(-1, 1, 1, 1) for f in (alpha, sigma))
        left = (s2 / (a2 * power + s2)).sqrt()
        return left / left.amax((1, 2, 3), keepdim=True)

    def law(
        self, shape: Sequence[int], device: torch.device, weather: Tensor | None = None
    ) -> GaussianLaw:
        """The Gaussian with mean and spectrum of all classes, or of the one that is told.

        Parameters
        ----------
        shape : sequence of int
            Frames, rows and columns.
        device : torch.device
            Of the latents.
        weather : int64 Tensor of shape (n,), optional
            As in `denoise`.

        Returns
        -------
        GaussianLaw
            Of the spectral coefficients, for latents of shape (n, *shape).

        Examples
        --------
        >>> prior = MixturePrior(torch.ones(1), torch.zeros(1), torch.full((1, 2, 4, 4), 3.0))
        >>> prior.law((2, 8, 8), torch.device("cpu")).variance.shape
        torch.Size([1, 2, 8, 8])
        """
        mean, power = self._on_cpu()._moments(None if weather is None else weather.cpu())
        power = power_at(power, shape, self.periodic)
        first = torch.zeros_like(power)
        first[..., 0, 0, 0] = math.sqrt(math.prod(shape)) * mean.flatten()
        dtype = torch.float64 if has_double(device) else torch.float32
        return GaussianLaw(
            first.to(device, dtype),
            power.to(device, dtype),
            modes=lambda z: spectral_transform(z.to(dtype), self.periodic),
            fields=lambda modes: spectral_transform(modes, self.periodic, inverse=True),
        )

    def _on_cpu(self) -> "MixturePrior":
        """The same where double precision is."""
        return MixturePrior(self.weights.cpu(), self.mean.cpu(), self.power.cpu(), self.periodic)

    def _moments(self, weather: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and power of a window of any class, or of the one that is told; float64."""
        weights, means = self.weights.double(), self.mean.double()
        mean = weights @ means
        power = torch.tensordot(weights, self.power.double(), dims=1)
        power[0, 0, 0] += weights @ (means - mean).square() * power.numel()
        power, mean = power[None], mean.reshape(1, 1, 1, 1)
        if weather is not None:
            told, index = (weather >= 0).reshape(-1, 1, 1, 1), weather.clamp(min=0)
            power = torch.where(told, self.power.double()[index], power)
            mean = torch.where(told, means[index].reshape(-1, 1, 1, 1), mean)
        return mean, power

    def _responsibilities(
        self, coefficients: Tensor, filters: "_Filters", level: Tensor, weather: Tensor | None
    ) -> Tensor:
        """Probabilities (n, W, J) of the classes in W windows, of coefficients (n, W, modes)."""
        precision, _, mean = filters
        a = alpha(level)[:, None, None]
        first, first_precision = coefficients[..., :1], precision[..., 0][:, None]
        # Only the constant mode has a mean.
        square = torch.matmul(coefficients.square(), precision.mT) + first_precision * (
            (first - a * mean).square() - first.square()
        )
        log_density = 0.5 * (precision.log().sum(-1)[:, None] - square)
        r = torch.softmax(self.weights.double().log() + log_density, dim=-1)
        if weather is None:
            return r
        told = nn.functional.one_hot(weather.clamp(min=0), self.n_classes).to(r)
        return torch.where((weather >= 0)[:, None, None], told[:, None], r)

    def _of_one_weather(
        self,
        coefficients: Tensor,
        shape: Sequence[int],
        filters: "_Filters",
        level: Tensor,
        r: Tensor,
    ) -> Tensor:
        """v from coefficients (n, modes) and probabilities (n, J): one filter for each sequence."""
        precision, gain, mean = filters
        v = torch.matmul(r[:, None], gain)[:, 0] * coefficients
        offset = sigma(level) * (r * precision[..., 0] * mean).sum(-1)
        return self._fields(v, offset, shape)

    def _of_weather_by_place(
        self,
        coefficients: Tensor,
        shape: Sequence[int],
        level: Tensor,
        r: Tensor,
        windows: "_Windows",
        dtype: torch.dtype,
    ) -> Tensor:
        """v from coefficients and probabilities (n, W, J) of windows: each class by its share."""
        v = torch.zeros((), dtype=dtype, device=r.device)
        for j, share in enumerate(r.unbind(-1)):
            precision, gain, mean = self._filters([j], shape, level)
            offset = sigma(level) * precision[:, 0, 0] * mean
            # Once filtered, nothing is divided by small numbers any more.
            filtered, offset = (gain[:, 0] * coefficients).to(dtype), offset.to(dtype)
            v = v + windows.blend(share.to(dtype)) * self._fields(filtered, offset, shape)
        return v

    def _filters(self, classes: Iterable[int], shape: Sequence[int], level: Tensor) -> "_Filters":
        classes = list(classes)
        power = power_at(self.power[classes], shape, self.periodic).double().flatten(1)
        a, s = (f(level)[:, None, None] for f in (alpha, sigma))
        precision = 1 / (a**2 * power + s**2)
        mean = self.mean[classes].double() * math.sqrt(math.prod(shape))
        return _Filters(precision, s * a * (1 - power) * precision, mean)

    def _fields(self, v: Tensor, offset: Tensor, shape: Sequence[int]) -> Tensor:
        """Coefficients (n, modes), the first less offset (n,), as sequences."""
        v = torch.cat([v[:, :1] - offset[:, None], v[:, 1:]], dim=1)
        return spectral_transform(v.reshape(-1, *shape), self.periodic, inverse=True)


def _to_cpu(*tensors: Tensor | None) -> list[Any]:
    return [None if each is None else torch.as_tensor(each).cpu() for each in tensors]


class _Filters(NamedTuple):
    """1 / V and the gain of v, both (n or 1, classes, modes), and means in the constant mode."""

    precision: Tensor
    gain: Tensor
    mean: Tensor


class _Windows:
    """Overlapping windows of one size that cover sequences, with weights that add up to one."""

    def __init__(self, shape: Sequence[int], size: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self.pieces = list(
            itertools.product(
                *(pieces_along(n, m, m // 2, False) for n, m in zip(shape, size, strict=True))
            )
        )

    @property
    def is_whole(self) -> bool:
        """Whether one window is all there is."""
        return len(self.pieces) == 1

    def cut(self, z: Tensor) -> Tensor:
        """(n, frames, y, x) to (n, W, ...)."""
        return torch.stack([z[(slice(None), *_slices(piece))] for piece in self.pieces], dim=1)

    def blend(self, values: Tensor) -> Tensor:
        """(n, W) to (n, frames, y, x)."""
        result = values.new_zeros(len(values), *self.shape)
        for piece, value in zip(self.pieces, values.unbind(1), strict=True):
            weight = _weight(piece).to(values)
            result[(slice(None), *_slices(piece))] += weight * value[:, None, None, None]
        return result

    def shares(self, device: torch.device) -> Tensor:
        """The part of the whole that each window speaks for, of shape (W,)."""
        shares = torch.stack([_weight(piece).sum() for piece in self.pieces])
        return (shares / math.prod(self.shape)).to(device)


def _slices(piece: Iterable[tuple[int, int, Tensor]]) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop, _ in piece)


def _weight(piece: Iterable[tuple[int, int, Tensor]]) -> Tensor:
    (_, _, frames), (_, _, rows), (_, _, columns) = piece
    return frames[:, None, None] * rows[:, None] * columns
