"""Quality of generated rain against the evaluations of the network that it costs.

    python benchmarks/sampling_cost.py skdiffuse/hourly_4km_small skdiffuse/synthetic

From the same noise, and the same weather, a stored model draws the same sequences with each solver
and number of steps. What 128 steps of Adams make of that noise is what the solver should have
found: ratios to it, sequence by sequence, leave out both the error of the network and the chance
of the draw, so that some dozens of sequences are enough. The time is that of one CPU core.

``power`` is that by waves across a window, ``distance`` the root mean square difference over the
standard deviation of the rain; intervals are 95 % over resampled sequences. Written to
``benchmarks/results/sampling_cost.json`` model by model; the last line is JSON.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from skdiffuse import PrecipDiffusion, SamplerSettings, metrics
from skdiffuse.diffusion import TaperedLogSNR

RESULT = Path(__file__).parent / "results" / "sampling_cost.json"
BANDS = {"1": (1, 1), "2-3": (2, 3), "4-7": (4, 7), "8-16": (8, 16), "17-32": (17, 32)}
LEVELS = (0.99, 0.999)
REFERENCE = ("adams", 128)
# Solver, steps, evaluations of the network in each.
WAYS = (
    *(("adams", n, 1) for n in (4, 6, 8, 12, 16, 24, 32, 64)),
    *(("heun", n, 2) for n in (4, 8, 16)),
    *(("ancestral", n, 1) for n in (16, 64)),
    *(("exponential", n, 1) for n in (6, 8, 12, 16, 24)),
)
# Denser at low log-SNRs, which few steps of the exponential method can be.
SPACINGS = {"exponential": TaperedLogSNR(9.0, -2.0)}


def drawn(
    model: PrecipDiffusion, step: str, n_steps: int, n: int, batch_size: int
) -> tuple[np.ndarray, float]:
    """Sequences, heavier weather oftener, and CPU seconds of each."""
    spacing = SPACINGS.get(step, "tapered")
    model.set_params(sampler=SamplerSettings(step, n_steps=n_steps, spacing=spacing))
    start = time.process_time()
    rain = model.sample(n, rare=0.5, batch_size=batch_size, random_state=0)
    return np.asarray(rain), (time.process_time() - start) / n


def powers(rain: np.ndarray) -> np.ndarray:
    """Power of each sequence in each band that a window has."""
    rows = []
    for sequence in rain:
        power = metrics.spatial_psd(sequence).P
        rows.append([power[a : b + 1].sum() for a, b in BANDS.values() if a < len(power)])
    return np.array(rows)


def ratios(
    rain: np.ndarray, wanted: np.ndarray, weights: np.ndarray, n_resampled: int = 400
) -> dict[str, list[float]]:
    """Weighted ratios to what the noise should have become, with intervals."""
    means, power = (np.stack([f(r) for r in (rain, wanted)]) for f in (_means, powers))
    rng = np.random.default_rng(0)
    picks = [np.arange(len(rain)), *rng.integers(len(rain), size=(n_resampled, len(rain)))]

    def of(values: np.ndarray) -> np.ndarray:
        sums = np.stack([(weights[p, None] * values[:, p]).sum(1) for p in picks])
        return sums[:, 0] / sums[:, 1]

    table = np.concatenate([of(means), of(power)], axis=1)
    names = ["mean", "wet share", *(f"power {name}" for name in BANDS)]
    low, high = np.quantile(table[1:], [0.025, 0.975], axis=0)
    return {
        name: [round(float(x), 4) for x in row]
        for name, row in zip(names, np.stack([table[0], low, high], 1), strict=False)
    }


def _means(rain: np.ndarray) -> np.ndarray:
    return np.stack([rain.mean((1, 2, 3)), (rain >= 0.1).mean((1, 2, 3))], 1)


def measured(name: str, n: int, batch_size: int, found: dict) -> dict:
    """Rows of a model; those that were found with as many sequences are kept."""
    known = found.get("rows", []) if found.get("sequences") == n else []
    done = {(row["solver"], row.get("steps")) for row in known}
    model = PrecipDiffusion.load(name).set_params(verbose=False, device="cpu")
    weights = model.sample_weights(n, rare=0.5, random_state=0)
    wanted, seconds = drawn(model, *REFERENCE, n, batch_size)
    quantiles = metrics.quantiles(wanted, LEVELS, weights=weights)
    rows = known or [{"solver": REFERENCE[0], "evaluations": REFERENCE[1], "cpu_seconds": seconds}]
    for step, n_steps, each in WAYS:
        if (step, n_steps) in done:
            continue
        rain, seconds = drawn(model, step, n_steps, n, batch_size)
        row = {"solver": step, "steps": n_steps, "evaluations": each * n_steps}
        row |= {"cpu_seconds": round(seconds, 4)}
        row["distance"] = float(np.sqrt(np.mean((rain - wanted) ** 2)) / wanted.std())
        found = metrics.quantiles(rain, LEVELS, weights=weights) / quantiles
        row["quantiles"] = [round(float(q), 4) for q in found]
        row["ratios"] = ratios(rain, wanted, weights)
        rows.append(row)
        print(name, json.dumps(row), flush=True)
    return {"sequences": n, "window": list(wanted.shape[1:]), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", default=["skdiffuse/hourly_4km_small"])
    parser.add_argument("--sequences", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in arguments.models:
        before = found.get(name, {})
        found[name] = measured(name, arguments.sequences, arguments.batch_size, before)
        RESULT.write_text(json.dumps(found) + "\n")
    line = {}
    for name, one in found.items():
        line[name] = {}
        for row in one["rows"]:
            if row["evaluations"] == 8:
                power = [v[0] for key, v in row["ratios"].items() if key.startswith("power")]
                line[name][f"power with 8 evaluations of {row['solver']}"] = power
    print(json.dumps(line))


if __name__ == "__main__":
    main()
