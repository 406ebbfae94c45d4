r"""Step rules of the probability-flow ODE, ``dz/dpsi = v`` with ``psi = atan(sigma / alpha)``.

Kingma and Gao (2023), appendix; Salimans and Ho (2022), appendix D. In the angle the ODE is
well-scaled at both ends, and for data of unit variance in every direction v = 0.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from skdiffuse.diffusion.coordinates import Angle, Coordinate, TaperedLogSNR
from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.parameterizations import NoiseLevel
from skdiffuse.diffusion.random import RandomStreams

__all__ = ["AdamsBashforthStep", "AdamsStep", "HeunStep", "RungeKuttaStep"]

# Log-SNRs of the latest evaluations, v at them, and the increment that was predicted.
AdamsMemory = tuple[tuple[float, ...], tuple[Tensor, ...], Tensor]

# method: (rows of the Butcher matrix, weights); the nodes are the sums of the rows
TABLEAUX: dict[str, tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]] = {
    "euler": (((),), (1.0,)),
    "midpoint": (((), (0.5,)), (0.0, 1.0)),
    "heun": (((), (1.0,)), (0.5, 0.5)),
    "kutta3": (((), (0.5,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6)),
    "rk4": (((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


@dataclass(frozen=True)
class RungeKuttaStep:
    """Explicit Runge-Kutta method in the angle.

    Parameters
    ----------
    method : {"euler", "midpoint", "heun", "kutta3", "rk4"}
        Orders 1, 2, 2, 3 and 4 with 1, 2, 2, 3 and 4 evaluations per step.

    Examples
    --------
    >>> RungeKuttaStep("rk4").evaluations
    4
    """

    method: str = "rk4"
    stochastic: bool = field(default=False, init=False)
    remembers: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.method not in TABLEAUX:
            raise ValueError(f"method must be one of {tuple(TABLEAUX)}, got {self.method!r}.")

    @property
    def evaluations(self) -> int:
        return len(TABLEAUX[self.method][1])

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: None,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Tensor, None]:
        matrix, weights = TABLEAUX[self.method]
        t = NoiseLevel.at(log_snr)
        h = NoiseLevel.at(log_snr_next).angle - t.angle
        x_hat = denoiser(z, log_snr)
        slopes = [t.v(z, x_hat)]
        for row in matrix[1:]:
            stage = z + h * _combine(row, slopes)
            node = sum(row)
            at = log_snr_next if node == 1 else _log_snr_of_angle(t.angle + node * h)
            slopes.append(NoiseLevel.at(at).v(stage, denoiser(stage, at)))
        return z + h * _combine(weights, slopes), x_hat, None


@dataclass(frozen=True)
class HeunStep(RungeKuttaStep):
    """Heun's method in the angle: second order, two evaluations per step."""

    method: str = field(default="heun", init=False)


@dataclass(frozen=True)
class AdamsStep:
    r"""Variable-step Adams method in the angle, with a corrector that costs no evaluation.

    v is interpolated by a polynomial in `coordinate` through the latest evaluations and integrated
    over the angle. The predictor (Adams-Bashforth) extrapolates v over the step ahead. When v is
    next evaluated, at the predicted latent, the corrector (Adams-Moulton) repeats the last step
    with the polynomial that also goes through the new v; the evaluation itself is not repeated.

    Parameters
    ----------
    order : int
        Order of the method, 1 to 5. The first steps, with fewer values of v to go by, are of lower
        order.
    corrector : bool
        Whether to correct. The predictor then uses order - 1 values of v and the corrector order.
    coordinate : Coordinate
        What v is a polynomial in. Best with a grid that is uniform in the same coordinate.

    Notes
    -----
    Predict-evaluate-correct as in Hairer, Noersett and Wanner (1993), section III.1, eqs. (1.5) and
    (1.9), with the steps and the weight ``dpsi`` of this problem; UniPC (Zhao et al. 2023) corrects
    in the same way, for x_hat or eps_hat interpolated in the log-SNR.
    Measured error of the covariance at 20 / 32 evaluations with the default coordinate: 0.44 % /
    0.05 % for variances of 0.07 to 4.7 (0.12 % / 0.01 % with ``TaperedLogSNR(6.0)``), 1.4 % /
    0.05 % for variances of 1e-4 to 1e4, as sequences of rain have, where `AdamsBashforthStep` on a
    grid uniform in the angle still lacks 97 % / 92 % of the largest variance.

    Examples
    --------
    >>> AdamsStep().evaluations
    1
    """

    order: int = 4
    corrector: bool = True
    coordinate: Coordinate = TaperedLogSNR()  # noqa: RUF009 (frozen)
    evaluations: int = field(default=1, init=False)
    stochastic: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 5:
            raise ValueError(f"order must lie in 1..5, got {self.order}.")
        if self.corrector and self.order < 2:
            raise ValueError("order must be at least 2 with a corrector.")

    @property
    def remembers(self) -> bool:
        return self.order > 1

    def __call__(
        self,
        denoiser: Denoiser,
        z: Tensor,
        log_snr: Tensor,
        log_snr_next: Tensor,
        memory: AdamsMemory | None,
        streams: RandomStreams | None,
    ) -> tuple[Tensor, Tensor, AdamsMemory]:
        x_hat = denoiser(z, log_snr)
        v = NoiseLevel.at(log_snr).v(z, x_hat)
        nodes: tuple[float, ...] = (float(log_snr),)
        values: tuple[Tensor, ...] = (v,)
        if memory is not None:
            nodes, values = (*nodes, *memory[0]), (*values, *memory[1])
            if self.corrector:
                corrected = self._increment(self.order, nodes, values, nodes[1], nodes[0])
                z = z + (corrected - memory[2])
        n_used = self.order - self.corrector
        predicted = self._increment(n_used, nodes, values, nodes[0], float(log_snr_next))
        n_kept = max(self.order - 1, 1)
        return z + predicted, x_hat, (nodes[:n_kept], values[:n_kept], predicted)

    def _increment(
        self,
        n_used: int,
        nodes: tuple[float, ...],
        values: tuple[Tensor, ...],
        start: float,
        stop: float,
    ) -> Tensor:
        weights = adams_weights(self.coordinate, nodes[:n_used], start, stop)
        return _combine(weights, values)


@dataclass(frozen=True)
class AdamsBashforthStep(AdamsStep):
    """Two-step Adams-Bashforth in the angle: second order, one evaluation per step."""

    order: int = field(default=2, init=False)
    corrector: bool = field(default=False, init=False)
    coordinate: Coordinate = field(default=Angle(), init=False)


@functools.lru_cache(maxsize=4096)
def adams_weights(
    coordinate: Coordinate, nodes: tuple[float, ...], start: float, stop: float
) -> tuple[float, ...]:
    """Weights w with ``integral of v dpsi = sum_j w_j v_j``, v a polynomial in a coordinate.

    Parameters
    ----------
    coordinate : Coordinate
        What v is a polynomial in.
    nodes : tuple of float
        Log-SNRs at which v is known.
    start, stop : float
        Log-SNRs of the ends of the integral.

    Returns
    -------
    tuple of float
        One weight per node, by Gauss-Legendre quadrature in the angle.
    """
    first, last = NoiseLevel.at(start).angle, NoiseLevel.at(stop).angle
    x, w = gauss_legendre(32)
    basis = polynomial_basis(coordinate, nodes, first + (last - first) * x)
    return tuple(float((w * row).sum() * (last - first)) for row in basis)


def polynomial_basis(
    coordinate: Coordinate, nodes: tuple[float, ...], angle: np.ndarray
) -> np.ndarray:
    """Lagrange polynomials of log-SNRs in a coordinate, at angles: (nodes, angles)."""
    q = coordinate(-2 * torch.log(torch.tan(torch.from_numpy(angle)))).numpy()
    q_nodes = coordinate(torch.tensor(nodes, dtype=torch.float64)).numpy()
    rows = []
    for j, node in enumerate(q_nodes):
        others = np.delete(q_nodes, j)
        rows.append(np.prod((q[:, None] - others) / (node - others), axis=1))
    return np.stack(rows)


@functools.cache
def gauss_legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in [0, 1] and weights of a quadrature."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (x + 1) / 2, w / 2


def _combine(weights: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    terms = (w * tensor for w, tensor in zip(weights, tensors, strict=False) if w != 0)
    return functools.reduce(operator.add, terms)


def _log_snr_of_angle(angle: float) -> Tensor:
    return -2 * torch.log(torch.tan(torch.tensor(angle, dtype=torch.float64)))
