"""What happens before the training loop: from parameters and a cube to a trainer."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skdiffuse.cubes import Cube
from skdiffuse.diffusion import ShiftedCosineSchedule
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.networks import Told, build_network, mean_power, periodic_axes, resolve_edges
from skdiffuse.preprocessing import (
    resolve_transformer,
    transformer_from_arrays,
    transformer_to_arrays,
)
from skdiffuse.runtime.seeds import integer_seed
from skdiffuse.training import (
    Companions,
    HeldOut,
    LatentCurve,
    Trainer,
    WindowBatches,
    hold_out,
    recover_checkpoint,
)
from skdiffuse.training.checkpoints import unflatten
from skdiffuse.training.processes import Processes

__all__ = ["prepare_training"]

CELLS_FOR_STATISTICS = 10_000_000
BATCHES_FOR_SPECTRUM = 64
# Parameters of the model that a resumed training must agree in.
_MUST_AGREE = (
    "n_frames",
    "network",
    "wiener_skip",
    "edges",
    "amortised",
    "train_transformer",
    "latent_scaling",
    "trace",
    "log_snr_range",
    "log_snr_shift",
    "batch_size",
    "learning_rate",
    "learning_rate_schedule",
    "weight_decay",
    "symmetries",
    "validation_fraction",
)


def prepare_training(
    model: BaseEstimator,
    cube: Cube,
    validation: Cube | None,
    conditions: Companions | None = None,
) -> Trainer:
    """A trainer for a model's parameters, where there is a checkpoint to go on from at its step.

    Sets ``transformer_``, ``latent_``, ``schedule_``, ``template_``, ``field_shape_`` and
    ``told_``.

    Parameters
    ----------
    model : PrecipDiffusion
        Whose parameters are read.
    cube : Cube
        To learn from.
    validation : Cube or None
        None: the end of `cube`, if ``validation_fraction`` asks for it.
    conditions : Companions or None
        What else is known of `cube`.
    """
    if validation is None and model.validation_fraction:
        cube, validation = hold_out(cube, model.validation_fraction, model.n_frames)
    crop = tuple(min(n, model.crop_size) for n in cube.field_shape)
    geography = _geography(model, cube, crop)
    _refuse_cut_rings(model, cube, crop)
    schedule = ShiftedCosineSchedule(model.log_snr_shift, *model.log_snr_range)
    if model.warm_start and hasattr(model, "_trainer"):
        trainer = model._trainer
        if trainer.windows.crop_shape != crop:
            raise ValueError(
                f"warm_start=True goes on with a model of fields of {model.field_shape_} "
                f"cells, X has {cube.field_shape}; set warm_start=False to begin anew."
            )
        if (Told() if conditions is None else conditions.told).n_labels != model.told_.n_labels:
            raise ValueError("warm_start=True goes on with the classes of y that it began with.")
        trainer.windows.read_from(cube, conditions, model.n_jobs)
        trainer.held_out = _held_out(model, validation, crop, schedule, trainer.seed)
        return trainer

    folder = None if model.checkpoint_dir is None else Path(model.checkpoint_dir)
    found = recover_checkpoint(folder) if model.warm_start and folder is not None else None
    seed = Processes().agree(integer_seed(model.random_state), model._device())
    if found is not None and model.random_state is None:
        seed = found[1]["setup"]["seed"]
    windows = WindowBatches(
        cube,
        model.n_frames,
        crop,
        model.batch_size,
        seed,
        symmetries=model.symmetries,
        companions=conditions,
        n_jobs=model.n_jobs,
    )
    try:
        return _new_trainer(model, windows, geography, schedule, validation, found, folder)
    except BaseException:
        windows.reader.close()
        raise


def _new_trainer(
    model: BaseEstimator,
    windows: WindowBatches,
    geography: bool,
    schedule: ShiftedCosineSchedule,
    validation: Cube | None,
    found: tuple | None,
    folder: Path | None,
) -> Trainer:
    """Transform, scaling and network fitted to what is read first, and what trains them."""
    cube, conditions = windows.reader.cube, windows.companions
    crop, seed = windows.crop_shape, windows.seed
    model.told_ = Told() if conditions is None else conditions.told
    model.transformer_, model.latent_ = _latent_space(model, windows, seed, found)
    model.schedule_ = schedule
    model.template_ = cube.template
    model.field_shape_ = crop
    model._network_options = {
        "field_shape": crop if geography else None,
        # What is known, and where it is.
        "n_covariates": (2 if model.amortised else 0) + model.told_.n_covariates,
        "n_labels": model.told_.n_labels,
        "edges": resolve_edges(model.edges),
    }
    power = None
    if model.wiener_skip:
        shape = (model.n_frames, *crop)
        power = torch.ones(shape) if found else _mean_power(windows, model)
    # Weights are drawn from a stream of their own: fork_rng puts the global one back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(
            model.network,
            power=power,
            gradient_checkpointing=model.gradient_checkpointing,
            **model._network_options,
        )
    config, arrays = _file_form(model.transformer_)
    trainer = Trainer(
        network,
        windows,
        _encoder(model),
        schedule,
        learning_rate=model.learning_rate,
        curve_learning_rate=getattr(model.transformer_, "joint_learning_rate", 0.0),
        rate_schedule=model.learning_rate_schedule,
        weight_decay=model.weight_decay,
        parts=model.accumulation,
        precision=model.precision,
        compiled=model.compile,
        sharded=model.sharded,
        amortised=model.amortised,
        average_snapshots=model.average_snapshots,
        held_out=_held_out(model, validation, crop, schedule, seed),
        patience=model.patience,
        seed=seed,
        device=model._device(),
        checkpoint_dir=folder,
        log_dir=None if model.log_dir is None else Path(model.log_dir),
        description={
            **{name: _plain(getattr(model, name)) for name in _MUST_AGREE},
            "transformer": repr(resolve_transformer(model.transformer)),
            "crop_shape": list(crop),
            "geography": geography,
            "told": [model.told_.n_labels, model.told_.n_covariates],
            "seed": seed,
            "data": _fingerprint(cube),
        },
        setup={
            "seed": seed,
            "transformer": config,
            "latent": model.latent_.numbers,
        },
        setup_tensors=arrays,
        verbose=model.verbose,
    )
    if found is not None:
        trainer.resume(found)
    return trainer


def _geography(model: BaseEstimator, cube: Cube, crop: tuple[int, int]) -> bool:
    whole_fields = crop == cube.field_shape
    if model.geography and not whole_fields:
        raise ValueError(
            f"geography=True needs training on whole fields: set crop_size to at least "
            f"{max(cube.field_shape)}, the larger side of the {cube.field_shape} cells of X."
        )
    if model.geography and model.symmetries:
        raise ValueError(
            "geography=True learns where it rains, symmetries=True mirrors the places: "
            "set one of them to False."
        )
    if model.geography is None:
        return whole_fields and not model.symmetries
    return bool(model.geography)


def _refuse_cut_rings(model: BaseEstimator, cube: Cube, crop: tuple[int, int]) -> None:
    for edge, part, whole in zip(resolve_edges(model.edges), crop, cube.field_shape, strict=True):
        if edge == "periodic" and part < whole:
            raise ValueError(
                f"edges={model.edges!r} needs training on whole fields along what is periodic: set "
                f"crop_size to at least {whole}, the cells of X there."
            )


def _latent_space(
    model: BaseEstimator, windows: WindowBatches, seed: int, found: tuple | None
) -> tuple[object, LatentSpace]:
    """Transform and scaling: of a checkpoint, or fitted to a sample of the rain."""
    if found is not None and found[1]["setup"]["transformer"] is not None:
        setup = found[1]["setup"]
        arrays = {k: v.numpy() for k, v in unflatten("setup", found[0]).items()}
        transformer = transformer_from_arrays(setup["transformer"], arrays)
        return transformer, LatentSpace(transformer, **setup["latent"])
    statistics = torch.from_numpy(_sample_of_rain(windows, seed))
    transformer = resolve_transformer(model.transformer)
    if getattr(transformer, "random_state", 0) is None:
        transformer.set_params(random_state=seed % 2**32)
    transformer.fit(statistics)
    scaling = model.latent_scaling
    return transformer, LatentSpace.fit(transformer, statistics, scaling, model.trace)


def _encoder(model: BaseEstimator) -> LatentCurve | Callable[[Tensor], Tensor]:
    """What takes rain to the latent in training: with a curve of its own, or fixed."""
    if not (model.train_transformer and hasattr(model.transformer_, "trainable_module")):
        return model.latent_.encode
    curve = model.transformer_.trainable_module()
    return LatentCurve(curve, model.latent_.centre, model.latent_.scale)


def _held_out(
    model: BaseEstimator,
    validation: Cube | None,
    crop: tuple[int, int],
    schedule: ShiftedCosineSchedule,
    seed: int,
) -> HeldOut | None:
    if validation is None:
        if model.patience is not None:
            raise ValueError(
                f"patience={model.patience} needs rain to validate on: set validation_fraction, "
                "such as 0.1, or call fit(X, validation=...)."
            )
        return None
    return HeldOut(validation, model.n_frames, crop, schedule, model.batch_size, seed)


def _file_form(transformer: object) -> tuple[dict | None, dict[str, Tensor]]:
    """For checkpoints; nothing for a user's own class, which is then fitted anew."""
    try:
        config, arrays = transformer_to_arrays(transformer)
    except TypeError:
        return None, {}
    return config, {k: torch.as_tensor(v) for k, v in arrays.items()}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _fingerprint(cube: Cube) -> str:
    """Tells one cube from another by its shape and three of its frames."""
    checksum = 0
    for start in (0, cube.n_times // 2, cube.n_times - 1):
        checksum = zlib.crc32(cube.window(0, start, 1).tobytes(), checksum)
    return f"{cube.n_sequences} x {cube.n_times} x {cube.field_shape}, {checksum:08x}"


def _sample_of_rain(windows: WindowBatches, seed: int) -> np.ndarray:
    """Enough to know the marginal distribution."""
    sample = windows.reader.sample_of_rain(CELLS_FOR_STATISTICS, seed)
    if not np.isfinite(sample).any():
        raise ValueError(f"X has only missing values in the {sample.size} cells looked at.")
    return sample


def _mean_power(windows: WindowBatches, model: BaseEstimator) -> Tensor:
    """Spectrum of training windows, from batches of a number that no training reaches."""
    # The first group of blocks: it is needed next.
    batches = [windows.batch(2**40 + k, group=0)[:2] for k in range(BATCHES_FOR_SPECTRUM)]
    return mean_power(
        (model.latent_.encode(rain) for rain, _ in batches),
        [w for _, w in batches],
        periodic_axes(resolve_edges(model.edges)),
    )
