"""Two stages: where and in which class it rains, and then how much."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skdiffuse.corruptions import RatesInClasses
from skdiffuse.cubes import dress, validate_cube
from skdiffuse.estimator.arguments import check_arguments, check_number, checked_mask
from skdiffuse.estimator.generation import history_of
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.rate_stage import RateStage
from skdiffuse.estimator.staged_rain import StagedRain, learn_stages
from skdiffuse.estimator.two_stage_file import STAGES, read_stages, write_stages
from skdiffuse.estimator.two_stage_refusals import SaysWhyNot, refusing
from skdiffuse.estimator.verbs import as_asked, context, refined_in_time, with_future
from skdiffuse.runtime.array_types import ArrayOrDataArray, RandomStateLike
from skdiffuse.runtime.default_dtype import single_precision
from skdiffuse.runtime.seeds import integer_seed

__all__ = ["TwoStageDiffusion"]


class TwoStageDiffusion(SaysWhyNot, BaseEstimator):
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
    >>> path = getfixture("tmp_path") / "model.safetensors"
    >>> model.save(path)
    >>> TwoStageDiffusion.load(path).sample(3).equals(rain)
    True
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

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            If `classes` does not diffuse classes, the stages do not fit each other, X is several
            cubes, or y is given.
        """
        if y is not None:
            raise ValueError(
                "y is not None, and both stages are told nothing but each other: leave y out, or "
                "use PrecipDiffusion, which can be told labels and fields."
            )
        last = getattr(self, "classes_", None), getattr(self, "intensities_", None)
        first, second, rates = learn_stages((self.classes, self.intensities), X, last)
        # All at once, so that a fit that fails leaves what was there.
        self.classes_, self.intensities_, self.rates_ = first, second, rates
        return self

    @refusing
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
        asked = shape, n_steps, self._seed(random_state)
        template = self.classes_.model_.template
        rain = self._stages.draw(n_samples, *asked)
        return dress(rain, template, time="elapsed", history=_history("sample"))

    @refusing
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
        asked = shape, n_steps, self._seed(random_state)
        return self._stages.draw_classes(n_samples, *asked)

    @refusing
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
        asked = n_steps, self._seed(random_state)
        filled = as_asked(self._stages.fill(values, known, n_samples or 1, *asked), cube, n_samples)
        return dress(filled, cube.template, history=_history("impute"))

    @refusing
    @single_precision()
    def interpolate(
        self,
        X: ArrayOrDataArray,
        factor: int = 2,
        *,
        n_samples: int | None = 1,
        n_steps: int | None = None,
        random_state: RandomStateLike = None,
    ) -> ArrayOrDataArray:
        """Refine in time: impute the frames between the known ones.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h at every `factor`-th of the model's time steps.
        factor : int, default=2
            Steps to make of each step of `X`.
        n_samples, n_steps, random_state
            See `impute`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, ..., (time - 1) * factor + 1, y, x)
        """
        check_is_fitted(self)
        check_arguments(factor=factor)
        check_number(n_samples, "n_samples")
        cube = context(self.classes_.model_, validate_cube(X), time_factor=factor)
        values = refined_in_time(cube, factor)
        asked = n_steps, self._seed(random_state)
        filled = self._stages.fill(values, np.isfinite(values), n_samples or 1, *asked)
        filled, history = as_asked(filled, cube, n_samples), _history("interpolate")
        return dress(filled, cube.template, time="refined", factor=factor, history=history)

    @refusing
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
        rain = with_future(cube, model.n_frames, horizon)
        members = self._stages.complete(rain, n_members, n_steps, self._seed(random_state))
        future = as_asked(members[..., -horizon:, :, :], cube, n_members)
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
        return self._stages.log_density(validate_cube(X, n_frames=self.classes_.model_.n_frames))

    def score(self, X: ArrayOrDataArray, y: None = None) -> float:
        """Mean of `score_samples`: higher is better."""
        return float(self.score_samples(X).mean())

    def save(self, path: str | Path) -> None:
        """Write both fitted stages to one safetensors file, with no pickle inside.

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        TypeError
            If a transformer is of your own class, which has no form in a file. Of a network,
            sampler or schedule of your own the name is kept, and `load` asks for it.
        """
        check_is_fitted(self)
        check_arguments(path=path)
        stages = {name: getattr(self, f"{name}_") for name in STAGES}
        write_stages(path, stages, self.rates_, self.random_state)

    @classmethod
    @single_precision()
    def load(
        cls,
        path: str | Path,
        *,
        classes: Mapping[str, Any] | None = None,
        intensities: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read a model that `save` wrote, on any machine.

        Parameters
        ----------
        path : str or Path
        classes, intensities : mapping, default=None
            Objects by the names ``network``, ``sampler``, ``schedule``, ``corruption`` that are
            taken instead of those of a stage in the file; needed where the stage was made with
            ones of your own, which a file cannot hold.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it is damaged or not a model of two stages, or was made
            with objects that are not given.
        """
        own = {"classes": classes, "intensities": intensities}
        first, second, rates, random_state = read_stages(path, own)
        stages = clone(first), "independent" if second is None else clone(second)
        model = cls(*stages, random_state=random_state)
        model.classes_, model.intensities_, model.rates_ = first, second, rates
        return model

    # Details

    @property
    def _stages(self) -> StagedRain:
        """What both stages do together."""
        return StagedRain(self.classes_, RateStage(self.rates_, self.intensities_))

    def _seed(self, random_state: RandomStateLike) -> int:
        check_arguments(random_state=random_state)
        return integer_seed(self.random_state if random_state is None else random_state)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "rates_") and hasattr(self, "intensities_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.input_tags.positive_only = True
        return tags


def _history(verb: str) -> str:
    return history_of(verb).replace("PrecipDiffusion", "TwoStageDiffusion")
