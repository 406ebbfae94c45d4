"""What a linear filter can denoise, given to the network for nothing."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from skdiffuse.diffusion import alpha, sigma
from skdiffuse.networks.spectral import periodic_axes, power_at, spectral_transform
from skdiffuse.networks.video_unet import VideoUNet
from skdiffuse.runtime.double import in_double

__all__ = ["WienerSkip"]


class WienerSkip(nn.Module):
    """Predicts v as the best linear filter does, and lets a network learn the rest.

    Rain is correlated over many cells and frames, so that at high noise it shows only in averages
    over thousands of cells: whether it rains at all is decided at log-SNRs around -8, where one
    cell says nothing, and a network that has to find the averages by itself learns it last and
    then makes too little rain. For Gaussian data whose covariance is diagonal in the cosine basis,
    with variances S_k, the posterior mean is the Wiener filter and v follows from it, ::

        x_k = alpha S_k z_k / (alpha^2 S_k + sigma^2)
        v_k = alpha sigma (1 - S_k) z_k / (alpha^2 S_k + sigma^2)

    (x = alpha z - sigma v). For white data of unit variance this v is 0; it is to coloured data
    what the skip connection of Karras et al. is to white data. The cosine basis fits fields that
    are not periodic; along axes on which the network's `edges` are, sines and cosines of whole
    waves take its place, so that there is no seam. The network sees z and x and returns three
    fields, an addition and two gains:

        v_hat = v + addition + gain_z z + gain_x x

    Gains are needed because rain is heavy-tailed: the norms inside the network take away how
    strong a storm is, a product brings it back. For the same reason each covariate has a gain, so
    that a known value can be passed on as it is.

    Parameters
    ----------
    network : VideoUNet
        With two input channels, and three output channels and one more for each covariate.
    power : Tensor of shape (frames, y, x)
        Mean square S of the cosine coefficients of training windows; see `mean_power`. For
        sequences of another size it is read at the same frequencies.

    References
    ----------
    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022),
    section 5 and appendix B.6: the skip that is optimal for white data.

    Examples
    --------
    >>> import torch
    >>> network = WienerSkip(
    ...     VideoUNet(8, (1, 2), in_channels=2, out_channels=3), torch.full((4, 8, 8), 3.0))
    >>> z = torch.ones(1, 4, 8, 8)
    >>> v = network(z, torch.tensor(0.0))  # alpha^2 = sigma^2 = 1/2: v = (1 - 3) / (1 + 3) z
    >>> v[0, 0, 0, 0].round(decimals=4)
    tensor(-0.5000, grad_fn=<RoundBackward1>)
    """

    power: Tensor

    def __init__(self, network: VideoUNet, power: Tensor) -> None:
        super().__init__()
        self.network = network
        self.periodic = periodic_axes(network.edges)
        self.register_buffer("power", power.to(torch.float32))

    def forward(
        self,
        z: Tensor,
        log_snr: Tensor,
        covariates: Tensor | None = None,
        labels: Tensor | None = None,
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

        Returns
        -------
        Tensor of shape (n, frames, y, x)
        """
        x, v = self._filtered(z, log_snr.reshape(-1, 1, 1, 1))
        addition, gain_z, gain_x, *gains = self.network(
            torch.stack([z, x], dim=2), log_snr.reshape(-1), covariates, labels
        ).unbind(2)
        v_hat = v + addition + gain_z * z + gain_x * x
        if covariates is not None:
            for gain, covariate in zip(gains, covariates.to(z.dtype).unbind(2), strict=True):
                v_hat = v_hat + gain * covariate
        return v_hat

    def closed_form(self, z: Tensor, log_snr: Tensor) -> Tensor:
        """Return v of the filter alone, which is what the network starts from."""
        return self._filtered(z, log_snr.reshape(-1, 1, 1, 1))[1]

    def _filtered(self, z: Tensor, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """x and v of the filter."""
        a, s = alpha(log_snr), sigma(log_snr)
        power = in_double(self._power_at(z.shape[1:]))
        scale = a / (a**2 * power + s**2)
        # The filter is exact and cheap: half precision is for the network.
        with torch.autocast(z.device.type, enabled=False):
            coefficients = spectral_transform(z, self.periodic)
            x, v = (
                spectral_transform(factor.to(z) * coefficients, self.periodic, inverse=True)
                for factor in (scale * power, scale * s * (1 - power))
            )
        return x, v

    def _power_at(self, shape: Iterable[int]) -> Tensor:
        return power_at(self.power, shape, self.periodic)
