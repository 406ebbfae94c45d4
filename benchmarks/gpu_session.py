"""All that only a GPU can show, in one command of so many minutes.

    python benchmarks/gpu_session.py --minutes 9 --data DIR --out DIR

It needs a checkout with its dependencies and a folder with the rain that `weights.py` learns from
(none for ``--kind synthetic``), and goes through three parts:

1. `device_checks.py`, with compiling: half precision, exchanges, sampling as on the CPU.
2. Throughput: matrix products in each precision (the peak), then a training step and an evaluation
   of every size of network by batch, with its share of the peak, in float32 with TF32 and in
   bfloat16, compiled and not; and of other packages' networks of the size of `small`, if there.
3. Training of one kind of rain of `weights.py` in bfloat16 for the time that is left, with
   checkpoints, and what it generates beside what it learnt.

``DIR/gpu_session.json`` is written anew after every row, with the name of the chip; checkpoints and
weights lie beside it, and the same command again goes on with the training. Rehearse it on a CPU:
``--device cpu --minutes 1 --kind synthetic``. Ends with one JSON line.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from device_checks import run as run_checks
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from skdiffuse.diffusion import v_loss
from skdiffuse.networks import build_network, compile_network

HERE = Path(__file__).parent
SIZES = ("tiny", "small", "base", "large")
N_FRAMES, SIDE = 10, 64
# Share of the time after which no check, and no row of throughput, begins.
CHECKS, THROUGHPUT = 0.2, 0.45


class Result:
    """What has been found so far, written as it comes."""

    def __init__(self, folder: Path, **facts: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "gpu_session.json"
        self.found: dict = dict(facts)

    def put(self, name: str, value: object) -> None:
        self.found[name] = value
        self.path.write_text(json.dumps(self.found, indent=1) + "\n")

    def add(self, name: str, row: dict) -> None:
        print(f"{name}: {row}", flush=True)
        self.put(name, [*self.found.get(name, []), row])


# Throughput


def seconds_of(work: Callable[[], object], device: torch.device, least: float = 0.3) -> float:
    """Seconds of a call: as many as fill some time, after two that are not timed."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work()
    work()
    wait()
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < least or n < 2:
        work()
        wait()
        n += 1
    return (time.perf_counter() - start) / n


def peaks(device: torch.device) -> dict[str, float]:
    """TFLOP/s of a matrix product in each precision, the most that a network could reach."""
    n = 8192 if device.type == "cuda" else 1024
    found = {}
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        a = torch.ones(n, n, device=device, dtype=dtype)
        found[name] = 2e-12 * n**3 / seconds_of(lambda a=a: a @ a, device)
    return found


def cost_of(
    network: nn.Module, batch: int, device: torch.device, half: bool
) -> tuple[float, float, float]:
    """Seconds of a training step and of an evaluation, and the operations of the step."""
    z = torch.randn(batch, N_FRAMES, SIDE, SIDE, device=device)
    log_snr = torch.zeros(batch, device=device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, fused=device.type == "cuda")

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            return network(x, log_snr)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        v_loss(lambda x, _: forward(x), z, log_snr, z).mean().backward()
        optimizer.step()

    @torch.no_grad()
    def evaluate() -> None:
        forward(z)

    with FlopCounterMode(display=False) as counter:
        step()
    return seconds_of(step, device), seconds_of(evaluate, device), counter.get_total_flops()


def networks(n_small: int) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Ours of every size, and those of other packages as large as `small`."""
    for size in SIZES:
        yield size, lambda size=size: build_network(size)
    try:
        from training_speed_peers import PEERS
    except ImportError:
        return
    for name, make in PEERS.items():
        yield name, lambda make=make: make(n_small)


def throughput(
    device: torch.device, batches: list[int], ends: float, result: Result, *, compiled: bool
) -> None:
    """Rows of all networks until the time has come; what does not run says why."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    peak = peaks(device)
    result.put("peak_tflops", peak)
    n_small = sum(p.numel() for p in build_network("small").parameters())
    ways = [(False, False), (True, False), *([(True, True)] if compiled else [])]
    for name, make in networks(n_small):
        ours = name in SIZES
        for batch in batches if ours else batches[-1:]:
            for half, compiling in ways if ours else ways[:2]:
                if time.monotonic() > ends:
                    result.put("throughput_cut_short", True)
                    return
                row = {"network": name, "batch": batch, "bfloat16": half, "compiled": compiling}
                try:
                    torch.manual_seed(0)
                    network = make().to(device)
                    if compiling:
                        z = torch.randn(batch, N_FRAMES, SIDE, SIDE, device=device)
                        with torch.autocast(device.type, torch.bfloat16):
                            compile_network(network, z, torch.zeros(batch, device=device))
                    step, evaluation, operations = cost_of(network, batch, device, half)
                except (RuntimeError, ImportError) as error:
                    result.add("throughput", row | {"error": str(error).split("\n")[0][:200]})
                    continue
                share = 1e-12 * operations / step / peak["bfloat16" if half else "float32"]
                row |= {
                    "parameters": sum(p.numel() for p in network.parameters()),
                    "step_seconds": step,
                    "evaluation_seconds": evaluation,
                    "windows_per_second": batch / step,
                    "share_of_peak": share,
                }
                if device.type == "cuda":
                    row["gib"] = torch.cuda.max_memory_allocated() / 2**30
                    torch.cuda.reset_peak_memory_stats()
                result.add("throughput", row)


# Training


def train(arguments: argparse.Namespace, minutes: float) -> dict:
    """`weights.py` in a process of its own, for so many minutes more."""
    out = arguments.out / "training"
    before = out / "minutes.txt"
    out.mkdir(parents=True, exist_ok=True)
    minutes += float(before.read_text()) if before.exists() else 0.0
    command = [
        *(sys.executable, str(HERE / "weights.py"), arguments.kind),
        *("--minutes", f"{minutes:.3f}", "--device", arguments.device),
        *("--batch-size", str(arguments.batch_size), "--out", str(out)),
        *("--checkpoints", str(out / "checkpoints"), "--folder", str(arguments.data)),
        *("--samples", str(arguments.samples), "0"),
        *("--samples-at-a-time", str(min(128, arguments.samples))),
    ]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        return {"error": ended.stderr.strip().splitlines()[-1]}
    before.write_text(str(minutes))
    return json.loads(ended.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the rain")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", default="hourly_4km", help="of weights.py")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int, default=48, help="of the training")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64], help="to be timed")
    parser.add_argument("--samples", type=int, default=512, help="drawn of the trained model")
    arguments = parser.parse_args()
    began, whole = time.monotonic(), 60 * arguments.minutes
    device = torch.device(arguments.device)
    cuda = device.type == "cuda"
    chip = torch.cuda.get_device_name(device) if cuda else "CPU"
    result = Result(arguments.out, chip=chip, torch=torch.__version__, minutes=arguments.minutes)
    checks = run_checks(arguments.device, compiled=cuda, seconds=CHECKS * whole)
    result.put("checks", checks)
    throughput(device, arguments.batches, began + THROUGHPUT * whole, result, compiled=cuda)
    # Drawing and measuring what was learnt takes about a sixth of what is left.
    left = whole - (time.monotonic() - began)
    result.put("training", train(arguments, max(0.8 * left, 0.05 * whole) / 60))
    missed = [name for name, row in checks.items() if row["passed"] is False]
    line = {
        "gpu": chip if cuda else None,
        "missed": missed,
        "rows": len(result.found.get("throughput", [])),
        "training": "error" not in result.found["training"],
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
