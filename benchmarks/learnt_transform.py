"""How close LearntMonotoneTransform comes to the water-filling optimum, over random seeds.

Each seed draws its own rain from a law known in closed form and its own initial weights; the loss
reached is then evaluated, and its optimum computed, by quadrature under the law itself. A fit is
dead if it is not finite or gained less than half of what the optimum gains over a straight line.

    python benchmarks/learnt_transform.py [--quick] [--json FILE]

--quick takes 20 seeds of one law; the full run takes 20 seeds of each of four.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from skdiffuse.preprocessing import LearntMonotoneTransform, water_filling

SCALE = 80.0
WET_FRACTION = 0.3
N_SEEDS = 20
LAWS = {
    "gamma(0.4, 2)": stats.gamma(0.4, scale=2.0),
    "gamma(0.2, 5)": stats.gamma(0.2, scale=5.0),
    "lognormal(-1.2, 1.6)": stats.lognorm(1.6, scale=0.3),
    "generalised Pareto(0.3, 0.5)": stats.genpareto(0.3, scale=0.5),
}


def draw(law, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rates = law.rvs(size=(10, 100, 100), random_state=rng)
    return np.where(rng.random(rates.shape) < WET_FRACTION, rates, 0.0)


def losses(transform: LearntMonotoneTransform, law) -> tuple[float, float]:
    """Loss of the fitted curve and the least possible loss, -E[m log h'], under the law."""
    edges = np.concatenate([[0.0], np.geomspace(transform.mask_below, SCALE, 5000)])
    probability = WET_FRACTION * np.diff(law.cdf(edges))
    probability[0] = 0.0
    best = water_filling(probability, np.diff(edges) * 2.0 / SCALE, transform.min_gradient)
    middle = (0.5 * (edges[1:] + edges[:-1])).reshape(1, 1, -1)
    log_slope = transform.log_jacobian(middle).ravel() + np.log(SCALE / 2.0)
    return -(probability * log_slope).sum(), -(probability * np.log(best)).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one law instead of four")
    parser.add_argument("--json", type=Path, help="file to write the result to as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    laws = dict(list(LAWS.items())[:1]) if arguments.quick else LAWS

    dead, worst, by_law, seconds = 0, 0.0, {}, []
    for name, law in laws.items():
        gaps = []
        for seed in range(N_SEEDS):
            rain = draw(law, seed)
            start = time.process_time()
            transform = LearntMonotoneTransform(scale=SCALE, random_state=seed).fit(rain)
            seconds.append(time.process_time() - start)
            reached, optimum = losses(transform, law)
            gap = 100.0 * (reached - optimum) / abs(optimum)
            dead += not gap < 50.0
            gaps.append(gap)
        by_law[name] = {"worst": max(gaps), "median": float(np.median(gaps))}
        worst = max(worst, max(gaps))
        gap = by_law[name]
        print(f"{name:30s} gap: worst {gap['worst']:.2f} %, median {gap['median']:.2f} %")
    result = {
        "seeds": N_SEEDS * len(laws),
        "dead": dead,
        "worst_gap_to_optimum_percent": round(worst, 3),
        "gap_percent_by_law": {
            name: {k: round(v, 3) for k, v in gaps.items()} for name, gaps in by_law.items()
        },
        "median_cpu_seconds_per_fit": round(float(np.median(seconds)), 2),
        "threads": 1,
    }
    line = json.dumps(result)
    if arguments.json:
        arguments.json.write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
