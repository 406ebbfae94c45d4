"""How often do 95 % intervals cover "no difference" when there is none?

Two samples of storms are drawn from one law again and again (cells of a sequence depend on each
other through the intensity of its storm). For scores with a sign, the block-bootstrap interval of
the score should cover 0; for distances, which are never 0, the permutation test should not
reject. `coverage_95` is the mean share over the scores; each is listed with its own. The last
line is JSON.

    python benchmarks/score_coverage.py --quick
"""

import argparse
import json
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from skdiffuse import metrics

BLOCKS = 50


def storms(rng, n):
    """n sequences of 2 frames of 6 x 6 cells; the rain of a sequence shares its intensity."""
    X = rng.gamma(0.7, size=(n, 1, 1, 1)) * rng.gamma(0.3, size=(n, 2, 6, 6))
    X[X < 0.05] = 0
    return X


def quantile_gap(obs, sim):
    """Logarithm of the ratio of the 99 % quantiles."""
    return float(np.log(metrics.quantile_ratios(obs, sim, [0.99]).ratio[0]))


SIGNED = {
    "mean_bias": metrics.mean_bias,
    "wet_fraction_bias": metrics.wet_fraction_bias,
    "power_deficit": metrics.power_deficit,
    "log_quantile_ratio_99": quantile_gap,
}
DISTANCES = {
    "jensen_shannon_divergence": metrics.jensen_shannon_divergence,
    "wasserstein_distance": metrics.wasserstein_distance,
    "log_spectral_distance": metrics.log_spectral_distance,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="200 resamples and not 500")
    parser.add_argument("--repetitions", type=int, default=500)
    args = parser.parse_args()
    resamples = 200 if args.quick else 500
    start, n = time.process_time(), args.repetitions
    covered = dict.fromkeys([*SIGNED, *DISTANCES], 0)
    rng = np.random.default_rng(0)
    for r in range(n):
        obs, sim = storms(rng, BLOCKS), storms(rng, BLOCKS)
        for name, metric in SIGNED.items():
            b = metrics.bootstrap(metric, obs, sim, n_resamples=resamples, random_state=r)
            covered[name] += b.low <= 0 <= b.high
        for name, metric in DISTANCES.items():
            t = metrics.permutation_test(metric, obs, sim, n_resamples=99, random_state=r)
            covered[name] += t.p_value > 0.05
    shares = {name: float(count / n) for name, count in covered.items()}
    for name, share in shares.items():
        print(f"{name:28s} {share:.3f}")
    result = {
        "coverage_95": round(float(np.mean(list(shares.values()))), 4),
        "by_score": shares,
        "standard_error_each": round(float(np.sqrt(0.95 * 0.05 / n)), 4),
        "repetitions": n,
        "resamples": resamples,
        "blocks": BLOCKS,
        "cpu_s": round(time.process_time() - start, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
