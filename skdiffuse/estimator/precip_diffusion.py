"""The estimator: learns rain from a cube, then serves every task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skdiffuse.corruptions import Corruption
from skdiffuse.cubes import Cube, GridMetadata, validate_cube, validate_cubes
from skdiffuse.diffusion import ArealMean, KnownCells, NoiseSchedule, Observation, Step
from skdiffuse.estimator import (
    density,
    generation,
    learning,
    persistence,
    reverse_variance,
    verbs,
)
from skdiffuse.estimator.arguments import (
    ARGUMENTS,
    check_arguments,
    check_number,
    checked_mask,
    checked_sizes,
    checked_storm,
    checked_validation,
)
from skdiffuse.estimator.callbacks import FitCallbacks, with_callbacks
from skdiffuse.estimator.constraints import check_all, whole_number
from skdiffuse.estimator.fitting import prepare
from skdiffuse.estimator.folders import in_own_folders, try_folders
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.estimator.learning import Learnt
from skdiffuse.estimator.model_card import ModelCard
from skdiffuse.estimator.named_models import find_model
from skdiffuse.estimator.parameters import (
    SHORTCUTS,
    check_own_objects,
    check_parameters,
    usable_device,
)
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.request import GENERAL_OPTIONS, SamplingRequest
from skdiffuse.estimator.same_kind import RainKind
from skdiffuse.estimator.settings import (
    KeepingSettings,
    NetworkSettings,
    SamplerSettings,
    TrainingSettings,
)
from skdiffuse.estimator.weather_fitting import with_chain
from skdiffuse.preprocessing import ElementwiseTransformer
from skdiffuse.runtime.array_types import ArrayOrDataArray, RandomStateLike
from skdiffuse.runtime.default_dtype import single_precision
from skdiffuse.runtime.double import home_of_double
from skdiffuse.runtime.seeds import integer_seed
from skdiffuse.training import companions_of

__all__ = ["PrecipDiffusion"]

# What may stand for settings, besides themselves.
NetworkLike: TypeAlias = str | Callable[..., nn.Module] | NetworkSettings
SamplerLike: TypeAlias = str | Step | SamplerSettings


class PrecipDiffusion(CallbackSupportMixin, BaseEstimator):
    """Diffusion model of time-evolving precipitation.

    Learns the distribution of sequences of rain fields without conditions; every conditional
    question (gaps, interpolation, nowcasts) is then answered by the same fitted object.

    Parameters
    ----------
    transformer : None, str or transformer, default="sqrt"
        Transform of rain: None, "sqrt", "learnt", another name that `resolve_transformer` knows,
        or an element-wise transformer instance.
    n_frames : int, default=10
        Frames of a sequence.
    crop_size : int, default=64
        Fields larger than this are trained on random crops of this many rows and columns.
    network : str, callable or NetworkSettings, default="tiny"
        Size of the video U-Net ("tiny", "small", "base", "large"), a function that makes a network
        of your own, or `NetworkSettings` with more: edges, geography, where it starts from.
    schedule : {"cosine"} or NoiseSchedule, default="cosine"
        Log-SNRs that the network is trained on and the sampler goes through: the cosine schedule on
        [-20, 20], shifted by -2 in training, or any schedule of `skdiffuse.diffusion` or your own.
    corruption : str or Corruption, default="gaussian"
        What the network learns to undo: "gaussian" noise, "student_t" noise with heavy tails,
        "blur", "coarse_graining", "encoded" (Gaussian noise on the codes of an autoencoder), or an
        object of `skdiffuse.corruptions`. What another than the default cannot do is refused by
        name; see docs/corruptions.md.
    sampler : str, Step or SamplerSettings, default="adams"
        Step rule ("adams", "heun", "exponential", "ancestral", or an object), or `SamplerSettings`
        with the number of steps and their spacing.
    training : TrainingSettings or None, default=None
        Learning rate, weight decay, precision, validation and more; None: the defaults.
    keeping : KeepingSettings or None, default=None
        How checkpoints, snapshots and logs are kept; None: the defaults.
    amortised : bool, default=False
        Train the network on random tasks as well (the past known, every other frame, gaps, single
        cells), so that it can be told what is known: conditional sampling then needs no gradient
        through the network; see `condition`.
    latent_scaling : {"standard", "range"}, default="standard"
        Scale of the transformed rain: unit variance, or [-1, 1] with the largest rate of the
        training data as a limit that is never exceeded.
    trace : float, default=0.01
        Rate in mm/h below which generated rain is exactly 0.
    batch_size : int, default=8
        Sequences per training step, and per evaluation of the network in sampling, where it changes
        results by rounding alone.
    max_steps : int or None, default=None
        Training steps; None: as many as `training`'s ``max_epochs`` make.
    max_time : float or None, default=None
        Training ends after this many seconds at the latest.
    checkpoint_dir : str, Path or None, default=None
        Folder for checkpoints, written about once a minute and at the end, also when training is
        interrupted. None writes none. A clone, which is what `GridSearchCV` and `cross_validate`
        fit, has a folder of its own within, named after its parameters and data.
    warm_start : bool, default=False
        Go on with the training of the last call of `fit` or, in a new process, of the newest
        checkpoint in `checkpoint_dir`, until the budget is spent in all.
    device : str or torch.device, default="auto"
        A torch device; "auto" takes a CUDA GPU if there is one. What needs double precision, which
        Apple's "mps" does not have, is then computed on the CPU, and scores as a whole. Of several
        processes started by ``torchrun`` each takes its own.
    n_jobs : int or None, default=None
        Processes that read the blocks of a lazy cube larger than memory, as joblib counts them: -1
        is one for each core; each process of ``torchrun``, and each cube of a list, has as many.
        None: a thread of this process. Does not change the result.
    random_state : int, RandomState or None, default=None
        Makes training reproducible, and sampling where it is given none of its own.
    verbose : bool, default=True
        Show progress bars.

    Attributes
    ----------
    model_ : RainModel
        What was learnt, in one piece; the next seven are parts of it.
    transformer_ : transformer
        The fitted transform; a trained one frozen as training left it, averaged as the network is.
    latent_ : LatentSpace
        Transform and scaling.
    network_ : torch.nn.Module
        The averaged network.
    schedule_ : NoiseSchedule
    field_shape_ : tuple of int
        Rows and columns of generated fields, if not asked otherwise.
    template_ : GridMetadata or None
        Names and coordinates of the training cube, or what several share; None for numpy.
    card_ : ModelCard or None
        What is said of a model that `load` found by its name.
    history_ : list of dict
        Loss along the training; see `skdiffuse.training.Trainer`.
    n_iter_ : int
        Training steps done.
    n_skipped_ : int
        Those among them that changed nothing because loss or gradient was not finite.

    Notes
    -----
    Settings are found by `GridSearchCV` and `set_params` under ``network__edges``,
    ``sampler__n_steps``, ``training__learning_rate`` and so on, also where a string or None stands
    for them. Give callbacks that scikit-learn hands on, such as its ``ProgressBar``, to the search
    and not to the model in it: ``GridSearchCV(model, ...).set_callbacks(ProgressBar())``.

    A model is asked about rain of the kind that it was trained on: time step, spacing, direction of
    axes and, with `geography`, place are kept with it and compared with those of every DataArray
    that a verb is given. Another kind is refused, with what to do; arrays that do not tell are
    taken as they are.

    References
    ----------
    George Herbert, "Diffusion Models for Time-Evolving Precipitation Fields" (2023).

    Examples
    --------
    >>> from skdiffuse.datasets import make_precipitation
    >>> cube = make_precipitation(n_frames=20, shape=(16, 16), random_state=0)
    >>> model = PrecipDiffusion(n_frames=4, max_steps=2, random_state=0, verbose=False).fit(cube)
    >>> model.sample(2).shape
    (2, 4, 16, 16)
    >>> model.set_params(sampler__n_steps=16, training__learning_rate=3e-4).sampler
    SamplerSettings(n_steps=16)
    """

    model_: RainModel
    history_: list[dict[str, float]]
    n_iter_: int
    n_skipped_: int

    def __init__(
        self,
        transformer: str | ElementwiseTransformer | None = "sqrt",
        *,
        n_frames: int = 10,
        crop_size: int = 64,
        network: NetworkLike = "tiny",
        schedule: str | NoiseSchedule = "cosine",
        corruption: str | Corruption = "gaussian",
        sampler: SamplerLike = "adams",
        training: TrainingSettings | None = None,
        keeping: KeepingSettings | None = None,
        amortised: bool = False,
        latent_scaling: str = "standard",
        trace: float = 0.01,
        batch_size: int = 8,
        max_steps: int | None = None,
        max_time: float | None = None,
        checkpoint_dir: str | Path | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool = True,
    ) -> None:
        self.transformer = transformer
        self.n_frames = n_frames
        self.crop_size = crop_size
        self.network = network
        self.schedule = schedule
        self.corruption = corruption
        self.sampler = sampler
        self.training = training
        self.keeping = keeping
        self.amortised = amortised
        self.latent_scaling = latent_scaling
        self.trace = trace
        self.batch_size = batch_size
        self.max_steps = max_steps
        self.max_time = max_time
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``training__learning_rate`` and the like also where None stands for all.

        Parameters
        ----------
        **params
            Names and values.

        Returns
        -------
        Self
        """
        for name in {key.partition("__")[0] for key in params if "__" in key} & SHORTCUTS.keys():
            value = params.get(name, getattr(self, name))
            if not hasattr(value, "set_params"):
                params[name] = SHORTCUTS[name](value)
        return super().set_params(**params)

    # Learning

    @with_callbacks
    @single_precision()
    def fit(
        self,
        X: ArrayOrDataArray | Sequence[ArrayOrDataArray],
        y: ArrayOrDataArray | Sequence[ArrayLike] | None = None,
        *,
        validation: ArrayOrDataArray | Sequence[ArrayOrDataArray] | None = None,
    ) -> Self:
        """Learn the distribution of sequences of rain, from one cube or from several.

        Started by ``torchrun``, processes share each batch and all hold the fitted model.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x), or a list of them
            A series, or sequences, of rain in mm/h; NaN where missing. Lazy arrays that are larger
            than 256 MiB are read block by block. No window spans a gap in time. The cubes of a list
            have one time step, may lie on grids of any size, of which the smallest limits
            `crop_size`, and count in proportion to their cells.
        y : None, array of int or array of float, default=None
            What else is known, which the network is told in most of the training, so that `sample`
            can be asked for it. Integers are classes (seasons, regimes): one for each sequence, or
            for each frame. Floats are fields on the cells of `X` (pressure, the height of the
            land): of the shape of `X`, or with one more dimension before the last two. For a list
            of cubes: a list, of a class or an array for each.
        validation : ndarray or DataArray like `X`, or a list of them, optional
            Rain to validate on; overrides `validation_fraction`, which is of each cube.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            If `X` is not rain of at least `n_frames` frames, a parameter is out of range, or cubes
            have other time steps than the first.
        FloatingPointError
            If training diverges.
        KeyboardInterrupt, SystemExit
            If training is interrupted, or SIGTERM asks for its end; what has been learnt so far is
            kept and usable, and in `checkpoint_dir` if there is one.
        """
        parameters = check_parameters(self)
        usable_device(parameters.device)
        cube = validate_cubes(X, n_frames=self.n_frames)
        held_out = None
        if validation is not None:
            held_out = checked_validation(validation, X, self.n_frames)
            for part in held_out.parts:
                RainKind(cube.template).check(part)
        going_on = getattr(self, "_preparation", None) if self.warm_start else None
        if going_on is not None:
            for part in cube.parts:
                RainKind.of(going_on.model).check(part)
        if hasattr(self, "_is_clone"):
            parameters = in_own_folders(parameters, self.get_params(), cube)
        try_folders(parameters)
        self._checkpoint_folder = parameters.checkpoint_dir
        preparation = prepare(parameters, cube, held_out, companions_of(y, X, cube), going_on)
        trainer = preparation.trainer
        if not trainer.sharded:
            self._preparation = preparation
        per_epoch = trainer.windows.steps_per_epoch
        try:
            learning.train(
                preparation,
                parameters.max_steps or parameters.training.max_epochs * per_epoch,
                parameters.max_time,
                FitCallbacks(self, X, _attributes),
                self._take,
                watched=hasattr(self, "_skl_callbacks"),
            )
        finally:
            trainer.windows.reader.close()
        return self

    @single_precision()
    def reaverage(self, relative_width: float) -> Self:
        """Take the weights averaged over another share of the training, after it.

        Parameters
        ----------
        relative_width : float
            Standard deviation of the averaged stretch as a fraction of the training, from about
            0.02 to 0.25; `fit` uses 0.1. See `skdiffuse.training.reconstruct_average`.

        Returns
        -------
        Self
            `network_` and, if it was trained, `transformer_` are replaced.

        Raises
        ------
        FileNotFoundError
            If the training kept no snapshots: it needs ``average_snapshots=True`` and a
            `checkpoint_dir`.
        """
        check_is_fitted(self)
        check_arguments(relative_width=relative_width)
        self.model_ = learning.reaverage(
            self.model_,
            getattr(self, "_checkpoint_folder", self.checkpoint_dir),
            relative_width,
            self.n_iter_,
        )
        return self

    def fit_weather_chain(self, X: ArrayOrDataArray) -> Self:
        """Learn anew how weather goes on from window to window, and nothing else.

        `fit` does it. A model that was kept before there were chains, or was fitted to sequences as
        short as its windows, so learns from a series with which weather `simulate` goes on.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h, such as was learnt.

        Returns
        -------
        Self

        Examples
        --------
        >>> from skdiffuse import PrecipDiffusion
        >>> from skdiffuse.datasets import make_precipitation
        >>> series = make_precipitation(n_frames=24, shape=(8, 8), random_state=0).values
        >>> options = {"n_frames": 2, "max_steps": 1, "random_state": 0, "verbose": False}
        >>> model = PrecipDiffusion(**options).fit(series.reshape(12, 2, 8, 8))
        >>> model.model_.weathers.chain is None
        True
        >>> model.fit_weather_chain(series).model_.weathers.chain.later.shape[0]  # lags
        2
        """
        cube = self._windows(X)
        law = self.model_.weathers
        if law is None:
            raise ValueError(
                "fit_weather_chain needs a model that knows the weather of its windows: fit with "
                'network="tiny" or NetworkSettings(skip="mixture").'
            )
        if any(n < m for n, m in zip(cube.field_shape, self.model_.field_shape, strict=True)):
            raise ValueError(
                f"X has fields of {cube.field_shape}, and the windows whose weather is to be "
                f"followed are of {self.model_.field_shape} cells: give fields at least as large."
            )
        parameters = check_parameters(self)
        law = with_chain(
            law,
            cube,
            self.model_.n_frames,
            self.model_.field_shape,
            batch_size=parameters.batch_size,
            seed=integer_seed(parameters.random_state),
            n_jobs=parameters.n_jobs,
        )
        self.model_ = replace(self.model_, weathers=law)
        return self

    @single_precision()
    def denoising_loss(
        self, X: ArrayOrDataArray, *, n_draws: int = 1, random_state: RandomStateLike = 0
    ) -> float:
        """Mean v-loss on rain that was not trained on; lower is better.

        A model that predicts the mean of v everywhere has the loss 1 if the latent has unit
        variance, and so has the best denoiser that looks at each cell alone and is linear.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h; cut into windows side by side that do not overlap.
        n_draws : int, default=1
            Draws of noise and log-SNR for each window.
        random_state : int or RandomState, default=0
            The same noise for every model that is to be compared.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        parameters = check_parameters(self)
        check_arguments(n_draws=n_draws, random_state=random_state)
        return learning.denoising_loss(
            self.model_,
            self._windows(X),
            n_draws=n_draws,
            seed=integer_seed(random_state),
            batch_size=parameters.batch_size,
            device=usable_device(parameters.device),
        )

    @single_precision()
    def learn_variance(
        self,
        X: ArrayOrDataArray,
        kind: str = "corrected",
        *,
        n_windows: int = 64,
        max_steps: int = 300,
        random_state: RandomStateLike = 0,
    ) -> Self:
        """Measure how far the fitted network is off, for ``reverse_variance`` of the sampler.

        An ancestral step adds less noise than the data need unless it is told how uncertain the
        network's answer is, and with few steps that shows. Nothing of the network changes; what is
        measured is saved with the model. Draw with it after
        ``set_params(sampler=SamplerSettings("ancestral", reverse_variance=kind))``.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h, of the kind trained on; cut into windows side by side. The network is told
            their weather, as it is in `sample`, and neither labels nor fields.
        kind : {"analytic", "corrected", "diagonal", "npr", "sn"}, default="corrected"
            What is wanted. The first three are measured together, at some 40 noise levels, and
            replace what was learnt before. "npr" and "sn" train a small network of 9,300 weights
            beside the finished one, which says by cell how far that is off (noise-prediction
            residual, right for any network) or how large the noise is (squared noise, right for
            a perfect one).
        n_windows : int, default=64
            Windows to measure on; "diagonal" wants hundreds.
        max_steps : int, default=300
            Training steps of "npr" and "sn", eight windows each.
        random_state : int or RandomState, default=0

        Returns
        -------
        Self

        References
        ----------
        Bao et al., "Analytic-DPM" (2022), and "Estimating the optimal covariance with imperfect
        mean in diffusion probabilistic models" (2022).
        """
        check_is_fitted(self)
        parameters = check_parameters(self)
        check_arguments(
            kind=kind, n_windows=n_windows, max_steps=max_steps, random_state=random_state
        )
        self.model_ = reverse_variance.learn_variance(
            self.model_,
            self._windows(X),
            kind,
            n_windows=n_windows,
            max_steps=max_steps,
            batch_size=parameters.batch_size,
            seed=integer_seed(random_state),
            device=usable_device(parameters.device),
            verbose=parameters.verbose,
        )
        return self

    # Rain of which nothing is known

    @single_precision()
    def sample(
        self,
        n_samples: int = 1,
        *,
        y: ArrayLike | None = None,
        guidance_weight: float = 0.0,
        log_likelihood: Callable[[Tensor], Tensor] | None = None,
        likelihood_scale: float = 1.0,
        shape: tuple[int, int] | None = None,
        storm: int | Mapping[str, float] | None = None,
        rare: float = 0.0,
        first: int = 0,
        n_steps: int | None = None,
        batch_size: int | None = None,
        tile_size: int | None = None,
        random_state: RandomStateLike = None,
        n_jobs: int | None = None,
        out: str | Path | None = None,
    ) -> ArrayOrDataArray:
        """Generate sequences of rain.

        Parameters
        ----------
        n_samples : int, default=1
        y : int, array of int or array of float, default=None
            Class of all sequences, or of each; or fields, of shape (frames, y, x) or
            (frames, c, y, x), for all sequences, or with `n_samples` in front for each: what was
            given to `fit`. None: whatever comes.
        guidance_weight : float, default=0.0
            How much `y` is exaggerated; see `ClassifierFreeGuidance`. 0: not at all.
        log_likelihood : callable, default=None
            Any wish that can be put as a score: takes rain in mm/h, a Tensor of shape (n, frames,
            y, x), and returns a Tensor of shape (n,), differentiable; what is generated leans to
            rain with a high score. See `SimilarityGuidance`.
        likelihood_scale : float, default=1.0
            By which the score is multiplied. 1 is Bayes' rule for a log-likelihood.
        shape : tuple of int or None, default=None
            Rows and columns; None: those of a training window.
        storm : int, dict or None, default=None
            Weather by order: a class of `model_.weathers`, or ``{"mean": 2.0}``, the mean rain of a
            sequence in mm/h, with ``"unevenness"``, root mean square over mean, if you like. None:
            as often as in the training rain, stratified, or, where `y` or `log_likelihood` ask for
            something, whatever comes. Only where `shape` is that of a training window.
        rare : float, default=0.0
            How much rare weather is preferred, up to 1, where all classes are drawn alike. What a
            sequence then stands for is its weight, the coordinate ``weight`` of a DataArray and in
            any case `sample_weights`: a mean of ``rain * rain.weight`` is that of plain sampling.
        first : int, default=0
            Number of the first sequence: ``sample(100)`` is ``sample(60)`` followed by
            ``sample(40, first=60)``, wherever these are made.
        n_steps : int or None, default=None
            Steps of the sampler; None: the model's `n_steps`.
        batch_size : int or None, default=None
            Sequences per evaluation of the network; halved until the memory suffices. Changes no
            more of the result than rounding does, a few millionths of a value: products of other
            sizes are summed in another order.
        tile_size : int or None, default=None
            Side in cells of the overlapping squares in which a larger field is denoised; None: as
            a whole.
        random_state : int, RandomState or None, default=None
            None: the model's own.
        n_jobs : int or None, default=None
            Processes that share the sequences, by joblib and so on any backend of it (dask, for
            several machines). None: one. Changes the result as `batch_size` does, if shares are
            smaller than a batch.
        out : str, Path or None, default=None
            File, NetCDF or ``.zarr``, to which batches are written as they come.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, n_frames, y, x)
            Rain in mm/h, at least 0; float32. A DataArray if the model was fitted to one; with
            `out`, that of the file, lazy.
        """
        check_is_fitted(self)
        check_arguments(n_samples=n_samples, first=first, n_jobs=n_jobs, out=out)
        request = self._request(
            n_steps=n_steps,
            batch_size=batch_size,
            tile_size=tile_size,
            random_state=random_state,
            y=y,
            guidance_weight=guidance_weight,
            log_likelihood=log_likelihood,
            likelihood_scale=likelihood_scale,
        )
        field = self._field(shape)
        is_window = field == self.model_.field_shape and (tile_size or max(field)) >= max(field)
        check_arguments(rare=rare)
        if (storm is not None or rare) and not is_window:
            raise ValueError(
                f"storm={storm!r} and rare={rare!r} speak of windows of the trained size "
                f"{self.model_.field_shape}, seen as a whole: leave out shape and tile_size."
            )
        if rare and not (y is None and log_likelihood is None):
            raise ValueError(
                f"rare={rare!r} prefers weather by how often it is, which y and log_likelihood "
                "change by an unknown amount: leave rare out, or order a storm instead."
            )
        return generation.sample(
            self.model_,
            request,
            n_samples,
            shape=field,
            storm=checked_storm(storm, rare, self.model_.weathers),
            rare=rare,
            first=first,
            n_jobs=n_jobs,
            out=out,
        )

    def sample_weights(
        self,
        n_samples: int = 1,
        *,
        rare: float = 0.0,
        first: int = 0,
        random_state: RandomStateLike = None,
    ) -> np.ndarray:
        """What each sequence of a call of `sample` stands for.

        Parameters
        ----------
        n_samples, rare, first, random_state
            Those of that call of `sample`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Frequency of a sequence's weather over the probability with which it was drawn; 1 with
            ``rare=0``. Means weighted with these are those of plain sampling.
        """
        check_is_fitted(self)
        check_arguments(n_samples=n_samples, first=first)
        checked_storm(None, rare, self.model_.weathers)
        request = self._request(random_state=random_state)
        drawn = generation.weather_of(self.model_, request, first, n_samples, None, rare)
        return np.ones(n_samples) if drawn is None else drawn.weights.numpy()

    @single_precision()
    def simulate(
        self,
        n_frames: int,
        *,
        n_samples: int = 1,
        shape: tuple[int, int] | None = None,
        mode: str = "autoregressive",
        overlap: int | None = None,
        n_steps: int | None = None,
        batch_size: int | None = None,
        tile_size: int | None = None,
        random_state: RandomStateLike = None,
        out: str | Path | None = None,
        **options: Any,
    ) -> ArrayOrDataArray:
        """Generate series of any length.

        The weather comes first: a Markov chain of the classes of overlapping windows, learnt from
        the training series, each window being told its own. So a series is as often dry, drizzle or
        storm as the training rain, and as long, however long it is. It is left to the network where
        no chain is known (see `fit_weather_chain`), on other fields than those of the training
        windows or in tiles, where something is asked for (`y`, `log_likelihood`), and by
        ``method="amortised"``.

        Parameters
        ----------
        n_frames : int
        n_samples : int, default=1
            Number of series.
        shape : tuple of int or None, default=None
            Rows and columns; None: those of a training window.
        mode : {"autoregressive", "composed", "averaged"}, default="autoregressive"
            Window after window, each going on from the last frames of the one before; or all
            windows denoised at once, whose scores are composed or averaged where they overlap
            (see `WindowedNetwork`), with the whole series in memory.
        overlap : int or None, default=None
            Frames that a window shares with the one before; None: half of them.
        n_steps, batch_size, tile_size, random_state
            See `sample`.
        out : str, Path or None, default=None
            File, NetCDF or ``.zarr``, to which the series are written as they come; memory then
            does not grow with their length (autoregressive mode).
        **options
            Method and its options for the autoregressive mode; see `condition`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, n_frames, y, x)
        """
        check_is_fitted(self)
        check_arguments(n_frames=n_frames, n_samples=n_samples, mode=mode, out=out)
        overlap = self.model_.n_frames // 2 if overlap is None else overlap
        longest = self.model_.n_frames - 1
        check_all({"overlap": overlap}, {"overlap": whole_number(0, at_most=longest)})
        settings: dict[str, Any] = {
            "n_steps": n_steps,
            "batch_size": batch_size,
            "tile_size": tile_size,
            "random_state": random_state,
        }
        if mode == "autoregressive":
            request = self._conditional_request(**settings, **options)
        elif unused := sorted(set(options) - set(GENERAL_OPTIONS)):
            raise TypeError(f"mode={mode!r} conditions on nothing: {unused} is unused.")
        else:
            request = self._request(**settings, **options)
        return generation.simulate(
            self.model_,
            request,
            n_frames,
            n_samples,
            shape=self._field(shape),
            mode=mode,
            overlap=overlap,
            out=out,
        )

    # Rain of which something is known

    @single_precision()
    def condition(
        self,
        observation: Observation,
        *,
        shape: tuple[int, int, int] | None = None,
        method: str | None = None,
        w_r: float | None = None,
        n_samples: int = 1,
        n_steps: int | None = None,
        batch_size: int | None = None,
        tile_size: int | None = None,
        random_state: RandomStateLike = None,
        **options: Any,
    ) -> np.ndarray:
        """Generate rain of which something is known: the one conditional sampler.

        `impute`, `interpolate`, `forecast` and `downscale` say what they know by an observation
        and leave the rest to this.

        Parameters
        ----------
        observation : Observation
            What is known, in mm/h, with its error: `KnownCells`, `ArealMean`, `TemporalMean`,
            `Gauges`, `FunctionObservation` or `JointObservation` of `skdiffuse.diffusion`.
        shape : tuple of int or None, default=None
            Frames, rows and columns. None: a training window's, or those of known cells. More
            frames than a training window has are denoised jointly in overlapping windows.
        method : str or None, default=None
            None is "reconstruction", which on held-out radar rain filled gaps better than the
            others and had the lowest CRPS of interpolations and nowcasts; where the corruption has
            no gradient to guide by, "replacement". "amortised" tells the
            network what is known, which costs no gradient and a third of the time; it needs
            ``amortised=True`` in `fit`, and what cannot be told is left to "reconstruction".
            "replacement", "moment_matching", "pigdm" and "ho" guide as
            `skdiffuse.diffusion.condition` says.
        w_r : float or None, default=None
            Weight of what is known in "reconstruction" (None: 1e6) and "ho" (None: 1); see
            `ReconstructionGuidance`.
        n_samples : int, default=1
            Realizations for each sequence that is observed.
        n_steps, batch_size, tile_size, random_state
            See `sample`.
        **options
            ``y``, ``guidance_weight``: see `sample`; a class, or fields as long as `shape`.
            ``n_resampling`` (default 1): how often each step is repeated, as in RePaint.
            Others go to the method: ``n_iterations``, the backward passes of the network in each
            evaluation (default 3), ``jacobian_error`` of "reconstruction" and "moment_matching"
            (default 0.03 for known cells: networks need it, see `MomentMatching`; else 0),
            ``mean_over_batch`` of "ho".

        Returns
        -------
        ndarray of shape (n_samples, n, frames, y, x)
            Rain in mm/h, at least 0; float32. Cells that are known without error come back to the
            bit; contradictory observations end in a compromise.

        Examples
        --------
        Two gauges that read 3 and 0 mm/h in the second frame, with an error of 0.5 mm/h:

        >>> import torch
        >>> from skdiffuse import PrecipDiffusion
        >>> from skdiffuse.datasets import make_precipitation
        >>> from skdiffuse.diffusion import Gauges
        >>> cube = make_precipitation(n_frames=20, shape=(16, 16), random_state=0)
        >>> model = PrecipDiffusion(n_frames=2, max_steps=2, random_state=0, verbose=False)
        >>> model = model.set_params(sampler__n_steps=4).fit(cube)
        >>> read = torch.tensor([[[torch.nan, torch.nan], [3.0, 0.0]]])
        >>> gauges = Gauges(read, rows=[3.5, 10.0], columns=[4.0, 12.25], error_variance=0.25)
        >>> model.condition(gauges, n_samples=3).shape
        (3, 1, 2, 16, 16)
        """
        check_is_fitted(self)
        check_arguments(n_samples=n_samples)
        if not isinstance(observation, Observation):
            raise TypeError(
                "observation must be one of skdiffuse.diffusion's, such as KnownCells or "
                f"ArealMean; got {type(observation).__name__}. For arrays with gaps use impute."
            )
        asked: Any = shape
        if shape is None and isinstance(observation, KnownCells):
            asked = observation.values.shape[1:]
        elif shape is None:
            asked = self.model_.n_frames, *self.model_.field_shape
        frames, rows, columns = checked_sizes(asked, ("frames", "rows", "columns"))
        request = self._conditional_request(
            observation,
            method=method,
            w_r=w_r,
            n_steps=n_steps,
            batch_size=batch_size,
            tile_size=tile_size,
            random_state=random_state,
            **options,
        )
        window = frames, rows, columns
        return generation.condition(self.model_, request, observation, n_samples, window)

    @single_precision()
    def impute(
        self,
        X: ArrayOrDataArray,
        mask: ArrayOrDataArray | None = None,
        *,
        n_samples: int | None = 1,
        method: str | None = None,
        w_r: float | None = None,
        n_steps: int | None = None,
        batch_size: int | None = None,
        tile_size: int | None = None,
        random_state: RandomStateLike = None,
        **options: Any,
    ) -> ArrayOrDataArray:
        """Fill in what is unknown, in space and in time.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h.
        mask : ndarray or DataArray of bool, shape of `X` or broadcastable to it, optional
            True where `X` is known. Missing values are unknown in any case. Default: all that is
            finite.
        n_samples : int or None, default=1
            Number of realizations.
        method, w_r, **options
            How what is known is told to the rest; see `condition`.
        n_steps, batch_size, tile_size, random_state
            See `sample`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, *X.shape), or X.shape if `n_samples` is None
            Known values are those of `X` to the bit. With nothing known this is `sample`, with
            everything known `X`. Sequences longer than `n_frames` are filled in window by window,
            each going on from the one before.
        """
        check_number(n_samples, "n_samples")
        cube = self._context(X)
        cube = replace(cube, values=cube.frames())
        known = np.isfinite(cube.values)
        if mask is not None:
            known = known & checked_mask(mask, X, known.shape)
        request = self._conditional_request(
            method=method,
            w_r=w_r,
            n_steps=n_steps,
            batch_size=batch_size,
            tile_size=tile_size,
            random_state=random_state,
            **options,
        )
        return verbs.impute(self.model_, request, cube, known, n_samples)

    @single_precision()
    def interpolate(
        self, X: ArrayOrDataArray, factor: int = 2, *, n_samples: int | None = 1, **options: Any
    ) -> ArrayOrDataArray:
        """Refine in time: generate the frames between the known ones.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h at every `factor`-th of the model's time steps.
        factor : int, default=2
            Steps to make of each step of `X`.
        n_samples : int or None, default=1
            Number of realizations.
        **options
            See `impute`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, ..., (time - 1) * factor + 1, y, x)
        """
        check_arguments(factor=factor)
        cube = self._context(X, time_factor=factor)
        check_number(n_samples, "n_samples")
        request = self._conditional_request(**options)
        return verbs.interpolate(self.model_, request, cube, factor, n_samples)

    @single_precision()
    def forecast(
        self,
        X: ArrayOrDataArray,
        horizon: int,
        *,
        n_members: int = 1,
        method: str | None = None,
        w_r: float | None = None,
        n_steps: int | None = None,
        batch_size: int | None = None,
        tile_size: int | None = None,
        random_state: RandomStateLike = None,
        out: str | Path | None = None,
        **options: Any,
    ) -> ArrayOrDataArray:
        """Continue sequences of rain: a probabilistic nowcast.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            The past, in mm/h, up to the last frame before the forecast; only frames after the
            last gap in time, and as many as fit into a window, are looked at.
        horizon : int
            Frames to forecast. Beyond a window, the forecast goes on from its own frames.
        n_members : int, default=1
            Size of the ensemble.
        method, w_r, n_steps, batch_size, tile_size, random_state, **options
            See `impute`.
        out : str, Path or None, default=None
            File, NetCDF or ``.zarr``, to which members are written as they come.

        Returns
        -------
        ndarray or DataArray of shape (n_members, ..., horizon, y, x)
            Rain in mm/h, float32; with `out` that of the file, lazy.
        """
        check_arguments(horizon=horizon, n_members=n_members, out=out)
        cube = self._context(X)
        request = self._conditional_request(
            method=method,
            w_r=w_r,
            n_steps=n_steps,
            batch_size=batch_size,
            tile_size=tile_size,
            random_state=random_state,
            **options,
        )
        return verbs.forecast(self.model_, request, cube, horizon, n_members, out)

    @single_precision()
    def downscale(
        self,
        X: ArrayOrDataArray,
        factor: int,
        *,
        n_samples: int | None = 1,
        method: str | None = "replacement",
        **options: Any,
    ) -> ArrayOrDataArray:
        """Refine in space: rain on a grid `factor` times finer whose areal means are those of `X`.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Areal means of rain in mm/h on the coarse grid; NaN where missing.
        factor : int
            Cells of the model's grid along each side of a coarse cell.
        n_samples : int or None, default=1
            Number of realizations.
        method : str or None, default="replacement"
            Changes the expected field as little as makes its means fit, without a gradient; of the
            methods of `condition` it had the best scores on held-out radar rain. "restoration"
            begins where a corruption that blurs or coarsens leaves the coarse field.
        **options
            See `condition`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, ..., time, y * factor, x * factor)
            The sampler comes close to the coarse values; at the end each coarse cell is multiplied
            by what is left, so that its mean is exact.
        """
        check_arguments(factor=factor)
        cube = self._context(X, space_factor=factor)
        check_number(n_samples, "n_samples")
        means = ArealMean(torch.zeros(1, 1, 1, 1), factor)
        request = self._conditional_request(means, method=method, **options)
        return verbs.downscale(self.model_, request, cube, factor, n_samples)

    # How probable rain is

    @single_precision()
    def score_samples(self, X: ArrayOrDataArray) -> np.ndarray:
        r"""Lower bound of the log-density of sequences of rain, in nats.

        The density is per mm/h for each cell of at least `trace`; for a dry cell it is the
        probability to be dry, so that models with different transforms, scales and networks are
        comparable as long as their `trace` is the same:

        .. math:: \log p(r) \ge -\mathrm{ELBO}(h(r)) + \sum_{wet} \log h'(r)

        with h the map to the latent, its scale included.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h. Cut into windows of `n_frames` frames and the size of the model's
            fields, side by side; what is left over is left out. Missing cells are left out of all
            sums, as in training, which is no strict bound any more.

        Returns
        -------
        ndarray of float64, shape (n,) or (n_windows,)
            For each sequence, the sum over its windows; for a series, for each window.

        Notes
        -----
        The noise is fixed: the same rain has the same score in every call, alone or with other
        rain. Sources: Kingma et al. (2021), eq. 17; Herbert (2023), eq. 2.77 with the
        reconstruction term it leaves out, and 4.10. That of a dry cell is the probability that the
        decoder stays below `trace`. The bound holds for every highest log-SNR; here it is the one
        at which the noise is a third of the distance between no rain and `trace` in the latent:
        beyond it a network has nothing to add, and what it adds wrongly makes the bound loose.

        Examples
        --------
        >>> from skdiffuse import PrecipDiffusion, make_precipitation
        >>> rain = make_precipitation(n_frames=12, shape=(8, 8), random_state=0)
        >>> model = PrecipDiffusion(n_frames=4, max_steps=2, random_state=0, verbose=False)
        >>> model.fit(rain).score_samples(rain).shape
        (3,)
        """
        check_is_fitted(self)
        parameters = check_parameters(self)
        return density.score_samples(
            self.model_,
            self._windows(X),
            batch_size=parameters.batch_size,
            device=home_of_double(usable_device(parameters.device)),
            verbose=parameters.verbose,
        )

    def score(self, X: ArrayOrDataArray, y: None = None) -> float:
        """Mean of `score_samples`: higher is better.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h.
        y : None
            Ignored.

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())

    # Keeping

    def save(self, path: str | Path, *, card: Mapping[str, Any] | None = None) -> None:
        """Write the fitted model to one safetensors file, with no pickle inside.

        Parameters
        ----------
        path : str or Path
        card : dict or None, default=None
            What whoever loads the model should know: ``title``, ``data``, ``region``, ``licence``,
            and ``scores``, ``training``, ``limits`` if you like. Window, time step and spacing are
            added; see `ModelCard`. It is written beside the model, as ``<name>.card.json``, and so
            is the card of a model that was loaded with one, where None is given.

        Raises
        ------
        TypeError
            If the transformer is of your own class, which has no form in a file. Of a network,
            sampler or schedule of your own the name is kept, and `load` asks for it.
        ValueError
            If the card lacks something, or says what no card says.
        """
        check_is_fitted(self)
        check_arguments(path=path)
        learnt = Learnt(self.model_, self.history_, self.n_iter_, self.n_skipped_)
        persistence.save(learnt, self.get_params(deep=False), path, card)

    @classmethod
    @single_precision()
    def load(
        cls,
        path: str | Path,
        *,
        folder: str | Path | None = None,
        network: NetworkLike | None = None,
        sampler: SamplerLike | None = None,
        schedule: NoiseSchedule | None = None,
        corruption: Corruption | None = None,
    ) -> Self:
        """Read a model that `save` wrote, on any machine.

        Parameters
        ----------
        path : str or Path
            A file, or ``"skdiffuse/<name>"``: weights of the package or of your own folder, with a
            card, `card_`, that says what they know. `list_models` lists them. Nothing is fetched.
        folder : str, Path or None, default=None
            Where names are looked for before the package's; None: the environment variable
            ``SKDIFFUSE_WEIGHTS``.
        network, sampler, schedule, corruption : object, default=None
            Taken instead of those in the file; needed where the model was made with ones of your
            own, which a file cannot hold.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file or name, or it is damaged or not a model, or was made with
            objects that are not given, or its card cannot be read or is that of another model.

        Warns
        -----
        UserWarning
            If a model found by name has no card.

        Examples
        --------
        >>> from skdiffuse import PrecipDiffusion
        >>> model = PrecipDiffusion.load("skdiffuse/synthetic")
        >>> model.card_.window
        (10, 64, 64)
        """
        check_all({"path": path, "folder": folder}, ARGUMENTS)
        own = {
            "network": network,
            "sampler": sampler,
            "schedule": schedule,
            "corruption": corruption,
        }
        check_own_objects(**own)
        file, named = find_model(path, folder)
        learnt, params = persistence.load(file, named, **own)
        if unknown := sorted(params.keys() - set(cls._get_param_names())):
            raise ValueError(
                f"{file} holds parameters that {cls.__name__} does not have, {unknown}: load it "
                "with the class and the version of skdiffuse that saved it."
            )
        return cls.of_learnt(learnt, params)

    @classmethod
    def of_learnt(cls, learnt: Learnt, params: Mapping[str, Any]) -> Self:
        """A fitted model with the parameters of whatever learnt it."""
        model = cls(**params)
        model._take(learnt)
        return model

    # What was learnt, in parts

    @property
    def transformer_(self) -> ElementwiseTransformer:
        """The fitted transform."""
        return self._learnt_part("latent").transformer

    @property
    def latent_(self) -> LatentSpace:
        """Transform and scaling."""
        return self._learnt_part("latent")

    @property
    def network_(self) -> nn.Module:
        """The averaged network."""
        return self._learnt_part("network")

    @property
    def schedule_(self) -> NoiseSchedule:
        """The log-SNRs that the network knows."""
        return self._learnt_part("schedule")

    @property
    def field_shape_(self) -> tuple[int, int]:
        """Rows and columns of generated fields."""
        return self._learnt_part("field_shape")

    @property
    def template_(self) -> GridMetadata | None:
        """Names and coordinates of the training cube."""
        return self._learnt_part("template")

    @property
    def card_(self) -> ModelCard | None:
        """What is said of a model that was found by its name; None of any other."""
        return self._learnt_part("card")

    # Details

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if not self.warm_start:
            # The trainer with the optimiser's memory: nobody goes on from it.
            state = {name: value for name, value in state.items() if name != "_preparation"}
        return state

    def __sklearn_clone__(self) -> Self:
        # Candidates of a search, which would write over each other's checkpoints.
        copy = super().__sklearn_clone__()
        copy._is_clone = True
        return copy

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.input_tags.positive_only = True
        return tags

    def _take(self, learnt: Learnt) -> None:
        for name, value in _attributes(learnt).items():
            setattr(self, name, value)

    def _learnt_part(self, name: str) -> Any:
        if "model_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no {name} before fit.")
        return getattr(self.model_, name)

    def _request(self, **asked: Any) -> SamplingRequest:
        return SamplingRequest.of(check_parameters(self), **asked)

    def _conditional_request(
        self,
        observation: Observation | None = None,
        /,
        *,
        method: str | None = None,
        w_r: float | None = None,
        **options: Any,
    ) -> SamplingRequest:
        """A request given an observation, or known cells; options are sampler's or method's."""
        asked = {name: options.pop(name) for name in list(options) if name in GENERAL_OPTIONS}
        return self._request(**asked).conditioned(
            self.model_, observation, method=method, w_r=w_r, **options
        )

    def _context(self, X: ArrayOrDataArray, **factors: int) -> Cube:
        """Check rain that a conditional task starts from; see `RainKind.check`."""
        check_is_fitted(self)
        return verbs.context(self.model_, validate_cube(X), **factors)

    def _windows(self, X: ArrayOrDataArray) -> Cube:
        """Check rain that is cut into windows of the model."""
        check_is_fitted(self)
        cube = validate_cube(X, n_frames=self.model_.n_frames)
        RainKind.of(self.model_).check(cube)
        return cube

    def _field(self, shape: tuple[int, int] | None) -> tuple[int, int]:
        if shape is None:
            return self.model_.field_shape
        rows, columns = checked_sizes(shape, ("rows", "columns"))
        return rows, columns


def _attributes(learnt: Learnt) -> dict[str, object]:
    """Fitted attributes, which change together."""
    return {
        "model_": learnt.model,
        "history_": learnt.history,
        "n_iter_": learnt.n_iter,
        "n_skipped_": learnt.n_skipped,
    }
