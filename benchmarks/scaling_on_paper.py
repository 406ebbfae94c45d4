"""What UKCP18 would cost, from what has been measured of one card.

    python benchmarks/scaling_on_paper.py

The time of a training step and of a drawn sequence of `tiny` on one GPU (``gpu_check.json``), the
operations of each network counted by torch, and the memory of a window (``network_memory.json``)
give time and memory of

- UKCP18's 12 members of 60 years, hourly, 360-day years, 64 x 64 cells of 8.8 km;
- the same at 2.2 km, 606 x 484 cells, whole.

On more cards a step is the slower of computing and of exchanging the gradients; what is not in it,
and breaks first, is printed below the table. Sizes that were not timed are taken to compute at the
rate of `tiny`: too slow, for larger networks fill a card better. The last line is JSON.
"""

import argparse
import json
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from skdiffuse.networks import build_network

RESULTS = Path(__file__).parent / "results"
SIZES = ("tiny", "small", "base", "large")
WINDOW = 10, 64, 64
HOURS = 12 * 60 * 360 * 24
DOMAINS = {"64 x 64 at 8.8 km": 64 * 64, "606 x 484 at 2.2 km": 606 * 484}
CARDS = (1, 8, 64)
# Windows of 64 x 64 a card works on at a time, as timed, and passes through all hours.
BATCH, EPOCHS = 16, 20
# Bytes a second between cards of one machine and of several, and of one card's main memory.
BETWEEN = {1: float("inf"), 8: 450e9, 64: 50e9}
CARD_GIB = 80.0


def operations(size: str) -> float:
    """Of one evaluation of a window, by torch's counter; a training step is three."""
    network = build_network(size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *WINDOW), torch.zeros(1))
    return float(counter.get_total_flops())


def parameters(size: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_network(size).parameters())


def memory_of(size: str) -> float | None:
    """GiB that a window of a training step takes, in proportion to its cells, where measured."""
    runs = json.loads((RESULTS / "network_memory.json").read_text())["runs"]
    mine = [run for run in runs if run["preset"] == size and not run["gradient_checkpointing"]]
    if not mine:
        return None
    # The largest batch tells it best.
    run = max(mine, key=lambda run: run["batch"] * run["frames"] * run["size"] ** 2)
    cells = run["batch"] * run["frames"] * run["size"] ** 2
    return run["extra_gib"] / cells * WINDOW[0] * WINDOW[1] * WINDOW[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    timed = json.loads((RESULTS / "gpu_check.json").read_text())
    step = timed["milliseconds_per_training_step"]["float32"] / 1000 / BATCH
    drawn = 1 / max(timed["sequences_per_second"].values())
    counts = {size: operations(size) for size in SIZES}
    rows = []
    for domain, cells in DOMAINS.items():
        larger = cells / (WINDOW[1] * WINDOW[2])
        windows = HOURS / WINDOW[0]
        for size in SIZES:
            slower = counts[size] / counts["tiny"] * larger
            memory = memory_of(size)
            for cards in CARDS:
                at_once = max(1.0, BATCH / larger)
                compute = step * slower * at_once
                # Gradients go round once in each direction.
                exchange = 2 * 4 * parameters(size) / BETWEEN[cards]
                n_steps = arguments.epochs * windows / (at_once * cards)
                rows.append(
                    {
                        "domain": domain,
                        "network": size,
                        "cards": cards,
                        "training_hours": round(n_steps * max(compute, exchange) / 3600, 2),
                        "drawing_hours": round(windows * drawn * slower / cards / 3600, 2),
                        "steps": round(n_steps),
                        "read_gb_per_second": round(
                            4e-9 * WINDOW[0] * cells * at_once * cards / max(compute, exchange), 3
                        ),
                        "gib_per_window": None if memory is None else round(memory * larger, 1),
                    }
                )
    print(
        "| domain | network | cards | training h | drawing h | steps | read GB/s | GiB a window |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join("" if v is None else f"{v}" for v in row.values()) + " |")
    print(json.dumps({"card": timed["device"], "epochs": arguments.epochs, "rows": len(rows)}))
    (RESULTS / "scaling_on_paper.json").write_text(
        json.dumps({"card": timed["device"], "epochs": arguments.epochs, "rows": rows}) + "\n"
    )


if __name__ == "__main__":
    main()
