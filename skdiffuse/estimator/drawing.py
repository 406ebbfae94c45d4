"""How windows of rain are drawn: network, conditioning, sampler and memory put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from skdiffuse.corruptions import ColdCorruption, draw_law, require
from skdiffuse.diffusion import (
    KNOWN_COVARIATES,
    AmortisedDenoiser,
    AncestralStep,
    ArealMean,
    ClassifierFreeGuidance,
    Denoiser,
    ExponentialAdamsStep,
    KnownCells,
    Observation,
    RandomStreams,
    ResampledStep,
    SimilarityGuidance,
    Step,
    WindowedNetwork,
    condition,
    sampling_grid,
    sigma,
)
from skdiffuse.estimator.finiteness import refuse_broken_rain
from skdiffuse.estimator.measured_errors import not_learnt
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.request import SamplingRequest, is_told_in_full
from skdiffuse.estimator.way_back import goes_back
from skdiffuse.estimator.weather import DrawnWeather, with_means
from skdiffuse.runtime.memory import in_batches

__all__ = ["draw", "speaks_of_windows"]

Network = Callable[..., Tensor]

# Backward passes for each evaluation of a guided network. On interpolated MRMS rain the CRPS was
# 0.208, 0.198 and 0.188 mm/h with 1, 3 and 6, at 2.6, 5.3 and 7.6 times the cost of none.
GUIDANCE_ITERATIONS = 3
# How far the Jacobian of a trained network is taken to be wrong where cells are known. Without it
# the error of interpolated MRMS rain rose again for w_r above 1e3. Of 0, .003, .01, .03 and .1 this
# did best on hours of the training period: CRPS .157, .154, .151, .144 and .148 mm/h.
JACOBIAN_ERROR = 0.03
WINDOWS_AT_A_TIME = 16


def draw(
    model: RainModel,
    request: SamplingRequest,
    shape: tuple[int, int, int],
    seeds: Sequence[int],
    observation: Observation | None = None,
    *,
    weather: DrawnWeather | None = None,
    classes: Tensor | None = None,
    overlap: int | None = None,
    compose: bool = False,
) -> Tensor:
    """Draw sequences of rain in mm/h, one for each seed.

    Parameters
    ----------
    model : RainModel
    request : SamplingRequest
    shape : tuple of int
        Frames, rows and columns.
    seeds : sequence of int
    observation : Observation, optional
        What is known, in mm/h. Sequence k of its n goes with the seeds k, k + n, ...
    weather : DrawnWeather, optional
        Of each sequence: its class is told and its mean kept where the shape is that of the
        training windows and the network sees it as a whole.
    classes : int64 Tensor of shape (len(seeds),) or (len(seeds), W), optional
        Class of weather of each sequence, or of each of the W windows along it, that is told and no
        more; not where fields are not those of the training windows or are cut into tiles.
    overlap : int, optional
        Frames that windows share where sequences are longer than the network's; None: half.
    compose : bool
        See `WindowedNetwork`.

    Returns
    -------
    Tensor of shape (len(seeds), *shape), on the CPU
    """
    step = _step_for(model, request, shape)
    if request.n_resampling != 1:
        step = ResampledStep(step, request.n_resampling)
    grid = sampling_grid(model.schedule, request.n_steps, request.spacing)
    latent, corruption = model.latent, model.corruption
    is_restored = request.method == "restoration"
    if shape != (model.n_frames, *model.field_shape) and not is_restored:
        asked = f"rain of shape {shape}, other than that of the training windows,"
        require(corruption, "any_shape", asked)
    # What is diffused may be smaller than what is made of it.
    x_shape = corruption.shape(shape)
    network = _network_for(model, request, shape, overlap, compose)
    restored: ArealMean | None = None
    if is_restored and isinstance(observation, ArealMean):
        restored, observation = observation, None
    if observation is not None:
        observation = observation.through(latent.decode_smoothly, latent.encode)
    told = {} if request.y is None else model.told.asked(request.y, len(seeds), shape)
    if not speaks_of_windows(model, request, shape[1:]) or shape[0] != model.n_frames:
        weather = None
    if weather is not None:
        classes = weather.classes
    if classes is not None and speaks_of_windows(model, request, shape[1:]):
        told["weather"] = classes
    evaluations = request.n_steps * step.evaluations + 1
    total = len(seeds) * evaluations
    with tqdm(total=total, desc="sampling", disable=not request.verbose) as bar:

        def draw_batch(samples: slice) -> Tensor:
            part = seeds[samples]
            streams = RandomStreams(part)
            seen = None
            if observation is not None:
                numbers = torch.arange(len(seeds))[samples] % len(observation.values)
                # Numbers may start anew within a batch; `rows` is typed for slices, and takes them.
                seen = observation.rows(numbers).to(request.device)  # type: ignore[arg-type]
            here = {name: tensor[samples].to(request.device) for name, tensor in told.items()}
            denoiser = _denoiser(model, request, network, here, seen)
            if restored is None or not isinstance(corruption, ColdCorruption):
                z, levels = draw_law(corruption, x_shape, streams), grid
            else:
                numbers = torch.arange(len(seeds))[samples] % len(restored.values)
                z, start = corruption.begin_at(
                    restored.values[numbers], restored.factor, streams.normal(x_shape)
                )
                levels = torch.cat([grid.new_tensor([start]), grid[grid > start]])
            x = goes_back(
                model,
                denoiser,
                z.to(request.device),
                levels,
                _around_law(step, model, shape, request.device, here.get("weather")),
                streams,
                lambda *_: bar.update(len(part) * step.evaluations),
            )
            rain = refuse_broken_rain(latent.decode(x.cpu()))
            if weather is None:
                return rain
            rain = with_means(rain, weather.means[samples], weather.most_scaling)
            return latent.without_traces(rain)

        return in_batches(draw_batch, len(seeds), request.batch_size)


def speaks_of_windows(model: RainModel, request: SamplingRequest, field: tuple[int, ...]) -> bool:
    """Whether fields are seen as in training, so that a class of weather says something of them."""
    is_whole = request.tile_size is None or max(field) <= request.tile_size
    return field == model.field_shape and is_whole


def _step_for(model: RainModel, request: SamplingRequest, shape: tuple[int, int, int]) -> Step:
    """The step rule, with the reverse variance that the model has measured if that is asked for."""
    name = request.measured_variance
    if name is None:
        return request.step
    if model.errors is None:
        raise ValueError(not_learnt(name))
    return AncestralStep(model.errors.variance(name, shape, request.device))


def _around_law(
    step: Step,
    model: RainModel,
    shape: tuple[int, int, int],
    device: torch.device,
    weather: Tensor | None,
) -> Step:
    """The step rule with the Gaussian law of the weather, if it solves one exactly and has none."""
    if not isinstance(step, ExponentialAdamsStep) or step.law is not None:
        return step
    if model.prior is None:
        raise ValueError(
            "sampler='exponential' solves the Gaussian law of a class of weather, and this model "
            "knows of none: fit it with network__skip='mixture', or use sampler='adams'."
        )
    # Of several windows along a sequence each has its own class, and no mode belongs to one.
    of_all = weather is None or weather.ndim > 1
    return replace(step, law=model.prior.law(shape, device, None if of_all else weather))


def _denoiser(
    model: RainModel,
    request: SamplingRequest,
    network: Network,
    told: dict[str, Tensor],
    seen: Observation | None,
) -> Denoiser:
    """The network as a denoiser that knows what it is told and is guided by the rest."""
    is_told_cells = seen is not None and request.method == "amortised"
    denoiser = _informed(model, network, told, seen if is_told_cells else None)
    if request.guidance_weight != 0:
        require(model.corruption, "expectation", f"guidance_weight={request.guidance_weight!r}")
        still = {name: each for name, each in told.items() if name == "weather"}
        ignorant = _informed(model, network, still, seen if is_told_cells else None)
        denoiser = ClassifierFreeGuidance(denoiser, ignorant, request.guidance_weight)
    if seen is not None and not (is_told_cells and is_told_in_full(seen)):
        denoiser = _guided(denoiser, request, seen)
    log_likelihood = request.log_likelihood
    if log_likelihood is not None:
        require(model.corruption, "gradient", "log_likelihood")
        denoiser = SimilarityGuidance(
            denoiser,
            lambda latent: log_likelihood(model.latent.decode_smoothly(latent)),
            request.likelihood_scale,
        )
    return denoiser


def _informed(
    model: RainModel, network: Network, told: dict[str, Tensor], cells: Observation | None
) -> Denoiser:
    """Denoiser of a network that is told classes or fields, and known cells if it can be."""
    told = dict(told)
    if cells is not None:
        if model.told.n_covariates and "covariates" not in told:
            told["covariates"] = torch.zeros(1, 1, model.told.n_covariates, 1, 1)
        return AmortisedDenoiser(network, cells, "v", **told)
    if model.amortised and "covariates" in told:
        # Nothing is said to be known.
        fields = told["covariates"]
        nothing = fields.new_zeros(*fields.shape[:2], KNOWN_COVARIATES, *fields.shape[3:])
        told["covariates"] = torch.cat([nothing, fields], dim=2)
    return model.corruption.denoiser(partial(network, **told) if told else network)


def _guided(denoiser: Denoiser, request: SamplingRequest, seen: Observation) -> Denoiser:
    method = "reconstruction" if request.method == "amortised" else request.method
    options = dict(request.method_options)
    if method in ("reconstruction", "ho"):
        own = 1e6 if method == "reconstruction" else 1.0
        options["w_r"] = own if request.w_r is None else request.w_r
    if method in ("reconstruction", "moment_matching"):
        options.setdefault("n_iterations", GUIDANCE_ITERATIONS)
        if isinstance(seen, KnownCells):
            options.setdefault("jacobian_error", JACOBIAN_ERROR)
    # The posterior spread of white data of unit variance: what the latent is at most.
    return condition(
        denoiser, seen, method, spread=lambda log_snr: float(sigma(log_snr)), **options
    )


def _network_for(
    model: RainModel,
    request: SamplingRequest,
    shape: tuple[int, int, int],
    overlap: int | None,
    compose: bool,
) -> Network:
    """The network, in overlapping windows where a sequence or a field is too large for it."""
    network = model.network.to(request.device)
    frames = model.n_frames if shape[0] > model.n_frames else None
    tile_size, x_shape = request.tile_size, model.corruption.shape(shape)
    if tile_size is not None:
        # In cells of what is diffused.
        tile_size = tile_size * x_shape[-1] // shape[-1]
    if frames is None and (tile_size is None or max(x_shape[1:]) <= tile_size):
        return network
    shared = (0 if tile_size is None else tile_size // 4,) * 2
    overlap = model.n_frames // 2 if overlap is None else overlap
    return WindowedNetwork(
        network,
        window=(frames, tile_size, tile_size),
        overlap=(0 if frames is None else overlap, *shared),
        compose=compose,
        batch_size=WINDOWS_AT_A_TIME,
    )
