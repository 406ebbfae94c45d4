"""Memory that a training step needs, against batch, frames, size and network.

    python benchmarks/network_memory.py [--quick]

Each figure comes from a process of its own with one thread: the largest resident memory while
forward and backward run (Linux: VmHWM), less what was resident before them with weights, gradients
and both moments of AdamW in place. What is extra to a step grows with batch, frames and cells; the
parts that do not are 16 bytes a parameter, and 4 more for the average of the weights. Batches that
are too large to be run on a machine in use are extrapolated from batches 1 and 2, and marked.

The last line is a JSON summary; without --quick everything is stored in benchmarks/results/.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from skdiffuse.diffusion import v_loss
from skdiffuse.networks import build_network

RESULTS = Path(__file__).parent / "results" / "network_memory.json"
GIB = 2**30
TARGET_GIB = 16.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only base at 64x64x10")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(**arguments.worker)))
        return

    table = []
    target = {}
    for saving in (False, True):
        one, two = (run("base", n, 10, 64, saving) for n in (1, 2))
        table += [one, two]
        # Linear in the batch: what is resident besides is counted in `fixed_gib`.
        slope = two["extra_gib"] - one["extra_gib"]
        total = one["fixed_gib"] + one["extra_gib"] + 7 * slope
        name = "with" if saving else "without"
        target[f"base_64x64x10_batch_8_gib_{name}_checkpointing"] = round(total, 2)
        target[f"gib_per_sample_{name}_checkpointing"] = round(slope, 3)
    if not arguments.quick:
        for preset in ("tiny", "small"):
            table += [run(preset, n, 8, 32) for n in (1, 4, 8)]
            table += [run(preset, 4, frames, 32) for frames in (4, 16)]
            table += [run(preset, 4, 8, size) for size in (16, 64)]
        table += [run("base", 1, 8, 32), run("base", 1, 10, 32), run("base", 1, 20, 64)]
        if max(target.values()) < TARGET_GIB:
            table += [run("base", 8, 10, 64, saving) for saving in (True, False)]
            target["measured_batch_8_gib"] = round(
                table[-1]["fixed_gib"] + table[-1]["extra_gib"], 2
            )
        results = {"torch": torch.__version__, "threads": 1, "target": target, "runs": table}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    target["extrapolated_from_batches"] = [1, 2]
    target["under_16_gib"] = bool(
        target["base_64x64x10_batch_8_gib_without_checkpointing"] < TARGET_GIB
    )
    print(json.dumps(target))


def run(preset: str, batch: int, frames: int, size: int, saving: bool = False) -> dict:
    case = {
        "preset": preset,
        "batch": batch,
        "frames": frames,
        "size": size,
        "gradient_checkpointing": saving,
    }
    command = [sys.executable, __file__, "--worker", json.dumps(case)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    case |= json.loads(output.splitlines()[-1])
    print(
        f"{preset:6s} batch {batch} x {frames:2d} x {size}x{size}"
        f"{' checkpointed' if saving else ''}: fixed {case['fixed_gib']:.2f}, "
        f"extra {case['extra_gib']:.2f} GiB, {case['extra_gib'] / batch:.3f} GiB a sample",
        flush=True,
    )
    return case


def measure(
    preset: str, batch: int, frames: int, size: int, gradient_checkpointing: bool
) -> dict[str, float]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build_network(
        preset,
        power=torch.ones(frames, size, size),
        gradient_checkpointing=gradient_checkpointing,
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    # Gradients and moments, and the buffers of the libraries, before anything is counted.
    step(network, torch.zeros(1, 1, 8, 8))
    optimizer.step()
    noise = torch.randn(batch, frames, size, size)
    fixed = status("VmRSS")
    # From here on the largest memory is counted anew.
    Path("/proc/self/clear_refs").write_text("5")
    step(network, noise)
    parameters = sum(p.numel() for p in network.parameters())
    return {
        "parameters": parameters,
        "fixed_gib": fixed / GIB,
        "extra_gib": (status("VmHWM") - fixed) / GIB,
    }


def step(network: torch.nn.Module, noise: torch.Tensor) -> None:
    log_snr = torch.zeros(len(noise))
    v_loss(network, torch.zeros_like(noise), log_snr, noise).mean().backward()


def status(name: str) -> int:
    """Bytes of an entry of the process's status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{name} is not in /proc/self/status: this benchmark needs Linux.")


if __name__ == "__main__":
    main()
