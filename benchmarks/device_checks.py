"""What training and sampling on a device must have in common with float32 on the CPU.

    python benchmarks/device_checks.py --device cuda

Each check trains or draws the same twice, once plainly and once with one thing changed, and has a
bound for the difference:

- ``bfloat16``, ``float16``: losses of 30 steps, relative to those in float32.
- ``compiled``: the same with ``compile=True``.
- ``gradients_exchanged``, ``weights_shared``: a process that ``torchrun`` starts, with NCCL on a
  GPU and gloo on a CPU, in which the network is wrapped as for many, beside a plain one.
- ``resumed``: half a training, and the other half from its checkpoint.
- ``sampled``: `sample` on the device and on the CPU from one ``random_state``, relative to the
  largest rain, without TF32.

Ends with one JSON line, and with status 1 if a bound is missed. `gpu_session.py` begins with it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from skdiffuse import PrecipDiffusion, TrainingSettings, make_precipitation
from skdiffuse.diffusion import v_loss
from skdiffuse.networks import build_network
from skdiffuse.training import loop
from skdiffuse.training.processes import Processes

STEPS = 30


def trained(device: str, folder: Path | None = None, steps: int = STEPS, **settings) -> list[float]:
    """Losses of a short training of the default."""
    loop.LOG_EVERY = 1
    model = PrecipDiffusion(
        n_frames=4,
        batch_size=8,
        max_steps=steps,
        training=TrainingSettings(**{"precision": "float32"} | settings),
        checkpoint_dir=folder,
        warm_start=folder is not None,
        random_state=0,
        device=device,
        verbose=False,
    ).fit(make_precipitation(60, (32, 32), random_state=0))
    return [entry["loss"] for entry in model.history_]


def apart(found: list[float], wanted: list[float]) -> float:
    """Largest difference of two curves of losses, relative to the mean loss."""
    if len(found) != len(wanted):
        raise RuntimeError(f"{len(found)} losses beside {len(wanted)}")
    return float(np.abs(np.subtract(found, wanted)).max() / np.mean(wanted))


def in_torchrun(device: str, shared: str) -> float:
    """Losses of a network whose gradients or weights are exchanged, beside those of a plain one."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "losses.json"
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
        program = [__file__, "--device", device, "--exchange", shared, str(result)]
        ended = subprocess.run(
            [sys.executable, *torchrun, *program], capture_output=True, text=True, timeout=300
        )
        if ended.returncode:
            raise RuntimeError(ended.stderr.strip().splitlines()[-1])
        return apart(*json.loads(result.read_text()))


def exchanged(device: str, shared: str) -> list[list[float]]:
    """What the process of `in_torchrun` does: the same steps with exchanges and without."""
    here = torch.device(device, 0) if device == "cuda" else torch.device(device)
    if here.type == "cuda":
        torch.cuda.set_device(here)
    torch.distributed.init_process_group("nccl" if here.type == "cuda" else "gloo")
    losses = []
    for exchanging in (True, False):
        torch.manual_seed(0)
        network = build_network("tiny").to(here)
        module: torch.nn.Module = network
        if exchanging and shared == "weights":
            Processes().shard(network, here)
        elif exchanging:
            ids = [here] if here.type == "cuda" else None
            module = torch.nn.parallel.DistributedDataParallel(network, device_ids=ids)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
        # The first draws are the same for both; the network's start is what the seed above says.
        generator = torch.Generator().manual_seed(1)
        losses.append([])
        for _ in range(STEPS // 2):
            x = torch.randn(4, 4, 16, 16, generator=generator)
            log_snr = 4 * torch.randn(4, generator=generator)
            noise = torch.randn(x.shape, generator=generator)
            optimizer.zero_grad()
            loss = v_loss(module, x.to(here), log_snr.to(here), noise.to(here)).mean()
            loss.backward()
            optimizer.step()
            losses[-1].append(float(loss))
    torch.distributed.destroy_process_group()
    return losses


def resumed(device: str) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        trained(device, Path(folder), STEPS // 2)
        return trained(device, Path(folder))


def sampled(device: str) -> float:
    """Difference of rain drawn on the device and on the CPU, relative to the largest rain."""
    model = PrecipDiffusion.load("skdiffuse/hourly_4km_small").set_params(verbose=False)
    drawn = []
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        for where in (device, "cpu"):
            model.set_params(device=where)
            drawn.append(np.asarray(model.sample(4, n_steps=8, rare=0.5, random_state=0)))
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
    return float(np.abs(drawn[0] - drawn[1]).max() / drawn[1].max())


def checks(device: str, *, compiled: bool) -> dict[str, tuple[Callable[[], float], float]]:
    """Each check and its bound."""
    plain: list[list[float]] = []

    def beside_plain(found: list[float]) -> float:
        if not plain:
            plain.append(trained(device))
        return apart(found, plain[0])

    found = {
        # The closed form, which is always in float32, makes most of the loss.
        "bfloat16": (lambda: beside_plain(trained(device, precision="bfloat16")), 0.005),
        "float16": (lambda: beside_plain(trained(device, precision="float16")), 0.002),
        "compiled": (lambda: beside_plain(trained(device, compile=True)), 0.01),
        "gradients_exchanged": (lambda: in_torchrun(device, "gradients"), 1e-4),
        "weights_shared": (lambda: in_torchrun(device, "weights"), 1e-4),
        "resumed": (lambda: beside_plain(resumed(device)), 1e-3),
        "sampled": (lambda: sampled(device), 1e-4),
    }
    if not compiled:
        del found["compiled"]
    if device == "cpu":
        # Processors emulate it, slowly.
        del found["float16"]
    return found


def run(device: str, *, compiled: bool, seconds: float = float("inf")) -> dict[str, dict]:
    """Difference, bound, seconds and verdict of every check; an error is a miss.

    None begins after so many seconds in all.
    """
    rows: dict[str, dict] = {}
    began = time.monotonic()
    for name, (check, bound) in checks(device, compiled=compiled).items():
        start = time.monotonic()
        if start - began > seconds:
            rows[name] = {"bound": bound, "passed": None}
            continue
        row: dict = {"bound": bound}
        try:
            row["difference"] = check()
            row["passed"] = row["difference"] <= bound
        except Exception as error:  # Whatever fails, the others are to be known too.
            row |= {"error": f"{type(error).__name__}: {error}"[:300], "passed": False}
        row["seconds"] = round(time.monotonic() - start, 1)
        rows[name] = row
        print(f"{name:>12}: {row}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compiled", action="store_true", help="compile too: minutes on a CPU")
    parser.add_argument("--exchange", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.exchange:
        shared, path = arguments.exchange
        Path(path).write_text(json.dumps(exchanged(arguments.device, shared)))
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = run(arguments.device, compiled=arguments.compiled)
    passed = all(row["passed"] for row in rows.values())
    print(json.dumps({"device": arguments.device, "checks": rows, "passed": passed}))
    sys.exit(not passed)


if __name__ == "__main__":
    main()
