"""Conditional sampling of Gaussian data, whose conditional law is known, by every method.

Three questions are put to an exact denoiser: the gaps of the six-dimensional reference Gaussian, a
forecast of an autoregression of ten frames from its first five, and the field below the means of
blocks of 2 x 2 of its cells. Wherever a method is affine in its noise the mean and covariance of
its samples come from unit vectors, exactly; only guidance by a few conjugate gradients is drawn.

    python benchmarks/conditional_oracle.py [--quick]

One process, one thread. The last line is a JSON summary; without --quick the full results and the
figure are stored in benchmarks/results/.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from skdiffuse.diffusion import (
    AdamsStep,
    AncestralStep,
    ArealMean,
    GaussianDenoiser,
    KnownCells,
    Observation,
    RandomStreams,
    ReplaceKnown,
    ResampledStep,
    TruncatedCosineSchedule,
    condition,
    run_sampler,
    sampling_grid,
)

RESULTS = Path(__file__).parent / "results"
SCHEDULE = TruncatedCosineSchedule(-20.0, 20.0)
WEIGHTS = [0.0, 1.0, 1e3, 1e6, 1e9]
AFFINE = {
    "replacement": ("replacement", {}),
    "Ho, w = 1": ("ho", {"w_r": 1.0}),
    "Ho, w = 3": ("ho", {"w_r": 3.0}),
    "PiGDM": ("pigdm", {}),
    "moment matching": ("moment_matching", {"tolerance": 1e-10, "n_iterations": 100}),
}
DRAWN = {
    f"reconstruction, {n} iteration{'s' * (n > 1)}": ("reconstruction", {"n_iterations": n})
    for n in (1, 3)
}


@dataclass
class Problem:
    """A Gaussian, an observation of it, and what follows from Gauss."""

    name: str
    shape: tuple[int, ...]
    mean: torch.Tensor
    covariance: torch.Tensor
    operator: torch.Tensor
    observation: Observation

    def __post_init__(self):
        self.denoiser = GaussianDenoiser(self.mean, self.covariance)
        a, c = self.operator, self.covariance
        gain = torch.linalg.solve(a @ c @ a.T, a @ c).T
        seen = self.observation.values.flatten()
        seen = seen[torch.isfinite(seen)]
        self.exact_mean = self.mean + gain @ (seen - a @ self.mean)
        self.exact_covariance = c - gain @ a @ c
        self.scale = float(torch.trace(c).sqrt())


def problems() -> list[Problem]:
    nan = math.nan
    index = torch.arange(6)
    std = torch.linspace(0.6, 1.4, 6).double()
    reference = Problem(
        "gaps",
        (6,),
        torch.tensor([-0.5, -0.3, -0.1, 0.1, 0.3, 0.5]).double(),
        std[:, None] * std * 0.8 ** (index[:, None] - index).abs().double(),
        torch.eye(6).double()[[0, 2, 4]],
        KnownCells(torch.tensor([[0.6, nan, -0.9, nan, 1.1, nan]]).double()),
    )
    frames = torch.arange(10)
    past = torch.tensor([0.3, -0.4, 0.8, 1.5, 1.2]).double()
    forecast = Problem(
        "forecast",
        (10, 1, 1),
        torch.zeros(10).double(),
        0.9 ** (frames[:, None] - frames).abs().double(),
        torch.eye(10).double()[:5],
        KnownCells(torch.cat([past, torch.full((5,), nan)]).double().reshape(1, 10, 1, 1)),
    )
    y, x = (g.flatten() for g in torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij"))
    distance = torch.hypot((y[:, None] - y).double(), (x[:, None] - x).double())
    coarse = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    blocks = torch.stack(
        [((y // 2 == i) & (x // 2 == j)).double() / 4 for i in range(3) for j in range(3)]
    )
    downscaling = Problem(
        "downscaling",
        (1, 6, 6),
        torch.zeros(36).double(),
        torch.exp(-distance / 3),
        blocks,
        ArealMean(coarse, 2),
    )
    return [reference, forecast, downscaling]


class Counted:
    """Denoiser that counts its evaluations and the backward passes through it."""

    def __init__(self, denoiser):
        self.denoiser = denoiser
        self.forward = self.backward = 0

    def __call__(self, z, log_snr):
        x_hat = self.denoiser(z, log_snr)
        self.forward += 1
        if x_hat.requires_grad:
            x_hat.register_hook(self._count)
        return x_hat

    def _count(self, gradient):
        self.backward += 1


class Probes:
    """Streams that give sample k the unit vector k at its turn and zeros otherwise."""

    def __init__(self, n_samples, first):
        self.n_samples, self.next = n_samples, first

    def __len__(self):
        return self.n_samples

    def normal(self, shape, dtype):
        dim = math.prod(shape)
        noise = torch.zeros(self.n_samples, dim, dtype=dtype)
        noise[self.next : self.next + dim] = torch.eye(dim, dtype=dtype)
        self.next += dim
        return noise.reshape(self.n_samples, *shape)


def exact_law(denoiser, problem, step, grid, replaced=False):
    """Mean and covariance of the samples of a method that is affine in its noise."""
    dim = len(problem.mean)
    draws = (len(grid) - 1) * (int(step.stochastic) + int(replaced))
    n = 1 + dim * (1 + draws)
    z = torch.zeros(n, dim).double()
    z[1 : 1 + dim] = torch.eye(dim)
    streams = Probes(n, 1 + dim)
    out = run_sampler(
        denoiser,
        z.reshape(n, *problem.shape),
        grid,
        step,
        streams=streams,
        after_step=ReplaceKnown(problem.observation, streams) if replaced else None,
    ).flatten(1)
    response = out[1:] - out[0]
    return out[0], response.T @ response


def drawn_law(denoiser, problem, step, grid, n):
    """Mean and covariance of n samples, in pairs of opposite noise."""
    streams = RandomStreams(range(n // 2))
    noise = streams.normal(problem.shape, torch.float64)
    if step.stochastic:
        out = run_sampler(denoiser, noise, grid, step, streams=streams).flatten(1)
    else:
        out = run_sampler(denoiser, torch.cat([noise, -noise]), grid, step).flatten(1)
    return out.mean(0), out.T.cov()


def errors(problem, mean, covariance):
    """Distance of the mean in units of the data, error and size of the covariance."""
    exact = problem.exact_covariance
    return {
        "mean": float((mean - problem.exact_mean).norm()),
        "mean_relative": float((mean - problem.exact_mean).norm()) / problem.scale,
        "covariance": float((covariance - exact).norm() / exact.norm()),
        "cov_ratio": float(torch.trace(covariance) / torch.trace(exact)),
    }


def race(problem, steps, n_drawn):
    """Every method with the multistep solver, by the number of steps."""
    rows = []
    for n_steps in steps:
        grid = sampling_grid(SCHEDULE, n_steps, "tapered")
        for name, (method, options) in (AFFINE | DRAWN).items():
            counted = Counted(problem.denoiser)
            denoiser = condition(counted, problem.observation, method, **options)
            if name in AFFINE:
                law = exact_law(denoiser, problem, AdamsStep(), grid)
            else:
                law = drawn_law(denoiser, problem, AdamsStep(), grid, n_drawn)
            rows.append(
                {
                    "problem": problem.name,
                    "method": name,
                    "steps": n_steps,
                    "evaluations": counted.forward,
                    "vector_jacobian_products": counted.backward,
                    "n_drawn": n_drawn if name in DRAWN else None,
                    **errors(problem, *law),
                }
            )
    return rows


def table(problem, steps):
    """The table of the reference: ancestral sampling, known cells replaced after every step."""
    rows = []
    for n_steps in steps:
        grid = sampling_grid(SCHEDULE, n_steps, "time")
        for name, replaced in (
            ("replacement", True),
            ("replacement", False),
            ("Ho, w = 1", True),
            ("Ho, w = 3", True),
            ("PiGDM", True),
            ("moment matching", False),
        ):
            method, options = AFFINE[name]
            denoiser = condition(problem.denoiser, problem.observation, method, **options)
            law = exact_law(denoiser, problem, AncestralStep("lower"), grid, replaced)
            rows.append(
                {
                    "method": name,
                    "new noise in known cells": replaced,
                    "steps": n_steps,
                    **errors(problem, *law),
                }
            )
    return rows


def resampled(problem, n_drawn):
    """RePaint: replacement, each step done several times."""
    rows = []
    grid = sampling_grid(SCHEDULE, 64, "time")
    for n_times in (1, 3, 10):
        denoiser = condition(problem.denoiser, problem.observation, "replacement")
        step = ResampledStep(AncestralStep("lower"), n_times)
        law = drawn_law(denoiser, problem, step, grid, n_drawn)
        rows.append({"n_times": n_times, "evaluations": 64 * n_times + 1, **errors(problem, *law)})
    return rows


def weights(problem, n_drawn):
    """Reconstruction guidance of any weight, and the explicit update where it is finite."""
    rows = []
    grid = sampling_grid(SCHEDULE, 64, "tapered")
    for w_r in WEIGHTS:
        for method, options in (
            ("reconstruction", {"n_iterations": 1}),
            ("reconstruction", {"n_iterations": 3}),
            ("ho", {}),
            ("ho", {"mean_over_batch": True}),
        ):
            denoiser = condition(problem.denoiser, problem.observation, method, w_r=w_r, **options)
            mean, covariance = drawn_law(denoiser, problem, AdamsStep(), grid, n_drawn)
            finite = bool(torch.isfinite(mean).all() and torch.isfinite(covariance).all())
            of = errors(problem, mean, covariance)
            sane = finite and of["mean_relative"] < 100
            rows.append(
                {
                    "method": method,
                    **options,
                    "w_r": w_r,
                    "finite": sane,
                    **{k: v if sane else None for k, v in of.items()},
                }
            )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute; stores nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    start = time.perf_counter()
    n_drawn = 512 if quick else 6000
    all_problems = problems()
    reference = all_problems[0]
    steps = [8, 32] if quick else [8, 12, 16, 24, 32, 64, 128]
    results = {
        "ancestral": table(reference, [256] if quick else [256, 1024]),
        "race": [row for p in all_problems for row in race(p, steps, n_drawn)],
        "resampling": resampled(reference, n_drawn),
        "weights": weights(reference, n_drawn),
        "threads": 1,
        "quick": quick,
    }
    for row in results["ancestral"] + results["race"] + results["resampling"] + results["weights"]:
        print({k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in row.items()})

    def at(method, replaced):
        return next(
            row
            for row in results["ancestral"]
            if row["method"] == method and row["new noise in known cells"] == replaced
        )

    matching = at("moment matching", False)
    summary = {
        "moment_matching_mean_error": matching["mean"],
        "moment_matching_cov_ratio": matching["cov_ratio"],
        "replacement_bias": at("replacement", True)["mean"],
        "ho_bias": at("Ho, w = 1", True)["mean"],
        "pigdm_bias": at("PiGDM", True)["mean"],
        "w_r_finite": [
            row["w_r"]
            for row in results["weights"]
            if row["method"] == "reconstruction" and row["n_iterations"] == 1 and row["finite"]
        ],
        "steps": 256,
        "seconds": round(time.perf_counter() - start, 1),
    }
    if not quick:
        from conditional_oracle_figure import draw

        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / "conditional_oracle.json"
        path.write_text(json.dumps({"summary": summary, **results}, indent=1) + "\n")
        draw(results["race"], RESULTS / "conditional_oracle.png")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
