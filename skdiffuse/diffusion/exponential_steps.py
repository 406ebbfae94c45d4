r"""A multistep method that solves the Gaussian part of the probability-flow ODE exactly.

For data of a Gaussian law with independent modes of mean mu and variance S, the ODE
``dz/dpsi = v``, ``psi = atan(sigma / alpha)``, leaves

.. math:: y = (z - \alpha\mu) / \sqrt{V}, \qquad V = \alpha^2 S + \sigma^2

as it is. For any other data y moves by what the denoiser says beyond that law,
:math:`dy/d\psi = (v - v_G) / \sqrt{V}` with :math:`v_G = \sigma(\alpha (1 - S) z - \mu) / V`,
however bad the law is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from skdiffuse.diffusion.coordinates import Coordinate, TaperedLogSNR
from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.ode_steps import gauss_legendre, polynomial_basis
from skdiffuse.diffusion.parameterizations import NoiseLevel
from skdiffuse.diffusion.random import RandomStreams

__all__ = ["ExponentialAdamsStep", "GaussianLaw"]

N_QUADRATURE = 16
# Log-SNRs of the latest evaluations, v beyond the law at them, and the move that was predicted.
ExponentialMemory = tuple[tuple[float, ...], tuple[Tensor, ...], Tensor]


@dataclass(frozen=True, eq=False)
class GaussianLaw:
    """A Gaussian law of independent modes.

    Parameters
    ----------
    mean, variance : Tensor
        Of the modes; they broadcast against those of a batch.
    modes, fields : callable
        From latents to their modes by an orthonormal transform, and back.

    Examples
    --------
    >>> law = GaussianLaw(torch.zeros(1), torch.ones(1))
    >>> law.modes(torch.ones(2))
    tensor([1., 1.])
    """

    mean: Tensor
    variance: Tensor
    modes: Callable[[Tensor], Tensor] = lambda z: z
    fields: Callable[[Tensor], Tensor] = lambda modes: modes

    def spread(self, level: NoiseLevel) -> Tensor:
        """Standard deviation of the modes of a latent."""
        return (level.alpha**2 * self.variance + level.sigma**2).sqrt()

    def v(self, modes: Tensor, level: NoiseLevel) -> Tensor:
        """Modes of v, from those of a latent."""
        a, s = level.alpha, level.sigma
        return s * (a * (1 - self.variance) * modes - self.mean) / self.spread(level).square()


@dataclass(frozen=True)
class ExponentialAdamsStep:
    r"""Adams method for what the denoiser says beyond a Gaussian law, the law itself exactly.

    As `AdamsStep`, with a corrector that costs no evaluation, but what is a polynomial in
    `coordinate` is the difference of v from that of the law, mode by mode, and its integral against
    :math:`1 / \sqrt{V}` is by quadrature. For data of the law one step is exact. Sequences of rain
    have variances from 1e-4 to 1e4, so that with few steps the Gaussian part is most of the error.

    Parameters
    ----------
    law : GaussianLaw or None
        What is solved exactly. None: to be given later, as `PrecipDiffusion` does for the class of
        weather of each sequence.
    order : int
        Of the corrector, 2 to 5; the predictor's is one less.
    coordinate : Coordinate
        What the difference is a polynomial in.

    Notes
    -----
    Hochbruck and Ostermann, "Exponential integrators" (2010), section 2.5, multistep methods.
    DPM-Solver (Lu et al. 2022) is one for the linear part ``z d(log alpha)``, without any law.

    Examples
    --------
    >>> from skdiffuse.diffusion import GaussianDenoiser, run_sampler
    >>> law = GaussianLaw(torch.zeros(1), torch.tensor([4.0]))
    >>> denoiser = GaussianDenoiser(torch.zeros(1), torch.tensor([[4.0]]))
    >>> grid = torch.tensor([-20.0, 20.0])
    >>> run_sampler(denoiser, torch.ones(1, 1), grid, ExponentialAdamsStep(law)).round(decimals=3)
    tensor([[2.]])
    """

    law: GaussianLaw | None = None
    order: int = 3
    coordinate: Coordinate = TaperedLogSNR()  # noqa: RUF009 (frozen)
    evaluations: int = field(default=1, init=False)
    stochastic: bool = field(default=False, init=False)
    remembers: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if not 2 <= self.order <= 5:
            raise ValueError(f"order must lie in 2..5, got {self.order}.")

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: ExponentialMemory | None,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Tensor, ExponentialMemory]:
        law = self.law
        if law is None:
            raise ValueError("law=None of ExponentialAdamsStep: give the GaussianLaw of the data.")
        here, there = NoiseLevel.at(log_snr), NoiseLevel.at(log_snr_next)
        x_hat = denoiser(z, log_snr)
        latent = law.modes(z)
        beyond = law.modes(here.v(z, x_hat)) - law.v(latent, here)
        nodes: tuple[float, ...] = (here.log_snr,)
        values: tuple[Tensor, ...] = (beyond,)
        y = (latent - here.alpha * law.mean) / law.spread(here)
        if memory is not None:
            nodes, values = (*nodes, *memory[0]), (*values, *memory[1])
            corrected = self._move(law, self.order, nodes, values, nodes[1], nodes[0])
            y = y + (corrected - memory[2])
        predicted = self._move(law, self.order - 1, nodes, values, nodes[0], there.log_snr)
        latent = there.alpha * law.mean + law.spread(there) * (y + predicted)
        kept = self.order - 1
        return law.fields(latent).to(z.dtype), x_hat, (nodes[:kept], values[:kept], predicted)

    def _move(
        self,
        law: GaussianLaw,
        n_used: int,
        nodes: tuple[float, ...],
        values: tuple[Tensor, ...],
        start: float,
        stop: float,
    ) -> Tensor:
        """Integral of ``(v - v_G) / sqrt(V)`` over the angle between two log-SNRs."""
        nodes, values = nodes[:n_used], values[:n_used]
        first, last = NoiseLevel.at(start).angle, NoiseLevel.at(stop).angle
        x, w = gauss_legendre(N_QUADRATURE)
        angle = first + (last - first) * x
        basis = polynomial_basis(self.coordinate, nodes, angle) * (w * (last - first))
        a2, s2 = np.cos(angle) ** 2, np.sin(angle) ** 2
        weights = [torch.zeros_like(law.variance) for _ in nodes]
        for k in range(N_QUADRATURE):
            inverse = (float(a2[k]) * law.variance + float(s2[k])).rsqrt()
            for weight, row in zip(weights, basis, strict=True):
                weight.add_(inverse, alpha=float(row[k]))
        move = torch.zeros_like(values[0])
        for weight, value in zip(weights, values, strict=True):
            move = move + weight * value
        return move
