"""A network that is told what is known, played by the exact conditional mean."""

import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    KNOWN_COVARIATES,
    AmortisedDenoiser,
    ArealMean,
    GaussianDenoiser,
    HeunStep,
    JointObservation,
    KnownCells,
    RandomStreams,
    TruncatedCosineSchedule,
    condition,
    known_as_covariates,
    run_sampler,
    sampling_grid,
)

SHAPE = (1, 2, 2)  # frames, y, x
LAG = (torch.arange(4)[:, None] - torch.arange(4)).abs()
COVARIANCE = 0.7 ** LAG.double()


def exact_network(z, log_snr, covariates):
    """E[x | z, x_k] of a Gaussian, from the covariates alone."""
    told, mask = (covariates[:, :, i].flatten(1) for i in (0, 1))
    k = mask[0] == 1
    x_hat = torch.zeros_like(z).flatten(1)
    x_hat[:, k] = told[:, k]
    regression = COVARIANCE[~k][:, k] @ torch.linalg.inv(COVARIANCE[k][:, k])
    rest = COVARIANCE[~k][:, ~k] - regression @ COVARIANCE[k][:, ~k]
    mean = told[0, k] @ regression.T
    x_hat[:, ~k] = GaussianDenoiser(mean, rest)(z.flatten(1)[:, ~k], log_snr)
    return x_hat.reshape(z.shape)


def sample(denoiser, n=400):
    noise = RandomStreams(range(n)).normal(SHAPE, torch.float64)
    noise = torch.cat([noise, -noise])
    grid = sampling_grid(TruncatedCosineSchedule(), 128)
    return run_sampler(denoiser, noise, grid, HeunStep()).flatten(1)


def test_told_network_samples_the_conditional_law():
    values = torch.tensor([[[[2.0, torch.nan], [torch.nan, -1.0]]]], dtype=torch.float64)
    x = sample(AmortisedDenoiser(exact_network, KnownCells(values), "x"))
    assert (x[:, 0] == 2.0).all() and (x[:, 3] == -1.0).all()
    k, u = [0, 3], [1, 2]
    regression = COVARIANCE[u][:, k] @ torch.linalg.inv(COVARIANCE[k][:, k])
    exact = regression @ torch.tensor([2.0, -1.0]).double()
    np.testing.assert_allclose(x[:, u].mean(0), exact, atol=1e-3)


def test_guidance_adds_what_the_network_is_not_told():
    """The network is told one cell, guidance adds the mean of all four."""
    values = torch.tensor([[[[2.0, torch.nan], [torch.nan, torch.nan]]]], dtype=torch.float64)
    mean = ArealMean(torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64), 2)
    told = AmortisedDenoiser(exact_network, KnownCells(values), "x")
    x = sample(condition(told, JointObservation([KnownCells(values), mean]), "moment_matching"))
    operator = torch.tensor([[1.0, 0, 0, 0], [0.25] * 4], dtype=torch.float64)
    seen = torch.tensor([2.0, 0.3], dtype=torch.float64)
    gain = COVARIANCE @ operator.T @ torch.linalg.inv(operator @ COVARIANCE @ operator.T)
    np.testing.assert_allclose(x.mean(0), gain @ seen, atol=2e-3)
    np.testing.assert_allclose(x.mean(1), 0.3, atol=1e-4)
    exact = COVARIANCE - gain @ operator @ COVARIANCE
    np.testing.assert_allclose(x.T.cov(), exact, atol=0.1)


def test_further_fields_come_last():
    values = torch.tensor([[[[3.0, torch.nan]]]])
    told = known_as_covariates(values, torch.full((1, 1, 1, 1, 2), 5.0))
    assert known_as_covariates(values).shape[2] == KNOWN_COVARIATES == told.shape[2] - 1
    assert told[0, 0].tolist() == [[[3.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]], [[5.0, 5.0]]]


def test_network_is_told_labels_too():
    def network(z, log_snr, covariates, labels):
        return z * 0 + labels.reshape(-1, 1, 1, 1)

    values = torch.full((2, *SHAPE), torch.nan)
    denoiser = AmortisedDenoiser(network, KnownCells(values), "x", labels=torch.tensor([3, 4]))
    assert denoiser(torch.zeros(2, *SHAPE), torch.tensor(0.0))[:, 0, 0, 0].tolist() == [3, 4]


def test_method_is_named():
    with pytest.raises(ValueError, match="method='magic' is unknown"):
        condition(exact_network, KnownCells(torch.zeros(1, 2)), "magic")
