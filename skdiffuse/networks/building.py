"""Networks by name."""

from typing import Any

from torch import Tensor, nn

from skdiffuse.networks.mixture import MixtureSkip
from skdiffuse.networks.mixture_prior import MixturePrior
from skdiffuse.networks.video_unet import PRESETS, VideoUNet
from skdiffuse.networks.wiener import WienerSkip

__all__ = ["build_network"]


def build_network(
    preset: str,
    *,
    power: Tensor | None = None,
    prior: MixturePrior | None = None,
    n_covariates: int = 0,
    n_labels: int = 0,
    n_weathers: int = 0,
    **options: Any,
) -> nn.Module:
    """Make a network of a named size.

    Parameters
    ----------
    preset : {"tiny", "small", "base", "large"}
        With 2.4, 9.5, 37 and 124 million parameters.
    power : Tensor of shape (frames, y, x), optional
        If given, the U-Net gets a `WienerSkip`.
    prior : MixturePrior, optional
        If given, the U-Net gets a `MixtureSkip`.
    n_covariates, n_labels : int, default=0
        Fields and classes that the network may be told; see `VideoUNet`.
    n_weathers : int, default=0
        Number of classes of `prior`, if the network may be told which of them a sequence is of.
    **options
        Further parameters of `VideoUNet`.

    Raises
    ------
    ValueError
        If there is no such preset, both `power` and `prior` are given, or `n_weathers` without
        `prior`.

    Examples
    --------
    >>> network = build_network("tiny")
    >>> sum(p.numel() for p in network.parameters()) < 2_500_000
    True
    """
    if preset not in PRESETS:
        raise ValueError(f"network={preset!r} is unknown; choose one of {sorted(PRESETS)}.")
    if power is not None and prior is not None:
        raise ValueError("power and prior were both given, and a network has one skip: choose one.")
    if n_weathers and prior is None:
        raise ValueError(
            f"n_weathers={n_weathers} are classes of a mixture: give it as prior=, or leave "
            "n_weathers out."
        )
    options = {
        **PRESETS[preset],
        "n_covariates": n_covariates,
        "n_labels": n_labels,
        "n_weathers": n_weathers,
        **options,
    }
    beside_skip: dict[str, Any] = {"in_channels": 2, "out_channels": 3 + n_covariates}
    if prior is not None:
        return MixtureSkip(VideoUNet(**options, **beside_skip), prior)
    if power is not None:
        return WienerSkip(VideoUNet(**options, **beside_skip), power)
    return VideoUNet(**options)
