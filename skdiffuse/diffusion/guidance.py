r"""Conditioning a trained denoiser on observations.

Guidance is a denoiser that wraps a denoiser, so that it works with every sampler. Given the latent
z, data x have the mean x_hat and, by Tweedie's formula, the covariance ``C = (sigma^2 / alpha) J``,
``J = d x_hat / d z``. An observation y = A x + error of variance R corrects the mean to

.. math:: \hat x + C A^T (A C A^T + R)^{-1} (y - A \hat x),

which is exact for Gaussian data. The methods differ in what they put for C in the two places. Cells
that are known without error are put in at the end, which makes any sampler carry
``alpha x_k + sigma eps`` there.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from skdiffuse.diffusion.conjugate_gradients import LARGEST_GAIN, gaussian_correction
from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.linearisation import Linearisation
from skdiffuse.diffusion.observations import FieldFunction, Observation
from skdiffuse.diffusion.parameterizations import alpha, like, sigma

__all__ = [
    "HoGuidance",
    "MomentMatching",
    "ObservationGuidance",
    "PiGDM",
    "ReconstructionGuidance",
    "Replacement",
]

Spread = Callable[[Tensor], Tensor | float]

# Products with A alone, which cost nothing beside the network; one is enough for known cells and
# for means over blocks.
ITERATIONS_WITHOUT_NETWORK = 50


class ObservationGuidance(ABC):
    """Denoiser of data of which something is observed.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``.
    observation : Observation
        In the denoiser's units; see `Observation.through`.
    spread : callable, optional
        ``log_snr -> std``: how uncertain x_hat is in each cell, by which a `DecodedObservation`
        tells the mean of what is observed from what is observed of the mean. None: sigma, as for
        white data of unit variance. It is 0 at the end in any case.
    """

    needs_gradient = True

    def __init__(
        self, denoiser: Denoiser, observation: Observation, *, spread: Spread | None = None
    ) -> None:
        self.denoiser = denoiser
        self.observation = observation
        self.spread = spread

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.needs_gradient):
            z = z.detach().requires_grad_(self.needs_gradient)
            x_hat = self.denoiser(z, log_snr)
        std = self.spread(log_snr) if self.spread else like(sigma(log_snr), x_hat)
        tangent = self.observation.linearise(x_hat, std)

        def pull_back(field: Tensor) -> Tensor:
            return torch.autograd.grad(x_hat, z, field, retain_graph=True)[0]

        correction = self._correction(tangent, pull_back, x_hat.detach(), log_snr)
        return self.observation.pin(x_hat.detach() + correction)

    @abstractmethod
    def _correction(
        self, tangent: Linearisation, pull_back: FieldFunction, x_hat: Tensor, log_snr: Tensor
    ) -> Tensor:
        """Correction of x_hat; ``pull_back(w)`` is ``J^T w``, a backward pass of the network."""

    def _error_variance(self, residual: Tensor) -> Tensor:
        return self.observation.error_variance.to(residual)

    def _least_change(self, tangent: Linearisation, log_snr: Tensor) -> Tensor:
        """``A^T (A A^T + R / sigma^2)^-1 r``: C with the data white, of variance sigma^2."""
        variance = like(sigma(log_snr) ** 2, tangent.residual)
        return gaussian_correction(
            tangent,
            lambda field: field,
            self._error_variance(tangent.residual) / variance,
            n_iterations=ITERATIONS_WITHOUT_NETWORK,
            tolerance=1e-7,
            largest_gain=float("inf"),
        )


class Replacement(ObservationGuidance):
    """Known cells are replaced and nothing is told to the others: biased, but without a gradient.

    For an observation other than of cells x_hat is changed as little as makes it fit,
    ``A^T (A A^T + R / sigma^2)^-1 r`` (Wang et al. 2023, "DDNM").

    References
    ----------
    Song et al., "Score-Based Generative Modeling through SDEs" (2021), appendix I.2.
    Wang et al., "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model" (2023).
    """

    needs_gradient = False

    def _correction(
        self, tangent: Linearisation, pull_back: FieldFunction, x_hat: Tensor, log_snr: Tensor
    ) -> Tensor:
        return self._least_change(tangent, log_snr)


class PiGDM(ObservationGuidance):
    """The covariance of what is observed is taken for ``sigma^2 A A^T``, that of white data.

    Costs one backward pass for each evaluation.

    References
    ----------
    Song et al., "Pseudoinverse-Guided Diffusion Models for Inverse Problems" (2023), eq. 7, with
    r^2 = sigma^2, the posterior variance of white data of unit variance.

    Examples
    --------
    Two cells of correlation 1/2, of which one is known. `MomentMatching` gives the other the exact
    mean, 0.5714:

    >>> from skdiffuse.diffusion import GaussianDenoiser, KnownCells
    >>> prior = GaussianDenoiser(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    >>> guided = PiGDM(prior, KnownCells(torch.tensor([[2.0, torch.nan]])))
    >>> guided(torch.zeros(1, 2), torch.tensor(0.0))
    tensor([[2.0000, 0.5333]])
    """

    def _correction(
        self, tangent: Linearisation, pull_back: FieldFunction, x_hat: Tensor, log_snr: Tensor
    ) -> Tensor:
        return pull_back(self._least_change(tangent, log_snr)) / like(alpha(log_snr), x_hat)


class HoGuidance(ObservationGuidance):
    """The explicit update of Ho et al., ``x_hat - (w_r alpha / 2) grad_z ||y - A x_hat||^2``.

    For comparison and for reproducing experiments: it diverges from a `w_r` of a few hundred.
    `ReconstructionGuidance` takes any. Costs one backward pass for each evaluation.

    Parameters
    ----------
    denoiser, observation, spread
        See `ObservationGuidance`.
    w_r : float
        Weight, at least 0.
    mean_over_batch : bool, default=False
        False: the squared error is summed over what is observed of each sequence. True: it is
        averaged over everything observed in the batch, as in the dissertation's experiments, whose
        w_r = 1e6 is a weight of about 3 on the sum. A sequence then comes out differently in
        another batch.

    References
    ----------
    Ho et al., "Video Diffusion Models" (2022), eq. 7. Herbert (2023), eq. 2.116, which prints
    alpha^2 where alpha is right.

    Examples
    --------
    Two cells of correlation 1/2, of which one is known: the other is pushed in proportion to the
    weight, however far.

    >>> from skdiffuse.diffusion import GaussianDenoiser, KnownCells
    >>> prior = GaussianDenoiser(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    >>> known = KnownCells(torch.tensor([[2.0, torch.nan]]))
    >>> for w_r in (1.0, 1000.0):
    ...     print(HoGuidance(prior, known, w_r)(torch.zeros(1, 2), torch.tensor(0.0)))
    tensor([[2.0000, 0.2667]])
    tensor([[  2.0000, 266.6667]])
    """

    def __init__(
        self,
        denoiser: Denoiser,
        observation: Observation,
        w_r: float = 1.0,
        *,
        mean_over_batch: bool = False,
        spread: Spread | None = None,
    ) -> None:
        super().__init__(denoiser, observation, spread=spread)
        self.w_r = _weight(w_r)
        self.mean_over_batch = mean_over_batch

    def _correction(
        self, tangent: Linearisation, pull_back: FieldFunction, x_hat: Tensor, log_snr: Tensor
    ) -> Tensor:
        weight = self.w_r
        if self.mean_over_batch:
            n_observed = torch.isfinite(self.observation.values).expand_as(tangent.residual).sum()
            weight = weight / max(int(n_observed), 1)
        gradient = pull_back(tangent.adjoint(tangent.residual))
        return weight * like(alpha(log_snr), x_hat) * gradient


class MomentMatching(ObservationGuidance):
    """Exact for Gaussian data: C is the covariance that the denoiser itself implies.

    ``C = (sigma^2 / alpha) J`` is applied by backward passes of the network, one for each iteration
    of conjugate gradients, and never formed.

    Parameters
    ----------
    denoiser, observation, spread
        See `ObservationGuidance`.
    n_iterations : int, default=30
        Most iterations. As many as there are observed values solve the system of an exact denoiser.
    tolerance : float, default=1e-6
        Part of the residual that may be left; 0 does all iterations.
    largest_gain : float, default=4.0
        Bound of a step, which holds a network stable; see `gaussian_correction`.
    jacobian_error : float, default=0.0
        How far J may be wrong; it adds ``jacobian_error sigma^2 / alpha`` to the error variance, as
        if J had so much more on its diagonal. An exact denoiser needs none. A network does, above
        all at high noise, where J is of the size of alpha and is multiplied by 1 / alpha: about
        0.01, without which more iterations make it worse.

    References
    ----------
    Rozet et al., "Learning Diffusion Priors from Observations by Expectation Maximization" (2024),
    section 4; Boys et al., "Tweedie Moment Projected Diffusions" (2023).

    Examples
    --------
    Two correlated cells, one of which is known:

    >>> from skdiffuse.diffusion import GaussianDenoiser, KnownCells
    >>> prior = GaussianDenoiser(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    >>> guided = MomentMatching(prior, KnownCells(torch.tensor([[2.0, torch.nan]])))
    >>> guided(torch.zeros(1, 2), torch.tensor(-20.0))
    tensor([[2., 1.]])
    """

    def __init__(
        self,
        denoiser: Denoiser,
        observation: Observation,
        *,
        n_iterations: int = 30,
        tolerance: float = 1e-6,
        largest_gain: float = LARGEST_GAIN,
        jacobian_error: float = 0.0,
        spread: Spread | None = None,
    ) -> None:
        super().__init__(denoiser, observation, spread=spread)
        if n_iterations < 1:
            raise ValueError(f"n_iterations={n_iterations!r} must be at least 1.")
        if not tolerance >= 0:
            raise ValueError(f"tolerance={tolerance!r} must be at least 0.")
        if not largest_gain > 0:
            raise ValueError(f"largest_gain={largest_gain!r} must be positive.")
        if not jacobian_error >= 0:
            raise ValueError(f"jacobian_error={jacobian_error!r} must be at least 0.")
        self.jacobian_error = float(jacobian_error)
        self.n_iterations = n_iterations
        self.tolerance = tolerance
        self.largest_gain = largest_gain

    def _correction(
        self, tangent: Linearisation, pull_back: FieldFunction, x_hat: Tensor, log_snr: Tensor
    ) -> Tensor:
        tweedie = like(sigma(log_snr) ** 2 / alpha(log_snr), x_hat)
        return gaussian_correction(
            tangent,
            lambda field: tweedie * pull_back(field),
            self._error_variance_at(log_snr, tangent.residual),
            n_iterations=self.n_iterations,
            tolerance=self.tolerance,
            pinned=self.observation.pinned(x_hat),
            largest_gain=self.largest_gain,
        )

    def _error_variance_at(self, log_snr: Tensor, residual: Tensor) -> Tensor:
        tweedie = like(sigma(log_snr) ** 2 / alpha(log_snr), residual)
        return self._error_variance(residual) + self.jacobian_error * tweedie


class ReconstructionGuidance(MomentMatching):
    """Reconstruction guidance whose weight may be anything from 0 up, infinity nearly included.

    Ho et al. (2022) correct the posterior mean of the unknown cells to ::

        x_hat_u - (w_r alpha / 2) grad_z ||x_k - x_hat_k||^2

    with the squared error SUMMED over what is known of ONE sequence, so that `w_r` means the same
    at every batch size. With the Jacobian J that is x_hat + w_r alpha J^T r, whereas the correction
    that is exact for Gaussian data is C_uk (C_kk + R)^-1 r, C = (sigma^2 / alpha) J. So w_r stands
    for an inverse covariance, w_r = sigma^2 / (alpha^2 (C_kk + R)), which no constant can be at all
    noise levels: as it stands the update diverges from w_r of a few hundred.

    Here `w_r` adds the error variance sigma^2 / (alpha^2 w_r) to that of the observation, and the
    system is solved by conjugate gradients. For small `w_r` one iteration is Ho's update; for large
    `w_r` it is the steepest descent with the best step, so that `w_r` can grow without bound, and
    further iterations approach the exact correction, which the bound on their number makes a
    matter of cost.

    Parameters
    ----------
    denoiser, observation, largest_gain, jacobian_error, spread
        See `MomentMatching`.
    w_r : float, default=1e6
        Weight, at least 0, per square of the observation's unit. With 0 nothing but `Replacement`
        is done and no gradient is taken.
    n_iterations : int, default=1
        Iterations, one backward pass of the network each.

    References
    ----------
    Ho et al., "Video Diffusion Models" (2022), eq. 7. Herbert (2023), eq. 2.116, which prints
    alpha^2 where alpha is right. His experiments averaged the error over a batch of 327,680 cells,
    so that his w_r = 1e6 is a weight of about 3 on the sum used here, and 1e3 about 0.003.

    Examples
    --------
    Two perfectly correlated cells, one of which is known:

    >>> from skdiffuse.diffusion import GaussianDenoiser, KnownCells
    >>> prior = GaussianDenoiser(torch.zeros(2), torch.ones(2, 2))
    >>> guided = ReconstructionGuidance(prior, KnownCells(torch.tensor([[3.0, torch.nan]])), 1e6)
    >>> guided(torch.zeros(1, 2), torch.tensor(0.0))
    tensor([[3.0000, 3.0000]])
    """

    def __init__(
        self,
        denoiser: Denoiser,
        observation: Observation,
        w_r: float = 1e6,
        n_iterations: int = 1,
        *,
        largest_gain: float = LARGEST_GAIN,
        jacobian_error: float = 0.0,
        spread: Spread | None = None,
    ) -> None:
        super().__init__(
            denoiser,
            observation,
            n_iterations=n_iterations,
            tolerance=0.0,
            largest_gain=largest_gain,
            jacobian_error=jacobian_error,
            spread=spread,
        )
        self.w_r = _weight(w_r)
        if self.w_r == 0:
            self.needs_gradient = False

    def _correction(
        self, tangent: Linearisation, pull_back: FieldFunction, x_hat: Tensor, log_snr: Tensor
    ) -> Tensor:
        if self.w_r == 0:
            return self._least_change(tangent, log_snr)
        return super()._correction(tangent, pull_back, x_hat, log_snr)

    def _error_variance_at(self, log_snr: Tensor, residual: Tensor) -> Tensor:
        added = torch.exp(-log_snr.double()) / self.w_r
        return super()._error_variance_at(log_snr, residual) + like(added, residual)


def _weight(w_r: float) -> float:
    if not w_r >= 0:
        raise ValueError(f"w_r={w_r!r} must be at least 0.")
    return float(w_r)
