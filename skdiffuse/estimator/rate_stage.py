"""The second of two stages: how much it rains where the class of each cell is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.special import ndtr, ndtri

from skdiffuse.corruptions import RatesInClasses
from skdiffuse.diffusion import RandomStreams, VDenoiser
from skdiffuse.estimator.density import log_density_bound
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.runtime.array_types import ArrayOrDataArray
from skdiffuse.runtime.seeds import derived_seed

__all__ = ["RAISED", "RateStage", "raised_scores"]

# Levels within a class are handed to the second stage as normal scores, raised so that they are
# never negative, which rain may not be.
RAISED = 6.0
RAREST = 1e-8


def raised_scores(rates: RatesInClasses, rain: np.ndarray) -> np.ndarray:
    """What the second stage takes for rain: raised normal scores of the levels."""
    levels = np.clip(rates.levels(rain), RAREST, 1 - RAREST)
    return (ndtri(levels) + RAISED).astype(np.float32)


@dataclass(frozen=True)
class RateStage:
    """Rates given classes, from the law of each class and what a model says of the levels in it.

    Attributes
    ----------
    rates : RatesInClasses
    model : PrecipDiffusion or None
        Of `raised_scores`, told the classes; None: each cell by itself.
    """

    rates: RatesInClasses
    model: PrecipDiffusion | None

    def draw(self, classes: np.ndarray, n_steps: int | None, seed: int) -> np.ndarray:
        """Rain in mm/h for maps of classes, float32."""
        if self.model is None:
            return self._rain(classes, _independent(classes, seed))
        scores = self.model.sample(
            len(classes), y=classes, shape=classes.shape[-2:], n_steps=n_steps, random_state=seed
        )
        return self._rain(classes, _levels(scores))

    def complete(
        self, rain: np.ndarray, classes: np.ndarray, n_steps: int | None, seed: int, number: int
    ) -> np.ndarray:
        """Rain beside known rain; the levels of dry cells are known as well.

        Parameters
        ----------
        rain, classes : ndarray of shape (n, time, y, x)
            Rain is NaN where unknown.
        n_steps : int or None
        seed : int
        number : int
            Of the realization.
        """
        seeds = [derived_seed(seed, number, k) for k in range(len(classes))]
        if self.model is None:
            drawn = [_independent(c[None], s)[0] for c, s in zip(classes, seeds, strict=True)]
            return self._rain(classes, np.stack(drawn))
        known = np.where(classes == 0, np.float32(RAISED), raised_scores(self.rates, rain))
        filled = [
            self.model.impute(
                one, y=told, n_samples=None, n_steps=n_steps, random_state=each % 2**32
            )
            for one, told, each in zip(known, classes, seeds, strict=True)
        ]
        return self._rain(classes, _levels(np.stack(filled)))

    def log_density(
        self, rain: np.ndarray, classes: np.ndarray, device: torch.device
    ) -> np.ndarray:
        """Bound of the log-density of the wet rates of each window given their classes."""
        wet = classes > 0
        density = np.where(wet, self.rates.log_density(rain), 0.0)
        if self.model is None:
            return density.reshape(len(rain), -1).sum(1)
        model = self.model.model_
        told = model.told.covariates(classes[:, :, None]).to(device)
        scores = np.where(wet, raised_scores(self.rates, rain), np.nan)
        bound = log_density_bound(
            VDenoiser(partial(model.network.to(device), covariates=told)),
            torch.from_numpy(scores.astype(np.float32)),
            model.latent,
            RandomStreams([derived_seed(1)] * len(rain)),
            (model.schedule.log_snr_min, model.schedule.log_snr_max),
            device=device,
        ).numpy()
        # From scores to rates: the density within the class over that of a normal score.
        normal = np.where(wet, -0.5 * (scores - RAISED) ** 2 - 0.5 * np.log(2 * np.pi), 0.0)
        return bound + (density - normal).reshape(len(rain), -1).sum(1)

    def _rain(self, classes: np.ndarray, levels: np.ndarray) -> np.ndarray:
        return self.rates.rates(classes, levels).astype(np.float32)


def _levels(scores: ArrayOrDataArray) -> np.ndarray:
    return ndtr(np.asarray(scores, dtype=np.float64) - RAISED)


def _independent(classes: np.ndarray, seed: int) -> np.ndarray:
    """Levels of each map by itself, from a stream of its own."""
    streams = [np.random.default_rng((seed, 1, i)) for i in range(len(classes))]
    return np.stack([stream.random(classes.shape[1:]) for stream in streams])
