import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiffuse.diffusion import (
    AdamsBashforthStep,
    AdamsStep,
    AncestralStep,
    DDIMStep,
    DPMSolverStep,
    EDMStep,
    GaussianMixtureDenoiser,
    HeunStep,
    RandomStreams,
    RungeKuttaStep,
    Trajectory,
    TruncatedCosineSchedule,
    integrate,
    run_sampler,
    sampling_grid,
)

SCHEDULE = TruncatedCosineSchedule(-20.0, 20.0)
STEPS = [
    AdamsBashforthStep(),
    AdamsStep(),
    AncestralStep("lower"),
    AncestralStep("upper"),
    DDIMStep(),
    DDIMStep(0.5),
    DPMSolverStep(),
    DPMSolverStep(eta=1.0),
    EDMStep(),
    EDMStep(churn=0.2),
    HeunStep(),
    RungeKuttaStep("rk4"),
]
every_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: repr(step)[:40])


def cellwise(z, log_snr):
    """Exact denoiser of independent cells, each a mixture of dry and wet."""
    one_cell = GaussianMixtureDenoiser(
        torch.tensor([0.6, 0.4]), torch.tensor([[-0.8], [1.2]]), torch.tensor([[[0.01]], [[0.3]]])
    )
    return one_cell(z.reshape(-1, 1), log_snr).reshape(z.shape)


def sample(step, seeds, shape=(2, 3), n_steps=12, dtype=torch.float32):
    streams = RandomStreams(seeds)
    z = streams.normal(shape, dtype)
    grid = sampling_grid(SCHEDULE, n_steps)
    return run_sampler(cellwise, z, grid, step, streams=streams)


@every_step
def test_batch_size_changes_nothing(step):
    together = sample(step, [3, 1, 4, 15])
    apart = torch.cat([sample(step, [3]), sample(step, [1, 4]), sample(step, [15])])
    assert torch.equal(together, apart)


@every_step
@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(5)))
def test_equivariant_to_the_order_of_samples(step, order):
    seeds = [10, 20, 30, 40, 50]
    permuted = sample(step, [seeds[i] for i in order])
    assert torch.equal(permuted, sample(step, seeds)[list(order)])


class Permuted:
    """Streams whose cells are permuted."""

    def __init__(self, streams, order):
        self.streams, self.order = streams, order

    def __len__(self):
        return len(self.streams)

    def normal(self, shape, dtype):
        return self.streams.normal(shape, dtype)[:, self.order]


@every_step
@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(7)))
def test_equivariant_to_the_order_of_cells(step, order):
    grid = sampling_grid(SCHEDULE, 8)
    outs = []
    for permuted in (False, True):
        streams = RandomStreams([1, 2])
        streams = Permuted(streams, list(order)) if permuted else streams
        z = streams.normal((7,), torch.float64)
        outs.append(run_sampler(cellwise, z, grid, step, streams=streams))
    torch.testing.assert_close(outs[1], outs[0][:, list(order)], rtol=1e-12, atol=1e-12)


class Rounded:
    """Streams whose noise is the same in every precision."""

    def __init__(self, streams):
        self.streams = streams

    def __len__(self):
        return len(self.streams)

    def normal(self, shape, dtype):
        return self.streams.normal(shape, torch.float32).to(dtype)


@every_step
@pytest.mark.parametrize("limit", [20.0, 30.0])
@pytest.mark.parametrize("spacing", ["tapered", "angle", "log_snr", "edm"])
def test_float32_serves_on_every_grid(step, limit, spacing):
    # EDM steps are in z / alpha, which is up to 3e6 here, and single precision has 7 digits.
    allowed = 0.06 if isinstance(step, EDMStep) else 5e-4
    grid = sampling_grid(TruncatedCosineSchedule(-limit, limit), 10, spacing)
    outs = []
    for dtype in (torch.float32, torch.float64):
        streams = Rounded(RandomStreams([0, 1]))
        outs.append(run_sampler(cellwise, streams.normal((5,), dtype), grid, step, streams=streams))
    assert outs[0].dtype == torch.float32 and outs[1].dtype == torch.float64
    torch.testing.assert_close(outs[0].double(), outs[1], rtol=0, atol=allowed)


def test_half_precision_latents_are_refused():
    with pytest.raises(ValueError, match="z must be float32 or float64"):
        run_sampler(cellwise, torch.zeros(1, 2).half(), sampling_grid(SCHEDULE, 3), DDIMStep())


@pytest.mark.parametrize("step", [step for step in STEPS if not step.stochastic], ids=repr)
def test_float32_agrees_with_float64(step):
    z = RandomStreams(range(4)).normal((2, 3), torch.float32)
    grid = sampling_grid(SCHEDULE, 12)
    double = run_sampler(cellwise, z.double(), grid, step)
    single = run_sampler(cellwise, z, grid, step)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-4)


@every_step
def test_evaluations_are_as_declared(step):
    count = 0

    def counting(z, log_snr):
        nonlocal count
        count += 1
        assert log_snr.dtype == torch.float64 and log_snr.ndim == 0
        return cellwise(z, log_snr)

    streams = RandomStreams([0])
    run_sampler(counting, streams.normal((2,)), sampling_grid(SCHEDULE, 7), step, streams=streams)
    assert count == 7 * step.evaluations + 1


@every_step
def test_steps_keep_nothing_between_runs(step):
    first = sample(step, [0, 1])
    assert not torch.equal(first, sample(step, [2, 3], n_steps=7))
    assert torch.equal(first, sample(step, [0, 1]))
    assert hash(step) == hash(copy.deepcopy(step))


def test_callback_and_trajectory():
    calls, trajectory = [], Trajectory()

    def callback(i, n, z, x_hat):
        calls.append((i, n))
        trajectory(i, n, z, x_hat)

    grid = sampling_grid(SCHEDULE, 6)
    z = RandomStreams([0]).normal((3,))
    x = run_sampler(cellwise, z, grid, DDIMStep(), callback=callback)
    assert calls == [(i, 7) for i in range(7)]
    assert torch.equal(trajectory.z[0], z)
    assert torch.equal(trajectory.x_hat[-1], x)
    torch.testing.assert_close(
        trajectory.x_hat[2], cellwise(trajectory.z[2], grid[2]), rtol=1e-6, atol=1e-6
    )


def test_after_step_sees_every_new_latent():
    seen = []

    def hook(z, log_snr):
        seen.append(float(log_snr))
        return torch.cat([torch.zeros_like(z[:, :1]), z[:, 1:]], 1)

    grid = sampling_grid(SCHEDULE, 6)
    z = RandomStreams([0]).normal((3,), torch.float64)
    for step in (AdamsStep(), DDIMStep()):
        latent = integrate(cellwise, z, grid, step, after_step=hook)
        assert latent[0, 0] == 0
    assert seen == 2 * grid[1:].tolist()


def test_no_gradient_is_recorded():
    weight = torch.ones(1, requires_grad=True)
    x = run_sampler(
        lambda z, log_snr: weight * z, torch.ones(1, 2), sampling_grid(SCHEDULE, 3), DDIMStep()
    )
    assert not x.requires_grad


@pytest.mark.parametrize(
    ("grid", "match"),
    [
        (torch.tensor([0.0]), "at least 2"),
        (torch.zeros(2, 2), "1-D"),
        (torch.tensor([0.0, 1.0, 1.0]), "strictly monotone"),
        (torch.tensor([0.0, 2.0, 1.0]), "strictly monotone"),
        (torch.tensor([0.0, torch.inf]), "finite"),
    ],
)
def test_bad_grids(grid, match):
    with pytest.raises(ValueError, match=match):
        run_sampler(cellwise, torch.zeros(1, 2), grid, DDIMStep())


def test_stochastic_steps_need_streams():
    grid = sampling_grid(SCHEDULE, 3)
    with pytest.raises(ValueError, match="AncestralStep draws noise: pass streams"):
        run_sampler(cellwise, torch.zeros(2, 2), grid, AncestralStep())
    with pytest.raises(ValueError, match="got 3 streams for 2 samples"):
        run_sampler(
            cellwise, torch.zeros(2, 2), grid, AncestralStep(), streams=RandomStreams([0, 1, 2])
        )
    for step in (AncestralStep(), DPMSolverStep(eta=1.0)):
        with pytest.raises(ValueError, match="towards higher log-SNR"):
            integrate(cellwise, torch.zeros(1, 2), grid.flip(0), step, streams=RandomStreams([0]))
