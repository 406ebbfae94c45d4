"""What a fitted model is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from skdiffuse.corruptions import Corruption, GaussianCorruption
from skdiffuse.cubes import Cube, GridMetadata
from skdiffuse.cubes.cube import Tile
from skdiffuse.diffusion import NoiseSchedule
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.estimator.measured_errors import MeasuredErrors
from skdiffuse.estimator.model_card import ModelCard
from skdiffuse.estimator.network_plan import NetworkPlan
from skdiffuse.estimator.weather import WeatherLaw
from skdiffuse.networks import MixturePrior, Told

__all__ = ["RainModel"]


@dataclass(frozen=True)
class RainModel:
    """A denoiser of sequences of rain and everything that is needed to ask it.

    The functions beside it draw from it, fill with it, score with it and save it; none changes it.

    Attributes
    ----------
    latent : LatentSpace
        Transform and scaling, the way between mm/h and what is diffused.
    network : torch.nn.Module
        Predicts v from ``(z, log_snr)``, and what it is told.
    plan : NetworkPlan
        How to build that network.
    schedule : NoiseSchedule
        The log-SNRs that the network knows.
    told : Told
        Which labels or fields it can be told.
    amortised : bool
        Whether it can be told known cells.
    n_frames : int
        Frames of a sequence that it was trained on.
    field_shape : tuple of int
        Rows and columns of a field, likewise.
    template : GridMetadata or None
        Names and coordinates of the training cube; None for numpy.
    weathers : WeatherLaw or None
        Classes of weather that the network can be told, and how often each is.
    prior : MixturePrior or None
        The closed form that the network starts from, if it is a mixture's.
    card : ModelCard or None
        What is said of it, if it was found by a name.
    errors : MeasuredErrors or None
        Of the denoiser, once they are measured.
    corruption : Corruption
        What the network has learnt to undo, fitted.
    """

    latent: LatentSpace
    network: nn.Module
    plan: NetworkPlan
    schedule: NoiseSchedule
    told: Told
    amortised: bool
    n_frames: int
    field_shape: tuple[int, int]
    template: GridMetadata | None = None
    weathers: WeatherLaw | None = None
    prior: MixturePrior | None = None
    card: ModelCard | None = None
    errors: MeasuredErrors | None = None
    corruption: Corruption = field(default_factory=GaussianCorruption)

    @property
    def window(self) -> tuple[int, int, int]:
        """Frames, rows and columns of what it was trained on."""
        return (self.n_frames, *self.field_shape)

    def tiles(self, cube: Cube) -> list[Tile]:
        """Places of windows of the model's size, side by side; smaller where the cube is."""
        rows, columns = (min(a, b) for a, b in zip(self.field_shape, cube.field_shape, strict=True))
        return cube.tiles(self.n_frames, (rows, columns))
