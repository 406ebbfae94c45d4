"""`TwoStageDiffusion` in the form that `corruptions.py` trains and asks its systems."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch

from skdiffuse import NetworkSettings, PrecipDiffusion, TwoStageDiffusion
from skdiffuse.corruptions import ClassCorruption

# Of the time: where it rains decides more than how much within a class.
SHARE_OF_CLASSES = 0.6


class TwoStages:
    """Both stages with the common parameters of one estimator, which share its time."""

    def __init__(self, kind: str, second: bool, network: Any = "tiny", **common: Any) -> None:
        settings = NetworkSettings(network, skip=None)
        first = PrecipDiffusion(corruption=ClassCorruption(kind), network=settings, **common)
        plain = PrecipDiffusion(network=NetworkSettings(network, skip=None), **common)
        self.model = TwoStageDiffusion(first, plain if second else "independent", random_state=0)
        self.second = second

    def set_params(self, **params: Any) -> Self:
        """Parameters of both stages; of the time each has its share."""
        seconds = params.pop("max_time", None)
        shares = {"classes": SHARE_OF_CLASSES if self.second else 1.0}
        if self.second:
            shares["intensities"] = 1 - SHARE_OF_CLASSES
        for stage, share in shares.items():
            given = params | ({} if seconds is None else {"max_time": share * seconds})
            getattr(self.model, stage).set_params(**given)
        return self

    def fit(self, rain: Any) -> Self:
        """Train both."""
        self.model.fit(rain)
        return self

    @property
    def stages(self) -> list[PrecipDiffusion]:
        """Those that have been trained."""
        return [s for s in (self.model.classes_, self.model.intensities_) if s is not None]

    @property
    def history_(self) -> list[dict[str, float]]:
        """The end of training."""
        return [{"seconds": sum(stage.history_[-1]["seconds"] for stage in self.stages)}]

    @property
    def n_iter_(self) -> int:
        """Steps of both."""
        return sum(stage.n_iter_ for stage in self.stages)

    @property
    def network_(self) -> torch.nn.Module:
        """Networks of both."""
        return torch.nn.ModuleList(stage.network_ for stage in self.stages)

    def sample(self, n_samples: int, batch_size: int, random_state: int) -> np.ndarray:
        """Rain, in the stages' own batches."""
        return np.asarray(self.model.sample(n_samples, random_state=random_state))

    def impute(self, X: np.ndarray, mask: np.ndarray, n_samples: int, method: str) -> np.ndarray:
        """Known classes are told to the network, which is no guidance of any kind."""
        if method != "replacement":
            raise ValueError(f"method={method!r} needs expected rain, which classes do not have")
        return np.asarray(self.model.impute(X, mask, n_samples=n_samples, random_state=0))
