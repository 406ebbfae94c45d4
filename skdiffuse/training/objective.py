"""What training minimises: the loss of a batch of rain, through transform and network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from skdiffuse.corruptions import Corruption, GaussianCorruption
from skdiffuse.diffusion import (
    Denoiser,
    TruncatedCosineSchedule,
    alpha,
    known_as_covariates,
    sigma,
    v_loss,
)
from skdiffuse.diffusion.parameterizations import like
from skdiffuse.preprocessing import MonotoneNetwork

__all__ = ["LatentCurve", "TrainingObjective", "masked_v_loss"]


def masked_v_loss(network: Denoiser, latent: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
    """Return the v-loss of each sequence over its known cells; NaN in `latent` marks the others."""
    return v_loss(network, latent, log_snr, noise, mask=torch.isfinite(latent))


class LatentCurve(nn.Module):
    """Rain to scaled latent by a curve that is trained together with the network.

    The curve keeps its ends, 0 at no rain and 2 at its scale in mm/h, so that the range of the
    latent is the same at every step. `centre` and `scale` are those of the curve at its start, and
    stay so in training unless `rain` is given. Were they estimated anew at the end alone, the
    network would be handed a latent at other signal-to-noise ratios than it was trained on.

    With `rain` they follow the curve at every step, so that mean and variance of the latent of that
    rain are held: the v-loss is smaller for a latent of smaller variance, and training uses that
    otherwise. The stretch loss is then that of the scaled latent, which no factor changes.

    Parameters
    ----------
    curve : MonotoneNetwork
        Trained in place.
    centre, scale : float
        Of the curve as it is, in units of its latent.
    rain : tuple of ndarray or None, default=None
        Rates in mm/h, and their shares, whose latent keeps its mean and variance. None: centre and
        scale stay.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skdiffuse.preprocessing import MonotoneNetwork
    >>> curve = MonotoneNetwork(scale=20.0)
    >>> encode = LatentCurve(curve, 0.0, 1.0, (np.array([0.0, 4.0]), np.array([0.5, 0.5])))
    >>> with torch.no_grad():
    ...     before = encode(torch.tensor([0.0, 4.0]).reshape(2, 1, 1, 1))[0]
    ...     _ = curve.raw1.mul_(2)
    ...     after = encode(torch.tensor([0.0, 4.0]).reshape(2, 1, 1, 1))[0]
    >>> torch.allclose(before, after, atol=1e-6)
    True
    """

    def __init__(
        self,
        curve: MonotoneNetwork,
        centre: float,
        scale: float,
        rain: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        super().__init__()
        self.curve = curve
        self.centre = centre
        self.scale = scale
        self.start: tuple[float, float] | None = None
        if rain is not None:
            # Part of the transform, which has its own place in checkpoints.
            for name, values in zip(("rates", "shares"), rain, strict=True):
                tensor = torch.as_tensor(values, dtype=torch.float32)
                self.register_buffer(name, tensor, persistent=False)
            with torch.no_grad():
                self.start = tuple(x.item() for x in self._moments())  # type: ignore[assignment]

    def moments(self) -> tuple[float, float]:
        """Centre and scale of the curve as it is now."""
        with torch.no_grad():
            centre, scale = self._centre_and_scale()
        return float(centre), float(scale)

    def _centre_and_scale(self) -> tuple[Tensor | float, Tensor | float]:
        if self.start is None:
            return self.centre, self.scale
        mean, spread = self._moments()
        factor = spread / self.start[1]
        # The mean of the scaled latent is the one at the start, 0 for most.
        return mean - factor * (self.start[0] - self.centre), factor * self.scale

    def _moments(self) -> tuple[Tensor, Tensor]:
        latent, _ = self.curve(self.rates)
        mean = (self.shares * latent).sum()
        return mean, (self.shares * (latent - mean).square()).sum().sqrt()

    def forward(self, rain: Tensor) -> tuple[Tensor, Tensor]:
        """Latent, and the stretch loss of each sequence: minus the mean of m log h'.

        Parameters
        ----------
        rain : Tensor of shape (n, frames, y, x)
            In mm/h, NaN where missing.

        Returns
        -------
        latent : Tensor, shape of rain
        stretch_loss : Tensor of shape (n,)
            Means over the known cells of each sequence, as the v-loss is; 0 without any. Where the
            variance is held, h' is relative to the scale.
        """
        latent, log_slope = self.curve(rain)
        centre, scale = self._centre_and_scale()
        if isinstance(scale, Tensor):
            log_slope = log_slope - (scale / self.scale).log().to(log_slope)
            centre, scale = centre.to(latent), scale.to(latent)  # type: ignore[union-attr]
        known = torch.isfinite(rain)
        # NaN would reach the gradient of the scale, with whatever weight.
        scaled = (latent.masked_fill(~known, 0.0) - centre) / scale
        share = known / known.flatten(1).sum(1).clamp(min=1).reshape(-1, 1, 1, 1)
        stretch = [
            self.curve.stretch_loss(*one) for one in zip(rain, log_slope, share, strict=True)
        ]
        return scaled.masked_fill(~known, torch.nan), torch.stack(stretch)


class TrainingObjective(nn.Module):
    r"""Loss of a batch: the corruption's, and minus the mean of m log h' of a trained transform.

    Both terms are means over the known cells of each sequence (dissertation eq. 4.15, whose printed
    form sums the second and so scales it by the number of cells).

    Parameters
    ----------
    network : torch.nn.Module
        Predicts v from ``(z, log_snr)``.
    encode : LatentCurve or callable
        From mm/h to the latent, element-wise; passes NaN through. A `LatentCurve` is trained too.
    precision : torch.dtype, optional
        Of the network's arithmetic, by autocast; everything else is as exact as the data.
    corruption : Corruption, optional
        Fitted; None: Gaussian, whose loss is the v-loss. What of it is `Corruption.trained` is
        trained too.
    density : callable, optional
        By which log-SNRs are drawn; None: that of the cosine schedule.

    Examples
    --------
    >>> import torch
    >>> class Zero(torch.nn.Module):
    ...     def forward(self, z, log_snr):
    ...         return torch.zeros_like(z)
    >>> objective = TrainingObjective(Zero(), torch.sqrt)
    >>> rain, noise = torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4)
    >>> v, stretch = objective(rain, torch.tensor([30.0]), noise)
    >>> v, stretch
    (tensor([1.0000]), tensor([0.]))
    """

    def __init__(
        self,
        network: nn.Module,
        encode: LatentCurve | Callable[[Tensor], Tensor],
        precision: torch.dtype | None = None,
        corruption: Corruption | None = None,
        density: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.encode = encode
        self.precision = precision
        self.corruption = GaussianCorruption() if corruption is None else corruption
        self.density = TruncatedCosineSchedule().density if density is None else density
        # Named here so that it is averaged, kept and moved as the network is.
        self.beside = self.corruption.trained

    @property
    def curve(self) -> MonotoneNetwork | None:
        """The transform that is trained, if one is."""
        return self.encode.curve if isinstance(self.encode, LatentCurve) else None

    def forward(
        self,
        rain: Tensor,
        log_snr: Tensor,
        noise: Tensor,
        known: Tensor | None = None,
        covariates: Tensor | None = None,
        labels: Tensor | None = None,
        weather: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of each sequence.

        Parameters
        ----------
        rain : Tensor of shape (n, frames, y, x)
            In mm/h, NaN where missing.
        log_snr : Tensor of shape (n,)
        noise : Tensor
            Of the corruption; Gaussian: standard normal, of the shape of rain.
        known : Tensor of bool, shape of rain, optional
            Cells that the network is told, as `known_as_covariates` says; of these it has nothing
            to learn, and their error counts as 0.
        covariates, labels, weather : Tensor, optional
            What else the network is told. The weather only where no cell is known: what is given
            cells to complete has no class of weather by which it was drawn.

        Returns
        -------
        loss, stretch_loss : Tensor of shape (n,)
            What is minimised is their sum. The second is that of whatever is trained beside the
            network: a curve, or a part of the corruption.
        """
        latent, stretch = self._encoded(rain)
        network: Callable[..., Tensor] = self.predict_v
        if known is not None:
            told = torch.where(known, latent, torch.nan)
            covariates = known_as_covariates(told, covariates)
            if weather is not None:
                weather = torch.where(known.flatten(1).any(1), -1, weather)
        if covariates is not None:
            network = partial(network, covariates=covariates)
        for name, classes in ("labels", labels), ("weather", weather):
            if classes is not None:
                network = partial(network, **{name: classes})
        if known is not None:
            network = partial(_v_beside_known, network, told)
        loss, beside = self.corruption.losses(network, latent, log_snr, noise, self.density)
        return loss, stretch + beside

    def of_closed_form(self, rain: Tensor, log_snr: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of the closed form that the network starts from, as `forward` does."""
        latent, stretch = self._encoded(rain)
        closed_form: Denoiser = self.network.closed_form  # type: ignore[assignment]
        x = self.corruption.encode(latent)
        return self.corruption.loss(closed_form, x, log_snr, noise), stretch

    def latent(self, rain: Tensor) -> Tensor:
        """Rain to what is diffused."""
        return self.corruption.encode(self._encoded(rain)[0])

    def _encoded(self, rain: Tensor) -> tuple[Tensor, Tensor]:
        """Latent, and stretch loss of each sequence."""
        if isinstance(self.encode, LatentCurve):
            latent, stretch = self.encode(rain)
            return latent, stretch
        return self.encode(rain), rain.new_zeros(len(rain))

    def predict_v(self, z: Tensor, log_snr: Tensor, **told: Tensor) -> Tensor:
        """What the network says: the one place where it is called in training."""
        if self.precision is None:
            return self.network(z, log_snr, **told)
        with torch.autocast(z.device.type, self.precision):
            return self.network(z, log_snr, **told).to(z.dtype)


def _v_beside_known(network: Denoiser, known: Tensor, z: Tensor, log_snr: Tensor) -> Tensor:
    """v of the network where nothing is known, and the v that follows from z elsewhere."""
    v = (like(alpha(log_snr), z) * z - known) / like(sigma(log_snr), z)
    return torch.where(torch.isfinite(known), v, network(z, log_snr))
