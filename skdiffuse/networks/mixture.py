"""What a mixture of Gaussians can denoise, given to the network for nothing."""

import torch
from torch import Tensor, nn

from skdiffuse.diffusion import alpha, sigma
from skdiffuse.networks.mixture_prior import MixturePrior
from skdiffuse.networks.spectral import periodic_axes
from skdiffuse.networks.video_unet import VideoUNet

__all__ = ["MixtureSkip"]


class MixtureSkip(nn.Module):
    """Predicts v as a `MixturePrior` does, and lets a network learn the rest.

    Parameters
    ----------
    network : VideoUNet
        With two input channels, and three output channels and one more for each covariate. If the
        weather of a sequence may be told, with as many `n_weathers` as the prior has classes.
    prior : MixturePrior
        With the network's periodic axes.
    """

    def __init__(self, network: VideoUNet, prior: MixturePrior) -> None:
        super().__init__()
        if prior.periodic != periodic_axes(network.edges):
            raise ValueError(
                f"prior.periodic={prior.periodic} must be {periodic_axes(network.edges)}, which "
                f"goes with edges={network.edges!r} of the network."
            )
        if network.n_weathers not in (0, prior.n_classes):
            raise ValueError(
                f"n_weathers={network.n_weathers} of the network must be 0 or the number of "
                f"classes of the prior, {prior.n_classes}."
            )
        self.network = network
        self.prior = prior

    def scales(self, level, denoised):
        a, s = alpha(level), sigma(level)
        S = self.prior._overall_power()
        resid = (S * s**2 / (a**2 * S + s**2)).mean((1, 2, 3), keepdim=True).sqrt()
        e = denoised.explained
        return torch.minimum(resid, 1.5 * e) / s, torch.ones_like(e)

    def forward(
        self,
        z: Tensor,
        log_snr: Tensor,
        covariates: Tensor | None = None,
        labels: Tensor | None = None,
        weather: Tensor | None = None,
    ) -> Tensor:
        log_snr = log_snr.reshape(-1)
        d = self.prior.denoise(z, log_snr, weather)
        c, g = (t.to(z.dtype) for t in self.scales(log_snr.double().reshape(-1, 1, 1, 1), d))
        seen = d.x / (d.explained + 0.02)
        addition, gain_z, gain_x, *gains = self.network(
            torch.stack([z, seen], dim=2), log_snr, covariates, labels, weather
        ).unbind(2)
        v_hat = d.v + c * (addition + gain_z * z) + g * gain_x * d.x
        if covariates is not None:
            for gain, covariate in zip(gains, covariates.to(z.dtype).unbind(2), strict=True):
                v_hat = v_hat + gain * covariate
        return v_hat
