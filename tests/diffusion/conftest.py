"""Exact Gaussian data, the reference vectors, and the exact output law of any sampler on it."""

import json
from pathlib import Path

import pytest
import torch

from skdiffuse.diffusion import GaussianDenoiser, integrate, run_sampler


@pytest.fixture(scope="session")
def vectors():
    """Reference values, which were computed by other code."""
    path = Path(__file__).resolve().parents[1] / "reference" / "vectors.json"
    return json.loads(path.read_text(encoding="utf-8"))


class GaussianData:
    """N(mean, covariance) with covariance sd_i sd_j 0.8^|i - j|."""

    mean = torch.tensor([-0.5, -0.3, -0.1, 0.1, 0.3, 0.5], dtype=torch.float64)
    index = torch.arange(6)
    std = torch.linspace(0.6, 1.4, 6, dtype=torch.float64)
    covariance = std[:, None] * std * 0.8 ** (index[:, None] - index).abs().double()
    denoiser = GaussianDenoiser(mean, covariance)


@pytest.fixture(scope="session")
def gaussian():
    return GaussianData


class ProbeStreams:
    """Streams that give sample k the unit vector k at its turn and zeros otherwise."""

    def __init__(self, n_samples, first, dim):
        self.n_samples, self.next, self.dim = n_samples, first, dim

    def __len__(self):
        return self.n_samples

    def normal(self, shape, dtype):
        noise = torch.zeros(self.n_samples, self.dim, dtype=dtype)
        noise[self.next : self.next + self.dim] = torch.eye(self.dim, dtype=dtype)
        self.next += self.dim
        return noise.reshape(self.n_samples, *shape)


class CountingStreams:
    """One stream of zeros that counts how often it is asked."""

    n_draws = 0

    def __len__(self):
        return 1

    def normal(self, shape, dtype):
        self.n_draws += 1
        return torch.zeros(1, *shape, dtype=dtype)


@pytest.fixture(scope="session")
def output_law():
    """Exact mean and covariance of a sampler's output for a denoiser that is affine in z.

    The output is affine in the initial noise and in the noise of every step, so probing with zeros
    and with unit vectors gives its coefficients; nothing is sampled.
    """

    def law(denoiser, step, grid, *, last_mean=False, dim=6):
        sampler = run_sampler if last_mean else integrate
        counted = CountingStreams()
        if step.stochastic:
            at_rest = torch.zeros(1, dim, dtype=torch.float64)
            sampler(denoiser, at_rest, grid, step, streams=counted)
        n = 1 + dim + counted.n_draws * dim
        z = torch.zeros(n, dim, dtype=torch.float64)
        z[1 : 1 + dim] = torch.eye(dim, dtype=torch.float64)
        out = sampler(denoiser, z, grid, step, streams=ProbeStreams(n, 1 + dim, dim))
        response = out[1:] - out[0]
        return out[0], response.T @ response

    return law


@pytest.fixture(scope="session")
def covariance_error(gaussian, output_law):
    """Relative Frobenius error of the covariance of samples of the Gaussian data."""

    def error(step, grid, *, last_mean=False):
        _, covariance = output_law(gaussian.denoiser, step, grid, last_mean=last_mean)
        difference = torch.linalg.norm(covariance - gaussian.covariance)
        return float(difference / torch.linalg.norm(gaussian.covariance))

    return error


@pytest.fixture(scope="session")
def chain_covariance_error(gaussian, output_law):
    """The same for a Markov chain, propagating mean and covariance step by step."""

    def error(step, grid):
        dim = len(gaussian.mean)
        covariance = torch.eye(dim, dtype=torch.float64)
        for i in range(len(grid) - 1):
            n = 1 + 2 * dim
            z = torch.zeros(n, dim, dtype=torch.float64)
            z[1 : 1 + dim] = torch.eye(dim, dtype=torch.float64)
            streams = ProbeStreams(n, 1 + dim, dim)
            out = integrate(gaussian.denoiser, z, grid[i : i + 2], step, streams=streams)
            of_z, of_noise = (out[1:] - out[0]).split(dim)
            covariance = of_z.T @ covariance @ of_z + of_noise.T @ of_noise
        difference = torch.linalg.norm(covariance - gaussian.covariance)
        return float(difference / torch.linalg.norm(gaussian.covariance))

    return error
