"""The study in one command: what is generated, what was reproduced, and on what.

    python benchmarks/study.py            # the tables of all stored results
    python benchmarks/study.py --quick    # under five minutes on one core, no data

Every part is a script of its own that keeps its results, so that each can be run anew: `weights.py`
(long trainings), `controlled.py` (the dissertation's three models, and the default with one thing
changed), `episodes_apart.py` (how far real episodes are from each other), `sampling_cost.py`,
`nowcast_race.py`, `training_speed.py`, `gpu_session.py`.

``--quick`` draws made-up rain with the weights of the package and compares it with its exact law,
loads the other weights, and ends with one JSON line: ``power_deficit_synthetic``, the largest share
of power missing at any scale, ``quantile_error_synthetic``, the largest relative error of quantiles
to 1 - 1e-3, ``weights``, those that load and do what their cards say, and ``gpu``, the chip that
stored results are from, or null.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from controlled_tables import print_tables
from fidelity import RARE, Trial, table_of
from fidelity_ratios import power_of, printed, ratios, table

from skdiffuse import PrecipDiffusion, list_models, make_precipitation

RESULTS = Path(__file__).parent / "results"


def synthetic(n: int, n_steps: int) -> dict[str, list[float]]:
    """Rain of the weights of known law beside that law: other draws of it, not the learnt one."""
    model = PrecipDiffusion.load("skdiffuse/synthetic").set_params(verbose=False)
    options = {"rare": RARE, "random_state": 1}
    drawn = np.asarray(model.sample(n, n_steps=n_steps, batch_size=8, **options))
    rows = table(drawn, model.sample_weights(n, **options))
    law = make_precipitation(2000, (96, 96), correlation_length=6.0, random_state=7)
    trial = Trial(law, law, 64, 0, n_windows=1024, n_frames=model.n_frames)
    found = ratios(table_of(law, trial), rows, 64)
    print(printed(f"synthetic, {n}", found), flush=True)
    return found


def keeps_its_card(name: str) -> bool:
    """Whether weights load, are those of their card, and make the storm that is ordered."""
    model = PrecipDiffusion.load(f"skdiffuse/{name}").set_params(verbose=False)
    card = model.card_
    window = (model.n_frames, *model.field_shape_)
    storm = np.asarray(model.sample(1, storm={"mean": 0.5}, n_steps=4, random_state=0))
    return (
        card is not None
        and tuple(card.window) == window
        and model.n_iter_ == card.training["steps"]
        and abs(float(storm.mean()) / 0.5 - 1) < 0.02
        and 1 < float(storm.max()) < 500
    )


def chip() -> str | None:
    """The GPU of stored results."""
    for name, key in ("gpu_session", "chip"), ("gpu_check", "device"):
        path = RESULTS / f"{name}.json"
        if path.exists() and (found := json.loads(path.read_text()).get(key)) != "CPU":
            return found
    return None


def quick() -> None:
    start = time.process_time()
    found = synthetic(n=64, n_steps=12)
    quantiles = [
        v[0] for k, v in found.items() if k in ("quantile 1 - 1e-02", "quantile 1 - 1e-03")
    ]
    line = {
        "power_deficit_synthetic": round(max(1 - p for p in power_of(found)), 4),
        "quantile_error_synthetic": round(max(abs(q - 1) for q in quantiles), 4),
        "weights": [name for name in list_models() if keeps_its_card(name)],
        "gpu": chip(),
        "cpu_seconds": round(time.process_time() - start, 1),
    }
    print(json.dumps(line))


def everything() -> None:
    for path in sorted(RESULTS.glob("weights_*.json")):
        for title, rows in json.loads(path.read_text())["ratios"].items():
            print(printed(f"{path.stem[8:]}, {title}", rows))
    path = RESULTS / "controlled.json"
    if path.exists():
        print_tables(json.loads(path.read_text())["rows"])
    for name in "episodes_apart", "sampling_cost", "gpu_session", "gpu_check":
        path = RESULTS / f"{name}.json"
        if path.exists():
            print(f"\n{name}: {path.read_text()[:2000]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.quick:
        quick()
    else:
        everything()


if __name__ == "__main__":
    main()
