"""Closed-form checks of `corruptions.py`: how far each is from what it has to be.

A check is a function that returns its largest error. To add one, add a line to `CHECKS`.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from scipy.fft import dctn
from scipy.integrate import quad
from scipy.stats import norm
from scipy.stats import t as student
from torch import Tensor

from skdiffuse.corruptions import (
    CORRUPTIONS,
    BlurCorruption,
    CoarseGrainingCorruption,
    ExactClassDenoiser,
    GaussianBlurDenoiser,
    GaussianCorruption,
    MaskingChain,
    OrdinalChain,
    ScaleMixtureDenoiser,
    SpatialAutoencoder,
    StudentTCorruption,
    SubstitutionChain,
    blur,
    bound_of_step,
    cosine_basis,
    draw_back,
)
from skdiffuse.diffusion import (
    AncestralStep,
    GaussianDenoiser,
    RandomStreams,
    alpha,
    run_sampler,
    sigma,
)

CHAINS = [MaskingChain(3), SubstitutionChain(3), OrdinalChain(3, [0.6, 0.3, 0.1])]
FIELD = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def cosines() -> float:
    """Against scipy's transform."""
    ours = cosine_basis(8) @ FIELD[0, 0] @ cosine_basis(8).T
    return float(np.abs(ours.numpy() - dctn(FIELD[0, 0].numpy(), norm="ortho")).max())


def heat_equation() -> float:
    """Two blurs in a row are one of the root of the sum of squares."""
    widths = torch.tensor([1.5, 2.0], dtype=torch.float64)
    twice = blur(blur(FIELD, widths[0]), widths[1])
    return float((twice - blur(FIELD, widths.square().sum().sqrt())).abs().max())


def block_means() -> float:
    """Coarse-graining passes through means over blocks."""
    corruption = CoarseGrainingCorruption()
    coarse = corruption.smooth(FIELD, torch.tensor(corruption.log_snr_of(4), dtype=torch.float64))
    means = FIELD.reshape(1, 1, 2, 4, 2, 4).mean((3, 5))
    return float((coarse[..., ::4, ::4] - means).abs().max())


def blurred_covariance() -> float:
    """A step back of Gaussian fields, x drawn from its exact posterior, keeps their covariance."""
    power = 2.0 / (1 + torch.arange(4.0)[:, None] ** 2 + torch.arange(4.0) ** 2).double()
    corruption = BlurCorruption(width=2.0)
    denoiser = GaussianBlurDenoiser(corruption, power)
    basis = torch.einsum("ky,lx->klyx", cosine_basis(4), cosine_basis(4)).reshape(16, 1, 4, 4)
    t, s = torch.tensor(-1.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)

    def response(z: Tensor, x: Tensor) -> Tensor:
        step = corruption.step_back(z, x, t, s, torch.zeros_like(z))
        return (step.flatten(1) @ basis.flatten(1).T).diagonal().reshape(4, 4)

    (kept_t, gain), (kept_s, _) = denoiser.gain(t), denoiser.gain(s)
    noise_t, noise_s = (corruption.noise_std(level) ** 2 for level in (t, s))
    of_z = response(basis, denoiser(basis, t))
    of_x = response(torch.zeros_like(basis), basis)
    posterior = power - gain * kept_t * power
    variance = of_z**2 * (kept_t**2 * power + noise_t) + of_x**2 * posterior
    return float((variance - kept_s**2 * power - noise_s).abs().max())


def student_t() -> float:
    """The posterior mean of one cell against quadrature."""
    nu, log_snr = 4.0, 0.0
    scale = math.sqrt((nu - 2) / nu) * float(sigma(log_snr))
    one = GaussianDenoiser(torch.zeros(1), torch.ones(1, 1))
    heavy = ScaleMixtureDenoiser(StudentTCorruption(nu), one)
    errors = []
    for z in (-4.0, 0.5, 2.0):

        def joint(x: float, z: float = z) -> float:
            return norm.pdf(x) * student.pdf(z, nu, float(alpha(log_snr)) * x, scale)

        mean = quad(lambda x: x * joint(x), -9, 9)[0] / quad(joint, -9, 9)[0]
        errors.append(abs(heavy(torch.tensor([[z]]).double(), log_snr).item() - mean))
    return max(errors)


def gaussian_chain() -> float:
    """The one chain for all, on Gaussian noise, against ancestral sampling."""
    grid = torch.linspace(-10, 10, 9)
    z = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = draw_back(
        GaussianCorruption(), lambda z, _: torch.tanh(z), z, grid, RandomStreams([1, 2])
    )
    streams = RandomStreams([1, 2])
    theirs = run_sampler(lambda z, _: torch.tanh(z), z, grid, AncestralStep(), streams=streams)
    return float((ours - theirs).abs().max())


def first_is_data() -> float:
    """At t = 0 each corruption is the data."""
    errors = []
    for name, corruption in CORRUPTIONS.items():
        if name == "encoded" or corruption.n_outputs != 1:
            continue
        z = corruption.corrupt(FIELD, torch.tensor(math.inf).double(), torch.ones_like(FIELD))
        errors.append(float((z - FIELD).abs().max()))
    return max(errors)


def encoder_jacobian() -> float:
    """Derivative of an encoder along a direction, against finite differences."""
    torch.manual_seed(0)
    autoencoder = SpatialAutoencoder(2, 4).double()
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    direction = torch.randn_like(FIELD)
    with torch.no_grad():
        step = 1e-5
        ahead = autoencoder.encode(FIELD + step * direction)
        behind = autoencoder.encode(FIELD - step * direction)
    _, derivative = torch.autograd.functional.jvp(autoencoder.encode, FIELD, direction)
    return float(((ahead - behind) / (2 * step) - derivative).abs().max())


def class_posteriors() -> float:
    """Steps back of classes, by every rule, keep the marginals given the data."""
    errors = []
    for chain in CHAINS:
        now, then = (torch.tensor(share, dtype=torch.float64) for share in (0.2, 0.7))
        for rule in ("posterior", "improved", "naive"):
            table = chain.backward(now, then, rule)
            after = torch.einsum("xt,xts->xs", chain.cumulative(now), table)
            errors.append(float((after - chain.cumulative(then)).abs().max()))
    return max(errors)


def class_bound_of_a_cell() -> float:
    """The bound of a class by an exact denoiser, over all its states, is its log-probability."""
    law, errors = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), []
    for chain in CHAINS:
        exact = ExactClassDenoiser(torch.arange(3)[:, None], law, chain)
        states = torch.arange(chain.n_states)[:, None]
        for data in range(3):
            total = law[data].log()
            for share, share_next in pairwise([0.0, 0.3, 0.8, 1.0]):
                says = exact(states, share).softmax(-1)
                each = bound_of_step(
                    chain, says, torch.full_like(states, data), states, share, share_next
                )
                weights = chain.cumulative(share)[data]
                total = total + (weights * each[:, 0])[weights > 0].sum()
            errors.append(abs(float(total)))
    return max(errors)


CHECKS: dict[str, Callable[[], float]] = {
    "cosines": cosines,
    "heat_equation": heat_equation,
    "block_means": block_means,
    "blurred_covariance": blurred_covariance,
    "student_t": student_t,
    "gaussian_chain": gaussian_chain,
    "first_is_data": first_is_data,
    "encoder_jacobian": encoder_jacobian,
    "class_posteriors": class_posteriors,
    "class_bound_of_a_cell": class_bound_of_a_cell,
}
