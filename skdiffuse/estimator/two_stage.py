"""Two stages: where and in which class it rains, and then how much."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skdiffuse.corruptions import (
    ClassCorruption,
    RatesInClasses,
    intensity_classes,
    resolve_corruption,
)
from skdiffuse.cubes import dress, validate_cube
from skdiffuse.diffusion import RandomStreams, VDenoiser
from skdiffuse.estimator.arguments import check_arguments, check_number, checked_mask, checked_sizes
from skdiffuse.estimator.class_maps import class_map_bound, complete_class_maps, draw_class_maps
from skdiffuse.estimator.density import log_density_bound
from skdiffuse.estimator.generation import history_of
from skdiffuse.estimator.parameters import check_parameters, usable_device
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.request import SamplingRequest
from skdiffuse.estimator.same_kind import RainKind
from skdiffuse.estimator.verbs import context
from skdiffuse.runtime.array_types import ArrayOrDataArray, RandomStateLike
from skdiffuse.runtime.default_dtype import single_precision
from skdiffuse.runtime.seeds import derived_seed, integer_seed

__all__ = ["TwoStageDiffusion"]

# Levels within a class are handed to the second stage as normal scores, raised so that they are
# never negative, which rain may not be.
RAISED = 6.0
RAREST = 1e-8


class TwoStageDiffusion(BaseEstimator):
    """Diffusion of classes of intensity, and then of the rates within them.

    The first stage draws maps of classes (dry, trace, light, moderate, heavy, extreme) by masking
    or editing diffusion, so that where it is dry is decided as such and rain is exactly 0 there.
    The second, told these maps, draws how far up in its class each wet cell is; rates never leave
    their class.

    Parameters
    ----------
    classes : PrecipDiffusion or None, default=None
        The first stage, with a `ClassCorruption`, whose edges are those of the classes. None:
        ``PrecipDiffusion(corruption="masking")``.
    intensities : PrecipDiffusion, "independent" or None, default=None
        The second stage. "independent": each cell by itself from the law of its class, without a
        network. None: a Gaussian model with the other parameters of `classes`.
    random_state : int, RandomState or None, default=None
        For what is drawn where a verb is given none of its own.

    Attributes
    ----------
    classes_ : PrecipDiffusion
    intensities_ : PrecipDiffusion or None
        Of normal scores of the levels within the classes, told the classes; None where independent.
    rates_ : RatesInClasses
        How rates are distributed within each class.

    Notes
    -----
    Stages with ``warm_start=True`` go on with the training of the last call of `fit`.

    It can draw, complete and score. Guidance by weights (``w_r``), gauges or areal means acts on
    expected rain, which a map of classes does not have: use `PrecipDiffusion`.

    Examples
    --------
    >>> from skdiffuse import PrecipDiffusion, make_precipitation
    >>> cube = make_precipitation(n_frames=20, shape=(16, 16), random_state=0)
    >>> settings = dict(n_frames=2, max_steps=2, random_state=0, verbose=False)
    >>> first = PrecipDiffusion(corruption="masking", **settings)
    >>> model = TwoStageDiffusion(first, "independent", random_state=0).fit(cube)
    >>> rain = model.sample(3)
    >>> rain.shape
    (3, 2, 16, 16)
    """

    classes_: PrecipDiffusion
    intensities_: PrecipDiffusion | None
    rates_: RatesInClasses

    def __init__(
        self,
        classes: PrecipDiffusion | None = None,
        intensities: PrecipDiffusion | str | None = None,
        *,
        random_state: RandomStateLike = None,
    ) -> None:
        self.classes = classes
        self.intensities = intensities
        self.random_state = random_state

    def fit(self, X: ArrayOrDataArray, y: None = None) -> Self:
        """Learn both stages, one after the other.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h, NaN where missing; held in memory.
        y : None
            Ignored.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            If `classes` does not diffuse classes, or the stages do not fit each other.
        """
        first, second = self._stages()
        validate_cube(X, n_frames=first.n_frames)
        corruption = resolve_corruption(first.corruption)
        assert isinstance(corruption, ClassCorruption)
        values = np.asarray(X)
        self.rates_ = RatesInClasses.fit(values, corruption.edges)
        self.classes_ = self._to_fit("classes_", first).fit(X)
        if second is None:
            self.intensities_ = None
        else:
            classes = intensity_classes(values, corruption.edges)
            scores = self._scores(values)
            named: Any = scores if isinstance(X, np.ndarray) else X.copy(data=scores)
            self.intensities_ = self._to_fit("intensities_", second).fit(named, y=classes)
        return self

    @single_precision()
    def sample(
        self,
        n_samples: int = 1,
        *,
        shape: tuple[int, int] | None = None,
        n_steps: int | None = None,
        random_state: RandomStateLike = None,
    ) -> ArrayOrDataArray:
        """Generate sequences of rain.

        Parameters
        ----------
        n_samples : int, default=1
        shape : tuple of int or None, default=None
            Rows and columns; None: those of a training window.
        n_steps : int or None, default=None
            Steps of each stage; None: the stages' own. Classes want many: in each step so many
            cells get theirs at once, and not knowing of each other.
        random_state : int, RandomState or None, default=None
            None: the model's own.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, n_frames, y, x)
            Rain in mm/h, exactly 0 where dry; float32.
        """
        check_is_fitted(self)
        check_arguments(n_samples=n_samples)
        seed = self._seed(random_state)
        classes = self._sample_classes(n_samples, shape, n_steps, seed)
        levels = self._levels(classes, n_steps, seed)
        return self._dressed(self._rain(classes, levels), "sample")

    @single_precision()
    def sample_classes(
        self,
        n_samples: int = 1,
        *,
        shape: tuple[int, int] | None = None,
        n_steps: int | None = None,
        random_state: RandomStateLike = None,
    ) -> np.ndarray:
        """Generate the maps of classes alone; parameters as in `sample`, whose classes they are.

        Returns
        -------
        ndarray of shape (n_samples, n_frames, y, x)
            Whole numbers from 0, which is dry; float32.
        """
        check_is_fitted(self)
        check_arguments(n_samples=n_samples)
        return self._sample_classes(n_samples, shape, n_steps, self._seed(random_state))

    @single_precision()
    def impute(
        self,
        X: ArrayOrDataArray,
        mask: ArrayOrDataArray | None = None,
        *,
        n_samples: int | None = 1,
        n_steps: int | None = None,
        random_state: RandomStateLike = None,
    ) -> ArrayOrDataArray:
        """Fill in what is unknown, in space and in time.

        Known classes are never masked, so that the classes beside them follow the network's own
        conditional law, without guidance; see `ClassCorruption.keep` for the other kinds.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h.
        mask : ndarray or DataArray of bool, optional
            True where `X` is known; default: all that is finite.
        n_samples : int or None, default=1
            Number of realizations.
        n_steps, random_state
            See `sample`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, *X.shape), or X.shape if `n_samples` is None
            Known values are those of `X` to the bit.
        """
        check_is_fitted(self)
        check_number(n_samples, "n_samples")
        cube = context(self.classes_.model_, validate_cube(X))
        values = cube.frames()
        known = np.isfinite(values)
        if mask is not None:
            known = known & checked_mask(mask, X, known.shape)
        rain = np.where(known, values, np.nan)
        members = self._completed(rain, n_samples or 1, n_steps, self._seed(random_state))
        filled = np.where(known, values, members).astype(values.dtype)
        filled = filled[:, 0] if cube.is_series else filled
        return dress(
            filled if n_samples is not None else filled[0],
            cube.template,
            history=_history("impute"),
        )

    @single_precision()
    def forecast(
        self,
        X: ArrayOrDataArray,
        horizon: int,
        *,
        n_members: int = 1,
        n_steps: int | None = None,
        random_state: RandomStateLike = None,
    ) -> ArrayOrDataArray:
        """Continue rain beyond its end: its last frames are known, those to come are imputed.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h.
        horizon : int
            Frames to come.
        n_members : int, default=1
        n_steps, random_state
            See `sample`.

        Returns
        -------
        ndarray or DataArray of shape (n_members, horizon, y, x) or (n_members, n, horizon, y, x)
        """
        check_is_fitted(self)
        check_arguments(horizon=horizon, n_members=n_members)
        model = self.classes_.model_
        cube = context(model, validate_cube(X))
        wanted = max(model.n_frames - horizon, model.n_frames // 2, 1)
        past = cube.frames(max(cube.runs()[-1][0], cube.n_times - wanted))
        future = np.full((len(past), horizon, *cube.field_shape), np.nan, np.float32)
        rain = np.concatenate([past, future], axis=1)
        members = self._completed(rain, n_members, n_steps, self._seed(random_state))
        members = members[:, 0] if cube.is_series else members
        future = members[..., -horizon:, :, :]
        return dress(future, cube.template, time="continued", history=_history("forecast"))

    @single_precision()
    def score_samples(self, X: ArrayOrDataArray) -> np.ndarray:
        """Lower bound of the log-density of sequences of rain, in nats.

        Of each sequence: that of the probability of its classes, and that of the density of the
        rates in its wet cells given the classes, per mm/h. A dry cell has a probability and no
        density.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h, cut into windows as in `PrecipDiffusion.score_samples`.

        Returns
        -------
        ndarray of float64, shape (n,) or (n_windows,)
        """
        check_is_fitted(self)
        model = self.classes_.model_
        cube = validate_cube(X, n_frames=model.n_frames)
        RainKind.of(model).check(cube)
        parameters = check_parameters(self.classes_)
        device = usable_device(parameters.device)
        jobs, scores = model.tiles(cube), []
        for start in range(0, len(jobs), parameters.batch_size):
            batch = jobs[start : start + parameters.batch_size]
            rain = cube.stack(batch, model.n_frames)
            classes = intensity_classes(rain, tuple(self.rates_.edges))
            # One noise for all windows, so that a score does not depend on the others.
            streams = RandomStreams([derived_seed(0)] * len(batch))
            bound = class_map_bound(model, torch.from_numpy(classes), streams, device)
            scores.append(bound.numpy() + self._rates_bound(rain, classes, device))
        per_window = np.concatenate(scores)
        if cube.is_series:
            return per_window
        sequence = [job[0] for job in jobs]
        return np.bincount(sequence, weights=per_window, minlength=cube.n_sequences)

    def score(self, X: ArrayOrDataArray, y: None = None) -> float:
        """Mean of `score_samples`: higher is better."""
        return float(self.score_samples(X).mean())

    # Details

    def _stages(self) -> tuple[PrecipDiffusion, PrecipDiffusion | None]:
        """Both stages, not fitted, checked against each other."""
        first = PrecipDiffusion(corruption="masking") if self.classes is None else self.classes
        if not isinstance(first, PrecipDiffusion) or not isinstance(
            resolve_corruption(first.corruption), ClassCorruption
        ):
            raise ValueError(
                f"classes={first!r} must be a PrecipDiffusion that diffuses classes: give it "
                "corruption='masking', 'substitution', 'ordinal' or a ClassCorruption."
            )
        second = self.intensities
        if isinstance(second, str) and second == "independent":
            return clone(first), None
        own = {"transformer": None, "trace": 1e-6, "latent_scaling": "standard"}
        if second is None:
            own |= {"corruption": "gaussian", "network__skip": "wiener"}
            return clone(first), clone(first).set_params(**own)
        if not isinstance(second, PrecipDiffusion):
            raise ValueError(
                f"intensities={second!r} must be a PrecipDiffusion, 'independent' or None."
            )
        if second.n_frames != first.n_frames:
            raise ValueError(
                f"intensities has n_frames={second.n_frames} and classes n_frames="
                f"{first.n_frames}: give both stages the same."
            )
        return clone(first), clone(second).set_params(**own)

    def _to_fit(self, name: str, stage: PrecipDiffusion) -> PrecipDiffusion:
        """A new stage, or the last call's where it is to go on."""
        last = getattr(self, name, None)
        if stage.warm_start and last is not None:
            return last.set_params(**stage.get_params(deep=False))
        return stage

    def _seed(self, random_state: RandomStateLike) -> int:
        check_arguments(random_state=random_state)
        return integer_seed(self.random_state if random_state is None else random_state)

    def _request(self, n_steps: int | None, seed: int) -> SamplingRequest:
        parameters = check_parameters(self.classes_)
        return SamplingRequest.of(parameters, n_steps=n_steps, random_state=seed)

    def _sample_classes(
        self, n_samples: int, shape: tuple[int, int] | None, n_steps: int | None, seed: int
    ) -> np.ndarray:
        model = self.classes_.model_
        rows, columns = (
            model.field_shape if shape is None else checked_sizes(shape, ("rows", "columns"))
        )
        request = self._request(n_steps, seed)
        seeds = [derived_seed(request.seed, i) for i in range(n_samples)]
        window = (model.n_frames, rows, columns)
        return draw_class_maps(model, request, window, seeds).numpy()

    def _scores(self, rain: np.ndarray) -> np.ndarray:
        """What the second stage takes for rain: raised normal scores of the levels."""
        levels = np.clip(self.rates_.levels(rain), RAREST, 1 - RAREST)
        return (ndtri(levels) + RAISED).astype(np.float32)

    def _rain(self, classes: np.ndarray, levels: np.ndarray) -> np.ndarray:
        return self.rates_.rates(classes, levels).astype(np.float32)

    def _levels(self, classes: np.ndarray, n_steps: int | None, seed: int) -> np.ndarray:
        """Level of each cell in its class."""
        if self.intensities_ is None:
            return _independent(classes, seed)
        scores = self.intensities_.sample(
            len(classes), y=classes, shape=classes.shape[-2:], n_steps=n_steps, random_state=seed
        )
        return ndtr(np.asarray(scores, dtype=np.float64) - RAISED)

    def _completed(
        self, rain: np.ndarray, n_members: int, n_steps: int | None, seed: int
    ) -> np.ndarray:
        """Members of sequences of rain, NaN where unknown, of shape (n_members, *rain.shape)."""
        rain = rain.astype(np.float32)
        request = self._request(n_steps, seed)
        known = torch.from_numpy(intensity_classes(rain, tuple(self.rates_.edges)))
        members = []
        for number in range(n_members):
            drawn = complete_class_maps(self.classes_.model_, request, known.clone(), number)
            classes = drawn.numpy()
            levels = self._completed_levels(rain, classes, n_steps, request.seed, number)
            members.append(self._rain(classes, levels))
        return np.stack(members)

    def _completed_levels(
        self, rain: np.ndarray, classes: np.ndarray, n_steps: int | None, seed: int, number: int
    ) -> np.ndarray:
        """Levels beside those of known rain; those of dry cells are known as well."""
        seeds = [derived_seed(seed, number, k) for k in range(len(classes))]
        if self.intensities_ is None:
            return np.stack(
                [_independent(c[None], s)[0] for c, s in zip(classes, seeds, strict=True)]
            )
        scores = np.where(classes == 0, np.float32(RAISED), self._scores(rain))
        filled = [
            self.intensities_.impute(
                one, y=told, n_samples=None, n_steps=n_steps, random_state=each % 2**32
            )
            for one, told, each in zip(scores, classes, seeds, strict=True)
        ]
        return ndtr(np.stack(filled).astype(np.float64) - RAISED)

    def _rates_bound(
        self, rain: np.ndarray, classes: np.ndarray, device: torch.device
    ) -> np.ndarray:
        """Bound of the log-density of the rates of each window given their classes."""
        wet = classes > 0
        density = np.where(wet, self.rates_.log_density(rain), 0.0)
        if self.intensities_ is None:
            return density.reshape(len(rain), -1).sum(1)
        model = self.intensities_.model_
        told = model.told.covariates(classes[:, :, None]).to(device)
        scores = np.where(wet, self._scores(rain), np.nan)
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

    def _dressed(self, values: np.ndarray, verb: str) -> ArrayOrDataArray:
        template = self.classes_.model_.template
        return dress(values, template, time="elapsed", history=_history(verb))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "rates_") and hasattr(self, "intensities_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.input_tags.positive_only = True
        return tags


def _independent(classes: np.ndarray, seed: int) -> np.ndarray:
    """Levels of each map by itself, from a stream of its own."""
    streams = [np.random.default_rng((seed, 1, i)) for i in range(len(classes))]
    return np.stack([stream.random(classes.shape[1:]) for stream in streams])


def _history(verb: str) -> str:
    return history_of(verb).replace("PrecipDiffusion", "TwoStageDiffusion")
