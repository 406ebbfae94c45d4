"""What training minimises: the loss of a batch of rain, through transform and network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from skdiffuse.corruptions import Corruption, GaussianCorruption
from skdiffuse.diffusion import Denoiser, alpha, known_as_covariates, sigma, v_loss
from skdiffuse.diffusion.parameterizations import like
from skdiffuse.preprocessing import MonotoneNetwork

__all__ = ["LatentCurve", "TrainingObjective", "masked_v_loss"]


def masked_v_loss(network: Denoiser, latent: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
    """Return the v-loss of each sequence over its known cells; NaN in `latent` marks the others."""
    return v_loss(network, latent, log_snr, noise, mask=torch.isfinite(latent))


class LatentCurve(nn.Module):
    """Rain to scaled latent by a curve that is trained together with the network.

    `centre` and `scale` are those of the curve at its start and do not change in training. They
    need not: the curve keeps its ends, 0 at no rain and 2 at its scale in mm/h, so that the range
    of the latent is the same at every step, and a constant scale adds a constant to the
    log-Jacobian, which moves no gradient. Were they estimated anew at the end, the network would
    be handed a latent at other signal-to-noise ratios than it was trained on.

    Parameters
    ----------
    curve : MonotoneNetwork
        Trained in place.
    centre, scale : float
        In units of the curve's latent.
    """

    def __init__(self, curve: MonotoneNetwork, centre: float, scale: float) -> None:
        super().__init__()
        self.curve = curve
        self.centre = centre
        self.scale = scale

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
            Means over the known cells of each sequence, as the v-loss is; 0 without any.
        """
        latent, log_slope = self.curve(rain)
        known = torch.isfinite(rain)
        share = known / known.flatten(1).sum(1).clamp(min=1).reshape(-1, 1, 1, 1)
        stretch = [
            self.curve.stretch_loss(*one) for one in zip(rain, log_slope, share, strict=True)
        ]
        return (latent - self.centre) / self.scale, torch.stack(stretch)


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
        Fitted; None: Gaussian, whose loss is the v-loss.

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
    ) -> None:
        super().__init__()
        self.network = network
        self.encode = encode
        self.precision = precision
        self.corruption = GaussianCorruption() if corruption is None else corruption

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
        loss : Tensor of shape (n,)
        stretch_loss : Tensor of shape (n,)
            What is minimised is their sum.
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
        x = self.corruption.encode(latent)
        return self.corruption.loss(network, x, log_snr, noise), stretch

    def of_closed_form(self, rain: Tensor, log_snr: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of the closed form that the network starts from, as `forward` does."""
        latent, stretch = self._encoded(rain)
        closed_form: Denoiser = self.network.closed_form  # type: ignore[assignment]
        x = self.corruption.encode(latent)
        return self.corruption.loss(closed_form, x, log_snr, noise), stretch

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
