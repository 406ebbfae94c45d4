"""Methods of conditioning by name."""

from typing import Any

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.guidance import (
    HoGuidance,
    MomentMatching,
    ObservationGuidance,
    PiGDM,
    ReconstructionGuidance,
    Replacement,
)
from skdiffuse.diffusion.observations import Observation

__all__ = ["CONDITIONING_METHODS", "condition"]

CONDITIONING_METHODS: dict[str, type[ObservationGuidance]] = {
    "replacement": Replacement,
    "ho": HoGuidance,
    "reconstruction": ReconstructionGuidance,
    "pigdm": PiGDM,
    "moment_matching": MomentMatching,
}


def condition(
    denoiser: Denoiser,
    observation: Observation,
    method: str = "reconstruction",
    **options: Any,
) -> ObservationGuidance:
    """Denoiser of data of which something is observed.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``, trained, exact, or an `AmortisedDenoiser`, which is told the
        known cells and is here given what else is observed.
    observation : Observation
        In the denoiser's units; see `Observation.through`.
    method : {"replacement", "ho", "reconstruction", "pigdm", "moment_matching"}
        See `Replacement`, `HoGuidance`, `ReconstructionGuidance`, `PiGDM`, `MomentMatching`.
    **options
        Further parameters of the method, such as ``w_r`` or ``n_iterations``.

    Returns
    -------
    ObservationGuidance

    Examples
    --------
    >>> import torch
    >>> from skdiffuse.diffusion import GaussianDenoiser, KnownCells
    >>> prior = GaussianDenoiser(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    >>> seen = KnownCells(torch.tensor([[2.0, torch.nan]]))
    >>> condition(prior, seen, "moment_matching")(torch.zeros(1, 2), torch.tensor(-20.0))
    tensor([[2., 1.]])
    """
    if method not in CONDITIONING_METHODS:
        raise ValueError(
            f"method={method!r} is unknown; choose one of {sorted(CONDITIONING_METHODS)}."
        )
    return CONDITIONING_METHODS[method](denoiser, observation, **options)
