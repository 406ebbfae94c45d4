"""Nothing is left of 200 fits and loads: memory and open files stay as they are.

Fits, samples, saves, loads and reads a file of rain again and again in one process, and compares
resident memory, open files, threads and files in the temporary folder after the first rounds, when
libraries have taken what they keep, with those at the end.

    python benchmarks/leaks.py             # 200 rounds
    python benchmarks/leaks.py --rounds 40
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import psutil
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from skdiffuse import NetworkSettings, PrecipDiffusion
from skdiffuse.cubes import open_cube, write_cube
from skdiffuse.datasets import make_precipitation

# Rounds in which caches fill and allocators find their size.
WARM_UP = 0.25


class Dot(torch.nn.Module):
    """A network of ten weights."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, z: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        """Predict v."""
        return self.mix(z.flatten(0, 1)[:, None]).reshape(z.shape)


def dot(**_: object) -> Dot:
    """For ``network=``."""
    return Dot()


def one_round(folder: Path, k: int) -> None:
    """Everything once."""
    rain = make_precipitation(12, (16, 16), random_state=k)
    lazy = open_cube(write_cube(rain, folder / "rain.nc"))
    model = PrecipDiffusion(
        n_frames=2,
        network=NetworkSettings(dot, skip="wiener", geography=False),
        max_steps=2,
        batch_size=2,
        checkpoint_dir=folder / "checkpoints",
        random_state=0,
        verbose=False,
    ).set_params(sampler__n_steps=2)
    model.fit(lazy)
    path = folder / "model.safetensors"
    model.save(path)
    back = PrecipDiffusion.load(path, network=dot).set_params(verbose=False)
    back.forecast(lazy, 2, out=folder / "forecast.nc", random_state=0).close()
    lazy.close()


def measure(process: psutil.Process) -> dict[str, float]:
    """What the process holds."""
    gc.collect()
    return {
        "rss_mb": round(process.memory_info().rss / 2**20, 1),
        "open_files": process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
        "threads": process.num_threads(),
    }


def run(rounds: int) -> dict:
    """Rounds, and what they leave."""
    process = psutil.Process()
    begin = time.monotonic()
    before: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(rounds):
            one_round(Path(folder), k)
            if k + 1 == max(1, round(WARM_UP * rounds)):
                before = measure(process)
        after = measure(process)
        left = sum(1 for path in Path(folder).rglob(".*"))
    return {
        "rounds": rounds,
        **{f"{name}_after_warm_up": value for name, value in before.items()},
        **{f"{name}_at_the_end": value for name, value in after.items()},
        "hidden_files_left": left,
        "seconds": round(time.monotonic() - begin),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = run(options.rounds)
    if options.rounds >= 200:
        path = Path(__file__).parent / "results" / "leaks.json"
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(json.dumps(figures))
