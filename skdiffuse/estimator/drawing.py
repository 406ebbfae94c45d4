"""How windows of rain are drawn: network, conditioning, sampler and memory put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral, Real

import torch
from sklearn.utils import check_scalar
from torch import Tensor
from tqdm import tqdm

from skdiffuse.diffusion import (
    CONDITIONING_METHODS,
    AdamsStep,
    AmortisedDenoiser,
    AncestralStep,
    ClampedDenoiser,
    ClassifierFreeGuidance,
    Denoiser,
    HeunStep,
    KnownCells,
    Observation,
    RandomStreams,
    ResampledStep,
    SimilarityGuidance,
    Step,
    VDenoiser,
    WindowedNetwork,
    condition,
    run_sampler,
    sampling_grid,
    sigma,
)
from skdiffuse.runtime.memory import in_batches

__all__ = ["METHODS", "SAMPLERS", "WindowDrawing"]

SAMPLERS: dict[str, Step] = {
    "adams": AdamsStep(),
    "heun": HeunStep(),
    "ancestral": AncestralStep("lower"),
}
METHODS = ("amortised", *CONDITIONING_METHODS)
# Backward passes for each evaluation of a guided network. On interpolated MRMS rain the CRPS was
# 0.208, 0.198 and 0.188 mm/h with 1, 3 and 6, at 2.6, 5.3 and 7.6 times the cost of none.
GUIDANCE_ITERATIONS = 3
# How far the Jacobian of a trained network is taken to be wrong where cells are known. Without it
# the error of interpolated MRMS rain rose again for w_r above 1e3. Of 0, .003, .01, .03 and .1 this
# did best on hours of the training period: CRPS .157, .154, .151, .144 and .148 mm/h.
JACOBIAN_ERROR = 0.03
WINDOWS_AT_A_TIME = 16


class WindowDrawing:
    """What all that `RainGenerator` generates is drawn with."""

    def _draw(
        self,
        shape: tuple[int, int, int],
        seeds: Sequence[int],
        *,
        observation: Observation | None = None,
        method: str | None = None,
        w_r: float | None = None,
        overlap: int | None = None,
        compose: bool = False,
        n_steps: int | None = None,
        batch_size: int,
        tile_size: int | None = None,
        y=None,
        guidance_weight: float = 0.0,
        log_likelihood: Callable[[Tensor], Tensor] | None = None,
        likelihood_scale: float = 1.0,
        n_resampling: int = 1,
        **options,
    ) -> Tensor:
        """Draw sequences of rain in mm/h, one for each seed.

        With an observation of n sequences, sequence k of it goes with the seeds k, k + n, ...
        """
        n_steps = self.n_steps if n_steps is None else n_steps
        check_scalar(n_steps, "n_steps", Integral, min_val=1)
        step = SAMPLERS[self.sampler]
        if n_resampling != 1:
            step = ResampledStep(step, n_resampling)
        grid = sampling_grid(self.schedule_, n_steps, self.step_spacing)
        device = self._device()
        network = self._network_for(shape, overlap, compose, tile_size)
        if observation is not None:
            observation = observation.through(self.latent_.decode_smoothly, self.latent_.encode)
        told = {} if y is None else self.told_.asked(y, len(seeds), shape)
        evaluations = n_steps * step.evaluations + 1
        with tqdm(total=len(seeds) * evaluations, desc="sampling", disable=not self.verbose) as bar:

            def draw(samples: slice) -> Tensor:
                part = seeds[samples]
                streams = RandomStreams(part)
                seen = None
                if observation is not None:
                    numbers = torch.arange(len(seeds))[samples] % len(observation.values)
                    seen = observation.rows(numbers).to(device)
                here = {name: tensor[samples].to(device) for name, tensor in told.items()}
                denoiser = self._informed(network, here, seen, method)
                if told and guidance_weight != 0:
                    ignorant = self._informed(network, {}, seen, method)
                    denoiser = ClassifierFreeGuidance(denoiser, ignorant, guidance_weight)
                if seen is not None and not (method == "amortised" and _is_told_in_full(seen)):
                    denoiser = self._guided(denoiser, seen, method, w_r, options)
                if log_likelihood is not None:
                    denoiser = SimilarityGuidance(
                        denoiser,
                        lambda latent: log_likelihood(self.latent_.decode_smoothly(latent)),
                        likelihood_scale,
                    )
                x = run_sampler(
                    ClampedDenoiser(denoiser, *self.latent_.bounds),
                    streams.normal(shape).to(device),
                    grid,
                    step,
                    streams=streams,
                    callback=lambda *_: bar.update(len(part) * step.evaluations),
                )
                return self.latent_.decode(x.cpu())

            return in_batches(draw, len(seeds), batch_size)

    def _informed(self, network, told, seen: Observation | None, method) -> Denoiser:
        """Denoiser of a network that is told classes or fields, and known cells if it can be."""
        told = dict(told)
        if self.told_.n_covariates and "covariates" not in told and method == "amortised":
            told["covariates"] = torch.zeros(1, 1, self.told_.n_covariates, 1, 1)
        if seen is not None and method == "amortised":
            return AmortisedDenoiser(network, seen, **told)
        if self.amortised and "covariates" in told:
            # Nothing is said to be known.
            fields = told["covariates"]
            nothing = fields.new_zeros(*fields.shape[:2], 2, *fields.shape[3:])
            told["covariates"] = torch.cat([nothing, fields], dim=2)
        return VDenoiser(partial(network, **told) if told else network)

    def _guided(self, denoiser: Denoiser, seen: Observation, method, w_r, options) -> Denoiser:
        if method == "amortised":
            method = "reconstruction"
        options = dict(options)
        if method in ("reconstruction", "ho"):
            options["w_r"] = (1e6 if method == "reconstruction" else 1.0) if w_r is None else w_r
        if method in ("reconstruction", "moment_matching"):
            options.setdefault("n_iterations", GUIDANCE_ITERATIONS)
            if isinstance(seen, KnownCells):
                options.setdefault("jacobian_error", JACOBIAN_ERROR)
        # The posterior spread of white data of unit variance: what the latent is at most.
        return condition(
            denoiser, seen, method, spread=lambda log_snr: float(sigma(log_snr)), **options
        )

    def _network_for(self, shape, overlap, compose, tile_size):
        """The network, in overlapping windows where a sequence or a field is too large for it."""
        network = self.network_.to(self._device())
        frames = self.n_frames if shape[0] > self.n_frames else None
        if tile_size is not None:
            check_scalar(tile_size, "tile_size", Integral, min_val=8)
        if frames is None and (tile_size is None or max(shape[1:]) <= tile_size):
            return network
        shared = (0 if tile_size is None else tile_size // 4,) * 2
        overlap = self.n_frames // 2 if overlap is None else overlap
        return WindowedNetwork(
            network,
            window=(frames, tile_size, tile_size),
            overlap=(0 if frames is None else overlap, *shared),
            compose=compose,
            batch_size=WINDOWS_AT_A_TIME,
        )

    def _method(self, method, w_r) -> str:
        """Checked name of the method, the default one if it is None."""
        if w_r is not None:
            check_scalar(w_r, "w_r", Real, min_val=0)
        if method is None:
            return "reconstruction"
        if method not in METHODS:
            raise ValueError(f"method={method!r} is unknown; choose one of {list(METHODS)}.")
        if method == "amortised" and not self.amortised:
            raise ValueError(
                "method='amortised' needs a network that was trained to be told what is known: "
                "fit with amortised=True, or choose another method."
            )
        return method

    def _batch_size(self, batch_size) -> int:
        batch_size = self.batch_size if batch_size is None else batch_size
        return check_scalar(batch_size, "batch_size", Integral, min_val=1)


def _is_told_in_full(observation: Observation) -> bool:
    """Whether nothing is left to guidance once the network knows the known cells."""
    return isinstance(observation, KnownCells) and not bool(observation.error_variance.any())
