import functools

import pytest
import torch

from skdiffuse.diffusion import (
    Angle,
    GaussianMixtureDenoiser,
    RungeKuttaStep,
    TruncatedCosineSchedule,
    integrate,
    integrate_adaptive,
    sampling_grid,
)


def mixture():
    return GaussianMixtureDenoiser(
        torch.tensor([0.3, 0.7]), torch.tensor([[-1.0], [1.0]]), torch.tensor([[[0.1]], [[0.02]]])
    )


def noise(n=6):
    return torch.linspace(-2.5, 2.5, n, dtype=torch.float64)[:, None]


@functools.cache
def fine():
    grid = sampling_grid(TruncatedCosineSchedule(), 300)
    return integrate(mixture(), noise(), grid, RungeKuttaStep("rk4"))


def test_error_follows_the_tolerance():
    exact, errors, evaluations = fine(), [], []
    for tolerance in (1e-4, 1e-6, 1e-8):
        z, n = integrate_adaptive(mixture(), noise(), -20.0, 20.0, rtol=tolerance, atol=tolerance)
        errors.append(float((z - exact).abs().max()))
        evaluations.append(n)
    # a bimodal map amplifies errors between the modes
    assert errors[0] < 1e-3 and errors[1] < 1e-5 and errors[2] < 1e-7
    assert evaluations == sorted(evaluations)


def test_the_coordinate_is_free():
    z, _ = integrate_adaptive(
        mixture(), noise(), -20.0, 20.0, rtol=1e-7, atol=1e-7, coordinate=Angle()
    )
    torch.testing.assert_close(z, fine(), rtol=0, atol=1e-5)


def test_there_and_back():
    there, _ = integrate_adaptive(mixture(), noise(), -20.0, 20.0, rtol=1e-8, atol=1e-8)
    back, _ = integrate_adaptive(mixture(), there, 20.0, -20.0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(back, noise(), rtol=0, atol=1e-5)


def test_samples_do_not_depend_on_their_batch():
    together, _ = integrate_adaptive(mixture(), noise(), -20.0, 20.0)
    for i in (0, 3):
        alone, _ = integrate_adaptive(mixture(), noise()[i : i + 1], -20.0, 20.0)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-12)


def test_float32_runs():
    z, _ = integrate_adaptive(mixture(), noise().float(), -20.0, 20.0, rtol=1e-4, atol=1e-4)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.double(), fine(), rtol=0, atol=5e-3)


def test_giving_up_says_so():
    with pytest.raises(RuntimeError, match="max_steps=3"):
        integrate_adaptive(mixture(), noise(), -20.0, 20.0, max_steps=3)
