"""Groups of parameters that belong together, each an estimator's parameter by itself.

As scikit-learn estimators they can be cloned and searched over: ``training__learning_rate`` is a
name for `GridSearchCV` and `set_params`, whether or not a `TrainingSettings` was given before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    from torch import nn

    from skdiffuse.diffusion import Coordinate, ReverseVariance, Step

__all__ = ["KeepingSettings", "NetworkSettings", "SamplerSettings", "TrainingSettings"]


class NetworkSettings(BaseEstimator):
    """What network learns.

    Parameters
    ----------
    architecture : {"tiny", "small", "base", "large"} or callable, default="tiny"
        Size of the video U-Net: 2.4, 9.5, 37 or 124 million parameters. "tiny" is for a laptop's
        CPU, the others are for GPUs. Or a network of your own: a function (or class) that is called
        with the keywords ``n_frames, n_covariates, n_labels, field_shape, edges, power, prior`` and
        returns a `torch.nn.Module` that predicts v, of the shape of z, from ``(z, log_snr)`` and,
        where the model is told something, ``covariates`` or ``labels``; see
        `skdiffuse.networks.VideoUNet.forward`.
    edges : {"zero", "reflect", "periodic"} or pair of them, default="zero"
        What the network takes to lie beyond the edges of the fields, for both axes or for rows and
        columns. ("zero", "periodic") joins east and west of a field around the globe, which
        `crop_size` then must not cut.
    geography : bool or None, default=None
        Learn where it rains. None: do so if whole fields are trained on; it needs that, and makes
        no sense for data that are the same everywhere.
    skip : {"mixture", "wiener", None}, default="mixture"
        What the network starts from. "mixture": the exact denoiser of a mixture of Gaussians, one
        for each class of weather, fitted to the training windows in seconds (see
        `skdiffuse.networks.MixtureSkip`); saves most of the training. The network is told the class
        of a window, and `sample` draws it first. "wiener": the best linear filter. None: nothing.
    weathers : tuple of int, default=(8, 3)
        With "mixture", classes of windows by their mean rain, from the driest two fifths to the
        wettest 0.4 %, and parts of each by how unevenly it rains.
    gradient_checkpointing : bool, default=False
        Compute parts of the network twice in training rather than keep what they found: about half
        the memory, a third more time, the same result.

    Examples
    --------
    >>> NetworkSettings("small", edges="periodic")
    NetworkSettings(architecture='small', edges='periodic')
    """

    def __init__(
        self,
        architecture: str | Callable[..., nn.Module] = "tiny",
        *,
        edges: str | tuple[str, str] = "zero",
        geography: bool | None = None,
        skip: str | None = "mixture",
        weathers: tuple[int, int] = (8, 3),
        gradient_checkpointing: bool = False,
    ) -> None:
        self.architecture = architecture
        self.edges = edges
        self.geography = geography
        self.skip = skip
        self.weathers = weathers
        self.gradient_checkpointing = gradient_checkpointing


class SamplerSettings(BaseEstimator):
    """How the equation that turns noise into rain is solved.

    Parameters
    ----------
    step : {"adams", "heun", "exponential", "ancestral"} or Step, default="adams"
        Deterministic solvers of the probability-flow equation: a multistep method of fourth order;
        Heun's of second at two evaluations a step; and one for fewer than 16 steps, which solves
        the Gaussian law of the drawn weather exactly and goes best with ``spacing=
        TaperedLogSNR(9.0, -2.0)``, for models with ``skip="mixture"``. And ancestral sampling,
        which needs hundreds of steps. Or any step rule, of `skdiffuse.diffusion` or your own.
    n_steps : int, default=32
        Number of steps.
    spacing : {"tapered", "angle", "log_snr", "edm", "time"} or Coordinate, default="tapered"
        What is uniform along the steps; see `skdiffuse.diffusion.sampling_grid`. "tapered" is dense
        where the spectrum of rain lies, "time" is the dissertation's.
    reverse_variance : str, ReverseVariance or None, default=None
        Noise of an ancestral step, only with ``step="ancestral"``. None and "lower": that of a step
        whose end is known, too little. "upper": of the forward step. Or the best there is for
        the error of the network, once `PrecipDiffusion.learn_variance` has measured it: "analytic"
        (Analytic-DPM, one number at each noise level, for a perfect mean), "corrected" (for the
        mean as it is), "diagonal" (by cell, for windows of the trained size), and by what is drawn
        "npr" or "sn".

    Examples
    --------
    >>> SamplerSettings("heun", n_steps=16)
    SamplerSettings(n_steps=16, step='heun')
    """

    def __init__(
        self,
        step: str | Step = "adams",
        *,
        n_steps: int = 32,
        spacing: str | Coordinate = "tapered",
        reverse_variance: str | ReverseVariance | None = None,
    ) -> None:
        self.step = step
        self.n_steps = n_steps
        self.spacing = spacing
        self.reverse_variance = reverse_variance


class TrainingSettings(BaseEstimator):
    """How the network learns.

    Parameters
    ----------
    learning_rate : float, default=1e-3
        Reached after 100 steps. Wider networks than "tiny" want less: 3e-4 for "small".
    learning_rate_schedule : {"constant", "cosine"}, default="constant"
        "cosine" falls to zero at the end of the budget.
    weight_decay : float, default=0.01
        Of the network's weights, in units of the learning rate.
    optimizer : {"muon", "adamw"}, default="muon"
        "muon" moves the weights of inner layers in all directions alike (`Muon`), the others by
        AdamW; "adamw" all by AdamW.
    accumulation : int, default=1
        Parts in which a training step's batch is worked through: less memory, the same result.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Of the network's arithmetic. "auto" is bfloat16 on GPUs that have it.
    compile : bool, default=False
        Compile the network with `torch.compile`: minutes at the start, faster steps. Where that
        fails it is trained as it is, with a warning.
    sharded : bool, default=False
        Whether processes started by ``torchrun`` hold a share each of the weights, their averages
        and the optimiser's memory, instead of all of them: for networks that one device cannot
        hold. `warm_start` then needs a `checkpoint_dir`; not together with `compile`.
    max_epochs : int, default=100
        Training ends after this many times the size of the cube, unless `max_steps` says otherwise.
    validation_fraction : float, default=0.0
        Share of the end of `X` that is not trained on, a window's length apart from the rest; the
        loss on it is added to `history_`.
    patience : int or None, default=None
        Training ends when so many validations in a row were no better than the best, whose weights
        are kept. There is one an epoch, but none within 100 steps of the last.
    watch : {"loss", "paired_start"}, default="loss"
        What is to become better by `patience`: the validation loss, most of which is noise that
        nobody can predict, or how far the power of each scale is off where the sampler starts from
        held-out windows under noise (log-SNR -6); Gaussian noise only, and 16 evaluations of the
        network at each validation. In `history_` as ``paired_start_error``.
    symmetries : bool, default=False
        Train on windows mirrored and, where square, turned at random. For data without a preferred
        direction; not together with `geography`.
    train_transformer : bool, default=True
        Whether a transform that can be learnt, such as "learnt", goes on learning together with the
        network from where its own fit ends; False leaves it there. Others are never changed.

    Examples
    --------
    >>> TrainingSettings(learning_rate=3e-4)
    TrainingSettings(learning_rate=0.0003)
    """

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        learning_rate_schedule: str = "constant",
        weight_decay: float = 0.01,
        optimizer: str = "muon",
        accumulation: int = 1,
        precision: str = "auto",
        compile: bool = False,
        sharded: bool = False,
        max_epochs: int = 100,
        validation_fraction: float = 0.0,
        patience: int | None = None,
        watch: str = "loss",
        symmetries: bool = False,
        train_transformer: bool = True,
    ) -> None:
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.accumulation = accumulation
        self.precision = precision
        self.compile = compile
        self.sharded = sharded
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.watch = watch
        self.symmetries = symmetries
        self.train_transformer = train_transformer


class KeepingSettings(BaseEstimator):
    """What is kept of a training on disk, beside the model; see `checkpoint_dir`.

    Parameters
    ----------
    checkpoint_seconds : float, default=60.0
        Time between two checkpoints; there is one at the end in any case, also when training is
        interrupted.
    n_checkpoints : int, default=2
        How many are kept.
    average_snapshots : bool, default=False
        Keep what `reaverage` needs in `checkpoint_dir`: up to 24 files of twice the weights' size.
    log_dir : str, Path or None, default=None
        Folder for ``training.csv``, and for TensorBoard if it is installed.

    Examples
    --------
    >>> KeepingSettings(log_dir="run")
    KeepingSettings(log_dir='run')
    """

    def __init__(
        self,
        *,
        checkpoint_seconds: float = 60.0,
        n_checkpoints: int = 2,
        average_snapshots: bool = False,
        log_dir: str | Path | None = None,
    ) -> None:
        self.checkpoint_seconds = checkpoint_seconds
        self.n_checkpoints = n_checkpoints
        self.average_snapshots = average_snapshots
        self.log_dir = log_dir
