"""What happens before the training loop: from parameters and a cube to a model and its trainer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from skdiffuse.corruptions import Corruption, GaussianCorruption
from skdiffuse.cubes import Cube, Cubes, SeveralCubes
from skdiffuse.diffusion import KNOWN_COVARIATES
from skdiffuse.estimator.file_forms import to_json
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.estimator.network_plan import NetworkPlan
from skdiffuse.estimator.parameters import Parameters, device_of
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.weather import WeatherLaw, prior_of, prior_tensors
from skdiffuse.estimator.weather_fitting import with_chain
from skdiffuse.networks import (
    MixturePrior,
    Told,
    fit_mixture,
    mean_power,
    periodic_axes,
    resolve_edges,
)
from skdiffuse.preprocessing import (
    ElementwiseTransformer,
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
    survey,
)
from skdiffuse.training.checkpoints import flatten, unflatten
from skdiffuse.training.processes import Processes

__all__ = ["Preparation", "fingerprint", "prepare"]

CELLS_FOR_STATISTICS = 10_000_000
# Windows of which some are drawn again.
POOL = 512
# What a training must agree in with the one that goes on with it, by name, as JSON has it.
Description: TypeAlias = dict[str, Any]
# Tensors and what JSON holds beside them.
Checkpoint: TypeAlias = tuple[dict[str, Tensor], dict[str, Any]]
# What a training in progress may not agree in with the one that goes on with it.
_MAY_CHANGE = ("data", "seed")


@dataclass(frozen=True)
class Preparation:
    """A model to be trained, and what trains it.

    Attributes
    ----------
    model : RainModel
        With the network that the trainer trains in place.
    trainer : Trainer
    """

    model: RainModel
    trainer: Trainer


def prepare(
    parameters: Parameters,
    cube: Cubes,
    validation: Cubes | None,
    companions: Companions | None = None,
    going_on: Preparation | None = None,
) -> Preparation:
    """Make a model and its trainer, where there is a training to go on with at its step.

    Parameters
    ----------
    parameters : Parameters
    cube : Cube or SeveralCubes
        To learn from.
    validation : Cube, SeveralCubes or None
        None: the end of `cube`, or of each cube, if ``validation_fraction`` asks for it.
    companions : Companions or None
        What else is known of `cube`.
    going_on : Preparation or None
        A training of this process to go on with, maybe on another cube.

    Raises
    ------
    ValueError
        If parameters and data do not fit each other, or the training to go on with.
    """
    training = parameters.training
    if validation is None and training.validation_fraction:
        cube, validation = hold_out(cube, training.validation_fraction, parameters.n_frames)
    rows, columns = (min(n, parameters.crop_size) for n in cube.field_shape)
    crop = rows, columns
    told = Told() if companions is None else companions.told
    corruption = parameters.corruption
    # What is diffused may be smaller than what is made of it.
    *_, x_rows, x_columns = corruption.shape((parameters.n_frames, *crop))
    plan = NetworkPlan(
        parameters.network.architecture,
        parameters.n_frames,
        n_covariates=(KNOWN_COVARIATES if parameters.amortised else 0) + told.n_covariates,
        n_labels=told.n_labels,
        field_shape=(x_rows, x_columns) if _geography(parameters, cube, crop) else None,
        edges=resolve_edges(parameters.network.edges),
        skip=parameters.network.skip if "skip" in corruption.capabilities else None,
        n_inputs=corruption.n_inputs,
        n_outputs=corruption.n_outputs,
    )
    _refuse_cut_rings(plan.edges, cube, crop)
    description = _description(parameters, plan, told, cube, crop)
    if going_on is not None:
        return _go_on(going_on, parameters, cube, validation, companions, description)

    found: Checkpoint | None = None
    if parameters.warm_start and parameters.checkpoint_dir is not None:
        found = recover_checkpoint(parameters.checkpoint_dir)
    device = device_of(parameters.device)
    seed = Processes().agree(integer_seed(parameters.random_state), device)
    if found is not None and parameters.random_state is None:
        seed = found[1]["setup"]["seed"]
    windows = WindowBatches(
        cube,
        parameters.n_frames,
        crop,
        parameters.batch_size,
        seed,
        symmetries=training.symmetries,
        companions=companions,
        n_jobs=parameters.n_jobs,
    )
    try:
        latent = _latent_space(parameters, windows, seed, found)
        corruption = _fitted(corruption, windows, latent, seed, found)
        if corruption.trained is not None and training.sharded:
            raise ValueError(
                f"sharded=True shares the weights of the network alone, and corruption="
                f"{corruption!r} is trained beside it: set one of them to False."
            )
        start, weathers = _start(parameters, windows, latent, corruption, plan, found)
        network = plan.build(
            start,
            seed=seed,
            gradient_checkpointing=parameters.network.gradient_checkpointing,
        )
        model = RainModel(
            latent,
            network,
            plan,
            parameters.schedule,
            told,
            parameters.amortised,
            parameters.n_frames,
            crop,
            cube.template,
            weathers,
            start if isinstance(start, MixturePrior) else None,
            corruption=corruption,
        )
        if weathers is not None:
            windows.weathers = weathers.classes
        trainer = _trainer(parameters, model, windows, description | {"seed": seed})
        trainer.held_out = _held_out(parameters, validation, crop, seed)
        if found is not None:
            trainer.resume(found)
    except BaseException:
        windows.reader.close()
        raise
    return Preparation(model, trainer)


def _trainer(
    parameters: Parameters, model: RainModel, windows: WindowBatches, description: Description
) -> Trainer:
    training, keeping = parameters.training, parameters.keeping
    transformer = model.latent.transformer
    config, arrays = _file_form(transformer)
    return Trainer(
        model.network,
        windows,
        _encoder(training.train_transformer, model),
        model.schedule,
        model.corruption,
        learning_rate=training.learning_rate,
        curve_learning_rate=getattr(transformer, "joint_learning_rate", 0.0),
        rate_schedule=training.learning_rate_schedule,
        weight_decay=training.weight_decay,
        optimizer=training.optimizer,
        parts=training.accumulation,
        precision=training.precision,
        compiled=training.compile,
        sharded=training.sharded,
        amortised=parameters.amortised,
        average_snapshots=keeping.average_snapshots,
        patience=training.patience,
        watch=training.watch,
        seed=windows.seed,
        device=device_of(parameters.device),
        checkpoint_dir=parameters.checkpoint_dir,
        checkpoint_seconds=keeping.checkpoint_seconds,
        keep_checkpoints=keeping.n_checkpoints,
        log_dir=None if keeping.log_dir is None else Path(keeping.log_dir),
        description=description,
        setup={
            "seed": windows.seed,
            "transformer": config,
            "latent": model.latent.numbers,
        },
        setup_tensors=flatten("transformer", arrays)
        | flatten("corruption", model.corruption.tensors())
        | _start_tensors(model),
        verbose=parameters.verbose,
    )


def _go_on(
    going_on: Preparation,
    parameters: Parameters,
    cube: Cubes,
    validation: Cubes | None,
    companions: Companions | None,
    description: Description,
) -> Preparation:
    """The training of this process, with new data or a longer budget."""
    trainer = going_on.trainer
    theirs = trainer.description
    different = sorted(
        name
        for name in description
        if name not in _MAY_CHANGE and description[name] != theirs[name]
    )
    if isinstance(parameters.random_state, int):
        seed = integer_seed(parameters.random_state)
        different += ["random_state"] * (seed != trainer.seed)
    if different:
        listed = ", ".join(
            f"{name}: {theirs.get(name)!r} then, {description.get(name)!r} now"
            if name in description
            else name
            for name in different
        )
        raise ValueError(
            f"warm_start=True goes on with a training that had other parameters or data ({listed})."
            " Set them back, or warm_start=False to begin anew."
        )
    crop = trainer.windows.crop_shape
    held_out = _held_out(parameters, validation, crop, trainer.seed)
    trainer.windows.read_from(cube, companions, parameters.n_jobs)
    trainer.held_out = held_out
    trainer.patience = parameters.training.patience
    told = going_on.model.told if companions is None else companions.told
    return replace(going_on, model=replace(going_on.model, told=told, template=cube.template))


def _description(
    parameters: Parameters, plan: NetworkPlan, told: Told, cube: Cubes, crop: tuple[int, int]
) -> Description:
    """What a resumed training must agree in, as JSON has it."""
    training = parameters.training
    return {
        "n_frames": parameters.n_frames,
        "network": to_json(plan.architecture),
        "skip": plan.skip,
        "weathers": to_json(parameters.network.weathers),
        "edges": to_json(parameters.network.edges),
        "geography": plan.field_shape is not None,
        "amortised": parameters.amortised,
        "train_transformer": training.train_transformer,
        "latent_scaling": parameters.latent_scaling,
        "trace": parameters.trace,
        "schedule": to_json(parameters.schedule),
        # Trainings of before there were others say nothing.
        "corruption": None
        if parameters.corruption == GaussianCorruption()
        else to_json(parameters.corruption),
        "batch_size": parameters.batch_size,
        "learning_rate": training.learning_rate,
        "learning_rate_schedule": training.learning_rate_schedule,
        "weight_decay": training.weight_decay,
        "optimizer": training.optimizer,
        "watch": None if training.watch == "loss" else training.watch,
        "symmetries": training.symmetries,
        "validation_fraction": training.validation_fraction,
        "transformer": repr(resolve_transformer(parameters.transformer)),
        "crop_shape": list(crop),
        "told": [told.n_labels, told.n_covariates],
        "data": "; ".join(fingerprint(part) for part in cube.parts),
    }


def _geography(parameters: Parameters, cube: Cubes, crop: tuple[int, int]) -> bool:
    geography = parameters.network.geography
    # Of several cubes: unless they are known to lie elsewhere, or only if they are known not to.
    on_one_grid = cube.on_one_grid if isinstance(cube, SeveralCubes) else True
    if geography and on_one_grid is False:
        raise ValueError(
            "geography=True learns where on one grid it rains, and the cubes of X lie on several: "
            "set geography=False, or None, or fit a model to the cubes of each grid."
        )
    whole_fields = all(crop == part.field_shape for part in cube.parts)
    if geography and not whole_fields:
        raise ValueError(
            f"geography=True needs training on whole fields: set crop_size to at least "
            f"{max(cube.field_shape)}, the larger side of the {cube.field_shape} cells of X."
        )
    if geography is None:
        return whole_fields and bool(on_one_grid) and not parameters.training.symmetries
    return bool(geography)


def _refuse_cut_rings(edges: tuple[str, str], cube: Cubes, crop: tuple[int, int]) -> None:
    for part in cube.parts:
        for axis, edge in enumerate(edges):
            whole = part.field_shape[axis]
            if edge == "periodic" and cube.field_shape[axis] < whole:
                raise ValueError(
                    f"edges={edges!r} needs training on whole fields along what is periodic, and "
                    f"{part.name} has more cells there than another cube: fit a model to the "
                    "cubes of each size."
                )
            if edge == "periodic" and crop[axis] < whole:
                raise ValueError(
                    f"edges={edges!r} needs training on whole fields along what is periodic: set "
                    f"crop_size to at least {whole}, the cells of {part.name} there."
                )


def _latent_space(
    parameters: Parameters, windows: WindowBatches, seed: int, found: Checkpoint | None
) -> LatentSpace:
    """Transform and scaling: of a checkpoint, or fitted to a sample of the rain."""
    if found is not None and found[1]["setup"]["transformer"] is not None:
        setup = found[1]["setup"]
        tensors = unflatten("transformer", unflatten("setup", found[0]))
        arrays = {k: v.numpy() for k, v in tensors.items()}
        transformer = transformer_from_arrays(setup["transformer"], arrays)
        return LatentSpace(transformer, **setup["latent"])
    statistics = torch.from_numpy(_sample_of_rain(windows, seed))
    transformer = resolve_transformer(parameters.transformer)
    if getattr(transformer, "random_state", 0) is None:
        transformer.set_params(random_state=seed % 2**32)
    transformer.fit(statistics)
    return LatentSpace.fit(transformer, statistics, parameters.latent_scaling, parameters.trace)


def _fitted(
    corruption: Corruption,
    windows: WindowBatches,
    latent: LatentSpace,
    seed: int,
    found: Checkpoint | None,
) -> Corruption:
    """The corruption with what it learns of the data: of a checkpoint, or of training windows."""
    corruption = corruption.bound(latent.decode_smoothly, latent.encode)
    if found is not None:
        return corruption.with_tensors(unflatten("corruption", unflatten("setup", found[0])))
    fields = _as_they_come(survey(windows), seed)
    return corruption.fit((latent.encode(rain) for rain in fields), seed)


def _as_they_come(batches: Iterable[tuple[Tensor, Tensor]], seed: int) -> Iterator[Tensor]:
    """Windows as frequent as in the rain, from batches in which some are preferred.

    Drawn again from some hundreds at a time, in proportion to what each stands for; windows that
    all stand for the same are as they come.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    pool: list[tuple[Tensor, Tensor]] = []

    def drawn() -> Tensor:
        rain, weights = (torch.cat(parts) for parts in zip(*pool, strict=True))
        if not weights.sum() > 0 or bool((weights == weights[0]).all()):
            return rain
        return rain[torch.multinomial(weights.double(), len(rain), True, generator=generator)]

    for batch in batches:
        pool.append(batch)
        if sum(len(weights) for _, weights in pool) >= POOL:
            yield drawn()
            pool.clear()
    if pool:
        yield drawn()


def _encoder(train_transformer: bool, model: RainModel) -> LatentCurve | Callable[[Tensor], Tensor]:
    """What takes rain to the latent in training: with a curve of its own, or fixed."""
    latent = model.latent
    may_change = train_transformer and "learnt_latent" in model.corruption.capabilities
    if not (may_change and hasattr(latent.transformer, "trainable_module")):
        return latent.encode
    return latent_curve(latent)


def latent_curve(latent: LatentSpace) -> LatentCurve:
    """The latent of a transform that can be trained, as a module."""
    transformer = latent.transformer
    return LatentCurve(
        transformer.trainable_module(),
        latent.centre,
        latent.scale,
        getattr(transformer, "held_rain", None),
    )


def _held_out(
    parameters: Parameters, validation: Cubes | None, crop: tuple[int, int], seed: int
) -> HeldOut | None:
    training = parameters.training
    if training.watch != "loss" and parameters.corruption != GaussianCorruption():
        raise ValueError(
            f"watch={training.watch!r} starts the sampler from Gaussian noise, and the corruption "
            f"is {parameters.corruption!r}; set watch='loss'."
        )
    if validation is None:
        for name, asked in ("patience", training.patience), ("watch", training.watch):
            if asked not in (None, "loss"):
                raise ValueError(
                    f"{name}={asked!r} needs rain to validate on: set validation_fraction, "
                    "such as 0.1, or call fit(X, validation=...)."
                )
        return None
    return HeldOut(
        validation, parameters.n_frames, crop, parameters.schedule, parameters.batch_size, seed
    )


def _file_form(
    transformer: ElementwiseTransformer,
) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """For checkpoints; nothing for a user's own class, which is then fitted anew."""
    try:
        config, arrays = transformer_to_arrays(transformer)
    except TypeError:
        return None, {}
    return config, {k: torch.as_tensor(v) for k, v in arrays.items()}


def fingerprint(cube: Cube) -> str:
    """Tells one cube from another by its shape and three of its frames."""
    checksum = 0
    for start in (0, cube.n_times // 2, cube.n_times - 1):
        checksum = zlib.crc32(cube.window(0, start, 1).tobytes(), checksum)
    return f"{cube.n_sequences} x {cube.n_times} x {cube.field_shape}, {checksum:08x}"


def _sample_of_rain(windows: WindowBatches, seed: int) -> np.ndarray:
    """Rain enough to know the marginal distribution."""
    sample = windows.reader.sample_of_rain(CELLS_FOR_STATISTICS, seed)
    if not np.isfinite(sample).any():
        raise ValueError(f"X has only missing values in the {sample.size} cells looked at.")
    return sample


def _start(
    parameters: Parameters,
    windows: WindowBatches,
    latent: LatentSpace,
    corruption: Corruption,
    plan: NetworkPlan,
    found: Checkpoint | None,
) -> tuple[MixturePrior | Tensor | None, WeatherLaw | None]:
    """What the network's skip knows of the windows, and the law of their weather.

    From windows of the first blocks, which are needed next, or of a checkpoint.
    """
    if plan.skip is None:
        return None, None
    periodic = periodic_axes(plan.edges)
    if found is not None:
        setup = unflatten("setup", found[0])
        if plan.skip == "wiener":
            x_shape = corruption.shape((parameters.n_frames, *windows.crop_shape))
            return torch.ones(x_shape), None
        law = WeatherLaw.from_tensors(unflatten("weathers", setup)) if plan.tells_weather else None
        return prior_of(unflatten("prior", setup), periodic), law
    # Read in step with each other, so that no more than a few windows are held; one that was left
    # unread would hold them all.
    for_latents, for_weights, *rest = tee(survey(windows), 2 if plan.skip == "wiener" else 3)
    latents = (corruption.encode(latent.encode(rain)) for rain, _ in for_latents)
    weights = (w for _, w in for_weights)
    if plan.skip == "wiener":
        return mean_power(latents, weights, periodic), None
    n_classes, n_parts = parameters.network.weathers
    rates = (rain for rain, _ in rest[0])
    prior, classes = fit_mixture(latents, weights, n_classes, periodic, rates, n_parts)
    if not plan.tells_weather:
        return prior, None
    law = with_chain(
        WeatherLaw(classes, prior.weights.double()),
        windows.reader.cube,
        windows.n_frames,
        windows.crop_shape,
        batch_size=windows.batch_size,
        seed=windows.seed,
        n_jobs=parameters.n_jobs,
    )
    return prior, law


def _start_tensors(model: RainModel) -> dict[str, Tensor]:
    """For checkpoints, what `_start` made of a mixture."""
    prior = {} if model.prior is None else prior_tensors(model.prior)
    law = {} if model.weathers is None else model.weathers.tensors()
    return flatten("prior", prior) | flatten("weathers", law)
