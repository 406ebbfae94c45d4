"""Generated hourly rain of ERA5 beside the months that were learnt and those that were held out.

    python benchmarks/held_out_months.py --samples 256

January, February, July and August of 2020 were learnt, April, May, October and November not: how
far the held-out months are from the learnt ones says how near a model could be expected to come.
Ratios to the learnt months with 95 % intervals, and the mean absolute normalised bias of the mean
field, ``mean |m / m_learnt - 1|``, over cells where the learnt months have 0.01 mm/h or more. The
last line is JSON, and is kept in ``benchmarks/results/held_out_months.json``.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from fidelity import FOLDER, RARE, Trial, read_files, table_of
from fidelity_ratios import printed, ratios, table

from skdiffuse import PrecipDiffusion

HERE = Path(__file__).parent
LEAST_MEAN = 0.01
LEARNT, HELD_OUT = ("202001-02", "202007-08"), ("202004-05", "202010-11")


def normalised_bias(mean: np.ndarray, learnt: np.ndarray) -> float:
    """Mean over cells with enough rain of |mean / learnt - 1|."""
    wet = learnt >= LEAST_MEAN
    return float(np.abs(mean[wet] / learnt[wet] - 1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--samples-at-a-time", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name = "era5_chile_0p25deg_1h_"
    learnt, held_out = (
        read_files(FOLDER, *(name + month for month in months)) for months in (LEARNT, HELD_OUT)
    )
    model = PrecipDiffusion.load("skdiffuse/era5")
    model.set_params(device=arguments.device, verbose=False)
    trial = Trial(learnt, held_out, 160, 0, n_frames=model.n_frames)
    options = {"rare": RARE, "random_state": 1}
    drawn = np.asarray(
        model.sample(arguments.samples, batch_size=arguments.samples_at_a_time, **options)
    )
    weights = model.sample_weights(arguments.samples, **options)
    real = table_of(learnt, trial)
    side = max(model.field_shape_)
    found: dict = {"samples": arguments.samples, "ratios": {}, "normalised_bias": {}}
    for title, rows in (
        ("generated", table(drawn, weights)),
        ("held-out months", table_of(held_out, trial)),
    ):
        found["ratios"][title] = ratios(real, rows, side)
        print(printed(title, found["ratios"][title]), flush=True)
    mean = np.asarray(learnt.mean("time"))
    halves = [np.asarray(learnt[k::2].mean("time")) for k in (0, 1)]
    months = [np.asarray(read_files(FOLDER, name + month).mean("time")) for month in LEARNT]
    of_samples = (weights[:, None, None, None] * drawn).mean((0, 1)) / weights.mean()
    # As many windows of the learnt months as were generated: what their number alone does.
    random = np.random.default_rng(0)
    starts = random.integers(0, len(learnt) - model.n_frames, arguments.samples)
    values = np.asarray(learnt)
    as_many = np.mean([values[s : s + model.n_frames].mean(0) for s in starts], axis=0)
    for title, field in {
        "generated": of_samples,
        "held-out months": np.asarray(held_out.mean("time")),
        "as many learnt windows": as_many,
        "every second learnt hour": halves[0],
        "January and February alone": months[0],
    }.items():
        found["normalised_bias"][title] = round(normalised_bias(field, mean), 4)
    path = HERE / "results" / "held_out_months.json"
    path.write_text(json.dumps(found) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
