"""What a mixture of Gaussians can denoise, given to the network for nothing."""

import math

import torch
from torch import Tensor, nn

from skdiffuse.diffusion import sigma
from skdiffuse.networks.mixture_prior import MixturePrior
from skdiffuse.networks.spectral import periodic_axes, spectral_transform
from skdiffuse.networks.video_unet import VideoUNet

__all__ = ["MixtureSkip"]

# Added to the standard deviation that divides what the network is shown.
LEAST_SPREAD = 0.02


class MixtureSkip(nn.Module):
    r"""Predicts v as a `MixturePrior` does, and lets a network learn the rest.

    The skip says what follows from the mean rain of a window and its spectrum, for which a network
    would need thousands of steps and still be worse than the closed form where training seldom
    comes, at log-SNRs below -8. The network sees z and the x of the skip, at unit scale, and
    returns an addition and two gains, like that of a `WienerSkip`, which count for as much as can
    be known::

        R^2 = e^2 / (e^2 + r^2),    c = R^2 r / (sigma sqrt(2))
        v_hat = v + U [c (addition + gain_z z) + R^2 gain_x x]

    Here e and r are the standard deviations of what the best linear filter says and of its error
    (`MixturePrior.linear`; r / sigma is its error in v). At high log-SNR R^2 is 1 and outputs of
    size 1 are errors of the filter; at low log-SNR, where all that can be said is small, so is what
    the network can add, and one that has learnt nothing there does next to no harm. With outputs of
    0 it is the mixture's denoiser to the bit.

    U weighs each mode of the basis by how little the filter knows of it (`MixturePrior.unknown`).
    The mean of a window and its longest waves are known from z to a precision that a network
    reaches last: without U one of 160 steps had 27 times the filter's error of the mean at
    log-SNR 0, and samples of 1200 steps kept .81 of the mean rain and .54 .60 .69 .60 of the power
    of hourly radar rain (waves 1 / 2-3 / 4-7 / 8-16), with U .87 and .62 .71 .80 .74 (one seed, the
    same noise).

    Parameters
    ----------
    network : VideoUNet
        With two input channels, three output channels and one more for each covariate, and
        `n_weathers` of 0 or, if it is to be told the class of a sequence, the prior's number.
    prior : MixturePrior
        With the network's periodic axes.

    Examples
    --------
    >>> import torch
    >>> prior = MixturePrior(torch.ones(1), torch.zeros(1), torch.full((1, 4, 8, 8), 3.0))
    >>> network = MixtureSkip(VideoUNet(8, (1, 2), in_channels=2, out_channels=3), prior)
    >>> v = network(torch.ones(1, 4, 8, 8), torch.tensor(0.0))
    >>> v[0, 0, 0, 0].round(decimals=4)
    tensor(-0.5000, grad_fn=<RoundBackward1>)
    """

    def __init__(self, network: VideoUNet, prior: MixturePrior) -> None:
        super().__init__()
        if prior.periodic != periodic_axes(network.edges):
            raise ValueError(
                f"prior.periodic={prior.periodic} must be {periodic_axes(network.edges)}, which "
                f"goes with edges={network.edges!r} of the network: fit the prior with that."
            )
        if network.n_weathers not in (0, prior.n_classes):
            raise ValueError(
                f"n_weathers={network.n_weathers} of the network must be 0 or {prior.n_classes}, "
                "the number of classes of the prior."
            )
        self.network = network
        self.prior = prior

    def closed_form(self, z: Tensor, log_snr: Tensor) -> Tensor:
        """Return v of the mixture alone, which is what the network starts from."""
        return self.prior.denoise(z, log_snr.reshape(-1)).v

    def forward(
        self,
        z: Tensor,
        log_snr: Tensor,
        covariates: Tensor | None = None,
        labels: Tensor | None = None,
        weather: Tensor | None = None,
    ) -> Tensor:
        """Predict v.

        Parameters
        ----------
        z : Tensor of shape (n, frames, y, x)
            Noisy latent.
        log_snr : Tensor of shape () or (n,)
            Log signal-to-noise ratio of each sequence.
        covariates, labels
            What `VideoUNet.forward` takes.
        weather : int64 Tensor of shape (n,), optional
            Class of the prior that each sequence is known to be of; -1, or None for all, where it
            is not.

        Returns
        -------
        Tensor of shape (n, frames, y, x)
        """
        log_snr = log_snr.reshape(-1)
        denoised = self.prior.denoise(z, log_snr, weather)
        mean, explained, residual = self.prior.linear(log_snr, weather)
        known = explained.square() / (explained.square() + residual.square())
        error_of_v = residual / sigma(log_snr).reshape(-1, 1, 1, 1)
        x, v = denoised.x, denoised.v
        shown = (x - mean.to(z)) / (explained + LEAST_SPREAD).to(z)
        addition, gain_z, gain_x, *gains = self.network(
            torch.stack([z, shown], dim=2), log_snr, covariates, labels, weather
        ).unbind(2)
        scale = (known * error_of_v / math.sqrt(2)).to(z)
        added = scale * (addition + gain_z * z) + known.to(z) * gain_x * x
        # The mean of a window and its longest waves are known best from z itself, to a precision
        # that a network reaches last.
        with torch.autocast(z.device.type, enabled=False):
            unknown = self.prior.unknown(z.shape[1:], log_snr, weather).to(z)
            modes = unknown * spectral_transform(added.to(z.dtype), self.prior.periodic)
            v_hat = v + spectral_transform(modes, self.prior.periodic, inverse=True)
        if covariates is not None:
            for gain, covariate in zip(gains, covariates.to(z.dtype).unbind(2), strict=True):
                v_hat = v_hat + gain * covariate
        return v_hat
