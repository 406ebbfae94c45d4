"""What a linear filter can denoise, given to the network for nothing."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from skdiffuse.diffusion import alpha, sigma
from skdiffuse.networks.edges import Edges
from skdiffuse.networks.video_unet import PRESETS, VideoUNet

__all__ = [
    "WienerSkip",
    "build_network",
    "mean_power",
    "periodic_axes",
    "spectral_transform",
]


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
        v : Tensor of shape (n, frames, y, x)
        """
        log_snr = log_snr.reshape(-1, 1, 1, 1)
        a, s = alpha(log_snr), sigma(log_snr)
        power = self._power_at(z.shape[1:]).double()
        scale = a / (a**2 * power + s**2)
        # The filter is exact and cheap: half precision is for the network.
        with torch.autocast(z.device.type, enabled=False):
            coefficients = spectral_transform(z, self.periodic)
            x, v = (
                spectral_transform(factor.to(z.dtype) * coefficients, self.periodic, inverse=True)
                for factor in (scale * power, scale * s * (1 - power))
            )
        addition, gain_z, gain_x, *gains = self.network(
            torch.stack([z, x], dim=2), log_snr.reshape(-1), covariates, labels
        ).unbind(2)
        v_hat = v + addition + gain_z * z + gain_x * x
        if covariates is not None:
            for gain, covariate in zip(gains, covariates.to(z.dtype).unbind(2), strict=True):
                v_hat = v_hat + gain * covariate
        return v_hat

    def _power_at(self, shape: Iterable[int]) -> Tensor:
        """Power at the frequencies of sequences of any shape, linear between those known."""
        power = self.power
        for axis, (n, periodic) in enumerate(zip(shape, self.periodic, strict=True)):
            known = power.shape[axis]
            if n == known:
                continue
            position = _frequencies(n, periodic, power.device) * (known / n)
            highest = known // 2 if periodic else known - 1
            lower = position.long().clamp(max=highest)
            upper = (lower + 1).clamp(max=highest)
            fraction = (position - lower).to(power.dtype)
            fraction = fraction.reshape([-1 if a == axis else 1 for a in range(3)])
            at_lower, at_upper = (
                power.index_select(axis, _first_row(frequency, periodic))
                for frequency in (lower, upper)
            )
            power = torch.lerp(at_lower, at_upper, fraction)
        return power


def build_network(
    preset: str,
    *,
    power: Tensor | None = None,
    n_covariates: int = 0,
    n_labels: int = 0,
    **options,
) -> nn.Module:
    """Make a network of a named size.

    Parameters
    ----------
    preset : {"tiny", "small", "base", "large"}
        With 2.4, 9.5, 37 and 124 million parameters.
    power : Tensor of shape (frames, y, x), optional
        If given, the U-Net gets a `WienerSkip`.
    n_covariates, n_labels : int, default=0
        Fields and classes that the network may be told; see `VideoUNet`.
    **options
        Further parameters of `VideoUNet`.

    Raises
    ------
    ValueError
        If there is no such preset.

    Examples
    --------
    >>> network = build_network("tiny")
    >>> sum(p.numel() for p in network.parameters()) < 2_500_000
    True
    """
    if preset not in PRESETS:
        raise ValueError(f"network={preset!r} is unknown; choose one of {sorted(PRESETS)}.")
    options = {**PRESETS[preset], "n_covariates": n_covariates, "n_labels": n_labels, **options}
    if power is None:
        return VideoUNet(**options)
    unet = VideoUNet(**options, in_channels=2, out_channels=3 + n_covariates)
    return WienerSkip(unet, power)


def periodic_axes(edges: Edges) -> tuple[bool, bool, bool]:
    """Which of time, y and x go on at their other end."""
    return (False, *(edge == "periodic" for edge in edges))


def spectral_transform(
    x: Tensor, periodic: tuple[bool, bool, bool] = (False,) * 3, inverse: bool = False
) -> Tensor:
    """Orthonormal transform of the last three axes, or its inverse.

    Parameters
    ----------
    x : Tensor of shape (..., frames, y, x)
    periodic : tuple of bool
        Cosines of half waves (DCT-II) along an axis that is not periodic; sines and cosines of
        whole waves, in pairs, along one that is.
    inverse : bool
    """
    for axis, whole_waves in zip((-3, -2, -1), periodic, strict=True):
        basis = _waves if whole_waves else _cosines
        matrix = basis(x.shape[axis], x.device, x.dtype)
        matrix = matrix if inverse else matrix.T
        x = (x.movedim(axis, -1) @ matrix).movedim(-1, axis)
    return x


def mean_power(
    latents: Iterable[Tensor],
    weights: Iterable[Tensor],
    periodic: tuple[bool, bool, bool] = (False,) * 3,
) -> Tensor:
    """Mean square of the spectral coefficients of windows.

    Parameters
    ----------
    latents : iterable of Tensor of shape (n, frames, y, x)
        Of mean 0; NaN where missing, which is left out as far as a mean square can.
    weights : iterable of Tensor of shape (n,)
        What each window stands for.
    periodic : tuple of bool
        See `spectral_transform`. A wave has the same power wherever it begins: sine and cosine
        share theirs.

    Returns
    -------
    Tensor of shape (frames, y, x)

    Examples
    --------
    >>> import torch
    >>> mean_power([torch.ones(1, 2, 2, 2)], [torch.ones(1)]).flatten().round()
    tensor([8., 0., 0., 0., 0., 0., 0., 0.])
    """
    total, weight = 0.0, 0.0
    for latent, w in zip(latents, weights, strict=True):
        known = torch.isfinite(latent)
        coefficients = spectral_transform(torch.where(known, latent, 0.0), periodic)
        w = w.reshape(-1, 1, 1, 1)
        total = total + (w * coefficients.square()).sum(0)
        weight = weight + (w * known.float().mean((1, 2, 3), keepdim=True)).sum()
    power = total / weight
    for axis, whole_waves in enumerate(periodic):
        if whole_waves:
            frequency = _frequencies(power.shape[axis], True, power.device)
            first = _first_row(frequency, True)
            last = (2 * frequency).clamp(max=power.shape[axis] - 1)
            power = 0.5 * (power.index_select(axis, first) + power.index_select(axis, last))
    return power


def _frequencies(n: int, periodic: bool, device: torch.device) -> Tensor:
    """Waves, or half waves, along the axis for each row of its basis."""
    rows = torch.arange(n, device=device)
    return (rows + 1) // 2 if periodic else rows


def _first_row(frequency: Tensor, periodic: bool) -> Tensor:
    """The first row of a basis that has a frequency."""
    return (2 * frequency - 1).clamp(min=0) if periodic else frequency


def _cosines(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Rows are the orthonormal cosines of n points."""
    k = torch.arange(n, device=device, dtype=dtype)
    matrix = math.sqrt(2 / n) * torch.cos(math.pi / n * k[:, None] * (k + 0.5))
    matrix[0] /= math.sqrt(2)
    return matrix


def _waves(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Rows are the orthonormal waves of n points on a circle: 1, cos, sin, cos 2, sin 2, ..."""
    frequency = _frequencies(n, True, device).to(dtype)
    angle = 2 * math.pi / n * frequency[:, None] * torch.arange(n, device=device, dtype=dtype)
    is_sine = (torch.arange(n, device=device) % 2 == 0)[:, None]
    matrix = math.sqrt(2 / n) * torch.where(is_sine, angle.sin(), angle.cos())
    matrix[0] = math.sqrt(1 / n)
    if n % 2 == 0:
        matrix[-1] /= math.sqrt(2)
    return matrix
