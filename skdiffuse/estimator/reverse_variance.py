"""How far a fitted model's denoiser is off, measured on rain, for steps of the reverse chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from skdiffuse.cubes import Cube
from skdiffuse.cubes.cube import Tile, missing_everywhere
from skdiffuse.diffusion import (
    ClampedDenoiser,
    Denoiser,
    LinearLogSNRSchedule,
    VDenoiser,
    diffuse,
    npr_loss,
    sn_loss,
)
from skdiffuse.estimator.measured_errors import CONDITIONAL, MeasuredErrors, expected_square
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.networks import VarianceHead

__all__ = ["learn_variance"]

# Between levels the error relative to its bound is interpolated; it changes over some five units.
_LEVELS_PER_UNIT = 1.0
# Of a head's training: some 10^4 weights, whose loss has heavy tails.
_HEAD_BATCH = 8
_HEAD_RATE = 3e-3


def learn_variance(
    model: RainModel,
    cube: Cube,
    kind: str,
    *,
    n_windows: int,
    max_steps: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    verbose: bool,
) -> RainModel:
    """The model with what a reverse variance needs; see `PrecipDiffusion.learn_variance`."""
    jobs = model.tiles(cube)
    windows = _Windows(model, cube, jobs, model.network.to(device), device)
    generator = torch.Generator().manual_seed(seed)
    errors = model.errors
    if errors is None or kind not in CONDITIONAL:
        errors = _measured(windows, n_windows, batch_size, generator, verbose)
    if kind in CONDITIONAL:
        errors = _with_head(errors, windows, kind, max_steps, generator, verbose)
    return replace(model, errors=errors)


@dataclass(frozen=True)
class _Windows:
    """Windows of rain, drawn with noise, and the denoiser that is told what `sample` tells it."""

    model: RainModel
    cube: Cube
    jobs: list[Tile]
    network: Callable[..., Tensor]
    device: torch.device

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor, Denoiser]:
        """Latent without NaN, what of it is known, and the denoiser."""
        jobs = [self.jobs[int(i)] for i in numbers]
        rain = torch.from_numpy(self.cube.stack(jobs, self.model.n_frames))
        network = self.network
        if self.model.weathers is not None:
            classes = self.model.weathers.classes(rain).to(self.device)
            network = partial(network, weather=classes)
        x = self.model.latent.encode(rain).to(self.device)
        known = torch.isfinite(x)
        denoiser = ClampedDenoiser(VDenoiser(network), *self.model.latent.bounds)
        return torch.where(known, x, 0.0), known, denoiser


def _measured(
    windows: _Windows, n_windows: int, batch_size: int, generator: torch.Generator, verbose: bool
) -> MeasuredErrors:
    """Mean squares of the errors, each window denoised once at every level."""
    schedule = windows.model.schedule
    low, high = schedule.log_snr_min, schedule.log_snr_max
    n_levels = max(2, math.ceil((high - low) * _LEVELS_PER_UNIT) + 1)
    levels = torch.linspace(low, high, n_levels, dtype=torch.float64)
    order = torch.cat(list(_in_any_order(len(windows.jobs), n_windows, generator)))
    residual = count = None
    explained = torch.zeros(n_levels, dtype=torch.float64)
    batches = order.split(batch_size)
    total = len(batches) * n_levels
    with tqdm(total=total, desc="measuring errors", disable=not verbose) as bar:
        for numbers in batches:
            x, known, denoiser = windows.batch(numbers)
            if residual is None or count is None:
                residual = torch.zeros(n_levels, *x.shape[1:], dtype=torch.float64)
                count = torch.zeros(x.shape[1:], dtype=torch.float64)
            count += known.sum(0).cpu()
            for k, level in enumerate(levels):
                noise = torch.randn(x.shape, generator=generator).to(x)
                z = torch.where(known, diffuse(x, noise, level), noise)
                with torch.no_grad():
                    x_hat = denoiser(z, level.to(x.device))
                # eps_hat - eps is this times the error of x_hat, which is exact at every level.
                error = math.exp(0.5 * float(level)) * torch.where(known, x - x_hat, 0.0).double()
                residual[k] += error.square().sum(0).cpu()
                # eps^2 - eps_hat^2, in place of 1 - eps_hat^2: the noise of the draws cancels.
                explained[k] -= float((error * (2 * noise.double() + error)).sum())
                bar.update()
    assert residual is not None and count is not None
    if count.sum() == 0:
        raise missing_everywhere(windows.cube.name)
    mean = residual.sum((1, 2, 3)) / count.sum()
    per_cell = torch.where(count > 0, residual / count, mean[:, None, None, None])
    return MeasuredErrors(levels, explained / count.sum(), per_cell.float())


def _with_head(
    errors: MeasuredErrors,
    windows: _Windows,
    kind: str,
    max_steps: int,
    generator: torch.Generator,
    verbose: bool,
) -> MeasuredErrors:
    """The same errors with a head, trained at log-SNRs that are uniform over the range."""
    levels = LinearLogSNRSchedule(float(errors.log_snrs[0]), float(errors.log_snrs[-1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        head = VarianceHead().to(windows.device)
    optimizer = torch.optim.AdamW(head.parameters(), _HEAD_RATE)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max_steps)
    drawn = _in_any_order(len(windows.jobs), max_steps * _HEAD_BATCH, generator)
    numbers = torch.cat(list(drawn)).split(_HEAD_BATCH)
    for part in tqdm(numbers, desc=f"learning {kind}", disable=not verbose):
        x, known, denoiser = windows.batch(part)
        log_snr = levels.draw(len(x), generator).to(x.device)
        noise = torch.randn(x.shape, generator=generator).to(x)
        z = torch.where(known, diffuse(x, noise, log_snr), noise)
        with torch.no_grad():
            x_hat = denoiser(z, log_snr)
        expected = partial(expected_square, head, kind, errors.mean_residual, x_hat)
        # In units of what is usual at the level, and of the spread of what is regressed on: the
        # optimum is the same, and no level rules.
        usual = errors.mean_residual(log_snr).to(x).clamp(min=1e-30)
        if kind == "npr":
            losses = npr_loss(expected, lambda *_, x_hat=x_hat: x_hat, x, log_snr, noise, known)
            losses = losses / usual.square()
        else:
            losses = sn_loss(expected, x, log_snr, noise, known) / usual
        optimizer.zero_grad()
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        decay.step()
    return replace(errors, heads={**errors.heads, kind: head.requires_grad_(False).eval().cpu()})


def _in_any_order(n: int, wanted: int, generator: torch.Generator) -> Iterator[Tensor]:
    """As many numbers below n as are wanted; none twice before all have come."""
    while wanted > 0:
        part = torch.randperm(n, generator=generator)[:wanted]
        wanted -= len(part)
        yield part
