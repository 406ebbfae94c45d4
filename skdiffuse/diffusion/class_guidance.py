r"""Guidance towards a class, or towards whatever a user can score.

By Bayes, ``grad log q(z | y) = grad log q(z) + grad log p(y | z)``, and a gradient g added to the
score adds ``(sigma^2 / alpha) g`` to x_hat. Everything here changes x_hat, not the mean of a
stochastic step, and so is valid for deterministic and stochastic samplers alike.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from skdiffuse.diffusion.denoisers import Denoiser
from skdiffuse.diffusion.parameterizations import alpha, like, sigma

__all__ = ["ClassifierFreeGuidance", "ClassifierGuidance", "SimilarityGuidance"]


class ClassifierFreeGuidance:
    r"""Conditional and unconditional denoiser of one network, weighted.

    .. math:: \hat x = (1 + \omega)\, \hat x(z, y) - \omega\, \hat x(z)

    which is the score ``grad log q(z) + gamma grad log p(y | z)`` with ``gamma = 1 + omega``.

    Parameters
    ----------
    conditional, unconditional : callable
        ``(z, log_snr) -> x_hat``: told the class or the covariates, and not told.
    weight : float, default=0.0
        Omega: -1 ignores the class, 0 samples the class as it is, more exaggerates what is typical
        of it. Costs two evaluations, but for -1 and 0.

    References
    ----------
    Ho and Salimans, "Classifier-free diffusion guidance" (2021), eq. 6. Su, "Topics on diffusion
    generative models", eqs. 9.19 and 9.24.

    Examples
    --------
    >>> guided = ClassifierFreeGuidance(
    ...     lambda z, log_snr: z + 1, lambda z, log_snr: z, weight=0.5)
    >>> guided(torch.zeros(1, 1), torch.tensor(0.0))
    tensor([[1.5000]])
    """

    def __init__(self, conditional: Denoiser, unconditional: Denoiser, weight: float = 0.0):
        if not weight >= -1:
            raise ValueError(f"weight={weight!r} must be at least -1, which ignores the class.")
        self.conditional = conditional
        self.unconditional = unconditional
        self.weight = float(weight)

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        if self.weight == 0:
            return self.conditional(z, log_snr)
        x_hat = self.unconditional(z, log_snr)
        if self.weight == -1:
            return x_hat
        return x_hat + (1 + self.weight) * (self.conditional(z, log_snr) - x_hat)


class ClassifierGuidance:
    r"""Denoiser guided by a classifier of noisy latents.

    .. math:: \hat x + \gamma\, (\sigma^2 / \alpha)\, \nabla_z \log p(y | z)

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``; needs no gradient.
    log_probability : callable
        ``(z, log_snr) -> log p(y | z)`` of the wanted class y, of shape (n,), each value of its own
        sequence only; differentiable in z.
    scale : float, default=1.0
        Gamma: 1 is Bayes' rule.

    References
    ----------
    Dhariwal and Nichol, "Diffusion models beat GANs on image synthesis" (2021), section 4. Su,
    chapter 9.

    Examples
    --------
    >>> guided = ClassifierGuidance(
    ...     lambda z, log_snr: torch.zeros_like(z), lambda z, log_snr: z.sum(1), scale=2.0)
    >>> guided(torch.zeros(1, 1), torch.tensor(0.0))  # 2 * (1 / 2) / sqrt(1 / 2)
    tensor([[1.4142]])
    """

    def __init__(
        self,
        denoiser: Denoiser,
        log_probability: Callable[[Tensor, Tensor], Tensor],
        scale: float = 1.0,
    ):
        self.denoiser = denoiser
        self.log_probability = log_probability
        self.scale = float(scale)

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        x_hat = self.denoiser(z, log_snr)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            gradient = _gradient(self.log_probability(z, log_snr), z, "log_probability")
        return x_hat + _of_score(self.scale, log_snr, z) * gradient


class SimilarityGuidance:
    """Denoiser guided by a score of clean data, which is evaluated at x_hat.

    ``p(y | z)`` is taken for ``p(y | x = x_hat(z))``, of the denoiser and not of the mean of the
    next step (Su's eq. 9.7 as corrected). Exact where the score is linear in x. Costs one backward
    pass of the network for each evaluation.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> x_hat``, differentiable in z.
    log_likelihood : callable
        Score of data of shape (n, ...), of shape (n,): a log-likelihood, or any similarity;
        differentiable.
    scale : float, default=1.0
        Gamma, by which the score is multiplied.

    Examples
    --------
    >>> guided = SimilarityGuidance(lambda z, log_snr: 0.5 * z, lambda x: x.sum(1))
    >>> guided(torch.zeros(1, 1), torch.tensor(0.0))
    tensor([[0.3536]])
    """

    def __init__(
        self, denoiser: Denoiser, log_likelihood: Callable[[Tensor], Tensor], scale: float = 1.0
    ):
        self.denoiser = denoiser
        self.log_likelihood = log_likelihood
        self.scale = float(scale)

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            x_hat = self.denoiser(z, log_snr)
            gradient = _gradient(self.log_likelihood(x_hat), z, "log_likelihood")
        return x_hat.detach() + _of_score(self.scale, log_snr, z) * gradient


def _gradient(score: Tensor, z: Tensor, name: str) -> Tensor:
    """Gradient of the sum of what a function of a user's, called `name`, has returned."""
    if not isinstance(score, Tensor):
        raise TypeError(
            f"{name} must return a Tensor with one value for each of the {len(z)} sequences; it "
            f"returned {type(score).__name__}: compute with torch, such as x.mean((1, 2, 3))."
        )
    if score.shape != z.shape[:1]:
        raise ValueError(
            f"{name}: a score must have one value for each of the {len(z)} sequences, got shape "
            f"{tuple(score.shape)}; sum over the other dimensions only."
        )
    gradient = None
    if score.requires_grad:
        gradient = torch.autograd.grad(score.sum(), z, allow_unused=True)[0]
    if gradient is None:
        raise ValueError(
            f"{name} must be differentiable, and what it returned does not depend on what it was "
            "given: leave out detach, item, numpy and comparisons."
        )
    if not torch.isfinite(gradient).all():
        raise FloatingPointError(
            f"{name} has a gradient that is not finite; keep logarithms and roots away from 0, "
            "such as torch.log(x + 0.1)."
        )
    return gradient


def _of_score(scale: float, log_snr: Tensor, z: Tensor) -> Tensor:
    return scale * like(sigma(log_snr) ** 2 / alpha(log_snr), z)
