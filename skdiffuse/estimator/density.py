"""How probable rain is under a fitted model."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from tqdm import tqdm

from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import RandomStreams, VDenoiser, elbo
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.runtime.seeds import derived_seed

__all__ = ["RainLikelihood", "log_density_bound"]

# With 32 nodes the quadrature over 40 units of log-SNR is exact to 1e-3 nats a cell for the spectra
# of rain; the noise of one antithetic pair averages over the cells.
N_LEVELS = 32
N_NOISE = 2
# The decoder takes over where the trace lies this many standard deviations of noise from no rain.
DECODER_MARGIN = 3.0


class RainLikelihood:
    """The scoring half of `PrecipDiffusion`.

    Needs its parameters `n_frames`, `batch_size`, `log_snr_range` and `verbose`, and, fitted,
    `network_`, `latent_` and `field_shape_`.
    """

    def score_samples(self, X) -> np.ndarray:
        r"""Lower bound of the log-density of sequences of rain, in nats.

        The density is per mm/h for each cell of at least `trace`; for a dry cell it is the
        probability to be dry, so that models with different transforms, scales and networks are
        comparable as long as their `trace` is the same:

        .. math:: \log p(r) \ge -\mathrm{ELBO}(h(r)) + \sum_{wet} \log h'(r)

        with h the map to the latent, its scale included.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h. Cut into windows of `n_frames` frames and the size of the model's
            fields, side by side; what is left over is left out. Missing cells are left out of all
            sums, as in training, which is no strict bound any more.

        Returns
        -------
        log_density : ndarray of float64, shape (n,) or (n_windows,)
            For each sequence, the sum over its windows; for a series, for each window.

        Notes
        -----
        The noise is fixed: the same rain has the same score in every call, alone or with other
        rain. Sources: Kingma et al. (2021), eq. 17; Herbert (2023), eq. 2.77 with the
        reconstruction term it leaves out, and 4.10. That of a dry cell is the probability that the
        decoder stays below `trace`. The bound holds for every highest log-SNR; here it is the one
        at which the noise is a third of the distance between no rain and `trace` in the latent:
        beyond it a network has nothing to add, and what it adds wrongly makes the bound loose.

        Examples
        --------
        >>> from skdiffuse import PrecipDiffusion, make_precipitation
        >>> rain = make_precipitation(n_frames=12, shape=(8, 8), random_state=0)
        >>> model = PrecipDiffusion(n_frames=4, max_steps=2, random_state=0, verbose=False)
        >>> model.fit(rain).score_samples(rain).shape
        (3,)
        """
        check_is_fitted(self)
        cube = validate_cube(X, n_frames=self.n_frames)
        shape = tuple(min(a, b) for a, b in zip(self.field_shape_, cube.field_shape, strict=True))
        jobs = cube.tiles(self.n_frames, shape)
        device = self._device()
        denoiser = VDenoiser(self.network_.to(device))
        scores = []
        for first in tqdm(
            range(0, len(jobs), self.batch_size), desc="scoring", disable=not self.verbose
        ):
            batch = jobs[first : first + self.batch_size]
            rain = torch.from_numpy(cube.stack(batch, self.n_frames))
            # One noise for all windows: a window's score does not depend on which others there are.
            streams = RandomStreams([derived_seed(0)] * len(batch))
            scores.append(
                log_density_bound(
                    denoiser, rain, self.latent_, streams, self.log_snr_range, device=device
                )
            )
        per_window = torch.cat(scores).cpu().numpy()
        if cube.is_series:
            return per_window
        sequence = [job[0] for job in jobs]
        return np.bincount(sequence, weights=per_window, minlength=cube.n_sequences)

    def score(self, X, y=None) -> float:
        """Mean of `score_samples`: higher is better.

        Parameters
        ----------
        X : ndarray or DataArray of shape (time, y, x) or (n, time, y, x)
            Rain in mm/h.
        y : None
            Ignored.

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())


def log_density_bound(
    denoiser,
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
    width = (latent.latent_of(latent.trace) - latent.latent_of(0.0)) / DECODER_MARGIN
    return min(highest, -2 * math.log(width)) if width > 0 else highest
