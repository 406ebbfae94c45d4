"""Rain in two stages: maps of classes by one model, and the rates in them by another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from sklearn.base import clone

from skdiffuse.corruptions import (
    ClassCorruption,
    RatesInClasses,
    intensity_classes,
    resolve_corruption,
)
from skdiffuse.cubes import Cube, are_several, validate_cube
from skdiffuse.diffusion import RandomStreams
from skdiffuse.estimator.arguments import checked_sizes
from skdiffuse.estimator.class_maps import class_map_bound, complete_class_maps, draw_class_maps
from skdiffuse.estimator.parameters import check_parameters, usable_device
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.rate_stage import RateStage, raised_scores
from skdiffuse.estimator.request import SamplingRequest
from skdiffuse.estimator.same_kind import RainKind
from skdiffuse.runtime.array_types import ArrayOrDataArray
from skdiffuse.runtime.seeds import derived_seed

__all__ = ["StagedRain", "learn_stages"]


def checked_stages(
    classes: PrecipDiffusion | None, intensities: PrecipDiffusion | str | None
) -> tuple[PrecipDiffusion, PrecipDiffusion | None]:
    """Both stages of `TwoStageDiffusion`, not fitted, checked against each other."""
    first = PrecipDiffusion(corruption="masking") if classes is None else classes
    if not isinstance(first, PrecipDiffusion) or not isinstance(
        resolve_corruption(first.corruption), ClassCorruption
    ):
        raise ValueError(
            f"classes={first!r} must be a PrecipDiffusion that diffuses classes: give it "
            "corruption='masking', 'substitution', 'ordinal' or a ClassCorruption."
        )
    if isinstance(intensities, str) and intensities == "independent":
        return clone(first), None
    own = {"transformer": None, "trace": 1e-6, "latent_scaling": "standard"}
    if intensities is None:
        own |= {"corruption": "gaussian", "network__skip": "wiener"}
        return clone(first), clone(first).set_params(**own)
    if not isinstance(intensities, PrecipDiffusion):
        raise ValueError(
            f"intensities={intensities!r} must be a PrecipDiffusion, 'independent' or None."
        )
    if isinstance(resolve_corruption(intensities.corruption), ClassCorruption):
        raise ValueError(
            f"intensities has corruption={intensities.corruption!r}, which draws classes and no "
            "rates: give it corruption='gaussian', or leave intensities out."
        )
    if intensities.n_frames != first.n_frames:
        raise ValueError(
            f"intensities has n_frames={intensities.n_frames} and classes n_frames="
            f"{first.n_frames}: give both stages the same."
        )
    return clone(first), clone(intensities).set_params(**own)


def learn_stages(
    stages: tuple[PrecipDiffusion | None, PrecipDiffusion | str | None],
    X: ArrayOrDataArray,
    last: tuple[PrecipDiffusion | None, PrecipDiffusion | None],
) -> tuple[PrecipDiffusion, PrecipDiffusion | None, RatesInClasses]:
    """Learn both stages of `TwoStageDiffusion`.

    Parameters
    ----------
    stages : tuple
        The first and the second, not fitted.
    X : ndarray or DataArray
    last : tuple
        Those of the last fit, with which a stage with ``warm_start`` goes on.
    """
    if are_several(X):
        raise ValueError(
            f"X is a {type(X).__name__} of cubes, and both stages learn from one: put them "
            "together, as an array of shape (n, time, y, x)."
        )
    first, second = checked_stages(*stages)
    validate_cube(X, n_frames=first.n_frames)
    corruption = resolve_corruption(first.corruption)
    assert isinstance(corruption, ClassCorruption)
    values = np.asarray(X)
    rates = RatesInClasses.fit(values, corruption.edges)
    first = _to_fit(first, last[0]).fit(X)
    if second is None:
        return first, None, rates
    scores = raised_scores(rates, values)
    named = X.copy(data=scores) if isinstance(X, xr.DataArray) else scores
    classes = intensity_classes(values, corruption.edges)
    return first, _to_fit(second, last[1]).fit(named, y=classes), rates


def _to_fit(stage: PrecipDiffusion, last: PrecipDiffusion | None) -> PrecipDiffusion:
    """A new stage, or the last fit's where it is to go on."""
    if not stage.warm_start or last is None:
        return stage
    return last.set_params(**stage.get_params(deep=False))


@dataclass(frozen=True)
class StagedRain:
    """What two fitted stages do together.

    Attributes
    ----------
    classes : PrecipDiffusion
        Fitted, of classes.
    rates : RateStage
    """

    classes: PrecipDiffusion
    rates: RateStage

    def draw_classes(
        self, n_samples: int, shape: tuple[int, int] | None, n_steps: int | None, seed: int
    ) -> np.ndarray:
        """Maps of classes, (n_samples, n_frames, *shape); None: the shape of the model; float32."""
        model = self.classes.model_
        field = model.field_shape if shape is None else checked_sizes(shape, ("rows", "columns"))
        request = self._request(n_steps, seed)
        seeds = [derived_seed(request.seed, i) for i in range(n_samples)]
        return draw_class_maps(model, request, (model.n_frames, field[0], field[1]), seeds).numpy()

    def draw(
        self, n_samples: int, shape: tuple[int, int] | None, n_steps: int | None, seed: int
    ) -> np.ndarray:
        """Rain in mm/h of the maps that `draw_classes` gives."""
        return self.rates.draw(self.draw_classes(n_samples, shape, n_steps, seed), n_steps, seed)

    def complete(
        self, rain: np.ndarray, n_members: int, n_steps: int | None, seed: int
    ) -> np.ndarray:
        """Members of sequences of rain, NaN where unknown, of shape (n_members, *rain.shape)."""
        rain = rain.astype(np.float32)
        request = self._request(n_steps, seed)
        known = torch.from_numpy(intensity_classes(rain, tuple(self.rates.rates.edges)))
        members = []
        for number in range(n_members):
            drawn = complete_class_maps(self.classes.model_, request, known.clone(), number)
            members.append(self.rates.complete(rain, drawn.numpy(), n_steps, request.seed, number))
        return np.stack(members)

    def fill(
        self,
        values: np.ndarray,
        known: np.ndarray,
        n_members: int,
        n_steps: int | None,
        seed: int,
    ) -> np.ndarray:
        """Values where they are known, to the bit, and members of rain drawn beside them."""
        members = self.complete(np.where(known, values, np.nan), n_members, n_steps, seed)
        return np.where(known, values, members).astype(values.dtype)

    def log_density(self, cube: Cube) -> np.ndarray:
        """Bound of the log-density of each window, or of each sequence where there are several."""
        model = self.classes.model_
        RainKind.of(model).check(cube)
        parameters = check_parameters(self.classes)
        device = usable_device(parameters.device)
        jobs, scores = model.tiles(cube), []
        for start in range(0, len(jobs), parameters.batch_size):
            batch = jobs[start : start + parameters.batch_size]
            rain = cube.stack(batch, model.n_frames)
            classes = intensity_classes(rain, tuple(self.rates.rates.edges))
            # One noise for all windows, so that a score does not depend on the others.
            streams = RandomStreams([derived_seed(0)] * len(batch))
            bound = class_map_bound(model, torch.from_numpy(classes), streams, device)
            scores.append(bound.numpy() + self.rates.log_density(rain, classes, device))
        per_window = np.concatenate(scores)
        if cube.is_series:
            return per_window
        sequence = [job[0] for job in jobs]
        return np.bincount(sequence, weights=per_window, minlength=cube.n_sequences)

    def _request(self, n_steps: int | None, seed: int) -> SamplingRequest:
        parameters = check_parameters(self.classes)
        return SamplingRequest.of(parameters, n_steps=n_steps, random_state=seed)
