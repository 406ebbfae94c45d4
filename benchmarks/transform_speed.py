"""Cells per second of the transforms, forward and inverse, beside scikit-learn's on one array.

One process, one thread, best CPU time of several runs that take turns. Fitting is not timed.
scikit-learn's transformers take the cells as a column: one curve for all cells, as ours hold.

    python benchmarks/transform_speed.py [--quick] [--json FILE]

--quick times 4 million cells of float32, the full run 100 million.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.preprocessing import PowerTransformer, QuantileTransformer

from skdiffuse.preprocessing import (
    BoxCoxTransform,
    CubeRootTransform,
    IdentityTransform,
    LearntMonotoneTransform,
    LogTransform,
    NormalScoreTransform,
    SqrtTransform,
)

OURS = {
    "identity": IdentityTransform(),
    "sqrt": SqrtTransform(),
    "cube_root": CubeRootTransform(),
    "log": LogTransform(),
    "box_cox": BoxCoxTransform(random_state=0),
    "normal_score": NormalScoreTransform(random_state=0),
    "learnt": LearntMonotoneTransform(random_state=0),
}
THEIRS = {
    "sklearn_power": PowerTransformer(standardize=False),
    "sklearn_quantile": QuantileTransformer(output_distribution="normal", random_state=0),
}


def make_rain(n_cells: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    rain = rng.standard_gamma(0.4, size=(n_cells // 10_000, 100, 100), dtype=np.float32)
    rain *= 4.0
    rain[rng.random(rain.shape, dtype=np.float32) > 0.3] = 0.0
    return rain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="4 million cells, not 100 million")
    parser.add_argument("--json", type=Path, help="file to write the result to as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    n_cells, n_repeats = (4_000_000, 5) if arguments.quick else (100_000_000, 2)

    rain = make_rain(n_cells)
    sample = rain[: max(1, 1_000_000 // 10_000)]
    arrays = dict.fromkeys(OURS, rain) | dict.fromkeys(THEIRS, rain.reshape(-1, 1))
    every = {name: t.fit(sample) for name, t in OURS.items()}
    every |= {name: t.fit(sample.reshape(-1, 1)) for name, t in THEIRS.items()}

    best: dict[str, dict[str, float]] = {name: {} for name in every}
    for _ in range(n_repeats):
        for name, transform in every.items():
            start = time.process_time()
            latent = transform.transform(arrays[name])
            middle = time.process_time()
            transform.inverse_transform(latent)
            end = time.process_time()
            for verb, seconds in (("forward", middle - start), ("inverse", end - middle)):
                best[name][verb] = min(seconds, best[name].get(verb, np.inf))
            del latent
    rates = {
        name: {verb: rain.size / seconds for verb, seconds in times.items()}
        for name, times in best.items()
    }
    for name, by_verb in rates.items():
        speeds = "   ".join(f"{verb} {rate / 1e6:8.1f}" for verb, rate in by_verb.items())
        print(f"{name:18s} {speeds}   million cells/s")

    def ratio(ours: str, theirs: str) -> dict[str, float]:
        return {v: round(rates[ours][v] / rates[theirs][v], 2) for v in ("forward", "inverse")}

    result = {
        "cells": rain.size,
        "dtype": str(rain.dtype),
        "threads": 1,
        "best_of": n_repeats,
        "cells_per_second": {
            name: {verb: round(rate) for verb, rate in by_verb.items()}
            for name, by_verb in rates.items()
        },
        "ratio_to_sklearn_power": {
            name: ratio(name, "sklearn_power") for name in ("sqrt", "cube_root", "log", "box_cox")
        },
        "ratio_to_sklearn_quantile": {
            name: ratio(name, "sklearn_quantile") for name in ("normal_score", "learnt")
        },
    }
    line = json.dumps(result)
    if arguments.json:
        arguments.json.write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
