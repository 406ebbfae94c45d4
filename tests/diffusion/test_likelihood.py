import math

import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    AdamsStep,
    GaussianDenoiser,
    GaussianMixtureDenoiser,
    RandomStreams,
    TruncatedCosineSchedule,
    bits_per_dim,
    decode,
    elbo,
    encode,
    flow_log_density,
    sampling_grid,
)

SCHEDULE = TruncatedCosineSchedule(-20.0, 20.0)


class SigmaPoints:
    """12 samples whose noises have mean 0 and covariance I exactly: quadratics average exactly."""

    points = math.sqrt(6) * torch.cat([torch.eye(6), -torch.eye(6)]).double()

    def __len__(self):
        return 12

    def normal(self, shape, dtype):
        return self.points.to(dtype).reshape(12, *shape)


@pytest.mark.parametrize("limit", [20, 30])
def test_elbo_terms_of_reference(vectors, gaussian, limit):
    reference = vectors["gaussian_D6"]
    x1 = torch.tensor([reference["x1"]], dtype=torch.float64)
    terms = elbo(
        gaussian.denoiser,
        x1.expand(12, 6),
        SigmaPoints(),
        log_snr_min=-limit,
        log_snr_max=limit,
        n_levels=200,
        n_noise=1,
    )
    expected = reference[f"elbo_terms(x1) prior,diffusion,recon range {limit}"]
    # the printed prior carries rounding of 3e-16, more than a thousandth of it at 30
    assert float(terms.prior[0]) == pytest.approx(expected[0], abs=4e-16)
    alpha2 = math.exp(-limit) / (1 + math.exp(-limit))
    assert float(terms.prior[0]) == pytest.approx(alpha2 * float(x1.square().sum()) / 2, rel=1e-7)
    assert float(terms.diffusion.mean()) == pytest.approx(expected[1], rel=1e-9)
    # The reference decodes with the exact posterior of the data, we with N(z / alpha, sigma^2 /
    # alpha^2), which knows nothing of the data: they differ by O(exp(-log_snr_max)).
    decoder = 100 * math.exp(-limit)
    assert float(terms.reconstruction[0]) == pytest.approx(expected[2], rel=1e-9, abs=decoder)
    # The identity: the bound of an exact denoiser is the density.
    bound = float(terms.bound.mean())
    assert bound == pytest.approx(-reference["logp(x1)"], abs=decoder + 1e-8)


def test_elbo_from_noise_is_within_its_standard_error(gaussian):
    x = gaussian.mean + 0.5 * torch.ones(40, 6, dtype=torch.float64)
    terms = elbo(gaussian.denoiser, x, RandomStreams(range(40)), n_levels=48, n_noise=4)
    exact = -gaussian.denoiser.log_density(x[:1], 200.0)
    z_scores = (terms.bound - exact) / terms.standard_error
    assert float(z_scores.abs().max()) < 6  # one pair of pairs: Student's t with few d.o.f. a node
    assert abs(float(z_scores.mean())) < 0.6
    assert 0.5 < float(z_scores.std()) < 2
    odd = elbo(gaussian.denoiser, x[:2], RandomStreams([0, 1]), n_levels=8, n_noise=1)
    assert torch.isnan(odd.standard_error).all()
    # One pair of noise at 8 levels, and no standard error: within the spread of many such bounds.
    many = elbo(gaussian.denoiser, x, RandomStreams(range(40)), n_levels=8, n_noise=1).bound
    torch.testing.assert_close(odd.bound, many[:2])
    assert float(many.mean() - exact) == pytest.approx(0, abs=4 * float(many.std()) / 40**0.5)


def test_standard_error_is_the_spread_of_bounds(gaussian):
    """Of bounds of one sequence with many draws of noise."""
    x = (gaussian.mean + 1.0).expand(600, 6)
    terms = elbo(gaussian.denoiser, x, RandomStreams(range(600)), n_levels=4, n_noise=8)
    said = float(terms.standard_error.square().mean().sqrt())
    assert said == pytest.approx(float(terms.bound.std()), rel=0.1)


def test_elbo_is_a_bound(gaussian):
    """A worse denoiser has a larger bound."""
    worse = GaussianDenoiser(gaussian.mean, torch.diag(torch.diag(gaussian.covariance)))
    x = (
        gaussian.mean
        + torch.randn(64, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        @ torch.linalg.cholesky(gaussian.covariance).T
    )
    exact = elbo(gaussian.denoiser, x, RandomStreams(range(64))).bound.mean()
    assert elbo(worse, x, RandomStreams(range(64))).bound.mean() > exact + 1


def test_flow_density_of_reference(vectors, gaussian):
    reference = vectors["gaussian_D6"]
    x1 = torch.tensor([reference["x1"]], dtype=torch.float64)
    found = flow_log_density(gaussian.denoiser, x1)
    assert float(found) == pytest.approx(reference["logp(x1)"], abs=1e-4)


def mixture():
    return GaussianMixtureDenoiser(
        torch.tensor([0.3, 0.7]),
        torch.tensor([[-1.0, 0.5], [1.0, -0.2]], dtype=torch.float64),
        torch.tensor([[[0.1, 0.05], [0.05, 0.2]], [[0.4, 0.0], [0.0, 0.1]]], dtype=torch.float64),
    )


def test_flow_density_of_a_mixture():
    x = torch.tensor([[-1.0, 0.4], [0.0, 0.0], [1.5, -0.5]], dtype=torch.float64)
    exact = mixture().log_density(x, 60.0)
    found = flow_log_density(mixture(), x)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)


def test_hutchinson_is_unbiased_and_exact_in_one_dimension():
    x = torch.tensor([[0.3]], dtype=torch.float64)
    line = GaussianMixtureDenoiser(
        torch.tensor([0.5, 0.5]), torch.tensor([[-1.0], [1.0]]), 0.2 * torch.ones(2, 1, 1)
    )
    exact = flow_log_density(line, x, n_steps=20)
    probed = flow_log_density(line, x, n_steps=20, n_probes=1, streams=RandomStreams([0]))
    torch.testing.assert_close(probed, exact)
    many = torch.tensor([[0.3, -0.1]], dtype=torch.float64).expand(400, 2)
    probed = flow_log_density(
        mixture(), many, n_steps=16, n_probes=1, streams=RandomStreams(range(400))
    )
    exact = float(flow_log_density(mixture(), many[:1], n_steps=16))
    standard_error = float(probed.std()) / 20
    assert standard_error > 0
    assert abs(float(probed.mean()) - exact) < 3 * standard_error + 1e-9


@pytest.mark.parametrize("shape", [(2,), (1, 2, 1)])
def test_density_of_any_shape(shape):
    x = torch.tensor([[0.3, -0.1]], dtype=torch.float64)
    torch.testing.assert_close(
        flow_log_density(mixture(), x.reshape(1, *shape), n_steps=16),
        flow_log_density(mixture(), x, n_steps=16),
    )


def test_encode_and_decode_are_inverse():
    x = torch.tensor([[-1.0, 0.4], [0.0, 0.0], [1.5, -0.5]], dtype=torch.float64)
    grid = sampling_grid(SCHEDULE, 100)
    latent = encode(mixture(), x, grid)
    torch.testing.assert_close(decode(mixture(), latent, grid), x, rtol=0, atol=1e-5)
    single = decode(mixture(), encode(mixture(), x.float(), grid), grid)
    torch.testing.assert_close(single, x.float(), rtol=0, atol=1e-3)
    finer = sampling_grid(SCHEDULE, 300)
    adams = decode(mixture(), encode(mixture(), x, finer, AdamsStep()), finer, AdamsStep())
    torch.testing.assert_close(adams, x, rtol=0, atol=1e-5)


def test_latents_of_gaussian_data_are_whitened(gaussian):
    """The encoding of N(mu, Sigma) is Sigma^-1/2 (x - mu)."""
    x = gaussian.mean + torch.randn(
        5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    eigenvalues, basis = torch.linalg.eigh(gaussian.covariance)
    expected = (x - gaussian.mean) @ basis / eigenvalues.sqrt() @ basis.T
    latent = encode(gaussian.denoiser, x, sampling_grid(SCHEDULE, 60))
    torch.testing.assert_close(latent, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("log_snr_max", [0.0, 3.0])
def test_encoding_begins_at_the_end_of_the_grid(log_snr_max):
    """The flow of N(0, 4) keeps z over its standard deviation, which at the end is not yet 2."""
    denoiser = GaussianDenoiser(
        torch.zeros(1, dtype=torch.float64), 4 * torch.eye(1, dtype=torch.float64)
    )
    x = torch.tensor([[-2.0], [1.0]], dtype=torch.float64)
    latent = encode(denoiser, x, torch.linspace(-20, log_snr_max, 200, dtype=torch.float64))
    signal = 1 / (1 + math.exp(-log_snr_max))
    expected = x * signal**0.5 / math.sqrt(4 * signal + 1 - signal)
    torch.testing.assert_close(latent, expected, rtol=1e-4, atol=0)


def test_bits_per_dim():
    nats = torch.tensor([8 * math.log(2) * 12.0])
    assert float(bits_per_dim(nats, 12)) == pytest.approx(8)
    assert float(bits_per_dim(nats, 12, cell_width=1 / 256)) == pytest.approx(16)
    uniform = np.log(256.0) * 12  # a density of 1/256 on [0, 256), unit bins
    assert float(bits_per_dim(torch.tensor(uniform), 12)) == pytest.approx(8)


def test_probes_need_streams():
    with pytest.raises(ValueError, match="n_probes needs streams"):
        flow_log_density(mixture(), torch.zeros(1, 2), n_probes=1)
