"""Exact error of samplers against evaluations of the denoiser, ours and the peers'.

On Gaussian data the output of a sampler is affine in its noise, so unit vectors give the mean and
covariance of its samples exactly: nothing here is Monte-Carlo. Two laws: the six-dimensional
reference Gaussian (eigenvalues 0.07 to 4.7), and variances from 1e-4 to 1e4, the range of the
eigenvalues of the covariance of sequences of radar rain (square root, unit variance, 10 x 64 x 64).

    python benchmarks/sampler_accuracy.py [--quick]

Everything runs in one process with one thread. The last line is a JSON summary; without --quick the
full results and the figure are stored in benchmarks/results/.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from sampler_accuracy_peers import peers

from skdiffuse.diffusion import (
    AdamsBashforthStep,
    AdamsStep,
    AncestralStep,
    DDIMStep,
    DPMSolverStep,
    EDMStep,
    GaussianDenoiser,
    HeunStep,
    RandomStreams,
    RungeKuttaStep,
    TaperedLogSNR,
    TruncatedCosineSchedule,
    integrate,
    run_sampler,
    sampling_grid,
)
from skdiffuse.diffusion.ode_steps import adams_weights
from skdiffuse.networks import build_network

RESULTS = Path(__file__).parent / "results"
SCHEDULE = TruncatedCosineSchedule(-20.0, 20.0)
NARROW = TaperedLogSNR(half_width=6.0)
OURS = {  # name: (step, grid)
    "ancestral, lower variance": (AncestralStep("lower"), "angle"),
    "ancestral, upper variance": (AncestralStep("upper"), "angle"),
    "DDIM": (DDIMStep(), "angle"),
    "Euler": (RungeKuttaStep("euler"), "angle"),
    "SDE, eta 0.5": (DPMSolverStep(eta=0.5, order=1), "angle"),
    "midpoint": (RungeKuttaStep("midpoint"), "angle"),
    "Heun": (HeunStep(), "angle"),
    "EDM Heun": (EDMStep(), "edm"),
    "Runge-Kutta 4": (RungeKuttaStep("rk4"), "angle"),
    "Runge-Kutta 4, tapered": (RungeKuttaStep("rk4"), "tapered"),
    "DPM-Solver++ 2M": (DPMSolverStep(), "angle"),
    "DPM-Solver++ 2M, tapered": (DPMSolverStep(), "tapered"),
    "Adams-Bashforth 2": (AdamsBashforthStep(), "angle"),
    "Adams 3, tapered": (AdamsStep(3), "tapered"),
    "Adams 4, tapered": (AdamsStep(), "tapered"),
    "Adams 4, tapered to 6": (AdamsStep(coordinate=NARROW), NARROW),
    "Adams 5, tapered to 6": (AdamsStep(5, coordinate=NARROW), NARROW),
}


def reference():
    """The six-dimensional Gaussian of the reference values."""
    index = torch.arange(6)
    std = torch.linspace(0.6, 1.4, 6, dtype=torch.float64)
    covariance = std[:, None] * std * 0.8 ** (index[:, None] - index).abs().double()
    return GaussianDenoiser(torch.linspace(-0.5, 0.5, 6, dtype=torch.float64), covariance)


def rain_like():
    """Independent directions with variances from 1e-4 to 1e4."""
    return GaussianDenoiser(torch.zeros(17), torch.diag(torch.logspace(-4, 4, 17)).double())


class Counted:
    """Denoiser that counts its evaluations."""

    def __init__(self, denoiser):
        self.denoiser, self.count = denoiser, 0

    def __call__(self, z, log_snr):
        self.count += 1
        return self.denoiser(z, log_snr)


def probes(dim):
    return torch.cat([torch.zeros(1, dim), torch.eye(dim)]).double()


def covariance_of(run, dim):
    """Covariance of the output of a deterministic sampler for standard normal noise."""
    out = run(probes(dim))
    response = out[1:] - out[0]
    return response.T @ response


def chain_covariance(denoiser, step, grid):
    """The same for a Markov chain: step by step, with one probe per noise of the step."""
    dim = len(denoiser.mean)

    class Unit:
        def __len__(self):
            return 1 + 2 * dim

        def normal(self, shape, dtype):
            return torch.cat([torch.zeros(1 + dim, dim), torch.eye(dim)]).to(dtype)

    z = torch.cat([probes(dim), torch.zeros(dim, dim)])
    covariance = torch.eye(dim, dtype=torch.float64)
    for i in range(len(grid) - 1):
        out = integrate(denoiser, z, grid[i : i + 2], step, streams=Unit())
        of_z, of_noise = (out[1:] - out[0]).split(dim)
        covariance = of_z.T @ covariance @ of_z + of_noise.T @ of_noise
    last = denoiser(probes(dim), grid[-1])
    of_z = last[1:] - last[0]
    return of_z.T @ covariance @ of_z


def errors(covariance, denoiser):
    """Relative Frobenius error, and the median relative error of the variance of a direction."""
    basis = denoiser._eigenvectors
    difference = torch.linalg.norm(covariance - denoiser.covariance)
    variances = torch.diag(basis.T @ covariance @ basis) / denoiser._eigenvalues
    return {
        "covariance": float(difference / torch.linalg.norm(denoiser.covariance)),
        "median_variance": float((variances - 1).abs().median()),
    }


def our_error(denoiser, step, spacing, evaluations):
    """Error with at most that many evaluations, the last denoising included."""
    n_steps = (evaluations - 1) // step.evaluations
    grid = sampling_grid(SCHEDULE, n_steps, spacing)
    if step.stochastic:
        covariance = chain_covariance(denoiser, step, grid)
        return {"evaluations": n_steps + 1, **errors(covariance, denoiser)}
    counted = Counted(denoiser)
    covariance = covariance_of(lambda z: run_sampler(counted, z, grid, step), len(denoiser.mean))
    return {"evaluations": counted.count, **errors(covariance, denoiser)}


def peer_error(denoiser, run, evaluations):
    """Error with the most steps that stay within so many evaluations."""
    dim = len(denoiser.mean)
    counted = Counted(denoiser)
    run(counted, probes(dim), 8)
    n_steps = evaluations * 8 // counted.count
    for n in range(n_steps + 1, 1, -1):
        counted = Counted(denoiser)
        covariance = covariance_of(lambda z, n=n, counted=counted: run(counted, z, n), dim)
        if counted.count <= evaluations:
            return {"evaluations": counted.count, **errors(covariance, denoiser)}
    return None


def measure(denoiser, budgets):
    """Rows of evaluations and errors for every sampler, the peers up to 256 evaluations."""
    table = {}
    for name, (step, spacing) in OURS.items():
        table[name] = [our_error(denoiser, step, spacing, budget) for budget in budgets]
    for name, run in peers().items():
        rows = [peer_error(denoiser, run, budget) for budget in budgets if budget <= 256]
        table[name] = [row for row in rows if row is not None]
    return table


def orders(denoiser):
    """Measured order of convergence of the covariance in 1 / steps, above the error of the ends."""
    found = {}
    for name, (step, spacing) in OURS.items():
        for n_steps in (96, 48, 24):
            coarse, fine = (
                our_error(denoiser, step, spacing, n * step.evaluations + 1)["covariance"]
                for n in (n_steps, 2 * n_steps)
            )
            if fine > 1e-6:
                break
        found[name] = round(math.log2(coarse / fine), 2)
    return found


def overhead_percent(shape=(4, 10, 64, 64), n_steps=19, repeats=5):
    """Time of `AdamsStep` outside the network as a share of one evaluation of the tiny U-Net."""
    torch.manual_seed(0)
    network = build_network("tiny").eval()
    z = RandomStreams(range(shape[0])).normal(shape[1:])
    x_hat = torch.zeros_like(z)
    grid = sampling_grid(SCHEDULE, n_steps)
    steps, evaluations = [], []
    with torch.no_grad():
        network(z, torch.zeros(shape[0]))
        for _ in range(repeats):
            adams_weights.cache_clear()
            start = time.perf_counter()
            run_sampler(lambda z, log_snr: x_hat, z, grid, AdamsStep())
            steps.append((time.perf_counter() - start) / n_steps)
            start = time.perf_counter()
            network(z, torch.zeros(shape[0]))
            evaluations.append(time.perf_counter() - start)
    return {
        "percent": round(100 * min(steps) / min(evaluations), 2),
        "step_ms": round(1000 * min(steps), 3),
        "network_ms": round(1000 * min(evaluations), 1),
        "shape": list(shape),
        "threads": torch.get_num_threads(),
        "best_of": repeats,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few budgets, nothing stored")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    budgets = [20, 32] if quick else [8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256, 512, 1024]
    problems = {"reference": reference(), "rain-like": rain_like()}
    tables = {name: measure(p, budgets) for name, p in problems.items()}
    at_20 = {
        problem: {
            name: row for name, rows in table.items() for row in rows if row["evaluations"] <= 20
        }
        for problem, table in tables.items()
    }
    for problem, found in at_20.items():
        print(f"\n{problem}, at most 20 evaluations: error of covariance, median error of variance")
        for name, row in sorted(found.items(), key=lambda item: item[1]["covariance"]):
            print(
                f"{row['covariance']:10.2e} {row['median_variance']:10.2e}  "
                f"{row['evaluations']:3d}  {name}"
            )
    ours = {name: at_20["reference"][name] for name in OURS}
    best = min(ours, key=lambda name: ours[name]["covariance"])
    default = at_20["reference"]["Adams 4, tapered"]["covariance"]
    overhead = overhead_percent()
    summary = {
        "best_cov_error_at_20": ours[best]["covariance"],
        "sampler": best,
        "grid": repr(OURS[best][1]),
        "default_cov_error_at_20": default,
        "orders": orders(problems["reference"]),
        "overhead_percent": overhead["percent"],
    }
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        stored = {"summary": summary, "overhead": overhead, "errors": tables}
        (RESULTS / "sampler_accuracy.json").write_text(json.dumps(stored) + "\n")
        from sampler_accuracy_figure import draw

        draw(tables, RESULTS / "sampler_accuracy.png")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
