"""The estimator: learns rain from a cube, then serves every task."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from typing import Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skdiffuse import persistence
from skdiffuse.cubes import Cube, validate_cube
from skdiffuse.diffusion import (
    ShiftedCosineSchedule,
)
from skdiffuse.generation import SAMPLERS, RainGenerator, integer_seed
from skdiffuse.latent import LatentSpace
from skdiffuse.likelihood import RainLikelihood
from skdiffuse.networks import build_network, mean_power
from skdiffuse.preprocessing import resolve_transformer
from skdiffuse.tasks import RainTasks
from skdiffuse.training import Budget, LatentCurve, Trainer, WindowBatches, masked_v_loss

__all__ = ["PrecipDiffusion"]

CELLS_FOR_STATISTICS = 10_000_000
BATCHES_FOR_SPECTRUM = 64


class PrecipDiffusion(RainTasks, RainGenerator, RainLikelihood, BaseEstimator):
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
    network : {"tiny", "small", "base"}, default="tiny"
        Size of the video U-Net. "tiny" is for a laptop's CPU, the others are for GPUs.
    geography : bool or None, default=None
        Learn where it rains. None: do so if whole fields are trained on; it needs that, and makes
        no sense for data that are the same everywhere.
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
    learning_rate : float, default=2e-3
    max_epochs : int, default=100
        Training ends after this many times the size of the cube.
    max_steps : int or None, default=None
        Training steps; overrides `max_epochs`.
    max_time : float or None, default=None
        Training ends after this many seconds at the latest.
    sampler : {"adams", "heun", "ancestral"}, default="adams"
        Two deterministic solvers of the probability-flow equation: a multistep method of fourth
        order, and Heun's of second at two evaluations a step; and ancestral sampling, which needs
        hundreds of steps.
    n_steps : int, default=32
        Steps of the sampler.
    checkpoint_dir : str, Path or None, default=None
        Folder for checkpoints, written about once a minute and at the end, also when training is
        interrupted. None writes none.
    warm_start : bool, default=False
        Go on with the training of the last call of `fit` or, in a new process, of the newest
        checkpoint in `checkpoint_dir`, until the budget is spent in all.
    device : str, default="auto"
        A torch device; "auto" takes a GPU if there is one.
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
        Loss along the training.
    n_iter_ : int
        Training steps done.

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
        wiener_skip=True,
        amortised=False,
        latent_scaling="standard",
        trace=0.01,
        log_snr_range=(-20.0, 20.0),
        log_snr_shift=-2.0,
        batch_size=8,
        learning_rate=2e-3,
        max_epochs=100,
        max_steps=None,
        max_time=None,
        sampler="adams",
        n_steps=32,
        checkpoint_dir=None,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=True,
    ):
        self.transformer = transformer
        self.train_transformer = train_transformer
        self.n_frames = n_frames
        self.crop_size = crop_size
        self.network = network
        self.geography = geography
        self.wiener_skip = wiener_skip
        self.amortised = amortised
        self.latent_scaling = latent_scaling
        self.trace = trace
        self.log_snr_range = log_snr_range
        self.log_snr_shift = log_snr_shift
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.max_time = max_time
        self.sampler = sampler
        self.n_steps = n_steps
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # Learning

    def fit(self, X, y=None) -> Self:
        """Learn the distribution of sequences of rain.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            A series, or sequences, of rain in mm/h; NaN where missing. Lazy arrays are read
            window by window. No window spans a gap in time.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If `X` is not rain of at least `n_frames` frames, or a parameter is out of range.
        FloatingPointError
            If training diverges.
        KeyboardInterrupt
            If training is interrupted; what has been learnt so far is kept and usable.
        """
        self._check_parameters()
        cube = validate_cube(X, n_frames=self.n_frames)
        trainer = self._prepare_training(cube)
        max_steps = self.max_steps or self.max_epochs * trainer.windows.steps_per_epoch
        try:
            trainer.run(Budget(max_steps, self.max_time))
        finally:
            self._trainer = trainer
            self.network_ = trainer.averaged_network
            if trainer.averaged_curve is not None:
                # latent_ holds the same object, and its centre and scale are the trained curve's.
                self.transformer_.freeze(trainer.averaged_curve)
            self.history_ = trainer.history
            self.n_iter_ = trainer.step
        return self

    def _prepare_training(self, cube: Cube) -> Trainer:
        seed = integer_seed(self.random_state)
        crop = tuple(min(n, self.crop_size) for n in cube.field_shape)
        whole_fields = crop == cube.field_shape
        if self.geography and not whole_fields:
            raise ValueError(
                f"geography=True needs training on whole fields: set crop_size to at least "
                f"{max(cube.field_shape)}, the larger side of the {cube.field_shape} cells of X."
            )
        geography = whole_fields if self.geography is None else self.geography
        if self.warm_start and hasattr(self, "_trainer"):
            trainer = self._trainer
            if trainer.windows.crop_shape != crop:
                raise ValueError(
                    f"warm_start=True goes on with a model of fields of {self.field_shape_} "
                    f"cells, X has {cube.field_shape}; set warm_start=False to begin anew."
                )
            trainer.windows.cube = cube
            return trainer

        statistics = torch.from_numpy(_sample_of_rain(cube, seed))
        transformer = resolve_transformer(self.transformer)
        if getattr(transformer, "random_state", 0) is None:
            transformer.set_params(random_state=seed % 2**32)
        self.transformer_ = transformer.fit(statistics)
        self.latent_ = LatentSpace.fit(
            self.transformer_, statistics, self.latent_scaling, self.trace
        )
        self.schedule_ = ShiftedCosineSchedule(self.log_snr_shift, *self.log_snr_range)
        self.template_ = cube.template
        self.field_shape_ = crop
        windows = WindowBatches(cube, self.n_frames, crop, self.batch_size, seed)
        power = None
        if self.wiener_skip:
            power = _mean_power(windows, self.latent_)
        self._network_options = {
            "field_shape": crop if geography else None,
            # What is known, and where it is.
            "n_covariates": 2 if self.amortised else 0,
        }
        # Weights are drawn from a stream of their own: fork_rng puts the global one back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(self.network, power=power, **self._network_options)
        trainer = Trainer(
            network,
            windows,
            self._encoder(),
            self.schedule_,
            learning_rate=self.learning_rate,
            curve_learning_rate=getattr(self.transformer_, "joint_learning_rate", 0.0),
            amortised=self.amortised,
            seed=seed,
            device=self._device(),
            checkpoint_dir=None if self.checkpoint_dir is None else Path(self.checkpoint_dir),
            description={
                "n_frames": self.n_frames,
                "network": self.network,
                "crop_shape": list(crop),
                "geography": geography,
                "wiener_skip": self.wiener_skip,
                "amortised": self.amortised,
                "transformer": repr(self.transformer_),
                "train_transformer": self.train_transformer,
                "latent_centre": self.latent_.centre,
                "latent_scale": self.latent_.scale,
                "log_snr_range": list(self.log_snr_range),
                "log_snr_shift": self.log_snr_shift,
                "batch_size": self.batch_size,
                "seed": seed if self.random_state is not None else None,
            },
            verbose=self.verbose,
        )
        if self.warm_start and trainer.checkpoint_dir is not None:
            trainer.resume()
        return trainer

    def denoising_loss(self, X, *, n_draws=1, random_state=0) -> float:
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
        cube = validate_cube(X, n_frames=self.n_frames)
        shape = tuple(min(a, b) for a, b in zip(self.field_shape_, cube.field_shape, strict=True))
        jobs = [job for job in cube.tiles(self.n_frames, shape) for _ in range(n_draws)]
        generator = torch.Generator().manual_seed(integer_seed(random_state))
        log_snr = self.schedule_.draw(len(jobs), generator)
        total = weight = 0.0
        for first in range(0, len(jobs), self.batch_size):
            batch = jobs[first : first + self.batch_size]
            rain = np.stack(
                [cube.window(n, start, self.n_frames, y, x) for n, start, y, x in batch]
            )
            latent = self.latent_.encode(torch.from_numpy(rain))
            noise = torch.randn(latent.shape, generator=generator)
            known = torch.isfinite(latent).flatten(1).sum(1)
            device = self._device()
            with torch.no_grad():
                losses = masked_v_loss(
                    self.network_.to(device),
                    latent.to(device),
                    log_snr[first : first + len(batch)].to(device),
                    noise.to(device),
                )
            total += float((losses.cpu() * known).sum())
            weight += float(known.sum())
        return total / weight

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

    def _encoder(self) -> LatentCurve | Callable[[Tensor], Tensor]:
        """What takes rain to the latent in training: with a curve of its own, or fixed."""
        if not (self.train_transformer and hasattr(self.transformer_, "trainable_module")):
            return self.latent_.encode
        curve = self.transformer_.trainable_module()
        return LatentCurve(curve, self.latent_.centre, self.latent_.scale)

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
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def _check_parameters(self) -> None:
        for name in ("n_frames", "crop_size", "batch_size", "max_epochs", "n_steps"):
            check_scalar(getattr(self, name), name, Integral, min_val=1)
        if self.max_steps is not None:
            check_scalar(self.max_steps, "max_steps", Integral, min_val=1)
        check_scalar(
            self.learning_rate, "learning_rate", Real, min_val=0, include_boundaries="neither"
        )
        check_scalar(self.trace, "trace", Real, min_val=0)
        if self.max_time is not None:
            check_scalar(self.max_time, "max_time", Real, min_val=0, include_boundaries="neither")
        if self.sampler not in SAMPLERS:
            raise ValueError(
                f"sampler={self.sampler!r} is unknown; choose one of {list(SAMPLERS)}."
            )


def _sample_of_rain(cube: Cube, seed: int) -> np.ndarray:
    """Frames drawn at random, enough to know the marginal distribution."""
    frames = cube.window_starts(1)
    per_frame = cube.field_shape[0] * cube.field_shape[1]
    n = max(1, min(len(frames), CELLS_FOR_STATISTICS // per_frame))
    chosen = frames[np.sort(np.random.default_rng(seed).permutation(len(frames))[:n])]
    sample = np.stack([cube.window(sequence, start, 1)[0] for sequence, start in chosen])
    if not np.isfinite(sample).any():
        raise ValueError(f"X has only missing values in the {n} frames that were looked at.")
    return sample


def _mean_power(windows: WindowBatches, latent: LatentSpace) -> Tensor:
    """Spectrum of training windows, from batches of a number that no training reaches."""
    batches = [windows(2**31 + number) for number in range(BATCHES_FOR_SPECTRUM)]
    return mean_power((latent.encode(rain) for rain, _ in batches), [w for _, w in batches])
