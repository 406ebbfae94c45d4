"""Replacement and going back, on Gaussian data."""

import pytest
import torch

from skdiffuse.diffusion import (
    AdamsBashforthStep,
    AdamsStep,
    AncestralStep,
    DDIMStep,
    DPMSolverStep,
    EDMStep,
    ExactReverseCovariance,
    HeunStep,
    KnownCells,
    RandomStreams,
    ReplaceKnown,
    ResampledStep,
    TruncatedCosineSchedule,
    condition,
    run_sampler,
    sampling_grid,
)

GRID = sampling_grid(TruncatedCosineSchedule(), 48)


def test_going_back_keeps_the_law(gaussian, one_stream):
    """With the exact reverse covariance every repeated step still ends in the exact law."""
    n = 3000
    streams = one_stream(n)
    step = ResampledStep(AncestralStep(ExactReverseCovariance(gaussian.denoiser)), 3)
    grid = sampling_grid(TruncatedCosineSchedule(), 8)
    noise = streams.normal((6,), torch.float64)
    x = run_sampler(gaussian.denoiser, noise, grid, step, streams=streams)
    standard_error = (gaussian.covariance.diagonal() / n).sqrt()
    assert ((x.mean(0) - gaussian.mean).abs() < 4 * standard_error).all()
    error = torch.linalg.norm(x.T.cov() - gaussian.covariance)
    assert error / torch.linalg.norm(gaussian.covariance) < 0.1


@pytest.mark.parametrize(
    "step",
    [
        AdamsStep(),
        AdamsBashforthStep(),
        DPMSolverStep(),
        DPMSolverStep(eta=1.0),
        HeunStep(),
        DDIMStep(),
        AncestralStep(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("n_times", [2, 10])
def test_repeats_add_no_error(covariance_error, step, n_times):
    """Exact law of the latent of Gaussian data, with nothing sampled.

    An Adams method that went by what it remembered of other latents was 12 % off at 10 repeats.
    """
    grid = sampling_grid(TruncatedCosineSchedule(), 32, "tapered")
    once = covariance_error(step, grid)
    assert covariance_error(ResampledStep(step, n_times), grid) < 1.05 * max(once, 4e-4)


@pytest.mark.parametrize(
    "step", [AdamsStep(), AncestralStep(), DPMSolverStep(eta=0.5), EDMStep(), HeunStep()], ids=repr
)
def test_once_is_the_step_itself(gaussian, step):
    def sample(step):
        streams = RandomStreams(range(3))
        return run_sampler(
            gaussian.denoiser, streams.normal((6,), torch.float64), GRID, step, streams=streams
        )

    once = ResampledStep(step, 1)
    assert once.evaluations == step.evaluations
    assert torch.equal(sample(once), sample(step))


def test_going_back_takes_the_bias_from_replacement(gaussian, one_stream):
    values = torch.tensor([[0.6, torch.nan, -0.9, torch.nan, 1.1, torch.nan]]).double()
    observation = KnownCells(values)
    k, u = [0, 2, 4], [1, 3, 5]
    regression = gaussian.covariance[u][:, k] @ torch.linalg.inv(gaussian.covariance[k][:, k])
    exact = gaussian.mean[u] + regression @ (values[0, k] - gaussian.mean[k])

    def bias(n_times):
        n = 1000
        streams = one_stream(n)
        x = run_sampler(
            condition(gaussian.denoiser, observation, "replacement"),
            streams.normal((6,), torch.float64),
            GRID,
            ResampledStep(AncestralStep(), n_times),
            streams=streams,
        )
        assert torch.equal(x[:, k], values[:, k].expand(n, 3))
        return float((x[:, u].mean(0) - exact).norm())

    once, often = bias(1), bias(10)
    assert 0.35 < once < 0.55
    assert often < 0.5 * once


def test_published_replacement_draws_new_noise():
    seen = KnownCells(torch.tensor([[2.0, torch.nan]]))
    replace = ReplaceKnown(seen, RandomStreams([1]))
    z = torch.zeros(1, 2)
    first, second = replace(z, torch.tensor(0.0)), replace(z, torch.tensor(0.0))
    assert first[0, 1] == 0
    assert first[0, 0] != second[0, 0]
