"""Guidance on a mixture of Gaussians, whose class probabilities are known at every noise level."""

import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    AncestralStep,
    ClassifierFreeGuidance,
    ClassifierGuidance,
    GaussianDenoiser,
    GaussianMixtureDenoiser,
    HeunStep,
    RandomStreams,
    SimilarityGuidance,
    TruncatedCosineSchedule,
    run_sampler,
    sampling_grid,
)

MEANS = torch.tensor([[-1.0, 0.5], [1.5, 0.0]], dtype=torch.float64)
COVARIANCES = torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.4, -0.1], [-0.1, 0.6]]]).double()
WEIGHTS = torch.tensor([0.7, 0.3], dtype=torch.float64)
MIXTURE = GaussianMixtureDenoiser(WEIGHTS, MEANS, COVARIANCES)
WANTED = GaussianDenoiser(MEANS[1], COVARIANCES[1])


def log_probability(z, log_snr):
    """log p(class 1 | z), by Bayes."""
    joint = torch.log(WEIGHTS[1]) + WANTED.log_density(z, log_snr)
    return joint - MIXTURE.log_density(z, log_snr)


@pytest.mark.parametrize("log_snr", [-5.0, 0.0, 4.0])
@pytest.mark.parametrize("weight", [-1.0, 0.0, 0.5, 3.0])
def test_with_and_without_classifier_are_the_same(log_snr, weight):
    """(1 + omega) x_hat(z, y) - omega x_hat(z) is classifier guidance of scale 1 + omega."""
    log_snr = torch.tensor(log_snr, dtype=torch.float64)
    z = RandomStreams(range(5)).normal((2,), torch.float64)
    free = ClassifierFreeGuidance(WANTED, MIXTURE, weight)
    guided = ClassifierGuidance(MIXTURE, log_probability, 1 + weight)
    np.testing.assert_allclose(free(z, log_snr), guided(z, log_snr), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("step", [HeunStep(), AncestralStep("upper")])
def test_samples_are_of_the_class(step, one_stream):
    """With Bayes' rule any sampler draws from the class's Gaussian, which is 30 % of the data."""
    n = 4000
    streams = one_stream(n)
    x = run_sampler(
        ClassifierGuidance(MIXTURE, log_probability),
        streams.normal((2,), torch.float64),
        sampling_grid(TruncatedCosineSchedule(), 100),
        step,
        streams=streams,
    )
    standard_error = (COVARIANCES[1].diagonal() / n).sqrt()
    assert ((x.mean(0) - MEANS[1]).abs() < 4 * standard_error).all()
    np.testing.assert_allclose(x.T.cov(), COVARIANCES[1], atol=0.05)


@pytest.mark.parametrize("step", [HeunStep(), AncestralStep("lower")])
def test_linear_score_tilts_the_density(step, one_stream):
    """exp(gamma b^T x) N(x; m, S) is N(m + gamma S b, S): exact, the score being linear."""
    n, b, scale = 2000, torch.tensor([1.0, -0.5], dtype=torch.float64), 0.8
    streams = one_stream(n)
    noise = streams.normal((2,), torch.float64)
    x = run_sampler(
        SimilarityGuidance(WANTED, lambda x: x @ b, scale),
        noise,
        sampling_grid(TruncatedCosineSchedule(), 100),
        step,
        streams=streams,
    )
    exact = MEANS[1] + scale * COVARIANCES[1] @ b
    standard_error = (COVARIANCES[1].diagonal() / n).sqrt()
    assert ((x.mean(0) - exact).abs() < 4 * standard_error).all()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"weight=-2\.0 must be at least -1"):
        ClassifierFreeGuidance(WANTED, MIXTURE, -2.0)
    z = torch.zeros(3, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="one value for each of the 3 sequences"):
        SimilarityGuidance(WANTED, lambda x: x)(z, torch.tensor(0.0))
