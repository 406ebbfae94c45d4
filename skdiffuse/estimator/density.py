"""How probable rain is under a fitted model."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from skdiffuse.corruptions import require
from skdiffuse.cubes import Cube
from skdiffuse.cubes.cube import missing_everywhere
from skdiffuse.diffusion import Denoiser, RandomStreams, elbo
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.estimator.rain_model import RainModel
from skdiffuse.runtime.seeds import derived_seed

__all__ = ["log_density_bound", "score_samples"]

# With 32 nodes the quadrature over 40 units of log-SNR is exact to 1e-3 nats a cell for the spectra
# of rain; the noise of one antithetic pair averages over the cells.
N_LEVELS = 32
N_NOISE = 2
# The decoder takes over where the trace lies this many standard deviations of noise from no rain.
DECODER_MARGIN = 3.0


def score_samples(
    model: RainModel, cube: Cube, *, batch_size: int, device: torch.device, verbose: bool
) -> np.ndarray:
    """Bounds of the log-density of sequences; see `PrecipDiffusion.score_samples`."""
    require(model.corruption, "likelihood", "score_samples")
    jobs = model.tiles(cube)
    views = model.corruption.gaussian_views(model.corruption.denoiser(model.network.to(device)))
    log_snr_range = model.schedule.log_snr_min, model.schedule.log_snr_max
    scores, any_known = [], False
    for first in tqdm(range(0, len(jobs), batch_size), desc="scoring", disable=not verbose):
        batch = jobs[first : first + batch_size]
        rain = torch.from_numpy(cube.stack(batch, model.n_frames))
        any_known = any_known or bool(torch.isfinite(rain).any())
        # One noise for all windows: a window's score does not depend on which others there are.
        seeds = [derived_seed(0)] * len(batch)
        bounds = [
            log_density_bound(
                view, rain, model.latent, RandomStreams(seeds), log_snr_range, device=device
            )
            for view in views
        ]
        scores.append(torch.stack(bounds).mean(0))
    if not any_known:
        raise missing_everywhere(cube.name)
    per_window = torch.cat(scores).cpu().numpy()
    if cube.is_series:
        return per_window
    sequence = [job[0] for job in jobs]
    return np.bincount(sequence, weights=per_window, minlength=cube.n_sequences)


def log_density_bound(
    denoiser: Denoiser,
    rain: Tensor,
    latent: LatentSpace,
    streams: RandomStreams,
    log_snr_range: tuple[float, float] = (-20.0, 20.0),
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Lower bound of the log-density of rain, in nats, for any denoiser of its latent.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat`` in latent units, on `device`.
    rain : Tensor of shape (n, ...)
        In mm/h, NaN where missing.
    latent : LatentSpace
    streams : RandomStreams of length n
    log_snr_range : (float, float)
        Range that the denoiser knows.
    device : torch.device or str

    Returns
    -------
    Tensor of float64, shape (n,), on the CPU
    """
    known = torch.isfinite(rain)
    # NaN is below nothing, so that missing cells are neither.
    dry = (rain < latent.trace) | (rain == 0)
    wet = known & ~dry
    encoded = torch.where(known, latent.encode(rain), 0.0)
    limit = latent.latent_of(latent.trace)
    bound = elbo(
        denoiser,
        encoded.to(device),
        streams,
        log_snr_min=log_snr_range[0],
        log_snr_max=_decoder_log_snr(latent, log_snr_range[1]),
        n_levels=N_LEVELS,
        n_noise=N_NOISE,
        mask=known.to(device),
        below=torch.where(dry, limit, torch.nan).to(encoded.dtype).to(device),
    ).bound.cpu()
    # The slope at 0 may be infinite, and a dry cell has no density.
    slope = latent.transformer.log_jacobian(torch.where(wet, rain, 1.0).double())
    log_slope = torch.where(wet, slope - np.log(latent.scale), 0.0)
    return log_slope.flatten(1).sum(1) - bound


def _decoder_log_snr(latent: LatentSpace, highest: float) -> float:
    """Log-SNR at which sigma / alpha is a part of the way from no rain to the trace."""
    width = (latent.latent_of(latent.trace) - latent.bounds[0]) / DECODER_MARGIN
    return min(highest, -2 * math.log(width)) if 0 < width < math.inf else highest
