"""Long sequences denoised jointly in overlapping windows: how far from the law, and any seams.

Forty frames of a Gaussian autoregression of order 1, whose denoiser is exact for every stretch,
from windows of ten. The sampler is deterministic and linear in its noise, so that unit vectors
give the covariance of its samples exactly: nothing is drawn. Compared are the whole at once,
windows minus overlaps, the average with the package's steep weights, and the usual average with
linear ones.

    python benchmarks/joint_windows.py [--quick]

The last line is a JSON summary; without --quick the full results are stored in benchmarks/results/.
"""

import argparse
import functools
import json
from pathlib import Path

import torch

from skdiffuse.diffusion import (
    AdamsStep,
    GaussianDenoiser,
    TruncatedCosineSchedule,
    WindowedNetwork,
    run_sampler,
    sampling_grid,
)

RESULTS = Path(__file__).parent / "results"
LENGTH, WINDOW = 40, 10


def covariance(length, lag_1):
    index = torch.arange(length)
    return lag_1 ** (index[:, None] - index).abs().double()


@functools.cache
def exact(length, lag_1):
    return GaussianDenoiser(torch.zeros(length), covariance(length, lag_1))


def linear_average(lag_1, overlap):
    """Windows averaged with weights that rise linearly over an overlap."""
    starts = [*range(0, LENGTH - WINDOW, WINDOW - overlap), LENGTH - WINDOW]
    place = torch.arange(WINDOW).double() + 0.5
    ramp = torch.minimum(place, WINDOW - place).clamp(max=overlap)[:, None, None]
    total = torch.zeros(LENGTH, 1, 1).double()
    weights = []
    for start in starts:
        weight = ramp.clone()
        if start == 0:
            weight[: WINDOW // 2] = ramp.max()
        if start == starts[-1]:
            weight[WINDOW // 2 :] = ramp.max()
        weights.append(weight)
        total[start : start + WINDOW] += weight

    def denoiser(z, log_snr):
        x_hat = torch.zeros_like(z)
        for start, weight in zip(starts, weights, strict=True):
            part = slice(start, start + WINDOW)
            x_hat[:, part] += weight / total[part] * exact(WINDOW, lag_1)(z[:, part], log_snr)
        return x_hat

    return denoiser


def sampled_covariance(denoiser, n_steps):
    noise = torch.eye(LENGTH).double()[:, :, None, None]
    grid = sampling_grid(TruncatedCosineSchedule(-20.0, 20.0), n_steps, "tapered")
    response = run_sampler(denoiser, noise, grid, AdamsStep()).flatten(1)
    return response.T @ response


def measure(lag_1, overlap, n_steps):
    def windowed(compose):
        return WindowedNetwork(
            lambda z, log_snr: exact(z.shape[1], lag_1)(z, log_snr),
            (WINDOW, None, None),
            (overlap, 0, 0),
            compose=compose,
        )

    methods = {
        "whole": exact(LENGTH, lag_1),
        "composed": windowed(True),
        "averaged": windowed(False),
        "averaged, linear weights": linear_average(lag_1, overlap),
    }
    true = covariance(LENGTH, lag_1)
    rows = []
    for name, denoiser in methods.items():
        found = sampled_covariance(denoiser, n_steps)
        # mean square difference of neighbours, relative to the true 2 - 2 lag_1
        difference = found.diagonal()[1:] + found.diagonal()[:-1] - 2 * found.diagonal(1)
        difference = difference / (2 - 2 * lag_1)
        rows.append(
            {
                "lag_1": lag_1,
                "overlap": overlap,
                "method": name,
                "covariance": float((found - true).norm() / true.norm()),
                "variance": [float(found.diagonal().min()), float(found.diagonal().max())],
                "difference of neighbours": [float(difference.min()), float(difference.max())],
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one case, nothing stored")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    cases = [(0.8, 5)] if quick else [(r, o) for r in (0.6, 0.8, 0.9) for o in (2, 5, 8)]
    rows = [row for case in cases for row in measure(*case, n_steps=32)]
    for row in rows:
        print(row)
    at = {row["method"]: row for row in rows if (row["lag_1"], row["overlap"]) == (0.8, 5)}
    summary = {
        "composed_covariance_error": at["composed"]["covariance"],
        "averaged_covariance_error": at["averaged"]["covariance"],
        "linear_covariance_error": at["averaged, linear weights"]["covariance"],
        "composed_difference_of_neighbours": at["composed"]["difference of neighbours"],
        "linear_difference_of_neighbours": at["averaged, linear weights"][
            "difference of neighbours"
        ],
    }
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "joint_windows.json").write_text(
            json.dumps({"summary": summary, "rows": rows}, indent=1) + "\n"
        )
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
