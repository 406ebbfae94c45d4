"""The estimator: learns rain from a cube, then serves every task."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Self

import torch
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import SPACINGS
from skdiffuse.estimator import persistence
from skdiffuse.estimator.density import RainLikelihood
from skdiffuse.estimator.fitting import prepare_training
from skdiffuse.estimator.generation import SAMPLERS, RainGenerator
from skdiffuse.estimator.learning import RainLearner
from skdiffuse.estimator.verbs import RainTasks
from skdiffuse.networks import resolve_edges
from skdiffuse.training import companions_of
from skdiffuse.training.processes import Processes

__all__ = ["PrecipDiffusion"]


class PrecipDiffusion(
    CallbackSupportMixin, RainLearner, RainTasks, RainGenerator, RainLikelihood, BaseEstimator
):
    """Diffusion model of time-evolving precipitation.

    Learns the distribution of sequences of rain fields without conditions; every conditional
    question (gaps, interpolation, nowcasts) is then answered by the same fitted object.

    Parameters
    ----------
    transformer : None, str or transformer, default="sqrt"
        Transform of rain: None, "sqrt", "learnt", another name that `resolve_transformer` knows,
        or an element-wise transformer instance.
    train_transformer : bool, default=True
        Whether a transform that can be learnt, such as "learnt", goes on learning together with the
        network from where its own fit ends; False leaves it there. Others are never changed.
    n_frames : int, default=10
        Frames of a sequence.
    crop_size : int, default=64
        Fields larger than this are trained on random crops of this many rows and columns.
    network : {"tiny", "small", "base", "large"}, default="tiny"
        Size of the video U-Net. "tiny" is for a laptop's CPU, the others are for GPUs.
    geography : bool or None, default=None
        Learn where it rains. None: do so if whole fields are trained on; it needs that, and makes
        no sense for data that are the same everywhere.
    edges : {"zero", "reflect", "periodic"} or pair of them, default="zero"
        What the network takes to lie beyond the edges of the fields, for both axes or for rows and
        columns. ("zero", "periodic") joins east and west of a field around the globe, which
        `crop_size` then must not cut.
    gradient_checkpointing : bool, default=False
        Compute parts of the network twice in training rather than keep what they found: about half
        the memory, a third more time, the same result.
    wiener_skip : bool, default=True
        Start the network from the best linear filter for the spectrum of the training windows; see
        `skdiffuse.networks.WienerSkip`. Saves most of the training.
    amortised : bool, default=False
        Train the network on random tasks as well (the past known, every other frame, gaps, single
        cells), so that it can be told what is known: conditional sampling then needs no gradient
        through the network; see `condition`.
    latent_scaling : {"standard", "range"}, default="standard"
        Scale of the transformed rain: unit variance, or [-1, 1] with the largest rate of the
        training data as a limit that is never exceeded.
    trace : float, default=0.01
        Rate in mm/h below which generated rain is exactly 0.
    log_snr_range : tuple of float, default=(-20.0, 20.0)
        Range of log-SNRs that the network is trained on.
    log_snr_shift : float, default=-2.0
        Shift of the cosine schedule in training. The many correlated cells of a sequence show
        structure at noise levels at which one cell would show nothing, so more noise than for a
        single value is worth training on.
    batch_size : int, default=8
        Sequences per training step, and per evaluation of the network in sampling.
    accumulation : int, default=1
        Parts in which a training step's batch is worked through: less memory, the same result.
    symmetries : bool, default=False
        Train on windows mirrored and, where square, turned at random. For data without a preferred
        direction; not together with `geography`.
    learning_rate : float, default=1e-3
        Reached after 100 steps. Wider networks than "tiny" want less: 3e-4 for "small".
    learning_rate_schedule : {"constant", "cosine"}, default="constant"
        "cosine" falls to zero at the end of the budget.
    weight_decay : float, default=0.01
        Of AdamW.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Of the network's arithmetic in training. "auto" is bfloat16 on GPUs that have it.
    compile : bool, default=False
        Compile the network for training with `torch.compile`: minutes at the start, faster steps.
        Where that fails it is trained as it is, with a warning.
    sharded : bool, default=False
        Whether processes started by ``torchrun`` hold a share each of the weights, their averages
        and the optimiser's memory, instead of all of them: for networks that one device cannot
        hold. `warm_start` then needs a `checkpoint_dir`; not together with `compile`.
    max_epochs : int, default=100
        Training ends after this many times the size of the cube.
    max_steps : int or None, default=None
        Training steps; overrides `max_epochs`.
    max_time : float or None, default=None
        Training ends after this many seconds at the latest.
    validation_fraction : float, default=0.0
        Share of the end of `X` that is not trained on, a window's length apart from the rest; the
        loss on it is added to `history_`.
    patience : int or None, default=None
        Training ends when so many validations in a row were no better than the best, whose weights
        are kept. There is one an epoch, but none within 100 steps of the last.
    sampler : {"adams", "heun", "ancestral"}, default="adams"
        Two deterministic solvers of the probability-flow equation: a multistep method of fourth
        order, and Heun's of second at two evaluations a step; and ancestral sampling, which needs
        hundreds of steps.
    n_steps : int, default=32
        Steps of the sampler.
    step_spacing : {"tapered", "angle", "log_snr", "edm", "time"}, default="tapered"
        What is uniform along the steps; see `skdiffuse.diffusion.sampling_grid`. "tapered" is dense
        where the spectrum of rain lies, "time" is the dissertation's.
    checkpoint_dir : str, Path or None, default=None
        Folder for checkpoints, written about once a minute and at the end, also when training is
        interrupted. None writes none.
    average_snapshots : bool, default=False
        Keep what `reaverage` needs in `checkpoint_dir`: up to 24 files of twice the weights' size.
    log_dir : str, Path or None, default=None
        Folder for ``training.csv``, and for TensorBoard if it is installed.
    warm_start : bool, default=False
        Go on with the training of the last call of `fit` or, in a new process, of the newest
        checkpoint in `checkpoint_dir`, until the budget is spent in all.
    device : str, default="auto"
        A torch device; "auto" takes a GPU if there is one. Of several processes started by
        ``torchrun`` each takes its own.
    n_jobs : int or None, default=None
        Processes that read the blocks of a lazy cube larger than memory, as joblib counts them: -1
        is one for each core; each process of ``torchrun`` starts as many. None: a thread of this
        process. Does not change the result.
    random_state : int, RandomState or None, default=None
        Makes training reproducible, and sampling where it is given none of its own.
    verbose : bool, default=True
        Show progress bars.

    Attributes
    ----------
    transformer_ : transformer
        The fitted transform; a trained one frozen as training left it, averaged as the network is.
    latent_ : LatentSpace
        Transform and scaling.
    network_ : torch.nn.Module
        The averaged network.
    schedule_ : ShiftedCosineSchedule
    field_shape_ : tuple of int
        Rows and columns of generated fields, if not asked otherwise.
    template_ : GridMetadata or None
        Names and coordinates of the training cube; None for numpy.
    history_ : list of dict
        Loss along the training; see `skdiffuse.training.Trainer`.
    n_iter_ : int
        Training steps done.
    n_skipped_ : int
        Those among them that changed nothing because loss or gradient was not finite.

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
    """

    def __init__(
        self,
        transformer="sqrt",
        *,
        train_transformer=True,
        n_frames=10,
        crop_size=64,
        network="tiny",
        geography=None,
        edges="zero",
        gradient_checkpointing=False,
        wiener_skip=True,
        amortised=False,
        latent_scaling="standard",
        trace=0.01,
        log_snr_range=(-20.0, 20.0),
        log_snr_shift=-2.0,
        batch_size=8,
        accumulation=1,
        symmetries=False,
        learning_rate=1e-3,
        learning_rate_schedule="constant",
        weight_decay=0.01,
        precision="auto",
        compile=False,
        sharded=False,
        max_epochs=100,
        max_steps=None,
        max_time=None,
        validation_fraction=0.0,
        patience=None,
        sampler="adams",
        n_steps=32,
        step_spacing="tapered",
        checkpoint_dir=None,
        average_snapshots=False,
        log_dir=None,
        warm_start=False,
        device="auto",
        n_jobs=None,
        random_state=None,
        verbose=True,
    ):
        self.transformer = transformer
        self.train_transformer = train_transformer
        self.n_frames = n_frames
        self.crop_size = crop_size
        self.network = network
        self.geography = geography
        self.edges = edges
        self.gradient_checkpointing = gradient_checkpointing
        self.wiener_skip = wiener_skip
        self.amortised = amortised
        self.latent_scaling = latent_scaling
        self.trace = trace
        self.log_snr_range = log_snr_range
        self.log_snr_shift = log_snr_shift
        self.batch_size = batch_size
        self.accumulation = accumulation
        self.symmetries = symmetries
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.weight_decay = weight_decay
        self.precision = precision
        self.compile = compile
        self.sharded = sharded
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.max_time = max_time
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.sampler = sampler
        self.n_steps = n_steps
        self.step_spacing = step_spacing
        self.checkpoint_dir = checkpoint_dir
        self.average_snapshots = average_snapshots
        self.log_dir = log_dir
        self.warm_start = warm_start
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # Learning

    @with_callbacks
    def fit(self, X, y=None, *, validation=None) -> Self:
        """Learn the distribution of sequences of rain.

        Started by ``torchrun``, processes share each batch and all hold the fitted model.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            A series, or sequences, of rain in mm/h; NaN where missing. Lazy arrays that are larger
            than 256 MiB are read block by block. No window spans a gap in time.
        y : None, array of int or array of float, default=None
            What else is known, which the network is told in most of the training, so that `sample`
            can be asked for it. Integers are classes (seasons, regimes): one for each sequence, or
            for each frame. Floats are fields on the cells of `X` (pressure, the height of the
            land): of the shape of `X`, or with one more dimension before the last two.
        validation : ndarray or DataArray like `X`, optional
            Rain to validate on; overrides `validation_fraction`.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If `X` is not rain of at least `n_frames` frames, or a parameter is out of range.
        FloatingPointError
            If training diverges.
        KeyboardInterrupt, SystemExit
            If training is interrupted, or SIGTERM asks for its end; what has been learnt so far is
            kept and usable, and in `checkpoint_dir` if there is one.
        """
        self._check_parameters()
        cube = validate_cube(X, n_frames=self.n_frames)
        if validation is not None:
            validation = validate_cube(validation, n_frames=self.n_frames, name="validation")
        trainer = prepare_training(self, cube, validation, companions_of(y, X, cube))
        try:
            self._train(trainer, X)
        finally:
            trainer.windows.reader.close()
        return self

    # Keeping

    def save(self, path) -> None:
        """Write the fitted model to one safetensors file, with no pickle inside.

        Parameters
        ----------
        path : str or Path
        """
        check_is_fitted(self)
        persistence.save_model(self, path)

    @classmethod
    def load(cls, path) -> Self:
        """Read a model that `save` wrote, on any machine.

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it is damaged or not a model.
        """
        return persistence.load_model(cls, path)

    # Details

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.input_tags.positive_only = True
        return tags

    def _device(self) -> torch.device:
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        return Processes().device(torch.device(name))

    def _check_parameters(self) -> None:
        counts = ["n_frames", "crop_size", "batch_size", "accumulation", "max_epochs", "n_steps"]
        counts += [name for name in ("max_steps", "patience") if getattr(self, name) is not None]
        for name in counts:
            check_scalar(getattr(self, name), name, Integral, min_val=1)
        check_scalar(self.weight_decay, "weight_decay", Real, min_val=0)
        if self.learning_rate_schedule not in ("constant", "cosine"):
            raise ValueError(
                f"learning_rate_schedule={self.learning_rate_schedule!r} is unknown; choose "
                "'constant' or 'cosine'."
            )
        check_scalar(
            self.learning_rate, "learning_rate", Real, min_val=0, include_boundaries="neither"
        )
        check_scalar(self.trace, "trace", Real, min_val=0)
        if self.n_jobs is not None:
            check_scalar(self.n_jobs, "n_jobs", Integral)
            # As joblib does: none at all is an error.
            effective_n_jobs(self.n_jobs)
        if self.max_time is not None:
            check_scalar(self.max_time, "max_time", Real, min_val=0, include_boundaries="neither")
        resolve_edges(self.edges)
        if self.sharded and self.compile:
            raise ValueError("sharded=True and compile=True do not go together: set one to False.")
        if self.sharded and self.warm_start and self.checkpoint_dir is None:
            raise ValueError(
                "warm_start=True goes on from a checkpoint where sharded=True: set checkpoint_dir."
            )
        for name, choices in (("sampler", list(SAMPLERS)), ("step_spacing", list(SPACINGS))):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown; choose one of {choices}."
                )
