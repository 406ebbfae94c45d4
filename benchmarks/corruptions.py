"""Every corruption trained small beside the Gaussian default, at equal parameters and CPU time.

    python benchmarks/corruptions.py --quick
    python benchmarks/corruptions.py --systems blur --data mrms --seeds 0 --seconds 600 --out DIR
    python benchmarks/corruptions.py --device cuda --steps 220 --batch-size 32 --seeds 0 --out DIR
    python benchmarks/corruptions.py --encoder --out DIR
    python benchmarks/corruptions.py --collect DIR

A run is one system on one kind of rain with one seed: it trains by CPU time, everything included
that goes before the network (a closed form, an autoencoder), or by steps, of which two stages take
half each; it draws sequences freely, makes coarse
rain fine again and fills in frames where it can, and writes one JSON to
``DIR/<system>-<data>-<seed>.json``. Runs are independent and single-threaded, so that as many as
there are cores go side by side. ``--collect`` makes the table of all of them, with means and 95 %
intervals over seeds, and writes ``results/corruptions.json``.

Compared, in mm/h, with windows drawn as in training: wet share (0.1 mm/h), quantiles to 1 - 1e-5
and power by waves across a window. CRPS (fair) on held-out rain, of `downscale` by a factor of 4
and of every second frame, by each method that the system has.

``--quick`` takes less than four minutes on one core, needs no data, and ends with one JSON line:
``systems``, ``exact_error``, the largest error over `corruption_checks`, and ``runs``, those
systems that trained and sampled end to end.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import xarray as xr
from corruption_checks import CHECKS
from corruption_scores import free_scores, likeness, ratios, sampling_noise
from corruption_systems import COMPARED, QUICK, SYSTEMS
from corruption_table import collect
from corruption_two_stages import TwoStages
from torch import Tensor

from skdiffuse import make_precipitation, metrics
from skdiffuse.corruptions import EncodedCorruption
from skdiffuse.cubes import open_cube, validate_cube
from skdiffuse.networks import PRESETS, VideoUNet, build_network
from skdiffuse.training import WindowBatches

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("SKDIFFUSE_TEST_DATA", HERE.parents[1] / "shared/data"))
MRMS = "mrms_qpe01h_west_4km_20160920-22.nc"
FACTOR = 4


@dataclass(frozen=True)
class Size:
    """How much is trained and drawn."""

    n_frames: int = 6
    crop: int = 32
    n_windows: int = 4096
    n_samples: int = 256
    n_cases: int = 24
    n_members: int = 8
    n_steps: int = 32
    network: Any = "tiny"


def tiny_network(**options: Any) -> VideoUNet:
    """A network for the quick run."""
    taken = ("in_channels", "out_channels", "n_covariates", "n_labels", "edges")
    return VideoUNet(8, (1, 2), patch_size=2, **{k: v for k, v in options.items() if k in taken})


QUICK_SIZE = Size(3, 16, 64, 4, 2, 2, 4, tiny_network)


@cache
def rain_of(name: str, quick: bool = False) -> tuple[xr.DataArray, xr.DataArray]:
    """Rain to learn and rain held out."""
    if name == "mrms":
        cube = open_cube(FOLDER / MRMS).load()
        return cube[:48], cube[48:]
    n, side = (40, 32) if quick else (2000, 96)
    parts = (
        make_precipitation(n, (side, side), correlation_length=6.0, random_state=s) for s in (0, 1)
    )
    return tuple(parts)  # type: ignore[return-value]


def windows_of(rain: xr.DataArray, size: Size, n: int, seed: int) -> np.ndarray:
    """Whole windows as training draws them."""
    batches = WindowBatches(
        validate_cube(rain), size.n_frames, (size.crop, size.crop), 64, seed=seed
    )
    parts = [batches(k)[0].numpy() for k in range(-(-n // 64))]
    batches.reader.close()
    found = np.concatenate(parts)[:n]
    return found[np.isfinite(found).all((1, 2, 3))]


def cases_of(rain: xr.DataArray, size: Size) -> np.ndarray:
    """Held-out windows with rain in them."""
    drawn = windows_of(rain, size, 64 * size.n_cases, seed=7)
    wet = drawn[drawn.mean((1, 2, 3)) > 0.05]
    return wet[: size.n_cases]


@dataclass(frozen=True)
class Length:
    """Of a training: seconds of CPU time, or steps on a device."""

    seconds: float = 600.0
    steps: int | None = None
    batch_size: int = 8
    device: str = "cpu"


def trained(name: str, rain: xr.DataArray, size: Size, seed: int, length: Length) -> Any:
    """A system after its training, and the seconds of CPU time that were spent on it."""
    model = SYSTEMS[name](
        network=size.network,
        n_frames=size.n_frames,
        crop_size=size.crop,
        max_steps=10**9,
        warm_start=True,
        batch_size=length.batch_size,
        random_state=seed,
        device=length.device,
        verbose=False,
    )
    model.set_params(sampler__n_steps=size.n_steps)
    started = time.process_time()
    if length.steps is not None:
        each = length.steps // (2 if isinstance(model, TwoStages) and model.second else 1)
        model.set_params(max_steps=each).fit(rain)
        return model, time.process_time() - started
    # One step first: what goes before the network is of the time as well.
    model.set_params(max_steps=1).fit(rain)
    model.set_params(max_steps=10**9)
    while (left := length.seconds - (time.process_time() - started)) > 0.02 * length.seconds:
        model.set_params(max_time=model.history_[-1]["seconds"] + left).fit(rain)
    return model, time.process_time() - started


def crps_of(members: np.ndarray, truth: np.ndarray) -> float:
    return float(metrics.crps_ensemble(truth, members, axis=0))


def tried(ask: Callable[[], Any]) -> tuple[Any, str | None]:
    """The answer, or why there is none: a system that cannot says so."""
    try:
        return ask(), None
    except (ValueError, TypeError, AttributeError) as error:
        return None, str(error).partition(",")[0]


def conditional_scores(model: Any, cases: np.ndarray, size: Size) -> dict[str, Any]:
    """CRPS of fine rain given coarse, and of the frames between, by each method it has."""
    n, frames, side = cases.shape[:3]
    blocks = side // FACTOR
    coarse = cases.reshape(n, frames, blocks, FACTOR, blocks, FACTOR).mean((3, 5))
    spread = coarse.repeat(FACTOR, -1).repeat(FACTOR, -2)
    scores: dict[str, Any] = {"downscale": {"constant": float(np.abs(spread - cases).mean())}}
    seconds: dict[str, float] = {}
    for method in ("replacement", "reconstruction", "restoration"):
        start = time.process_time()
        fine, why = tried(
            lambda method=method: model.downscale(
                coarse, FACTOR, n_samples=size.n_members, method=method
            )
        )
        scores["downscale"][method] = why if fine is None else crps_of(np.asarray(fine), cases)
        if fine is not None:
            seconds[f"downscale_{method}"] = (time.process_time() - start) / n / size.n_members
    known = np.zeros(cases.shape, bool)
    known[:, ::2] = True
    scores["interpolate"] = {}
    for method in ("replacement", "reconstruction"):
        filled, why = tried(
            lambda method=method: model.impute(
                cases, known, n_samples=size.n_members, method=method
            )
        )
        scores["interpolate"][method] = (
            why if filled is None else crps_of(np.asarray(filled)[:, :, 1::2], cases[:, 1::2])
        )
    scores["cpu_seconds_per_member"] = seconds
    return scores


@cache
def references(data: str, quick: bool, size: Size) -> tuple[dict[str, float], dict[str, Any]]:
    """What the rain to learn is like, and the ratios of held-out rain to it."""
    learnt, held_out = (
        likeness(windows_of(each, size, size.n_windows, seed=1)) for each in rain_of(data, quick)
    )
    return learnt, ratios(held_out, learnt)


def lost_by_encoding(model: Any, rain: np.ndarray) -> float | None:
    """Error of what an encoder's codes say of held-out fields, in their standard deviations."""
    corruption = getattr(getattr(model, "model_", None), "corruption", None)
    if not isinstance(corruption, EncodedCorruption):
        return None
    latent = model.latent_.encode(torch.from_numpy(rain))
    with torch.no_grad():
        back = corruption.decode(corruption.encode(latent))
    return float((back - latent).square().mean().sqrt() / latent.std())


def run(name: str, data: str, seed: int, length: Length, size: Size, quick: bool) -> dict[str, Any]:
    """One system on one kind of rain with one seed."""
    torch.set_num_threads(1)
    learnt, held_out = rain_of(data, quick)
    truth, other_hours = references(data, quick, size)
    model, spent = trained(name, learnt, size, seed, length)
    start = time.process_time()
    drawn = np.asarray(model.sample(size.n_samples, batch_size=64, random_state=seed + 100))
    sampling = (time.process_time() - start) / size.n_samples
    start = time.process_time()
    conditional = conditional_scores(model, cases_of(held_out, size), size)
    return {
        "system": name,
        "data": data,
        "seed": seed,
        "cpu_seconds": spent,
        "device": "cpu" if length.device == "cpu" else torch.cuda.get_device_name(),
        "training_steps": model.n_iter_,
        "parameters": sum(p.numel() for p in model.network_.parameters()),
        "cpu_seconds_per_sequence": sampling,
        "cpu_seconds_of_conditioning": time.process_time() - start,
        "rain_of_other_hours": other_hours,
        "free": ratios(likeness(drawn), truth),
        "sampling_noise": sampling_noise(drawn, truth),
        "conditional": conditional,
        "lost_by_encoding": lost_by_encoding(model, windows_of(held_out, size, 512, seed=2)),
        "size": {k: v if isinstance(v, int | str) else "own" for k, v in asdict(size).items()},
    }


def encoder_costs(data: str, side: int = 128, repeats: int = 3) -> dict[str, Any]:
    """What an encoder saves on large fields: seconds of a step, and what it loses of the rain."""
    torch.set_num_threads(1)
    learnt, held_out = rain_of(data)
    n_frames = 6
    if min(learnt.shape[1:]) < side:
        learnt, held_out = (
            make_precipitation(60, (side, side), correlation_length=6.0, random_state=s)
            for s in (0, 1)
        )
    size = Size(n_frames, side, 64)
    fields = [torch.from_numpy(windows_of(r, size, 48, seed=3)).sqrt() for r in (learnt, held_out)]
    rows = {}
    for name, factor in {"none": 1, "2": 2, "4": 4}.items():
        corruption = None if factor == 1 else EncodedCorruption(factor=factor, n_steps=600)
        row: dict[str, Any] = {}
        if corruption is not None:
            start = time.process_time()
            corruption = corruption.fit([fields[0]], seed=0)
            row["cpu_seconds_of_the_encoder"] = time.process_time() - start
            rain = fields[1].square()
            codes = corruption.encode(fields[1])
            start = time.process_time()
            back = corruption.decode(codes).clamp(min=0).square()
            row["cpu_seconds_to_decode"] = (time.process_time() - start) / len(rain)
            blocks = side // factor
            shape = (len(rain), n_frames, blocks, factor, blocks, factor)
            means = rain.reshape(shape).mean((3, 5))
            smooth = means.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
            error = lambda x, rain=rain: float((x - rain).square().mean().sqrt() / rain.std())  # noqa: E731
            row["reconstruction_error"] = error(back)
            row["error_of_block_means"] = error(smooth)
            row["reconstruction"] = free_scores(back.numpy(), rain.numpy())
        network = build_network("tiny")
        z = torch.randn(1, n_frames, side // factor, side // factor)
        row["cpu_seconds_of_a_sampling_step"] = _seconds(partial(_evaluate, network, z), repeats)
        row["cpu_seconds_of_a_training_step"] = _seconds(partial(_learn, network, z), repeats)
        rows[name] = row
    return {"side": side, "n_frames": n_frames, "data": data, "by_factor": rows}


@torch.no_grad()
def _evaluate(network: torch.nn.Module, z: Tensor) -> None:
    network(z, torch.zeros(1))


def _learn(network: torch.nn.Module, z: Tensor) -> None:
    network(z, torch.zeros(1)).square().mean().backward()


def _seconds(work: Callable[[], None], repeats: int) -> float:
    work()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(COMPARED))
    parser.add_argument("--data", nargs="+", choices=("synthetic", "mrms"), default=["synthetic"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--steps", type=int, help="of training, instead of seconds")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--n-frames", type=int, default=Size.n_frames)
    parser.add_argument("--crop", type=int, default=Size.crop, help="cells a side")
    parser.add_argument("--width", type=int, help="channels of a network of two levels")
    parser.add_argument("--n-steps", type=int, default=Size.n_steps, help="of sampling")
    parser.add_argument("--n-samples", type=int, default=Size.n_samples)
    parser.add_argument("--n-cases", type=int, default=Size.n_cases)
    parser.add_argument("--n-members", type=int, default=Size.n_members)
    parser.add_argument("--out", type=Path, default=HERE / "results/corruptions")
    parser.add_argument("--encoder", action="store_true")
    parser.add_argument("--collect", type=Path)
    parser.add_argument("--name", default="equal_cpu_time", help="by which the table is kept")
    options = parser.parse_args()
    # A training's clock: a busy machine trains as long as an idle one.
    time.monotonic = time.process_time
    if options.collect:
        collect(options.collect, HERE / "results/corruptions.json", options.name)
        return
    if options.quick:
        quick()
        return
    options.out.mkdir(parents=True, exist_ok=True)
    if options.encoder:
        for data in options.data:
            path = options.out / f"encoder_{data}.json"
            path.write_text(json.dumps(encoder_costs(data), indent=1))
            print(path.read_text())
        return
    if options.width:
        # By name, as only networks with a name are told the class of weather.
        PRESETS["tiny"] = PRESETS["tiny"] | {"width": options.width, "multipliers": (1, 2)}
    size = Size(
        n_frames=options.n_frames,
        crop=options.crop,
        n_samples=options.n_samples,
        n_cases=options.n_cases,
        n_members=options.n_members,
        n_steps=options.n_steps,
    )
    length = Length(options.seconds, options.steps, options.batch_size, options.device)
    # Seeds outermost: whenever it is stopped, the seeds before the last have all systems.
    for seed, data, name in product(options.seeds, options.data, options.systems):
        path = options.out / f"{name}-{data}-{seed}.json"
        if path.exists():
            continue
        result = run(name, data, seed, length, size, quick=False)
        written = path.with_suffix(".part")
        written.write_text(json.dumps(result, indent=1))
        written.rename(path)
        print(json.dumps(result), flush=True)


def quick() -> None:
    """Every check, and each system of the quick run end to end."""
    errors = {name: check() for name, check in CHECKS.items()}
    for name, error in errors.items():
        print(f"{name:>24}: {error:.1e}")
    runs = []
    for name in QUICK:
        start = time.process_time()
        result = run(name, "synthetic", 0, Length(3.0), QUICK_SIZE, quick=True)
        steps = result["training_steps"]
        print(f"{name:>24}: {steps} steps, {time.process_time() - start:.0f} s", flush=True)
        runs.append(name)
    line = {"systems": list(SYSTEMS), "exact_error": max(errors.values()), "runs": runs}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
