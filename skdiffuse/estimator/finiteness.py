"""Models and rain that are not finite, which nobody is to be given."""

from __future__ import annotations

import torch
from torch import Tensor

from skdiffuse.corruptions import draw_law
from skdiffuse.diffusion import AdamsStep, RandomStreams, sampling_grid
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.way_back import goes_back

__all__ = ["refuse_broken_model", "refuse_broken_rain", "refuse_broken_weights"]

# As many as it takes to pass through every noise level roughly.
_TRIAL_STEPS = 6


def refuse_broken_weights(model: RainModel, what: str) -> None:
    """Raise where a weight of a model's network, or its scale, is not finite.

    Parameters
    ----------
    model : RainModel
    what : str
        Which model that is, to begin the message with.

    Raises
    ------
    ValueError
    """
    tensors = [t for t in model.network.state_dict().values() if t.is_floating_point()]
    numbers = torch.tensor(list(model.latent.numbers.values()), dtype=torch.float64)
    # The largest rate may be without a limit.
    if not all(bool(torch.isfinite(t).all()) for t in tensors) or bool(numbers.isnan().any()):
        raise ValueError(
            f"{what} has weights that are not finite, as a training that diverged leaves them; "
            "fit it anew with a lower learning_rate."
        )


def refuse_broken_model(model: RainModel, learning_rate: float) -> None:
    """Raise where a model, fresh from training, makes rain that is not finite.

    Weights can be finite and so large that no finite rain comes of them.

    Raises
    ------
    FloatingPointError
    """
    shape = model.corruption.shape((model.n_frames, *model.field_shape))
    streams = RandomStreams([0])
    device = next(model.network.parameters(), torch.empty(0)).device
    latent = goes_back(
        model,
        model.corruption.denoiser(model.network),
        draw_law(model.corruption, shape, streams).to(device),
        sampling_grid(model.schedule, _TRIAL_STEPS, "tapered"),
        AdamsStep(),
        streams,
    )
    if not torch.isfinite(model.latent.decode(latent.cpu())).all():
        raise FloatingPointError(
            "Training has diverged: what the model makes of noise is not finite; lower "
            f"learning_rate={learning_rate!r} or look for absurd values in X."
        )


def refuse_broken_rain(rain: Tensor) -> Tensor:
    """The same rain, if all of it is finite.

    Raises
    ------
    FloatingPointError
    """
    broken = int((~torch.isfinite(rain)).flatten(1).any(1).sum())
    if broken:
        raise FloatingPointError(
            f"{broken} of {len(rain)} generated sequences are not finite: the training of the "
            "model has diverged (fit it anew with a lower learning_rate), or it is guided too "
            "strongly (lower w_r, guidance_weight or likelihood_scale)."
        )
    return rain
