"""A million steps of samplers over random ranges of log-SNR: every value finite.

Each round draws a schedule (its kind, its least and greatest log-SNR, between which the sampler
goes), a spacing, a step rule of any kind and order, a number of steps, a scale of the data and the
precision, and samples with the exact denoiser of Gaussian data. Whether samples have the right law
is asked elsewhere. Corners are drawn as often as the middle: ranges of a thousandth and of 80, a
single step, data of 1e-4 and 1e4 of the noise.

    python benchmarks/sampler_soak.py                           # 1,000,000 steps
    python benchmarks/sampler_soak.py --steps 20000             # few, and no result file
    python benchmarks/sampler_soak.py --steps 250000 --seed 3   # a share, added to the result file
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from skdiffuse.diffusion import (
    SPACINGS,
    AdamsBashforthStep,
    AdamsStep,
    AncestralStep,
    DDIMStep,
    DPMSolverStep,
    EDMStep,
    GaussianDenoiser,
    HeunStep,
    LinearLogSNRSchedule,
    RandomStreams,
    RungeKuttaStep,
    TruncatedCosineSchedule,
    run_sampler,
    sampling_grid,
)

SHAPE = (4, 4)
RULES = {
    "adams": AdamsStep,
    "adams order 5": lambda: AdamsStep(5),
    "adams-bashforth": AdamsBashforthStep,
    "heun": HeunStep,
    "runge-kutta": RungeKuttaStep,
    "ancestral lower": lambda: AncestralStep("lower"),
    "ancestral upper": lambda: AncestralStep("upper"),
    "ddim": DDIMStep,
    "ddim half": lambda: DDIMStep(0.5),
    "dpm-solver": DPMSolverStep,
    "dpm-solver sde": lambda: DPMSolverStep(1.0),
    "edm": EDMStep,
    "edm churn": lambda: EDMStep(0.4),
}
SCHEDULES = [TruncatedCosineSchedule, LinearLogSNRSchedule]


def round_of(draw: random.Random) -> tuple[str, int, bool, float, float]:
    """One sampling: its name, steps, whether all was finite, and the ratio of variances."""
    width = draw.choice([1e-3, 0.1, 1.0, 10.0, 40.0, 80.0]) * draw.uniform(0.5, 1.0)
    centre = draw.uniform(-10, 10)
    schedule = draw.choice(SCHEDULES)(centre - width / 2, centre + width / 2)
    spacing = draw.choice(sorted(SPACINGS))
    rule = draw.choice(sorted(RULES))
    n_steps = draw.choice([1, 2, 3, 8, 32, 128])
    std = 10 ** draw.uniform(-4, 4)
    dtype = draw.choice([torch.float32, torch.float32, torch.float64])
    streams = RandomStreams([draw.randrange(2**31) for _ in range(SHAPE[0])])
    grid = sampling_grid(schedule, n_steps, spacing)
    n = SHAPE[1]
    mean, covariance = torch.zeros(n, dtype=dtype), std**2 * torch.eye(n, dtype=dtype)
    noise = streams.normal(SHAPE[1:], dtype)
    drawn = run_sampler(
        GaussianDenoiser(mean, covariance), noise, grid, RULES[rule](), streams=streams
    )
    finite = bool(torch.isfinite(drawn).all())
    return f"{rule}, {spacing}", n_steps, finite, width, drawn.double().std().item() / std


def soak(n_steps: int, seed: int) -> dict:
    """As many steps as asked for."""
    draw = random.Random(seed)
    steps = rounds = not_finite = 0
    faults: Counter[str] = Counter()
    by_rule: Counter[str] = Counter()
    begin = time.monotonic()
    while steps < n_steps:
        name, n, finite, _, ratio = round_of(draw)
        rounds, steps = rounds + 1, steps + n
        by_rule[name.partition(",")[0]] += n
        if not (finite and math.isfinite(ratio)):
            not_finite += 1
            faults[name] += 1
    for name, n in faults.most_common():
        print(f"{n:>6}  {name}")
    return {
        "steps": steps,
        "samplings": rounds,
        "not_finite": not_finite,
        "seed": seed,
        "seconds": round(time.monotonic() - begin, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "steps_by_rule": dict(sorted(by_rule.items())),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = soak(options.steps, options.seed)
    if options.steps >= 100_000:
        path = Path(__file__).parent / "results" / "sampler_soak.json"
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
        runs = [*(run for run in runs if run["seed"] != options.seed), figures]
        whole = {name: sum(run[name] for run in runs) for name in ("steps", "not_finite")}
        text = json.dumps({**whole, "runs": runs}, indent=1)
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
    print(json.dumps(figures))
