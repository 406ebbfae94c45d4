"""Is a model learning, and where not: its denoising measured, one noise level at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from tqdm import tqdm

from skdiffuse.corruptions import require
from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import (
    ClampedDenoiser,
    RandomStreams,
    VDenoiser,
    diffuse,
    run_sampler,
    sampling_grid,
)
from skdiffuse.estimator.diagnosis_report import DenoisingReport, Estimate
from skdiffuse.estimator.parameters import check_parameters
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.estimator.request import SamplingRequest
from skdiffuse.estimator.same_kind import RainKind
from skdiffuse.networks import MixturePrior, WienerSkip, periodic_axes
from skdiffuse.networks.spectral import spectral_transform, wave_numbers
from skdiffuse.runtime.array_types import ArrayOrDataArray, RandomStateLike
from skdiffuse.runtime.default_dtype import single_precision
from skdiffuse.runtime.memory import in_batches
from skdiffuse.runtime.seeds import derived_seed

__all__ = ["denoising_report"]

LOG_SNRS = (-12.0, -10.0, -9.0, -8.0, -7.0, -6.0, -5.0, -4.0, -2.0, 0.0, 4.0)
PAIRED_LOG_SNRS = (-10.0, -8.0, -6.0, -5.0)
WET = 0.1  # mm/h
TAILS = (1e-2, 1e-3, 1e-4)


@single_precision()
def denoising_report(
    model: PrecipDiffusion | RainModel,
    X: ArrayOrDataArray,
    *,
    log_snrs: Sequence[float] = LOG_SNRS,
    paired_log_snrs: Sequence[float] | None = PAIRED_LOG_SNRS,
    n_windows: int = 64,
    n_draws: int = 1,
    batch_size: int | None = None,
    random_state: RandomStateLike = 0,
) -> DenoisingReport:
    """Measure at which noise and at which scale a model is weak.

    Two measurements on windows of real rain. *Denoising*: windows are covered with noise, and what
    the network makes of them, told nothing else, is compared with the truth and with the closed
    form that it starts from, its skip. *Paired start*: the sampler starts at noisy windows instead
    of at pure noise, and the rain that comes out is compared with the same windows, so that the
    heavy tail of rain cancels: 64 windows say what free sampling says with thousands.

    Parameters
    ----------
    model : PrecipDiffusion or RainModel
        Fitted. The `model_` of an estimator is sampled with the default sampler.
    X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
        Rain in mm/h, NaN where missing; best some that was not trained on.
    log_snrs : sequence of float, default=(-12, -10, -9, -8, -7, -6, -5, -4, -2, 0, 4)
        Where denoising is measured.
    paired_log_snrs : sequence of float or None, default=(-10, -8, -6, -5)
        Where the sampler starts; None leaves the paired start out, which takes most of the time.
    n_windows : int, default=64
        Windows of the model's size, spread evenly over those of `X` side by side; all of them where
        there are fewer. Those without a known cell are left out.
    n_draws : int, default=1
        Draws of noise for each window. Each is used with both signs, which takes away what is
        linear in it.
    batch_size : int or None, default=None
        Windows at a time; None: the model's. Changes the result by rounding alone.
    random_state : int, RandomState or None, default=0
        The same noise for every model that is to be compared.

    Returns
    -------
    DenoisingReport
        ``print`` it, or ``plot()`` it.

    Notes
    -----
    The network that samples is told the class of weather that it samples, if it knows classes: so
    is the paired start, that of each window.

    Examples
    --------
    >>> from skdiffuse import PrecipDiffusion, make_precipitation
    >>> cube = make_precipitation(n_frames=40, shape=(16, 16), random_state=0)
    >>> model = PrecipDiffusion(n_frames=4, max_steps=2, random_state=0, verbose=False).fit(cube)
    >>> report = denoising_report(model, cube, log_snrs=[-8, 0], paired_log_snrs=None)
    >>> report.bands, report.error.value.shape
    (('all', 'mean', '1', '2-3', '4-8'), (2, 5))
    """
    parts, parameters = _parts_of(model)
    check_scalar(n_windows, "n_windows", Integral, min_val=2)
    check_scalar(n_draws, "n_draws", Integral, min_val=1)
    request = SamplingRequest.of(parameters, batch_size=batch_size, random_state=random_state)
    levels = _checked_levels(log_snrs, "log_snrs", parts)
    starts = np.empty(0)
    if paired_log_snrs is not None:
        starts = _checked_levels(paired_log_snrs, "paired_log_snrs", parts)
    windows = _Windows.of(parts, X, n_windows, request)
    grid = sampling_grid(parts.schedule, request.n_steps, request.spacing)
    grids = [_grid_from(grid, start) for start in starts]
    evaluations = 2 * n_draws * len(levels)
    evaluations += sum((len(each) - 1) * request.step.evaluations + 1 for each in grids)
    total = len(windows) * evaluations
    with tqdm(total=total, desc="diagnosing", disable=not request.verbose) as bar:
        report = _denoising(parts, windows, levels, n_draws, bar.update)
        if not grids:
            return report
        paired = [_paired(parts, windows, each, bar.update) for each in grids]
    return replace(
        report,
        paired_log_snrs=starts,
        statistics=_statistics(windows),
        paired=Estimate(*(np.stack(each) for each in zip(*paired, strict=True))),
    )


@dataclass(frozen=True, eq=False)
class _Windows:
    """Windows of rain, on the CPU, and how sums over them go by bands of waves."""

    rain: Tensor
    latent: Tensor
    known: Tensor
    bands: tuple[str, ...]
    in_band: Tensor
    periodic: tuple[bool, bool, bool]
    request: SamplingRequest

    def __len__(self) -> int:
        return len(self.rain)

    @classmethod
    def of(
        cls, model: RainModel, X: ArrayOrDataArray, n_windows: int, request: SamplingRequest
    ) -> _Windows:
        cube = validate_cube(X, n_frames=model.n_frames)
        RainKind.of(model).check(cube)
        jobs = model.tiles(cube)
        chosen = np.linspace(0, len(jobs) - 1, min(n_windows, len(jobs))).round().astype(int)
        rain = torch.from_numpy(cube.stack([jobs[k] for k in chosen], model.n_frames))
        rain = rain[torch.isfinite(rain).flatten(1).any(1)]
        if len(rain) < 2:
            size = " x ".join(map(str, rain.shape[1:]))
            raise ValueError(
                f"X has {len(rain)} window(s) of {size} cells side by side with known rain, and "
                "errors can be told from 2 on: give a longer or larger cube."
            )
        known = torch.isfinite(rain)
        latent = torch.where(known, model.latent.encode(rain), 0.0)
        periodic = periodic_axes(model.plan.edges)
        bands, in_band = _bands(rain.shape[1:], periodic)
        return cls(rain, latent, known, bands, in_band, periodic, request)

    def seeds(self, samples: slice, purpose: int) -> list[int]:
        """What the noise of some windows follows from, however they are batched."""
        numbers = range(*samples.indices(len(self)))
        return [derived_seed(self.request.seed, purpose, k) for k in numbers]

    def noisy(self, samples: slice, noise: Tensor, log_snr: float) -> Tensor:
        """As in training: nothing but noise where nothing is known."""
        z = diffuse(self.latent[samples], noise, log_snr)
        return torch.where(self.known[samples], z, noise).to(self.request.device)

    def spectrum(self, samples: slice, field: Tensor) -> Tensor:
        """Coefficients of what is known, in float64."""
        seen = torch.where(self.known[samples], field.cpu(), 0.0)
        return spectral_transform(seen.double(), self.periodic).flatten(1)

    def by_cell(self, function: Callable[[slice], Tensor]) -> Tensor:
        """What a function of some windows gives for all of them."""
        with torch.no_grad():
            return in_batches(function, len(self), self.request.batch_size)


def _parts_of(model: object) -> tuple[RainModel, Any]:
    if isinstance(model, RainModel):
        return model, check_parameters(PrecipDiffusion())
    if not isinstance(model, PrecipDiffusion):
        raise TypeError(
            f"model must be a fitted PrecipDiffusion or its model_, got {type(model).__name__}; of "
            "a pipeline give the last step, and X as that step sees it."
        )
    check_is_fitted(model)
    return model.model_, check_parameters(model)


def _checked_levels(given: Sequence[float], name: str, model: RainModel) -> np.ndarray:
    low, high = model.schedule.log_snr_min, model.schedule.log_snr_max
    levels = np.asarray(given, dtype=np.float64)
    if levels.ndim != 1 or not levels.size or not ((levels >= low) & (levels < high)).all():
        raise ValueError(
            f"{name}={given!r} must be a list of log-SNRs from {low:g} to below {high:g}, which is "
            "what the model's schedule goes through."
        )
    return np.unique(levels)


def _bands(
    shape: Sequence[int], periodic: tuple[bool, bool, bool]
) -> tuple[tuple[str, ...], Tensor]:
    """Names, and float64 of shape (modes, bands): 1 where a mode of windows is in a band."""
    _, rows, columns = shape
    longest = max(rows, columns)
    y, x = (
        wave_numbers(n, whole).double() / 2 * (longest / n)
        for n, whole in zip((rows, columns), periodic[1:], strict=True)
    )
    waves = torch.hypot(y[:, None], x[None]).expand(*shape).flatten()
    constant = torch.zeros(len(waves), dtype=torch.bool)
    constant[0] = True
    names, members = ["all", "mean"], [torch.ones_like(constant), constant]
    finest, first = longest // 2, 1
    while first <= max(finest // 2, 1):
        is_last = 2 * first > finest // 2
        stop = 2 * first
        # Corners of the square have finer waves than its sides; changes of the mean have none.
        above = waves >= first if first > 1 else ~constant
        inside = above if is_last else above & (waves < stop)
        last = max(finest, first) if is_last else stop - 1
        if bool((inside & ~constant).any()):
            names.append(f"{first}" if first == last else f"{first}-{last}")
            members.append(inside & ~constant)
        first = stop
    return tuple(names), torch.stack(members, dim=1).double()


def _denoising(
    model: RainModel,
    windows: _Windows,
    levels: np.ndarray,
    n_draws: int,
    tick: Callable[[int], Any],
) -> DenoisingReport:
    require(model.corruption, "gradient", "diagnose")
    device = windows.request.device
    denoisers = [VDenoiser(model.network.to(device))]
    if (skip := _skip_of(model)) is not None:
        skip = skip.to(device)
        denoisers.append(VDenoiser(lambda z, log_snr: skip.denoise(z, log_snr).v))
    shape = windows.rain.shape[1:]

    def sums_of(samples: slice) -> Tensor:
        """Of (x - x_hat)^2, x_hat z, x z, x x_hat, x_hat^2 and the skip's (x - x_hat)^2."""
        x = windows.spectrum(samples, windows.latent[samples])
        sums = torch.zeros(len(x), len(levels), 6, len(windows.bands), dtype=torch.float64)
        for draw in range(n_draws):
            noise = RandomStreams(windows.seeds(samples, draw)).normal(shape)
            for signed in (noise, -noise):
                for k, level in enumerate(levels):
                    z = windows.noisy(samples, signed, level)
                    log_snr = torch.tensor(level, device=device)
                    x_hat, *of_skip = (
                        windows.spectrum(samples, denoiser(z, log_snr)) for denoiser in denoisers
                    )
                    noisy = windows.spectrum(samples, z)
                    products = [(x - x_hat) ** 2, x_hat * noisy, x * noisy, x * x_hat, x_hat**2]
                    products += [(x - each) ** 2 for each in of_skip]
                    for m, product in enumerate(products):
                        sums[:, k, m] += product @ windows.in_band
                    tick(len(x))
        return sums / (2 * n_draws)

    sums = windows.by_cell(sums_of).movedim(2, 0).numpy()
    cells = windows.known.flatten(1).sum(1).numpy()
    per_cell = partial(_with_error, lambda part, n: part.sum(0) / n.sum())
    ratio = partial(_with_error, lambda above, below: above.sum(0) / below.sum(0))
    error, x_hat_z, x_z, x_x_hat, x_hat_2, skip_error = sums
    return DenoisingReport(
        n_windows=len(windows),
        log_snrs=levels,
        bands=windows.bands,
        error=per_cell(error, cells),
        response=ratio(x_hat_z, x_z),
        calibration=ratio(x_x_hat, x_hat_2),
        skip_error=None if skip is None else per_cell(skip_error, cells),
        error_ratio=None if skip is None else ratio(error, skip_error),
        excess=None if skip is None else per_cell(error - skip_error, cells),
    )


def _skip_of(model: RainModel) -> MixturePrior | None:
    """The closed form that the network starts from; a Wiener filter is a mixture of one."""
    network = model.network
    if model.prior is not None or not isinstance(network, WienerSkip):
        return model.prior
    power = network.get_buffer("power")[None].cpu().clamp(min=torch.finfo(torch.float32).tiny)
    return MixturePrior(torch.ones(1), torch.zeros(1), power, network.periodic)


def _grid_from(grid: Tensor, start: float) -> Tensor:
    """The steps of a grid that are left from a log-SNR on, none of them tiny."""
    first = int((grid <= start).sum())
    if first < len(grid) - 1 and grid[first] - start < 0.5 * (grid[first] - grid[first - 1]):
        first += 1
    return torch.cat([torch.tensor([start], dtype=grid.dtype), grid[first:]])


def _paired(
    model: RainModel, windows: _Windows, grid: Tensor, tick: Callable[[int], Any]
) -> Estimate:
    """Statistics of rain made from noisy windows over those of the windows."""
    request = windows.request
    network = model.network.to(request.device)
    shape = windows.rain.shape[1:]
    weather = None
    if model.weathers is not None and shape == (model.n_frames, *model.field_shape):
        weather = model.weathers.classes(windows.rain)

    def sampled(samples: slice) -> Tensor:
        streams = RandomStreams(windows.seeds(samples, 0))
        z = windows.noisy(samples, streams.normal(shape), float(grid[0]))
        told = {} if weather is None else {"weather": weather[samples].to(request.device)}
        denoiser = VDenoiser(partial(network, **told) if told else network)
        return run_sampler(
            ClampedDenoiser(denoiser, *model.latent.bounds),
            z,
            grid,
            request.step,
            streams=streams,
            callback=lambda *_: tick(len(z)),
        ).cpu()

    latent = windows.by_cell(sampled)
    rain = model.latent.decode(latent)
    sums = (_sums(windows, windows.rain, windows.latent), _sums(windows, rain, latent))
    by_sums = _with_error(lambda real, made: _moments(made) / _moments(real), *sums)
    tails = _tails(windows)

    def quantiles(known: np.ndarray, real: np.ndarray, made: np.ndarray) -> np.ndarray:
        levels = 1 - np.array(tails)
        return np.quantile(made[known], levels) / np.quantile(real[known], levels)

    cells = [part.flatten(1).numpy() for part in (windows.known, windows.rain, rain)]
    # Leaving out one at a time fails for quantiles; leaving out many does not (Shao and Wu 1989).
    by_rank = _with_error(quantiles, *cells, n_groups=round(len(windows) ** 0.5))
    return Estimate(*(np.concatenate(each) for each in zip(by_sums, by_rank, strict=True)))


def _statistics(windows: _Windows) -> tuple[str, ...]:
    power = (f"power {band}" for band in windows.bands[1:])
    quantiles = (f"quantile {1 - tail:g}" for tail in _tails(windows))
    return ("mean rain", "wet share", "latent variance", *power, *quantiles)


def _tails(windows: _Windows) -> list[float]:
    """Shares of wettest cells of which there is one at least."""
    return [tail for tail in TAILS if tail * int(windows.known.sum()) >= 1]


def _sums(windows: _Windows, rain: Tensor, latent: Tensor) -> np.ndarray:
    """What `_moments` needs of each window."""
    known, everything = windows.known, slice(None)
    rain, latent = (torch.where(known, part, 0.0).double().flatten(1) for part in (rain, latent))
    sums = [known.flatten(1), rain, rain > WET, latent, latent.square()]
    field = rain.reshape(known.shape)
    power = windows.spectrum(everything, field).square() @ windows.in_band[:, 1:]
    return torch.cat([torch.stack([part.sum(1) for part in sums], 1), power], 1).numpy()


def _moments(sums: np.ndarray) -> np.ndarray:
    n, rain, wet, latent, latent_squared, *power = sums.sum(0)
    return np.array([rain / n, wet / n, latent_squared / n - (latent / n) ** 2, *power])


def _with_error(
    statistic: Callable[..., np.ndarray], *parts: np.ndarray, n_groups: int | None = None
) -> Estimate:
    """A statistic of windows and its standard error, by leaving out windows in turn.

    Parameters
    ----------
    statistic : callable
        Of as many arrays as there are `parts`.
    *parts : ndarray of shape (n, ...)
        What the statistic goes by, of each window.
    n_groups : int, optional
        Groups of neighbouring windows that are left out together; None: each by itself.
    """
    n = len(parts[0])
    count = n if n_groups is None else max(n_groups, 2)
    group = np.arange(n) * count // n
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = statistic(*parts)
        without = np.stack([statistic(*(p[group != g] for p in parts)) for g in range(count)])
        spread = ((without - without.mean(0)) ** 2).sum(0)
    return Estimate(whole, np.sqrt((count - 1) / count * spread))
