"""Probability-flow ODE with steps chosen by an error estimate, one step size per sample."""

import math

import torch
from torch import Tensor

from skdiffuse.diffusion.coordinates import Coordinate, TaperedLogSNR
from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.parameterizations import convert, like
from skdiffuse.runtime.double import home_of_double

__all__ = ["integrate_adaptive"]

# Dormand and Prince (1980), 5(4), first same as last
MATRIX = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


@torch.no_grad()
def integrate_adaptive(
    denoiser: Denoiser,
    z: Tensor,
    log_snr_start: float,
    log_snr_stop: float,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    coordinate: Coordinate | None = None,
    max_steps: int = 1000,
) -> tuple[Tensor, int]:
    """Carry latents along the probability-flow ODE to a tolerance.

    Dormand-Prince 5(4) in a coordinate of the log-SNR. Every sample has its own step size, so that
    its result does not depend on the batch.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``, called with one log-SNR per sample, shape (n,).
    z : Tensor of shape (n, ...)
        Latents at `log_snr_start`.
    log_snr_start, log_snr_stop : float
        Ends of the path, in either direction.
    rtol, atol : float
        The error of a step, root mean square over a sample, is kept under
        ``atol + rtol |z|``.
    coordinate : Coordinate, optional
        Variable of the integration; `TaperedLogSNR` by default.
    max_steps : int
        Most steps tried before giving up.

    Returns
    -------
    z : Tensor of shape (n, ...)
        Latents at `log_snr_stop`.
    evaluations : int
        Evaluations of the denoiser.

    Raises
    ------
    RuntimeError
        If the end is not reached within max_steps.

    Examples
    --------
    >>> from skdiffuse.diffusion import GaussianDenoiser
    >>> denoiser = GaussianDenoiser(torch.zeros(1), torch.tensor([[4.0]]))
    >>> z, _ = integrate_adaptive(denoiser, torch.ones(1, 1), -20.0, 20.0)
    >>> z
    tensor([[2.0000]])
    """
    if coordinate is None:
        coordinate = TaperedLogSNR()
    ends = torch.tensor([log_snr_start, log_snr_stop], dtype=torch.float64)
    start, stop = (float(q) for q in coordinate(ends))
    direction = math.copysign(1.0, stop - start)
    low, high = min(start, stop), max(start, stop)

    def slope(z: Tensor, q: Tensor) -> Tensor:
        """dz/dq = v dpsi/dq, with dpsi = -alpha sigma / 2 dlog_snr."""
        log_snr = coordinate.inverse(q.clamp(low, high)).clamp(ends.min(), ends.max())
        on_device = log_snr.to(home_of_double(z.device))
        x_hat = denoiser(z, on_device)
        v = convert(x_hat, z, on_device, source="x", target="v")
        return like(_dangle_dq(coordinate, log_snr), z) * v

    n = len(z)
    q = torch.full((n,), start, dtype=torch.float64)
    h = torch.full((n,), direction * min(0.1, abs(stop - start)), dtype=torch.float64)
    first = slope(z, q)
    evaluations = 1
    for _ in range(max_steps):
        left = stop - q
        h = direction * torch.minimum(h.abs(), left.abs())
        stages = [first]
        for row in MATRIX:
            increment = sum(c * k for c, k in zip(row, stages, strict=True) if c)
            z_next = z + like(h, z) * increment
            stages.append(slope(z_next, q + h * sum(row)))
        evaluations += len(MATRIX)
        error = like(h, z) * sum(c * k for c, k in zip(ERROR, stages, strict=True) if c)
        allowed = atol + rtol * torch.maximum(z.abs(), z_next.abs())
        ratio = (error / allowed).flatten(1).double().square().mean(1).sqrt().cpu()
        accepted = ratio <= 1
        chosen = accepted.to(z.device).reshape(-1, *(1,) * (z.ndim - 1))
        z = torch.where(chosen, z_next, z)
        first = torch.where(chosen, stages[-1], first)
        arrived = accepted & (h.abs() >= left.abs())
        q = torch.where(arrived, stop, torch.where(accepted, q + h, q))
        if (q == stop).all():
            return z, evaluations
        h = h * (0.9 * ratio.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0)
        h = torch.where(q == stop, 0.0, h)
    raise RuntimeError(
        f"The end was not reached in max_steps={max_steps} steps; loosen rtol and atol or raise "
        f"max_steps."
    )


def _dangle_dq(coordinate: Coordinate, log_snr: Tensor) -> Tensor:
    """dpsi/dq at a log-SNR; dpsi/dlog_snr is -alpha sigma / 2 = -sech(log_snr / 2) / 4."""
    with torch.enable_grad():
        at = log_snr.detach().requires_grad_()
        (dq,) = torch.autograd.grad(coordinate(at).sum(), at)
    return -0.25 / torch.cosh(log_snr / 2) / dq
