"""Which transform of rain gives the best rain, at equal training.

Trains the same small model on the same windows with each transform, generates rain with each, and
compares it with the rain it was trained on; the bound of the log-likelihood of held-out rain, in
nats per mm/h, is comparable between transforms too. As many real windows as were generated, drawn
at random, show what no model could better: the noise of the comparison itself.

    python benchmarks/joint_transforms.py [--quick] [--data FILE] [--json FILE]

Without --data the rain is made up. Finished runs in the JSON file are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from skdiffuse import PrecipDiffusion, make_precipitation, metrics, open_cube
from skdiffuse.cubes import validate_cube

N_FRAMES, CROP, REGION = 8, 16, 160
LEVELS = (0.99, 0.999, 0.9999, 1 - 1e-5)
TRANSFORMS = ("identity", "sqrt", "learnt", "cube_root", "log", "normal_score")
# Generated rain below this is what the dissertation calls noise (section 4.2).
NOISE = 0.2
CURVE_RATES = [0.0, 0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0]


def rain_of(data: Path | None) -> np.ndarray:
    """A series of rain: made up, or the wettest region of a file."""
    if data is None:
        return np.asarray(make_precipitation(480, (48, 48), wet_fraction=0.2, random_state=0))
    cube = open_cube(data).load().fillna(0.0).values
    mean = cube.mean(0).cumsum(0).cumsum(1)
    total = mean[REGION:, REGION:] - mean[:-REGION, REGION:]
    total = total - mean[REGION:, :-REGION] + mean[:-REGION, :-REGION]
    top, left = np.unravel_index(total.argmax(), total.shape)
    return cube[:, top + 1 : top + 1 + REGION, left + 1 : left + 1 + REGION]


def windows(series: np.ndarray) -> np.ndarray:
    cube = validate_cube(series, n_frames=N_FRAMES)
    return cube.stack(cube.tiles(N_FRAMES, (CROP, CROP)), N_FRAMES)


def comparison(real: np.ndarray, made: np.ndarray) -> dict:
    ratios = np.quantile(made, LEVELS) / np.quantile(real, LEVELS)
    trace = [float(np.mean((r > 0) & (r < NOISE))) for r in (real, made)]
    return {
        "mean_ratio": float(made.mean() / real.mean()),
        "wet_ratio": metrics.wet_fraction(made) / metrics.wet_fraction(real),
        "trace_share": trace[1],
        "trace_share_real": trace[0],
        "quantile_ratios": [float(r) for r in ratios],
        "spatial_power_kept": 1 - metrics.power_deficit(real, made, kind="spatial"),
        "temporal_power_kept": 1 - metrics.power_deficit(real, made, kind="temporal"),
        "log_spectral_distance": metrics.log_spectral_distance(real, made, kind="spatial"),
    }


def curve_of(transformer) -> dict:
    """The transform, relative to its value at 20 mm/h."""
    latent = np.asarray(transformer.transform(np.array([CURVE_RATES])))[0]
    return {
        "rates": CURVE_RATES,
        "relative_latent": (latent / latent[CURVE_RATES.index(20.0)]).tolist(),
    }


def one_run(series: np.ndarray, transform: str, seed: int, steps: int, n_samples: int) -> dict:
    n_held_out = len(series) // 3
    train, held_out = series[:-n_held_out], series[-n_held_out:]
    began = time.process_time()
    model = PrecipDiffusion(
        transform,
        n_frames=N_FRAMES,
        crop_size=CROP,
        max_steps=steps,
        batch_size=16,
        random_state=seed,
        verbose=False,
    ).fit(train)
    trained = time.process_time() - began
    made = np.asarray(model.sample(n_samples, batch_size=32))
    real = windows(train)
    few = np.random.default_rng(seed).permutation(len(real))[:n_samples]
    scored = windows(held_out)
    scored = scored[np.random.default_rng(0).permutation(len(scored))[:48]]
    return {
        "transform": transform,
        "seed": seed,
        **comparison(real, made),
        "nats_per_cell": model.score(scored) / scored[0].size,
        "held_out_v_loss": model.denoising_loss(held_out),
        "curve": curve_of(model.transformer_),
        "loss_curve": [round(entry["loss"], 4) for entry in model.history_],
        "real_against_real": comparison(real, real[few]),
        "train_cpu_seconds": round(trained, 1),
        "n_generated": n_samples,
        "n_real": len(real),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, 100 steps")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--transforms", nargs="+", default=TRANSFORMS[:3])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps, seeds, n_samples = arguments.steps, arguments.seeds, 192
    if arguments.quick:
        steps, seeds, n_samples = 100, 1, 32
    series = rain_of(arguments.data)
    result = {"data": "made up" if arguments.data is None else arguments.data.name, "runs": []}
    if arguments.json and arguments.json.is_file():
        result = json.loads(arguments.json.read_text())
    done = {(run["transform"], run["seed"]) for run in result["runs"]}
    for seed in range(seeds):
        for transform in arguments.transforms:
            if (transform, seed) in done:
                continue
            run = one_run(series, transform, seed, steps, n_samples)
            result["runs"].append(run | {"steps": steps})
            if arguments.json:
                arguments.json.write_text(json.dumps(result, indent=1) + "\n")
            shown = ("mean_ratio", "wet_ratio", "trace_share", "spatial_power_kept")
            print(transform, seed, {k: round(run[k], 3) for k in shown},
                  [round(q, 2) for q in run["quantile_ratios"]], flush=True)  # fmt: skip
    last = {run["transform"]: run["spatial_power_kept"] for run in result["runs"]}
    print(json.dumps({"threads": 1, "spatial_power_kept": last}))


if __name__ == "__main__":
    main()
